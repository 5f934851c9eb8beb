//! Arming, re-arming and cancelling with 100,000 timers armed.
//!
//! Guards against timers whose cost grows with their number, and against a base that adds a lock, a look-up or a system
//! call to each. Ids are `timers/OPERATION/WHO`, per timer; deadlines are spread over a minute:
//!
//! * `grow` arms them for the first time, `arm` again after all were cancelled in random order;
//! * `rearm` and `cancel` go in the order of arming, `rearm_mixed` and `cancel_mixed` in random order; after such an `arm`
//!   neither is the order of the timers in memory;
//! * `wheel` is the wheel alone, `base` goes through `Base::arm` and `Base::disarm`, `btree` is an ordered map.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bufferevent_runtime::{After, Base, Clock, Key, Movable, Reasons, Source, Tick, Time, TimerKey, Wheel};
use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    measure::<OfWheel>(&mut criterion);
    measure::<OfBase>(&mut criterion);
    measure::<OfTree>(&mut criterion);
    criterion.final_summary();
}

/// 100,000 timers of one kind, and a line in which what names them stands one beside the other: their owner has the
/// name at hand.
trait Timers {
    const NAME: &'static str;

    fn new() -> Self;
    /// Arms a timer that is not armed.
    fn arm(&mut self, timer: usize, tick: u64);
    /// Lines the armed timers up in this order.
    fn line_up(&mut self, order: &[usize]);
    /// Re-arms the timer at `place` of the line.
    fn rearm(&mut self, place: usize, tick: u64);
    /// Cancels the timer at `place` of the line.
    fn cancel(&mut self, place: usize);
}

struct OfWheel {
    wheel: Wheel<u32>,
    keys: Vec<Option<TimerKey>>,
    line: Vec<TimerKey>,
}

impl Timers for OfWheel {
    const NAME: &'static str = "wheel";

    fn new() -> Self {
        Self { wheel: Wheel::new(Tick(0)), keys: vec![None; COUNT], line: Vec::new() }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.keys[timer] = Some(self.wheel.insert(Tick(tick), timer as u32));
    }

    fn line_up(&mut self, order: &[usize]) {
        self.line = order.iter().filter_map(|&timer| self.keys[timer]).collect();
    }

    fn rearm(&mut self, place: usize, tick: u64) {
        let moved = self.wheel.rearm(self.line[place], Tick(tick));
        debug_assert!(moved, "it is armed");
    }

    fn cancel(&mut self, place: usize) {
        black_box(self.wheel.cancel(self.line[place]));
    }
}

struct OfBase {
    base: Base,
    keys: Vec<Key>,
    line: Vec<Key>,
}

/// Has a timer and does nothing.
struct Idle;

impl Source<Movable> for Idle {
    fn run(&mut self, _: &mut Base, _: Key, _: Reasons) -> After {
        After::Idle
    }
}

impl Timers for OfBase {
    const NAME: &'static str = "base";

    fn new() -> Self {
        // A clock that stands still: the deadlines of every pass are ahead.
        let (clock, _hand) = Clock::manual();
        let mut base = Base::with_clock(clock).expect("the system has a selector to give");
        let keys = (0..COUNT).map(|_| base.insert(Idle)).collect();
        Self { base, keys, line: Vec::new() }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.base.arm(self.keys[timer], Time::from_tick(Tick(tick)));
    }

    fn line_up(&mut self, order: &[usize]) {
        self.line = order.iter().map(|&timer| self.keys[timer]).collect();
    }

    fn rearm(&mut self, place: usize, tick: u64) {
        self.base.arm(self.line[place], Time::from_tick(Tick(tick)));
    }

    fn cancel(&mut self, place: usize) {
        self.base.disarm(self.line[place]);
    }
}

struct OfTree {
    tree: BTreeMap<(u64, u32), u32>,
    ticks: Vec<u64>,
    line: Vec<(u64, u32)>,
}

impl Timers for OfTree {
    const NAME: &'static str = "btree";

    fn new() -> Self {
        Self { tree: BTreeMap::new(), ticks: vec![0; COUNT], line: Vec::new() }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.ticks[timer] = tick;
        self.tree.insert((tick, timer as u32), timer as u32);
    }

    fn line_up(&mut self, order: &[usize]) {
        self.line = order.iter().map(|&timer| (self.ticks[timer], timer as u32)).collect();
    }

    fn rearm(&mut self, place: usize, tick: u64) {
        self.cancel(place);
        let (_, timer) = self.line[place];
        self.line[place] = (tick, timer);
        self.tree.insert((tick, timer), timer);
    }

    fn cancel(&mut self, place: usize) {
        black_box(self.tree.remove(&self.line[place]));
    }
}

fn measure<T: Timers>(criterion: &mut Criterion) {
    let inputs = Inputs::new();
    let mut group = criterion.benchmark_group("timers");
    let mut bench = |operation: &str, mut pass: Box<dyn FnMut() -> Duration + '_>| {
        group.bench_function(BenchmarkId::new(operation, T::NAME), |bencher| {
            bencher.iter_custom(|count| per_timer(count, &mut pass));
        });
    };
    bench("grow", Box::new(|| inputs.arm(&mut T::new())));
    let mut timers = T::new();
    inputs.arm(&mut timers);
    bench(
        "arm",
        Box::new(|| {
            inputs.cancel(&mut timers, &inputs.mixed);
            inputs.arm(&mut timers)
        }),
    );
    for (operation, order) in [("cancel", &inputs.in_order), ("cancel_mixed", &inputs.mixed)] {
        bench(
            operation,
            Box::new(|| {
                let spent = inputs.cancel(&mut timers, order);
                inputs.arm(&mut timers);
                spent
            }),
        );
    }
    // As an `arm` leaves it.
    inputs.cancel(&mut timers, &inputs.mixed);
    inputs.arm(&mut timers);
    for (operation, order) in [("rearm", &inputs.in_order), ("rearm_mixed", &inputs.mixed)] {
        timers.line_up(order);
        let mut odd = false;
        bench(
            operation,
            Box::new(|| {
                odd = !odd;
                inputs.rearm(&mut timers, odd)
            }),
        );
    }
}

/// Runs whole passes, and answers what `count` timers of them took.
fn per_timer(count: u64, pass: &mut dyn FnMut() -> Duration) -> Duration {
    let passes = count.div_ceil(COUNT as u64);
    let spent: Duration = (0..passes).map(|_| pass()).sum();
    spent.mul_f64(count as f64 / (passes * COUNT as u64) as f64)
}

/// Deadlines and orders, the same for all.
struct Inputs {
    first: Vec<u64>,
    second: Vec<u64>,
    in_order: Vec<usize>,
    mixed: Vec<usize>,
}

impl Inputs {
    fn new() -> Self {
        let mut state = 1;
        let mut deadlines = || (0..COUNT).map(|_| 1 + random(&mut state) % MINUTE).collect();
        let (first, second) = (deadlines(), deadlines());
        let mut mixed: Vec<usize> = (0..COUNT).collect();
        for last in (1..COUNT).rev() {
            mixed.swap(last, (random(&mut state) % (last as u64 + 1)) as usize);
        }
        Self { first, second, in_order: (0..COUNT).collect(), mixed }
    }

    fn arm(&self, timers: &mut impl Timers) -> Duration {
        let start = Instant::now();
        for (timer, &tick) in self.first.iter().enumerate() {
            timers.arm(timer, tick);
        }
        start.elapsed()
    }

    /// Re-arms all timers of the line.
    fn rearm(&self, timers: &mut impl Timers, odd: bool) -> Duration {
        let ticks = if odd { &self.second } else { &self.first };
        let start = Instant::now();
        for (place, &tick) in ticks.iter().enumerate() {
            timers.rearm(place, tick);
        }
        start.elapsed()
    }

    /// Lines all timers up, then cancels them.
    fn cancel(&self, timers: &mut impl Timers, order: &[usize]) -> Duration {
        timers.line_up(order);
        let start = Instant::now();
        for place in 0..order.len() {
            timers.cancel(place);
        }
        start.elapsed()
    }
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

const COUNT: usize = 100_000;
/// In ticks of a millisecond.
const MINUTE: u64 = 60_000;
