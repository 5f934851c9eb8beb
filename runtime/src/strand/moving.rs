//! A strand's home, and the move to another.

use std::{fmt, sync::Arc};

use super::{AnyStrand, Body, Strand, enqueue};
use crate::{
    base::{
        BaseHandle,
        shared::{BaseShared, Message},
    },
    clock::Time,
    error::{Error, Result},
    slots::Key,
};

/// Where a strand lives, and when its timer is to fire. Under the seat's leaf.
pub(super) struct Home {
    pub(super) base: Arc<BaseShared>,
    pub(super) key: Key,
    deadline: Option<Time>,
    /// A message to the base is under way, which brings what is wanted when it arrives.
    sent: bool,
}

impl Home {
    pub(super) fn new(base: Arc<BaseShared>, key: Key) -> Self {
        Self { base, key, deadline: None, sent: false }
    }

    pub(super) fn is(&self, base: &BaseShared, key: Key) -> bool {
        self.key == key && std::ptr::eq(&*self.base, base)
    }

    /// Notes what is wanted. `Some`: tell that base.
    pub(super) fn want(&mut self, deadline: Option<Time>) -> Option<(Arc<BaseShared>, Key)> {
        self.deadline = deadline;
        let tell = !std::mem::replace(&mut self.sent, true);
        tell.then(|| (Arc::clone(&self.base), self.key))
    }

    /// The same, unless that or an earlier one is wanted already.
    pub(super) fn want_by(&mut self, deadline: Time) -> Option<(Arc<BaseShared>, Key)> {
        let later = self.deadline.is_none_or(|wanted| deadline < wanted);
        later.then(|| self.want(Some(deadline))).flatten()
    }

    pub(super) fn wanted(&mut self, base: &BaseShared, key: Key) -> Option<Option<Time>> {
        if !self.is(base, key) {
            return None;
        }
        self.sent = false;
        Some(self.deadline)
    }

    /// So a deadline is met once, though on its way from one base to another both may have a timer for it.
    pub(super) fn take_due(&mut self, base: &BaseShared, key: Key, now: Time) -> bool {
        let due = self.is(base, key) && self.deadline.is_some_and(|deadline| deadline <= now);
        if due {
            self.deadline = None;
        }
        due
    }

    /// Changes to another base, and takes the deadline along. Answers the old home, and whether to tell the new one of a
    /// deadline.
    fn change(&mut self, base: Arc<BaseShared>, key: Key) -> (Self, bool) {
        let sent = self.deadline.is_some();
        let new = Self { base, key, deadline: self.deadline, sent };
        (std::mem::replace(self, new), sent)
    }
}

/// The right to move a strand: only who holds it has that.
pub struct Seating<'a, B: Body> {
    strand: &'a Arc<Strand<B>>,
}

impl<'a, B: Body> Seating<'a, B> {
    pub(super) fn of(strand: &'a Arc<Strand<B>>) -> Self {
        Self { strand }
    }

    /// The strand itself.
    pub fn strand(&self) -> &'a Arc<Strand<B>> {
        self.strand
    }

    /// Moves the strand to `target`, its timer included. Nothing if it lives there.
    ///
    /// * `register` does what the body owes for the key it gets: it has the target's selector poll under that key, calls
    ///   its argument, which moves the strand, and takes its part back if that fails.
    /// * `may` is asked at the last moment, under a leaf lock.
    ///
    /// After it the strand runs with [`Reasons::MOVED`](crate::Reasons::MOVED): events of `target` that came before it
    /// knew the strand were dropped. A run in which the strand moves must end soon, see
    /// [`Held::is_interrupted`](super::Held::is_interrupted); it goes on at the target.
    /// # Errors
    /// [`Error::Closed`] if `target` or the strand is gone, or `may` says no; [`Error::Unsupported`] if the clock of
    /// `target` is another; what `register` answers. Nothing is changed then.
    pub fn move_to(
        &self,
        target: &BaseHandle,
        may: impl Fn() -> bool,
        register: impl FnOnce(Key, &mut dyn FnMut() -> Result<()>) -> Result<()>,
    ) -> Result<()> {
        let (old, new) = (self.strand.home(), &target.shared);
        if self.strand.word.is_dead() {
            return Err(Error::Closed);
        }
        if Arc::ptr_eq(&old, new) {
            return Ok(());
        }
        old.may_move_to(new)?;
        let key = new.keys.reserve();
        let mut told = false;
        let moved = register(key, &mut || {
            self.tell(new, key)?;
            told = true;
            self.settle(new, key, &may)
        });
        if !told {
            new.keys.release(key);
        }
        moved
    }

    /// Tells the new base. The key is its own from now on.
    fn tell(&self, new: &BaseShared, key: Key) -> Result<()> {
        let strand = Arc::clone(self.strand) as Arc<dyn AnyStrand>;
        new.strand_added(&*strand);
        if let Err(Message::Settle(_, strand)) = new.send_internal(Message::Settle(key, strand)) {
            new.strand_removed(&*strand);
            return Err(Error::Closed);
        }
        Ok(())
    }

    fn settle(&self, new: &Arc<BaseShared>, key: Key, may: impl Fn() -> bool) -> Result<()> {
        let change = |home: &mut Home| home.change(Arc::clone(new), key);
        let Some((old, arm)) = self.strand.seat.move_to(new.place.word(), may, change) else {
            new.forget(key);
            return Err(Error::Closed);
        };
        if arm {
            // A base that is gone fires no timers.
            let _ = new.send_internal(Message::Arm(key));
        }
        old.base.forget(old.key);
        if self.strand.word.replace() {
            // Its token may be with the old base, which need not look at that for long.
            enqueue(Arc::clone(self.strand) as Arc<dyn AnyStrand>);
        }
        Ok(())
    }
}

impl<B: Body> Clone for Seating<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Body> Copy for Seating<'_, B> {}

impl<B: Body> fmt::Debug for Seating<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seating").field(self.strand).finish()
    }
}
