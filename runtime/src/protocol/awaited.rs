//! An answer that one waits for and another gives, or never gives: with who is to be woken by it.
//!
//! ```text
//!   who waits                                who answers
//!   take: there is none                      answer: is wanted: is kept, and who waits is to be woken
//!   wake: there is none yet: noted                   is not: comes back, to be dropped
//!         there is one by now: comes back
//!   woken: take
//!   give_up: what there is is to be dropped
//! ```
//!
//! All of it is one state under a leaf, so one of the two comes second, and sees what the other has done. Nobody is woken and nothing
//! is dropped under it.

use std::mem;

use bufferevent_sync::{Leaf, mutant};

/// A place for an answer `A`, and for the `W` that wakes who waits for it.
///
/// * W1 An answer is had by who takes it, by who gives up, or by who gave it: by one of them, once.
/// * W2 Who was noted to wait is woken by the answer; who comes later than that is told so.
#[derive(Debug)]
pub struct Awaited<A, W> {
    state: Leaf<State<A, W>>,
}

#[derive(Debug)]
enum State<A, W> {
    /// There is no answer yet; who is to be woken by it.
    Open(Option<W>),
    Answered(A),
    /// The answer was taken, or nobody wants it any more.
    Over,
}

impl<A, W> Awaited<A, W> {
    /// Nothing yet, and nobody who waits.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Leaf::new(State::Open(None)) }
    }

    /// The answer is there. Once: who is to be woken.
    ///
    /// # Errors
    /// Nobody wants it: it comes back.
    #[must_use = "who waits must be woken"]
    pub fn answer(&self, answer: A) -> Result<Option<W>, A> {
        let mut state = self.state.lock();
        let wanted = matches!(*state, State::Open(_));
        if !wanted && !mutant::is("awaited_keeps_the_unwanted") {
            return Err(answer);
        }
        match mem::replace(&mut *state, State::Answered(answer)) {
            State::Open(waker) if !mutant::is("awaited_answers_in_silence") => Ok(waker),
            _ => Ok(None),
        }
    }

    /// The answer, if it is there and was not taken.
    pub fn take(&self) -> Option<A> {
        let mut state = self.state.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Answered(answer) => Some(answer),
            open => {
                *state = open;
                None
            }
        }
    }

    /// Has `waker` woken by the answer, in place of one before it, which comes back to be dropped.
    ///
    /// # Errors
    /// It is there, or nobody wants it any more: `waker` comes back, to be woken at once.
    pub fn wake(&self, waker: W) -> Result<Option<W>, W> {
        match &mut *self.state.lock() {
            State::Open(wakes) => Ok(wakes.replace(waker)),
            _ if mutant::is("awaited_notes_too_late") => Ok(None),
            State::Answered(_) | State::Over => Err(waker),
        }
    }

    /// Nobody wants it any more: what there is comes back, to be dropped.
    pub fn give_up(&self) -> (Option<A>, Option<W>) {
        match mem::replace(&mut *self.state.lock(), State::Over) {
            State::Open(waker) => (None, waker),
            State::Answered(answer) => (Some(answer), None),
            State::Over => (None, None),
        }
    }

    /// Whether an answer is still wanted: stale at once, to spare the work of finding one.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        matches!(*self.state.lock(), State::Open(_))
    }
}

impl<A, W> Default for Awaited<A, W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_and_who_comes_later_is_told() {
        let awaited = Awaited::new();
        assert_eq!((awaited.take(), awaited.wake("first")), (None, Ok(None)));
        assert_eq!(awaited.wake("second"), Ok(Some("first")));
        assert!(awaited.is_wanted());
        assert_eq!(awaited.answer(7), Ok(Some("second")));
        assert_eq!((awaited.wake("third"), awaited.is_wanted()), (Err("third"), false));
        assert_eq!((awaited.take(), awaited.take()), (Some(7), None));
        assert_eq!(awaited.give_up(), (None, None));
    }

    #[test]
    fn what_nobody_wants_comes_back() {
        let awaited = Awaited::new();
        assert_eq!(awaited.wake("who"), Ok(None));
        assert_eq!(awaited.give_up(), (None, Some("who")));
        assert_eq!(awaited.answer(7), Err(7));
        let unread = Awaited::<_, ()>::new();
        assert_eq!(unread.answer(7), Ok(None));
        assert_eq!(unread.give_up(), (Some(7), None));
    }
}
