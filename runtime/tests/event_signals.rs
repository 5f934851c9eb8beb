//! Signals as events. A test program of its own: signals are of the whole process.
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::{AnySelector, Base, Census, Clock, Error, Pinned, Runtime, Turned};
use common::{PATIENCE, Running, Signal};
use signal_hook::{
    consts::{SIGALRM, SIGCHLD, SIGHUP, SIGKILL, SIGSEGV, SIGSTOP, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH},
    low_level::raise,
};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Turns until `done`.
fn turn_until(base: &mut Base<Pinned>, done: impl Fn() -> bool) {
    let until = base.now() + PATIENCE;
    while !done() {
        assert!(base.now() < until, "it never came");
        base.turn(Some(Duration::from_millis(20))).unwrap();
    }
}

#[test]
fn simplesignal() {
    // E-08, on every selector; several of one signal come as one call that tells how many.
    let _census = Census::begin();
    for selector in [AnySelector::new(), AnySelector::polling(), AnySelector::polling_without_edges()] {
        let mut base = Base::<Pinned>::with_selector(selector.unwrap(), Clock::monotonic()).unwrap();
        let counts = Rc::new(RefCell::new(Vec::new()));
        let mine = Rc::clone(&counts);
        let id = base.signal(SIGUSR1, move |times, _| mine.borrow_mut().push(times)).unwrap();
        base.turn(NOW).unwrap();
        assert!(counts.borrow().is_empty());
        for round in 1..4 {
            for _ in 0..round {
                raise(SIGUSR1).unwrap();
            }
            turn_until(&mut base, || counts.borrow().len() == round);
        }
        assert_eq!(*counts.borrow(), [1, 2, 3]);
        assert!(base.cancel(id));
        raise(SIGUSR1).unwrap();
        assert_eq!(base.turn(NOW).unwrap(), Turned::Empty, "nobody is told, and nobody dies");
    }
}

#[test]
fn multiplesignal() {
    // Two signals on one base, and one of them on two events.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let sum = Rc::new(Cell::new(0));
    for (signal, worth) in [(SIGUSR2, 1), (SIGALRM, 10), (SIGALRM, 100)] {
        let mine = Rc::clone(&sum);
        base.signal(signal, move |times, _| mine.set(mine.get() + times * worth)).unwrap();
    }
    raise(SIGALRM).unwrap();
    turn_until(&mut base, || sum.get() == 110);
    raise(SIGUSR2).unwrap();
    turn_until(&mut base, || sum.get() == 111);
}

#[test]
fn signal_switchbase() {
    // libevent has one base for signals; here each hears of them for itself, and the end of one is nothing to the others.
    let _census = Census::begin();
    let mut bases: Vec<_> = (0..3).map(|_| Base::<Pinned>::new().unwrap()).collect();
    let counts: Vec<_> = bases
        .iter_mut()
        .map(|base| {
            let count = Rc::new(Cell::new(0));
            let mine = Rc::clone(&count);
            base.signal(SIGHUP, move |times, _| mine.set(mine.get() + times)).unwrap();
            count
        })
        .collect();
    for round in 1..4 {
        raise(SIGHUP).unwrap();
        for (base, count) in bases.iter_mut().zip(&counts) {
            turn_until(base, || count.get() == round);
        }
    }
    drop(bases.remove(0));
    raise(SIGHUP).unwrap();
    for (base, count) in bases.iter_mut().zip(&counts[1..]) {
        turn_until(base, || count.get() == 4);
    }
    assert_eq!(counts[0].get(), 3);
}

#[test]
fn signal_dealloc() {
    // What a base that ends had opened for its signals is closed, and its closures are dropped.
    let _census = Census::begin();
    let kept = Rc::new(());
    let before = descriptors();
    for _ in 0..50 {
        let mut base = Base::<Pinned>::new().unwrap();
        for _ in 0..4 {
            let mine = Rc::clone(&kept);
            base.signal(SIGCHLD, move |_, _| drop(Rc::clone(&mine))).unwrap();
        }
    }
    assert_eq!(Rc::strong_count(&kept), 1);
    let after = descriptors();
    assert!(after < before + 50, "{before} descriptors became {after}");
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[test]
fn signal_while_processing_and_freed_in_its_callback() {
    // A signal that comes while its callback runs is told in the next; then the callback cancels itself.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let (id, count) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(0)));
    let (own, mine) = (Rc::clone(&id), Rc::clone(&count));
    id.set(Some(
        base.signal(SIGWINCH, move |_, base| {
            mine.set(mine.get() + 1);
            match mine.get() {
                1 => raise(SIGWINCH).unwrap(),
                _ => assert!(base.cancel(own.get().unwrap())),
            }
        })
        .unwrap(),
    ));
    raise(SIGWINCH).unwrap();
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(count.get(), 2);
}

#[test]
fn a_storm_of_signals_is_bounded_and_blocks_nobody() {
    // What does not fit into the socket is counted no more; something is always told.
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    let signal = signal_hook::consts::SIGURG;
    let count = Rc::new(Cell::new(0));
    let mine = Rc::clone(&count);
    base.signal(signal, move |times, _| mine.set(mine.get() + times)).unwrap();
    for _ in 0..20_000 {
        raise(signal).unwrap();
    }
    for _ in 0..10 {
        base.turn(Some(Duration::from_millis(1))).unwrap();
    }
    assert!((100..=20_000).contains(&count.get()), "{} told", count.get());
    let before = count.get();
    raise(signal).unwrap();
    turn_until(&mut base, || count.get() > before);
}

#[test]
fn signals_that_cannot_be_waited_for_are_refused() {
    let _census = Census::begin();
    let mut base = Base::<Pinned>::new().unwrap();
    for signal in [SIGKILL, SIGSTOP, SIGSEGV] {
        let refused = base.signal(signal, |_, _| {});
        assert!(matches!(refused, Err(Error::InvalidSignal { signal: told }) if told == signal));
    }
    for signal in [-1, 0, 4_711] {
        assert!(matches!(base.signal(signal, |_, _| {}), Err(Error::Io(_))), "{signal}");
    }
    assert!(base.is_empty());
}

#[test]
fn signals_reach_the_bases_of_a_runtime_by_handles() {
    let _census = Census::begin();
    let running = Running::start(Runtime::builder().workers(2).bases(3).build().unwrap());
    let told = Signal::new();
    let ids: Vec<_> = running
        .runtime
        .bases()
        .iter()
        .map(|base| {
            let mine = Arc::clone(&told);
            base.signal(SIGTERM, move |_, _| mine.raise()).unwrap()
        })
        .collect();
    for round in 1..10 {
        raise(SIGTERM).unwrap();
        told.wait_for(3 * round);
    }
    for (base, id) in running.runtime.bases().iter().zip(ids) {
        base.cancel(id).unwrap();
    }
    common::eventually("they are gone", || running.runtime.bases().iter().all(|base| base.objects() == 0));
}

#[test]
fn a_wait_that_signals_interrupt_ends_neither_early_nor_never() {
    // F12
    let _census = Census::begin();
    use bufferevent_sync::atomic::{AtomicBool, Ordering};
    let mut base = Base::<Pinned>::new().unwrap();
    let signal = signal_hook::consts::SIGIO;
    base.signal(signal, |_, _| {}).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&over);
    let killer = std::thread::spawn(move || {
        // To the process: the system picks a thread, one that sleeps by preference.
        while !end.load(Ordering::Relaxed) {
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::IO).unwrap();
            std::thread::yield_now();
        }
    });
    let due = base.deadline(Duration::from_millis(50));
    base.after(Duration::from_millis(50), move |base| {
        assert!(base.now() >= due);
        base.exit();
    });
    assert_eq!(base.run().unwrap(), Turned::Exited);
    over.store(true, Ordering::Relaxed);
    killer.join().unwrap();
}
