//! A THREADSAFE bufferevent as any thread reaches it: handles and guards.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bufferevent_evbuffer::{Evbuffer, transport::Transport};
use bufferevent_runtime::{BaseHandle, Reasons, Seating, Strand, StrandGuard, Time};

use crate::{
    bufferevent::{Bufferevent, Closing, Room},
    error::{Error, Result},
    event::{Closed, Trigger},
    handler::{Handler, UnlockedHandler, discard},
    interest::{Direction, Interest},
    mailbox::{Asked, Op},
    shared::{Slot, Stack},
};

/// A THREADSAFE bufferevent, from any thread. Cheap to clone; neither keeps it open nor closes it when dropped.
///
/// [`Handle::lock`] gives every operation, several as one, and waits for a callback that runs. The operations of the
/// handle itself never wait: if the bufferevent is busy they go to its mailbox and are applied, in order, before its
/// next callback and before anybody else gets the lock. The marks and the cap of the output bound the mailbox by
/// itself, so that output and mailbox together hold twice the cap at most.
/// # Libevent
/// `struct bufferevent *` with `BEV_OPT_THREADSAFE`.
#[derive(Clone)]
pub struct Handle {
    strand: Arc<Strand<Stack>>,
}

impl Handle {
    pub(crate) fn new(strand: Arc<Strand<Stack>>) -> Self {
        Self { strand }
    }

    /// Locks the bufferevent, waiting for the callback that may be running.
    ///
    /// From any thread, and from unlocked callbacks.
    /// # Errors
    /// [`Error::WouldDeadlock`] if this thread already holds a strand, as every callback of a THREADSAFE bufferevent does
    /// unless it is unlocked. [`Error::Closed`] once it has ended.
    /// # Libevent
    /// `bufferevent_lock`.
    #[doc(alias = "bufferevent_lock")]
    pub fn lock(&self) -> Result<Guard<'_>> {
        Guard::new(self.strand.lock()?)
    }

    /// Locks the bufferevent unless somebody holds it, `None` then. Never waits; allowed anywhere.
    ///
    /// # Errors
    /// [`Error::Closed`] once it has ended.
    pub fn try_lock(&self) -> Result<Option<Guard<'_>>> {
        self.strand.try_lock().map(Guard::new).transpose()
    }

    /// Appends a copy of `data` to the output. Never waits for a callback.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::OutputFull`] or [`Error::MailboxFull`] if there is no room. Nothing is
    /// taken then, and [`Event::Drained`](crate::Event::Drained) tells when to try again. [`Error::TooLarge`] if it is more than
    /// the cap by itself: it never fits. [`Error::Unlinked`] if it is half of a pair and the other is gone, unless it is busy.
    /// # Libevent
    /// `bufferevent_write`.
    #[doc(alias = "bufferevent_write")]
    pub fn write(&self, data: &[u8]) -> Result<Room> {
        self.check_open()?;
        if let Some(mut guard) = self.try_lock()? {
            return guard.write(data);
        }
        let mut buffer = Evbuffer::new();
        buffer.fill(data)?;
        self.mail(Op::Write(buffer)).map_err(|(error, _)| error)
    }

    /// Moves `data` to the output. Never waits for a callback.
    ///
    /// # Errors
    /// As [`Handle::write`]; `data` comes back.
    /// # Libevent
    /// `bufferevent_write_buffer`.
    #[doc(alias = "bufferevent_write_buffer")]
    #[allow(clippy::result_large_err, reason = "what is refused comes back, and that is the buffer itself")]
    pub fn write_buffer(&self, mut data: Evbuffer) -> Result<Room, (Error, Evbuffer)> {
        if let Err(error) = self.check_open() {
            return Err((error, data));
        }
        match self.try_lock() {
            Ok(Some(mut guard)) => guard.write_buffer(&mut data).map_err(|error| (error, data)),
            Ok(None) => match self.mail(Op::Write(data)) {
                Ok(room) => Ok(room),
                Err((error, Op::Write(data))) => Err((error, data)),
                Err((error, _)) => Err((error, Evbuffer::new())),
            },
            Err(error) => Err((error, data)),
        }
    }

    /// [`Bufferevent::enable`], never waiting for a callback.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    #[doc(alias = "bufferevent_enable")]
    pub fn enable(&self, directions: Interest) -> Result<()> {
        self.apply(Op::Enable(directions))
    }

    /// [`Bufferevent::disable`], never waiting for a callback: when this returns no callback of these directions starts
    /// any more; one that runs may finish.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    #[doc(alias = "bufferevent_disable")]
    pub fn disable(&self, directions: Interest) -> Result<()> {
        self.apply(Op::Disable(directions))
    }

    /// [`Bufferevent::trigger`], never waiting for a callback; the callback runs on a worker.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    #[doc(alias = "bufferevent_trigger")]
    pub fn trigger(&self, directions: Interest, how: Trigger) -> Result<()> {
        self.apply(Op::Trigger(directions, how))
    }

    /// [`Bufferevent::trigger_event`], never waiting for a callback; the callback runs on a worker.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`].
    #[doc(alias = "bufferevent_trigger_event")]
    pub fn trigger_event(&self, bits: u16, how: Trigger) -> Result<()> {
        self.apply(Op::TriggerEvent(bits, how))
    }

    /// [`Bufferevent::close`], never waiting for a callback. Nothing if it was called before.
    #[doc(alias = "bufferevent_free")]
    pub fn close(&self) {
        self.close_with(Closing::default());
    }

    /// [`Bufferevent::close_with`], never waiting for a callback. Nothing if it closes already.
    pub fn close_with(&self, bounds: Closing) {
        let _closed_before = self.apply(Op::Close(bounds));
        let _first = self.strand.outer().lifecycle.request_close();
    }

    /// Closes it behind `last`, for which there is room in any case. False: it has ended its side already, and takes nothing, as
    /// far as that can be told while it is busy.
    pub(crate) fn close_after(&self, last: Evbuffer, bounds: Closing) -> bool {
        let taken = match self.check_open().and_then(|()| self.try_lock()) {
            Ok(Some(mut guard)) => guard.close_after(last, bounds),
            Ok(None) => self.mail(Op::CloseAfter(last, bounds)).is_ok(),
            Err(_) => false,
        };
        let _first = self.strand.outer().lifecycle.request_close();
        taken
    }

    /// [`Bufferevent::shutdown`], never waiting for a callback.
    ///
    /// # Errors
    /// [`Error::Closed`] after a close; [`Error::MailboxFull`]. One that has no connection by then stays as it is.
    pub fn shutdown(&self, direction: Direction) -> Result<()> {
        self.apply(Op::Shutdown(direction))
    }

    /// [`Bufferevent::abort`], never waiting for a callback.
    #[doc(alias = "bufferevent_free")]
    pub fn abort(&self) {
        if !self.strand.outer().lifecycle.is_finished() {
            // It fails only if the bufferevent has just ended.
            let _ = self.submit(Op::Abort);
        }
        let _first = self.strand.outer().lifecycle.request_close();
    }

    /// Closes the bufferevent and waits until it has ended: no callback of it runs any more and its handler is gone or
    /// idle. Answers what is left of it, to the first who asks.
    ///
    /// It ends when its base runs. On a runtime that nobody runs yet this waits until somebody does, or until the runtime is
    /// stopped or its last handle dropped, which ends what lives there; after that nobody waits.
    /// # Errors
    /// [`Error::WouldDeadlock`] in a callback, or on a thread that holds a strand; it is closed all the same.
    /// [`Error::Closed`] if another caller, or a `Closed` event, got what was left.
    pub fn close_and_wait(&self) -> Result<Closed> {
        self.close();
        let outer = self.strand.outer();
        let waits = !outer.lifecycle.is_finished();
        if waits && (self.strand.is_on_worker() || bufferevent_runtime::holds_strand()) {
            return Err(Error::WouldDeadlock);
        }
        outer.wait().ok_or(Error::Closed)
    }

    /// Whether a close was asked for, or it has ended by itself.
    pub fn is_closing(&self) -> bool {
        self.strand.outer().lifecycle.is_closing()
    }

    /// The base it is homed on.
    ///
    /// # Libevent
    /// `bufferevent_get_base`.
    #[doc(alias = "bufferevent_get_base")]
    pub fn base(&self) -> BaseHandle {
        self.strand.base()
    }

    /// Since when it waits to run; `None` if it does not, or if the runtime was not told to
    /// [trace](bufferevent_runtime::Builder::trace). For watchdogs.
    pub fn waiting_since(&self) -> Option<Time> {
        self.strand.waiting_since()
    }

    pub(crate) fn mailbox_len(&self) -> usize {
        self.strand.outer().mailbox.len()
    }

    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closing() { Err(Error::Closed) } else { Ok(()) }
    }

    pub(crate) fn apply(&self, op: Op) -> Result<()> {
        self.check_open()?;
        self.submit(op)
    }

    /// For the other end of a pipe, never waiting for a callback. It fails only if the bufferevent closes.
    pub(crate) fn ask(&self, asked: Asked) -> Result<()> {
        self.apply(Op::Asked(asked))
    }

    /// Applies `op` now if nobody holds the strand, else mails it.
    fn submit(&self, op: Op) -> Result<()> {
        match self.try_lock()? {
            Some(mut guard) => {
                op.apply(&mut guard);
                Ok(())
            }
            None => self.mail(op).map(drop).map_err(|(error, _)| error),
        }
    }

    #[allow(clippy::result_large_err, reason = "what is refused comes back, and that is the buffer itself")]
    pub(crate) fn mail(&self, op: Op) -> Result<Room, (Error, Op)> {
        let outer = self.strand.outer();
        let room = outer.mailbox.push(op, outer.bounds)?;
        self.strand.post(Reasons::MAIL);
        Ok(room)
    }
}

/// Locks two bufferevents as one, from nothing, in an order that cannot deadlock.
///
/// # Errors
/// [`Error::WouldDeadlock`] if this thread already holds a strand, or if both are the same; [`Error::Closed`] once one has
/// ended.
pub fn lock_both<'a>(one: &'a Handle, other: &'a Handle) -> Result<(Guard<'a>, Guard<'a>)> {
    let (one, other) = bufferevent_runtime::lock_both(&one.strand, &other.strand)?;
    Ok((Guard::new(one)?, Guard::new(other)?))
}

/// A locked THREADSAFE bufferevent, to which it derefs. No callback of it runs meanwhile, and none runs inside a call on
/// it: what becomes due runs on a worker when the guard is dropped.
///
/// # Libevent
/// `bufferevent_lock` to `bufferevent_unlock`.
#[doc(alias = "bufferevent_unlock")]
pub struct Guard<'a> {
    locked: StrandGuard<'a, Stack>,
}

impl<'a> Guard<'a> {
    fn new(mut locked: StrandGuard<'a, Stack>) -> Result<Self> {
        let outer = locked.strand().outer();
        if outer.lifecycle.is_finished() {
            return Err(Error::Closed);
        }
        let mailed = outer.mailbox.apply(locked.view());
        locked.view().hold_observers(true);
        let mut guard = Self { locked };
        if let Some(base) = mailed {
            // Who mailed it looks where it is.
            let _ = guard.set_base(&base);
        }
        Ok(guard)
    }

    pub(crate) fn seating(&mut self) -> (&mut Stack, Seating<'_, Stack>) {
        self.locked.seating()
    }

    /// Replaces the handler.
    ///
    /// # Errors
    /// [`Error::WrongHandler`] if the bufferevent has UNLOCK_CALLBACKS.
    /// # Libevent
    /// `bufferevent_setcb`.
    #[doc(alias = "bufferevent_setcb")]
    pub fn set_handler(&mut self, handler: impl Handler + Send + 'static) -> Result<()> {
        let Slot::Locked(slot) = &mut self.locked.slot else { return Err(Error::WrongHandler) };
        let hears_write = handler.hears_write();
        let old = slot.replace(Box::new(handler));
        self.heed(hears_write);
        discard(self.locked.counters(), old);
        Ok(())
    }

    /// Replaces the handler of a bufferevent with UNLOCK_CALLBACKS. A callback of the old one that runs may finish.
    ///
    /// # Errors
    /// [`Error::WrongHandler`] if it has not.
    pub fn set_unlocked_handler(&mut self, handler: impl UnlockedHandler + 'static) -> Result<()> {
        let Slot::Unlocked(slot) = &mut self.locked.slot else { return Err(Error::WrongHandler) };
        let hears_write = handler.hears_write();
        let old = slot.replace(Box::new(handler));
        self.heed(hears_write);
        discard(self.locked.counters(), old);
        Ok(())
    }
}

impl Deref for Guard<'_> {
    type Target = Bufferevent;

    fn deref(&self) -> &Bufferevent {
        self.locked.look()
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Bufferevent {
        self.locked.view()
    }
}

impl Drop for Guard<'_> {
    /// Sends what was written, so that a write from another thread needs no other thread to wake; the rest is for a run.
    fn drop(&mut self) {
        self.locked.view().hold_observers(false);
        self.locked.view().flush_output();
        self.locked.view().rearm();
        if self.locked.look().wants_run() {
            self.locked.post_on_drop(Reasons::GUARD);
        }
    }
}

impl fmt::Debug for Guard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.locked.look()).finish()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.strand).finish()
    }
}
