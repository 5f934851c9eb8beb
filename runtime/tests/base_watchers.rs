//! Watchers before and after each poll, and what a base tells of itself.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{cell::Cell, rc::Rc, sync::Arc, thread, time::Duration};

use bufferevent_runtime::{Base, Census, Clock, Left, Listener, Pinned, Placement, Runtime, Turned, What};
use common::{Log, Running, Script, Signal, eventually};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn callback_ordering() {
    // E-15: prepare, poll, check, then what is ready; in each turn.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let (first, second, third) = (log.clone(), log.clone(), log.clone());
    base.on_prepare(move |_, _| first.add("prepare"));
    base.on_check(move |_| second.add("check"));
    let rounds = Rc::new(Cell::new(0));
    base.every(millis(1), move |base| {
        third.add("timer");
        rounds.set(rounds.get() + 1);
        if rounds.get() == 3 {
            base.exit();
        }
    });
    assert_eq!(base.run().unwrap(), Turned::Exited);
    let told = log.take();
    assert_eq!(told.iter().filter(|name| *name == "timer").count(), 3);
    let order: Vec<_> = told.iter().filter(|name| *name != "timer").collect();
    assert!(order.chunks(2).all(|pair| pair == ["prepare", "check"]), "{told:?}");
    let after_check = told.windows(2).all(|pair| pair[1] != "timer" || pair[0] == "check");
    assert!(after_check, "{told:?}");
}

#[test]
fn timeout_availability() {
    // E-15: a prepare watcher gets the time that the poll waits at most.
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let log = Log::default();
    let mine = log.clone();
    let watcher = base.on_prepare(move |wait, _| mine.add(format!("{wait:?}")));
    assert_eq!(base.turn(Some(millis(7))).unwrap(), Turned::Empty, "a watcher keeps no loop running");
    base.after(millis(10), |_| {});
    base.turn(NOW).unwrap();
    base.turn(Some(millis(3))).unwrap();
    hand.advance(millis(10));
    base.turn(None).unwrap();
    assert_eq!(log.take(), ["Some(0ns)", "Some(0ns)", "Some(3ms)", "Some(0ns)"]);
    assert!(base.cancel(watcher));
    base.turn(NOW).unwrap();
    assert!(log.take().is_empty());
}

#[test]
fn what_a_prepare_watcher_queues_is_not_slept_over() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let done = Rc::new(Cell::new(0));
    // Nothing else would end these waits.
    base.after(Duration::from_secs(1_000), |_| {});
    let mine = Rc::clone(&done);
    let event = base.user_event(What::NONE, move |_, _| mine.set(mine.get() + 1));
    let strand_ran = Signal::new();
    let ran = Arc::clone(&strand_ran);
    let strand = base.strand(Placement::Any, (), move |_| {
        Script::new(move |_, _, _| {
            ran.raise();
            Left::Idle
        })
    });
    base.turn(NOW).unwrap();
    let round = Cell::new(0);
    base.on_prepare(move |_, base| {
        round.set(round.get() + 1);
        match round.get() {
            1 => drop(base.activate(event, What::NONE)),
            2 => strand.post(bufferevent_runtime::Reasons::USER),
            3 => drop(base.after(millis(1), |base| base.exit())),
            4 => base.exit(),
            _ => panic!("a watcher that panics is the last"),
        }
    });
    base.turn(None).unwrap();
    assert_eq!(done.get(), 1);
    base.turn(None).unwrap();
    strand_ran.wait_for(2);
    base.turn(None).unwrap();
    assert_eq!(base.turn(None).unwrap(), Turned::Exited);
    base.turn(NOW).unwrap();
    base.turn(NOW).unwrap();
    assert_eq!(base.counters().panics.get(), 1);
}

#[test]
fn watchers_come_and_go_in_their_own_callbacks() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let log = Log::default();
    let mine = log.clone();
    let own = Rc::new(Cell::new(None));
    let id = Rc::clone(&own);
    own.set(Some(base.on_check(move |base| {
        mine.add("first");
        assert!(base.cancel(id.get().unwrap()));
        let mine = mine.clone();
        base.on_check(move |_| mine.add("second"));
    })));
    for _ in 0..3 {
        base.turn(NOW).unwrap();
    }
    assert_eq!(log.take(), ["first", "second", "second"]);
}

#[test]
fn watchers_of_a_runtime_run_with_its_bases() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(1).bases(2).build().unwrap());
    let seen = Signal::new();
    for base in running.runtime.bases() {
        let mine = Arc::clone(&seen);
        base.post(move |base| {
            base.on_check(move |_| mine.raise());
        })
        .unwrap();
    }
    // Several posts may be taken after one poll.
    eventually("both have been polled again and again", || {
        running.runtime.bases().iter().for_each(|base| base.post(|_| {}).unwrap());
        seen.count() >= 20
    });
    running.runtime.shutdown(Duration::from_secs(5)).unwrap();
    running.join().unwrap().unwrap();
}

#[test]
fn event_foreach() {
    // E-16: what lives on a base can be told, and how much there is and was.
    let _census = Census::begin();
    let (clock, _hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    base.set_priorities(3).unwrap();
    assert_eq!((base.len(), base.handle().most_objects()), (0, 0));
    let timer = base.after(millis(5), |_| {});
    base.every(millis(7), |_| {});
    let event = base.user_event(What::NONE.timeout(millis(9)), |_, base| {
        let running = base.objects().into_iter().filter(|object| object.kind == "running").count();
        assert_eq!(running, 1);
    });
    base.signal(signal_hook::consts::SIGUSR1, |_, _| {}).unwrap();
    base.strand(Placement::Any, (), |_| Script::idle());
    Listener::bind("127.0.0.1:0").unwrap().start(&mut base, |_, _| Ok(())).unwrap();
    base.set_priority(event, 0).unwrap();
    base.activate(event, What::NONE);
    let mut objects = base.objects();
    objects.sort_by_key(|object| object.kind);
    let kinds: Vec<_> = objects.iter().map(|object| object.kind).collect();
    assert_eq!(kinds, ["event", "listener", "signal", "strand", "timer", "timer"]);
    let told = &objects[0];
    assert_eq!((told.priority, told.is_queued), (Some(0), true));
    assert_eq!(told.deadline, Some(base.deadline(millis(9))));
    assert_eq!(objects[1].priority, Some(1));
    assert_eq!((base.len(), base.handle().objects(), base.handle().most_objects()), (6, 6, 6));
    assert!(base.cancel(timer) && base.cancel(event));
    assert_eq!((base.len(), base.handle().objects(), base.handle().most_objects()), (4, 4, 6));
    base.turn(NOW).unwrap();
}

#[test]
fn many_threads_make_and_free_bases_with_events() {
    // TT-05, `debug_mode_too_late_race`
    let _census = Census::begin();
    let threads: Vec<_> = (0..20)
        .map(|_| {
            thread::spawn(|| {
                let mut base = Base::<Pinned>::new().unwrap();
                let event = base.user_event(What::NONE, |_, _| {});
                base.activate(event, What::NONE);
                assert!(base.cancel(event));
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}
