//! THREADSAFE bufferevents under random writes, locks, switches, triggers, moves, closes and aborts from all sides, over
//! four bases on two workers, with a watchdog: one that waits for long without a run fails the test with a dump of all words.
//! What was accepted by one that was closed, and not aborted, must have arrived at its peer to the last byte, but for what
//! it says at its end that it did not send: a write that raced with the close. libevent has no such test (TT-09).
//!
//! All are members of nested rate-limit groups, which they change, and which change, all the time (R8, F49, F53): what was
//! sent and received is what the groups have counted, and never more than the site lets.
//!
//! `BEV_STRESS_SECONDS=600 cargo test --release -p bufferevent --test stress_bufferevents -- --nocapture` runs for long;
//! without it two seconds are enough.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    Bufferevent, Context, Direction, Error, Event, Handle, Handler, Interest, RateLimitGroup, Runtime,
    TokenBucketConfig, Trigger, UnlockedHandler, lock_both, runtime::Clock, testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// Pairs at any time.
const PAIRS: usize = 48;

/// Threads that are no workers.
const CLIENTS: u64 = 3;

/// One that waits for so long is looked at again after [`DOUBT`]; a busy machine can make it wait once.
const SUSPICIOUS: Duration = Duration::from_secs(1);
const DOUBT: Duration = Duration::from_secs(4);

/// How long the end may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// xorshift: which pair, which deed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What went one way.
#[derive(Default)]
struct Way {
    accepted: AtomicU64,
    received: AtomicU64,
    unsent: AtomicU64,
    aborted: AtomicBool,
    ended: AtomicBool,
}

/// Counts and drops what comes in, and closes when the peer has.
struct Sink {
    incoming: Arc<Way>,
    outgoing: Arc<Way>,
}

impl Sink {
    fn drain(&self, connection: &mut Bufferevent) {
        let len = connection.input().len();
        connection.input().drain(len).unwrap();
        self.incoming.received.fetch_add(len as u64, Ordering::SeqCst);
    }

    fn handle(&self, connection: &mut Bufferevent, event: &Event) {
        if event.is_terminal() {
            self.drain(connection);
            connection.close();
        }
    }

    fn note_end(&self, event: &Event) {
        if let Event::Closed(closed) = event {
            self.outgoing.unsent.fetch_add(closed.unsent as u64, Ordering::SeqCst);
            assert!(!self.incoming.ended.swap(true, Ordering::SeqCst), "closed twice");
        }
    }
}

impl Handler for Sink {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        self.drain(cx);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        self.note_end(&event);
        self.handle(cx, &event);
    }
}

/// A lock that is refused means that it has ended.
impl UnlockedHandler for Sink {
    fn on_read(&mut self, bufferevent: &Handle) {
        if let Ok(mut connection) = bufferevent.lock() {
            self.drain(&mut connection);
        }
    }

    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        self.note_end(&event);
        if let Ok(mut connection) = bufferevent.lock() {
            self.handle(&mut connection, &event);
        }
    }
}

/// Two bufferevents that talk to each other; only the first is closed from outside.
#[derive(Clone)]
struct Pair {
    first: Handle,
    second: Handle,
    there: Arc<Way>,
    back: Arc<Way>,
}

/// A site, tenants below it, and users of the first of these.
struct Groups {
    site: RateLimitGroup,
    others: [RateLimitGroup; 5],
    since: Instant,
}

/// Bytes that the site lets move each way in a tick: less than is written.
const SITE_RATE: u64 = 40_000;
const TICK: Duration = Duration::from_millis(5);

fn limit(rate: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, 2 * rate, rate, 2 * rate, Some(TICK)).unwrap()
}

impl Groups {
    fn new() -> Self {
        let since = Instant::now();
        let site = RateLimitGroup::with_clock(&limit(SITE_RATE), Clock::monotonic());
        let below = |group: &RateLimitGroup, rate| group.child(&limit(rate)).unwrap();
        let tenants = [10_000, 20_000, 400_000].map(|rate| below(&site, rate));
        let users = [2_000, 30_000].map(|rate| below(&tenants[0], rate));
        let others = tenants.into_iter().chain(users).collect::<Vec<_>>().try_into().unwrap();
        Self { site, others, since }
    }

    fn any(&self, dice: &mut Dice) -> &RateLimitGroup {
        match dice.roll(6) as usize {
            5 => &self.site,
            other => &self.others[other],
        }
    }

    fn change(&self, handle: &Handle, dice: &mut Dice) {
        let group = self.any(dice);
        match dice.roll(6) {
            0 => self.others[dice.roll(5) as usize].set_config(&limit(1_000 + dice.roll(100_000))),
            1 => group.set_min_share(Some(dice.roll(5_000))),
            2 => group.decrement(Direction::Write, dice.roll(20_000) as i64),
            3 => {
                let own = (dice.roll(2) == 0).then(|| limit(20_000 + dice.roll(100_000)));
                let _closed = handle.lock().map(|mut guard| guard.set_rate_limit(own.as_ref()));
            }
            _ => {
                let _closed = handle.lock().and_then(|mut guard| guard.join_rate_limit_group(group));
            }
        }
    }

    /// What the site has counted is at most what the ticks have paid.
    fn check(&self) {
        let written = self.site.total(Direction::Write);
        let ticks = (self.since.elapsed().as_nanos() / TICK.as_nanos()) as u64 + 2;
        assert!(written <= SITE_RATE * ticks, "{written} bytes in {ticks} ticks");
    }

    /// Nobody is to wait any more.
    fn open(&self) {
        for group in self.others.iter().chain([&self.site]) {
            group.set_config(&limit(1 << 40));
            group.decrement(Direction::Write, i64::MIN);
            group.decrement(Direction::Read, i64::MIN);
        }
    }
}

struct World {
    groups: Groups,
    runtime: Runtime,
    pairs: Vec<Mutex<Pair>>,
    closing: Mutex<Vec<Pair>>,
    until: Instant,
    deeds: AtomicU64,
}

fn start(
    runtime: &Runtime,
    groups: &Groups,
    stream: UnixStream,
    ways: [&Arc<Way>; 2],
    dice: &mut Dice,
) -> Handle {
    let bases = runtime.bases();
    let mut base = bases[dice.roll(bases.len() as u64) as usize].clone();
    let builder = Bufferevent::socket(stream).report_close().rate_limit_group(groups.any(dice)).threadsafe();
    let [incoming, outgoing] = ways.map(Arc::clone);
    let sink = Sink { incoming, outgoing };
    match dice.roll(3) {
        0 => builder.handler(sink).start(&mut base),
        1 => builder.handler(sink).deferred().start(&mut base),
        _ => builder.unlocked(sink).start(&mut base),
    }
    .unwrap()
}

fn pair(runtime: &Runtime, groups: &Groups, dice: &mut Dice) -> Pair {
    let (one, other) = UnixStream::pair().unwrap();
    let (there, back) = (Arc::<Way>::default(), Arc::<Way>::default());
    let first = start(runtime, groups, one, [&back, &there], dice);
    let second = start(runtime, groups, other, [&there, &back], dice);
    Pair { first, second, there, back }
}

/// Counts what was accepted; full and closed are answers like any other.
fn count<T>(way: &Way, bytes: usize, answer: Result<T, Error>) {
    match answer {
        Ok(_) => drop(way.accepted.fetch_add(bytes as u64, Ordering::SeqCst)),
        Err(Error::Closed | Error::OutputFull { .. } | Error::MailboxFull { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

impl World {
    fn pick(&self, dice: &mut Dice) -> Pair {
        self.pairs[dice.roll(PAIRS as u64) as usize].lock().clone()
    }

    fn replace(&self, dice: &mut Dice) -> Pair {
        let new = pair(&self.runtime, &self.groups, dice);
        let old = std::mem::replace(&mut *self.pairs[dice.roll(PAIRS as u64) as usize].lock(), new);
        self.closing.lock().push(old.clone());
        old
    }

    fn act(&self, dice: &mut Dice) {
        static DATA: [u8; 20_000] = [7; 20_000];
        let some = &DATA[..1 + dice.roll(3_000) as usize];
        let pair = self.pick(dice);
        match dice.roll(1_000) {
            0..500 => count(&pair.there, some.len(), pair.first.write(some)),
            500..600 => count(&pair.back, some.len(), pair.second.write(some)),
            600..700 => {
                if let Ok(mut guard) = pair.first.lock() {
                    count(&pair.there, some.len(), guard.write(some));
                    count(&pair.there, DATA.len(), guard.write(&DATA));
                }
            }
            700..750 => {
                let other = self.pick(dice);
                if let Ok((mut one, mut two)) = lock_both(&pair.first, &other.first) {
                    count(&pair.there, 1, one.write(&[1]));
                    count(&other.there, 1, two.write(&[2]));
                }
            }
            750..850 => {
                let directions = [Interest::READ, Interest::WRITE, Interest::BOTH][dice.roll(3) as usize];
                let handle = if dice.roll(2) == 0 { &pair.first } else { &pair.second };
                let _closed_or_full = handle.disable(directions);
                while matches!(handle.enable(directions), Err(Error::MailboxFull { .. })) {
                    thread::yield_now();
                }
            }
            850..900 => self.migrate(if dice.roll(2) == 0 { &pair.first } else { &pair.second }, dice),
            900..930 => self.groups.change(if dice.roll(2) == 0 { &pair.first } else { &pair.second }, dice),
            930..950 => {
                let _closed_or_full = pair.second.trigger(Interest::BOTH, Trigger::PLAIN);
                let _closed_or_full = pair.first.trigger_event(3, Trigger::PLAIN);
            }
            950..985 => self.replace(dice).first.close(),
            985..990 => drop(self.replace(dice).first.close_and_wait()),
            _ => {
                let old = self.replace(dice);
                old.there.aborted.store(true, Ordering::SeqCst);
                old.first.abort();
            }
        }
        self.deeds.fetch_add(1, Ordering::SeqCst);
    }

    /// Moves one to any of the bases, held or not.
    fn migrate(&self, moving: &Handle, dice: &mut Dice) {
        let bases = self.runtime.bases();
        let target = &bases[dice.roll(bases.len() as u64) as usize];
        let moved = match dice.roll(2) {
            0 => moving.set_base(target).map(drop),
            _ => moving.lock().and_then(|mut guard| guard.set_base(target)),
        };
        assert!(matches!(moved, Ok(()) | Err(Error::Closed | Error::MailboxFull { .. })), "{moved:?}");
    }

    /// Nobody waits for a run longer than a busy machine explains.
    fn watch(&self) {
        let late = |since: Option<_>, handle: &Handle| {
            since.is_some_and(|since| handle.base().now().since(since) > SUSPICIOUS)
        };
        while Instant::now() < self.until {
            thread::sleep(Duration::from_millis(100));
            self.groups.check();
            for slot in &self.pairs {
                let pair = slot.lock().clone();
                for handle in [&pair.first, &pair.second] {
                    let since = handle.waiting_since();
                    if late(since, handle) {
                        thread::sleep(DOUBT);
                        assert!(handle.waiting_since() != since, "it waits:\n{}", self.runtime.dump());
                    }
                }
            }
        }
    }

    fn settle(&self) {
        self.groups.check();
        self.groups.open();
        let mut all = std::mem::take(&mut *self.closing.lock());
        all.extend(self.pairs.iter().map(|slot| slot.lock().clone()));
        all.iter().for_each(|pair| pair.first.close());
        let deadline = Instant::now() + PATIENCE;
        let (mut unsent, mut taken) = (0, 0);
        for pair in &all {
            for way in [&pair.there, &pair.back] {
                while !way.ended.load(Ordering::SeqCst) {
                    assert!(Instant::now() < deadline, "one never ends:\n{}", self.runtime.dump());
                    thread::sleep(Duration::from_millis(1));
                }
            }
            let [accepted, received, left] = [&pair.there.accepted, &pair.there.received, &pair.there.unsent]
                .map(|bytes| bytes.load(Ordering::SeqCst));
            if !pair.there.aborted.load(Ordering::SeqCst) {
                assert_eq!(received + left, accepted, "bytes were lost; {left} of them were not sent");
                unsent += left;
            }
            assert!(received <= accepted, "bytes were doubled");
            taken += received + pair.back.received.load(Ordering::SeqCst);
        }
        // Of a close what was read is counted, and not taken by a handler; of an abort what was not is lost.
        let [read, written] =
            [Direction::Read, Direction::Write].map(|direction| self.groups.site.total(direction));
        assert!(taken <= read && read <= written, "{taken} bytes taken, {read} read, {written} written");
        let waited = self.groups.site.snapshot(Direction::Write).throttled;
        let deeds = self.deeds.load(Ordering::SeqCst);
        eprintln!(
            "{deeds} deeds, {} pairs, {unsent} bytes unsent, {written} written, {waited:?} waited",
            all.len()
        );
    }
}

#[test]
fn nothing_is_lost_and_nobody_waits_for_ever() {
    let _census = Census::begin();
    let seconds = std::env::var("BEV_STRESS_SECONDS").ok().and_then(|value| value.parse().ok());
    let runtime = Runtime::builder().workers(2).bases(4).trace(true).build().unwrap();
    let theirs = runtime.clone();
    let running = thread::spawn(move || theirs.run());
    let (groups, mut dice) = (Groups::new(), Dice(0x9E37_79B9_7F4A_7C15));
    let pairs = (0..PAIRS).map(|_| Mutex::new(pair(&runtime, &groups, &mut dice))).collect();
    let until = Instant::now() + Duration::from_secs_f64(seconds.unwrap_or(2.0));
    let world = World { groups, runtime, pairs, closing: Mutex::default(), until, deeds: AtomicU64::new(0) };
    thread::scope(|scope| {
        let mut threads: Vec<_> = (1..=CLIENTS)
            .map(|seed| {
                let world = &world;
                scope.spawn(move || {
                    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
                    while Instant::now() < world.until {
                        world.act(&mut dice);
                    }
                })
            })
            .collect();
        threads.push(scope.spawn(|| world.watch()));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    world.settle();
    world.runtime.stop();
    running.join().unwrap().unwrap();
}
