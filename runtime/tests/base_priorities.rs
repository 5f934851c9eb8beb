//! Priorities of what runs on the turns of a base.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::{Cell, RefCell},
    io::{Read, Write},
    os::unix::net::UnixStream,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{
    After, Base, Census, Clock, Error, EventId, Left, PRIORITIES, Pinned, Placement, Reasons, Runtime,
    Turned, What,
};
use common::{FnSource, Log, Running, Script, Signal};

const NOW: Option<Duration> = Some(Duration::ZERO);

fn base(priorities: usize) -> Base<Pinned> {
    let mut base = Base::with_clock(Clock::manual().0).unwrap();
    base.set_priorities(priorities).unwrap();
    base
}

/// Two timers that set themselves again for now, the first at the most, the second at the least urgent priority; at the
/// fourth call of either the loop is told to exit. How often each has run before.
fn priorities(count: usize) -> (u32, u32) {
    fn again(base: &mut Base<Pinned>, runs: Rc<Cell<u32>>, priority: u8) {
        let mine = Rc::clone(&runs);
        let timer = base.after(Duration::ZERO, move |base| {
            if mine.get() == 3 {
                base.exit_after(Duration::ZERO);
                return;
            }
            mine.set(mine.get() + 1);
            again(base, mine, priority);
        });
        base.set_priority(timer, priority).unwrap();
    }
    let mut base = base(count);
    let (one, two) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    again(&mut base, Rc::clone(&one), 0);
    again(&mut base, Rc::clone(&two), (count - 1) as u8);
    assert_eq!(base.run().unwrap(), Turned::Exited);
    (one.get(), two.get())
}

#[test]
fn priorities_are_strict_and_one_level_runs_in_a_pass() {
    // E-03, E-05, libevent's `priorities`: the timer that ends the loop has the middle priority, as all that is not told
    // otherwise.
    let _census = Census::begin();
    assert_eq!(priorities(1), (3, 3));
    assert_eq!(priorities(2), (3, 1));
    assert_eq!(priorities(3), (3, 0));
}

#[test]
fn priority_active_inversion() {
    // What a callback makes ready at a more urgent priority comes before the others of its own.
    let _census = Census::begin();
    let mut base = base(8);
    let log = Log::default();
    let ids = Rc::new(RefCell::new(Vec::<EventId>::new()));
    for (name, priority, activates) in [(0, 6, Some(2)), (1, 6, None), (2, 3, None)] {
        let (mine, others) = (log.clone(), Rc::clone(&ids));
        let event = base.user_event(What::NONE.once(), move |_, base| {
            mine.add(format!("{name}"));
            if let Some(other) = activates {
                let other = others.borrow()[other];
                base.activate(other, What::NONE);
            }
        });
        base.set_priority(event, priority).unwrap();
        ids.borrow_mut().push(event);
    }
    let (first, second) = (ids.borrow()[0], ids.borrow()[1]);
    base.activate(first, What::NONE);
    base.activate(second, What::NONE);
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["0", "2", "1"]);
}

#[test]
fn what_the_selector_finds_comes_before_what_waits_at_a_less_urgent_priority() {
    // E-03: between two levels the selector is asked.
    let _census = Census::begin();
    let mut base = base(2);
    let log = Log::default();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mine = log.clone();
    let urgent = base
        .event(ours, What::READ, move |event, _| {
            event.source().read_exact(&mut [0]).unwrap();
            mine.add("urgent");
        })
        .unwrap();
    base.set_priority(urgent, 0).unwrap();
    base.turn(NOW).unwrap();
    for name in ["first", "second"] {
        let (mine, mut theirs) = (log.clone(), theirs.try_clone().unwrap());
        base.after(Duration::ZERO, move |_| {
            mine.add(name);
            theirs.write_all(b"x").unwrap();
        });
    }
    let mine = log.clone();
    let timer = base.after(Duration::ZERO, move |_| {
        mine.add("most urgent");
        theirs.write_all(b"x").unwrap();
    });
    base.set_priority(timer, 0).unwrap();
    while base.len() > 1 {
        base.turn(NOW).unwrap();
    }
    base.turn(NOW).unwrap();
    base.turn(NOW).unwrap();
    let told = log.take();
    assert_eq!(told[..2], ["most urgent", "urgent"]);
    assert_eq!(told.iter().filter(|name| *name == "urgent").count(), 3, "{told:?}");
}

#[test]
fn deferred_callbacks_and_strands_bound_to_the_base_have_a_priority_too() {
    // C-36
    let _census = Census::begin();
    let mut base = base(4);
    let log = Log::default();
    let mine = log.clone();
    let strand = base.strand(Placement::Base, (), |_| {
        Script::new(move |_, reasons, _| {
            if !reasons.contains(Reasons::START) {
                mine.add("strand at 3");
            }
            Left::Idle
        })
    });
    assert_eq!(strand.priority(), 2, "the middle one");
    base.turn(NOW).unwrap();
    strand.set_priority(3);
    strand.post(Reasons::USER);
    base.turn(NOW).unwrap();
    assert_eq!(log.take(), ["strand at 3"]);
    for priority in [2, 0, 1] {
        let mine = log.clone();
        let key = base.insert(FnSource(move |_: &mut Base<Pinned>, _| {
            mine.add(format!("deferred at {priority}"));
            After::Remove
        }));
        base.set_priority_of(key, priority).unwrap();
        base.defer(key, Reasons::USER);
    }
    strand.post(Reasons::USER);
    while base.len() > 1 || log.count() < 4 {
        base.turn(NOW).unwrap();
    }
    assert_eq!(log.take(), ["deferred at 0", "deferred at 1", "deferred at 2", "strand at 3"]);
}

#[test]
fn an_exit_lets_the_level_that_runs_finish_and_no_other() {
    // E-04
    let _census = Census::begin();
    let mut base = base(3);
    let log = Log::default();
    for (name, priority) in [("exits", 0), ("of its level", 0), ("below", 2)] {
        let mine = log.clone();
        let timer = base.after(Duration::ZERO, move |base| {
            mine.add(name);
            if name == "exits" {
                base.exit();
            }
        });
        base.set_priority(timer, priority).unwrap();
    }
    assert_eq!(base.run().unwrap(), Turned::Exited);
    assert_eq!(log.take(), ["exits", "of its level"]);
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.take(), ["below"]);
}

#[test]
fn impossible_priorities_are_error_values() {
    // E-05, D16
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    assert_eq!(base.priorities(), 1);
    for count in [0, PRIORITIES + 1] {
        assert!(matches!(base.set_priorities(count), Err(Error::InvalidPriority { .. })));
    }
    base.set_priorities(PRIORITIES).unwrap();
    let event = base.user_event(What::NONE, |_, _| {});
    assert!(matches!(base.set_priorities(2), Err(Error::NotEmpty)));
    base.set_priority(event, 254).unwrap();
    let refused = base.set_priority(event, 255);
    assert!(matches!(refused, Err(Error::InvalidPriority { priority: 255, limit: 255 })), "{refused:?}");
    assert!(base.cancel(event));
    assert!(matches!(base.set_priority(event, 0), Err(Error::Closed)));
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert!(matches!(Runtime::builder().priorities(0).build(), Err(Error::InvalidPriority { .. })));
}

#[test]
fn the_bases_of_a_runtime_have_as_many_as_were_asked_for() {
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (2, 2), (1, 3)] {
        let runtime = Runtime::builder().workers(workers).bases(bases).priorities(3).build().unwrap();
        let running = Running::start(runtime);
        let (log, over) = (Log::default(), Signal::new());
        let (mine, done) = (log.clone(), Arc::clone(&over));
        let post = move |base: &mut Base| {
            assert_eq!(base.priorities(), 3);
            for (name, priority) in [("least", 2), ("middle", 1), ("most", 0)] {
                let (mine, done) = (mine.clone(), Arc::clone(&done));
                let key = base.insert(FnSource(move |_: &mut Base, _| {
                    mine.add(name);
                    done.raise();
                    After::Remove
                }));
                base.set_priority_of(key, priority).unwrap();
                base.post_to(key, Reasons::USER);
            }
        };
        running.base(bases - 1).post(post).unwrap();
        over.wait_for(3);
        assert_eq!(log.take(), ["most", "middle", "least"]);
    }
}
