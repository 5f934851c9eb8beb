//! A deferred callback that asks for itself again.
//!
//! Guards against a deferred queue that allocates or locks for each callback, and against a turn that makes more than
//! one system call for a whole pass. One base is driven by hand; ids are `deferred/WHAT/HOW`, per callback:
//!
//! * `event`: DEFER_CALLBACKS, and the callback calls `trigger_event`;
//! * `read`: the same by `trigger`;
//! * `asked`: callbacks at once, and each asks for the next from the deferred queue with `Trigger::DEFER`;
//! * `callback/boxes`: a queue of boxed closures, the least there is.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bufferevent::runtime::Clock;
use bufferevent::{
    Base, BaseExt as _, Bufferevent, Context, Event, Handle, Handler, Id, Interest, Movable, Trigger,
};
use bufferevent_sync::Arc;
use bufferevent_sync::atomic::{AtomicU64, Ordering::Relaxed};
use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for ask in [Ask::Event, Ask::Read, Ask::Deferred] {
        confined(&mut criterion, ask);
        threadsafe(&mut criterion, ask);
    }
    boxes(&mut criterion);
    criterion.final_summary();
}

/// How a callback asks for the next.
#[derive(Clone, Copy)]
enum Ask {
    Event,
    Read,
    Deferred,
}

impl Ask {
    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Read => "read",
            Self::Deferred => "asked",
        }
    }

    fn again(self, bufferevent: &mut Bufferevent) {
        match self {
            Self::Event => bufferevent.trigger_event(1, Trigger::PLAIN),
            Self::Read => bufferevent.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS),
            Self::Deferred => bufferevent.trigger_event(1, Trigger::DEFER),
        }
    }
}

/// Counts down, and asks for the next callback until it is at zero.
struct Again {
    ask: Ask,
    left: Arc<AtomicU64>,
}

impl Again {
    fn next(&self, cx: &mut Context<'_>) {
        // One thread; an atomic only because a handler of a strand is `Send`.
        let left = self.left.load(Relaxed) - 1;
        self.left.store(left, Relaxed);
        if left > 0 {
            self.ask.again(cx);
        }
    }
}

impl Handler for Again {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        self.next(cx);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, _: Event) {
        self.next(cx);
    }
}

fn confined(criterion: &mut Criterion, ask: Ask) {
    criterion.benchmark_group("deferred").bench_function(
        BenchmarkId::new("confined", ask.name()),
        |bencher| {
            let (mut base, left) = (base(), Arc::new(AtomicU64::new(0)));
            let id: Id = match ask {
                Ask::Deferred => Bufferevent::detached(),
                _ => Bufferevent::detached().deferred(),
            }
            .handler(Again { ask, left: Arc::clone(&left) })
            .start(&mut base)
            .expect("a bufferevent without descriptor starts");
            bencher.iter_custom(|count| {
                left.store(count, Relaxed);
                base.bufferevent(id).map(|bufferevent| ask.again(bufferevent)).expect("it is there");
                run_down(&mut base, &left)
            });
        },
    );
}

fn threadsafe(criterion: &mut Criterion, ask: Ask) {
    criterion.benchmark_group("deferred").bench_function(
        BenchmarkId::new("threadsafe", ask.name()),
        |bencher| {
            let (mut base, left) = (base(), Arc::new(AtomicU64::new(0)));
            let handle: Handle = match ask {
                Ask::Deferred => Bufferevent::detached(),
                _ => Bufferevent::detached().deferred(),
            }
            .threadsafe()
            .handler(Again { ask, left: Arc::clone(&left) })
            .start(&mut base)
            .expect("a bufferevent without descriptor starts");
            bencher.iter_custom(|count| {
                left.store(count, Relaxed);
                handle.lock().map(|mut guard| ask.again(&mut guard)).expect("it is there");
                run_down(&mut base, &left)
            });
        },
    );
}

fn boxes(criterion: &mut Criterion) {
    criterion.benchmark_group("deferred").bench_function(BenchmarkId::new("callback", "boxes"), |bencher| {
        let left = Arc::new(AtomicU64::new(0));
        let mut queue: VecDeque<Box<dyn FnMut()>> = VecDeque::new();
        let counted = Arc::clone(&left);
        queue.push_back(Box::new(move || counted.store(counted.load(Relaxed) - 1, Relaxed)));
        bencher.iter_custom(|count| {
            left.store(count, Relaxed);
            let start = Instant::now();
            while left.load(Relaxed) > 0 {
                let Some(mut call) = queue.pop_front() else { break };
                call();
                queue.push_back(black_box(call));
            }
            start.elapsed()
        });
    });
}

fn run_down(base: &mut Base, left: &AtomicU64) -> Duration {
    let start = Instant::now();
    while left.load(Relaxed) > 0 {
        base.turn(Some(Duration::ZERO)).expect("the selector works");
    }
    start.elapsed()
}

fn base() -> Base {
    Base::<Movable>::with_clock(Clock::monotonic()).expect("the system has a selector to give")
}
