//! A question asked of another thread, such as the addresses of a host: its answer has one owner at any time.
//!
//! The asker may lose interest, the answerer may come late; each makes an RMW and looks at what it returns, so that
//! exactly one of them owns an answer that came after all.
//!
//! ```text
//!   answerer                                 asker
//!   puts the answer into its place           cancel: RMW, sets CANCELLED
//!   answer: RMW, sets ANSWERED                 Owns: drop the answer
//!     Tell: wake the asker                     Leaves: the answerer drops it
//!     Discard: drop the answer               is_answered, after it was woken: take the answer
//! ```

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use bufferevent_sync::{Word, mutant};

/// How far a question has come.
///
/// | bits 31..2 | bit 1     | bit 0    |
/// |------------|-----------|----------|
/// | 0          | CANCELLED | ANSWERED |
///
/// * A1 `answer` and `cancel` are called once each at most, by the one answerer and the one asker.
/// * A2 The answer's place is the answerer's before `answer`; after it the asker's, unless `cancel` came first.
pub struct AnswerWord {
    word: Word,
}

const ANSWERED: u32 = 1;
const CANCELLED: u32 = 1 << 1;

/// What the answerer owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Answered {
    /// Wake the asker, who owns the answer now.
    Tell,
    /// Nobody wants it: drop the answer.
    Discard,
}

/// What the asker that cancels owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Cancelled {
    /// The answer is there: drop it.
    Owns,
    /// There is none; one that comes is dropped by who brings it.
    Leaves,
}

impl AnswerWord {
    /// A question that has no answer.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// The answer is in its place. For the answerer, once.
    pub fn answer(&self) -> Answered {
        // ORDER: RMW, against `cancel`: one of the two sees the other. Release pairs with `is_answered` and `cancel`: who
        // takes the answer sees it. loom: resolver::answer_is_had_once, loom: resolver::cancelled_answer_has_one_owner
        let old = self.word.set("answer", ANSWERED, AcqRel);
        debug_assert!(old & ANSWERED == 0, "A1: answered twice");
        if old & CANCELLED != 0 && !mutant::is("answer_ignores_cancel") {
            Answered::Discard
        } else {
            Answered::Tell
        }
    }

    /// Nobody wants the answer any more. For the asker, once.
    pub fn cancel(&self) -> Cancelled {
        // ORDER: Acquire pairs with `answer`: an answer that came first is seen, to be dropped.
        // loom: resolver::cancelled_answer_has_one_owner
        let old = self.word.set("answer_cancel", CANCELLED, AcqRel);
        debug_assert!(old & CANCELLED == 0, "A1: cancelled twice");
        if old & ANSWERED != 0 { Cancelled::Owns } else { Cancelled::Leaves }
    }

    /// Whether the answer is there. For the asker: it is theirs then.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        // ORDER: Acquire, pairs with `answer`. loom: resolver::answer_is_had_once
        self.word.load(mutant::ordering("answer_is_answered:relaxed", Acquire)) & ANSWERED != 0
    }

    /// Whether the answer is still wanted: stale at once, to spare the work of finding one.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        // ORDER: Relaxed: a hint.
        self.word.load(Relaxed) & CANCELLED != 0
    }
}

impl Default for AnswerWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for AnswerWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // ORDER: Relaxed: nothing follows from it.
        f.write_str(match self.word.load(Relaxed) {
            0 => "asked",
            ANSWERED => "answered",
            CANCELLED => "cancelled",
            _ => "answered and cancelled",
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_askers_unless_it_was_cancelled_before() {
        let word = AnswerWord::new();
        assert!(!word.is_answered() && !word.is_cancelled());
        assert_eq!(word.answer(), Answered::Tell);
        assert!(word.is_answered());
        assert_eq!(word.cancel(), Cancelled::Owns);
    }

    #[test]
    fn an_answer_to_a_cancelled_question_is_the_answerers_to_drop() {
        let word = AnswerWord::new();
        assert_eq!(word.cancel(), Cancelled::Leaves);
        assert!(word.is_cancelled());
        assert_eq!(word.answer(), Answered::Discard);
    }
}
