//! Plain events on descriptors, and without any.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{
    AnySelector, Base, Census, Clock, Error, ManualClock, Pinned, Runtime, Turned, What,
};
use common::{Log, Running, Signal, eventually};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Bases over each selector, with a clock that stands still.
fn bases() -> Vec<(Base<Pinned>, ManualClock)> {
    [AnySelector::new(), AnySelector::polling(), AnySelector::polling_without_edges()]
        .map(|selector| {
            let (clock, hand) = Clock::manual();
            (Base::with_selector(selector.unwrap(), clock).unwrap(), hand)
        })
        .into()
}

/// Turns until nothing runs any more.
fn settle(base: &mut Base<Pinned>) {
    let mut turns = 0;
    while base.turn(NOW).unwrap() == Turned::Ran {
        turns += 1;
        assert!(turns < 1_000, "it spins");
    }
}

#[test]
fn simpleread() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"what is it").unwrap();
        base.event(ours, What::READ.once(), |event, _| {
            assert_eq!(event.what(), What::READ);
            let mut bytes = [0; 256];
            assert_eq!(event.source().read(&mut bytes).unwrap(), 10);
        })
        .unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
    }
}

#[test]
fn simplewrite() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        base.event(ours, What::WRITE.once(), |event, _| {
            assert_eq!(event.what(), What::WRITE);
            event.source().write_all(b"x").unwrap();
        })
        .unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!(theirs.read(&mut [0; 2]).unwrap(), 1);
    }
}

#[test]
fn a_level_event_is_told_in_each_turn_while_something_is_there_and_never_of_what_was_done() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let (log, mine) = (Log::default(), Log::default());
        let told = log.clone();
        base.event(ours, What::READ, move |event, _| {
            // One byte at a time: the rest is told in the next turn.
            let mut byte = [0];
            assert_eq!(event.source().read(&mut byte).unwrap(), 1);
            told.add(format!("{}", byte[0]));
        })
        .unwrap();
        theirs.write_all(&[1, 2, 3]).unwrap();
        for expected in ["1", "2", "3"] {
            while log.take().is_empty() {
                base.turn(NOW).unwrap();
            }
            mine.add(expected);
        }
        settle(&mut base);
        assert!(log.take().is_empty());
        let polls = base.counters().polls.get();
        theirs.write_all(&[4]).unwrap();
        settle(&mut base);
        assert_eq!(log.take(), ["4"]);
        assert!(base.counters().polls.get() - polls <= 5, "it does not spin");
    }
}

#[test]
fn a_level_event_runs_once_in_a_turn() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        theirs.write_all(&[0; 100]).unwrap();
        let count = Rc::new(Cell::new(0));
        let mine = Rc::clone(&count);
        base.event(ours, What::READ, move |_, _| mine.set(mine.get() + 1)).unwrap();
        while count.get() == 0 {
            base.turn(NOW).unwrap();
        }
        for expected in 2..20 {
            base.turn(None).unwrap();
            assert_eq!(count.get(), expected);
        }
    }
}

#[test]
fn an_edge_triggered_event_is_told_once_for_what_came() {
    // E-17
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    base.event(ours, What::READ.edge_triggered(), move |_, _| mine.set(mine.get() + 1)).unwrap();
    for expected in 1..4 {
        theirs.write_all(b"unread").unwrap();
        settle(&mut base);
        assert_eq!(count.get(), expected);
    }
    let mut portable =
        Base::<Pinned>::with_selector(AnySelector::polling_without_edges().unwrap(), Clock::monotonic())
            .unwrap();
    let (ours, _theirs) = pair();
    let refused = portable.event(ours, What::READ.edge_triggered(), |_, _| {});
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    assert!(portable.is_empty());
}

#[test]
fn simpleclose() {
    // EV_CLOSED: told beside what is unread, without reading; persistent or once.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    theirs.write_all(b"unread").unwrap();
    let log = Log::default();
    let mine = log.clone();
    base.event(ours, What::CLOSED, move |event, base| {
        mine.add(format!("{:?}", event.what()));
        base.cancel(event.id());
    })
    .unwrap();
    settle(&mut base);
    assert!(log.take().is_empty(), "data is no end");
    drop(theirs);
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["{CLOSED}"]);
}

#[test]
fn a_hang_up_that_nobody_waits_for_does_not_spin() {
    // F13
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, theirs) = pair();
        let event = base
            .event(ours, What::NONE.timeout(Duration::from_secs(1_000)), |_, _| panic!("nothing happened"))
            .unwrap();
        drop(theirs);
        settle(&mut base);
        let polls = base.counters().polls.get();
        let runs = base.counters().runs.get();
        base.turn(Some(millis(5))).unwrap();
        base.turn(Some(millis(5))).unwrap();
        assert!(base.counters().polls.get() - polls <= 2 && base.counters().runs.get() == runs);
        assert!(base.cancel(event));
    }
}

#[test]
fn multiple_events_for_same_fd() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let log = Log::default();
        for (name, what) in [("first", What::READ), ("second", What::READ), ("third", What::WRITE)] {
            let mine = log.clone();
            let clone = ours.try_clone().unwrap();
            base.event(clone, what.once(), move |_, _| mine.add(name)).unwrap();
        }
        theirs.write_all(b"x").unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
        let mut told = log.take();
        told.sort();
        assert_eq!(told, ["first", "second", "third"]);
    }
}

#[test]
fn combined() {
    // One event for both directions that reads and writes.
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let got = Rc::new(Cell::new(0));
        let mine = Rc::clone(&got);
        theirs.write_all(&[7; 1_000]).unwrap();
        base.event(ours, What::READ | What::WRITE, move |event, base| {
            let mut bytes = [0; 300];
            if event.what().contains(What::READ) {
                let n = event.source().read(&mut bytes).unwrap();
                mine.set(mine.get() + n);
                event.source().write_all(&bytes[..n]).unwrap();
            }
            if mine.get() == 1_000 {
                base.cancel(event.id());
            }
        })
        .unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
        let mut back = Vec::new();
        theirs.read_to_end(&mut back).unwrap();
        assert_eq!(back, [7; 1_000]);
    }
}

#[test]
fn nonpersist_readd() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let rounds = Rc::new(Cell::new(0));
        let mine = Rc::clone(&rounds);
        theirs.write_all(b"x").unwrap();
        base.event(ours, What::READ.once(), move |event, _| {
            mine.set(mine.get() + 1);
            if mine.get() < 3 {
                event.set(What::READ.once()).unwrap();
            }
        })
        .unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!(rounds.get(), 3);
    }
}

#[test]
fn a_one_shot_event_that_is_activated_within_its_callback_runs_once_more_and_for_nothing_else() {
    // E-06, E-07: the byte stays unread, and the timeout is due
    let _census = Census::begin();
    for (mut base, clock) in bases() {
        let (ours, mut theirs) = pair();
        let log = Log::default();
        let mine = log.clone();
        theirs.write_all(b"x").unwrap();
        let settings = What::READ.once().timeout(millis(5));
        let event = base.event(ours, settings, move |event, base| {
            mine.add(format!("{:?}", event.what()));
            if event.what() == What::READ {
                assert!(base.activate(event.id(), What::NONE) && base.activate(event.id(), What::WRITE));
            }
        });
        base.turn(NOW).unwrap();
        clock.advance(millis(10));
        assert_eq!(base.run().unwrap(), Turned::Empty, "it is gone");
        let told = [What::READ, What::WRITE | What::ACTIVATED].map(|what| format!("{what:?}"));
        assert_eq!(log.take(), told);
        assert!(!base.activate(event.unwrap(), What::NONE));
    }
}

#[test]
fn an_event_is_set_from_outside_and_rests_while_it_waits_for_nothing() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let log = Log::default();
        let mine = log.clone();
        let event = base
            .event(ours, What::NONE, move |event, _| {
                mine.add(format!("{:?}", event.what()));
                event.set(What::NONE).unwrap();
            })
            .unwrap();
        theirs.write_all(b"x").unwrap();
        settle(&mut base);
        assert!(log.take().is_empty());
        base.set_event(event, What::READ | What::WRITE).unwrap();
        settle(&mut base);
        base.set_event(event, What::READ).unwrap();
        settle(&mut base);
        assert_eq!(log.take(), ["{READ, WRITE}", "{READ}"]);
        assert!(base.cancel(event) && !base.cancel(event));
        assert!(matches!(base.set_event(event, What::READ), Err(Error::Closed)));
    }
}

#[test]
fn persistent_active_timeout() {
    // E-09: what happens meanwhile begins the timeout anew: activated at 100, due at 300 and 500.
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let log = Log::default();
    let mine = log.clone();
    let event = base.user_event(What::NONE.timeout(millis(200)), move |event, base| {
        mine.add(format!("{:?} {}", event.what(), base.now().as_nanos() / 1_000_000));
    });
    base.after(millis(100), move |base| assert!(base.activate(event, What::READ)));
    for _ in 0..60 {
        base.turn(NOW).unwrap();
        base.turn(NOW).unwrap();
        hand.advance(millis(10));
    }
    assert_eq!(log.take(), ["{READ, ACTIVATED} 100", "{TIMEOUT} 300", "{TIMEOUT} 500"]);
}

#[test]
fn a_timeout_on_a_descriptor_is_reset_by_what_happens_there() {
    // E-09
    let _census = Census::begin();
    for (mut base, hand) in bases() {
        let (ours, mut theirs) = pair();
        let log = Log::default();
        let mine = log.clone();
        base.event(ours, What::READ.timeout(millis(100)), move |event, base| {
            if event.what().contains(What::READ) {
                event.source().read_exact(&mut [0]).unwrap();
            }
            mine.add(format!("{:?} {}", event.what(), base.now().as_nanos() / 1_000_000));
        })
        .unwrap();
        settle(&mut base);
        hand.advance(millis(90));
        theirs.write_all(b"x").unwrap();
        settle(&mut base);
        hand.advance(millis(90));
        settle(&mut base);
        hand.advance(millis(10));
        settle(&mut base);
        assert_eq!(log.take(), ["{READ} 90", "{TIMEOUT} 190"]);
    }
}

#[test]
fn event_remove_timeout() {
    // The event goes on without it.
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let (ours, mut theirs) = pair();
    let log = Log::default();
    let mine = log.clone();
    let settings = What::READ.timeout(millis(100)).once();
    let event = base.event(ours, settings, move |event, _| mine.add(format!("{:?}", event.what()))).unwrap();
    base.set_event(event, What::READ.once()).unwrap();
    hand.advance(millis(500));
    settle(&mut base);
    assert!(log.take().is_empty());
    theirs.write_all(b"x").unwrap();
    settle(&mut base);
    assert_eq!(log.take(), ["{READ}"]);
    assert!(base.is_empty());
}

#[test]
fn activations_join_and_reach_an_event_that_is_running() {
    // E-07
    let _census = Census::begin();
    let (clock, _hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let log = Log::default();
    let mine = log.clone();
    let event = base.user_event(What::NONE, move |event, base| {
        mine.add(format!("{:?}", event.what()));
        if event.what().contains(What::READ) {
            assert!(base.activate(event.id(), What::NONE), "itself");
        }
    });
    assert!(base.activate(event, What::READ) && base.activate(event, What::WRITE));
    settle(&mut base);
    assert_eq!(log.take(), ["{READ, WRITE, ACTIVATED}", "{ACTIVATED}"]);
    let mut other = Base::<Pinned>::new().unwrap();
    let same_key = other.user_event(What::NONE, |_, _| panic!("of another base"));
    assert!(!other.activate(event, What::READ) && !other.cancel(event), "an id is of one base");
    assert!(!base.cancel(same_key) && base.cancel(event) && !base.activate(event, What::READ));
    settle(&mut other);
}

#[test]
fn a_timer_that_is_activated_by_mistake_keeps_its_time() {
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    let timer = base.after(millis(10), move |_| mine.set(mine.get() + 1));
    base.activate(timer.into(), What::TIMEOUT);
    assert!(matches!(base.set_event(timer.into(), What::READ), Err(Error::Closed)));
    settle(&mut base);
    assert_eq!(count.get(), 0);
    hand.advance(millis(10));
    settle(&mut base);
    assert_eq!(count.get(), 1);
}

#[test]
fn a_callback_that_panics_is_the_last_and_takes_nothing_with_it() {
    // F18
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let kept = Rc::new(());
    let (ours, mut theirs) = pair();
    let mine = Rc::clone(&kept);
    base.event(ours, What::WRITE, move |_, _| {
        let _mine = &mine;
        panic!("in a callback");
    })
    .unwrap();
    let fine = Rc::new(Cell::new(false));
    let mine = Rc::clone(&fine);
    base.after(Duration::ZERO, move |_| mine.set(true));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert!(fine.get() && Rc::strong_count(&kept) == 1);
    assert_eq!(base.counters().panics.get(), 1);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "the descriptor is closed");
}

#[test]
fn a_descriptor_belongs_to_its_event_and_a_clone_of_it_to_another() {
    // nobody can close, or use again, the number of a descriptor that is waited for.
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let (ours, mut theirs) = pair();
        let clone = ours.try_clone().unwrap();
        let event = base.event(ours, What::READ, |_, _| panic!("it was cancelled")).unwrap();
        assert!(base.cancel(event));
        theirs.write_all(b"x").unwrap();
        base.turn(NOW).unwrap();
        assert_eq!(base.counters().runs.get(), 0, "the clone keeps no registration alive");
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        drop(file);
        let count = Rc::new(Cell::new(0));
        let mine = Rc::clone(&count);
        base.event(clone, What::READ.once(), move |_, _| mine.set(mine.get() + 1)).unwrap();
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!(count.get(), 1);
    }
}

#[test]
fn a_file_that_cannot_be_waited_for_is_refused() {
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let mut path = std::env::temp_dir();
        path.push(format!("bufferevent-event-{}", std::process::id()));
        let file = OwnedFd::from(std::fs::File::create(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        let refused = base.event(file, What::READ, |_, _| {});
        assert!(matches!(refused, Err(Error::Io(_))), "{refused:?}");
        assert!(base.is_empty());
        let key = base.reserve();
        base.unreserve(key);
    }
}

#[test]
fn the_callback_of_one_event_frees_the_other_of_the_same_batch() {
    // F17: both descriptors are ready in one batch; whichever comes first removes the other.
    let _census = Census::begin();
    for (mut base, _) in bases() {
        let log = Log::default();
        let ids = Rc::new(RefCell::new(Vec::new()));
        let mut peers = Vec::new();
        for name in 0..2 {
            let (ours, mut theirs) = pair();
            theirs.write_all(b"x").unwrap();
            peers.push(theirs);
            let (mine, others) = (log.clone(), Rc::clone(&ids));
            let id = base.event(ours, What::READ, move |event, base: &mut Base<Pinned>| {
                mine.add(format!("{name}"));
                for id in others.borrow().iter() {
                    assert!(base.cancel(*id), "the other, and itself while it runs");
                }
                assert!(!base.activate(event.id(), What::READ));
            });
            ids.borrow_mut().push(id.unwrap());
        }
        assert_eq!(base.run().unwrap(), Turned::Empty);
        assert_eq!(log.take().len(), 1);
    }
}

#[test]
fn events_come_from_any_thread_by_a_handle() {
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (3, 1), (2, 4)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let base = running.base(bases - 1);
        let (read, active) = (Signal::new(), Signal::new());
        let mut peers = Vec::new();
        for _ in 0..20 {
            let (ours, mut theirs) = pair();
            theirs.write_all(b"x").unwrap();
            peers.push(theirs);
            let mine = Arc::clone(&read);
            base.event(ours, What::READ.once(), move |_, _| mine.raise()).unwrap();
        }
        let mine = Arc::clone(&active);
        let event = base.user_event(What::NONE, move |_, _| mine.raise()).unwrap();
        read.wait_for(20);
        for round in 1..20 {
            base.activate(event, What::NONE).unwrap();
            active.wait_for(round);
        }
        base.cancel(event).unwrap();
        eventually("all are gone", || base.objects() == 0);
        base.activate(event, What::NONE).unwrap();
    }
}

#[test]
fn a_level_event_that_is_never_served_does_not_keep_others_from_running() {
    // active_later: what is always ready must not starve the rest, on a base of a runtime either.
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (1, 3)] {
        let running = Running::start(Runtime::builder().workers(workers).bases(bases).build().unwrap());
        let base = running.base(0);
        let (ours, _theirs) = pair();
        let (written, timers) = (Signal::new(), Signal::new());
        let mine = Arc::clone(&written);
        let event = base.event(ours, What::WRITE, move |_, _| mine.raise()).unwrap();
        for other in running.runtime.bases() {
            let mine = Arc::clone(&timers);
            other
                .post(move |base| {
                    base.every(millis(1), move |_| mine.raise());
                })
                .unwrap();
        }
        written.wait_for(100);
        timers.wait_for(10);
        base.cancel(event).unwrap();
        eventually("it is gone", || base.objects() == 1);
    }
}
