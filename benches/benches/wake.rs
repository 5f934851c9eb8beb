//! Waking a base from another thread, and posting to one that is awake.
//!
//! Guards against a wake that makes more than the one system call of each side (write, wait), and against a post to a
//! busy base that makes any. Ids are `wake/hop/WHO`, per wake in a ping-pong of two threads: `by_hand` is an eventfd and
//! an epoll set each, `bases` two bases driven by hand, `runtime` two workers. And `wake/post_busy/FROM`, per post, from
//! the base's own thread and from another while the base is inside a callback.
//!
//! The figures for goal 16 are taken by `goals`, in turns of the parties; these here follow one another.

use std::hint::black_box;
use std::io;
use std::time::Duration;

use benches::wake::{Bases, Busy, ByHand, Party, Workers, post_from_within};
use criterion::{BenchmarkId, Criterion};

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    ping_pong(&mut criterion, "by_hand", ByHand::new()?);
    ping_pong(&mut criterion, "bases", Bases::new()?);
    ping_pong(&mut criterion, "runtime", Workers::new()?);
    post_busy(&mut criterion, "own_thread", post_from_within);
    let mut busy = Busy::new()?;
    post_busy(&mut criterion, "other_thread", |count| busy.posts(count));
    criterion.final_summary();
    Ok(())
}

fn ping_pong(criterion: &mut Criterion, who: &str, mut party: impl Party) {
    criterion.benchmark_group("wake").bench_function(BenchmarkId::new("hop", who), |bencher| {
        bencher.iter_custom(|count| black_box(party.hops(count).expect("both sides are up")));
    });
}

fn post_busy(criterion: &mut Criterion, from: &str, mut posts: impl FnMut(u64) -> io::Result<Duration>) {
    criterion.benchmark_group("wake").bench_function(BenchmarkId::new("post_busy", from), |bencher| {
        bencher.iter_custom(|count| black_box(posts(count).expect("the base is up")));
    });
}
