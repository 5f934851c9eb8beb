//! Taking from a limit before an operation, and giving back after it what was not used.
//!
//! Guards against a lock, a division of 128 bits or a false sharing on the way of every read and write. The limit never
//! binds, and time goes on by a microsecond an operation. Ids are `ratelimit/WHAT/THREADS`, per operation of one thread:
//!
//! * `clock`: `take` and `give` of a byte clock, the two RMWs that a member pays for each group above it;
//! * `mutex`: the same of a bucket under a mutex, the least that a lock can cost;
//! * `bucket`: `available` and `charge` of a bucket of one owner;
//! * `member`, `nested`: `take` and `settle` of a member of a group, and of one that is below three others.
//!
//! `ratelimit/serve/WAITING`: an alarm that serves so many members, who take and wait again. Guards against work for those
//! who are not served.

use std::cell::RefCell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use bufferevent_ratelimit::{
    Bell, ByteClock, Direction, Grant, Group, Member, Nanos, Plan, Taken, TokenBucket, TokenBucketConfig,
    Waiter, Want,
};
use bufferevent_sync::{CachePadded, Mutex};
use criterion::{BenchmarkId, Criterion};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    // The burst is far above what accrues while one thread is ahead of the other.
    let (rate, burst) = (1 << 30, 1 << 50);
    let tick = Duration::from_millis(10);
    let config = TokenBucketConfig::new(rate, burst, rate, burst, Some(tick)).expect("valid");
    for threads in [1, 2] {
        clock(&mut criterion, threads, &config);
        mutex(&mut criterion, threads, &config);
    }
    bucket(&mut criterion, &config);
    member(&mut criterion, "member", 1, &config);
    member(&mut criterion, "nested", 4, &config);
    for waiting in [100, 1_000] {
        serve(&mut criterion, waiting);
    }
    criterion.final_summary();
}

fn clock(criterion: &mut Criterion, threads: usize, config: &TokenBucketConfig) {
    let plan = Plan::new(config.limit(Direction::Read), START);
    let clock = ByteClock::new();
    let operation = |now: Nanos| match clock.take(&plan, WANT, now) {
        Taken::Granted(bytes) => clock.give(bytes - USED),
        Taken::Empty | Taken::Waiting => panic!("the limit does not bind"),
    };
    measure(criterion, "clock", threads, |now| _ = black_box(operation(now)));
}

fn mutex(criterion: &mut Criterion, threads: usize, config: &TokenBucketConfig) {
    let bucket = CachePadded::new(Mutex::new(TokenBucket::new(config, Direction::Read, START)));
    measure(criterion, "mutex", threads, |now| {
        let bytes = {
            let mut bucket = bucket.lock();
            let bytes = bucket.available(now).min(WANT);
            bucket.charge(bytes, now);
            bytes
        };
        bucket.lock().credit(bytes - USED, now);
    });
}

fn bucket(criterion: &mut Criterion, config: &TokenBucketConfig) {
    let mut bucket = TokenBucket::new(config, Direction::Read, START);
    let mut now = START;
    criterion.benchmark_group("ratelimit").bench_function(BenchmarkId::new("bucket", 1), |bencher| {
        bencher.iter(|| {
            now = now.after(STEP);
            let bytes = bucket.available(now).min(USED);
            bucket.charge(bytes, now);
            black_box(bytes)
        });
    });
}

fn member(criterion: &mut Criterion, what: &str, depth: usize, config: &TokenBucketConfig) {
    let mut group: Group<Waiting> = Group::new(config, START);
    for _ in 1..depth {
        group = group.child(config, ONE, START).expect("not deep");
    }
    let mut member = group.join(ONE);
    let mut now = START;
    criterion.benchmark_group("ratelimit").bench_function(BenchmarkId::new(what, 1), |bencher| {
        bencher.iter(|| {
            now = now.after(STEP);
            let grant = take(&mut member, now);
            assert!(grant, "the limit does not bind");
        });
    });
}

/// What each round wakes is known: all.
fn serve(criterion: &mut Criterion, waiting: u64) {
    let rate = waiting * WANT;
    let tick = Duration::from_millis(1);
    let config = TokenBucketConfig::new(rate, rate, rate, rate, Some(tick)).expect("valid");
    let group: Group<Waiting> = Group::new(&config, START);
    group.decrement(Direction::Read, i64::try_from(rate).expect("small"), START);
    let mut members = Vec::from_iter((0..waiting).map(|_| group.join(ONE)));
    let mut now = START;
    for member in &mut members {
        assert!(!take(member, now), "there is nothing yet");
    }
    let bell = BELL.with_borrow(Clone::clone).expect("somebody waits");
    criterion.benchmark_group("ratelimit").bench_function(BenchmarkId::new("serve", waiting), |bencher| {
        bencher.iter(|| {
            now = now.after(tick);
            let next = bell.ring(&(), now);
            assert_eq!(next, None, "all are served");
            for member in &mut members {
                // What it was given, and then nothing.
                assert!(take(member, now) && !take(member, now));
            }
        });
    });
}

/// Takes and settles, all or nothing.
fn take(member: &mut Member<Waiting>, now: Nanos) -> bool {
    match member.take(Direction::Read, Want::once(WANT), now, || Waiting) {
        Grant::Granted(bytes) => {
            member.settle(Direction::Read, black_box(bytes), bytes, now);
            true
        }
        Grant::Wait | Grant::Left => false,
    }
}

/// A member that is run by hand.
struct Waiting;

thread_local! {
    static BELL: RefCell<Option<Bell<Waiting>>> = const { RefCell::new(None) };
}

impl Waiter for Waiting {
    type Base = ();

    fn base(&self) {}

    fn wake(self) {}

    fn alarm((): &(), bell: &Bell<Self>, _: Nanos) {
        BELL.set(Some(bell.clone()));
    }
}

/// Runs the operation on each of the threads, so many times; the time is that of the slowest.
fn measure(criterion: &mut Criterion, what: &str, threads: usize, operation: impl Fn(Nanos) + Sync) {
    // Goes on from sample to sample: a limit knows no time before.
    let mut origin = START;
    criterion.benchmark_group("ratelimit").bench_function(BenchmarkId::new(what, threads), |bencher| {
        bencher.iter_custom(|times| {
            let from = origin;
            origin = from.after(STEP * u32::try_from(times).expect("a sample is short"));
            let run = || {
                let start = Instant::now();
                let mut now = from;
                for _ in 0..times {
                    now = now.after(STEP);
                    operation(now);
                }
                start.elapsed()
            };
            thread::scope(|scope| {
                let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
                let mine = run();
                let times = others.into_iter().map(|other| other.join().expect("no panic"));
                times.fold(mine, Duration::max)
            })
        });
    });
}

const START: Nanos = Nanos(0);
const ONE: NonZeroU32 = NonZeroU32::MIN;
const STEP: Duration = Duration::from_micros(1);
/// What a read asks for, and what it gets.
const WANT: u64 = 64 * 1024;
const USED: u64 = 64;
