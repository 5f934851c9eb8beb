//! The manual base and the scripted transports themselves.

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use bufferevent::{
    BaseExt as _, Bufferevent, Callbacks, Error, Id, Interest, LINGER, NoHandler, Trigger, Turned,
    testing::{Census, ManualBase, ReadStep, Ready, Seed, Wire, WriteStep},
};

use crate::{
    harness::{Call, SETS, pattern},
    sim::{Sim, echo},
};

#[test]
fn would_block_at_any_byte_and_chunks_of_any_size_change_nothing() {
    let _census = Census::begin();
    let data = pattern(300);
    for set in SETS {
        for size in [1, 2, 7, 299, 300] {
            let (mut sim, wire) = (Sim::new(), Wire::new());
            sim.start(set, &wire, echo);
            for chunk in data.chunks(size) {
                wire.read_next(ReadStep::WouldBlock);
                wire.deliver(chunk);
                wire.write_next(WriteStep::WouldBlock);
                wire.write_next(WriteStep::Take(1));
            }
            wire.end();
            sim.settle();
            assert!(wire.written() == data && wire.is_closed(), "{set:?}, {size}");
        }
    }
}

#[test]
fn a_connect_stands_or_fails_when_the_script_says() {
    let _census = Census::begin();
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    for set in SETS {
        // F16: no kernel need be asked for these
        let refusals = [ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut].map(Some);
        for refusal in [None].into_iter().chain(refusals) {
            let stands = refusal.is_none();
            let (mut sim, wire) = (Sim::new(), Wire::connecting());
            let conn = sim.start(set, &wire, |_, _| {});
            sim.with(&conn, |bufferevent| bufferevent.write(b"early").map(drop)).unwrap().unwrap();
            sim.settle();
            wire.ready(Ready::WRITABLE);
            sim.settle();
            assert!(conn.log.calls().is_empty() && wire.written().is_empty(), "nothing is known yet");
            match refusal {
                None => wire.connect(),
                Some(refusal) => wire.refuse(refusal.into()),
            }
            sim.settle();
            let expected = if stands { vec![Call::Connected, Call::Write] } else { vec![Call::Failed(None)] };
            assert_eq!(conn.log.calls(), expected);
            assert_eq!(wire.written(), if stands { &b"early"[..] } else { b"" });
            assert_eq!((conn.log.cause(), wire.is_closed()), (refusal, !stands));
        }
    }
}

#[test]
fn writes_stop_where_there_is_no_room_and_go_on_when_there_is() {
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        wire.set_room(3);
        let conn = sim.start(set, &wire, |_, _| {});
        sim.with(&conn, |bufferevent| bufferevent.write(b"sentence").map(drop)).unwrap().unwrap();
        sim.settle();
        assert_eq!((wire.take_written(), wire.room()), (b"sen".to_vec(), 0));
        sim.settle();
        let writes = wire.writes();
        wire.set_room(100);
        sim.settle();
        assert_eq!((wire.take_written(), wire.room()), (b"tence".to_vec(), 95));
        assert!(writes <= 2 && wire.writes() - writes == 1);
        assert_eq!(conn.log.calls(), [Call::Write]);
    }
}

#[test]
fn a_wire_is_one_bufferevents() {
    let _census = Census::begin();
    let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
    Bufferevent::scripted(&wire).handler(NoHandler).start(&mut base).unwrap();
    let second = Bufferevent::scripted(&wire).handler(NoHandler).start(&mut base);
    assert!(matches!(second, Err(Error::AlreadyConnected)));
    drop(base);
    assert!(wire.is_closed());
    let third = Bufferevent::scripted(&wire).handler(NoHandler).start(&mut ManualBase::new().unwrap());
    assert!(matches!(third, Err(Error::AlreadyConnected)));
}

#[test]
fn time_stops_at_each_deadline_on_its_way_in_order() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let times = Rc::new(RefCell::new(Vec::new()));
    for millis in [70_000, 20, 3_000, 20] {
        let times = Rc::clone(&times);
        base.after(Duration::from_millis(millis), move |base| times.borrow_mut().push(base.now().as_nanos()));
    }
    let start = base.now().as_nanos();
    assert_eq!(base.advance(Duration::from_secs(69)).unwrap(), Turned::Idle);
    assert_eq!(base.advance(Duration::from_secs(1)).unwrap(), Turned::Empty);
    let passed: Vec<_> = times.borrow().iter().map(|at| (at - start) / 1_000_000).collect();
    assert_eq!(passed, [20, 20, 3_000, 70_000]);
    assert_eq!(base.now().as_nanos() - start, 70_000_000_000);
}

#[test]
fn what_never_comes_to_rest_is_an_error_and_no_hang() {
    let _census = Census::begin();
    let (mut base, wire) = (ManualBase::new().unwrap(), Wire::new());
    let handler =
        Callbacks::new().on_read(|cx| cx.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS.deferred()));
    Bufferevent::scripted(&wire).handler(handler).start(&mut base).unwrap();
    base.settle().unwrap();
    wire.deliver(b"go");
    assert!(matches!(base.settle(), Err(Error::Unsettled { .. })));
}

#[test]
fn a_close_without_a_peers_end_is_over_when_its_linger_is() {
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let conn = sim.start(set, &wire, |_, _| {});
        sim.with(&conn, |bufferevent| {
            bufferevent.write(b"last").unwrap();
            bufferevent.close();
        })
        .unwrap();
        sim.settle();
        assert!(wire.is_shut_down() && wire.written() == b"last" && !wire.is_closed());
        sim.advance(LINGER - Duration::from_millis(1));
        assert!(!wire.is_closed());
        sim.advance(Duration::from_millis(2));
        assert!(wire.is_closed() && sim.is_gone(&conn) && sim.base.is_empty());
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let _census = Census::begin();
    let run = |number| {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let seed = Seed::of(number);
        wire.disturb(seed.random());
        let conn = sim.start(SETS[0], &wire, echo);
        wire.deliver(&pattern(10_000));
        sim.settle();
        assert_eq!(wire.written(), pattern(10_000));
        (conn.log.calls(), wire.reads(), wire.writes(), sim.base.counters().turns.get())
    };
    assert_eq!(run(3), run(3));
    assert!((4..9).any(|number| run(number) != run(3)), "another seed is another run");
}

#[test]
fn a_batch_names_whom_it_likes_in_its_order_and_those_that_are_gone_are_counted() {
    // F14, F17: told once each, in the order of the batch; the first closes the third, and one was closed before
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let order = Rc::new(RefCell::new(Vec::new()));
    let third = Rc::new(RefCell::new(None::<Id>));
    let wires: Vec<_> = (0..4).map(|_| Wire::new()).collect();
    let mut ids = Vec::new();
    for (number, wire) in wires.iter().enumerate() {
        let (order, third) = (Rc::clone(&order), Rc::clone(&third));
        let handler = Callbacks::new().on_read(move |cx| {
            order.borrow_mut().push(number);
            if let Some(third) = third.take() {
                cx.get(third).unwrap().abort();
            }
        });
        ids.push(Bufferevent::scripted(wire).handler(handler).start(&mut base).unwrap());
    }
    base.settle().unwrap();
    base.bufferevent(ids[3]).unwrap().abort();
    base.settle().unwrap();
    let polls = base.counters().polls.get();
    for number in [1, 0, 2] {
        wires[number].deliver(b"input");
    }
    *third.borrow_mut() = Some(ids[2]);
    base.deliver([ids[1], ids[3], ids[0], ids[2]].map(|id| (id, Ready::BOTH | Ready::HANGUP)));
    base.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(base.counters().polls.get(), polls + 1, "one batch");
    assert_eq!((order.borrow().as_slice(), base.counters().stale.get()), (&[1, 0][..], 1));
    base.settle().unwrap();
    assert_eq!((order.borrow().len(), wires[2].reads(), wires[2].is_closed()), (2, 0, true));
}
