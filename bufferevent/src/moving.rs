//! A bufferevent moves to another base, while it lives.
//!
//! First the other base's selector is told of the descriptor, which may fail; then the strand, or the base, lets go of
//! it; then the old selector forgets it. What the new selector reports before the bufferevent has arrived is dropped, so the
//! first run there, with [`Reasons::MOVED`](bufferevent_runtime::Reasons::MOVED), has it reported again.

use bufferevent_runtime::{Base, BaseHandle, Error as Refused, Key, Ready, Seating};

use crate::{
    bufferevent::{Bufferevent, Socket},
    context::{BaseExt as _, Context, Id, Spot, confined},
    error::{Error, Result},
    handle::{Guard, Handle},
    handler::HandlerAffinity,
    interest::Direction,
    mailbox::Op,
    shared::Stack,
};

/// When a [`Handle::set_base`] takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moving {
    /// It has moved.
    Done,
    /// It is busy, and moves before its next callback, and before anybody else gets its lock.
    Later,
}

impl Context<'_> {
    /// Moves this bufferevent to another base, with its timers, its priority, what is due and what is in its buffers, while
    /// data flows.
    ///
    /// No callback that is due runs on the old base any more: they come on the new one, in their order. One that is
    /// THREADSAFE has moved when this returns. One that is confined moves when this callback returns, and takes what the
    /// rest of it does along; [`Context::id`] tells its new name at once. If the other base is dropped before it
    /// arrives, it is closed as what lives there; so is it, gracefully, if that base is closing.
    ///
    /// It goes on at the new base at once, also if the old one rests, is not turned, or is in a callback that lasts. Only one
    /// that has left such a base [`SPARE_TOKENS`](bufferevent_runtime::SPARE_TOKENS) times, with a run due each time, waits for
    /// one of them.
    /// # Errors
    /// [`Error::Closed`] if it is closing, or the other base is gone; [`Error::Runtime`] with `WrongAffinity` if it is
    /// confined and the other base pinned, and with `Unsupported` if the clocks of the bases differ, with
    /// `InvalidPriority` if the other base has not the priority that was set; [`Error::Io`] if the
    /// other base's selector does not take the descriptor. Nothing is changed then.
    /// # Libevent
    /// `bufferevent_base_set`. Differs: works at any time, and whole or not at all.
    #[doc(alias = "bufferevent_base_set")]
    pub fn set_base(&mut self, base: &BaseHandle) -> Result<()> {
        match &mut self.spot {
            Spot::Base(here) => leave_after_run(here, self.bufferevent, base),
            Spot::Strand(home, seating) => move_strand(self.bufferevent, *seating, home, base),
            // No callback runs there.
            Spot::Remote(_) => Err(Error::Closed),
        }
    }
}

impl Guard<'_> {
    /// Moves the bufferevent to another base, with its timers, its priority, what is due and what is in its buffers, while
    /// data flows. Its callbacks come on the new base from now on; an unlocked one that runs may finish where it is.
    ///
    /// Moving to a base that is closing closes it there.
    /// ```
    /// use bufferevent::{Base, Bufferevent, NoHandler, Pinned};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let (mut one, other) = (Base::<Pinned>::new()?, Base::<Pinned>::new()?);
    /// let handle = Bufferevent::socket(ours).handler(NoHandler).threadsafe().start(&mut one)?;
    /// handle.lock()?.set_base(&other.handle().as_movable())?;
    /// assert_eq!(handle.base().id(), other.id());
    /// # Ok::<(), bufferevent::Error>(())
    /// ```
    /// # Errors
    /// [`Error::Closed`] if it is closing, or the other base is gone; [`Error::Runtime`] with `Unsupported` if the clocks
    /// of the bases differ, with `InvalidPriority` if the other base has not the priority that was set; [`Error::Io`] if
    /// the other base's selector does not take the descriptor. Nothing is changed then.
    /// # Libevent
    /// `bufferevent_base_set`. Differs: works at any time, and whole or not at all.
    #[doc(alias = "bufferevent_base_set")]
    pub fn set_base(&mut self, base: &BaseHandle) -> Result<()> {
        let (stack, seating) = self.seating();
        stack.set_base(seating, base)
    }
}

impl Handle {
    /// Moves the bufferevent to another base as [`Guard::set_base`] does, never waiting for a callback: if it is busy, it
    /// moves later. What goes wrong then leaves it where it is, which [`Handle::base`] tells.
    ///
    /// # Errors
    /// As [`Guard::set_base`], and [`Error::MailboxFull`].
    /// # Libevent
    /// `bufferevent_base_set`.
    #[doc(alias = "bufferevent_base_set")]
    pub fn set_base(&self, base: &BaseHandle) -> Result<Moving> {
        self.check_open()?;
        match self.try_lock()? {
            Some(mut guard) => guard.set_base(base).map(|()| Moving::Done),
            None => {
                self.mail(Op::SetBase(base.clone())).map_err(|(error, _)| error)?;
                Ok(Moving::Later)
            }
        }
    }
}

impl Stack {
    pub(crate) fn set_base(&mut self, seating: Seating<'_, Self>, base: &BaseHandle) -> Result<()> {
        let (view, home) = self.parts();
        move_strand(view, seating, home, base)
    }
}

/// Moves a THREADSAFE bufferevent, whose `home` the caller has noted.
fn move_strand(
    view: &mut Bufferevent,
    seating: Seating<'_, Stack>,
    home: &mut BaseHandle,
    base: &BaseHandle,
) -> Result<()> {
    if view.is_closing() {
        return Err(Error::Closed);
    }
    view.check_priority(base.priorities())?;
    let lifecycle = &seating.strand().outer().lifecycle;
    seating.move_to(base, || !lifecycle.is_closing(), |key, agree| view.rehome(base, key, agree))?;
    *home = base.clone();
    Ok(())
}

/// Moves a confined bufferevent that is running.
fn leave_after_run(here: &mut Base, view: &mut Bufferevent, base: &BaseHandle) -> Result<()> {
    let Some(home) = view.home.as_ref().filter(|_| !view.is_closing()) else { return Err(Error::Closed) };
    let (key, bound_for) = here.departing().map_or((home.key, here.id()), |(key, to)| (key, to.id()));
    if bound_for == base.id() {
        return Ok(());
    }
    if here.id() == base.id() {
        // It was to leave, and stays.
        view.rehome(base, key, || Ok(()))?;
        here.stay();
        return Ok(());
    }
    here.may_depart(base)?;
    view.check_priority(base.priorities())?;
    let new = base.reserve();
    let moved = view.rehome(base, new, || here.depart(key, base, new));
    moved.inspect_err(|_| base.unreserve(new))?;
    Ok(())
}

/// Moves a confined bufferevent that is not running.
pub(crate) fn send<A: HandlerAffinity>(here: &mut Base<A>, id: Id, base: &BaseHandle) -> Result<Id> {
    if here.bufferevent(id)?.is_closing() {
        return Err(Error::Closed);
    }
    if here.id() == base.id() {
        return Ok(id);
    }
    if confined(here, id)?.is_joined() {
        return Err(Error::Joined);
    }
    here.may_depart(base)?;
    here.bufferevent(id)?.check_priority(base.priorities())?;
    let key = base.reserve();
    let moved = here.bufferevent(id)?.rehome(base, key, || Ok(()));
    // The base has just given the bufferevent: it is there.
    moved.and_then(|()| here.depart(id.key, base, key)).inspect_err(|_| base.unreserve(key))?;
    Ok(Id { base: base.id(), key })
}

impl Bufferevent {
    /// Has the descriptor reported by the selector of `base`, under `key`, if `agreed` says so once that has taken it.
    fn rehome(
        &mut self,
        base: &BaseHandle,
        key: Key,
        mut agreed: impl FnMut() -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        self.rehome_agreed(base, key, &mut agreed)
    }

    fn rehome_agreed(
        &mut self,
        base: &BaseHandle,
        key: Key,
        agreed: &mut dyn FnMut() -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        match (&mut self.socket, &mut self.connector) {
            (Socket::Filter(layer), _) => layer.lower.rehome_agreed(base, key, agreed)?,
            (Socket::Registered(registered), _) => {
                registered.move_to(base.selector(), key.token(), agreed)?;
            }
            (_, Some(connector)) => connector.move_to(base, key, &mut *agreed)?,
            _ => agreed()?,
        }
        self.call_mate_by_message();
        self.run.errands.abroad = true;
        self.unusual();
        if let Some(home) = &mut self.home {
            home.move_to(base.clone(), key);
        }
        if let Some(layer) = self.layer() {
            layer.hang_bell();
        }
        self.attach_confined();
        #[cfg(feature = "test-util")]
        if let Socket::Scripted(plug) = &self.socket {
            plug.attach(base.selector(), key.token());
        }
        Ok(())
    }

    /// It has arrived at another base: has that one's selector report what it may have reported too early.
    #[cold]
    pub(crate) fn refresh(&mut self) {
        self.run.errands.abroad = false;
        // One that was not told a priority has the middle one of its new base.
        if !self.is_lower() {
            self.run.errands.priority = self.priority();
        }
        if let Some(layer) = self.layer_mut() {
            layer.lower.refresh();
        }
        let Some(home) = &self.home else { return };
        if let Some(member) = &mut self.memory {
            member.moved(home);
        }
        if let Some(throttle) = &mut self.throttle {
            throttle.moves_to(home);
        }
        let refreshed = match &self.socket {
            Socket::Registered(registered) => registered.refresh(home.key.token()),
            Socket::Pair(_) => {
                self.ready = Ready::BOTH;
                Ok(())
            }
            #[cfg(feature = "test-util")]
            Socket::Scripted(plug) => {
                plug.attach(home.base.selector(), home.key.token());
                Ok(())
            }
            _ => self.connector.as_ref().map_or(Ok(()), |connector| connector.refresh(home)),
        };
        if let Err(error) = refreshed {
            self.fail(Direction::Read, error);
        }
    }
}
