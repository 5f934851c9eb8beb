//! Protocol 3: loopbreak and loopexit while callbacks run on two workers.

#![cfg(loom)]

use bufferevent_runtime::__loom::Gate;
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, assert_mutants_die, model};

#[derive(Default)]
struct Base {
    gate: Gate,
    broken: AtomicBool,
    /// What whoever stopped or resumed the base did before that.
    reason: Exclusive,
    /// The same, of who broke it after an exit.
    second_reason: Exclusive,
}

/// Two threads: `other` on one of its own, `this` on the caller's.
fn beside<T: Send + 'static>(
    base: &Arc<Base>,
    other: impl FnOnce(&Base) -> T + Send + 'static,
    this: impl FnOnce(&Base),
) -> T {
    let theirs = Arc::clone(base);
    let other = thread::spawn(move || other(&theirs));
    this(base);
    other.join().expect("no panic")
}

fn base() -> Arc<Base> {
    Arc::new(Base::default())
}

#[test]
fn nothing_starts_after_break() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        let starts = |base: &Base| {
            let was_broken = base.broken.load(Ordering::Acquire);
            let starts = !base.gate.is_broken();
            assert!(!(was_broken && starts), "a callback started after break_now had returned");
        };
        beside(&base, starts, |base| {
            base.gate.break_now();
            base.broken.store(true, Ordering::Release);
        });
        assert!(base.gate.is_broken());
    });
}

/// A callback that starts after `resume` sees what happened during the pause.
#[test]
fn resumed_callback_sees_the_pause() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        base.gate.break_now();
        let starts = |base: &Base| {
            if !base.gate.is_broken() {
                base.reason.read();
            }
        };
        beside(&base, starts, |base| {
            base.reason.write();
            assert!(base.gate.resume());
        });
    });
}

#[test]
fn refused_callback_sees_the_reason() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        let is_refused = |base: &Base| {
            if base.gate.is_broken() {
                base.reason.read();
            }
        };
        beside(&base, is_refused, |base| {
            base.reason.write();
            base.gate.break_now();
        });
    });
}

#[test]
fn exit_is_seen_with_its_reason() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        let looks = |base: &Base| {
            if base.gate.is_exiting() {
                base.reason.read();
            }
            if base.gate.is_broken() {
                base.second_reason.read();
            }
        };
        beside(&base, looks, |base| {
            base.reason.write();
            base.gate.exit();
            base.second_reason.write();
            base.gate.break_now();
        });
        assert!(base.gate.is_exiting() && base.gate.is_broken());
    });
}

/// One thread breaks the base while another asks it to exit.
#[test]
fn break_and_exit_keep_each_other() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        beside(&base, |base| base.gate.exit(), |base| base.gate.break_now());
        assert!(base.gate.is_exiting() && base.gate.is_broken());
    });
}

/// So that whoever held something back is told to look again, and told once.
#[test]
fn one_of_two_resumes_opens_the_gate() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        base.gate.break_now();
        let mut own = false;
        let other = beside(&base, |base| base.gate.resume(), |base| own = base.gate.resume());
        assert!(own != other && !base.gate.is_broken());
    });
}

/// A worker lets its base rest at the end of a turn while somebody takes the exit back.
#[test]
fn resume_ends_every_rest() {
    model(Bounds::EXHAUSTIVE, || {
        let base = base();
        base.gate.exit();
        beside(&base, |base| base.gate.rest(), |base| assert!(base.gate.resume()));
        assert!(!base.gate.is_broken(), "at rest for an exit that was taken back");
        base.gate.exit();
        base.gate.rest();
        assert!(base.gate.is_broken());
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("gate_ignores_break", "nothing_starts_after_break"),
        ("gate_is_broken:relaxed", "resumed_callback_sees_the_pause"),
        ("gate_is_broken:relaxed", "refused_callback_sees_the_reason"),
        ("gate_break:torn", "break_and_exit_keep_each_other"),
        ("gate_break:acquire", "refused_callback_sees_the_reason"),
        ("gate_resume:torn", "one_of_two_resumes_opens_the_gate"),
        ("gate_resume:acquire", "resumed_callback_sees_the_pause"),
        ("gate_exit:torn", "break_and_exit_keep_each_other"),
        ("gate_exit:acquire", "exit_is_seen_with_its_reason"),
        ("gate_is_exiting:relaxed", "exit_is_seen_with_its_reason"),
        ("gate_rest:torn", "resume_ends_every_rest"),
    ]);
}
