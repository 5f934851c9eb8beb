//! Operations given to a bufferevent whose strand is busy: applied in order before its next callback.

use std::{collections::VecDeque, io, num::NonZeroU32};

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_ratelimit::TokenBucketConfig;
use bufferevent_runtime::BaseHandle;
use bufferevent_sync::Leaf;

use crate::{
    bufferevent::{Bufferevent, Closing, Room},
    defaults::MAILBOX,
    error::Error,
    event::Trigger,
    interest::{Direction, Interest},
    throttle::RateLimitGroup,
};

/// One operation.
#[derive(Debug)]
pub(crate) enum Op {
    Write(Evbuffer),
    Enable(Interest),
    Disable(Interest),
    Trigger(Interest, Trigger),
    TriggerEvent(u16, Trigger),
    Shutdown(Direction),
    Limit(Option<TokenBucketConfig>),
    Join(RateLimitGroup, NonZeroU32),
    Leave,
    /// For who holds the strand: it is not the bufferevent's own to do.
    SetBase(BaseHandle),
    /// What the other end of a pipe asks: it is not in the queue, and always fits.
    Asked(Asked),
    Close(Closing),
    /// Behind these bytes, whatever room there is.
    CloseAfter(Evbuffer, Closing),
    Abort,
}

/// What the other end of a pipe asks for once and does not try again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// To read again.
    pub(crate) resume: bool,
    /// To end the side towards the peer, behind all that was written.
    pub(crate) end: bool,
    /// To fail in what it sends: what carries it takes nothing more.
    pub(crate) fail: bool,
}

/// The operations that wait. Leaf lock: nothing is called under it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    synced: Leaf<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    takes: Takes,
    mail: Mail,
}

/// What goes in: less and less, so that no more than one close and one abort ever wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Takes {
    #[default]
    All,
    /// There was a close.
    Abort,
    /// There was an abort, or the bufferevent has ended.
    Nothing,
}

#[derive(Debug, Default)]
struct Mail {
    ops: VecDeque<Op>,
    /// Comes after them.
    asked: Asked,
    /// Bytes in the writes among them.
    bytes: usize,
    /// Those in memory.
    held: usize,
    /// Somebody was told that there is no room, and waits for [`Event::Drained`](crate::Event::Drained).
    told_full: bool,
}

/// What bounds the bytes of a mailbox: the output's marks when it was started.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// From here on a write is told [`Room::Full`].
    pub(crate) high: Option<usize>,
    /// Past this it is refused.
    pub(crate) cap: Option<usize>,
}

impl Mailbox {
    /// Appends an operation, unless the mailbox is full or closed. Close, abort and what a pipe asks always fit.
    #[allow(clippy::result_large_err, reason = "what is refused comes back, and that is the buffer itself")]
    pub(crate) fn push(&self, op: Op, bounds: Bounds) -> Result<Room, (Error, Op)> {
        let Synced { takes, mail } = &mut *self.synced.lock();
        let then = match (&op, *takes) {
            (Op::Abort, Takes::All | Takes::Abort) => Takes::Nothing,
            (Op::Close(_) | Op::CloseAfter(..), Takes::All) => Takes::Abort,
            (_, Takes::All) => Takes::All,
            (_, Takes::Abort | Takes::Nothing) => return Err((Error::Closed, op)),
        };
        if let Op::Asked(Asked { resume, end, fail }) = op {
            mail.asked.resume |= resume;
            mail.asked.end |= end;
            mail.asked.fail |= fail;
            return Ok(Room::Some);
        }
        if then == Takes::All && mail.ops.len() >= MAILBOX && !mail.joins(&op) {
            mail.told_full |= matches!(op, Op::Write(_));
            return Err((Error::MailboxFull { limit: MAILBOX }, op));
        }
        if let Op::Write(data) = &op {
            let (queued, more) = (mail.held, data.len() - data.unloaded());
            if let Some(cap) = bounds.cap.filter(|&cap| more > cap) {
                return Err((Error::TooLarge { more, cap }, op));
            }
            if let Some(cap) = bounds.cap.filter(|&cap| queued.saturating_add(more) > cap) {
                mail.told_full = true;
                return Err((Error::OutputFull { more, queued, cap }, op));
            }
            mail.held += more;
            mail.bytes = mail.bytes.saturating_add(data.len());
        }
        mail.add(op);
        *takes = then;
        if bounds.high.is_none_or(|high| mail.bytes < high) {
            return Ok(Room::Some);
        }
        mail.told_full = true;
        Ok(Room::Full)
    }

    /// Operations that wait.
    pub(crate) fn len(&self) -> usize {
        self.synced.lock().mail.ops.len()
    }

    /// Applies what waits, in order, and closes the mailbox of one that has ended. The caller holds the strand, and moves it
    /// to the base that this answers.
    #[must_use]
    pub(crate) fn apply(&self, bufferevent: &mut Bufferevent) -> Option<BaseHandle> {
        let mail = std::mem::take(&mut self.synced.lock().mail);
        let base = mail.apply(bufferevent);
        if bufferevent.has_ended() {
            self.close(bufferevent);
        }
        base
    }

    /// Applies what waits, for the last time. The caller holds the strand.
    ///
    /// Under the mailbox's lock, so that a write that races with the end is either among what is left, or refused.
    pub(crate) fn close(&self, bufferevent: &mut Bufferevent) {
        let mail = {
            let mut synced = self.synced.lock();
            synced.takes = Takes::Nothing;
            std::mem::take(&mut synced.mail)
        };
        let _it_ends_here = mail.apply(bufferevent);
    }
}

impl Mail {
    /// Whether `op` takes no place of its own: a write behind a write.
    fn joins(&self, op: &Op) -> bool {
        matches!((self.ops.back(), op), (Some(Op::Write(_)), Op::Write(_)))
    }

    fn add(&mut self, op: Op) {
        match (self.ops.back_mut(), op) {
            (Some(Op::Write(before)), Op::Write(mut data)) => {
                let all = data.len();
                let moved = data.pass_on(before, all);
                debug_assert!(moved.is_ok(), "a buffer in the mailbox has no limit of its own");
            }
            (_, op) => self.ops.push_back(op),
        }
    }

    fn apply(self, bufferevent: &mut Bufferevent) -> Option<BaseHandle> {
        let Self { ops, asked, bytes, told_full, .. } = self;
        if ops.is_empty() {
            asked.apply(bufferevent);
            return None;
        }
        let mut base = None;
        // An accepted byte is never lost: what was admitted here may pass the output's cap, by the mailbox's own at most.
        let cap = bufferevent.output.limit();
        bufferevent.output.set_limit(None);
        for op in ops {
            match op {
                Op::SetBase(to) => base = Some(to),
                // What was asked was asked before.
                Op::Close(bounds) => bufferevent.close_with(asked.heeded(bounds)),
                Op::CloseAfter(last, bounds) => bufferevent.close_behind(last, asked.heeded(bounds)),
                op => op.apply(bufferevent),
            }
        }
        bufferevent.output.set_limit(cap);
        asked.apply(bufferevent);
        if told_full && !bufferevent.is_closing() && bufferevent.output.is_empty() {
            bufferevent.tell_drained();
        }
        bufferevent.told.output_full |= told_full && !bufferevent.output.is_empty();
        debug_assert!(bytes <= bufferevent.output.len());
        base
    }
}

impl Asked {
    const NOTHING: Self = Self { resume: false, end: false, fail: false };
    pub(crate) const RESUME: Self = Self { resume: true, ..Self::NOTHING };
    pub(crate) const END: Self = Self { end: true, ..Self::NOTHING };
    pub(crate) const FAIL: Self = Self { fail: true, ..Self::NOTHING };

    pub(crate) fn apply(self, bufferevent: &mut Bufferevent) {
        if self.resume {
            bufferevent.enable(Interest::READ);
        }
        // It fails only on what is closed, or has no connection to end.
        if self.end && bufferevent.shutdown(Direction::Write).is_err() {
            bufferevent.end_though_closing();
        }
        if self.fail && !bufferevent.is_closing() {
            bufferevent.fail(Direction::Write, io::Error::from(io::ErrorKind::BrokenPipe));
        }
    }

    /// A close behind it: who is to end its side is not cut short.
    fn heeded(self, bounds: Closing) -> Closing {
        Closing { cut_short: bounds.cut_short && !self.end, ..bounds }
    }
}

impl Op {
    pub(crate) fn apply(self, bufferevent: &mut Bufferevent) {
        match self {
            Op::Write(mut data) => {
                // Also when it is closing: it was accepted before. What cannot be sent any more is told as unsent.
                let all = data.len();
                let moved = data.pass_on(&mut bufferevent.output, all);
                debug_assert!(moved.is_ok(), "its limit is off while the mailbox is applied");
                let _ = bufferevent.room();
            }
            Op::Enable(directions) => bufferevent.enable(directions),
            Op::Disable(directions) => bufferevent.disable(directions),
            Op::Trigger(directions, how) => bufferevent.trigger(directions, how),
            Op::TriggerEvent(bits, how) => bufferevent.trigger_event(bits, how),
            // It fails only on what is closed, or has no connection to end.
            Op::Shutdown(direction) => drop(bufferevent.shutdown(direction)),
            Op::Limit(config) => bufferevent.set_rate_limit(config.as_ref()),
            // It fails only on what has ended, or has moved to a base of another clock since.
            Op::Join(group, weight) => drop(bufferevent.join_rate_limit_group_weighted(&group, weight)),
            Op::Leave => bufferevent.leave_rate_limit_group(),
            Op::SetBase(_) => debug_assert!(false, "the holder of the strand moves it"),
            Op::Asked(asked) => asked.apply(bufferevent),
            Op::Close(bounds) => bufferevent.close_with(bounds),
            Op::CloseAfter(last, bounds) => bufferevent.close_behind(last, bounds),
            Op::Abort => bufferevent.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(mailbox: &Mailbox, op: Op) -> bool {
        matches!(mailbox.push(op, Bounds::default()), Err((Error::Closed, _)))
    }

    #[test]
    fn one_close_and_one_abort_wait_at_most_and_nothing_behind_them() {
        let mailbox = Mailbox::default();
        mailbox.push(Op::Close(Closing::default()), Bounds::default()).unwrap();
        assert!(
            is_refused(&mailbox, Op::Close(Closing::default()))
                && is_refused(&mailbox, Op::Enable(Interest::BOTH))
        );
        mailbox.push(Op::Abort, Bounds::default()).unwrap();
        assert!([Op::Abort, Op::Close(Closing::default())].into_iter().all(|op| is_refused(&mailbox, op)));
        let refused = mailbox.push(Op::Write(Evbuffer::from(b"back".to_vec())), Bounds::default());
        assert!(matches!(refused, Err((Error::Closed, Op::Write(data))) if data.to_vec() == b"back"));
        assert_eq!(mailbox.len(), 2);
    }

    #[test]
    fn one_close_and_one_abort_always_fit() {
        let mailbox = Mailbox::default();
        while mailbox.push(Op::Enable(Interest::READ), Bounds::default()).is_ok() {}
        mailbox.push(Op::Close(Closing::default()), Bounds::default()).unwrap();
        mailbox.push(Op::Abort, Bounds::default()).unwrap();
        assert_eq!(mailbox.len(), MAILBOX + 2);
    }

    #[test]
    fn writes_behind_each_other_take_one_place() {
        let mailbox = Mailbox::default();
        for _ in 0..5 * MAILBOX {
            mailbox.push(Op::Write(Evbuffer::from(b"hi".to_vec())), Bounds::default()).unwrap();
        }
        assert_eq!(mailbox.len(), 1);
        mailbox.push(Op::Enable(Interest::READ), Bounds::default()).unwrap();
        mailbox.push(Op::Write(Evbuffer::from(b"after".to_vec())), Bounds::default()).unwrap();
        assert_eq!(mailbox.len(), 3, "in order");
        let mail = std::mem::take(&mut mailbox.synced.lock().mail);
        assert_eq!(mail.bytes, 10 * MAILBOX + 5);
        assert!(matches!(&mail.ops[0], Op::Write(data) if data.len() == 10 * MAILBOX));
    }
}
