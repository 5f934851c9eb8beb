//! A bufferevent under a limit.

use std::sync::Arc;

use bufferevent_runtime::BaseHandle;

use super::{
    idle::Holding,
    limit::{MemoryLimit, Number, Waiter},
    waiting::Ticket,
};
use crate::bufferevent::Home;

/// What a member knows of itself. Dropped, it holds nothing.
pub(crate) struct Member {
    limit: MemoryLimit,
    /// As it was counted last.
    held: usize,
    /// It waits for memory, or was let out and has not had its turn.
    ticket: Option<Ticket>,
    /// Where it lives; `None` before it has held anything.
    base: Option<BaseHandle>,
    /// Bytes it had moved then.
    moved: u64,
    /// What it writes down, since it held something for the first time; under its number.
    holding: Option<(Number, Arc<Holding>)>,
}

impl Member {
    pub(crate) fn new(limit: &MemoryLimit) -> Self {
        limit.join();
        Self { limit: limit.clone(), held: 0, ticket: None, base: None, moved: 0, holding: None }
    }

    /// Whether it must not read, as far as it was told.
    pub(crate) fn is_held_back(&self, held: usize) -> bool {
        self.ticket.is_some() && self.limit.holds_back(held)
    }

    /// Whether a read is to be asked for.
    #[inline]
    pub(crate) fn asks(&self) -> bool {
        !self.limit.is_calm()
    }

    /// Whether there is nothing to count, as nearly always: it holds `held` bytes as before, waits for nothing, and nobody
    /// looks at it.
    #[inline]
    pub(crate) fn is_counted(&self, held: usize) -> bool {
        held == self.held && self.ticket.is_none() && self.holding.is_none()
    }

    /// Before a read, when it holds `held` bytes: whether it must not read, but waits from now on.
    pub(crate) fn waits(&mut self, held: usize, home: &Home) -> bool {
        if !self.limit.holds_back(held) {
            return false;
        }
        let waiting = self.limit.wait(self.ticket, Waiter { base: home.base.clone(), key: home.key });
        self.ticket = waiting.or(self.ticket);
        waiting.is_some()
    }

    /// It lives at `home` now.
    pub(crate) fn moved(&mut self, home: &Home) {
        if let Some(base) = &mut self.base {
            *base = home.base.clone();
        }
        if let Some((number, _)) = &self.holding {
            self.limit.holder_moved(*number, Waiter { base: home.base.clone(), key: home.key });
        }
        if let Some(ticket) = self.ticket {
            self.limit.moved(ticket, Waiter { base: home.base.clone(), key: home.key });
        }
    }

    /// After a run, or a guard, when it holds `held` bytes and has moved `moved` in all. True: it is to end, so that others have memory.
    pub(crate) fn count(&mut self, held: usize, moved: u64, home: &Home) -> bool {
        self.write_down(held, moved, home);
        if held != self.held {
            let base = self.base.get_or_insert_with(|| home.base.clone());
            self.limit.count(self.held, held, base);
            self.held = held;
        }
        if !self.limit.holds_back(held) {
            self.ticket.take().into_iter().for_each(|ticket| self.limit.give_up(ticket));
        }
        self.holding.as_ref().is_some_and(|(_, holding)| holding.is_condemned())
    }

    /// Before the limit counts it: who crosses a mark by that may be looked at.
    fn write_down(&mut self, held: usize, moved: u64, home: &Home) {
        if self.holding.is_none() && held > 0 {
            self.holding = self.limit.enroll(|| Waiter { base: home.base.clone(), key: home.key });
        }
        if let Some((_, holding)) = &self.holding {
            holding.set_held(held);
            // What is taken out of the input, or put into the output, is a sign of life too.
            if std::mem::replace(&mut self.moved, moved) != moved || held != self.held {
                holding.has_moved(home.base.now());
            }
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.limit.leave();
        if let Some(base) = &self.base {
            self.limit.count(self.held, 0, base);
        }
        self.holding.take().into_iter().for_each(|(number, _)| self.limit.withdraw(number));
        self.ticket.take().into_iter().for_each(|ticket| self.limit.give_up(ticket));
    }
}
