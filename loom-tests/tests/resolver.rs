//! Protocol 9: a question to another thread, its answer, and an asker that may lose interest.

#![cfg(loom)]

use bufferevent_runtime::__loom::{AnswerWord, Answered, Cancelled};
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, Tally, assert_mutants_die, model};

/// A lookup: the word, and the place of the answer, which nothing but the word protects.
#[derive(Default)]
struct Lookup {
    word: AnswerWord,
    answer: Exclusive,
    /// How often the answer was taken or dropped.
    ended: Tally,
}

impl Lookup {
    /// A thread of the resolver brings the answer. True: the asker is to be woken.
    fn bring(&self) -> bool {
        self.answer.write();
        match self.word.answer() {
            Answered::Tell => true,
            Answered::Discard => {
                self.end();
                false
            }
        }
    }

    /// Takes the answer, or drops it.
    fn end(&self) {
        self.answer.write();
        self.ended.add(1);
    }
}

/// The asker looks, whatever it was woken for, and takes the answer if it is there.
#[test]
fn answer_is_had_once() {
    model(Bounds::EXHAUSTIVE, || {
        let lookup = Arc::new(Lookup::default());
        let resolver = {
            let lookup = Arc::clone(&lookup);
            thread::spawn(move || lookup.bring())
        };
        let early = lookup.word.is_answered();
        if early {
            lookup.end();
        }
        let told = resolver.join().expect("no panic");
        assert!(told, "nobody has cancelled");
        if !early {
            assert!(lookup.word.is_answered());
            lookup.end();
        }
        assert_eq!(lookup.ended.get(), 1);
    });
}

/// The asker cancels while the answer comes; the resolver spares the work if it sees that in time.
#[test]
fn cancelled_answer_has_one_owner() {
    model(Bounds::EXHAUSTIVE, || {
        let lookup = Arc::new(Lookup::default());
        let resolver = {
            let lookup = Arc::clone(&lookup);
            thread::spawn(move || {
                let _spared = lookup.word.is_cancelled();
                lookup.bring()
            })
        };
        let cancelled = lookup.word.cancel();
        if cancelled == Cancelled::Owns {
            lookup.end();
        }
        let told = resolver.join().expect("no panic");
        assert_eq!(told, cancelled == Cancelled::Owns, "who comes second knows of the other");
        assert_eq!(lookup.ended.get(), 1);
    });
}

/// The whole life: the asker looks, takes what is there, and cancels in any case when it goes.
#[test]
fn asker_that_looks_and_goes_leaves_nothing_behind() {
    model(Bounds::EXHAUSTIVE, || {
        let lookup = Arc::new(Lookup::default());
        let resolver = {
            let lookup = Arc::clone(&lookup);
            thread::spawn(move || lookup.bring())
        };
        let taken = lookup.word.is_answered();
        if taken {
            lookup.end();
        }
        if lookup.word.cancel() == Cancelled::Owns && !taken {
            lookup.end();
        }
        let _told = resolver.join().expect("no panic");
        assert_eq!(lookup.ended.get(), 1);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("answer:torn", "cancelled_answer_has_one_owner"),
        ("answer:acquire", "answer_is_had_once"),
        ("answer:acquire", "cancelled_answer_has_one_owner"),
        ("answer_ignores_cancel", "cancelled_answer_has_one_owner"),
        ("answer_cancel:torn", "cancelled_answer_has_one_owner"),
        ("answer_cancel:release", "cancelled_answer_has_one_owner"),
        ("answer_is_answered:relaxed", "answer_is_had_once"),
        ("answer_is_answered:relaxed", "asker_that_looks_and_goes_leaves_nothing_behind"),
    ]);
}
