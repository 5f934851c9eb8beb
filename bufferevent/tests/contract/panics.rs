//! A panic in a callback.

use std::{
    env,
    os::unix::{net::UnixStream, process::ExitStatusExt as _},
    panic,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use bufferevent::{
    Base, Bufferevent, Event, Handle, Interest, Movable, PanicPolicy, Runtime, Trigger, Turned,
    UnlockedHandler,
    runtime::{self, Clock, SelectorKind},
    testing::Census,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use bytes::Bytes;

use crate::{
    harness::{
        Actor, Call, Config, Drive, SETS, Set, Shape, World, each, each_by_hand, each_of, launch, unix_pair,
    },
    kinds::KINDS,
};

/// What the tests panic with.
pub(crate) struct Meant;

/// Keeps the output of the tests readable.
pub(crate) fn hush() {
    static HUSHED: OnceLock<()> = OnceLock::new();
    HUSHED.get_or_init(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !info.payload().is::<Meant>() && !info.payload().is::<Endless>() {
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
fn a_panic_in_a_drain_aborts_its_own_connection_and_no_other() {
    // D16
    hush();
    each(|config| {
        let mut world = config.world();
        let mut start = |script: fn()| {
            let (builder, peer) = (config.kind.open)();
            let actor = Actor::new(&world, move |_, call| {
                if *call == Call::Drain {
                    script();
                }
            });
            (world.start(config.set, builder.report_close(), actor.going_on()).unwrap(), peer)
        };
        let (other, mut other_peer) = start(|| {});
        let (conn, mut peer) = start(|| panic::panic_any(Meant));
        world.drain();
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(conn.log.calls(), [Call::Drain, Call::Closed]);
        let mut rest = Vec::new();
        world.until("the end at the peer", || peer.read_some(1, &mut rest).unwrap_or(true));
        assert_eq!(world.panics(), 1);
        world.send(&mut other_peer, b"alive");
        world.until_called(&other, Call::Read, 1);
    });
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
    // D16, F59: whichever worker it comes from, `run` names it
    let _census = Census::begin();
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
            let told = running.join().unwrap();
            let named = matches!(told, Err(runtime::Error::WorkerPanicked { worker, .. }) if worker == base || set.is_shared());
            assert!(named, "{workers} workers, base {base}, {set:?}: {told:?}");
            assert_eq!(conn.log.calls(), [Call::Read]);
        }
    }
}

#[test]
fn a_panic_that_is_to_abort_ends_the_process() {
    // D16, F18: seen from outside, in a process that runs this test alone
    let _census = Census::begin();
    const WHICH: &str = "BUFFEREVENT_TEST_ABORTS";
    hush();
    if let Ok(which) = env::var(WHICH) {
        let config = by_hand().nth(which.parse().unwrap()).unwrap();
        let mut world = config.world();
        let (conn, _peer) =
            config.start_with(&mut world, |b| b.on_panic(PanicPolicy::Abort), |_, _| panic::panic_any(Meant));
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.settle();
        return;
    }
    for which in 0..by_hand().count() {
        let mut child = Command::new(env::current_exe().unwrap());
        child.args(["--exact", "panics::a_panic_that_is_to_abort_ends_the_process"]);
        let ended = child.env(WHICH, which.to_string()).output().unwrap();
        assert_eq!(ended.status.signal(), Some(rustix::process::Signal::ABORT.as_raw()), "{ended:?}");
    }
}

/// One configuration for each set of options.
fn by_hand() -> impl Iterator<Item = Config> {
    SETS.into_iter().map(|set| Config {
        kind: KINDS[0],
        set,
        shape: Shape::Movable,
        selector: SelectorKind::Best,
    })
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
        world.until("the end of the run", || handle.is_closing());
    });
}

#[test]
fn one_whose_handler_is_gone_with_a_panic_that_got_out_while_a_guard_is_held_ends() {
    // D16: nobody is left to be told anything
    let _census = Census::begin();
    hush();
    let mut base = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let (gate, calls) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let handler = Explosive { gate: Arc::clone(&gate), calls: Arc::clone(&calls) };
    let (ours, theirs) = UnixStream::pair().unwrap();
    let builder = Bufferevent::socket(ours).on_panic(PanicPolicy::Propagate).threadsafe();
    let handle = builder.unlocked(handler).start(&mut base).unwrap();
    handle.trigger_event(1, Trigger::PLAIN).unwrap();
    let (shut, own) = (gate.lock(), handle.clone());
    let turning = thread::spawn(move || {
        let turned = panic::catch_unwind(panic::AssertUnwindSafe(|| while base.turn(None).is_ok() {}));
        (base, turned)
    });
    while calls.load(Ordering::SeqCst) == 0 {
        thread::yield_now();
    }
    let guard = own.lock().unwrap();
    drop(shut);
    let (mut base, turned) = turning.join().unwrap();
    assert!(turned.unwrap_err().is::<Meant>());
    drop(guard);
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
    assert!(handle.is_closing() && base.is_empty());
    drop(theirs);
}

/// Panics when it is dropped, as a handler may, or the memory that a buffer refers to.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic::panic_any(Meant);
        }
    }
}

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"bomb"
    }
}

/// A handler that holds a bomb, and drops it when `User(1)` replaces it.
fn armed(world: &World) -> Actor {
    let bomb = Bomb;
    Actor::new(world, move |cx, call| {
        let _held = &bomb;
        if *call == Call::User(1) {
            let heir = Actor::heir(cx.log(), 1, |_, _| {});
            cx.replace(heir);
        }
    })
}

/// Panics with one of its kind when it is dropped.
struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        panic::panic_any(Endless);
    }
}

#[test]
fn a_panic_in_the_drop_of_what_a_panic_said_goes_no_further() {
    // D16, F19: the runtime goes on
    hush();
    each(|config| {
        let mut world = config.world();
        let (other, mut other_peer) = config.start(&mut world);
        let (conn, _peer) = config.start_with(&mut world, |b| b, |_, _| panic::panic_any(Endless));
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_panics(1);
        world.until_gone(&conn);
        world.send(&mut other_peer, b"alive");
        world.until_called(&other, Call::Read, 1);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_handler_is_counted_and_goes_no_further() {
    // D16, F19: one that a callback has replaced, and one whose bufferevent has ended
    hush();
    each(|config| {
        let mut world = config.world();
        let (builder, mut peer) = (config.kind.open)();
        let actor = armed(&world);
        let replaced = world.start(config.set, builder, actor).unwrap();
        world.with(&replaced, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_panics(1);
        world.send(&mut peer, b"alive");
        world.until_called(&replaced, Call::Read, 1);

        let (builder, _peer) = (config.kind.open)();
        let actor = armed(&world);
        let ended = world.start(config.set, builder, actor).unwrap();
        world.abort(&ended);
        world.until_panics(2);
        world.until_gone(&ended);
        if let (Set::Shared | Set::SharedDefer | Set::SharedUnlock, Shape::Threads { .. }) =
            (config.set, config.shape)
        {
            assert!(ended.handle().close_and_wait().is_ok());
        }
        world.fence(&replaced);
    });
}

#[test]
fn a_panic_in_the_drop_of_a_handler_goes_not_up_through_the_guard_that_replaced_it() {
    // D16, C-07
    hush();
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (builder, _peer) = (config.kind.open)();
        let (actor, heir) = (armed(&world), Actor::new(&world, |_, _| {}));
        let log = heir.log.clone();
        let conn = world.start(config.set, builder, actor).unwrap();
        world.settle();
        let mut guard = conn.handle().lock().unwrap();
        match config.set {
            Set::SharedUnlock => guard.set_unlocked_handler(heir).unwrap(),
            _ => guard.set_handler(heir).unwrap(),
        }
        drop(guard);
        assert_eq!(world.panics(), 1);
        conn.handle().trigger_event(2, Trigger::PLAIN).unwrap();
        world.until("the other handler", || log.has(Call::User(2)));
    });
}

#[test]
fn a_panic_in_a_drop_keeps_nobody_in_close_and_wait() {
    // D3, D16, F19, F61: the base is gone, and the handler and the output of what lived there panic when they are dropped
    hush();
    each_of(Set::is_shared, |config| {
        if !config.kind.is_socket() {
            return;
        }
        let mut world = config.world();
        let (builder, _peer) = (config.kind.open)();
        let builder = builder.enable(Interest::NONE).close_on_free(false).configure(|b| {
            b.output().add_bytes(Bytes::from_owner(Bomb)).unwrap();
        });
        let actor = armed(&world);
        let conn = world.start(config.set, builder, actor).unwrap();
        let base = conn.handle().base();
        drop(world);
        assert!(conn.handle().is_closing());
        let closed = conn.handle().close_and_wait().unwrap();
        assert_eq!((closed.unsent, closed.fd.is_some(), base.counters().panics.get()), (4, true, 2));
    });
}

#[test]
fn a_panic_in_the_drop_of_what_was_not_sent_ends_its_own_connection_only() {
    // D16
    hush();
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start_with(
            &mut world,
            |b| {
                b.enable(Interest::NONE).report_close().configure(|b| {
                    b.output().add_bytes(Bytes::from_owner(Bomb)).unwrap();
                })
            },
            |_, _| {},
        );
        let (other, mut peer) = config.start(&mut world);
        world.abort(&conn);
        world.until_called(&conn, Call::Closed, 1);
        world.until_gone(&conn);
        assert_eq!(conn.log.closed().unwrap().unsent, 4);
        world.until_panics(1);
        world.send(&mut peer, b"alive");
        world.until_called(&other, Call::Read, 1);
    });
}
