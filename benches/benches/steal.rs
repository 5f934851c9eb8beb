//! Handing a strand to a thief.
//!
//! Guards against a thief that pays more for a stolen strand than the strand's owner saves: a base taken and put back
//! for each, locks, wakes. The owner posts to 1,000 strands inside a callback, wakes the other worker once and stays in
//! the callback until that one has run them all. Ids are `steal/strand/WHO`, per strand; `deque` is the deque alone, a
//! thread stealing boxed closures from it.

use std::hint::{black_box, spin_loop};
use std::thread;
use std::time::{Duration, Instant};

use bufferevent::Runtime;
use bufferevent_runtime::{Body, Held, Left, Lent, Placement, Reasons, Strand};
use bufferevent_sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use bufferevent_sync::{Arc, CachePadded, deque};
use criterion::{BenchmarkId, Criterion};
use crossbeam::channel::bounded;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    thief(&mut criterion);
    alone(&mut criterion);
    criterion.final_summary();
}

type Count = Arc<CachePadded<AtomicU64>>;

/// Counts its runs, once it has started.
struct Counting(Count);

impl Body for Counting {
    type Outer = ();

    fn run(held: &mut Held<'_, Self>, _: Reasons, _: &mut Lent<'_>) -> Left {
        // ORDER: AcqRel, pairs with the load of who waits.
        held.body().0.fetch_add(1, AcqRel);
        Left::Idle
    }

    fn abandon(&mut self, (): &()) {}
}

fn thief(criterion: &mut Criterion) {
    criterion.benchmark_group("steal").bench_function(BenchmarkId::new("strand", "thief"), |bencher| {
        let runtime = Runtime::builder().workers(2).bases(2).build().expect("the system has selectors");
        let runs = Count::default();
        let home = &runtime.bases()[0];
        let strands: Arc<[_]> = (0..STRANDS)
            .map(|_| home.strand(Placement::Any, (), |_| Counting(Arc::clone(&runs))))
            .collect::<Result<_, _>>()
            .expect("the base is there");
        thread::scope(|scope| {
            let running = scope.spawn(|| runtime.run());
            wait_for(&runs, STRANDS);
            bencher.iter_custom(|count| {
                let passes = count.div_ceil(STRANDS);
                let spent: Duration = (0..passes).map(|_| hand_over(&runtime, &strands, &runs)).sum();
                spent.mul_f64(count as f64 / (passes * STRANDS) as f64)
            });
            runtime.stop();
            running.join().expect("no worker panics").expect("the selectors work");
        });
    });
}

fn hand_over(runtime: &Runtime, strands: &Arc<[Arc<Strand<Counting>>]>, runs: &Count) -> Duration {
    let (done, finished) = bounded(1);
    let (strands, runs, bases) = (Arc::clone(strands), Arc::clone(runs), runtime.bases());
    // ORDER: Release; the post publishes it anyway.
    runs.store(0, Release);
    let owner = bases[0].clone();
    let posted = owner.post(move |_| {
        let start = Instant::now();
        strands.iter().for_each(|strand| strand.post(Reasons::USER));
        bases[1].post(|_| {}).expect("its inbox has room");
        wait_for(&runs, STRANDS);
        done.send(start.elapsed()).expect("the bench waits for it");
    });
    posted.expect("its inbox has room");
    finished.recv().expect("the owner ended")
}

fn alone(criterion: &mut Criterion) {
    criterion.benchmark_group("steal").bench_function(BenchmarkId::new("strand", "deque"), |bencher| {
        let queue = deque::Worker::<Box<dyn FnOnce() + Send>>::new_fifo();
        let (stealer, runs, stop) = (queue.stealer(), Count::default(), Count::default());
        thread::scope(|scope| {
            scope.spawn(|| {
                // ORDER: Acquire, pairs with the store at the end of the bench.
                while stop.load(Acquire) == 0 {
                    match stealer.steal() {
                        deque::Steal::Success(call) => call(),
                        _ => thread::yield_now(),
                    }
                }
            });
            bencher.iter_custom(|count| {
                let passes = count.div_ceil(STRANDS);
                let start = Instant::now();
                for _ in 0..passes {
                    // ORDER: Release; the pushes publish it anyway.
                    runs.store(0, Release);
                    for _ in 0..STRANDS {
                        let runs = Arc::clone(&runs);
                        queue.push(Box::new(move || {
                            black_box(runs.fetch_add(1, AcqRel));
                        }));
                    }
                    wait_for(&runs, STRANDS);
                }
                start.elapsed().mul_f64(count as f64 / (passes * STRANDS) as f64)
            });
            // ORDER: Release, pairs with the thief's load.
            stop.store(1, Release);
        });
    });
}

fn wait_for(runs: &AtomicU64, count: u64) {
    // ORDER: Acquire, pairs with the increments.
    while runs.load(Acquire) < count {
        spin_loop();
    }
}

const STRANDS: u64 = 1_000;
