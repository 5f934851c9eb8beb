//! A panic in a callback.

use std::{
    panic,
    sync::{Arc, OnceLock},
    thread,
};

use bufferevent::{
    Bufferevent, Event, Handle, PanicPolicy, Runtime, Trigger, UnlockedHandler,
    runtime::{Clock, SelectorKind},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use crate::harness::{Actor, Call, Drive, SETS, Set, Shape, World, each, each_by_hand, launch, unix_pair};

/// What the tests panic with.
pub(crate) struct Meant;

/// Keeps the output of the tests readable.
pub(crate) fn hush() {
    static HUSHED: OnceLock<()> = OnceLock::new();
    HUSHED.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Meant>() {
                before(info);
            }
        }));
    });
}

#[test]
fn a_panic_aborts_its_own_connection_and_no_other() {
    // D16: the default policy
    hush();
    for first in [Call::Read, Call::Write, Call::User(1)] {
        each(|config| {
            let mut world = config.world();
            let (other, mut other_peer) = config.start(&mut world);
            let (conn, mut peer) = config.start_with(
                &mut world,
                |b| b.report_close(),
                move |_, call| {
                    if *call == first {
                        panic::panic_any(Meant);
                    }
                },
            );
            world.settle();
            let due = first;
            world
                .with(&conn, move |b| {
                    match due {
                        Call::Read => b.trigger(bufferevent::Interest::READ, Trigger::PLAIN),
                        Call::Write => b.trigger(bufferevent::Interest::WRITE, Trigger::PLAIN),
                        _ => b.trigger_event(1, Trigger::PLAIN),
                    }
                    b.trigger_event(2, Trigger::PLAIN);
                })
                .unwrap();
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            assert_eq!(conn.log.calls(), [first, Call::Closed]);
            let mut rest = Vec::new();
            world.until("the end at the peer", || peer.read_some(1, &mut rest).unwrap_or(true));
            assert_eq!(world.panics(), 1);
            world.send(&mut other_peer, b"alive");
            world.until_called(&other, Call::Read, 1);
        });
    }
}

#[test]
fn a_panic_that_is_to_propagate_leaves_the_turn() {
    // D16: the loop that is driven by hand sees it, and goes on when it is driven again
    hush();
    each_by_hand(|config| {
        let mut world = config.world();
        let (other, mut other_peer) = config.start(&mut world);
        let (conn, _peer) = config.start_with(
            &mut world,
            |b| b.on_panic(PanicPolicy::Propagate),
            |_, call| {
                if *call == Call::User(1) {
                    panic::panic_any(Meant);
                }
            },
        );
        world.settle();
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        let turned = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            for _ in 0..100 {
                world.pump();
            }
        }));
        assert!(turned.unwrap_err().is::<Meant>());
        world.send(&mut other_peer, b"alive");
        world.until_called(&other, Call::Read, 1);
    });
}

#[test]
fn a_panic_that_is_to_propagate_ends_the_runtime() {
    // D16: whichever worker it comes from, `run` ends with it
    hush();
    for (workers, base) in [(1, 0), (2, 0), (2, 1)] {
        for set in SETS {
            let runtime = Runtime::builder().workers(workers).build().unwrap();
            let theirs = runtime.clone();
            let running = thread::spawn(move || theirs.run());
            let mut idle = World::new(Shape::Pinned, SelectorKind::Best, Clock::monotonic());
            let actor = Actor::new(&idle, |_, _| panic::panic_any(Meant));
            let (ours, mut peer) = unix_pair();
            let builder = Bufferevent::socket(ours).on_panic(PanicPolicy::Propagate);
            let home = runtime.bases()[base].clone();
            let conn = launch(set, builder, actor, &mut home.clone(), Some(home)).unwrap();
            idle.send(&mut peer, b"go");
            idle.until(&format!("{workers} workers, base {base}, {set:?} to end"), || running.is_finished());
            assert!(running.join().unwrap_err().is::<Meant>(), "{workers} workers, base {base}, {set:?}");
            assert_eq!(conn.log.calls(), [Call::Read]);
        }
    }
}

#[test]
fn a_panic_in_one_callback_leaves_its_base_in_order() {
    // D16: posts, listeners and timers too are isolated; the base counts them
    hush();
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        if let Drive::Threads { runtime, .. } = &world.drive {
            let base = runtime.bases()[0].clone();
            base.post(|_| panic::panic_any(Meant)).unwrap();
            world.until("the panic", || base.counters().panics.get() == 1);
        }
        world.fence(&conn);
    });
}

/// An unlocked callback that panics when the gate is opened, with nothing held.
struct Explosive {
    gate: Arc<Mutex<()>>,
    calls: Arc<AtomicUsize>,
}

impl UnlockedHandler for Explosive {
    fn on_event(&mut self, _: &Handle, _: Event) {
        self.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.gate.lock());
        panic::panic_any(Meant);
    }
}

#[test]
fn a_panic_in_an_unlocked_callback_aborts_also_while_a_guard_is_held() {
    // D16, protocol 4: the callback comes back and finds the lock taken
    hush();
    each(|config| {
        let Shape::Threads { .. } = config.shape else { return };
        if config.set != Set::SharedUnlock {
            return;
        }
        let mut world = config.world();
        let (gate, calls) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let (builder, mut peer) = (config.kind.open)();
        let handler = Explosive { gate: Arc::clone(&gate), calls: Arc::clone(&calls) };
        let Drive::Threads { runtime, .. } = &world.drive else { return };
        let handle = builder.threadsafe().unlocked(handler).start(&mut runtime.bases()[0].clone()).unwrap();
        let shut = gate.lock();
        handle.trigger_event(1, Trigger::PLAIN).unwrap();
        world.until("the callback", || calls.load(Ordering::SeqCst) == 1);
        let guard = handle.lock().unwrap();
        drop(shut);
        world.settle();
        drop(guard);
        let mut rest = Vec::new();
        world.until("the end at the peer", || peer.read_some(1, &mut rest).unwrap_or(true));
        world.until("the count", || handle.base().counters().panics.get() == 1);
        assert!(handle.is_closing());
    });
}
