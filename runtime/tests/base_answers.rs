//! What a crate above builds on to ask other threads: waking one object of a base by its key, and one value kept with a
//! runtime.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{sync::Arc, thread, time::Duration};

use bufferevent_runtime::{
    After, Base, BaseHandle, Census, Clock, INBOX, Key, Left, Movable, Pinned, Placement, Reasons, Runtime,
};
use common::{Log, Signal, start, strand};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn wake_elsewhere(base: &BaseHandle, key: Key) {
    let base = base.clone();
    thread::spawn(move || base.wake(key)).join().unwrap();
}

type Run<A> = Box<dyn FnMut(&mut Base<A>, Reasons) -> After + Send>;

#[test]
fn a_source_and_a_strand_are_woken_by_key_whatever_the_base() {
    let _census = Census::begin();
    fn check<A: bufferevent_runtime::Affinity>(mut base: Base<A>)
    where
        common::FnSource<Run<A>>: bufferevent_runtime::IntoSource<A>,
    {
        let log = Log::default();
        let (of_source, of_strand) = (log.clone(), log.clone());
        let source: Run<A> = Box::new(move |_, reasons| {
            of_source.add(format!("source {reasons:?}"));
            After::Idle
        });
        let source = start(&mut base, source);
        let home = base.handle().as_movable();
        let made = strand(&home, Placement::Any, move |_, reasons, _| {
            of_strand.add(format!("strand {reasons:?}"));
            Left::Idle
        });
        while base.turn(NOW).unwrap() == bufferevent_runtime::Turned::Ran {}
        assert_eq!(log.take().len(), 2);
        wake_elsewhere(&home, source);
        wake_elsewhere(&home, made.key());
        base.turn(NOW).unwrap();
        base.turn(NOW).unwrap();
        let mut woken = log.take();
        woken.sort();
        assert_eq!(woken, ["source USER", "strand USER"]);
        base.remove(source);
        wake_elsewhere(&home, source);
        base.turn(NOW).unwrap();
        assert!(log.take().is_empty(), "a key that is past wakes nobody");
    }
    check(Base::<Pinned>::new().unwrap());
    check(Base::<Movable>::with_clock(Clock::monotonic()).unwrap());
}

#[test]
fn a_wake_is_not_refused_by_a_full_inbox_and_a_base_that_is_gone_ignores_it() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let mine = log.clone();
    let key = start(&mut base, move |_, _| {
        mine.add("ran");
        After::Idle
    });
    let handle = base.handle();
    base.turn(NOW).unwrap();
    for _ in 0..INBOX {
        handle.post(|_| {}).unwrap();
    }
    assert!(handle.post(|_| {}).is_err());
    handle.wake(key);
    while log.take().is_empty() {
        base.turn(NOW).unwrap();
    }
    drop(base);
    handle.wake(key);
}

#[test]
fn a_runtime_keeps_one_value_for_all_its_bases_and_drops_it_in_the_end() {
    let _census = Census::begin();
    struct Value(Arc<Signal>);
    impl Drop for Value {
        fn drop(&mut self) {
            self.0.raise();
        }
    }
    let dropped = Signal::new();
    let value = |dropped: &Arc<Signal>| Arc::new(Value(Arc::clone(dropped))) as Arc<_>;
    let runtime = Runtime::builder().workers(1).bases(2).build().unwrap();
    let bases = runtime.bases();
    assert!(bases[0].attached().is_none());
    let first = bases[0].attached_or(|| value(&dropped));
    let again = bases[1].attached_or(|| unreachable!("there is one"));
    assert!(Arc::ptr_eq(&first, &again));
    drop((first, again));
    bases[1].attach(value(&dropped));
    assert_eq!(dropped.count(), 1, "replaced");
    let other = Base::<Pinned>::new().unwrap();
    assert!(other.handle().attached().is_none(), "a base driven by hand has its own");
    drop((bases, runtime));
    assert_eq!(dropped.count(), 2);
}
