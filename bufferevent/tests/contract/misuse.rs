//! Every misuse is an error value: never an abort, a hang or silence (D16).

use std::{net::TcpListener, sync::Arc, thread};

use bufferevent::{
    Base, BaseExt, Bufferevent, Error, Interest, Listener, NoHandler, Options, Pinned, Runtime, Started,
    Trigger, lock_both, runtime, testing::Census,
};
use bufferevent_sync::Mutex;

use crate::harness::{Actor, Call, Set, Shape, Who, each, each_of, pattern, unix_pair};

#[test]
fn unlock_without_defer_is_refused() {
    // C-06, X-15, X-89
    let _census = Census::begin();
    assert!(matches!(Options::UNLOCK_CALLBACKS.validate(), Err(Error::UnlockWithoutDefer)));
    let mut base = Base::<Pinned>::new().unwrap();
    for options in [Options::UNLOCK_CALLBACKS, Options::UNLOCK_CALLBACKS | Options::THREADSAFE] {
        let (ours, peer) = unix_pair();
        let options = options | Options::CLOSE_ON_FREE;
        let refused = Bufferevent::socket(ours).options(options).handler(NoHandler).start(&mut base);
        assert!(matches!(refused, Err(Error::UnlockWithoutDefer)));
        assert!(peer.is_ended(), "CLOSE_ON_FREE holds for one that is refused, too");
    }
    let (ours, peer) = unix_pair();
    let refused = Bufferevent::socket(ours).options(Options::UNLOCK_CALLBACKS).start(&mut base);
    assert!(matches!(refused, Err(Error::UnlockWithoutDefer)) && !peer.is_ended());
    Census::leave_open(1);
    assert!(base.is_empty());
}

#[test]
fn options_that_are_known_at_run_time_only_start_what_they_say() {
    // C-03..C-06: without a lock there is none to drop, and UNLOCK means DEFER
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    for bits in 0..16 {
        let options = Options::from_bits(bits).unwrap();
        let (ours, _peer) = unix_pair();
        let started = Bufferevent::socket(ours).options(options).handler(NoHandler).start(&mut base);
        let (shared, unlock) =
            (options.contains(Options::THREADSAFE), options.contains(Options::UNLOCK_CALLBACKS));
        // What a handle can still ask for is closed with it.
        let is_owned = options.contains(Options::CLOSE_ON_FREE) || matches!(started, Ok(Started::Shared(_)));
        Census::leave_open(usize::from(!is_owned));
        match started {
            Err(Error::UnlockWithoutDefer) => assert!(unlock && options.validate().is_err()),
            // Its handler is of another trait, and of another builder.
            Err(Error::WrongHandler) => assert!(unlock && shared),
            Ok(Started::Confined(id)) => {
                assert!(!shared);
                assert_eq!(base.bufferevent(id).unwrap().options(), options);
            }
            Ok(Started::Shared(handle)) => {
                assert!(shared && !unlock);
                assert_eq!(handle.lock().unwrap().options(), options);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(Options::from_bits(16), None);
}

#[test]
fn a_handler_of_the_other_kind_is_refused() {
    // D16
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        let heir = Actor::heir(&conn.log, 1, |_, _| {});
        let mut guard = conn.handle().lock().unwrap();
        let refused = match config.set {
            Set::SharedUnlock => guard.set_handler(heir),
            _ => guard.set_unlocked_handler(heir),
        };
        assert!(matches!(refused, Err(Error::WrongHandler)));
    });
}

#[test]
fn waiting_for_a_strand_while_holding_one_is_refused() {
    // section 4, D16: in release builds too
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (one, _peer) = config.start(&mut world);
        let (other, _peer) = config.start(&mut world);
        let (one, other) = (one.handle(), other.handle());
        // More than is taken by who does not read, so that it does not end by itself.
        other.lock().unwrap().write(&pattern(3_000_000)).unwrap();
        assert!(matches!(lock_both(one, one), Err(Error::WouldDeadlock)));
        let guard = one.lock().unwrap();
        assert!(matches!(one.lock(), Err(Error::WouldDeadlock)));
        assert!(matches!(other.lock(), Err(Error::WouldDeadlock)));
        assert!(matches!(lock_both(one, other), Err(Error::WouldDeadlock)));
        assert!(matches!(other.close_and_wait(), Err(Error::WouldDeadlock)));
        assert!(other.is_closing(), "it is closed all the same");
        assert!(matches!(one.try_lock(), Ok(None)), "it never waits, so it is allowed");
        drop(guard);
        drop(one.lock().unwrap());
    });
}

#[test]
fn waiting_for_a_strand_in_a_locked_callback_is_refused_and_in_an_unlocked_one_allowed() {
    // section 4, C-06, D16
    each_of(Set::is_shared, |config| {
        let mut world = config.world();
        let (other, other_peer) = config.start(&mut world);
        let answers = Arc::new(Mutex::new(Vec::new()));
        let theirs = Arc::clone(&answers);
        let victim = other.handle().clone();
        let (conn, _peer) = config.start_with(
            &mut world,
            |b| b,
            move |cx, _| {
                let own = cx.handle();
                let mut answers = theirs.lock();
                answers.push(victim.lock().is_err());
                answers.extend(own.map(|own| own.lock().is_err()));
                answers.push(matches!(victim.close_and_wait(), Err(Error::WouldDeadlock)));
            },
        );
        world.with(&conn, |b| b.trigger_event(1, Trigger::PLAIN)).unwrap();
        world.until_called(&conn, Call::User(1), 1);
        // The harness holds a guard in its unlocked callbacks, so all of them hold something.
        assert!(answers.lock().iter().all(|refused| *refused) && answers.lock().len() >= 2);
        drop(other_peer);
        world.until_gone(&other);
    });
}

/// An unlocked callback that holds nothing.
struct Free {
    answers: Arc<Mutex<Vec<bool>>>,
    other: bufferevent::Handle,
}

impl bufferevent::UnlockedHandler for Free {
    fn on_event(&mut self, bufferevent: &bufferevent::Handle, _: bufferevent::Event) {
        let mut answers = self.answers.lock();
        answers.push(bufferevent.lock().is_ok());
        answers.push(self.other.lock().is_ok());
        answers.push(lock_both(bufferevent, &self.other).is_ok());
        answers.push(matches!(bufferevent.close_and_wait(), Err(Error::WouldDeadlock)));
    }
}

#[test]
fn an_unlocked_callback_may_lock_itself_and_others() {
    // C-06, C-22
    each_of(
        |set| set == Set::SharedUnlock,
        |config| {
            let mut world = config.world();
            let (other, _peer) = config.start(&mut world);
            let answers = Arc::new(Mutex::new(Vec::new()));
            let (builder, mut peer) = (config.kind.open)();
            let free = Free { answers: Arc::clone(&answers), other: other.handle().clone() };
            let mut home = other.handle().base();
            let handle = builder.threadsafe().unlocked(free).start(&mut home).unwrap();
            handle.trigger_event(1, Trigger::PLAIN).unwrap();
            world.until("the callback", || answers.lock().len() == 4);
            assert_eq!(*answers.lock(), [true; 4]);
            assert_eq!(world.receive_all(&mut peer), b"", "closed all the same");
        },
    );
}

#[test]
fn what_is_gone_answers_closed() {
    // D16
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        world.abort(&conn);
        world.until_gone(&conn);
        let (next, _peer) = config.start(&mut world);
        assert!(matches!(world.with(&conn, |_| ()), Err(Error::Closed)), "its slot is another's now");
        if let Who::Shared(handle) = &conn.who {
            assert!(handle.is_closing());
            assert!(matches!(handle.try_lock(), Err(Error::Closed)));
            assert!(matches!(handle.write(b"x"), Err(Error::Closed)));
            assert!(matches!(handle.disable(Interest::BOTH), Err(Error::Closed)));
            assert!(matches!(handle.trigger_event(1, Trigger::PLAIN), Err(Error::Closed)));
            assert!(matches!(lock_both(handle, next.handle()), Err(Error::Closed)));
            handle.close();
            handle.abort();
        }
        world.fence(&next);
    });
}

#[test]
fn an_id_of_another_base_names_nothing() {
    // D16
    each_of(
        |set| !set.is_shared(),
        |config| {
            let (mut world, mut foreign) = (config.world(), config.world());
            let (here, _peer) = config.start(&mut world);
            let (there, _peer) = config.start(&mut foreign);
            if !matches!(config.shape, Shape::Threads { .. }) {
                assert!(matches!(world.with(&there, |_| ()), Err(Error::Closed)));
                assert!(matches!(foreign.with(&here, |_| ()), Err(Error::Closed)));
            }
            // Nor does a bufferevent's own id in its own callback: it has the context.
            let (Who::Confined(here), Who::Confined(there)) = (here.who, there.who) else { unreachable!() };
            assert_ne!(here, there);
        },
    );
}

#[test]
fn a_base_that_is_gone_takes_nothing_more() {
    // D16
    let _census = Census::begin();
    let base = Base::<bufferevent::Movable>::with_clock(runtime::Clock::monotonic()).unwrap();
    let mut handle = base.handle();
    drop(base);
    assert!(matches!(handle.post(|_| ()), Err(runtime::Error::Closed)));
    let (ours, peer) = unix_pair();
    let refused = Bufferevent::socket(ours).handler(NoHandler).start(&mut handle);
    assert!(matches!(refused, Err(Error::Closed)) && peer.is_ended());
    let (ours, peer) = unix_pair();
    let refused = Bufferevent::socket(ours).handler(NoHandler).threadsafe().start(&mut handle);
    assert!(matches!(refused, Err(Error::Closed)) && peer.is_ended());
}

#[test]
fn a_pinned_base_is_not_reached_from_elsewhere() {
    // D16: its handlers may be of its thread
    let _census = Census::begin();
    let base = Base::<Pinned>::new().unwrap();
    let movable = base.handle().as_movable();
    assert!(matches!(movable.post(|_| ()), Err(runtime::Error::WrongAffinity)));
    let (ours, peer) = unix_pair();
    let refused = Bufferevent::socket(ours).handler(NoHandler).start(&mut base.handle());
    assert!(matches!(refused, Err(Error::Runtime(runtime::Error::WrongAffinity))) && peer.is_ended());
}

#[test]
fn an_inbox_that_is_full_refuses() {
    // D16
    let _census = Census::begin();
    let runtime = Runtime::builder().workers(1).inbox(3).build().unwrap();
    let base = runtime.bases()[0].clone();
    for _ in 0..3 {
        base.post(|_| ()).unwrap();
    }
    assert!(matches!(base.post(|_| ()), Err(runtime::Error::InboxFull { limit: 3 })));
    assert!(matches!(runtime.spawn(|| ()), Err(runtime::Error::InboxFull { .. })));
    let (ours, peer) = unix_pair();
    let refused = Bufferevent::socket(ours).handler(NoHandler).start(&mut base.clone());
    assert!(matches!(refused, Err(Error::Runtime(runtime::Error::InboxFull { .. }))) && peer.is_ended());
}

#[test]
fn a_runtime_without_workers_or_bases_is_refused() {
    // D16
    let _census = Census::begin();
    let build = |workers, bases| Runtime::builder().workers(workers).bases(bases).build();
    let invalid = runtime::MOST + 1;
    assert!(matches!(build(0, 1), Err(runtime::Error::InvalidWorkers { workers: 0, .. })));
    assert!(matches!(build(invalid, 1), Err(runtime::Error::InvalidWorkers { .. })));
    assert!(matches!(build(1, 0), Err(runtime::Error::InvalidBases { bases: 0, .. })));
    assert!(matches!(build(1, invalid), Err(runtime::Error::InvalidBases { .. })));
    let pinned = Runtime::builder().workers(1).bases(2).pinned(true).build();
    assert!(matches!(pinned, Err(runtime::Error::Unsupported(_))));
    let runtime = build(1, 1).unwrap();
    let worker = runtime.worker().unwrap();
    assert!(matches!(runtime.worker(), Err(runtime::Error::NoWorkerLeft { workers: 1 })));
    assert!(matches!(runtime.run(), Err(runtime::Error::NoWorkerLeft { .. })));
    runtime.stop();
    thread::spawn(move || worker.run()).join().unwrap().unwrap();
}

#[test]
fn an_address_that_is_taken_or_none_is_refused() {
    // L-02, D16
    let _census = Census::begin();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let refused = Listener::bind(taken.local_addr().unwrap());
    assert!(
        matches!(refused, Err(runtime::Error::Io(error)) if error.kind() == std::io::ErrorKind::AddrInUse)
    );
    let refused = Listener::bind(&[] as &[std::net::SocketAddr]);
    assert!(
        matches!(refused, Err(runtime::Error::Io(error)) if error.kind() == std::io::ErrorKind::InvalidInput)
    );
    let refused = Listener::from_fd(unix_pair().0);
    assert!(
        matches!(refused, Err(runtime::Error::Io(error)) if error.kind() == std::io::ErrorKind::InvalidInput)
    );
}

#[test]
fn every_error_says_what_it_is_and_keeps_its_source() {
    // D4, D16
    let _census = Census::begin();
    let io = || std::io::Error::from(std::io::ErrorKind::AddrInUse);
    let errors = [
        (Error::Io(io()), true),
        (Error::Runtime(runtime::Error::WrongAffinity), true),
        (Error::Buffer(bufferevent::evbuffer::Error::Format), true),
        (Error::Closed, false),
        (Error::WouldDeadlock, false),
        (Error::NotStream, false),
        (Error::AlreadyConnected, false),
        (Error::NotConnected, false),
        (Error::UnlockWithoutDefer, false),
        (Error::WrongHandler, false),
        (Error::InvalidWatermark { low: 2, high: 1 }, false),
        (Error::OutputFull { more: 3, queued: 1, cap: 2 }, false),
        (Error::TooLarge { more: 3, cap: 2 }, false),
        (Error::Joined, false),
        (Error::MailboxFull { limit: 3 }, false),
    ];
    let mut texts: Vec<String> = Vec::new();
    for (error, has_source) in errors {
        assert_eq!(std::error::Error::source(&error).is_some(), has_source, "{error:?}");
        let text = error.to_string();
        assert!(!text.is_empty() && !texts.contains(&text), "{text}");
        texts.push(text);
    }
    assert!(matches!(Error::from(runtime::Error::Closed), Error::Closed));
    assert!(matches!(Error::from(runtime::Error::WouldDeadlock), Error::WouldDeadlock));
    assert!(matches!(Error::from(runtime::Error::Io(io())), Error::Io(_)));
}
