//! pipe: two bufferevents joined, nothing lost, never more held than the marks allow.

use std::{io, sync::Arc, time::Duration};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Direction, Error, Interest, LINGER, Movable, NoHandler, Pipe, PipeEnd,
    Piped,
    runtime::{Clock, ManualClock, SelectorKind, Waiter},
    testing::Census,
};
use bufferevent_sync::Mutex;

use crate::{
    harness::{
        Actor, Config, Conn, Drive, Kind, Peer, Set, Shape, Who, World, each, each_by_hand,
        each_by_hand_once, each_of, pass, pattern, unix_pair,
    },
    kinds::KINDS,
};

/// Two bufferevents of this configuration and their peers, and how their pipe ended.
struct Joined {
    world: World,
    conns: [Conn; 2],
    peers: [Option<Peer>; 2],
    end: Arc<Mutex<Option<Piped>>>,
}

fn ids(conns: &[Conn; 2]) -> (bufferevent::Id, bufferevent::Id) {
    match (&conns[0].who, &conns[1].who) {
        (Who::Confined(one), Who::Confined(two)) => (*one, *two),
        _ => unreachable!("both are confined"),
    }
}

/// Both on one base if they are confined; over all bases if not.
fn join(config: Config) -> Joined {
    join_with(config, |_, _, _| {})
}

fn join_with(config: Config, before: impl FnOnce(&mut World, &[Conn; 2], &mut [Option<Peer>; 2])) -> Joined {
    join_by(Pipe::new(), [config; 2], config.world(), before)
}

/// By a pipe that ends when both are silent for `T`; time is turned by hand.
fn join_until_idle(config: Config) -> (Joined, ManualClock) {
    let (world, hand) = config.with_manual_clock();
    let mut joined = join_by(Pipe::new().idle_timeout(T), [config; 2], world, |_, _, _| {});
    joined.world.settle();
    (joined, hand)
}

const T: Duration = Duration::from_millis(100);
const JUST: Duration = Duration::from_millis(1);

fn join_by(
    pipe: Pipe,
    configs: [Config; 2],
    mut world: World,
    before: impl FnOnce(&mut World, &[Conn; 2], &mut [Option<Peer>; 2]),
) -> Joined {
    let set = configs[0].set;
    let (one, first) = configs[0].start(&mut world);
    if !set.is_shared() {
        world.skip_to_base_of(&one);
    }
    let (two, second) = configs[1].start(&mut world);
    let (conns, mut peers) = ([one, two], [Some(first), Some(second)]);
    before(&mut world, &conns, &mut peers);
    let end: Arc<Mutex<Option<Piped>>> = Arc::default();
    let told = Arc::clone(&end);
    let pipe = pipe.on_end(move |piped| *told.lock() = Some(piped));
    match &mut world.drive {
        _ if set.is_shared() => pipe.join(conns[0].handle(), conns[1].handle()).unwrap(),
        Drive::Pinned(base) => pipe.join_on(base, ids(&conns).0, ids(&conns).1).unwrap(),
        Drive::Movable(base) => pipe.join_on(base, ids(&conns).0, ids(&conns).1).unwrap(),
        Drive::Threads { .. } => {
            let (one, two) = ids(&conns);
            world.on_base_of(&conns[0], move |base| pipe.join_on(base, one, two).unwrap());
        }
    }
    Joined { world, conns, peers, end }
}

impl Joined {
    fn peer(&mut self, side: usize) -> (&mut World, &mut Peer) {
        (&mut self.world, self.peers[side].as_mut().unwrap())
    }

    fn send(&mut self, side: usize, data: &[u8]) {
        let (world, peer) = self.peer(side);
        world.send(peer, data);
    }

    /// Sends `block` to the first again and again until it takes no more; answers how many bytes it took.
    fn send_until_held_up(&mut self, block: &[u8]) -> usize {
        let (mut sent, mut quiet) = (0, 0);
        while quiet < 5 {
            let before = sent;
            let peer = self.peers[0].as_mut().unwrap();
            while let Ok(n) = peer.write(&block[sent % block.len()..]) {
                sent += n;
            }
            self.world.pump();
            quiet = if sent == before { quiet + 1 } else { 0 };
        }
        sent
    }

    fn receive(&mut self, side: usize, count: usize) -> Vec<u8> {
        let (world, peer) = self.peer(side);
        world.receive(peer, count)
    }

    fn end(&mut self) -> Piped {
        let end = Arc::clone(&self.end);
        self.world.until("the pipe to end", || end.lock().is_some());
        let piped = self.end.lock().take();
        piped.unwrap()
    }
}

#[test]
fn what_one_receives_the_other_sends() {
    each(|config| {
        let mut joined = join(config);
        for round in 0..3 {
            let data = pattern(1_000 + 30_000 * round);
            joined.send(0, &data);
            assert_eq!(joined.receive(1, data.len()), data);
            joined.send(1, &data);
            assert_eq!(joined.receive(0, data.len()), data);
        }
    });
}

#[test]
fn an_end_is_passed_on_behind_the_bytes_before_it_and_the_other_direction_goes_on() {
    // half-close aware
    each(|config| {
        let mut joined = join(config);
        let data = pattern(2_000_000);
        let mut got = Vec::new();
        let (mut sent, mut ended) = (0, false);
        let Joined { world, peers, .. } = &mut joined;
        let [Some(first), Some(second)] = peers else { unreachable!() };
        world.until("all at the other end", || {
            while sent < data.len() {
                match first.write(&data[sent..]) {
                    Ok(n) => sent += n,
                    Err(_) => break,
                }
            }
            if sent == data.len() && !std::mem::replace(&mut ended, true) {
                first.shutdown_write();
            }
            second.read_some(usize::MAX, &mut got).unwrap()
        });
        assert!(got == data);
        joined.send(1, b"answer");
        assert_eq!(joined.receive(0, 6), b"answer");
        joined.peers[1].as_ref().unwrap().shutdown_write();
        let (world, peer) = joined.peer(0);
        assert_eq!(world.receive_all(peer), b"");
        let piped = joined.end();
        assert!(matches!(piped.end, PipeEnd::Ended), "{piped:?}");
        assert_eq!((piped.forth, piped.back), (2_000_000, 6));
        joined.peers = [None, None];
        joined.world.until_empty();
    });
}

#[test]
fn a_slow_reader_holds_the_sender_up_and_not_the_memory() {
    //
    const HELD: usize = 256 * 1024 + 4 * 64 * 1024;
    each(|config| {
        let mut joined = join(config);
        let block = pattern(64 * 1024);
        let sent = joined.send_until_held_up(&block);
        for side in 0..2 {
            let conn = joined.conns[side].clone();
            let (input, output) = joined.world.with(&conn, |b| (b.input().len(), b.output().len())).unwrap();
            assert!(input <= HELD && output <= HELD, "{input} {output}");
        }
        // All of it comes in the end, in order.
        let got = joined.receive(1, sent);
        assert!(got.chunks(block.len()).all(|chunk| *chunk == block[..chunk.len()]));
        joined.send(1, b"and back");
        assert_eq!(joined.receive(0, 8), b"and back");
    });
}

#[test]
fn what_was_there_before_is_passed_on_too() {
    each(|config| {
        let mut joined = join_with(config, |world, conns, peers| {
            world.send(peers[0].as_mut().unwrap(), b"early");
            world.until_input(&conns[0], 5);
            peers[0].as_ref().unwrap().shutdown_write();
            world.until_called(&conns[0], crate::harness::Call::Eof, 1);
        });
        let (world, peer) = joined.peer(1);
        assert_eq!(world.receive_all(peer), b"early");
    });
}

/// By a pipe of two kinds; time is turned by hand.
fn join_kinds(config: Config, kinds: [Kind; 2]) -> (Joined, ManualClock) {
    let (world, hand) = config.with_manual_clock();
    let mut joined = join_by(Pipe::new(), kinds.map(|kind| Config { kind, ..config }), world, |_, _, _| {});
    joined.world.settle();
    (joined, hand)
}

impl Joined {
    /// What the peer on `side` hears last, once its linger is over: and whether it can tell that more was to come.
    fn receive_last(&mut self, side: usize, hand: &ManualClock) -> (Vec<u8>, bool) {
        // All that is on its way, so that a reset finds nothing of it.
        let mut got = Vec::new();
        self.world.settle();
        let mut ended = self.peers[side].as_mut().unwrap().read_some(usize::MAX, &mut got);
        while matches!(ended, Ok(false)) && self.world.objects() > 0 {
            pass(&mut self.world, hand, LINGER);
            ended = self.peers[side].as_mut().unwrap().read_some(usize::MAX, &mut got);
        }
        let is_cut = match ended {
            Ok(true) => false,
            Ok(false) => panic!("the pipe is gone, and the peer knows nothing of it"),
            Err(error) => {
                let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof];
                assert!(kinds.contains(&error.kind()), "{error}");
                true
            }
        };
        (got, is_cut)
    }
}

/// Runs `body` for pipes of every two kinds, confined and not.
fn each_two_kinds(body: impl Fn(Config, [Kind; 2])) {
    each_by_hand_once(|config| {
        let chosen = (config.set, config.shape, config.selector);
        let each = [(Set::Confined, Shape::Pinned), (Set::SharedUnlock, Shape::Movable)];
        if each.map(|(set, shape)| (set, shape, SelectorKind::Best)).contains(&chosen) {
            KINDS.into_iter().for_each(|one| KINDS.into_iter().for_each(|two| body(config, [one, two])));
        }
    });
}

#[test]
fn a_cut_stays_a_cut_between_every_two_kinds() {
    // T4, D14: no peer is told an end that nobody has told
    each_two_kinds(|config, kinds| {
        let (mut joined, hand) = join_kinds(config, kinds);
        joined.send(1, b"and back");
        assert_eq!(joined.receive(0, 8), b"and back");
        joined.send(0, &pattern(100_000));
        joined.world.settle();
        joined.peers[0].take().unwrap().cut_short();
        let (got, is_cut) = joined.receive_last(1, &hand);
        assert!(got == pattern(100_000), "{kinds:?}: {}", got.len());
        assert_eq!(is_cut, kinds[0].tells_cuts() && kinds[1].tells_cuts(), "{kinds:?}");
        if kinds[0].tells_cuts() {
            let piped = joined.end();
            assert!(matches!(piped.end, PipeEnd::Failed(0, _)), "{kinds:?}: {piped:?}");
            assert_eq!((piped.forth, piped.back), (100_000, 8), "{kinds:?}");
        }
        joined.peers[1] = None;
        pass(&mut joined.world, &hand, LINGER);
        joined.world.until_empty();
    });
}

#[test]
fn a_timeout_is_no_end_between_any_two_kinds() {
    each_two_kinds(|config, kinds| {
        for direction in [Direction::Read, Direction::Write] {
            let (mut joined, hand) = join_kinds(config, kinds);
            let conn = joined.conns[0].clone();
            match direction {
                Direction::Read => joined.world.with(&conn, |b| b.set_timeouts(Some(T), None)).unwrap(),
                Direction::Write => {
                    // Nobody takes this.
                    joined.world.with(&conn, |b| b.set_timeouts(None, Some(T))).unwrap();
                    joined.world.with(&conn, |b| b.write(&pattern(4_000_000)).unwrap()).unwrap();
                }
            }
            joined.send(0, b"what was said");
            joined.world.settle();
            while joined.end.lock().is_none() {
                pass(&mut joined.world, &hand, T);
            }
            let piped = joined.end();
            assert!(matches!(piped.end, PipeEnd::Timeout(0, which) if which == direction), "{piped:?}");
            let last = joined.receive_last(1, &hand);
            assert_eq!(last, (b"what was said".to_vec(), kinds[1].tells_cuts()), "{kinds:?} {direction:?}");
        }
    });
}

#[test]
fn of_one_that_ends_for_want_of_news_who_has_ended_is_told_nothing_else() {
    // The first has ended, which the second was told; the second has not.
    each_two_kinds(|config, kinds| {
        let (mut joined, hand) = join_kinds(config, kinds);
        joined.send(0, b"a question");
        joined.peers[0].as_ref().unwrap().shutdown_write();
        assert_eq!(joined.receive(1, 10), b"a question");
        let (world, peer) = joined.peer(1);
        assert_eq!(world.receive_all(peer), b"");
        let conn = joined.conns[1].clone();
        joined.send(1, b"half an");
        assert_eq!(joined.receive(0, 7), b"half an");
        joined.world.with(&conn, |b| b.set_timeouts(Some(T), None)).unwrap();
        pass(&mut joined.world, &hand, JUST);
        pass(&mut joined.world, &hand, T);
        let piped = joined.end();
        assert!(matches!(piped.end, PipeEnd::Timeout(1, Direction::Read)), "{piped:?}");
        assert_eq!(joined.receive_last(0, &hand), (vec![], kinds[0].tells_cuts()), "{kinds:?}");
    });
}

#[test]
fn when_one_is_closed_the_other_sends_what_it_has_and_is_cut_short() {
    each_by_hand(|config| {
        for how in ["closed", "aborted"] {
            let (mut joined, hand) = join_kinds(config, [config.kind; 2]);
            joined.send(0, b"last words");
            joined.world.settle();
            let conn = joined.conns[0].clone();
            match how {
                "closed" => joined.world.close(&conn),
                _ => joined.world.abort(&conn),
            }
            let is_told = config.kind.tells_cuts();
            let last = joined.receive_last(1, &hand);
            assert_eq!(last, (b"last words".to_vec(), is_told), "{how}");
            if how == "closed" {
                // That is what who closed it has said.
                let (world, peer) = joined.peer(0);
                assert_eq!(world.receive_last(peer), (vec![], false));
            }
            joined.peers = [None, None];
            pass(&mut joined.world, &hand, LINGER);
            let piped = joined.end();
            assert!(matches!(piped.end, PipeEnd::Closed(_)), "{how}: {piped:?}");
            assert_eq!(piped.forth, 10);
            joined.world.until_empty();
        }
    });
}

#[test]
fn those_of_a_base_that_is_drained_go_on_until_both_peers_have_ended() {
    // D15: only the peers know when that is.
    each_by_hand(|config| {
        let (mut joined, hand) = join_kinds(config, [config.kind; 2]);
        joined.send(0, b"before");
        assert_eq!(joined.receive(1, 6), b"before");
        joined.world.drain();
        joined.world.settle();
        for from in [0, 1] {
            joined.send(from, b"after");
            joined.peers[from].as_ref().unwrap().shutdown_write();
            assert_eq!(joined.receive_last(1 - from, &hand), (b"after".to_vec(), false));
        }
        let piped = joined.end();
        assert!(matches!(piped.end, PipeEnd::Ended), "{piped:?}");
        assert_eq!((piped.forth, piped.back), (11, 5));
        joined.peers = [None, None];
        joined.world.until_empty();
    });
}

#[test]
fn one_that_fails_closes_the_other_whoever_drives_them() {
    each(|config| {
        if config.kind.name.contains("TCP") {
            // It waits for a reset, in real time.
            return;
        }
        let mut joined = join(config);
        joined.send(0, b"last words");
        joined.receive(1, 10);
        joined.send(1, b"unread");
        joined.world.until("the data to arrive", || joined.peers[0].as_ref().unwrap().is_readable());
        joined.peers[0].take().unwrap().reset();
        if !config.kind.is_over_socket() {
            // A pair tells who writes.
            joined.send(1, b"into the void");
        }
        let piped = joined.end();
        assert!(matches!(piped.end, PipeEnd::Failed(0, _)), "{piped:?}");
        assert_eq!(piped.forth, 10);
        // Its end is what the other waits for.
        joined.peers[1] = None;
        joined.world.until_empty();
    });
}

#[test]
fn what_a_base_that_is_dropped_had_joined_is_cut_short() {
    // D15
    each_by_hand(|config| {
        let mut joined = join(config);
        joined.send(0, b"half of");
        assert_eq!(joined.receive(1, 7), b"half of");
        let Joined { world, peers, .. } = joined;
        drop(world);
        let (mut limbo, cut) = (config.world(), (vec![], config.kind.tells_cuts()));
        for mut peer in peers.into_iter().flatten() {
            assert_eq!(limbo.receive_last(&mut peer), cut);
        }
    });
}

#[test]
fn those_that_were_taken_apart_end_as_any_other() {
    each_by_hand(|config| {
        let mut joined = join(config);
        for conn in &joined.conns {
            let heir = Actor::heir(&conn.log, 7, |_, _| {});
            joined.world.replace(conn, heir);
        }
        let Joined { world, peers, .. } = joined;
        drop(world);
        let mut limbo = config.world();
        for mut peer in peers.into_iter().flatten() {
            assert_eq!(limbo.receive_last(&mut peer), (vec![], false));
        }
    });
}

#[test]
fn a_busy_end_neither_blocks_the_other_nor_loses_a_byte() {
    // Its mailbox fills up, by bytes or by operations.
    each_of(
        |set| set.is_shared(),
        |config| {
            let mut joined = join(config);
            let conn = joined.conns[1].clone();
            let data = pattern(3_000_000);
            let mut sent = 0;
            // By another thread: who turns a base by hand holds no strand.
            let held = Held::of(&conn);
            for _ in 0..50 {
                let upto = data.len().min(sent + 100);
                while let Ok(n @ 1..) = joined.peers[0].as_mut().unwrap().write(&data[sent..upto]) {
                    sent += n;
                }
                joined.world.pump();
            }
            held.let_go();
            assert!(joined.receive(1, sent) == data[..sent]);
        },
    );
}

/// Keeps the strand of a bufferevent from another thread, until it is told to let go.
struct Held {
    release: Arc<Waiter>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Held {
    fn of(conn: &Conn) -> Self {
        let (conn, held, release) = (conn.clone(), Arc::<Waiter>::default(), Arc::<Waiter>::default());
        let (holds, released) = (Arc::clone(&held), Arc::clone(&release));
        let thread = std::thread::spawn(move || {
            let guard = conn.handle().lock().unwrap();
            holds.wake();
            released.wait();
            drop(guard);
        });
        held.wait();
        Self { release, thread: Some(thread) }
    }

    fn let_go(mut self) {
        self.release.wake();
        self.thread.take().unwrap().join().unwrap();
    }
}

#[test]
fn an_end_reaches_one_whose_mailbox_is_full() {
    each_by_hand(|config| {
        if !config.set.is_shared() {
            return;
        }
        let mut joined = join(config);
        joined.world.settle();
        let held = Held::of(&joined.conns[1]);
        joined.conns[1].handle().write(b"x").unwrap();
        while joined.conns[1].handle().enable(Interest::NONE).is_ok() {}
        joined.peers[0].as_ref().unwrap().shutdown_write();
        joined.world.settle();
        held.let_go();
        let (world, peer) = joined.peer(1);
        assert_eq!(world.receive_all(peer), b"x");
        // The other direction goes on.
        joined.send(1, b"and back");
        assert_eq!(joined.receive(0, 8), b"and back");
    });
}

#[test]
fn one_that_was_held_up_reads_on_though_its_mailbox_is_full_when_there_is_room() {
    each_by_hand(|config| {
        if !config.set.is_shared() {
            return;
        }
        let mut joined = join(config);
        let block = pattern(64 * 1024);
        let sent = joined.send_until_held_up(&block);
        let held = Held::of(&joined.conns[0]);
        while joined.conns[0].handle().enable(Interest::NONE).is_ok() {}
        // What the other has is taken, which tells the first to read on.
        let mut got = Vec::new();
        let mut quiet = 0;
        while quiet < 5 {
            let before = got.len();
            joined.peers[1].as_mut().unwrap().read_some(usize::MAX, &mut got).unwrap();
            joined.world.pump();
            quiet = if got.len() == before { quiet + 1 } else { 0 };
        }
        assert!(got.len() < sent);
        held.let_go();
        got.extend(joined.receive(1, sent - got.len()));
        assert!(got.chunks(block.len()).all(|chunk| *chunk == block[..chunk.len()]));
    });
}

#[test]
fn one_may_be_silent_for_as_long_as_the_other_is_not() {
    each_by_hand(|config| {
        for side in 0..2 {
            let (mut joined, hand) = join_until_idle(config);
            for _ in 0..5 {
                pass(&mut joined.world, &hand, T - JUST);
                joined.send(side, b"x");
                assert_eq!(joined.receive(1 - side, 1), b"x");
            }
            // What came last came just now.
            pass(&mut joined.world, &hand, T - JUST);
            assert!(joined.end.lock().is_none());
            pass(&mut joined.world, &hand, JUST);
            assert!(matches!(joined.end().end, PipeEnd::Idle));
            for side in 0..2 {
                assert_eq!(joined.receive_last(side, &hand), (vec![], config.kind.tells_cuts()));
            }
        }
    });
}

#[test]
fn one_that_has_ended_its_side_is_silent() {
    // the other direction goes on, for as long as something comes
    each_by_hand(|config| {
        let (mut joined, hand) = join_until_idle(config);
        joined.peers[0].as_ref().unwrap().shutdown_write();
        joined.world.settle();
        for _ in 0..5 {
            pass(&mut joined.world, &hand, T - JUST);
            joined.send(1, b"x");
            assert_eq!(joined.receive(0, 1), b"x");
        }
        pass(&mut joined.world, &hand, T - JUST);
        assert!(joined.end.lock().is_none());
        pass(&mut joined.world, &hand, JUST);
        assert!(matches!(joined.end().end, PipeEnd::Idle));
    });
}

#[test]
fn nobody_is_idle_while_one_takes_what_is_there() {
    each_by_hand(|config| {
        let (mut joined, hand) = join_until_idle(config);
        let mut left = joined.send_until_held_up(&pattern(64 * 1024));
        let conn = joined.conns[1].clone();
        let queued = |joined: &mut Joined| joined.world.with(&conn, |b| b.output().len()).unwrap();
        // Nothing comes any more, but something goes. The kernel takes more only once much of what it has is read. Up to then
        // what is queued may have grown, for what came before may be passed on late.
        while queued(&mut joined) > 0 {
            pass(&mut joined.world, &hand, T - JUST);
            assert!(joined.end.lock().is_none(), "{left} are left");
            let before = queued(&mut joined);
            while queued(&mut joined) >= before.max(1) {
                left -= joined.receive(1, left.min(256 * 1024)).len();
                joined.world.settle();
            }
        }
        // So may the last of it.
        joined.receive(1, left);
        pass(&mut joined.world, &hand, T);
        pass(&mut joined.world, &hand, T);
        assert!(matches!(joined.end().end, PipeEnd::Idle));
    });
}

#[test]
fn one_that_takes_nothing_ends_a_pipe_that_may_be_idle_for_a_while() {
    each_by_hand(|config| {
        let (mut joined, hand) = join_until_idle(config);
        joined.send_until_held_up(&pattern(64 * 1024));
        // The kernel may take some more in its own time, which puts it off.
        while joined.end.lock().is_none() {
            pass(&mut joined.world, &hand, T);
        }
        let piped = joined.end();
        assert!(matches!(piped.end, PipeEnd::Timeout(1, Direction::Write)), "{piped:?}");
    });
}

#[test]
fn one_whose_base_is_dropped_closes_the_other() {
    each_by_hand_once(|config| {
        if !config.set.is_shared() {
            return;
        }
        let (mut here, mut there) = (config.world(), config.world());
        let ((one, first), (two, mut second)) = (config.start(&mut here), config.start(&mut there));
        let end: Arc<Mutex<Option<Piped>>> = Arc::default();
        let told = Arc::clone(&end);
        let pipe = Pipe::new().on_end(move |piped| *told.lock() = Some(piped));
        pipe.join(one.handle(), two.handle()).unwrap();
        here.settle();
        there.settle();
        drop((here, first));
        assert_eq!(there.receive_last(&mut second), (vec![], config.kind.tells_cuts()));
        assert!(matches!(end.lock().take().unwrap().end, PipeEnd::Closed(0)));
        drop(second);
        there.until_empty();
    });
}

#[test]
fn the_end_of_a_pipe_that_is_dropped_with_its_base_is_told() {
    each_by_hand_once(|config| {
        let joined = join(config);
        let end = Arc::clone(&joined.end);
        drop(joined);
        assert!(matches!(end.lock().take().unwrap().end, PipeEnd::Closed(_)));
    });
}

#[test]
fn an_end_that_is_confined_stays_on_its_base_until_it_is_taken_apart() {
    // D16: the other would not find it any more
    let _census = Census::begin();
    let (clock, mut ends) = (Clock::monotonic(), Vec::new());
    let [mut here, mut there] =
        [clock.clone(), clock].map(|clock| Base::<Movable>::with_clock(clock).unwrap());
    let peers = [(); 2].map(|()| {
        let (ours, peer) = unix_pair();
        ends.push(Bufferevent::socket(ours).handler(NoHandler).start(&mut here).unwrap());
        peer
    });
    Pipe::new().join_on(&mut here, ends[0], ends[1]).unwrap();
    for end in &ends {
        assert!(matches!(here.set_base(*end, &there.handle()), Err(Error::Joined)));
    }
    let [mut first, mut second] = peers;
    assert_eq!(first.write(b"through").unwrap(), 7);
    let mut got = Vec::new();
    while got.len() < 7 {
        here.turn(Some(Duration::ZERO)).unwrap();
        second.read_some(7, &mut got).unwrap();
    }
    assert_eq!(got, b"through");
    here.set_handler(ends[0], NoHandler).unwrap();
    let moved = here.set_base(ends[0], &there.handle()).unwrap();
    there.turn(Some(Duration::ZERO)).unwrap();
    there.bufferevent(moved).unwrap().abort();
}

#[test]
fn what_is_not_there_or_the_same_is_not_joined() {
    // D16
    each_of(
        |set| set.is_shared(),
        |config| {
            let mut world = config.world();
            let (conn, _peer) = config.start(&mut world);
            let (gone, _other) = config.start(&mut world);
            world.abort(&gone);
            world.until_gone(&gone);
            let (conn, gone) = (conn.handle(), gone.handle());
            assert!(matches!(bufferevent::pipe(conn, conn), Err(Error::WouldDeadlock)));
            assert!(matches!(bufferevent::pipe(conn, gone), Err(Error::Closed)));
            let held = conn.lock().unwrap();
            assert!(matches!(bufferevent::pipe(conn, gone), Err(Error::WouldDeadlock)));
            drop(held);
        },
    );
}

#[test]
fn a_handler_from_outside_replaces_that_of_a_confined_one() {
    // C-07
    each_of(
        |set| !set.is_shared(),
        |config| {
            let mut world = config.world();
            let (conn, mut peer) = config.start(&mut world);
            world.replace(&conn, Actor::heir(&conn.log, 7, |cx, _| cx.take()));
            world.send(&mut peer, b"x");
            world.until("the heir to read", || conn.log.data() == b"x");
            assert!(conn.log.entries().iter().all(|entry| entry.actor == 7));
        },
    );
}
