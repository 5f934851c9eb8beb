//! What a callback gets: its bufferevent, and the base around it.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use bufferevent_runtime::{Affinity, Base, BaseHandle, Blocked, Key, Movable, Reasons, Seating};

use crate::{
    bufferevent::Bufferevent,
    confined::Confined,
    error::{Error, Result},
    handle::Handle,
    handler::{Handler as _, HandlerAffinity, IntoHandler, discard},
    moving,
    shared::Stack,
};

/// Names a bufferevent that is confined to a base. Keeps nothing alive; of no use on another base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id {
    pub(crate) base: u64,
    pub(crate) key: Key,
}

impl Id {
    /// The number of the base that it lives on, see [`Base::id`].
    #[must_use]
    pub fn base(self) -> u64 {
        self.base
    }
}

/// The bufferevent whose callback blocks.
impl From<&Blocked> for Id {
    fn from(blocked: &Blocked) -> Self {
        Self { base: blocked.base, key: blocked.key }
    }
}

/// A callback's view of its bufferevent, to which it derefs, and of the base it runs on.
///
/// The view cannot be swapped out: what it derefs to is unsized.
pub struct Context<'a, A: HandlerAffinity = Movable> {
    pub(crate) bufferevent: &'a mut Bufferevent,
    pub(crate) spot: Spot<'a, A>,
    pub(crate) replaced: &'a mut Option<Box<A::Handler>>,
}

/// Where code runs: on a turn of the base, or in a strand on any worker.
pub enum Spot<'a, A: Affinity = Movable> {
    /// On a turn.
    Base(&'a mut Base<A>),
    /// In a strand of this base.
    Strand(&'a mut BaseHandle<A>, Seating<'a, Stack>),
    /// On some thread.
    Remote(&'a BaseHandle<A>),
}

impl<A: Affinity> Spot<'_, A> {
    /// How many priorities the base has.
    pub(crate) fn priorities(&self) -> usize {
        match self {
            Self::Base(base) => base.priorities(),
            Self::Strand(base, _) => base.priorities(),
            Self::Remote(base) => base.priorities(),
        }
    }

    pub(crate) fn handle(&self) -> BaseHandle<A> {
        match self {
            Self::Base(base) => base.handle(),
            Self::Strand(base, _) => (**base).clone(),
            Self::Remote(base) => (*base).clone(),
        }
    }
}

/// Where a bufferevent can be started: a base, or a callback's context.
pub trait Place {
    /// The base's affinity.
    type Affinity: HandlerAffinity;

    #[doc(hidden)]
    fn spot(&mut self) -> Spot<'_, Self::Affinity>;
}

impl<A: HandlerAffinity> Place for Base<A> {
    type Affinity = A;

    fn spot(&mut self) -> Spot<'_, A> {
        Spot::Base(self)
    }
}

impl<A: HandlerAffinity> Place for BaseHandle<A> {
    type Affinity = A;

    fn spot(&mut self) -> Spot<'_, A> {
        Spot::Remote(self)
    }
}

impl<A: HandlerAffinity> Place for Context<'_, A> {
    type Affinity = A;

    fn spot(&mut self) -> Spot<'_, A> {
        match &mut self.spot {
            Spot::Base(base) => Spot::Base(base),
            Spot::Strand(base, seating) => Spot::Strand(base, *seating),
            Spot::Remote(base) => Spot::Remote(base),
        }
    }
}

impl<A: HandlerAffinity> Context<'_, A> {
    /// Replaces the handler, from the next callback on. The one that runs is dropped when it returns.
    ///
    /// # Libevent
    /// `bufferevent_setcb`.
    #[doc(alias = "bufferevent_setcb")]
    pub fn set_handler(&mut self, handler: impl IntoHandler<A>) {
        let handler = handler.into_handler();
        self.bufferevent.heed(handler.hears_write());
        *self.replaced = Some(handler);
    }

    /// The base, if the callback runs on its turn: always for a confined bufferevent, never in a strand.
    ///
    /// # Libevent
    /// `bufferevent_get_base`.
    #[doc(alias = "bufferevent_get_base")]
    pub fn base(&mut self) -> Option<&mut Base<A>> {
        match &mut self.spot {
            Spot::Base(base) => Some(base),
            Spot::Strand(..) | Spot::Remote(_) => None,
        }
    }

    /// The base as any thread sees it.
    ///
    /// # Libevent
    /// `bufferevent_get_base`.
    #[doc(alias = "bufferevent_get_base")]
    pub fn base_handle(&self) -> BaseHandle<A> {
        self.spot.handle()
    }

    /// A handle to this bufferevent, if it is THREADSAFE.
    pub fn handle(&self) -> Option<Handle> {
        match &self.spot {
            Spot::Strand(_, seating) => Some(Handle::new(Arc::clone(seating.strand()))),
            Spot::Base(_) | Spot::Remote(_) => None,
        }
    }

    /// This bufferevent's id, if it is confined.
    pub fn id(&self) -> Option<Id> {
        match (&self.spot, &self.bufferevent.home) {
            (Spot::Base(base), Some(home)) => {
                let id = base.departing().map_or(base.id(), |(_, to)| to.id());
                Some(Id { base: id, key: home.key })
            }
            _ => None,
        }
    }

    /// Another confined bufferevent of the same base. It is run after this callback, so what is changed takes effect.
    ///
    /// # Errors
    /// [`Error::Closed`] if it is gone, is this one, is of another base, or if this callback runs in a strand.
    pub fn get(&mut self, id: Id) -> Result<&mut Bufferevent> {
        match &mut self.spot {
            Spot::Base(base) => base.bufferevent(id),
            Spot::Strand(..) | Spot::Remote(_) => Err(Error::Closed),
        }
    }
}

impl<A: HandlerAffinity> Deref for Context<'_, A> {
    type Target = Bufferevent;

    fn deref(&self) -> &Bufferevent {
        self.bufferevent
    }
}

impl<A: HandlerAffinity> DerefMut for Context<'_, A> {
    fn deref_mut(&mut self) -> &mut Bufferevent {
        self.bufferevent
    }
}

impl<A: HandlerAffinity> fmt::Debug for Context<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Context").field(&self.bufferevent).finish()
    }
}

impl<A: Affinity> fmt::Debug for Spot<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base(base) => f.debug_tuple("Base").field(base).finish(),
            Self::Strand(base, _) => f.debug_tuple("Handle").field(base).finish(),
            Self::Remote(base) => f.debug_tuple("Handle").field(base).finish(),
        }
    }
}

/// What a base can do with the bufferevents confined to it.
pub trait BaseExt {
    /// The base's affinity.
    type Affinity: HandlerAffinity;

    /// The bufferevent `id`. It is run soon after, so what is changed takes effect.
    ///
    /// # Errors
    /// [`Error::Closed`] if it is gone, is running, or is of another base.
    fn bufferevent(&mut self, id: Id) -> Result<&mut Bufferevent>;

    /// Replaces the handler of the bufferevent `id`. What is due goes to the new one.
    ///
    /// # Errors
    /// As [`BaseExt::bufferevent`].
    /// # Libevent
    /// `bufferevent_setcb`.
    #[doc(alias = "bufferevent_setcb")]
    fn set_handler(&mut self, id: Id, handler: impl IntoHandler<Self::Affinity>) -> Result<()>;

    /// Moves the bufferevent `id` to another base, with its timers, its priority, what is due and what is in its buffers,
    /// while data flows. Answers its name there; `id` is of no use any more.
    ///
    /// It arrives when the other base looks at its posts, and what is told of it meanwhile waits for that. If the other
    /// base is dropped before, it is closed as what lives there. In its own callback use
    /// [`Context::set_base`](crate::Context::set_base).
    /// # Errors
    /// [`Error::Closed`] if it is gone, is closing, is running, or is of another base, and if the other base is gone;
    /// [`Error::Joined`] if a [`Pipe`](crate::Pipe) joins it to another of this base;
    /// [`Error::Runtime`] with `WrongAffinity` if either base is pinned, with `Unsupported` if their clocks differ, and
    /// with `InvalidPriority` if the other base has not the priority that was set;
    /// [`Error::Io`] if the other base's selector does not take the descriptor. Nothing is changed then.
    /// # Libevent
    /// `bufferevent_base_set`. Differs: works at any time, and whole or not at all.
    #[doc(alias = "bufferevent_base_set")]
    fn set_base(&mut self, id: Id, base: &BaseHandle) -> Result<Id>;
}

impl<A: HandlerAffinity> BaseExt for Base<A> {
    type Affinity = A;

    fn bufferevent(&mut self, id: Id) -> Result<&mut Bufferevent> {
        confined(self, id).map(Confined::view)
    }

    fn set_handler(&mut self, id: Id, handler: impl IntoHandler<A>) -> Result<()> {
        let old = confined(self, id)?.replace_handler(handler.into_handler());
        discard(self.counters(), old);
        Ok(())
    }

    fn set_base(&mut self, id: Id, base: &BaseHandle) -> Result<Id> {
        moving::send(self, id, base)
    }
}

pub(crate) fn confined<A: HandlerAffinity>(base: &mut Base<A>, id: Id) -> Result<&mut Confined<A>> {
    if id.base != base.id() {
        return Err(Error::Closed);
    }
    base.post_to(id.key, Reasons::USER);
    let source = base.source(id.key).ok_or(Error::Closed)?;
    A::any(source).downcast_mut::<Confined<A>>().ok_or(Error::Closed)
}
