//! What a filter has made of what it took, as long as that is not sent: so that what is lost is told in the bytes of who wrote them.
//! Pure.
//!
//! * V1 `base.given` bytes were sent at least, and what was made of `base.taken` bytes is among them.
//! * V2 Both numbers of the pieces ascend. Of more than [`UNSENT_PIECES`] two are taken for one.

use std::collections::VecDeque;

use crate::defaults::UNSENT_PIECES;

/// So many bytes had been taken when so many had been given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) taken: u64,
    pub(super) given: u64,
}

/// What was taken and given, call by call.
#[derive(Debug, Default)]
pub(super) struct Given {
    base: Mark,
    /// Where the calls since then began. Made while what is below does not get rid of what it is given.
    #[allow(clippy::box_collection, reason = "an idle connection has one word of it, not four")]
    later: Option<Box<VecDeque<Mark>>>,
}

impl Given {
    /// A call begins, at `now`, and all that was given before is sent.
    #[inline]
    pub(super) fn begin(&mut self, now: Mark) {
        self.base = now;
        if self.later.is_some() {
            self.later = None;
        }
    }

    /// A call begins, at `now`, and of what was given before `sent` bytes are sent.
    pub(super) fn go_on(&mut self, now: Mark, sent: u64) {
        let later = self.later.get_or_insert_default();
        while let Some(reached) = later.front().copied().filter(|mark| mark.given <= sent) {
            self.base = reached;
            later.pop_front();
        }
        if later.back() != Some(&now) {
            later.push_back(now);
        }
        if later.len() > UNSENT_PIECES {
            let mut keep = false;
            later.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Of the bytes taken by `now`, of how many all is sent that was made of them, if `sent` bytes are. Of a piece that went in part
    /// in proportion, rounded down.
    pub(super) fn sent(&self, now: Mark, sent: u64) -> u64 {
        if sent >= now.given {
            return now.taken;
        }
        let mut from = self.base;
        let marks = self.later.iter().flat_map(|later| later.iter().copied());
        let to = marks.chain([now]).find(|mark| {
            let reached = mark.given <= sent;
            if reached {
                from = *mark;
            }
            !reached
        });
        let to = to.unwrap_or(now);
        let (made, of) = (to.given.saturating_sub(from.given), to.taken.saturating_sub(from.taken));
        let part = u128::from(sent.saturating_sub(from.given)) * u128::from(of) / u128::from(made.max(1));
        from.taken + u64::try_from(part).unwrap_or(of).min(of)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use super::*;

    fn mark(taken: u64, given: u64) -> Mark {
        Mark { taken, given }
    }

    #[test]
    fn what_is_sent_is_counted_back_piece_by_piece() {
        let mut given = Given::default();
        given.begin(mark(100, 150));
        given.go_on(mark(200, 400), 160);
        given.go_on(mark(200, 424), 160);
        let sent = |at| given.sent(mark(250, 500), at);
        assert_eq!([sent(150), sent(275), sent(399), sent(400)], [100, 150, 199, 200]);
        assert_eq!([sent(410), sent(424), sent(423), sent(462), sent(499)], [200, 200, 200, 225, 249]);
        assert_eq!([sent(500), sent(900), sent(0)], [250, 250, 100]);
    }

    #[test]
    fn what_carries_no_data_is_not_missed() {
        let mut given = Given::default();
        given.begin(mark(10, 32));
        assert_eq!(given.sent(mark(10, 56), 32), 10);
        given.go_on(mark(20, 64), 40);
        assert_eq!(given.sent(mark(20, 88), 63), 19);
        assert_eq!(given.sent(mark(20, 88), 64), 20);
    }

    #[test]
    fn pieces_are_let_go_as_they_are_sent_and_are_no_more_than_so_many() {
        let mut given = Given::default();
        given.begin(mark(0, 0));
        for call in 1..10_000 {
            given.go_on(mark(call * 10, call * 20), 0);
            assert!(given.later.as_ref().is_some_and(|later| later.len() <= UNSENT_PIECES));
            assert_eq!(given.sent(mark(call * 10, call * 20), call * 5), call * 5 / 2);
        }
        given.go_on(mark(100_000, 200_000), 190_000);
        let later = given.later.as_ref().unwrap();
        assert!(given.base.given <= 190_000 && later.iter().all(|mark| mark.given > 190_000));
        assert_eq!(later.back(), Some(&mark(100_000, 200_000)));
        given.begin(mark(100_000, 200_000));
        assert!(given.later.is_none());
    }
}
