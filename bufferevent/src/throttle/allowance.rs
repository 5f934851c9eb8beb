//! What a bufferevent may move before it asks its limits, and what it has moved: one word a direction counts both, so that a read
//! or write that need not ask costs no more than being counted. Pure.
//!
//! * W1 Without limits a direction may move more than anybody can; what is missing of that has moved.
//! * W2 Limits lend what is leased, as long as its terms hold, and nothing where each operation is to ask. They know what had
//!   moved when they lent, so what has moved since is told from what is left.

use bufferevent_ratelimit::{Nanos, Terms};

use crate::interest::Direction;

/// Bytes that may move before the limits are asked.
#[derive(Debug)]
pub(crate) struct Allowance {
    left: [u64; 2],
}

impl Default for Allowance {
    fn default() -> Self {
        Self { left: [UNLIMITED; 2] }
    }
}

impl Allowance {
    #[inline(always)]
    pub(crate) fn left(&self, direction: Direction) -> u64 {
        self.left[direction.index()]
    }

    /// So many bytes have moved. False, and nothing is changed: that is more than is left.
    #[inline(always)]
    pub(crate) fn spend(&mut self, direction: Direction, bytes: u64) -> bool {
        let left = &mut self.left[direction.index()];
        let rest = left.checked_sub(bytes);
        rest.map(|rest| *left = rest).is_some()
    }
}

/// What limits have lent in one direction.
#[derive(Debug)]
pub(crate) struct Loan {
    /// Bytes that had moved when it was made.
    moved: u64,
    bytes: u64,
    terms: Terms,
}

/// As of limits that do not exist yet.
impl Default for Loan {
    fn default() -> Self {
        Self { moved: 0, bytes: UNLIMITED, terms: Terms::default() }
    }
}

impl Loan {
    /// Makes it, in place of what was [taken back](Loan::take_back); `lend` gives the bytes, and on what terms.
    pub(crate) fn make(
        &mut self,
        direction: Direction,
        allowance: &mut Allowance,
        lend: impl FnOnce(&mut Terms) -> u64,
    ) {
        let left = &mut allowance.left[direction.index()];
        (self.moved, self.bytes) = (UNLIMITED - *left, lend(&mut self.terms));
        *left = self.bytes;
    }

    /// Ends it: nothing is limited then. Answers what of it was used.
    pub(crate) fn take_back(&mut self, direction: Direction, allowance: &mut Allowance) -> u64 {
        let used = self.used(direction, allowance);
        self.moved += used;
        self.bytes = UNLIMITED - self.moved;
        allowance.left[direction.index()] = self.bytes;
        used
    }

    /// Whether it may be used.
    #[inline(always)]
    pub(crate) fn holds(&self, now: Nanos) -> bool {
        self.terms.hold(now)
    }

    /// Bytes of it that have moved.
    pub(crate) fn used(&self, direction: Direction, allowance: &Allowance) -> u64 {
        self.bytes - allowance.left(direction)
    }

    /// Bytes that have moved in all.
    pub(crate) fn moved(&self, direction: Direction, allowance: &Allowance) -> u64 {
        self.moved + self.used(direction, allowance)
    }
}

/// Bytes that have moved of one that has no limits.
pub(crate) fn moved_freely(direction: Direction, allowance: &Allowance) -> u64 {
    UNLIMITED - allowance.left(direction)
}

const UNLIMITED: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Direction = Direction::Read;

    #[test]
    fn one_word_tells_what_has_moved_with_limits_and_without() {
        let (mut allowance, mut loan) = (Allowance::default(), Loan::default());
        assert!(allowance.spend(READ, 100));
        assert_eq!(moved_freely(READ, &allowance), 100);

        assert_eq!(loan.take_back(READ, &mut allowance), 100, "of what nobody limited");
        loan.make(READ, &mut allowance, |_| 30);
        assert!(allowance.spend(READ, 20) && !allowance.spend(READ, 11));
        assert_eq!((allowance.left(READ), loan.moved(READ, &allowance)), (10, 120));

        assert_eq!(loan.take_back(READ, &mut allowance), 20);
        assert!(allowance.spend(READ, 5));
        assert_eq!((moved_freely(READ, &allowance), moved_freely(Direction::Write, &allowance)), (125, 0));
    }

    #[test]
    fn what_is_lent_on_no_terms_is_not_to_be_used() {
        let (mut allowance, mut loan) = (Allowance::default(), Loan::default());
        loan.make(READ, &mut allowance, |_| 30);
        assert!(!loan.holds(Nanos(0)));
    }
}
