//! A base inside a foreign loop: its descriptor is readable exactly when a turn has something to do.
#![allow(clippy::unwrap_used, reason = "a test")]
#![cfg(any(target_os = "linux", target_os = "android"))]

mod common;

use std::{
    io::Write as _,
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use bufferevent_runtime::{
    After, AnySelector, Base, Census, Clock, Events, Left, Pinned, Placement, Reasons, Registered,
    Selector as _, SelectorKind, Token, Turned,
};
use common::{Log, PATIENCE, Script, start};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Waits as a foreign level-triggered loop does.
fn readable(base: &Base<Pinned>, within: Duration) -> bool {
    let timeout = Timespec { tv_sec: within.as_secs() as i64, tv_nsec: within.subsec_nanos().into() };
    let fd = base.as_fd();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

fn nested() -> Base<Pinned> {
    let mut base = Base::new().unwrap();
    base.nest().unwrap();
    // A wake of its own set-up may be left.
    base.turn(NOW).unwrap();
    assert!(!readable(&base, Duration::ZERO), "nothing is to be done");
    base
}

#[test]
fn an_event_makes_it_readable_and_a_turn_makes_it_quiet() {
    let _census = Census::begin();
    let mut base = nested();
    let log = Log::default();
    let mine = log.clone();
    let key = start(&mut base, move |_, reasons| {
        mine.add(format!("{}", reasons.contains(Reasons::READABLE)));
        After::Idle
    });
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let _registered =
        Registered::new(base.selector(), reader, key.token()).map_err(|(_, error)| error).unwrap();
    while readable(&base, Duration::ZERO) {
        base.turn(NOW).unwrap();
    }
    log.take();
    writer.write_all(b"x").unwrap();
    assert!(readable(&base, PATIENCE));
    assert_eq!(base.turn(NOW).unwrap(), Turned::Ran);
    assert_eq!(log.take(), ["true"]);
    assert!(!readable(&base, Duration::ZERO));
}

#[test]
fn posts_exits_and_strands_of_other_threads_make_it_readable() {
    let _census = Census::begin();
    let mut base = nested();
    base.after(Duration::from_secs(1_000), |_| {});
    let log = Log::default();
    let mine = log.clone();
    let strand = base.strand(Placement::Any, (), move |_| {
        Script::new(move |_, reasons, _| {
            mine.add(format!("{reasons:?}"));
            Left::Idle
        })
    });
    assert!(readable(&base, Duration::ZERO));
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["START"]);
    for round in 0..100 {
        assert!(!readable(&base, Duration::ZERO), "round {round}");
        let (handle, strand, mine) = (base.handle(), strand.clone(), log.clone());
        let other = thread::spawn(move || match round % 3 {
            0 => handle.post(move |_| mine.add("seen")).unwrap(),
            1 => strand.post(Reasons::USER),
            _ => handle.exit(),
        });
        assert!(readable(&base, PATIENCE));
        let turned = base.turn(NOW).unwrap();
        other.join().unwrap();
        match round % 3 {
            0 => assert_eq!(log.take(), ["seen"]),
            1 => assert_eq!(log.take(), ["USER"]),
            _ => assert_eq!(turned, Turned::Exited),
        }
    }
}

#[test]
fn a_timer_makes_it_readable_whenever_it_was_set() {
    let _census = Census::begin();
    let mut base = nested();
    let log = Log::default();
    // Between two turns, for later and for times that have passed; then from a callback for now.
    for round in 0..20 {
        let mine = log.clone();
        let delay = Duration::from_millis(round % 3);
        base.after(delay, move |base| {
            mine.add("first");
            let mine = mine.clone();
            let key = base.insert(common::FnSource(move |_: &mut Base<Pinned>, _| {
                mine.add("second");
                After::Remove
            }));
            // The tick the wheel stands at: the ring of the first may have been for the same.
            base.arm(key, bufferevent_runtime::Time::ZERO);
        });
        let mut seen = Vec::new();
        while seen.len() < 2 {
            assert!(readable(&base, PATIENCE), "round {round}, {seen:?}");
            base.turn(NOW).unwrap();
            seen.extend(log.take());
        }
        assert_eq!(seen, ["first", "second"]);
        assert!(!readable(&base, Duration::ZERO));
    }
}

#[test]
fn work_that_is_left_or_queued_between_turns_keeps_it_readable() {
    let _census = Census::begin();
    let mut base = nested();
    let log = Log::default();
    let mine = log.clone();
    let mut left = 3;
    let key = start(&mut base, move |base, _| {
        mine.add("run");
        left -= 1;
        // Each run ends its turn.
        base.break_now();
        if left == 0 { After::Remove } else { After::Again(Reasons::USER) }
    });
    for _ in 0..3 {
        assert!(readable(&base, Duration::ZERO));
        assert_eq!(base.turn(NOW).unwrap(), Turned::Broken);
    }
    assert_eq!(log.take(), ["run"; 3]);
    assert!(!base.remove(key));
    while readable(&base, Duration::ZERO) {
        base.turn(NOW).unwrap();
    }
    let bound = base.strand(Placement::Base, (), |_| Script::idle());
    assert!(readable(&base, Duration::ZERO));
    while readable(&base, Duration::ZERO) {
        base.turn(NOW).unwrap();
    }
    let mine = log.clone();
    let deferred = base.insert(common::FnSource(move |_: &mut Base<Pinned>, _| {
        mine.add("deferred");
        After::Remove
    }));
    base.defer(deferred, Reasons::EMPTY);
    assert!(readable(&base, Duration::ZERO));
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["deferred"]);
    drop(bound);
}

#[test]
fn an_edge_triggered_loop_hears_of_everything_on_every_selector() {
    let _census = Census::begin();
    for kind in [SelectorKind::Best, SelectorKind::Portable, SelectorKind::PortableWithoutEdges] {
        let mut base = Base::<Pinned>::with_selector(kind.make().unwrap(), Clock::monotonic()).unwrap();
        base.nest().unwrap();
        let outer = std::sync::Arc::new(AnySelector::nesting().unwrap());
        let _registered = Registered::new(&outer, std::sync::Arc::clone(base.selector()), Token::new(7, 0))
            .map_err(|(_, error)| error)
            .unwrap();
        let mut events = Events::with_capacity(4);
        let log = Log::default();
        for round in 0..20 {
            let mine = log.clone();
            match round % 2 {
                0 => {
                    base.after(Duration::from_millis(2), move |_| mine.add("seen"));
                }
                _ => base.handle().post(move |_| mine.add("seen")).unwrap(),
            }
            while log.take().is_empty() {
                outer.wait(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "{kind:?}, round {round}");
                base.turn(NOW).unwrap();
            }
        }
    }
}
