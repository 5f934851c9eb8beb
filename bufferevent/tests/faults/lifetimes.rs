//! What lives for how long, and in how much memory: F31, F58. F56 and F57 are looked at in every test by its census,
//! handlers by `contract/harness/leaks.rs`; F59 is tested in the contract suite's `panics` and in `drain.rs`, F61 in the suite's `ending`, F65
//! in its `files`. F34, memory that cannot be had, is in `SECURITY.md`.

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Error, Handle,
    testing::{Census, Wire},
};
use bufferevent_sync::Mutex;

use crate::{
    harness::{SETS, Set, pattern},
    sim::Sim,
};

#[test]
fn memory_stays_flat_whatever_is_written_to_one_that_does_not_read() {
    // F31, X-76 (libevent's issues 694, 1211, 1350, 1466): past the cap it is refused, and what was taken is sent in order
    let _census = Census::begin();
    const CAP: usize = 100_000;
    let all = pattern(1_000_000);
    for set in SETS {
        let (mut sim, wire) = (Sim::new(), Wire::new());
        wire.set_room(0);
        let builder = Bufferevent::scripted(&wire).caps(None, Some(CAP));
        let conn = sim.start_with(set, builder, |_, _| {});
        let (mut accepted, mut refused) = (0, 0);
        for round in 0..2_000 {
            let piece = &all[accepted..][..1_000];
            let answer = sim.with(&conn, |bufferevent| {
                let answer = bufferevent.write(piece);
                assert!(bufferevent.output().len() <= CAP);
                assert!(bufferevent.output().allocated() <= 2 * CAP, "{}", bufferevent.output().allocated());
                answer
            });
            match answer.unwrap() {
                Ok(_) => accepted += piece.len(),
                Err(Error::OutputFull { .. }) => refused += 1,
                Err(other) => panic!("{other}"),
            }
            // Now and then it takes a little.
            if round % 100 == 0 {
                wire.set_room(777);
            }
            sim.settle();
        }
        assert!(refused > 1_000, "{set:?}: {refused}");
        wire.set_room(usize::MAX);
        sim.settle();
        assert!(wire.written() == all[..accepted], "{set:?}");
        assert_eq!(sim.with(&conn, |bufferevent| bufferevent.output().allocated()).unwrap(), 0);
    }
}

#[test]
fn handlers_that_capture_their_own_bufferevent_leave_nothing_behind() {
    // F58: 10,000, each of whose handlers owns a handle of itself, however it ends
    let _census = Census::begin();
    const ALL: usize = 10_000;
    for set in [Set::Shared, Set::SharedDefer, Set::SharedUnlock] {
        let mut sim = Sim::new();
        let alive = Arc::new(());
        let wires: Vec<_> = (0..ALL).map(|_| Wire::new()).collect();
        for (number, wire) in wires.iter().enumerate() {
            let (token, own) = (Arc::clone(&alive), Arc::new(Mutex::new(None::<Handle>)));
            let theirs = Arc::clone(&own);
            let conn = sim.start(set, wire, move |_, _| {
                let (_captured, handle) = (&token, theirs.lock().clone());
                match number % 3 {
                    0 => handle.unwrap().close(),
                    1 => handle.unwrap().abort(),
                    // The base ends it.
                    _ => {}
                }
            });
            *own.lock() = Some(conn.handle().clone());
            wire.deliver(b"now");
            wire.end();
        }
        assert_eq!(Arc::strong_count(&alive), ALL + 1);
        sim.settle();
        let left = ALL / 3;
        assert_eq!((sim.base.len(), Arc::strong_count(&alive)), (left, left + 1), "{set:?}");
        drop(sim);
        assert_eq!(Arc::strong_count(&alive), 1, "{set:?}");
        assert!(wires.iter().all(Wire::is_closed));
    }
}
