//! Protocol 3: loopbreak and loopexit while callbacks run on two workers.

#![cfg(loom)]

use bufferevent_runtime::__loom::Gate;
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, Tally, assert_mutants_die, model};

#[derive(Default)]
struct Base {
    gate: Gate,
    broken: AtomicBool,
    /// What a callback of worker 0, 1 did.
    done: [Exclusive; 2],
    /// What whoever stopped the base did meanwhile, or why.
    pause: Exclusive,
    started: Tally,
}

impl Base {
    fn callback(&self, worker: usize) -> bool {
        let was_broken = self.broken.load(Ordering::Acquire);
        let entered = self.gate.enter();
        if entered {
            assert!(!was_broken, "a callback started after break_now had returned");
            self.started.add(1);
            self.done[worker].write();
            self.gate.leave();
        }
        entered
    }
}

#[test]
fn nothing_starts_after_break() {
    model(Bounds::DEEP, || {
        let base = Arc::new(Base::default());
        let runners: Vec<_> = (0..2)
            .map(|worker| {
                let base = Arc::clone(&base);
                thread::spawn(move || base.callback(worker))
            })
            .collect();
        let inside = base.gate.break_now();
        base.broken.store(true, Ordering::Release);
        if inside == 0 {
            // Nobody is inside and nobody will be: the base is ours.
            base.done.iter().for_each(Exclusive::write);
        }
        let ran =
            runners.into_iter().map(|runner| runner.join().expect("no panic")).filter(|ran| *ran).count();
        assert_eq!(ran, base.started.get() as usize);
        assert_eq!(base.gate.running(), 0);
        assert!(base.gate.is_broken() && !base.gate.enter());
    });
}

/// Who waits for the last callback by looking at `running` sees what it did.
#[test]
fn empty_gate_shows_what_was_done() {
    model(Bounds::DEEP, || {
        let base = Arc::new(Base::default());
        let runners: Vec<_> = (0..2)
            .map(|worker| {
                let base = Arc::clone(&base);
                thread::spawn(move || base.callback(worker))
            })
            .collect();
        let _ = base.gate.break_now();
        if base.gate.running() == 0 {
            base.done.iter().for_each(Exclusive::write);
        }
        for runner in runners {
            runner.join().expect("no panic");
        }
        assert_eq!(base.gate.running(), 0);
    });
}

/// A callback that starts after `resume` sees what happened during the pause; one that is refused sees why.
#[test]
fn resumed_callback_sees_the_pause() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::default());
        let _ = base.gate.break_now();
        let runner = {
            let base = Arc::clone(&base);
            thread::spawn(move || {
                let entered = base.gate.enter();
                if entered {
                    base.pause.read();
                    base.gate.leave();
                }
                entered
            })
        };
        base.pause.write();
        base.gate.resume();
        let entered = runner.join().expect("no panic");
        assert!(base.gate.enter() && base.gate.running() == 1, "resumed, whether or not {entered}");
    });
}

/// A callback that was inside at the break, and leaves at any moment, is counted right.
#[test]
fn resume_disturbs_nobody_inside() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::default());
        assert!(base.gate.enter());
        let runner = {
            let base = Arc::clone(&base);
            thread::spawn(move || base.gate.leave())
        };
        assert!(base.gate.break_now() <= 1);
        base.gate.resume();
        runner.join().expect("no panic");
        assert_eq!(base.gate.running(), 0);
    });
}

#[test]
fn refused_callback_sees_the_reason() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::default());
        let runner = {
            let base = Arc::clone(&base);
            thread::spawn(move || match base.gate.enter() {
                true => base.gate.leave(),
                false => base.pause.read(),
            })
        };
        base.pause.write();
        let _ = base.gate.break_now();
        runner.join().expect("no panic");
    });
}

#[test]
fn exit_is_seen_with_its_reason() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::default());
        let worker = {
            let base = Arc::clone(&base);
            thread::spawn(move || {
                if base.gate.is_exiting() {
                    base.pause.read();
                }
                if base.gate.is_broken() {
                    base.done[0].read();
                }
                base.gate.enter()
            })
        };
        base.pause.write();
        base.gate.exit();
        base.done[0].write();
        let inside = base.gate.break_now();
        let entered = worker.join().expect("no panic");
        assert!(inside == 1 || !entered, "exit alone keeps nobody out");
        assert!(base.gate.is_exiting() && base.gate.is_broken());
        base.gate.resume();
        assert!(!base.gate.is_exiting() && !base.gate.is_broken());
    });
}

/// A worker lets its base rest at the end of a turn while somebody takes the exit back.
#[test]
fn resume_ends_every_rest() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::default());
        base.gate.exit();
        let worker = {
            let base = Arc::clone(&base);
            thread::spawn(move || base.gate.rest())
        };
        base.gate.resume();
        worker.join().expect("no panic");
        assert!(base.gate.enter(), "at rest for an exit that was taken back");
        base.gate.exit();
        base.gate.rest();
        assert!(!base.gate.enter());
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("gate_enter:torn", "nothing_starts_after_break"),
        ("gate_enter:release", "resumed_callback_sees_the_pause"),
        ("gate_enter:release", "refused_callback_sees_the_reason"),
        ("gate_enter_ignores_break", "nothing_starts_after_break"),
        ("gate_leave:torn", "nothing_starts_after_break"),
        ("gate_leave:acquire", "nothing_starts_after_break"),
        ("gate_leave:acquire", "empty_gate_shows_what_was_done"),
        ("gate_running:relaxed", "empty_gate_shows_what_was_done"),
        ("gate_break:torn", "nothing_starts_after_break"),
        ("gate_break:release", "nothing_starts_after_break"),
        ("gate_break:acquire", "refused_callback_sees_the_reason"),
        ("gate_resume:torn", "resume_disturbs_nobody_inside"),
        ("gate_resume:acquire", "resumed_callback_sees_the_pause"),
        ("gate_exit:torn", "exit_is_seen_with_its_reason"),
        ("gate_exit:acquire", "exit_is_seen_with_its_reason"),
        ("gate_is_exiting:relaxed", "exit_is_seen_with_its_reason"),
        ("gate_is_broken:relaxed", "exit_is_seen_with_its_reason"),
        ("gate_rest:torn", "resume_ends_every_rest"),
    ]);
}
