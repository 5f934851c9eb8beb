//! Bufferevents of different priorities on one base.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{cell::RefCell, io::Write as _, os::unix::net::UnixStream, rc::Rc, sync::Arc, time::Duration};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Callbacks, Context, Error, Interest, Pinned, Placement, Runtime,
    runtime, testing::Census,
};
use bufferevent_sync::Mutex;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn base(priorities: usize) -> Base<Pinned> {
    let mut base = Base::<Pinned>::new().unwrap();
    base.set_priorities(priorities).unwrap();
    base
}

fn pair(bytes: &[u8]) -> (UnixStream, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(bytes).unwrap();
    (ours, theirs)
}

fn is_refused<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Runtime(runtime::Error::InvalidPriority { priority: 3, limit: 3 })))
}

#[test]
fn the_more_urgent_reads_first_and_a_priority_survives_another_descriptor() {
    // C-36, X-27
    let _census = Census::begin();
    for deferred in [false, true] {
        let mut base = base(3);
        let log = Rc::new(RefCell::new(Vec::new()));
        let mut ids = Vec::new();
        let mut peers = Vec::new();
        for priority in [2, 0, 1] {
            let mine = Rc::clone(&log);
            let handler = Callbacks::new().on_read(move |cx: &mut Context<'_, Pinned>| {
                assert_eq!(cx.priority(), Some(priority));
                cx.read(&mut [0; 8]).unwrap();
                mine.borrow_mut().push(priority);
            });
            let (ours, theirs) = pair(b"x");
            let builder = Bufferevent::socket(ours).handler(handler).priority(priority);
            let builder = if deferred { builder.deferred() } else { builder };
            ids.push(builder.start(&mut base).unwrap());
            peers.push(theirs);
        }
        let all = |base: &mut Base<Pinned>| {
            while log.borrow().len() < 3 {
                base.turn(NOW).unwrap();
            }
            log.take()
        };
        assert_eq!(all(&mut base), [0, 1, 2]);
        for id in &ids {
            let (ours, theirs) = pair(b"y");
            base.bufferevent(*id).unwrap().set_fd(ours).unwrap();
            peers.push(theirs);
        }
        base.turn(NOW).unwrap();
        log.take();
        for _ in 0..10 {
            base.turn(NOW).unwrap();
        }
        log.take();
        for peer in &mut peers[3..] {
            peer.write_all(b"z").unwrap();
        }
        assert_eq!(all(&mut base), [0, 1, 2]);
    }
}

#[test]
fn the_default_is_the_middle_one_and_one_that_there_is_not_is_refused() {
    // C-36, D16
    let _census = Census::begin();
    let mut base = base(3);
    let (ours, _peer) = pair(b"");
    let id = Bufferevent::socket(ours).start(&mut base).unwrap();
    let view = base.bufferevent(id).unwrap();
    assert_eq!(view.priority(), Some(1));
    assert!(is_refused(view.set_priority(3)));
    view.set_priority(2).unwrap();
    assert_eq!(view.priority(), Some(2));
    base.turn(NOW).unwrap();
    assert_eq!(base.bufferevent(id).unwrap().priority(), Some(2));
    let (ours, _peer) = pair(b"");
    assert!(is_refused(Bufferevent::socket(ours).priority(3).start(&mut base)));
    let (ours, _peer) = pair(b"");
    assert!(is_refused(Bufferevent::socket(ours).priority(3).threadsafe().start(&mut base)));
    assert_eq!(base.len(), 1);
    // Set in its own callback, where it lives in a strand.
    let (ours, _peer) = pair(b"");
    let handle = Bufferevent::socket(ours).threadsafe().placement(Placement::Base).start(&mut base).unwrap();
    base.turn(NOW).unwrap();
    let mut guard = handle.lock().unwrap();
    assert!(is_refused(guard.set_priority(3)));
    guard.set_priority(0).unwrap();
    assert_eq!(guard.priority(), Some(0));
}

#[test]
fn those_bound_to_a_base_of_a_runtime_run_in_the_order_of_their_priorities() {
    // C-36, D18
    let _census = Census::begin();
    let runtime = Runtime::builder().workers(2).bases(1).priorities(3).build().unwrap();
    let log = Arc::new(Mutex::new(Vec::new()));
    let mut base = runtime.bases().remove(0);
    let mut handles = Vec::new();
    for priority in [2, 0, 1] {
        let (mine, stopper) = (Arc::clone(&log), runtime.clone());
        let handler = Callbacks::new().on_event(move |_: &mut Context<'_>, _| {
            let mut log = mine.lock();
            log.push(priority);
            if log.len() == 3 {
                stopper.stop();
            }
        });
        let builder = Bufferevent::detached().handler(handler).enable(Interest::NONE).priority(priority);
        handles.push(builder.threadsafe().placement(Placement::Base).start(&mut base).unwrap());
    }
    // Their first runs set the priorities; then all are triggered in one turn.
    let trigger = move |base: &mut Base| {
        base.after(Duration::from_millis(20), move |_| {
            for handle in &handles {
                handle.trigger_event(1, bufferevent::Trigger::PLAIN).unwrap();
            }
        });
    };
    base.post(trigger).unwrap();
    runtime.run().unwrap();
    assert_eq!(*log.lock(), [0, 1, 2]);
}
