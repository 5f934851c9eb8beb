//! Socket I/O: F5, F7 to F10, F13 to F15, F17.

use std::{
    io::{self, Read as _},
    net::TcpListener,
    os::fd::OwnedFd,
    sync::Arc,
    thread,
};

use bufferevent::{
    Bufferevent, Direction, Interest, SEND_RETRY,
    testing::{Census, ReadStep, Ready, Seed, Wire, WriteStep},
};
use bufferevent_sync::Mutex;
use rustix::io::Errno;
use socket2::SockRef;

use crate::{
    harness::{Actor, Call, Conn, SETS, Set, Shape, World, each, each_by_hand, pattern, tcp_pair, unix_pair},
    sim::{Sim, echo},
};

const READ_FAILED: Call = Call::Failed(Some(Direction::Read));
const WRITE_FAILED: Call = Call::Failed(Some(Direction::Write));

fn os_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.raw_os_error())
}

#[test]
fn what_came_before_a_reset_is_told_first_and_the_reset_once() {
    // F5
    let _census = Census::begin();
    for set in SETS {
        for low in [0, 1_000] {
            let (mut sim, wire) = (Sim::new(), Wire::new());
            let builder = Bufferevent::scripted(&wire).read_watermark(low, None);
            let conn = sim.start_with(set, builder, |_, _| {});
            wire.deliver_in(b"what came before", 5);
            wire.reset();
            wire.reset();
            sim.settle();
            for _ in 0..5 {
                wire.ready(Ready::BOTH | Ready::HANGUP | Ready::ERROR);
                sim.settle();
            }
            let calls = conn.log.calls();
            assert_eq!((calls.last(), conn.log.count(READ_FAILED)), (Some(&READ_FAILED), 1), "{set:?}");
            assert_eq!(conn.log.has(Call::Read), low == 0);
            assert_eq!(conn.log.cause(), Some(io::ErrorKind::ConnectionReset));
            let left = sim.with(&conn, |bufferevent| bufferevent.input().to_vec());
            assert_eq!(left.unwrap(), b"what came before");
        }
    }
}

#[test]
fn a_reset_by_zero_linger_comes_behind_the_data_and_once() {
    // F5, on real sockets
    each(|config| {
        let mut world = config.world();
        let (ours, mut peer) = tcp_pair();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::socket(ours), actor).unwrap();
        world.send(&mut peer, b"what came before");
        world.until_input(&conn, 16);
        peer.reset();
        world.until_called(&conn, READ_FAILED, 1);
        world.settle();
        assert_eq!(conn.log.calls(), [Call::Read, READ_FAILED]);
        let left = world.with(&conn, |bufferevent| bufferevent.input().to_vec());
        assert_eq!(left.unwrap(), b"what came before");
    });
}

#[test]
fn a_close_with_unread_input_loses_nothing_of_a_hundred_senders() {
    // F7: what a hundred peers send us is not read by us when we close, and what we have sent them arrives whole
    let _census = Census::begin();
    const SENDERS: usize = 100;
    const SENT: usize = 50_000;
    let mut world =
        World::new(Shape::Threads { workers: 2, bases: 2 }, Default::default(), Default::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for sender in 0..SENDERS {
        let mut theirs = std::net::TcpStream::connect(address).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let actor = Actor::new(&world, |cx, call| {
            if *call == Call::Read {
                // The rest of what it sends stays unread.
                cx.disable(Interest::READ);
                cx.write(&pattern(SENT)).unwrap();
                cx.close();
            }
        });
        let set = SETS[sender % SETS.len()];
        let conn = world.start(set, Bufferevent::socket(ours).read_watermark(0, Some(10)), actor).unwrap();
        let peer = thread::spawn(move || {
            use std::io::Write as _;
            theirs.write_all(&pattern(20_000)).unwrap();
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got
        });
        world.until("the peer to have all", || peer.is_finished());
        let got = peer.join().unwrap();
        assert!(got == pattern(SENT), "sender {sender} got {} of {SENT} bytes", got.len());
        world.until_gone(&conn);
    }
}

#[test]
fn an_end_comes_once_writing_goes_on_and_the_close_ends_both() {
    // F8; on real sockets: contract, socket::a_half_closed_connection_still_sends
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let conn = sim.start(set, &wire, |_, _| {});
        wire.deliver(b"question");
        wire.end();
        sim.settle();
        for _ in 0..3 {
            wire.ready(Ready::READABLE | Ready::HANGUP);
            sim.settle();
        }
        sim.with(&conn, |bufferevent| {
            bufferevent.write(b"answer").unwrap();
            bufferevent.enable(Interest::BOTH);
        })
        .unwrap();
        sim.settle();
        assert_eq!((wire.written(), wire.is_shut_down()), (b"answer".to_vec(), false));
        sim.with(&conn, |bufferevent| bufferevent.close()).unwrap();
        sim.settle();
        // Both sides have ended: it lingers for nothing.
        assert!(wire.is_closed() && sim.is_gone(&conn), "{set:?}");
        assert!(conn.log.count(Call::Eof) <= 2, "once, and once when reading is switched on again");
    }
}

#[test]
fn readiness_that_is_not_true_calls_nobody_and_costs_two_calls_at_most() {
    // F9
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire, seed) = (Sim::new(), Wire::new(), Seed::new().unwrap());
        let conn = sim.start(set, &wire, |_, _| {});
        sim.with(&conn, |bufferevent| bufferevent.write(b"stays").map(drop)).unwrap().unwrap();
        wire.set_room(0);
        sim.settle();
        let (mut random, before) = (seed.random(), (wire.reads(), wire.writes()));
        let mut events = 0;
        for _ in 0..1_000 {
            let ready = Ready::from_bits(random.below(4) as u8);
            wire.ready(ready);
            events += u64::from(!ready.is_empty());
            sim.settle();
        }
        let calls = wire.reads() - before.0 + wire.writes() - before.1;
        assert!(calls <= 2 * events, "{calls} calls for {events} events, {set:?}");
        assert_eq!(conn.log.calls(), []);
    }
}

#[test]
fn writes_of_any_size_keep_the_order_and_the_count() {
    // F10
    let _census = Census::begin();
    let data = pattern(5_000);
    for set in SETS {
        for size in [1, 3, 1_000, 4_999] {
            let (mut sim, wire) = (Sim::new(), Wire::new());
            let conn = sim.start(set, &wire, |_, _| {});
            for _ in 0..data.len() / size {
                wire.write_next(WriteStep::Take(size));
                wire.write_next(WriteStep::WouldBlock);
            }
            for piece in data.chunks(777) {
                sim.with(&conn, |bufferevent| bufferevent.write(piece).map(drop)).unwrap().unwrap();
            }
            sim.settle();
            assert!(wire.written() == data, "{set:?}, {size}");
            assert_eq!(sim.with(&conn, |bufferevent| bufferevent.output().len()).unwrap(), 0);
        }
    }
}

#[test]
fn a_tiny_send_buffer_keeps_the_order_and_the_count() {
    // F10, on real sockets
    each(|config| {
        let mut world = config.world();
        let (ours, mut peer) = tcp_pair();
        SockRef::from(&ours).set_send_buffer_size(1).unwrap();
        let actor = Actor::new(&world, |_, _| {});
        let conn = world.start(config.set, Bufferevent::socket(ours), actor).unwrap();
        let sent = pattern(60_000);
        let pieces = sent.clone();
        world
            .with(&conn, move |bufferevent| {
                for piece in pieces.chunks(1_111) {
                    bufferevent.write(piece).unwrap();
                }
            })
            .unwrap();
        assert!(world.receive(&mut peer, sent.len()) == sent);
        world.until_called(&conn, Call::Write, 1);
    });
}

#[test]
fn a_hang_up_that_nobody_waits_for_keeps_nobody_busy() {
    // F13: both directions are off when the peer goes
    each_by_hand(|config| {
        let mut world = config.world();
        let (conn, peer) = config.start_with(&mut world, |b| b.enable(Interest::NONE), |_, _| {});
        world.settle();
        peer.reset();
        let polls = |world: &World| match &world.drive {
            crate::harness::Drive::Pinned(base) => base.counters().events.get(),
            crate::harness::Drive::Movable(base) => base.counters().events.get(),
            crate::harness::Drive::Threads { .. } => unreachable!("it is driven by hand"),
        };
        let before = polls(&world);
        // It comes to rest, and the selector has little to say.
        world.settle();
        (0..20).for_each(|_| world.pump());
        let events = polls(&world) - before;
        assert!(events <= 4, "{events} events");
        assert_eq!(conn.log.calls(), []);
    });
}

#[test]
fn an_event_of_one_that_another_has_freed_reaches_nobody() {
    // F14, F17: the events of both are of one batch; the slot of the second is used again within it
    let _census = Census::begin();
    for set in [Set::Confined, Set::ConfinedDefer] {
        let mut sim = Sim::new();
        let [first, second, third] = [Wire::new(), Wire::new(), Wire::new()];
        let (victim, heir) = (Arc::new(Mutex::new(None::<Conn>)), Arc::new(Mutex::new(None::<Conn>)));
        let (theirs, made, place) = (Arc::clone(&victim), Arc::clone(&heir), third.clone());
        sim.start(set, &first, move |cx, call| {
            if let (Call::Read, Some(victim)) = (call, theirs.lock().take()) {
                cx.abort_other(&victim);
                let actor = Actor::alone(|_, _| {});
                *made.lock() = Some(cx.start(set, Bufferevent::scripted(&place), actor).unwrap().unwrap());
            }
        });
        *victim.lock() = Some(sim.start(set, &second, |_, _| {}));
        let freed = victim.lock().clone().unwrap();
        sim.settle();
        let stale = sim.base.counters().stale.get();
        first.deliver(b"first");
        second.deliver(b"second");
        second.ready(Ready::BOTH | Ready::HANGUP);
        sim.settle();
        assert!(second.is_closed() && freed.log.calls().is_empty(), "{set:?}");
        // Its events after the close reach nobody either, and are counted.
        let reads = second.reads();
        second.ready(Ready::BOTH | Ready::HANGUP);
        sim.settle();
        assert_eq!(sim.base.counters().stale.get(), stale + 1);
        assert_eq!((second.reads(), third.reads()), (reads, 0));
        let heir = heir.lock().clone().unwrap();
        assert_eq!(heir.log.calls(), []);
        third.deliver(b"third");
        sim.settle();
        assert_eq!(heir.log.calls(), [Call::Read]);
    }
}

#[test]
fn an_event_of_a_strand_that_another_has_freed_reaches_nobody() {
    // F17, with strands
    let _census = Census::begin();
    for set in [Set::Shared, Set::SharedDefer, Set::SharedUnlock] {
        let mut sim = Sim::new();
        let wires = [Wire::new(), Wire::new()];
        let conns = Arc::new(Mutex::new(Vec::<Conn>::new()));
        for (own, wire) in wires.iter().enumerate() {
            let all = Arc::clone(&conns);
            let conn = sim.start(set, wire, move |_, call| {
                if *call == Call::Read {
                    let other = all.lock()[1 - own].clone();
                    other.handle().abort();
                }
            });
            conns.lock().push(conn);
        }
        sim.settle();
        wires.iter().for_each(|wire| wire.deliver(b"both in one batch"));
        sim.settle();
        let conns = std::mem::take(&mut *conns.lock());
        let told: Vec<_> = conns.iter().map(|conn| conn.log.calls().len()).collect();
        assert_eq!(told.iter().sum::<usize>(), 1, "{set:?}: {told:?}");
        assert_eq!(wires.iter().filter(|wire| wire.is_closed()).count(), 1);
        wires.iter().for_each(|wire| wire.ready(Ready::BOTH));
        sim.settle();
        assert_eq!(sim.base.counters().stale.get(), 1);
    }
}

#[test]
fn events_of_a_closed_descriptor_that_a_duplicate_keeps_open_are_dropped_and_counted() {
    // F14, X-16, on real sockets: the duplicate, as a child process would have it, keeps the registration alive
    let _census = Census::begin();
    let mut world = World::new(Shape::Pinned, Default::default(), Default::default());
    for set in SETS {
        let (ours, mut old_peer) = unix_pair();
        let _duplicate: OwnedFd = ours.try_clone().unwrap();
        let actor = Actor::new(&world, |_, _| {});
        let old = world.start(set, Bufferevent::socket(ours), actor).unwrap();
        world.settle();
        world.abort(&old);
        world.until_gone(&old);
        let (ours, mut new_peer) = unix_pair();
        let actor = Actor::new(&world, |_, _| {});
        let new = world.start(set, Bufferevent::socket(ours), actor).unwrap();
        world.settle();
        let stale = stale_events(&world);
        world.send(&mut old_peer, b"for one that is gone");
        world.settle();
        assert_eq!(stale_events(&world) - stale, 1, "{set:?}: counted once, and no busy loop");
        assert_eq!((new.log.calls(), old.log.calls()), (vec![], vec![]));
        world.send(&mut new_peer, b"for the new one");
        world.until_called(&new, Call::Read, 1);
    }
}

fn stale_events(world: &World) -> u64 {
    match &world.drive {
        crate::harness::Drive::Pinned(base) => base.counters().stale.get(),
        _ => unreachable!("one base, driven by hand"),
    }
}

#[test]
fn a_descriptor_that_was_closed_behind_our_back_is_its_connections_error() {
    // F15, X-16; registered twice: contract, descriptor::a_descriptor_that_the_selector_refuses_changes_nothing
    let _census = Census::begin();
    for set in SETS {
        let mut sim = Sim::new();
        let [bad, good] = [Wire::new(), Wire::new()];
        let conn = sim.start(set, &bad, |_, _| {});
        sim.start(set, &good, echo);
        sim.settle();
        bad.read_next(ReadStep::Failed(os_error(Errno::BADF)));
        bad.write_next(WriteStep::Failed(os_error(Errno::BADF)));
        sim.with(&conn, |bufferevent| bufferevent.write(b"lost").map(drop)).unwrap().unwrap();
        good.deliver(b"goes on");
        sim.settle();
        let mut calls = conn.log.calls();
        calls.sort_by_key(|call| *call == READ_FAILED);
        assert_eq!(calls, [WRITE_FAILED, READ_FAILED], "{set:?}");
        assert_eq!(good.written(), b"goes on");
        sim.with(&conn, |bufferevent| bufferevent.abort()).unwrap();
        sim.settle();
        assert!(bad.is_closed() && sim.is_gone(&conn));
    }
}

#[test]
fn a_write_that_the_system_has_no_memory_for_is_tried_again_soon_and_by_time_alone() {
    // F11: what is written while it waits, and a close, wait too
    let _census = Census::begin();
    for set in SETS {
        for errno in [Errno::NOBUFS, Errno::NOMEM] {
            let (mut sim, wire) = (Sim::new(), Wire::new());
            let conn = sim.start_with(set, Bufferevent::scripted(&wire).report_close(), |_, _| {});
            sim.settle();
            (0..2).for_each(|_| wire.write_next(WriteStep::Failed(os_error(errno))));
            sim.with(&conn, |bufferevent| bufferevent.write(b"patience").map(drop)).unwrap().unwrap();
            sim.settle();
            sim.with(&conn, |bufferevent| {
                bufferevent.write(b", please").unwrap();
                bufferevent.close();
            })
            .unwrap();
            sim.settle();
            assert_eq!((wire.writes(), wire.written()), (1, vec![]), "{set:?}: no busy loop");
            sim.advance(SEND_RETRY);
            assert_eq!(wire.writes(), 2);
            sim.advance(SEND_RETRY * 2);
            assert_eq!(wire.written(), b"patience, please");
            assert!(wire.is_shut_down());
            wire.end();
            sim.settle();
            assert_eq!(conn.log.calls(), [Call::Closed]);
            assert!(SEND_RETRY.as_millis() >= 1 && SEND_RETRY.as_millis() <= 10);
        }
    }
}
