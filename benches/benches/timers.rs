//! Arming, re-arming and cancelling with 100,000 timers armed.
//!
//! Guards against timers whose cost grows with their number, and against a base that adds a lock, a look-up or a system
//! call to each. Ids are `timers/OPERATION/WHO`, per timer; deadlines are spread over a minute:
//!
//! * `grow` arms them for the first time, `arm` again in memory that is there;
//! * `rearm` and `cancel` go in the order of arming, `rearm_mixed` and `cancel_mixed` in random order;
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

/// 100,000 timers of one kind.
trait Timers {
    const NAME: &'static str;

    fn new() -> Self;
    fn arm(&mut self, timer: usize, tick: u64);
    fn rearm(&mut self, timer: usize, tick: u64);
    fn cancel(&mut self, timer: usize);
}

struct OfWheel {
    wheel: Wheel<u32>,
    keys: Vec<Option<TimerKey>>,
}

impl Timers for OfWheel {
    const NAME: &'static str = "wheel";

    fn new() -> Self {
        Self { wheel: Wheel::new(Tick(0)), keys: vec![None; COUNT] }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.keys[timer] = Some(self.wheel.insert(Tick(tick), timer as u32));
    }

    fn rearm(&mut self, timer: usize, tick: u64) {
        let done = self.keys[timer].map(|key| self.wheel.rearm(key, Tick(tick)));
        debug_assert_eq!(done, Some(true));
    }

    fn cancel(&mut self, timer: usize) {
        let value = self.keys[timer].and_then(|key| self.wheel.cancel(key));
        debug_assert_eq!(value, Some(timer as u32));
    }
}

struct OfBase {
    base: Base,
    keys: Vec<Key>,
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
        Self { base, keys }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.base.arm(self.keys[timer], Time::from_tick(Tick(tick)));
    }

    fn rearm(&mut self, timer: usize, tick: u64) {
        self.arm(timer, tick);
    }

    fn cancel(&mut self, timer: usize) {
        self.base.disarm(self.keys[timer]);
    }
}

struct OfTree {
    tree: BTreeMap<(u64, u32), u32>,
    ticks: Vec<u64>,
}

impl Timers for OfTree {
    const NAME: &'static str = "btree";

    fn new() -> Self {
        Self { tree: BTreeMap::new(), ticks: vec![0; COUNT] }
    }

    fn arm(&mut self, timer: usize, tick: u64) {
        self.ticks[timer] = tick;
        self.tree.insert((tick, timer as u32), timer as u32);
    }

    fn rearm(&mut self, timer: usize, tick: u64) {
        self.cancel(timer);
        self.arm(timer, tick);
    }

    fn cancel(&mut self, timer: usize) {
        black_box(self.tree.remove(&(self.ticks[timer], timer as u32)));
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
    let mut odd = false;
    let mut rearm = |order: &[usize], timers: &mut T| {
        odd = !odd;
        inputs.rearm(timers, order, odd)
    };
    bench("rearm", Box::new(|| rearm(&inputs.in_order, &mut timers)));
    bench("rearm_mixed", Box::new(|| rearm(&inputs.mixed, &mut timers)));
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

    fn rearm(&self, timers: &mut impl Timers, order: &[usize], odd: bool) -> Duration {
        let ticks = if odd { &self.second } else { &self.first };
        let start = Instant::now();
        for &timer in order {
            timers.rearm(timer, ticks[timer]);
        }
        start.elapsed()
    }

    fn cancel(&self, timers: &mut impl Timers, order: &[usize]) -> Duration {
        let start = Instant::now();
        for &timer in order {
            timers.cancel(timer);
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
