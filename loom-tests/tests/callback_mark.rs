//! Protocol 11: which callback a worker is in, and who reports one that lasts too long.

#![cfg(loom)]

use bufferevent_runtime::__loom::CallbackMark;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Tally, assert_mutants_die, model};

/// Key of the callback `number`.
const fn key(number: u64) -> u64 {
    number * 10
}

/// Claims what runs, as a watcher to which any callback seems too long.
fn watch(mark: &CallbackMark) -> Option<u64> {
    let number = mark.look();
    if number == 0 {
        return None;
    }
    let claimed = mark.claim(number)?;
    assert_eq!(claimed, key(number), "the key of another callback");
    Some(number)
}

/// One short callback after another: what the watcher claims belongs together.
#[test]
fn who_claims_a_callback_has_its_key() {
    model(Bounds::EXHAUSTIVE, || {
        let mark = Arc::new(CallbackMark::new());
        let watcher = {
            let mark = Arc::clone(&mark);
            thread::spawn(move || {
                let _claimed = watch(&mark);
            })
        };
        for number in 1..=2 {
            mark.begin(number, key(number));
            mark.end();
        }
        watcher.join().expect("no panic");
    });
}

/// The worker ends a callback that lasted too long while the watcher finds it, and goes on to a short one.
#[test]
fn callback_is_reported_once() {
    model(Bounds::EXHAUSTIVE, || {
        let (mark, reports) = (Arc::new(CallbackMark::new()), Arc::new(Tally::default()));
        let watcher = {
            let (mark, reports) = (Arc::clone(&mark), Arc::clone(&reports));
            thread::spawn(move || {
                if watch(&mark) == Some(1) {
                    reports.add(1);
                }
            })
        };
        mark.begin(1, key(1));
        if mark.claim(1).is_some() {
            reports.add(1);
        }
        mark.begin(2, key(2));
        mark.end();
        watcher.join().expect("no panic");
        assert_eq!(reports.get(), 1);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("callback_mark_key:late", "who_claims_a_callback_has_its_key"),
        ("callback_mark_begin:relaxed", "who_claims_a_callback_has_its_key"),
        ("callback_mark_look:relaxed", "who_claims_a_callback_has_its_key"),
        ("callback_mark_claim:torn", "callback_is_reported_once"),
    ]);
}
