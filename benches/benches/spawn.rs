//! Spawning a task from within a worker, and completing it.
//!
//! Guards against a spawn that locks or wakes when the worker itself will run the task, and against workers that fight
//! over a queue. A root task spawns 1,000 tasks that count, then itself again behind them. Ids are
//! `spawn/complete/WORKERS`, per task; `deque` is the deque of boxed closures alone, on one thread.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent::Runtime;
use bufferevent_sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Release};
use bufferevent_sync::{Arc, CachePadded, deque};
use criterion::{BenchmarkId, Criterion};
use crossbeam::channel::{Sender, bounded};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    runtime(&mut criterion, 1);
    runtime(&mut criterion, 2);
    alone(&mut criterion);
    criterion.final_summary();
}

type Count = Arc<CachePadded<AtomicU64>>;

/// Spawns what is left, a batch at a time.
struct Root {
    runtime: Runtime,
    left: u64,
    /// Tasks not completed.
    open: Count,
    done: Sender<Instant>,
}

impl Root {
    fn run(mut self) {
        let batch = self.left.min(BATCH);
        self.left -= batch;
        for _ in 0..batch {
            let open = Arc::clone(&self.open);
            self.runtime.spawn(move || complete(&open)).expect("a batch fits into the queue");
        }
        // ORDER: Acquire, pairs with the decrements in `complete`.
        if batch == 0 && self.open.load(Acquire) == 0 {
            self.done.send(Instant::now()).expect("the bench waits for it");
            return;
        }
        let runtime = self.runtime.clone();
        runtime.spawn(move || self.run()).expect("one more fits into the queue");
    }
}

fn complete(open: &AtomicU64) {
    // ORDER: Release, pairs with the load in `Root::run`; AcqRel so that each decrement carries those before it.
    open.fetch_sub(1, AcqRel);
}

fn runtime(criterion: &mut Criterion, workers: usize) {
    criterion.benchmark_group("spawn").bench_function(BenchmarkId::new("complete", workers), |bencher| {
        let runtime = Runtime::builder().workers(workers).build().expect("the system has selectors");
        let open = Count::default();
        thread::scope(|scope| {
            let running = scope.spawn(|| runtime.run());
            bencher.iter_custom(|count| spend(&runtime, &open, count));
            runtime.stop();
            running.join().expect("no worker panics").expect("the selectors work");
        });
    });
}

fn spend(runtime: &Runtime, open: &Count, count: u64) -> Duration {
    let (done, finished) = bounded(1);
    // ORDER: Release; the spawn below publishes it anyway.
    open.store(count, Release);
    let root = Root { runtime: runtime.clone(), left: count, open: Arc::clone(open), done };
    let (began, begun) = bounded(1);
    let start = move || {
        began.send(Instant::now()).expect("the bench waits for it");
        root.run();
    };
    runtime.spawn(start).expect("the runtime runs");
    let start = begun.recv().expect("the root began");
    finished.recv().expect("the root ended").duration_since(start)
}

fn alone(criterion: &mut Criterion) {
    criterion.benchmark_group("spawn").bench_function(BenchmarkId::new("complete", "deque"), |bencher| {
        let queue = deque::Worker::<Box<dyn FnOnce() + Send>>::new_fifo();
        let open = Count::default();
        bencher.iter_custom(|count| {
            open.store(count, Release);
            let (start, mut left) = (Instant::now(), count);
            while left > 0 {
                let batch = left.min(BATCH);
                left -= batch;
                for _ in 0..batch {
                    let open = Arc::clone(&open);
                    queue.push(Box::new(move || complete(&open)));
                }
                while let Some(task) = queue.pop() {
                    black_box(task)();
                }
            }
            start.elapsed()
        });
    });
}

const BATCH: u64 = 1_000;
