//! Trees of groups in the hands of several threads, each of which is a base: members take, settle, wait, withdraw, lease,
//! release, move to other bases and join other groups, while groups are made and dropped, reconfigured and given least
//! shares, and bells are rung late. Whatever they do, nothing moves that no tick has paid, each byte is counted once, and
//! nobody waits for ever.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bufferevent_ratelimit::{Bell, Direction, Grant, Group, Member, Nanos, TokenBucketConfig, Waiter, Want};
use bufferevent_sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use bufferevent_sync::{Arc, Mutex, RwLock};
use common::{MS, Random, START, config};

const WRITE: Direction = Direction::Write;
const THREADS: usize = 4;
const MEMBERS: usize = 8;
/// Of a thread in the first part; in the second all are to be served once more.
const ROUNDS: usize = 3_000;
const LIMIT: Duration = Duration::from_secs(30);

/// A member that waits.
struct Seat {
    woken: Arc<AtomicBool>,
    desk: Arc<Desk>,
}

/// A base: its alarms.
#[derive(Default)]
struct Desk {
    alarms: Mutex<Vec<(Bell<Seat>, Nanos)>>,
}

#[derive(Clone)]
struct At(Arc<Desk>);

impl PartialEq for At {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for At {}

impl Waiter for Seat {
    type Base = At;

    fn base(&self) -> At {
        At(Arc::clone(&self.desk))
    }

    fn wake(self) {
        self.woken.store(true, Ordering::Release);
    }

    fn alarm(base: &At, bell: &Bell<Self>, at: Nanos) {
        base.0.alarms.lock().push((bell.clone(), at));
    }
}

/// The time of all: it runs, or one thread turns it on while no other is in a round.
enum Time {
    Runs(Instant),
    Turned(RwLock<()>, AtomicU64),
}

impl Time {
    /// The first tick of a group that is made now: a little later, as that of a base's timers would.
    fn begins(&self, now: Nanos) -> Nanos {
        match self {
            Self::Runs(_) => now.after(Duration::from_micros(300)),
            Self::Turned(..) => now,
        }
    }
}

/// What a group may have let through.
struct Ledger {
    above: Option<Arc<Ledger>>,
    rate: u64,
    tick: u64,
    since: Nanos,
    moved: AtomicU64,
    dissolved: AtomicBool,
}

impl Ledger {
    /// F52: with a burst of one tick.
    fn check(&self, now: impl Fn() -> Nanos) {
        let moved = self.moved.load(Ordering::Acquire);
        if !self.dissolved.load(Ordering::Acquire) {
            let paid = self.rate * (1 + now().since(self.since) / self.tick);
            assert!(moved <= paid, "{moved} moved, {paid} paid, of a group with ticks of {}", self.tick);
        }
    }

    fn upwards(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |ledger| ledger.above.as_deref())
    }
}

struct Team {
    ledger: Arc<Ledger>,
    group: Group<Seat>,
}

impl Team {
    fn new(group: Group<Seat>, above: Option<&Self>, config: &TokenBucketConfig, since: Nanos) -> Self {
        let (limit, above) = (config.limit(WRITE), above.map(|above| Arc::clone(&above.ledger)));
        let (rate, tick) = (limit.rate(), limit.tick().as_nanos() as u64);
        let (moved, dissolved) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { group, ledger: Arc::new(Ledger { above, rate, tick, since, moved, dissolved }) }
    }

    fn child(&self, config: &TokenBucketConfig, since: Nanos) -> Self {
        Self::new(self.group.child(config, NonZeroU32::MIN, since).unwrap(), Some(self), config, since)
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.ledger.dissolved.store(true, Ordering::Release);
    }
}

/// What a bucket that is charged when bytes move holds.
struct Bucket {
    level: i128,
    seen: u64,
}

struct Stage {
    time: Time,
    site: Team,
    tenants: [Team; 2],
    /// Of the tenants, each for a while.
    teams: Mutex<Vec<std::sync::Arc<Team>>>,
    limits: [TokenBucketConfig; 4],
    desks: [Arc<Desk>; THREADS],
    resting: AtomicUsize,
    failed: AtomicBool,
}

impl Stage {
    fn new(time: Time, limits: [TokenBucketConfig; 4]) -> Self {
        let since = time.begins(START);
        let site = Team::new(Group::new(&limits[0], since), None, &limits[0], since);
        let tenants = [1, 2].map(|tenant| site.child(&limits[tenant], since));
        let teams = (0..4).map(|team| std::sync::Arc::new(tenants[team % 2].child(&limits[3], since)));
        let teams = Mutex::new(teams.collect());
        let desks = std::array::from_fn(|_| Arc::default());
        let (resting, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { time, site, tenants, teams, limits, desks, resting, failed }
    }

    fn now(&self) -> Nanos {
        match &self.time {
            Time::Runs(since) => START.after(since.elapsed()),
            Time::Turned(_, now) => Nanos(now.load(Ordering::Acquire)),
        }
    }

    fn join(&self, random: &mut Random) -> (Member<Seat>, Arc<Ledger>) {
        let weight = NonZeroU32::new(1 + random.below(3) as u32).unwrap();
        let of = |team: &Team| (team.group.join(weight), Arc::clone(&team.ledger));
        match random.below(6) {
            0 => of(&self.site),
            tenant @ 1..3 => of(&self.tenants[tenant - 1]),
            _ => {
                let team = std::sync::Arc::clone(&self.teams.lock()[random.below(4)]);
                of(&team)
            }
        }
    }

    /// Does something to a group.
    fn meddle(&self, random: &mut Random, now: Nanos) {
        let tenant = random.below(2);
        let group = [&self.site.group, &self.tenants[0].group, &self.tenants[1].group][random.below(3)];
        match random.below(8) {
            // To the same: what it pays does not change.
            0 => self.tenants[tenant].group.set_config(&self.limits[1 + tenant], now),
            1 => self.site.group.set_config(&self.limits[0], now),
            2 => group.set_min_share([None, Some(0), Some(1_000), Some(100_000)][random.below(4)], now),
            3 => group.decrement(WRITE, random.below(1_000) as i64, now),
            4 => assert!(group.snapshot(WRITE, now).waiting <= THREADS * MEMBERS),
            _ => {
                let team =
                    std::sync::Arc::new(self.tenants[tenant].child(&self.limits[3], self.time.begins(now)));
                let place = 2 * random.below(2) + tenant;
                let before = std::mem::replace(&mut self.teams.lock()[place], team);
                drop(before);
            }
        }
    }
}

/// One connection.
struct Actor {
    member: Member<Seat>,
    ledger: Arc<Ledger>,
    woken: Arc<AtomicBool>,
    desk: usize,
    /// Since the second part began.
    served: bool,
}

impl Actor {
    fn new(stage: &Stage, random: &mut Random) -> Self {
        let (member, ledger) = stage.join(random);
        Self { member, ledger, woken: Arc::default(), desk: random.below(THREADS), served: false }
    }

    fn seat<'a>(&'a mut self, stage: &'a Stage) -> (&'a mut Member<Seat>, impl Fn() -> Seat + 'a) {
        let (woken, desk) = (&self.woken, &stage.desks[self.desk]);
        (&mut self.member, || Seat { woken: Arc::clone(woken), desk: Arc::clone(desk) })
    }

    /// Some operations in a row. Who waits and is not woken takes only now and then.
    fn run(&mut self, stage: &Stage, random: &mut Random, now: Nanos) {
        let is_called = self.woken.swap(false, Ordering::AcqRel);
        if self.member.is_waiting(WRITE) && !is_called && random.below(50) > 0 {
            return;
        }
        for _ in 0..1 + random.below(4) {
            let once = 1 + random.below(20_000) as u64;
            let part =
                |granted: u64, random: &mut Random| if random.below(4) > 0 { granted } else { granted / 2 };
            if self.member.leased(WRITE, now) >= once {
                let used = part(once, random);
                self.member.spend(WRITE, used);
                self.moves(stage, used);
                continue;
            }
            let (member, seat) = self.seat(stage);
            match member.take(WRITE, Want { once, in_all: once * (1 + random.below(4) as u64) }, now, seat) {
                Grant::Granted(granted) => {
                    let used = part(granted, random);
                    self.moves(stage, used);
                    self.member.settle(WRITE, granted, used, now);
                    self.served = true;
                }
                Grant::Wait => return,
                Grant::Left => panic!("the site is there"),
            }
        }
        self.member.withdraw(WRITE, now);
    }

    fn moves(&self, stage: &Stage, bytes: u64) {
        for ledger in self.ledger.upwards() {
            ledger.moved.fetch_add(bytes, Ordering::AcqRel);
            ledger.check(|| stage.now());
        }
    }

    fn change(&mut self, stage: &Stage, random: &mut Random, now: Nanos) {
        match random.below(6) {
            0 => {
                self.desk = random.below(THREADS);
                let (member, seat) = self.seat(stage);
                member.moved(|_| seat());
            }
            1 => {
                self.member.release(now);
                (self.member, self.ledger) = stage.join(random);
            }
            2 => (self.member, self.ledger) = stage.join(random),
            3 => self.member.release(now),
            4 => self.member.withdraw(WRITE, now),
            _ => assert!(self.member.most(WRITE, now) <= self.ledger.upwards().last().unwrap().rate * 2),
        }
    }
}

/// A thread: what it does between two looks at the time.
fn round(stage: &Stage, base: usize, actors: &mut [Actor], random: &mut Random, is_over: bool) {
    let now = stage.now();
    let mut alarms = Vec::new();
    // Now and then it is late.
    if is_over || random.below(3) > 0 {
        stage.desks[base].alarms.lock().retain(|(bell, at)| {
            let is_due = *at <= now;
            alarms.extend(is_due.then(|| bell.clone()));
            !is_due
        });
    }
    for bell in alarms {
        if let Some(next) = bell.ring(&At(Arc::clone(&stage.desks[base])), now) {
            assert!(next > now, "the next alarm is later");
            stage.desks[base].alarms.lock().push((bell, next));
        }
    }
    for actor in &mut *actors {
        if is_over && actor.served {
            actor.member.withdraw(WRITE, now);
            continue;
        }
        actor.run(stage, random, now);
        if !is_over && random.below(40) == 0 {
            actor.change(stage, random, now);
        }
    }
    if !is_over && random.below(10) == 0 {
        stage.meddle(random, now);
    }
}

/// R1 in any window, of what one bucket for each of the groups that stay holds.
fn turn(now: &AtomicU64, by: u64, ledgers: [&Ledger; 3], buckets: &mut [Bucket; 3]) {
    let now = now.fetch_add(by, Ordering::AcqRel);
    let next = now + by;
    for (ledger, bucket) in ledgers.into_iter().zip(buckets) {
        let moved = ledger.moved.load(Ordering::Acquire);
        bucket.level -= i128::from(moved - std::mem::replace(&mut bucket.seen, moved));
        assert!(bucket.level >= 0, "{} too much at {now}, of {}", -bucket.level, ledger.rate);
        let ticks = |now: u64| Nanos(now).since(ledger.since) / ledger.tick;
        if ticks(next) > ticks(now) {
            bucket.level = ledger.rate.into();
        }
    }
}

fn play(time: Time, limits: [TokenBucketConfig; 4], turns: u64) {
    let stage = Stage::new(time, limits);
    let perform = |base: usize| {
        let mut random = Random::new(base as u64 + 11);
        let mut actors = Vec::from_iter((0..MEMBERS).map(|_| Actor::new(&stage, &mut random)));
        let ledgers = [&*stage.site.ledger, &*stage.tenants[0].ledger, &*stage.tenants[1].ledger];
        let mut buckets = ledgers.map(|ledger| Bucket { level: ledger.rate.into(), seen: 0 });
        let (deadline, mut rounds, mut rests) = (Instant::now() + LIMIT, 0, false);
        while stage.resting.load(Ordering::Acquire) < THREADS {
            let is_over = rounds >= ROUNDS;
            if rounds == ROUNDS {
                actors.iter_mut().for_each(|actor| actor.served = false);
            }
            rounds += 1;
            if let Time::Turned(rounds, _) = &stage.time {
                let _nobody_turns = rounds.read();
                round(&stage, base, &mut actors, &mut random, is_over);
            } else {
                round(&stage, base, &mut actors, &mut random, is_over);
            }
            if let (Time::Turned(rounds, now), 0) = (&stage.time, base) {
                let _nobody_is_in_one = rounds.write();
                turn(now, turns, ledgers, &mut buckets);
            }
            if is_over && !rests && actors.iter().all(|actor| actor.served) {
                rests = true;
                stage.resting.fetch_add(1, Ordering::AcqRel);
            }
            if stage.failed.load(Ordering::Acquire) {
                return;
            }
            let waiting =
                || Vec::from_iter(actors.iter().filter(|actor| !actor.served).map(|actor| &actor.member));
            assert!(Instant::now() < deadline, "somebody waits for ever: {:?}", waiting());
        }
    };
    // A failure ends the others too, and is the only one that is told.
    let guarded = |base| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| perform(base)));
        stage.failed.fetch_or(result.is_err(), Ordering::AcqRel);
        result.is_ok()
    };
    std::thread::scope(|scope| {
        let threads = Vec::from_iter((0..THREADS).map(|base| scope.spawn(move || guarded(base))));
        let fine = Vec::from_iter(threads.into_iter().map(|thread| thread.join().unwrap()));
        assert!(fine.iter().all(|fine| *fine), "a thread has failed: {fine:?}");
    });
    // R2: each byte is counted once.
    for team in [&stage.site, &stage.tenants[0], &stage.tenants[1]] {
        assert_eq!(team.group.total(WRITE), team.ledger.moved.load(Ordering::Acquire));
        let snapshot = team.group.snapshot(WRITE, stage.site.ledger.since);
        assert_eq!((snapshot.members_below + snapshot.members, snapshot.waiting), (0, 0));
    }
}

#[test]
fn no_group_lets_more_pass_than_its_ticks_have_paid_whatever_threads_do() {
    // R1, R2, R5, F52, G-07: with leases, and without
    for rate in [10_000_000, 30_000] {
        let limits = [
            config(rate, rate, 5),
            config(rate / 2, rate / 2, 3),
            config(rate, rate, 2),
            config(rate / 8, rate / 8, 1),
        ];
        play(Time::Runs(Instant::now()), limits, 0);
    }
}

#[test]
fn no_window_sees_more_than_the_burst_and_its_ticks() {
    // R1, R8, M5: turns of half a tick, so that what is granted is good to the end of the tick and no longer
    for rate in [10_000_000, 30_000] {
        let limits = [
            config(rate, rate, 60),
            config(rate / 2, rate / 2, 60),
            config(rate, rate, 60),
            config(rate / 8, rate / 8, 60),
        ];
        play(Time::Turned(RwLock::new(()), AtomicU64::new(START.0)), limits, 30 * MS);
    }
}
