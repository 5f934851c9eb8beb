//! Callbacks: F18, F20, F21, F25. F19 is tested in the contract suite's `panics`, F22 in its `mailbox`, `handlers` and
//! `ending`, F23 in every test of both suites.

use std::{panic, sync::Arc};

use bufferevent::{
    Bufferevent, Error, Interest, Trigger,
    testing::{Census, Seed, Wire},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::{
    harness::{Actor, Call, Conn, Cx, SETS, Set, Shape, World, pattern},
    sim::{Sim, echo},
};

#[test]
fn every_tenth_of_a_thousand_panics_and_the_others_lose_no_byte() {
    // F18
    let _census = Census::begin();
    const SENT: usize = 3_000;
    let seed = Seed::new().unwrap();
    for workers in [1, 2] {
        let mut world =
            World::new(Shape::Threads { workers, bases: 2 }, Default::default(), Default::default());
        let payload = Arc::new(());
        let wires: Vec<_> = (0..1_000).map(|_| Wire::new()).collect();
        for (number, wire) in wires.iter().enumerate() {
            wire.disturb(seed.random());
            wire.deliver_in(&pattern(SENT), 1_000);
            wire.end();
            let payload = Arc::clone(&payload);
            let actor = Actor::new(&world, move |cx, call| {
                if number % 10 == 0 && *call == Call::Read && cx.input().len() >= 1_000 {
                    // No hook is called: the output of the test stays readable.
                    panic::resume_unwind(Box::new(Arc::clone(&payload)));
                }
                if number % 10 != 0 {
                    echo(cx, call);
                }
            });
            world.start(SETS[number / 10 % SETS.len()], Bufferevent::scripted(wire), actor).unwrap();
        }
        world.until_panics(100);
        world.until("all to end", || wires.iter().all(Wire::is_closed));
        for (number, wire) in wires.iter().enumerate() {
            let expected = if number % 10 == 0 { vec![] } else { pattern(SENT) };
            assert!(wire.written() == expected, "connection {number}");
        }
        world.until_empty();
        drop(world);
        assert_eq!(Arc::strong_count(&payload), 1, "no payload, and no handler, is left");
    }
}

/// What a callback does to the objects around it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Close,
    Abort,
    CloseOther,
    AbortOther,
    Replace,
    Disable,
    TriggerItself,
    Drain,
    StartAnother,
    Panic,
    ExitBase,
    BreakBase,
}

const ACTIONS: [Action; 12] = [
    Action::Close,
    Action::Abort,
    Action::CloseOther,
    Action::AbortOther,
    Action::Replace,
    Action::Disable,
    Action::TriggerItself,
    Action::Drain,
    Action::StartAnother,
    Action::Panic,
    Action::ExitBase,
    Action::BreakBase,
];

const KINDS: [Call; 5] = [Call::Connected, Call::Read, Call::Write, Call::Eof, Call::User(1)];

fn act(action: Action, set: Set, cx: &mut Cx<'_, '_>, other: &Conn, another: &Wire) {
    match action {
        Action::Close => cx.close(),
        Action::Abort => cx.abort(),
        Action::CloseOther => cx.close_other(other),
        Action::AbortOther => cx.abort_other(other),
        Action::Replace => {
            let heir = Actor::heir(cx.log(), 1, |_, _| {});
            cx.replace(heir);
        }
        Action::Disable => cx.disable(Interest::BOTH),
        Action::TriggerItself => {
            cx.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
            cx.trigger_event(2, Trigger::DEFER);
        }
        Action::Drain => {
            let all = cx.input().len();
            cx.input().drain(all).unwrap();
        }
        Action::StartAnother => {
            if let Some(started) = cx.start(set, Bufferevent::scripted(another), Actor::alone(echo)) {
                started.unwrap();
            }
        }
        Action::Panic => panic::resume_unwind(Box::new("meant")),
        Action::ExitBase => cx.stop_base(false),
        Action::BreakBase => cx.stop_base(true),
    }
    // Whatever was done, what this callback was given lives until it returns.
    let ended = cx.is_closing();
    let wrote = cx.write(b"still here");
    assert!(if ended { matches!(wrote, Err(Error::Closed)) } else { wrote.is_ok() }, "{action:?}");
}

#[test]
fn each_callback_may_do_anything_to_itself_its_neighbour_and_its_base() {
    // F20, X-12, X-13: 12 actions, 5 kinds of callback, all option sets
    let _census = Census::begin();
    for set in SETS {
        for action in ACTIONS {
            for kind in KINDS {
                one_action(set, action, kind);
            }
        }
    }
}

fn one_action(set: Set, action: Action, kind: Call) {
    let mut sim = Sim::new();
    let [wire, other_wire, another] = [Wire::connecting(), Wire::new(), Wire::new()];
    let other = sim.start(set, &other_wire, |_, _| {});
    let (neighbour, third) = (other.clone(), another.clone());
    let acted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&acted);
    let conn = sim.start(set, &wire, move |cx, call| {
        if *call == kind && count.fetch_add(1, Ordering::SeqCst) == 0 {
            act(action, set, cx, &neighbour, &third);
        }
    });
    sim.settle();
    wire.connect();
    sim.settle();
    wire.deliver(b"input");
    // It may have ended by now.
    let _ = sim.with(&conn, |bufferevent| {
        let _ = bufferevent.write(b"output");
        bufferevent.trigger_event(1, Trigger::PLAIN);
    });
    sim.settle();
    wire.end();
    // A base that was told to end its loop goes on when it is turned again.
    (0..3).for_each(|_| sim.settle());
    let context = format!("{set:?}, {action:?} in {kind:?}: {:?}", conn.log.calls());
    assert!(acted.load(Ordering::SeqCst) > 0, "{context}");
    let calls = conn.log.calls();
    match action {
        Action::Close | Action::Abort | Action::Panic => {
            let last = calls.iter().rposition(|call| *call == kind);
            assert_eq!(last, Some(calls.len() - 1), "nothing is told after it: {context}");
            if action != Action::Close {
                assert!(wire.is_closed() && sim.is_gone(&conn), "{context}");
            }
        }
        Action::AbortOther => assert!(other_wire.is_closed() && sim.is_gone(&other), "{context}"),
        Action::CloseOther => assert!(other_wire.is_shut_down(), "{context}"),
        _ => assert!(!wire.is_closed() && !sim.is_gone(&conn), "{context}"),
    }
    assert_eq!(sim.base.counters().panics.get(), u64::from(action == Action::Panic), "{context}");
    for conn in [&conn, &other] {
        let _ = sim.with(conn, |bufferevent| bufferevent.abort());
    }
    another.end();
    sim.settle();
    assert!(wire.is_closed() && other_wire.is_closed() && sim.base.is_empty(), "{context}");
}

#[test]
fn a_callback_that_writes_to_itself_is_never_inside_itself() {
    // F21: depth 1, whatever the number of rounds; the pair's test comes with the pair
    let _census = Census::begin();
    const ROUNDS: usize = 2_000;
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        let (depth, rounds) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&rounds);
        let conn = sim.start(set, &wire, move |cx, call| {
            assert_eq!(depth.fetch_add(1, Ordering::SeqCst), 0, "a callback inside a callback");
            if *call == Call::Write && count.fetch_add(1, Ordering::SeqCst) < ROUNDS {
                cx.write(b"x").unwrap();
                cx.trigger_event(1, Trigger::PLAIN);
            }
            depth.fetch_sub(1, Ordering::SeqCst);
        });
        sim.with(&conn, |bufferevent| bufferevent.write(b"x").map(drop)).unwrap().unwrap();
        sim.settle();
        assert_eq!(wire.written().len(), ROUNDS + 1, "{set:?}");
        // No event waits for ever for the write callback, which comes first and is always due.
        assert!(conn.log.count(Call::User(1)) >= ROUNDS / 32, "{set:?}");
    }
}

#[test]
fn a_callback_that_is_always_due_again_holds_up_nobody_else() {
    // F21, F25: a trigger of itself from inside; libevent recurses until the stack is full
    let _census = Census::begin();
    for set in SETS {
        let (mut sim, wire, other) = (Sim::new(), Wire::new(), Wire::new());
        let stop = Arc::new(AtomicUsize::new(0));
        let stopped = Arc::clone(&stop);
        let conn = sim.start(set, &wire, move |cx, call| {
            if *call == Call::Read && stopped.load(Ordering::SeqCst) == 0 {
                cx.trigger(Interest::READ, Trigger::IGNORE_WATERMARKS);
                cx.trigger_event(1, Trigger::PLAIN);
            }
        });
        let stops = Arc::clone(&stop);
        sim.start(set, &other, move |_, _| stops.store(1, Ordering::SeqCst));
        sim.settle();
        wire.deliver(b"go");
        for _ in 0..10 {
            sim.base.turn(Some(std::time::Duration::ZERO)).unwrap();
        }
        other.deliver(b"stop");
        sim.settle();
        assert!(conn.log.count(Call::Read) > 32, "{set:?}");
    }
}

#[test]
fn one_that_always_has_more_starves_nobody() {
    // F25: while one has 8 MiB to read, what comes for the others is told within a run of it
    let _census = Census::begin();
    const HOT: usize = 8 * 1024 * 1024;
    for set in SETS {
        let mut sim = Sim::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        let wires: Vec<_> = (0..20).map(|_| Wire::new()).collect();
        for (number, wire) in wires.iter().enumerate() {
            let order = Arc::clone(&order);
            sim.start(set, wire, move |cx, call| {
                if *call == Call::Read {
                    let all = cx.input().len();
                    cx.input().drain(all).unwrap();
                    order.lock().push((number, all));
                }
            });
        }
        sim.settle();
        wires[0].deliver(&vec![0; HOT]);
        wires[1..].iter().for_each(|wire| wire.deliver(b"cold"));
        sim.settle();
        let order = order.lock();
        let last_cold = order.iter().rposition(|(number, _)| *number != 0).unwrap();
        let hot_before: usize = order[..last_cold].iter().filter(|(n, _)| *n == 0).map(|(_, all)| all).sum();
        assert!(hot_before <= 2 * 4 * 64 * 1024, "{hot_before} bytes of the hot one first, {set:?}");
        assert_eq!(order.iter().map(|(_, all)| all).sum::<usize>(), HOT + 19 * 4);
    }
}

#[test]
fn those_that_all_have_more_get_the_same() {
    // F25: Jain's index of what each has read by the time that the first has read all
    let _census = Census::begin();
    const MUCH: usize = 4 * 1024 * 1024;
    for set in SETS {
        let mut sim = Sim::new();
        let read = Arc::new(Mutex::new([0_usize; 16]));
        let at_first_end = Arc::new(Mutex::new(None));
        let wires: Vec<_> = (0..16).map(|_| Wire::new()).collect();
        for (number, wire) in wires.iter().enumerate() {
            let (read, at_first_end) = (Arc::clone(&read), Arc::clone(&at_first_end));
            sim.start(set, wire, move |cx, call| {
                if *call == Call::Read {
                    let all = cx.input().len();
                    cx.input().drain(all).unwrap();
                    let mut read = read.lock();
                    read[number] += all;
                    if read[number] == MUCH {
                        at_first_end.lock().get_or_insert(*read);
                    }
                }
            });
        }
        sim.settle();
        wires.iter().for_each(|wire| wire.deliver(&vec![0; MUCH]));
        sim.settle();
        let shares = at_first_end.lock().unwrap().map(|bytes| bytes as f64);
        let sum: f64 = shares.iter().sum();
        let squares: f64 = shares.iter().map(|share| share * share).sum();
        let fairness = sum * sum / (shares.len() as f64 * squares);
        assert!(fairness >= 0.95, "{fairness}, {set:?}");
        assert_eq!(*read.lock(), [MUCH; 16]);
    }
}
