//! Two bufferevents joined without a socket.
//!
//! Guards against a transfer that copies or allocates, and against a way from one half to the other that leaves the base
//! it is on. One base is driven by hand; ids are `pair/WHAT/HOW`:
//!
//! * `round_trip`: 64 bytes that both halves send back in their read callback, there and back;
//! * `one_way`: 64 KiB that are written into one half and drained in the read callback of the other;
//! * `buffers`: the same copies by two plain vectors, the least there is;
//! * `libevent`, `libevent_threadsafe`: a pair of the system's libevent, by a C program that is built on the spot. Without a C
//!   compiler or the library (its package; no headers are needed) these are absent.
//!
//! `pair count WHAT confined|threadsafe COUNT` runs one case that often and measures nothing: for who counts instructions. The
//! difference between a `COUNT` and its double is that of so many.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use benches::libevent::Libevent;
use benches::pair::{LIBEVENT, run_theirs};

use bufferevent::runtime::Clock;
use bufferevent::{Base, BaseExt as _, Bufferevent, Context, Handle, Handler, Id, Movable};
use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicU64, Ordering::Relaxed};
use criterion::{BenchmarkId, Criterion};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    if let [_, what, how, count] = args.as_slice() {
        return count_only(what, how, count);
    }
    let mut criterion = Criterion::default().configure_from_args();
    let libevent = Libevent::build("pair", LIBEVENT, Path::new(env!("CARGO_TARGET_TMPDIR")));
    for what in [What::RoundTrip, What::OneWay] {
        ours(&mut criterion, what, "confined", confined);
        ours(&mut criterion, what, "threadsafe", threadsafe);
        buffers(&mut criterion, what);
        match &libevent {
            Ok(libevent) => theirs(&mut criterion, what, libevent),
            Err(why) => println!("libevent is absent: {why}"),
        }
    }
    criterion.final_summary();
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    RoundTrip,
    OneWay,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "round_trip",
            Self::OneWay => "one_way",
        }
    }

    fn bytes(self) -> usize {
        match self {
            Self::RoundTrip => 64,
            Self::OneWay => 64 * 1024,
        }
    }
}

/// Sends back what arrives.
struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        output.append(input).expect("it is below its cap");
    }

    fn hears_write(&self) -> bool {
        false
    }
}

/// Counts down what arrives, and sends it back while there is more to come, if it is to.
struct Count {
    what: What,
    left: Arc<AtomicU64>,
}

impl Handler for Count {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let len = cx.input().len();
        // One thread; an atomic only because a handler of a strand is `Send`.
        let left = self.left.load(Relaxed) - len as u64;
        self.left.store(left, Relaxed);
        if self.what == What::OneWay || left == 0 {
            cx.input().drain(len).expect("it is there");
        } else {
            let (input, output) = cx.buffers();
            output.append(input).expect("it is below its cap");
        }
    }

    fn hears_write(&self) -> bool {
        false
    }
}

/// Runs one case so many times.
type Case = Box<dyn FnMut(u64) -> Duration>;

fn count_only(what: &str, how: &str, count: &str) {
    let whats = [What::RoundTrip, What::OneWay];
    let what = whats.into_iter().find(|is| is.name() == what).expect("round_trip or one_way");
    let mut case = if how == "threadsafe" { threadsafe(what) } else { confined(what) };
    case(count.parse().expect("a number"));
}

fn ours(criterion: &mut Criterion, what: What, how: &str, case: fn(What) -> Case) {
    let mut group = criterion.benchmark_group("pair");
    group.bench_function(BenchmarkId::new(what.name(), how), |bencher| bencher.iter_custom(case(what)));
}

fn confined(what: What) -> Case {
    let (mut base, left) = (base(), Arc::new(AtomicU64::new(0)));
    let (one, other) = Bufferevent::pair();
    let count = Count { what, left: Arc::clone(&left) };
    let [from, _]: [Id; 2] = match what {
        What::RoundTrip => [one.handler(count).start(&mut base), other.handler(Echo).start(&mut base)],
        What::OneWay => [one.handler(Echo).start(&mut base), other.handler(count).start(&mut base)],
    }
    .map(|started| started.expect("half of a pair starts"));
    Box::new(move |count| {
        run(&mut base, what, &left, count, |base, block| {
            base.bufferevent(from).and_then(|half| half.write(block)).expect("it is there");
        })
    })
}

fn threadsafe(what: What) -> Case {
    let (mut base, left) = (base(), Arc::new(AtomicU64::new(0)));
    let (one, other) = Bufferevent::pair();
    let (one, other) = (one.threadsafe(), other.threadsafe());
    let count = Count { what, left: Arc::clone(&left) };
    let [from, _]: [Handle; 2] = match what {
        What::RoundTrip => [one.handler(count).start(&mut base), other.handler(Echo).start(&mut base)],
        What::OneWay => [one.handler(Echo).start(&mut base), other.handler(count).start(&mut base)],
    }
    .map(|started| started.expect("half of a pair starts"));
    Box::new(move |count| {
        run(&mut base, what, &left, count, |_, block| {
            from.lock().and_then(|mut half| half.write(block)).expect("it is there");
        })
    })
}

/// `count` round trips of one block, or `count` blocks one after the other.
fn run(
    base: &mut Base,
    what: What,
    left: &AtomicU64,
    count: u64,
    mut write: impl FnMut(&mut Base, &[u8]),
) -> Duration {
    let source = vec![7_u8; what.bytes() + APART];
    let block = &source[..what.bytes()];
    let (writes, blocks) = match what {
        What::RoundTrip => (1, count),
        What::OneWay => (count, 1),
    };
    let start = Instant::now();
    for _ in 0..writes {
        left.store(blocks * block.len() as u64, Relaxed);
        write(base, block);
        while left.load(Relaxed) > 0 {
            base.turn(Some(Duration::ZERO)).expect("the selector works");
        }
    }
    start.elapsed()
}

fn buffers(criterion: &mut Criterion, what: What) {
    criterion.benchmark_group("pair").bench_function(BenchmarkId::new(what.name(), "buffers"), |bencher| {
        let source = vec![7_u8; what.bytes() + APART];
        let (block, mut there, mut back) = (&source[..what.bytes()], Vec::new(), Vec::new());
        bencher.iter(|| {
            there.extend_from_slice(black_box(block));
            if what == What::RoundTrip {
                back.extend_from_slice(black_box(&there));
                black_box(&mut back).clear();
            }
            black_box(&mut there).clear();
        });
    });
}

fn theirs(criterion: &mut Criterion, what: What, libevent: &Libevent) {
    for (name, how) in [("libevent", "confined"), ("libevent_threadsafe", "threadsafe")] {
        criterion.benchmark_group("pair").bench_function(BenchmarkId::new(what.name(), name), |bencher| {
            bencher.iter_custom(|count| {
                run_theirs(libevent, what.name(), how, count).expect("it has run before")
            });
        });
    }
}

/// What lies behind the source of a copy, so that the destination does not begin 16 bytes after it modulo 4 KiB, as the next
/// block of the allocator's does: some processors copy 64 KiB thirty times slower then.
const APART: usize = 1024;

fn base() -> Base {
    Base::<Movable>::with_clock(Clock::monotonic()).expect("the system has a selector to give")
}
