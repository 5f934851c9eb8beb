//! Protocol 15: an answer that one waits for, and another gives: against a waker that is left, a deadline, and a drop.

#![cfg(loom)]

use bufferevent_runtime::__loom::Awaited;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, EventFd, Exclusive, assert_mutants_die, model};

/// An answer is dropped by whoever has it last.
type Question = Awaited<Arc<Exclusive>, Arc<EventFd>>;

/// Answers on a thread of its own, as an answer that is given or dropped does.
fn answered(question: &Arc<Question>, answer: &Arc<Exclusive>) -> thread::JoinHandle<()> {
    let (question, answer) = (Arc::clone(question), Arc::clone(answer));
    thread::spawn(move || {
        answer.write();
        if let Ok(Some(waker)) = question.answer(answer) {
            waker.write();
        }
    })
}

/// The handshake looks, leaves its waker, and looks again when it is woken.
#[test]
fn who_waits_is_woken_by_the_answer() {
    model(Bounds::EXHAUSTIVE, || {
        let (question, answer) = (Arc::new(Question::new()), Arc::new(Exclusive::new()));
        let answerer = answered(&question, &answer);
        let waker = Arc::new(EventFd::new());
        let mut looks = 0;
        let taken = loop {
            looks += 1;
            if let Some(taken) = question.take() {
                break taken;
            }
            match question.wake(Arc::clone(&waker)) {
                Ok(_) => waker.wait(),
                Err(waker) => waker.write(),
            }
        };
        taken.read();
        assert!(looks <= 2, "who is woken, or told that it need not wait, finds it");
        answerer.join().expect("no panic");
        assert!(question.take().is_none() && !question.is_wanted());
    });
}

/// The connection goes, by its deadline or its end, while the answer comes: nobody keeps either.
#[test]
fn what_is_given_up_leaves_nothing_behind() {
    model(Bounds::EXHAUSTIVE, || {
        let (question, answer) = (Arc::new(Question::new()), Arc::new(Exclusive::new()));
        let answerer = answered(&question, &answer);
        let waker = Arc::new(EventFd::new());
        let taken = question.take();
        if taken.is_none() {
            drop(question.wake(Arc::clone(&waker)));
        }
        let (unread, _) = question.give_up();
        assert!(taken.is_none() || unread.is_none(), "it is had once");
        drop((taken, unread));
        answerer.join().expect("no panic");
        assert_eq!((Arc::strong_count(&answer), Arc::strong_count(&waker)), (1, 1));
        assert!(question.take().is_none());
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("awaited_answers_in_silence", "who_waits_is_woken_by_the_answer"),
        ("awaited_notes_too_late", "who_waits_is_woken_by_the_answer"),
        ("awaited_keeps_the_unwanted", "what_is_given_up_leaves_nothing_behind"),
    ]);
}
