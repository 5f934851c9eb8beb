//! Many bufferevents under one limit of memory: who holds most waits, nobody is accepted, the hook is told, and all goes on
//! when memory is free again (F33).
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    io::Write as _, net::TcpStream, num::NonZeroUsize, os::unix::net::UnixStream, sync::Arc, time::Duration,
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Callbacks, ConnectionLimit, Context, Direction, Handle, Id, Interest,
    Listener, MEMORY_IDLE, MEMORY_LOOK, MemoryLimit, MemoryStage, Movable, NoHandler, Pinned, READS_PER_RUN,
    Suspend, Turned,
    runtime::{BLOCK, Clock, Random},
    testing::{Census, ManualBase, Wire},
};
use bufferevent_sync::Mutex;

const MIB: usize = 1 << 20;

/// What one member reads in one run: the limit may be passed by as much for each.
const RUN: usize = READS_PER_RUN as usize * BLOCK;

fn limit(bytes: usize) -> MemoryLimit {
    MemoryLimit::new(NonZeroUsize::new(bytes).unwrap())
}

/// A member, confined or THREADSAFE, whose input only the test drains.
struct Member {
    wire: Wire,
    who: Who,
}

enum Who {
    Confined(Id),
    Shared(Handle),
}

impl Member {
    fn start(base: &mut ManualBase, limit: &MemoryLimit, shared: bool) -> Self {
        let wire = Wire::new();
        let builder = Bufferevent::scripted(&wire).memory(limit).caps(None, None).handler(NoHandler);
        let who = if shared {
            Who::Shared(builder.threadsafe().start(base).unwrap())
        } else {
            Who::Confined(builder.start(base).unwrap())
        };
        base.settle().unwrap();
        Self { wire, who }
    }

    fn with<R>(&self, base: &mut ManualBase, f: impl FnOnce(&mut Bufferevent) -> R) -> R {
        match &self.who {
            Who::Confined(id) => base.bufferevent(*id).map(f).unwrap(),
            Who::Shared(handle) => f(&mut handle.lock().unwrap()),
        }
    }

    fn input(&self, base: &mut ManualBase) -> usize {
        self.with(base, |bufferevent| bufferevent.input().len())
    }

    fn drain(&self, base: &mut ManualBase, most: usize) -> usize {
        let drained = self.with(base, |bufferevent| {
            let n = bufferevent.input().len().min(most);
            bufferevent.input().drain(n).unwrap();
            n
        });
        base.settle().unwrap();
        drained
    }

    fn waits(&self, base: &mut ManualBase) -> bool {
        self.with(base, |bufferevent| bufferevent.suspended(Direction::Read).contains(Suspend::MEMORY))
    }
}

#[test]
fn who_holds_more_than_its_share_waits_and_goes_on_when_memory_is_free() {
    let _census = Census::begin();
    for shared in [false, true] {
        let (mut base, limit) = (ManualBase::new().unwrap(), limit(MIB));
        let hog = Member::start(&mut base, &limit, shared);
        let small = Member::start(&mut base, &limit, shared);
        hog.wire.deliver(&vec![1; 900 * 1024]);
        base.settle().unwrap();
        assert_eq!((limit.held(), limit.stage()), (900 * 1024, MemoryStage::Reading));
        hog.wire.deliver(&vec![2; 100 * 1024]);
        small.wire.deliver(&[3; 10_000]);
        // It settles: who waits keeps nobody busy.
        base.settle().unwrap();
        assert_eq!((hog.input(&mut base), small.input(&mut base)), (900 * 1024, 10_000));
        assert!(hog.waits(&mut base) && !small.waits(&mut base));
        assert_eq!((limit.waiting(), limit.members()), (1, 2));
        // Not below where the stage ends, which is 5 % under where it began.
        hog.drain(&mut base, 100 * 1024);
        assert_eq!((limit.stage(), hog.waits(&mut base)), (MemoryStage::Reading, true));
        hog.drain(&mut base, 100 * 1024);
        assert_eq!((limit.stage(), limit.waiting()), (MemoryStage::Calm, 0));
        assert_eq!((hog.input(&mut base), hog.waits(&mut base)), (800 * 1024, false));
        assert_eq!(limit.held(), 800 * 1024 + 10_000);
        // What has ended holds nothing, and is no member.
        hog.with(&mut base, Bufferevent::abort);
        base.settle().unwrap();
        assert_eq!((limit.held(), limit.members()), (10_000, 1));
        drop(base);
        drop(small);
        assert_eq!((limit.held(), limit.members()), (0, 0));
    }
}

#[test]
fn output_counts_and_is_written_while_reading_waits() {
    let _census = Census::begin();
    let (mut base, limit) = (ManualBase::new().unwrap(), limit(MIB));
    let member = Member::start(&mut base, &limit, false);
    member.wire.set_room(0);
    member.with(&mut base, |bufferevent| bufferevent.write(&vec![0; MIB]).unwrap());
    base.settle().unwrap();
    member.wire.deliver(b"unread");
    base.settle().unwrap();
    assert_eq!((limit.stage(), member.input(&mut base)), (MemoryStage::Critical, 0));
    member.wire.set_room(MIB);
    base.settle().unwrap();
    assert_eq!((limit.stage(), member.input(&mut base), limit.held()), (MemoryStage::Calm, 6, 6));
}

#[test]
fn nobody_is_accepted_from_ninety_per_cent_on_and_the_hook_is_told_each_stage() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let connections = ConnectionLimit::new(NonZeroUsize::new(100).unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let stages = Arc::clone(&told);
    let limit = MemoryLimit::builder(NonZeroUsize::new(MIB).unwrap())
        .pause(&connections)
        .on_stage(move |stage| {
            assert!(!bufferevent::runtime::holds_strand());
            stages.lock().push(stage);
            assert!(stage != MemoryStage::Accepting, "a panic of the hook is its own");
        })
        .build();
    let listener = Listener::bind("127.0.0.1:0").unwrap().limited_by(&connections);
    let address = listener.local_addr().unwrap();
    let listening = listener.start(&mut *base, |_, _| Ok(())).unwrap();
    let member = Member::start(&mut base, &limit, true);
    let fill = |base: &mut ManualBase, bytes: usize| {
        member.with(base, |bufferevent| bufferevent.write(&vec![0; bytes]).unwrap());
        base.settle().unwrap();
    };
    member.wire.set_room(0);
    let accepted = |base: &ManualBase| base.counters().accepted.get();
    for (bytes, stage) in
        [(850, MemoryStage::Reading), (80, MemoryStage::Accepting), (60, MemoryStage::Critical)]
    {
        fill(&mut base, bytes * 1024);
        assert_eq!((limit.stage(), told.lock().last()), (stage, Some(&stage)));
        let _peer = TcpStream::connect(address).unwrap();
        base.settle().unwrap();
        assert_eq!(accepted(&base), 1, "{stage:?}");
    }
    member.wire.set_room(usize::MAX);
    base.settle().unwrap();
    assert_eq!((limit.stage(), told.lock().last()), (MemoryStage::Calm, Some(&MemoryStage::Calm)));
    assert_eq!(accepted(&base), 3);
    // 64 KiB were sent at a time.
    use MemoryStage::{Accepting, Calm, Critical, Reading};
    assert_eq!(*told.lock(), [Reading, Accepting, Critical, Reading, Calm]);
    drop(listening);
}

/// Lets the peer of `member` take `bytes`.
fn take(base: &mut ManualBase, member: &Member, bytes: usize) {
    member.wire.set_room(bytes);
    base.settle().unwrap();
}

#[test]
fn who_holds_memory_and_moves_nothing_is_ended_when_there_is_none_left() {
    // F33: the longest idle first, and no more than it takes
    let _census = Census::begin();
    for shared in [false, true] {
        let (mut base, limit) = (ManualBase::new().unwrap(), limit(MIB));
        let start = |base: &mut ManualBase, held: usize| {
            let member = Member::start(base, &limit, shared);
            member.wire.set_room(0);
            member.with(base, |bufferevent| bufferevent.write(&vec![0; held]).unwrap());
            base.settle().unwrap();
            member
        };
        let small = start(&mut base, 10 * 1024);
        base.advance(Duration::from_secs(1)).unwrap();
        let oldest = start(&mut base, 40 * 1024);
        base.advance(Duration::from_secs(1)).unwrap();
        let idle = start(&mut base, 100 * 1024);
        let busy = start(&mut base, 400 * 1024);
        let drained = Member::start(&mut base, &limit, shared);
        drained.wire.deliver(&vec![0; 200 * 1024]);
        base.settle().unwrap();
        base.advance(MEMORY_IDLE).unwrap();
        assert_eq!((limit.stage(), limit.ended()), (MemoryStage::Calm, 0), "there is memory");
        take(&mut base, &busy, 1_000);
        drained.drain(&mut base, 1);

        // Now there is not.
        let newest = start(&mut base, 230 * 1024);
        for member in [&small, &oldest] {
            assert!(member.wire.is_closed(), "the longest idle");
        }
        assert!(idle.wire.is_closed(), "it took that one too");
        assert_eq!((limit.ended(), limit.stage()), (3, MemoryStage::Reading));
        let more = start(&mut base, 150 * 1024);
        assert_eq!(limit.stage(), MemoryStage::Critical);
        for _ in 0..3 {
            take(&mut base, &busy, 1_000);
            drained.drain(&mut base, 1);
            base.advance(MEMORY_IDLE - MEMORY_LOOK * 2).unwrap();
        }
        // They were looked for every second.
        assert_eq!((limit.ended(), newest.wire.is_closed()), (4, true));
        assert!(!busy.wire.is_closed() && !drained.wire.is_closed() && !more.wire.is_closed());
        assert!(limit.stage() < MemoryStage::Critical);
    }
}

#[test]
fn one_that_is_ended_for_its_memory_is_told_so_if_it_asked() {
    let _census = Census::begin();
    let (mut base, limit) = (ManualBase::new().unwrap(), limit(MIB));
    let told = Arc::new(Mutex::new(Vec::new()));
    let events = Arc::clone(&told);
    let handler = Callbacks::new()
        .on_event(move |_: &mut Context<'_, Pinned>, event| events.lock().push(format!("{event:?}")));
    let wire = Wire::new();
    wire.set_room(0);
    let builder =
        Bufferevent::scripted(&wire).memory(&limit).caps(None, None).report_close().handler(handler);
    let id = builder.start(&mut base).unwrap();
    base.bufferevent(id).unwrap().write(&vec![0; MIB]).unwrap();
    base.settle().unwrap();
    base.advance(MEMORY_IDLE + MEMORY_LOOK).unwrap();
    let told = told.lock();
    assert!(told.len() == 1 && told[0].starts_with("Closed") && told[0].contains("clean: false"), "{told:?}");
    assert_eq!((limit.held(), limit.members(), limit.ended(), wire.is_closed()), (0, 0, 1, true));
}

#[test]
fn nobody_is_ended_where_that_was_not_wanted() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let limit = MemoryLimit::builder(NonZeroUsize::new(MIB).unwrap()).end_idle(None).build();
    let member = Member::start(&mut base, &limit, false);
    member.wire.set_room(0);
    member.with(&mut base, |bufferevent| bufferevent.write(&vec![0; MIB]).unwrap());
    base.settle().unwrap();
    base.advance(MEMORY_IDLE * 100).unwrap();
    assert_eq!((limit.stage(), limit.ended(), member.wire.is_closed()), (MemoryStage::Critical, 0, false));
}

/// A member over a socket, on a base that the test turns; counts what it was told to read.
struct Far {
    handle: Handle,
    peer: UnixStream,
    reads: Arc<Mutex<usize>>,
}

/// What each of these holds: more than its share.
const HELD: usize = 450 * 1024;

impl Far {
    fn start(base: &mut Base<Movable>, limit: &MemoryLimit, held: usize) -> Self {
        let (ours, peer) = UnixStream::pair().unwrap();
        let reads: Arc<Mutex<usize>> = Arc::default();
        let told = Arc::clone(&reads);
        let handler = Callbacks::new().on_read(move |_: &mut Context<'_>| *told.lock() += 1);
        let builder = Bufferevent::socket(ours).enable(Interest::READ).memory(limit).handler(handler);
        let handle = builder.threadsafe().start(base).unwrap();
        turn(base);
        handle.write(&vec![0; held]).unwrap();
        turn(base);
        Self { handle, peer, reads }
    }
}

fn turn(base: &mut Base<Movable>) {
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
}

fn two_bases() -> [Base<Movable>; 2] {
    let clock = Clock::monotonic();
    [clock.clone(), clock].map(|clock| Base::with_clock(clock).unwrap())
}

#[test]
fn one_that_moves_while_it_waits_is_let_out_where_it_lives() {
    let _census = Census::begin();
    for move_back in [false, true] {
        let ([mut here, mut there], limit) = (two_bases(), limit(MIB));
        let hog = Far::start(&mut here, &limit, HELD);
        let mut waiting = Far::start(&mut here, &limit, HELD);
        waiting.peer.write_all(b"x").unwrap();
        turn(&mut here);
        assert_eq!((limit.stage(), limit.waiting()), (MemoryStage::Reading, 1));
        waiting.handle.lock().unwrap().set_base(&there.handle()).unwrap();
        turn(&mut here);
        turn(&mut there);
        if move_back {
            waiting.handle.lock().unwrap().set_base(&here.handle()).unwrap();
            turn(&mut there);
            turn(&mut here);
        }
        hog.handle.abort();
        turn(&mut here);
        turn(&mut there);
        turn(&mut here);
        assert_eq!((limit.stage(), limit.waiting(), *waiting.reads.lock()), (MemoryStage::Calm, 0, 1));
    }
}

#[test]
fn one_that_is_let_out_too_late_waits_again() {
    let _census = Census::begin();
    let ([mut here, mut there], limit) = (two_bases(), limit(MIB));
    let hog = Far::start(&mut here, &limit, HELD);
    let second = Far::start(&mut here, &limit, 0);
    let mut waiting = Far::start(&mut there, &limit, HELD);
    waiting.peer.write_all(b"x").unwrap();
    turn(&mut there);
    assert_eq!((limit.stage(), limit.waiting()), (MemoryStage::Reading, 1));
    hog.handle.abort();
    turn(&mut here);
    assert_eq!((limit.stage(), limit.waiting()), (MemoryStage::Calm, 0), "it is let out");
    second.handle.write(&vec![0; HELD]).unwrap();
    turn(&mut here);
    turn(&mut there);
    assert_eq!((limit.stage(), *waiting.reads.lock()), (MemoryStage::Reading, 0), "there is none left");
    second.handle.abort();
    turn(&mut here);
    turn(&mut there);
    assert_eq!((limit.stage(), limit.waiting(), *waiting.reads.lock()), (MemoryStage::Calm, 0, 1));
}

#[test]
fn one_whose_base_is_dropped_is_no_member_though_somebody_keeps_its_handle() {
    let _census = Census::begin();
    let ([mut here, there], limit) = (two_bases(), limit(MIB));
    let far = Far::start(&mut here, &limit, HELD);
    assert_eq!((limit.held(), limit.members()), (HELD, 1));
    drop((here, there));
    assert_eq!((limit.held(), limit.members()), (0, 0));
    assert!(far.handle.is_closing());
}

#[test]
fn a_base_that_ends_before_it_has_told_the_hook_leaves_that_to_another() {
    let _census = Census::begin();
    let ([mut here, mut there], told) = (two_bases(), Arc::<Mutex<Vec<MemoryStage>>>::default());
    let stages = Arc::clone(&told);
    let limit = MemoryLimit::builder(NonZeroUsize::new(MIB).unwrap())
        .on_stage(move |stage| stages.lock().push(stage))
        .build();
    let one = Far::start(&mut here, &limit, 0);
    one.handle.write(&vec![0; MIB]).unwrap();
    assert_eq!(limit.stage(), MemoryStage::Critical);
    // Its last member goes with it, and the word of that too.
    drop(here);
    told.lock().clear();
    let other = Far::start(&mut there, &limit, MIB);
    assert_eq!((limit.stage(), told.lock().last()), (MemoryStage::Critical, Some(&MemoryStage::Critical)));
    other.handle.abort();
    turn(&mut there);
    assert_eq!(told.lock().last(), Some(&MemoryStage::Calm));
}

/// Members read, are drained and closed in any order; in the end each that is left has read all that was sent to it.
#[test]
fn nothing_is_lost_and_the_limit_is_kept_whoever_drains_and_closes() {
    let _census = Census::begin();
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let (mut base, limit) = (ManualBase::new().unwrap(), limit(4 * MIB));
        let mut members: Vec<_> =
            (0..12).map(|number| (Member::start(&mut base, &limit, number % 2 == 0), 0, 0)).collect();
        let (mut waited, mut most) = (false, 0);
        for _ in 0..300 {
            let chosen = random.below(members.len());
            let (member, sent, got) = &mut members[chosen];
            match random.below(8) {
                0..=4 => {
                    let bytes = random.below(400_000);
                    member.wire.deliver(&vec![0; bytes]);
                    *sent += bytes;
                    base.settle().unwrap();
                }
                5 | 6 => *got += member.drain(&mut base, 300_000),
                _ if members.len() > 4 && random.below(10) == 0 => {
                    let (member, ..) = members.swap_remove(chosen);
                    member.with(&mut base, Bufferevent::abort);
                    base.settle().unwrap();
                }
                _ => assert_ne!(base.advance(Duration::from_millis(1)).unwrap(), Turned::Ran),
            }
            waited |= limit.waiting() > 0;
            most = most.max(limit.held());
        }
        assert!(waited, "seed {seed}: nobody had to wait");
        assert!(most <= 4 * MIB + 12 * RUN, "seed {seed}: {most}");
        for round in 0.. {
            assert!(round < 1_000, "seed {seed}: some wait for ever, {limit:?}");
            let drained: usize = members
                .iter_mut()
                .map(|(member, _, got)| {
                    let drained = member.drain(&mut base, usize::MAX);
                    *got += drained;
                    drained
                })
                .sum();
            if drained == 0 {
                break;
            }
        }
        assert!(members.iter().all(|(_, sent, got)| sent == got), "seed {seed}");
        assert_eq!((limit.held(), limit.waiting(), limit.stage()), (0, 0, MemoryStage::Calm));
    }
}
