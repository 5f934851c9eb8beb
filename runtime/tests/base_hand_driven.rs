//! A base driven by hand: turns, posts, loop control. Ports of libevent's loop tests keep their names.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{cell::Cell, os::unix::net::UnixStream, rc::Rc, sync::Arc, thread, time::Duration};

use bufferevent_runtime::{
    After, Base, Census, Clock, DEFERRED_PER_PASS, Error, Left, Movable, Pinned, Placement, Reasons,
    Registered, Strand, Turned,
};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};
use common::{Log, Script, Signal, start};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn base() -> Base<Pinned> {
    Base::new().unwrap()
}

#[test]
fn a_base_with_nothing_on_it_is_empty() {
    // E-02
    let _census = Census::begin();
    let mut base = base();
    assert_eq!(base.turn(None).unwrap(), Turned::Empty);
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert!(base.is_empty());
}

#[test]
fn posts_of_one_thread_run_in_order_and_one_that_is_posted_meanwhile_comes_in_the_next_turn() {
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    for n in 0..3 {
        let (log, handle) = (log.clone(), base.handle());
        base.handle()
            .post(move |_| {
                log.add(format!("{n}"));
                handle.post(move |_| log.add(format!("{n} again"))).unwrap();
            })
            .unwrap();
    }
    assert_eq!(base.turn(NOW).unwrap(), Turned::Ran);
    assert_eq!(log.take(), ["0", "1", "2"]);
    assert_eq!(base.turn(NOW).unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["0 again", "1 again", "2 again"]);
}

#[test]
fn a_full_inbox_refuses_and_a_base_that_is_gone_is_closed() {
    let _census = Census::begin();
    let base = base();
    let handle = base.handle();
    for _ in 0..bufferevent_runtime::INBOX {
        handle.post(|_| {}).unwrap();
    }
    assert!(matches!(handle.post(|_| {}), Err(Error::InboxFull { limit: bufferevent_runtime::INBOX })));
    drop(base);
    assert!(matches!(handle.post(|_| {}), Err(Error::Closed)));
    let made = handle.as_movable().strand(Placement::Any, (), |_| Script::new(|_, _, _| unreachable!()));
    assert!(matches!(made, Err(Error::Closed)));
    assert_eq!(handle.objects(), 0);
    assert!(matches!(handle.as_movable().post(|_| {}), Err(Error::WrongAffinity)));
}

#[test]
fn dropping_a_base_ends_its_strands_wherever_their_tokens_are() {
    let _census = Census::begin();
    let mut base = base();
    let ran = base.strand(Placement::Any, (), |_| Script::idle());
    base.turn(NOW).unwrap();
    let queued = base.strand(Placement::Any, (), |_| Script::idle());
    let bound = base.strand(Placement::Base, (), |_| Script::idle());
    let adopted = base.handle().as_movable().strand(Placement::Any, (), |_| Script::idle()).unwrap();
    let held = base.strand(Placement::Base, (), |_| Script::idle());
    let guard = held.lock().unwrap();
    base.turn(NOW).unwrap();
    let late = base.strand(Placement::Any, (), |_| Script::idle());
    let handle = base.handle();
    drop(base);
    drop(guard);
    for strand in [&ran, &queued, &bound, &adopted, &late, &held] {
        strand.post(Reasons::USER);
        assert_eq!(strand.lock().unwrap().abandoned.count(), 1, "{strand:?}");
    }
    assert_eq!(handle.objects(), 0);
}

#[test]
fn simpletimeout() {
    let _census = Census::begin();
    let mut base = base();
    let before = base.now();
    let fired = Rc::new(Cell::new(None));
    let seen = Rc::clone(&fired);
    base.after(Duration::from_millis(20), move |base| seen.set(Some(base.now())));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert!(fired.get().unwrap() - before >= Duration::from_millis(20));
}

#[test]
fn loopexit() {
    // E-04: the timer of 10 s never comes.
    let _census = Census::begin();
    let mut base = base();
    base.after(Duration::from_secs(10), |_| unreachable!("the loop has ended"));
    let started = base.now();
    base.exit_after(Duration::from_millis(30));
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert!(base.now() - started >= Duration::from_millis(30));
    assert!(base.now() - started < Duration::from_secs(10));
}

#[test]
fn loopexit_multiple() {
    // E-04: the earliest wins.
    let _census = Census::begin();
    let mut base = base();
    let never = base.exit_after(Duration::from_secs(3_000));
    base.handle().exit_after(Duration::from_millis(20)).unwrap();
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert_eq!(base.len(), 1, "the later one is still set");
    assert!(base.cancel(never));
    assert_eq!(base.run().unwrap(), Turned::Empty, "what was reported is over");
}

#[test]
fn loopbreak() {
    // The second queued callback does not run; E-04: it stays ready, and runs with the next loop.
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    for name in ["first", "second"] {
        let log = log.clone();
        start(&mut base, move |base, _| {
            log.add(name);
            base.break_now();
            After::Remove
        });
    }
    assert_eq!(base.run().unwrap(), Turned::Broken);
    assert_eq!(log.take(), ["first"]);
    assert!(!base.is_broken(), "it was reported");
    assert_eq!(base.run().unwrap(), Turned::Broken);
    assert_eq!(log.take(), ["second"]);
    assert_eq!(base.run().unwrap(), Turned::Empty);
}

#[test]
fn a_break_holds_posts_and_strands_too() {
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let mine = log.clone();
    let strand = base.strand(Placement::Any, (), move |_| {
        Script::new(move |_, reasons, _| {
            mine.add(format!("{reasons:?}"));
            Left::Idle
        })
    });
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["START"]);
    let (again, mine) = (Arc::clone(&strand), log.clone());
    start(&mut base, move |base, _| {
        again.post(Reasons::USER);
        let mine = mine.clone();
        base.handle().post(move |_| mine.add("post")).unwrap();
        base.break_now();
        After::Remove
    });
    assert_eq!(base.turn(NOW).unwrap(), Turned::Broken);
    assert!(log.take().is_empty());
    base.turn(NOW).unwrap();
    let mut after = log.take();
    after.sort();
    assert_eq!(after, ["USER", "post"]);
}

#[test]
fn a_break_or_an_exit_between_two_loops_is_not_forgotten() {
    let _census = Census::begin();
    let mut base = base();
    base.after(Duration::from_secs(100), |_| {});
    base.handle().break_now();
    assert!(base.is_broken() && base.handle().is_ending());
    assert_eq!(base.run().unwrap(), Turned::Broken);
    base.exit();
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert_eq!(base.turn(NOW).unwrap(), Turned::Idle);
}

#[test]
fn exit_after_posts_lets_them_run_and_no_more_than_is_ready() {
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let runs = Rc::new(Cell::new(0));
    let mine = Rc::clone(&runs);
    start(&mut base, move |_, _| {
        mine.set(mine.get() + 1);
        After::Again(Reasons::USER)
    });
    let posted = log.clone();
    base.handle().post(move |_| posted.add("posted")).unwrap();
    base.handle().exit();
    assert_eq!(base.run().unwrap(), Turned::Exited, "a source that never rests does not keep the loop");
    assert_eq!(log.take(), ["posted"]);
    assert!(runs.get() > 0);
}

#[test]
fn bad_reentrant() {
    // E-01: the inner loop fails, the outer one goes on.
    let _census = Census::begin();
    let mut base = base();
    let refused = Rc::new(Cell::new(0));
    let mine = Rc::clone(&refused);
    start(&mut base, move |base, _| {
        for error in [base.turn(NOW).unwrap_err(), base.run().unwrap_err(), base.nest().unwrap_err()] {
            assert!(matches!(error, Error::Reentrant), "{error}");
            mine.set(mine.get() + 1);
        }
        After::Remove
    });
    base.after(Duration::ZERO, |base| base.exit());
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert_eq!(refused.get(), 3);
    assert_eq!(base.run().unwrap(), Turned::Empty, "the base is whole");
}

#[test]
fn a_base_may_be_turned_in_a_callback_of_another() {
    let _census = Census::begin();
    let mut outer = base();
    let mut inner = base();
    let log = Log::default();
    let (first, second) = (log.clone(), log.clone());
    start(&mut outer, move |_, _| {
        let third = second.clone();
        start(&mut inner, move |_, _| {
            third.add("inner");
            After::Remove
        });
        assert_eq!(inner.run().unwrap(), Turned::Empty);
        After::Remove
    });
    let strand = outer.strand(Placement::Any, (), move |_| {
        Script::new(move |_, _, _| {
            first.add("strand");
            Left::Dead
        })
    });
    assert_eq!(outer.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["inner", "strand"], "{strand:?}");
}

#[test]
fn active_later() {
    // Sources that wake each other for ever starve neither I/O, timers, bound strands, deferred work nor posts.
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let keys = Rc::new(Cell::new(None));
    let mine = Rc::clone(&keys);
    let left = start(&mut base, move |base, _| {
        let Some((_, right)) = mine.get() else { return After::Idle };
        base.post_to(right, Reasons::USER);
        After::Again(Reasons::USER)
    });
    let mine = Rc::clone(&keys);
    let right = start(&mut base, move |base, _| {
        let Some((left, _)) = mine.get() else { return After::Idle };
        base.post_to(left, Reasons::USER);
        After::Again(Reasons::USER)
    });
    keys.set(Some((left, right)));
    base.post_to(left, Reasons::USER);
    base.turn(NOW).unwrap();

    let (reader, writer) = UnixStream::pair().unwrap();
    reader.set_nonblocking(true).unwrap();
    let mine = log.clone();
    let io = start(&mut base, move |_, reasons| {
        if reasons.contains(Reasons::READABLE) {
            mine.add("io");
        }
        After::Idle
    });
    let _registered =
        Registered::new(base.selector(), reader, io.token()).map_err(|(_, error)| error).unwrap();
    std::io::Write::write_all(&mut &writer, b"x").unwrap();
    let mine = log.clone();
    base.after(Duration::from_millis(1), move |_| mine.add("timer"));
    let mine = log.clone();
    let bound = base.strand(Placement::Base, (), move |_| {
        Script::new(move |_, _, _| {
            mine.add("bound");
            Left::Idle
        })
    });
    let mine = log.clone();
    let deferred = start(&mut base, move |_, reasons| {
        if reasons.contains(Reasons::DEFERRED) {
            mine.add("deferred");
        }
        After::Idle
    });
    base.defer(deferred, Reasons::EMPTY);
    let mine = log.clone();
    base.handle().post(move |_| mine.add("post")).unwrap();
    let mut seen = Vec::new();
    common::eventually("everything runs", || {
        base.turn(None).unwrap();
        seen.extend(log.take());
        ["io", "timer", "bound", "deferred", "post"].iter().all(|what| seen.iter().any(|other| other == what))
    });
    drop(bound);
}

#[test]
fn deferred_work_is_bounded_in_each_turn() {
    // C-21; the time stands still, or it would end the turn.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::with_clock(Clock::manual().0).unwrap();
    let ran = Rc::new(Cell::new(0));
    for _ in 0..DEFERRED_PER_PASS + 5 {
        let ran = Rc::clone(&ran);
        let key = base.insert(common::FnSource(move |_: &mut Base<Pinned>, _| {
            ran.set(ran.get() + 1);
            After::Idle
        }));
        base.defer(key, Reasons::EMPTY);
    }
    base.turn(NOW).unwrap();
    assert_eq!(ran.get(), DEFERRED_PER_PASS);
    base.turn(NOW).unwrap();
    assert_eq!(ran.get(), DEFERRED_PER_PASS + 5);
}

#[test]
fn event_once() {
    // E-06: what has run is gone.
    let _census = Census::begin();
    let mut base = base();
    let sum = Rc::new(Cell::new(0));
    for value in [1, 100, 2_000] {
        let sum = Rc::clone(&sum);
        base.after(Duration::ZERO, move |_| sum.set(sum.get() + value));
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!((sum.get(), base.len()), (2_101, 0));
}

#[test]
fn no_events() {
    // TT-04: the loop stays though nothing lives on the base, and serves another thread's posts and timers.
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let (handle, mine) = (base.handle(), log.clone());
    let posted = common::Signal::new();
    let seen = Arc::clone(&posted);
    let other = thread::spawn(move || {
        let (first, signal) = (mine.clone(), Arc::clone(&seen));
        handle
            .post(move |_| {
                first.add("post");
                signal.raise();
            })
            .unwrap();
        seen.wait();
        let second = mine.clone();
        handle
            .post(move |base| {
                base.after(Duration::from_millis(5), move |base| {
                    second.add("timer");
                    base.break_now();
                });
            })
            .unwrap();
    });
    assert_eq!(base.run_until_exit().unwrap(), Turned::Broken);
    assert_eq!(log.take(), ["post", "timer"]);
    other.join().unwrap();
}

#[test]
fn del_timeout_notify() {
    // TT-07, TT-08: another thread removes the only timer, and the loop ends.
    let _census = Census::begin();
    let mut base = base();
    let timer = base.after(Duration::from_secs(10_000), |_| unreachable!());
    let handle = base.handle();
    let other = thread::spawn(move || {
        handle.post(move |base| assert!(base.cancel(timer))).unwrap();
    });
    assert_eq!(base.run().unwrap(), Turned::Empty);
    other.join().unwrap();
}

#[test]
fn basic() {
    // TT-01: threads set timers on one base and wait for each, many times.
    let _census = Census::begin();
    const THREADS: usize = 20;
    const ROUNDS: usize = 20;
    let mut base = base();
    let left = Arc::new(bufferevent_sync::atomic::AtomicUsize::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (handle, left) = (base.handle(), Arc::clone(&left));
            thread::spawn(move || {
                for round in 1..=ROUNDS {
                    let fired = common::Signal::new();
                    let mine = Arc::clone(&fired);
                    handle
                        .post(move |base| {
                            base.after(Duration::from_millis(3), move |_| mine.raise());
                        })
                        .unwrap();
                    fired.wait();
                    // ORDER: AcqRel; the last of the threads ends the loop.
                    if round == ROUNDS && left.fetch_sub(1, bufferevent_sync::atomic::Ordering::AcqRel) == 1 {
                        handle.exit();
                    }
                }
            })
        })
        .collect();
    assert_eq!(base.run_until_exit().unwrap(), Turned::Exited);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(base.len(), 0);
}

#[test]
fn repoll_finds_what_happened_during_a_callback() {
    // loopcontinue, E-04
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let log = Log::default();
    let mine = log.clone();
    base.after(Duration::from_millis(5), move |_| mine.add("timer"));
    let mine = log.clone();
    start(&mut base, move |base, _| {
        hand.advance(Duration::from_millis(10));
        base.repoll().unwrap();
        mine.add("long callback");
        After::Remove
    });
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["long callback", "timer"], "in one turn, which read the clock before");
}

#[test]
fn sources_may_remove_themselves_and_others() {
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let victim = start(&mut base, |_, _| unreachable!("it is removed before its turn"));
    base.remove(victim);
    assert!(!base.remove(victim), "it is gone");
    assert!(base.source(victim).is_none());
    let mine = log.clone();
    let own = Rc::new(Cell::new(None));
    let key = Rc::clone(&own);
    own.set(Some(start(&mut base, move |base, _| {
        assert!(base.remove(key.get().unwrap()));
        mine.add("removed itself");
        After::Again(Reasons::USER)
    })));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["removed itself"]);
    assert_eq!(base.handle().objects(), 0);
}

#[test]
fn close_all_asks_everybody_who_is_there_or_comes_later() {
    let _census = Census::begin();
    let mut base = base();
    let log = Log::default();
    let watch = |log: &Log, name: &'static str| {
        let log = log.clone();
        move |_: &mut Base<Pinned>, reasons: Reasons| match reasons.contains(Reasons::CLOSE) {
            true => {
                log.add(name);
                After::Remove
            }
            false => After::Idle,
        }
    };
    base.insert(common::FnSource(watch(&log, "early")));
    base.every(Duration::from_secs(100), |_| unreachable!());
    let mine = log.clone();
    let strand = base.strand(Placement::Any, (), move |_| {
        Script::new(move |_, reasons, _| match reasons.contains(Reasons::CLOSE) {
            true => {
                mine.add("strand");
                Left::Dead
            }
            false => Left::Idle,
        })
    });
    base.turn(NOW).unwrap();
    base.close_all();
    assert!(base.is_draining());
    base.insert(common::FnSource(watch(&log, "late")));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    let mut closed = log.take();
    closed.sort();
    assert_eq!(closed, ["early", "late", "strand"], "{strand:?}");
}

#[test]
fn keys_are_given_back_and_foreign_ones_do_no_harm() {
    let _census = Census::begin();
    let mut base = base();
    let unused = base.reserve();
    base.unreserve(unused);
    base.unreserve(unused);
    let first = base.insert(common::FnSource(|_: &mut Base<Pinned>, _| After::Idle));
    let second = base.insert(common::FnSource(|_: &mut Base<Pinned>, _| After::Idle));
    assert_ne!(first, second, "a key is given out once, though it was given back twice");
    base.post_to(unused, Reasons::USER);
    base.defer(unused, Reasons::USER);
    base.arm(unused, base.now());
    base.disarm(unused);
    assert_eq!(base.turn(NOW).unwrap(), Turned::Idle);
}

#[test]
fn the_thread_that_runs_a_strand_is_known_in_turns_inside_turns_and_between_them() {
    // Who waits for a strand there would wait for itself.
    let _census = Census::begin();
    let mut outer = Base::<Pinned>::new().unwrap();
    let strand = outer.strand(Placement::Any, (), |_| Script::idle());
    let seen = Arc::new(AtomicUsize::new(0));
    let (mine, inside) = (Arc::clone(&seen), Arc::clone(&strand));
    outer.after(Duration::ZERO, move |_| {
        let mut inner = Base::<Pinned>::new().unwrap();
        let (mine, inside) = (Arc::clone(&mine), Arc::clone(&inside));
        inner.after(Duration::ZERO, move |_| {
            mine.fetch_add(usize::from(inside.is_on_worker()), Ordering::SeqCst);
        });
        inner.run().unwrap();
    });
    while outer.next_deadline().is_some() {
        outer.turn(None).unwrap();
    }
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    assert!(strand.is_on_worker(), "between two turns too");
    let elsewhere = Arc::clone(&strand);
    assert!(!thread::spawn(move || elsewhere.is_on_worker()).join().unwrap());
}

#[test]
fn a_thread_that_ends_may_post_from_the_drop_of_a_thread_local() {
    let _census = Census::begin();
    struct Posts(Arc<Strand<Script>>);
    impl Drop for Posts {
        fn drop(&mut self) {
            self.0.post(Reasons::USER);
        }
    }
    std::thread_local! {
        static LAST: std::cell::RefCell<Option<Posts>> = const { std::cell::RefCell::new(None) };
    }
    let mut base = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let posted = Signal::new();
    let mine = Arc::clone(&posted);
    let strand = base.strand(Placement::Any, (), |_| {
        Script::new(move |_, reasons, _| {
            if reasons.contains(Reasons::USER) {
                mine.raise();
            }
            Left::Idle
        })
    });
    thread::spawn(move || {
        LAST.with_borrow_mut(|last| *last = Some(Posts(Arc::clone(&strand))));
        // Touches the runtime's own thread-locals after that one, so that they go first.
        strand.post(Reasons::GUARD);
    })
    .join()
    .unwrap();
    base.turn(Some(Duration::ZERO)).unwrap();
    base.turn(Some(Duration::ZERO)).unwrap();
    assert_eq!(posted.count(), 1);
}

#[test]
fn a_timer_that_is_set_again_and_again_is_one_message() {
    let _census = Census::begin();
    let mut base = Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let fired = Signal::new();
    let mine = Arc::clone(&fired);
    let strand = base.strand(Placement::Any, (), |_| {
        Script::new(move |_, reasons, _| {
            if reasons.contains(Reasons::TIMER) {
                mine.raise();
            }
            Left::Idle
        })
    });
    let far = base.deadline(Duration::from_secs(3_600));
    (0..100_000).for_each(|_| strand.arm(Some(far)));
    strand.arm(Some(base.deadline(Duration::from_millis(1))));
    base.handle().post(|_| {}).expect("the inbox is not full of them");
    base.turn(Some(Duration::ZERO)).unwrap();
    while fired.count() == 0 {
        base.turn(Some(Duration::from_secs(20))).unwrap();
    }
    assert_eq!(fired.count(), 1, "the last deadline counts");
}
