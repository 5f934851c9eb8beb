//! A bufferevent under a limit.

use bufferevent_runtime::BaseHandle;

use super::{
    limit::{MemoryLimit, Waiter},
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
}

impl Member {
    pub(crate) fn new(limit: &MemoryLimit) -> Self {
        limit.join();
        Self { limit: limit.clone(), held: 0, ticket: None, base: None }
    }

    /// Whether it must not read, as far as it was told.
    pub(crate) fn is_held_back(&self, held: usize) -> bool {
        self.ticket.is_some() && self.limit.holds_back(held)
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
        if let Some(ticket) = self.ticket {
            self.limit.moved(ticket, Waiter { base: home.base.clone(), key: home.key });
        }
    }

    /// After a run, when it holds `held` bytes.
    pub(crate) fn count(&mut self, held: usize, home: &Home) {
        if held != self.held {
            let base = self.base.get_or_insert_with(|| home.base.clone());
            self.limit.count(self.held, held, base);
            self.held = held;
        }
        if !self.limit.holds_back(held) {
            self.ticket.take().into_iter().for_each(|ticket| self.limit.give_up(ticket));
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.limit.leave();
        if let Some(base) = &self.base {
            self.limit.count(self.held, 0, base);
        }
        self.ticket.take().into_iter().for_each(|ticket| self.limit.give_up(ticket));
    }
}
