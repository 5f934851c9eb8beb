//! One group over several bases: what its members move together is what it lets, wherever they live and move (D12, F52,
//! G-07, R8), and no base is needed by the members on another (F49). On the system's clock sums and upper bounds are
//! exact; on one that is turned by hand all is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bufferevent::{
    Base, BaseExt as _, BaseHandle, Bufferevent, Builder, Callbacks, Context, Direction, Event, Handle,
    Movable, NoHandler, RateLimitGroup, Runtime, TokenBucketConfig, Trigger, UnlockedHandler,
    runtime::{Clock, ManualClock},
    testing::Census,
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};

const LIMIT: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(5);
const MEMBERS: usize = 12;

fn limit(rate: u64, tick: Duration) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, rate, rate, rate, Some(tick)).unwrap()
}

fn connection() -> (Builder, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (Bufferevent::socket(ours), theirs)
}

/// Takes what has arrived.
fn received(peer: &mut UnixStream) -> usize {
    let (mut block, mut sum) = ([0; 16 * 1024], 0);
    while let Ok(n @ 1..) = peer.read(&mut block) {
        sum += n;
    }
    sum
}

/// Runs until it is dropped.
struct Running {
    runtime: Runtime,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn new(workers: usize, bases: usize) -> Self {
        let runtime = Runtime::builder().workers(workers).bases(bases).build().unwrap();
        let theirs = runtime.clone();
        Self { runtime, thread: Some(thread::spawn(move || theirs.run().unwrap())) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.stop();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "a worker panicked");
    }
}

/// Members, each of which has always something to move both ways.
struct Crowd {
    handles: Vec<Handle>,
    peers: Vec<UnixStream>,
    read: Arc<AtomicUsize>,
    /// Bytes that the peers have received.
    written: usize,
}

impl Crowd {
    fn new(bases: &[BaseHandle], group: &RateLimitGroup) -> Self {
        let read = Arc::new(AtomicUsize::new(0));
        let (mut handles, mut peers) = (Vec::new(), Vec::new());
        for member in 0..MEMBERS {
            let (builder, peer) = connection();
            let count = Arc::clone(&read);
            let handler = Callbacks::new().on_read(move |cx: &mut Context<'_>| {
                let len = cx.input().len();
                cx.input().drain(len).unwrap();
                count.fetch_add(len, Ordering::AcqRel);
            });
            let builder = builder.rate_limit_group(group).handler(handler).threadsafe();
            handles.push(builder.start(&mut bases[member % bases.len()].clone()).unwrap());
            peers.push(peer);
        }
        Self { handles, peers, read, written: 0 }
    }

    /// Sees to it that all have something to move, and counts what has moved.
    fn feed(&mut self) {
        for (handle, peer) in self.handles.iter().zip(&mut self.peers) {
            let _would_block = peer.write(&[1; 8_192]);
            let mut guard = handle.lock().unwrap();
            if guard.output().len() < 65_536 {
                guard.write(&[2; 32_768]).unwrap();
            }
        }
        self.count();
    }

    fn count(&mut self) {
        self.written += self.peers.iter_mut().map(received).sum::<usize>();
    }

    /// Nobody wants to move more: counts until the sums hold still with the group's.
    fn rest(&mut self, site: &RateLimitGroup) {
        for handle in &self.handles {
            handle.lock().unwrap().disable(bufferevent::Interest::BOTH);
        }
        let deadline = Instant::now() + LIMIT;
        loop {
            self.count();
            let moved = [self.read.load(Ordering::Acquire), self.written];
            let totals = [Direction::Read, Direction::Write].map(|direction| site.total(direction) as usize);
            if moved == totals {
                return;
            }
            assert!(Instant::now() < deadline, "{moved:?} were moved, {totals:?} counted");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn members_on_any_bases_that_move_and_change_groups_get_what_the_site_lets_and_no_more() {
    // F49, F52, F53, G-04, R8, X-33: whoever moves, joins another group, is reconfigured or loses its group on the way
    const RATE: u64 = 40_000;
    for (workers, bases) in [(1, 2), (2, 2), (2, 4), (3, 3)] {
        let _census = Census::begin();
        let running = Running::new(workers, bases);
        let bases = running.runtime.bases();
        let clock = Clock::monotonic();
        let since = clock.now();
        let site = RateLimitGroup::new(&limit(RATE, TICK));
        let mut tenants = [10_000, 30_000, 400_000].map(|rate| site.child(&limit(rate, TICK)).unwrap());
        let mut crowd = Crowd::new(&bases, &site);
        let mut samples = vec![(since, since, 0)];
        for step in 0..150 {
            let handle = &crowd.handles[step * 7 % MEMBERS];
            let _later = handle.set_base(&bases[step % bases.len()]).unwrap();
            let other = &crowd.handles[step * 5 % MEMBERS];
            let group = tenants.get(step * 3 % 4).unwrap_or(&site);
            if step % 2 == 0 {
                other.lock().unwrap().join_rate_limit_group(group).unwrap();
            } else {
                other.join_rate_limit_group(group).unwrap();
            }
            if step % 10 == 0 {
                // Its members are those of the site then.
                tenants[2] = site.child(&limit(400_000, TICK)).unwrap();
            }
            let rate = 10_000 + 10_000 * (step as u64 % 3);
            tenants[1].set_config(&limit(rate * (1 + step as u64 % 2), TICK * (1 + step as u32 % 2)));
            tenants[0].set_min_share(Some(step as u64 * 10));
            let began = clock.now();
            crowd.feed();
            samples.push((began, clock.now(), crowd.written));
            thread::sleep(Duration::from_millis(2));
        }
        // What was seen between the end of one count and that of a later one went after the former began.
        // A member that was served runs when a worker has time for it, which may be in a later tick: its turn is under way.
        let under_way = MEMBERS as u64 * RATE;
        for (at, (began, _, before)) in samples.iter().enumerate() {
            for (_, ended, after) in &samples[at..] {
                let ticks = (ended.since(*began).as_nanos() / TICK.as_nanos()) as u64 + 1;
                // The first is from when the group was made, when nothing was.
                let most = RATE * ticks + if at == 0 { 0 } else { RATE + under_way };
                let moved = (after - before) as u64;
                assert!(moved <= most, "{workers} workers: {moved} in {ticks} ticks");
            }
        }
        assert!(crowd.written > 0 && crowd.read.load(Ordering::Acquire) > 0);
        crowd.rest(&site);
        let snapshot = site.snapshot(Direction::Write);
        assert!(snapshot.throttled > Duration::ZERO && snapshot.level <= RATE as i64, "{snapshot:?}");
    }
}

/// Two bases that only the test turns, by one clock.
struct Two {
    bases: [Base<Movable>; 2],
    hand: ManualClock,
}

const BY_HAND: Duration = Duration::from_millis(100);

impl Two {
    fn new() -> Self {
        let (clock, hand) = Clock::manual();
        let bases = [(), ()].map(|()| Base::with_clock(clock.clone()).unwrap());
        Self { bases, hand }
    }

    fn group(&self, rate: u64) -> RateLimitGroup {
        RateLimitGroup::with_clock(&limit(rate, BY_HAND), self.hand.clock())
    }

    fn start(&mut self, base: usize, set_up: impl FnOnce(Builder) -> Builder) -> (Handle, UnixStream) {
        let (builder, peer) = connection();
        let builder = set_up(builder).configure(|b| _ = b.write(&[7; 50_000]).unwrap());
        let handle = builder.handler(NoHandler).threadsafe().start(&mut self.bases[base]).unwrap();
        (handle, peer)
    }

    fn turn(&mut self, base: usize) {
        for _ in 0..20 {
            self.bases[base].turn(Some(Duration::ZERO)).unwrap();
        }
    }

    fn pass(&mut self, turned: &[usize]) {
        self.hand.advance(BY_HAND);
        turned.iter().for_each(|base| self.turn(*base));
    }
}

#[test]
fn a_child_that_is_made_just_before_the_ticks_end_brings_nobody_the_next_tick() {
    // R8: its own ticks begin with those of the bases' timers, which is a moment to come
    let _census = Census::begin();
    let mut two = Two::new();
    let group = two.group(1_000);
    let (_waits, mut peer) = two.start(0, |b| b.rate_limit_group(&group));
    two.turn(0);
    assert_eq!(received(&mut peer), 1_000);
    two.hand.advance(BY_HAND - Duration::from_nanos(1));
    let _child = group.child(&limit(1_000, BY_HAND)).unwrap();
    two.turn(0);
    assert_eq!((received(&mut peer), group.total(Direction::Write)), (0, 1_000));
    two.hand.advance(Duration::from_nanos(1));
    two.turn(0);
    assert_eq!(received(&mut peer), 1_000);
}

#[test]
fn what_one_asks_before_its_start_brings_its_group_no_time() {
    // R-12, D12: it has no base yet, and so no clock but the system's
    let _census = Census::begin();
    let group = Two::new().group(1_000);
    group.decrement(Direction::Write, 1_000);
    let (builder, _peer) = connection();
    let _builder = builder.rate_limit_group(&group).configure(|b| {
        group.set_config(&limit(2_000, BY_HAND));
        assert_eq!(b.max_to_move(Direction::Write), 0);
    });
    assert_eq!(group.level(Direction::Write), 0);
}

#[test]
fn a_base_that_is_not_turned_stops_nobody_on_another() {
    // D12, F52, G-07: there, the group is filled by the base that it was made on
    let _census = Census::begin();
    let mut two = Two::new();
    let group = two.group(1_000);
    let (_rests, mut its_peer) = two.start(0, |b| b.rate_limit_group(&group));
    let (_goes_on, mut peer) = two.start(1, |b| b.rate_limit_group(&group));
    two.turn(0);
    two.turn(1);
    let mut moved = [received(&mut its_peer), received(&mut peer)];
    assert_eq!(moved, [1_000, 0]);
    two.turn(0);
    for _ in 0..20 {
        two.pass(&[1]);
        moved[1] += received(&mut peer);
    }
    let kept = 20_000 - moved[1];
    assert!(kept <= 1_000, "who does not run keeps one turn at most: {kept}");
    assert_eq!(received(&mut its_peer), 0);
    for _ in 0..20 {
        two.pass(&[0, 1]);
    }
    moved[0] += received(&mut its_peer);
    moved[1] += received(&mut peer);
    assert_eq!(moved.iter().sum::<usize>() as u64, group.total(Direction::Write));
    assert!(moved.iter().sum::<usize>() >= 40_000 && moved[0] >= 8_000, "{moved:?}");
}

/// One that its own limit, its group or both of them hold back, which `start` starts on the first base and `move_on` moves to
/// the second. The first is turned no more then.
fn each_goes_on_at_its_new_base<T>(start: impl Fn(&mut Two, Builder) -> T, move_on: impl Fn(&mut Two, T)) {
    for case in 0..3 {
        let _census = Census::begin();
        let mut two = Two::new();
        let group = two.group(1_000);
        let own = limit(1_000, BY_HAND);
        let (builder, mut peer) = connection();
        let builder = match case {
            0 => builder.rate_limit(&own),
            1 => builder.rate_limit_group(&group),
            _ => builder.rate_limit(&own).rate_limit_group(&group),
        };
        let started = start(&mut two, builder.configure(|b| _ = b.write(&[7; 50_000]).unwrap()));
        two.turn(0);
        assert_eq!(received(&mut peer), 1_000);
        move_on(&mut two, started);
        two.turn(1);
        for _ in 0..5 {
            assert_eq!(received(&mut peer), 0, "case {case}");
            two.pass(&[1]);
            assert_eq!(received(&mut peer), 1_000, "case {case}");
        }
    }
}

#[test]
fn one_that_moves_while_it_is_suspended_goes_on_at_its_new_base() {
    // F49, C-37
    each_goes_on_at_its_new_base(
        |two, builder| builder.handler(NoHandler).threadsafe().start(&mut two.bases[0]).unwrap(),
        |two, handle| handle.lock().unwrap().set_base(&two.bases[1].handle()).unwrap(),
    );
}

#[test]
fn a_confined_one_that_moves_while_it_is_suspended_goes_on_at_its_new_base() {
    // F49, C-37
    each_goes_on_at_its_new_base(
        |two, builder| builder.handler(NoHandler).start(&mut two.bases[0]).unwrap(),
        |two, id| {
            let other = two.bases[1].handle();
            two.bases[0].set_base(id, &other).unwrap();
        },
    );
}

/// Does something at its first event.
struct Once<F>(Option<F>);

impl<F: FnOnce(&Handle) + Send> UnlockedHandler for Once<F> {
    fn on_event(&mut self, own: &Handle, _: Event) {
        self.0.take().into_iter().for_each(|act| act(own));
    }
}

#[test]
fn limits_are_set_by_handles_from_unlocked_callbacks_and_other_threads() {
    // C-40, G-02: of its own bufferevent, of one on another base, of one that is suspended by them
    let _census = Census::begin();
    let mut two = Two::new();
    let group = two.group(1_000);
    let (builder, mut its_peer) = connection();
    let other = builder.handler(NoHandler).threadsafe().start(&mut two.bases[1]).unwrap();
    let (theirs, own_limit) = ((other.clone(), group.clone()), limit(500, BY_HAND));
    let act = move |own: &Handle| {
        own.set_rate_limit(Some(&own_limit)).unwrap();
        theirs.0.join_rate_limit_group(&theirs.1).unwrap();
    };
    let (builder, mut peer) = connection();
    let own = builder.threadsafe().unlocked(Once(Some(act))).start(&mut two.bases[0]).unwrap();
    own.trigger_event(1, Trigger::PLAIN).unwrap();
    two.turn(0);
    for handle in [&own, &other] {
        handle.write(&[7; 20_000]).unwrap();
    }
    for tick in 1..=5 {
        two.pass(&[0, 1]);
        assert_eq!([received(&mut peer), received(&mut its_peer)], [500, 1_000], "tick {tick}");
    }
    let freeing = thread::spawn({
        let (own, other) = (own.clone(), other.clone());
        move || {
            own.set_rate_limit(None).unwrap();
            other.leave_rate_limit_group().unwrap();
        }
    });
    freeing.join().unwrap();
    [0, 1].into_iter().for_each(|base| two.turn(base));
    assert_eq!([received(&mut peer), received(&mut its_peer)], [17_500, 15_000]);
}

#[test]
fn a_base_that_is_dropped_takes_its_members_and_nobody_elses_turn() {
    // F49, R8: what its end sends in spite of the limit is counted, and owed by all
    let _census = Census::begin();
    let mut two = Two::new();
    let group = two.group(1_000);
    let (_gone, mut its_peer) = two.start(0, |b| b.rate_limit_group(&group));
    let (_stays, mut peer) = two.start(1, |b| b.rate_limit_group(&group));
    two.turn(0);
    two.turn(1);
    two.pass(&[0, 1]);
    let Two { bases: [first, mut second], hand } = two;
    drop(first);
    let its = received(&mut its_peer);
    assert_eq!(its, 50_000, "a close that cannot wait");
    assert_eq!(group.snapshot(Direction::Write).members, 1);
    let mut moved = received(&mut peer);
    for _ in 0..60 {
        hand.advance(BY_HAND);
        for _ in 0..10 {
            second.turn(Some(Duration::ZERO)).unwrap();
        }
        moved += received(&mut peer);
    }
    assert_eq!(group.total(Direction::Write) as usize, its + moved);
    assert_eq!(its + moved, 62_000, "what the ticks have paid, the debt first");
}
