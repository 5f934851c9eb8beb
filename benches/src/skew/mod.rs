//! One hot base: what the second worker makes of it, and what the innocent notice.
//!
//! Two workers, two bases, THREADSAFE connections. Base 0 is hot: its heavy connections ask again as soon as they are
//! answered, and each answer costs 500 us of CPU time. Light connections on both bases ask once in 4 ms. The same load
//! goes to a runtime whose bases are pinned to their workers and to one whose workers steal, in turns.
//!
//! The second scene, [`Scene::Sleeper`]: in place of the heavy connections one whose callback sleeps for 50 ms, again
//! and again. The other worker has nothing else to do, and the light connections of the same base must not wait.

mod client;
mod server;

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use self::client::{Heavy, Light};
use self::server::{Job, Server};
use crate::compare::stats::Spread;

/// What goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Heavy connections on base 0, light ones on both.
    Hot,
    /// A connection that sleeps on base 0, light ones beside it.
    Sleeper,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Runtimes made afresh.
    pub rounds: usize,
    /// Turns of each side in a round.
    pub slices: usize,
    /// Length of a turn.
    pub slice: Duration,
    /// Heavy connections.
    pub heavy: usize,
    /// Light connections on each base.
    pub light: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self { rounds: 8, slices: 4, slice: Duration::from_millis(500), heavy: 6, light: 4 }
    }
}

/// What came of one scene, each figure by rounds. Times are in microseconds.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Heavy requests a second where bases are pinned, and where workers steal.
    pub heavy: [Spread; 2],
    /// The second over the first, round by round.
    pub ratio: Spread,
    /// Light requests, by `[pinned, stealing]` and by base; base 0 is the hot one.
    pub light: [[Latency; 2]; 2],
    /// What the workers that steal did, a second of load.
    pub work: Work,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Medians of the rounds.
    pub p50: Spread,
    /// 99th percentiles of the rounds.
    pub p99: Spread,
}

/// What workers did, a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Tasks taken from the other.
    pub steals: f64,
    /// Calls for help that woke the other.
    pub calls: f64,
    /// Turns of a base whose worker was in a callback.
    pub rescues: f64,
}

/// Plays `scene`, and tells `progress` after every round.
///
/// # Errors
/// The system has no sockets or threads to give, or a reply is missing.
pub fn play(scene: Scene, plan: &Plan, mut progress: impl FnMut(usize)) -> io::Result<Outcome> {
    let mut rounds = Vec::new();
    for round in 0..plan.rounds {
        rounds.push(Round::play(scene, plan)?);
        progress(round + 1);
    }
    let spread = |figure: &dyn Fn(&Round) -> f64| Spread::of(rounds.iter().map(figure));
    let latency = |side: usize, base: usize| Latency {
        p50: spread(&|round| round.sides[side].percentile(base, 50.0)),
        p99: spread(&|round| round.sides[side].percentile(base, 99.0)),
    };
    let stealing = |figure: fn(&Work) -> f64| spread(&|round| figure(&round.sides[1].work)).median;
    Ok(Outcome {
        heavy: [0, 1].map(|side| spread(&|round| round.sides[side].rate())),
        ratio: spread(&|round| round.sides[1].rate() / round.sides[0].rate()),
        light: [0, 1].map(|side| [0, 1].map(|base| latency(side, base))),
        work: Work {
            steals: stealing(|work| work.steals),
            calls: stealing(|work| work.calls),
            rescues: stealing(|work| work.rescues),
        },
    })
}

/// Both sides of one round: pinned, then stealing.
struct Round {
    sides: [Tally; 2],
}

impl Round {
    fn play(scene: Scene, plan: &Plan) -> io::Result<Self> {
        let mut sides = [Side::new(scene, plan, true)?, Side::new(scene, plan, false)?];
        for side in &mut sides {
            side.load(WARMUP)?;
            side.tally = Tally::new()?;
        }
        for slice in 0..plan.slices {
            // There and back: A B B A.
            let order = if slice % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                sides[side].load(plan.slice)?;
            }
        }
        Ok(Self { sides: sides.map(|side| side.tally) })
    }
}

/// One runtime and its clients.
struct Side {
    server: Server,
    heavy: Heavy,
    light: Light,
    tally: Tally,
}

impl Side {
    fn new(scene: Scene, plan: &Plan, pinned: bool) -> io::Result<Self> {
        let server = Server::start(pinned)?;
        let (mut heavy, mut light) = (Heavy::default(), Light::default());
        let (hot, count) = match scene {
            Scene::Hot => (Job::Burn(BURN), plan.heavy),
            Scene::Sleeper => (Job::Sleep(SLEEP), 1),
        };
        for _ in 0..count {
            heavy.add(server.connect(HOT, hot)?);
        }
        for _ in 0..plan.light {
            light.add(server.connect(HOT, Job::Echo)?, HOT);
            if scene == Scene::Hot {
                light.add(server.connect(INNOCENT, Job::Echo)?, INNOCENT);
            }
        }
        Ok(Self { server, heavy, light, tally: Tally::new()? })
    }

    fn load(&mut self, time: Duration) -> io::Result<()> {
        let Self { server, heavy, light, tally } = self;
        let (before, start) = (server.work(), Instant::now());
        let until = start + time;
        let requests = thread::scope(|scope| {
            let asking = scope.spawn(|| heavy.ask_until(until));
            let asked = light.ask_until(until, |base, took| tally.record(base, took));
            let requests = asking.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")));
            asked.and(requests)
        })?;
        tally.add(requests, start.elapsed(), [before, server.work()]);
        Ok(())
    }
}

/// What one side of one round came to.
struct Tally {
    requests: u64,
    seconds: f64,
    light: [Histogram<u64>; 2],
    work: Work,
}

impl Tally {
    fn new() -> io::Result<Self> {
        let histogram = || Histogram::new_with_max(LONGEST, DIGITS).map_err(io::Error::other);
        Ok(Self { requests: 0, seconds: 0.0, light: [histogram()?, histogram()?], work: Work::default() })
    }

    fn record(&mut self, base: usize, took: Duration) {
        self.light[base].saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn add(&mut self, requests: u64, time: Duration, [before, after]: [Work; 2]) {
        self.requests += requests;
        let seconds = self.seconds + time.as_secs_f64();
        let a_second = |had: f64, before: f64, after: f64| (had * self.seconds + after - before) / seconds;
        self.work = Work {
            steals: a_second(self.work.steals, before.steals, after.steals),
            calls: a_second(self.work.calls, before.calls, after.calls),
            rescues: a_second(self.work.rescues, before.rescues, after.rescues),
        };
        self.seconds = seconds;
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// In microseconds; not a number where there was no request.
    fn percentile(&self, base: usize, percent: f64) -> f64 {
        let light = &self.light[base];
        if light.is_empty() { f64::NAN } else { light.value_at_percentile(percent) as f64 / 1e3 }
    }
}

const HOT: usize = 0;
const INNOCENT: usize = 1;
const BURN: Duration = Duration::from_micros(500);
const SLEEP: Duration = Duration::from_millis(50);
/// The first long callback is what makes an idle worker keep watch.
const WARMUP: Duration = Duration::from_millis(200);
const LONGEST: u64 = 60_000_000_000;
const DIGITS: u8 = 3;
