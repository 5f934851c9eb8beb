//! Operations given to a bufferevent whose strand is busy: applied in order before its next callback.

use std::collections::VecDeque;

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_sync::Mutex;

use crate::{
    bufferevent::{Bufferevent, Room},
    defaults::MAILBOX,
    error::Error,
    event::Trigger,
    interest::Interest,
};

/// One operation.
#[derive(Debug)]
pub(crate) enum Op {
    Write(Evbuffer),
    Enable(Interest),
    Disable(Interest),
    Trigger(Interest, Trigger),
    TriggerEvent(u16, Trigger),
    Close,
    Abort,
}

/// The operations that wait. Leaf lock: nothing is called under it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Synced {
    ops: VecDeque<Op>,
    /// Bytes in the writes among them.
    bytes: usize,
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
    /// Appends an operation, unless the mailbox is full. Close and abort always fit.
    #[allow(clippy::result_large_err, reason = "what is refused comes back, and that is the buffer itself")]
    pub(crate) fn push(&self, op: Op, bounds: Bounds) -> Result<Room, (Error, Op)> {
        let mut synced = self.synced.lock();
        let last = matches!(op, Op::Close | Op::Abort);
        if !last && synced.ops.len() >= MAILBOX {
            return Err((Error::MailboxFull { limit: MAILBOX }, op));
        }
        if let Op::Write(data) = &op {
            let queued = synced.bytes;
            if let Some(cap) = bounds.cap.filter(|&cap| queued.saturating_add(data.len()) > cap) {
                synced.told_full = true;
                return Err((Error::OutputFull { queued, cap }, op));
            }
            synced.bytes += data.len();
        }
        synced.ops.push_back(op);
        if bounds.high.is_none_or(|high| synced.bytes < high) {
            return Ok(Room::Some);
        }
        synced.told_full = true;
        Ok(Room::Full)
    }

    /// Applies what waits, in order. The caller holds the strand.
    pub(crate) fn apply(&self, bufferevent: &mut Bufferevent) {
        let Synced { ops, bytes, told_full } = std::mem::take(&mut *self.synced.lock());
        if ops.is_empty() {
            return;
        }
        // An accepted byte is never lost: what was admitted here may pass the output's cap, by the mailbox's own at most.
        let cap = bufferevent.output.limit();
        bufferevent.output.set_limit(None);
        ops.into_iter().for_each(|op| op.apply(bufferevent));
        bufferevent.output.set_limit(cap);
        bufferevent.told.output_full |= told_full && !bufferevent.output.is_empty();
        debug_assert!(bytes <= bufferevent.output.len() || bufferevent.is_closing());
    }
}

impl Op {
    pub(crate) fn apply(self, bufferevent: &mut Bufferevent) {
        match self {
            Op::Write(mut data) => {
                if !bufferevent.is_closing() {
                    let all = data.len();
                    let moved = data.pass_on(&mut bufferevent.output, all);
                    debug_assert!(moved.is_ok(), "its limit is off while the mailbox is applied");
                    let _ = bufferevent.room();
                }
            }
            Op::Enable(directions) => bufferevent.enable(directions),
            Op::Disable(directions) => bufferevent.disable(directions),
            Op::Trigger(directions, how) => bufferevent.trigger(directions, how),
            Op::TriggerEvent(bits, how) => bufferevent.trigger_event(bits, how),
            Op::Close => bufferevent.close(),
            Op::Abort => bufferevent.abort(),
        }
    }
}
