//! libevent's loop tests under their names, as far as no other file has them: `event_descriptors` those of one event,
//! `event_signals`, `base_priorities`, `base_watchers`, `timers_user`, `base_hand_driven` those of what they are named for.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::Arc,
    thread,
    time::Duration,
};

use bufferevent_runtime::{
    After, Base, Census, Clock, EventId, ManualClock, Pinned, Reasons, TIMERS_PER_PASS, TimerId, Turned, What,
};
use bufferevent_sync::{Condvar, Mutex};
use common::{FnSource, Log, Signal};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn manual() -> (Base<Pinned>, ManualClock) {
    let (clock, hand) = Clock::manual();
    (Base::with_clock(clock).unwrap(), hand)
}

fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// Moves the clock on from deadline to deadline until nothing is left.
fn run_out(base: &mut Base<Pinned>, hand: &ManualClock) {
    let mut turns = 0;
    while base.turn(NOW).unwrap() != Turned::Empty {
        turns += 1;
        assert!(turns < 100_000, "it does not end");
        if let Some(deadline) = base.next_deadline() {
            hand.advance(deadline - base.now());
        }
    }
}

#[test]
fn multiple() {
    // Both ends write all they have and read all there is, by two events each, which set themselves again.
    let _census = Census::begin();
    const ALL: usize = 1 << 18;
    let mut base = Base::<Pinned>::new().unwrap();
    let (one, two) = pair();
    let got = Rc::new(Cell::new(0));
    for end in [one, two] {
        let (mut left, writer) = (ALL, end.try_clone().unwrap());
        base.event(writer, What::WRITE.once(), move |event, _| {
            left -= event.source().write(&vec![7; left.min(5_000)]).unwrap_or(0);
            if left > 0 {
                event.set(What::WRITE.once()).unwrap();
            }
        })
        .unwrap();
        let (mut missing, mine) = (ALL, Rc::clone(&got));
        base.event(end, What::READ, move |event, base| {
            let n = event.source().read(&mut [0; 4_096]).unwrap();
            missing -= n;
            mine.set(mine.get() + n);
            if missing == 0 {
                base.cancel(event.id());
            }
        })
        .unwrap();
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(got.get(), 2 * ALL);
}

#[test]
fn common_timeout() {
    // E-10: no special queues: a hundred timers of two lengths, one of which changes its length in its callback.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let times = Rc::new(RefCell::new(Vec::new()));
    for index in 0..100 {
        let length = if index % 2 == 0 { 100 } else { 200 };
        let mine = Rc::clone(&times);
        let settings = What::NONE.timeout(millis(length)).once();
        base.user_event(settings, move |event, base| {
            mine.borrow_mut().push((index, base.now().as_nanos() / 1_000_000));
            if index == 0 && mine.borrow().iter().filter(|(index, _)| *index == 0).count() == 1 {
                event.set(What::NONE.timeout(millis(200)).once()).unwrap();
            }
        });
    }
    run_out(&mut base, &hand);
    let times = times.take();
    assert_eq!(times.len(), 101);
    let (short, long) = times.split_at(50);
    assert!(short.iter().all(|(index, at)| index % 2 == 0 && *at == 100));
    assert!(long[..50].iter().all(|(index, at)| index % 2 == 1 && *at == 200));
    assert_eq!(long[50], (0, 300));
}

#[test]
fn event_timeout_lost() {
    // The data and the timeout are there at once: one call, for the data; nothing is lost.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let (ours, mut theirs) = pair();
    let log = Log::default();
    let mine = log.clone();
    base.event(ours, What::READ.timeout(millis(1_000)), move |event, base| {
        mine.add(format!("{:?}", event.what()));
        if event.what().contains(What::READ) {
            assert_eq!(event.source().read(&mut [0; 8]).unwrap(), 4);
        } else {
            base.cancel(event.id());
        }
    })
    .unwrap();
    base.turn(NOW).unwrap();
    theirs.write_all(b"data").unwrap();
    hand.advance(millis(1_500));
    run_out(&mut base, &hand);
    assert_eq!(log.take(), ["{READ}", "{TIMEOUT}"]);
}

#[test]
fn want_only_once() {
    // A one-shot event whose callback does not read is told once.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    base.event(ours, What::READ.once(), move |_, _| mine.set(mine.get() + 1)).unwrap();
    theirs.write_all(b"unread").unwrap();
    base.after(millis(20), |base| base.exit());
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert_eq!(count.get(), 1);
}

#[test]
fn event_once_never() {
    // What never happens is freed with the base, and so is what its closure owns.
    let _census = Census::begin();
    let kept = Rc::new(());
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    let mine = Rc::clone(&kept);
    base.event(ours, What::READ.once(), move |_, _| drop(Rc::clone(&mine))).unwrap();
    let mine = Rc::clone(&kept);
    base.after(Duration::from_secs(100), move |_| drop(mine));
    base.turn(NOW).unwrap();
    drop(base);
    assert_eq!(Rc::strong_count(&kept), 1);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0, "its descriptor is closed");
}

#[test]
fn event_pending() {
    // What an event waits for is asked of its base.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let (ours, _theirs) = pair();
    let event = base.event(ours, What::READ, |_, _| {}).unwrap();
    let timer = base.after(millis(5_000), |_| {});
    let deadlines = |base: &mut Base<Pinned>| {
        base.objects().into_iter().map(|object| (object.kind, object.deadline)).collect::<Vec<_>>()
    };
    let later = base.deadline(millis(5_000));
    assert_eq!(deadlines(&mut base), [("event", None), ("timer", Some(later))]);
    base.set_event(event, What::READ.timeout(millis(700))).unwrap();
    let soon = base.deadline(millis(700));
    assert_eq!(deadlines(&mut base)[0], ("event", Some(soon)));
    base.set_event(event, What::NONE).unwrap();
    hand.advance(millis(700));
    base.turn(NOW).unwrap();
    assert!(base.cancel(timer) && base.cancel(event));
    assert!(deadlines(&mut base).is_empty());
}

#[test]
fn dup_fd() {
    // Of two events on one socket, each with a descriptor of its own, either hears of the data; one ends, the other not.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    let log = Log::default();
    let (first, second) = (log.clone(), log.clone());
    let clone = ours.try_clone().unwrap();
    let one = base.event(ours, What::READ.edge_triggered(), move |_, _| first.add("first")).unwrap();
    base.event(clone, What::READ.edge_triggered(), move |_, _| second.add("second")).unwrap();
    theirs.write_all(b"a").unwrap();
    while log.count() < 2 {
        base.turn(None).unwrap();
    }
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["first", "second"]);
    assert!(base.cancel(one));
    theirs.write_all(b"b").unwrap();
    while log.count() < 1 {
        base.turn(None).unwrap();
    }
    assert_eq!(log.take(), ["second"]);
}

#[test]
fn many_events() {
    // Far more are ready at once than one batch of the selector holds.
    let _census = Census::begin();
    const MANY: usize = 1_500;
    let mut base = Base::<Pinned>::new().unwrap();
    let count = Rc::new(Cell::new(0));
    let mut peers = Vec::new();
    for _ in 0..MANY {
        let (ours, mut theirs) = pair();
        theirs.write_all(b"x").unwrap();
        let mine = Rc::clone(&count);
        base.event(ours, What::READ.once(), move |event, _| {
            assert_eq!(event.source().read(&mut [0; 2]).unwrap(), 1);
            mine.set(mine.get() + 1);
        })
        .unwrap();
        peers.push(theirs);
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(count.get(), MANY);
    assert_eq!(base.handle().most_objects(), MANY);
}

#[test]
fn free_active_base() {
    // A base that is dropped with events due drops them, uncalled.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, mut theirs) = pair();
    base.event(ours, What::READ, |_, _| panic!("the base is gone")).unwrap();
    theirs.write_all(b"x").unwrap();
    let event = base.user_event(What::NONE, |_, _| panic!("the base is gone"));
    base.activate(event, What::READ);
    drop(base);
    assert_eq!(theirs.read(&mut [0; 2]).unwrap_or(0), 0);
}

#[test]
fn cb_invoked() {
    // TF-01: the closure is dropped once, where libevent runs a finalizer: of an idle event at once, of one that was
    // activated without a call, of one with a timer at once too; afterwards nothing can be done to it.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let log = Log::default();
    struct Finalizer(Log);
    impl Drop for Finalizer {
        fn drop(&mut self) {
            self.0.add("dropped");
        }
    }
    let user = |base: &mut Base<Pinned>, settings: bufferevent_runtime::EventSettings| {
        let (own, mine) = (Finalizer(log.clone()), log.clone());
        base.user_event(settings, move |_, _| {
            let _own = &own;
            mine.add("called");
        })
    };
    for (settings, activated) in
        [(What::NONE.into(), false), (What::NONE.into(), true), (What::NONE.timeout(millis(10_000)), false)]
    {
        let event = user(&mut base, settings);
        if activated {
            base.activate(event, What::READ);
        }
        assert!(base.cancel(event));
        assert_eq!(log.take(), ["dropped"]);
        assert!(!base.activate(event, What::READ) && !base.cancel(event));
        assert!(base.set_event(event, What::READ).is_err());
        assert_eq!(base.turn(NOW).unwrap(), Turned::Empty);
    }
    let event = user(&mut base, What::NONE.once());
    base.activate(event, What::READ);
    run_out(&mut base, &hand);
    assert_eq!(log.take(), ["called", "dropped"], "activated and not cancelled");
}

#[test]
fn within_cb() {
    // TF-03: of two active events the first to run cancels both: the second is never called, each is dropped once; for
    // deferred work too. TF-04: what was cancelled can be made anew in the callback.
    let _census = Census::begin();
    for persistent in [false, true] {
        let (mut base, _hand) = manual();
        let (kept, log) = (Rc::new(()), Log::default());
        let ids = Rc::new(RefCell::new(Vec::<EventId>::new()));
        for _ in 0..2 {
            let (own, mine, all) = (Rc::clone(&kept), log.clone(), Rc::clone(&ids));
            let settings = if persistent { What::NONE.into() } else { What::NONE.once() };
            let event = base.user_event(settings, move |_, base: &mut Base<Pinned>| {
                let _own = &own;
                mine.add("called");
                for id in all.borrow().iter() {
                    assert!(base.cancel(*id));
                    assert!(!base.activate(*id, What::READ));
                }
                let anew = base.user_event(What::NONE.once(), |_, base| base.exit());
                assert!(base.activate(anew, What::NONE));
            });
            ids.borrow_mut().push(event);
            base.activate(event, What::READ);
        }
        let key = base.insert(FnSource(|_: &mut Base<Pinned>, _| -> After { panic!("it was removed") }));
        base.defer(key, Reasons::USER);
        assert!(base.remove(key));
        assert_eq!(base.run().unwrap(), Turned::Exited);
        assert_eq!((log.take(), Rc::strong_count(&kept)), (vec!["called".to_owned()], 1));
    }
}

#[test]
fn conditions_simple() {
    // TT-02: ten wait on their conditions with a bound; one is signalled, two are not in time, the rest by all together.
    let _census = Census::begin();
    struct Gate {
        open: Mutex<(bool, bool)>,
        changed: Condvar,
    }
    let gate = Arc::new(Gate { open: Mutex::new((false, false)), changed: Condvar::new() });
    let (waiting, timed_out, woken) = (Signal::new(), Signal::new(), Signal::new());
    let waiters: Vec<_> = (0..10)
        .map(|index| {
            let (gate, waiting) = (Arc::clone(&gate), Arc::clone(&waiting));
            let (timed_out, woken) = (Arc::clone(&timed_out), Arc::clone(&woken));
            thread::spawn(move || {
                waiting.raise();
                let bound = if (1..3).contains(&index) { millis(20) } else { common::PATIENCE };
                let until = std::time::Instant::now() + bound;
                let mut open = gate.open.lock();
                while !(open.1 || open.0 && index == 0) {
                    if gate.changed.wait_until(&mut open, until).timed_out() {
                        timed_out.raise();
                        return;
                    }
                }
                woken.raise();
            })
        })
        .collect();
    waiting.wait_for(10);
    let mut base = Base::<Pinned>::new().unwrap();
    let first = Arc::clone(&gate);
    base.after(millis(1), move |_| {
        first.open.lock().0 = true;
        first.changed.notify_all();
    });
    base.every(millis(5), move |base| {
        if timed_out.count() == 2 && woken.count() == 1 {
            gate.open.lock().1 = true;
            gate.changed.notify_all();
            base.exit();
        }
    });
    assert_eq!(base.run().unwrap(), Turned::Exited);
    waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
}

#[test]
fn deferred_cb_skew() {
    // TT-03: a crowd of slow deferred callbacks holds a timer up by one look at the clock at most: 16 callbacks.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let ran = Rc::new(Cell::new(0));
    for _ in 0..8 * 128 {
        let (mine, slow) = (Rc::clone(&ran), hand.clone());
        let key = base.insert(FnSource(move |_: &mut Base<Pinned>, _| {
            slow.advance(millis(1));
            mine.set(mine.get() + 1);
            After::Remove
        }));
        base.defer(key, Reasons::USER);
    }
    let late = Rc::new(Cell::new(None));
    let told = Rc::clone(&late);
    let due = base.deadline(millis(300));
    base.after(millis(300), move |base| told.set(Some(base.now() - due)));
    run_out(&mut base, &hand);
    assert_eq!(ran.get(), 8 * 128);
    let late = late.get().unwrap();
    assert!(late <= millis(40), "late by {late:?}: more than a pass of 33");
}

#[test]
fn del_notify() {
    // TT-07: cancelling the only event from another thread ends the loop.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (ours, _theirs) = pair();
    let event = base.event(ours, What::READ, |_, _| {}).unwrap();
    let handle = base.handle();
    let other = thread::spawn(move || handle.cancel(event).unwrap());
    assert_eq!(base.run().unwrap(), Turned::Empty);
    other.join().unwrap();
}

#[test]
fn timers_due_at_once_are_bounded_in_each_pass() {
    // F28: a hundred thousand at once; what else is ready does not wait for them all.
    let _census = Census::begin();
    const MANY: usize = 100_000;
    let (mut base, hand) = manual();
    let fired = Rc::new(Cell::new(0));
    for _ in 0..MANY {
        let mine = Rc::clone(&fired);
        base.after(millis(10), move |_| mine.set(mine.get() + 1));
    }
    let (ours, mut theirs) = pair();
    let (mine, seen) = (Rc::clone(&fired), Rc::new(Cell::new(None)));
    let told = Rc::clone(&seen);
    base.event(ours, What::READ.once(), move |_, _| told.set(Some(mine.get()))).unwrap();
    base.turn(NOW).unwrap();
    hand.advance(millis(10));
    theirs.write_all(b"x").unwrap();
    let mut turns = 0;
    while base.turn(NOW).unwrap() != Turned::Empty {
        turns += 1;
    }
    assert_eq!(fired.get(), MANY);
    assert!(turns >= MANY / TIMERS_PER_PASS - 1, "{turns} turns");
    assert!(seen.get().unwrap() <= TIMERS_PER_PASS, "{:?}", seen.get());
}

#[test]
fn a_timer_is_made_moved_and_cancelled_in_timers() {
    // F29: in its own callback, and in that of another of the same tick.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let log = Log::default();
    let (mine, victim) = (log.clone(), Rc::new(Cell::new(None::<TimerId>)));
    let doomed = Rc::clone(&victim);
    base.user_event(What::NONE.timeout(millis(10)), move |event, base| {
        mine.add(format!("event {}", base.now().as_nanos() / 1_000_000));
        match base.now().as_nanos() / 1_000_000 {
            10 => {
                assert!(base.cancel(doomed.get().unwrap()), "of the same tick, fired or not");
                event.set(What::NONE.timeout(millis(5))).unwrap();
                let mine = mine.clone();
                base.after(Duration::ZERO, move |_| mine.add("made"));
            }
            _ => assert!(base.cancel(event.id())),
        }
    });
    victim.set(Some(base.after(millis(10), |_| panic!("it was cancelled"))));
    run_out(&mut base, &hand);
    assert_eq!(log.take(), ["event 10", "made", "event 15"]);
}

#[test]
fn a_jump_of_the_clock_fires_each_timer_once() {
    // F27: hours forward, as after a suspend. The clock never goes back.
    let _census = Census::begin();
    let (mut base, hand) = manual();
    let log = Log::default();
    let (once, every, event) = (log.clone(), log.clone(), log.clone());
    base.after(millis(5), move |_| once.add("once"));
    base.every(millis(10), move |_| every.add("every"));
    base.user_event(What::NONE.timeout(millis(20)), move |_, _| event.add("event"));
    hand.advance(Duration::from_secs(7 * 3_600));
    for _ in 0..10 {
        base.turn(NOW).unwrap();
    }
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["event", "every", "once"]);
}
