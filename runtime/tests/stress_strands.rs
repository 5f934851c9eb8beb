//! Strands under random posts, locks, closes, breaks and long runs from all sides, with a watchdog.
//!
//! `BEV_STRESS_SECONDS=600 cargo test --release -p bufferevent-runtime --test stress_strands` runs for long; without it
//! each shape has a second. Half of the time no timer is set, so that workers sleep without a limit and a wake-up
//! that is lost stays lost. A strand that waits for long without a run fails the test with a dump of all words.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent_runtime::{
    BaseHandle, Body, Census, Error, Held, Left, Lent, Placement, Reasons, Runtime, Strand, lock_both,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};
use common::{PATIENCE, Running};

/// Strands at any time.
const STRANDS: usize = 48;

/// Threads that are no workers.
const CLIENTS: u64 = 3;

/// A strand that waits for so long is looked at again after [`DOUBT`]; a busy machine can make it wait once.
const SUSPICIOUS: Duration = Duration::from_secs(1);
const DOUBT: Duration = Duration::from_secs(4);

/// xorshift: which strand, which deed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) % bound
    }
}

/// What all threads share.
struct World {
    runtime: Runtime,
    bases: Vec<BaseHandle>,
    /// `None` only before the start.
    strands: Vec<Mutex<Option<Arc<Strand<Subject>>>>>,
    timers: AtomicBool,
    stop: AtomicBool,
    made: AtomicU64,
    ended: AtomicU64,
    runs: AtomicU64,
}

/// What a strand under test shows to all.
#[derive(Default)]
struct Face {
    inside: AtomicBool,
    posted: AtomicU64,
    seen: AtomicU64,
    dead: AtomicBool,
}

struct Subject {
    world: Arc<World>,
    dice: Dice,
    /// Counted without atomics, under the lock.
    value: u64,
    started: bool,
}

impl World {
    fn make(self: &Arc<Self>, seed: u64) -> Arc<Strand<Subject>> {
        let base = &self.bases[seed as usize % self.bases.len()];
        let placement = if seed % 3 == 0 { Placement::Base } else { Placement::Any };
        // ORDER: Relaxed here and in all that only counts; the numbers are compared when all threads have ended.
        self.made.fetch_add(1, Ordering::Relaxed);
        let body = |_| Subject { world: Arc::clone(self), dice: Dice::new(seed), value: 0, started: false };
        base.strand(placement, Face::default(), body).unwrap()
    }

    fn any(&self, dice: &mut Dice) -> Arc<Strand<Subject>> {
        self.at(dice.below(STRANDS as u64) as usize)
    }

    fn at(&self, index: usize) -> Arc<Strand<Subject>> {
        Arc::clone(self.strands[index].lock().as_ref().unwrap())
    }

    fn is_stopping(&self) -> bool {
        // ORDER: Acquire, pairs with the Release at the end of the shape.
        self.stop.load(Ordering::Acquire)
    }

    /// One deed of a thread that is no worker.
    fn disturb(self: &Arc<Self>, dice: &mut Dice) {
        match dice.below(100) {
            0..40 => post(&self.any(dice)),
            40..60 => {
                let strand = self.any(dice);
                let mut guard = strand.lock().unwrap();
                guard.value += 1;
                if dice.below(2) == 0 {
                    post(&strand);
                }
                if dice.below(2) == 0 {
                    guard.post_on_drop(Reasons::GUARD);
                }
            }
            60..68 => {
                let (one, other) = (self.any(dice), self.any(dice));
                match lock_both(&one, &other) {
                    Ok((mut a, mut b)) => std::mem::swap(&mut a.value, &mut b.value),
                    Err(error) => assert!(matches!(error, Error::WouldDeadlock) && Arc::ptr_eq(&one, &other)),
                }
            }
            68..76 => {
                if let Some(mut guard) = self.any(dice).try_lock() {
                    guard.value += 1;
                }
            }
            76..84 => {
                // Over a base to another's strand.
                let (world, mut inner) = (Arc::clone(self), Dice::new(dice.below(u64::MAX)));
                let base = &self.bases[dice.below(self.bases.len() as u64) as usize];
                let _refused_when_full = base.post(move |_| post(&world.any(&mut inner)));
            }
            84..90 => {
                let (world, mut inner) = (Arc::clone(self), Dice::new(dice.below(u64::MAX)));
                let _refused_when_full = self.runtime.spawn(move || post(&world.any(&mut inner)));
            }
            90..93 => {
                let slot = &self.strands[dice.below(STRANDS as u64) as usize];
                let fresh = self.make(dice.below(u64::MAX));
                let old = slot.lock().replace(fresh);
                old.unwrap().post(Reasons::CLOSE);
            }
            93..95 => {
                let base = &self.bases[dice.below(self.bases.len() as u64) as usize];
                base.break_now();
                thread::yield_now();
                base.resume();
            }
            // ORDER: Relaxed; from some time on, timers are set.
            95..98 if self.timers.load(Ordering::Relaxed) => {
                let strand = self.any(dice);
                let delay = Duration::from_micros(dice.below(3_000));
                strand.arm(Some(strand.base().deadline(delay)));
            }
            // A pause lets workers fall asleep.
            _ => thread::sleep(Duration::from_micros(dice.below(400))),
        }
    }

    /// A strand that has waited for longer than `limit`, with what it says.
    fn waits(&self, limit: Duration) -> Option<(usize, bufferevent_runtime::Time)> {
        let now = self.bases[0].now();
        let late = |since: &bufferevent_runtime::Time| now.since(*since) > limit;
        (0..STRANDS).find_map(|index| Some((index, self.at(index).waiting_since().filter(late)?)))
    }

    fn watch(&self) {
        let mut suspect = None;
        let mut since = Instant::now();
        while !self.is_stopping() {
            thread::sleep(Duration::from_millis(50));
            let found = self.waits(SUSPICIOUS);
            if found != suspect {
                (suspect, since) = (found, Instant::now());
            }
            if let (Some((index, _)), true) = (suspect, since.elapsed() > DOUBT) {
                self.fail(&format!("{:?} waits", self.at(index)));
            }
        }
    }

    fn fail(&self, what: &str) -> ! {
        let mut text = format!("{what}\n{}", self.runtime.dump());
        for index in 0..STRANDS {
            let strand = self.at(index);
            text += &format!("{strand:?} of base {} {:?}\n", strand.base().index(), strand.waiting_since());
        }
        eprintln!("{text}");
        std::process::abort();
    }
}

/// Posts, and notes that it did before.
fn post(strand: &Arc<Strand<Subject>>) {
    // ORDER: Release, pairs with the Acquire in the run that the post brings.
    strand.outer().posted.fetch_add(1, Ordering::Release);
    strand.post(Reasons::USER);
}

impl Body for Subject {
    type Outer = Face;

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, _: &mut Lent<'_>) -> Left {
        let strand = Arc::clone(held.strand());
        let face = strand.outer();
        // ORDER: AcqRel; a second run at the same time would find it set.
        assert!(!face.inside.swap(true, Ordering::AcqRel), "two runs at once");
        // ORDER: Acquire, pairs with the Release in `post`: the run sees all posts that brought it.
        face.seen.store(face.posted.load(Ordering::Acquire), Ordering::Relaxed);
        assert!(!face.dead.load(Ordering::Relaxed), "a run after the last");
        let left = act(held, reasons);
        face.inside.store(false, Ordering::Release);
        left
    }

    fn abandon(&mut self, outer: &Face) {
        assert!(!outer.dead.swap(true, Ordering::Relaxed), "abandoned after its end");
        self.world.ended.fetch_add(1, Ordering::Relaxed);
    }
}

fn act(held: &mut Held<'_, Subject>, reasons: Reasons) -> Left {
    let strand = Arc::clone(held.strand());
    let body = held.body();
    let world = Arc::clone(&body.world);
    world.runs.fetch_add(1, Ordering::Relaxed);
    assert_eq!(reasons.contains(Reasons::START), !body.started, "START comes first, and once: {reasons:?}");
    body.started = true;
    body.value += 1;
    if reasons.contains(Reasons::CLOSE) {
        strand.outer().dead.store(true, Ordering::Relaxed);
        world.ended.fetch_add(1, Ordering::Relaxed);
        return Left::Dead;
    }
    if world.is_stopping() {
        return Left::Idle;
    }
    match body.dice.below(400) {
        0..40 => {
            let other = world.any(&mut body.dice);
            post(&other);
            Left::Idle
        }
        40..60 => Left::Again(Reasons::DEFERRED),
        60..80 => {
            let other = world.any(&mut body.dice);
            if let Some(mut guard) = other.try_lock() {
                guard.value += 1;
                guard.post_on_drop(Reasons::GUARD);
            }
            Left::Idle
        }
        80..100 => {
            let other = world.any(&mut body.dice);
            strand.outer().inside.store(false, Ordering::Release);
            let ((), locked) = held.unlocked(|| {
                if let Ok(mut guard) = other.lock() {
                    guard.value += 1;
                }
            });
            if locked { Left::Idle } else { Left::Contended(Reasons::USER) }
        }
        100 => {
            thread::sleep(Duration::from_millis(2));
            Left::Idle
        }
        _ => Left::Idle,
    }
}

fn seconds() -> f64 {
    std::env::var("BEV_STRESS_SECONDS").ok().and_then(|value| value.parse().ok()).unwrap_or(3.0)
}

fn stress(workers: usize, bases: usize) {
    let runtime = Runtime::builder().workers(workers).bases(bases).trace(true).build().unwrap();
    let running = Running::start(runtime.clone());
    let world = Arc::new(World {
        bases: runtime.bases(),
        strands: (0..STRANDS).map(|_| Mutex::new(None)).collect(),
        runtime: runtime.clone(),
        timers: AtomicBool::new(false),
        stop: AtomicBool::new(false),
        made: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        runs: AtomicU64::new(0),
    });
    // No strand acts before all are there.
    let mut all: Vec<_> = world.strands.iter().map(|slot| slot.lock()).collect();
    for (seed, slot) in all.iter_mut().enumerate() {
        **slot = Some(world.make(seed as u64));
    }
    drop(all);
    let length = Duration::from_secs_f64(seconds() / 3.0);
    thread::scope(|scope| {
        let disturb = |client| {
            let mut dice = Dice::new(client + 1);
            while !world.is_stopping() {
                world.disturb(&mut dice);
            }
        };
        let mut threads = Vec::from_iter((0..CLIENTS).map(|client| scope.spawn(move || disturb(client))));
        threads.push(scope.spawn(|| world.watch()));
        thread::sleep(length / 2);
        // ORDER: Relaxed; see `disturb`.
        world.timers.store(true, Ordering::Relaxed);
        thread::sleep(length / 2);
        // ORDER: Release, pairs with `is_stopping`.
        world.stop.store(true, Ordering::Release);
        // By hand: the end of a scope is nothing to the thread sanitizer.
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    // Nothing is posted any more: the last run of each strand has seen the last post.
    let until = Instant::now() + PATIENCE;
    for index in 0..STRANDS {
        let strand = world.at(index);
        let face = strand.outer();
        while face.seen.load(Ordering::Acquire) != face.posted.load(Ordering::Acquire) {
            if Instant::now() > until {
                world.fail(&format!("{strand:?} has not seen the last post"));
            }
            thread::yield_now();
        }
    }
    runtime.shutdown(PATIENCE).unwrap();
    running.join().unwrap().unwrap();
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    eprintln!(
        "{workers} workers, {bases} bases: {} strands, {} runs, {} rescues, {} steals",
        count(&world.made),
        count(&world.runs),
        runtime.worker_counters().map(|worker| worker.rescues.get()).sum::<u64>(),
        runtime.worker_counters().map(|worker| worker.steals.get()).sum::<u64>(),
    );
    assert_eq!(count(&world.made), count(&world.ended), "each strand ended once");
    // A strand keeps the world, and the world it.
    world.strands.iter().for_each(|slot| drop(slot.lock().take()));
    for base in runtime.bases() {
        assert_eq!((base.objects(), base.counters().panics.get()), (0, 0));
    }
}

#[test]
fn no_token_is_lost_with_more_bases_than_workers() {
    let _census = Census::begin();
    stress(2, 4);
}

#[test]
fn no_token_is_lost_at_home() {
    let _census = Census::begin();
    stress(2, 2);
}

#[test]
fn no_token_is_lost_with_more_workers_than_bases() {
    let _census = Census::begin();
    stress(3, 1);
}
