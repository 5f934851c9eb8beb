//! Plain events for users: a closure that runs when a descriptor is ready, a time has passed, or the program says so.
//!
//! A descriptor is registered as everything is, once, edge-triggered ([`selector`](crate::Selector)). An edge tells when to
//! look; what holds is asked of the system with `poll` before each callback, so a level-triggered event is told in every
//! turn for as long as something is there to do, and never of what was done meanwhile. An idle event costs nothing.

mod settings;
mod signal;
mod waited;
mod waiting;
mod what;

use crate::{
    affinity::{Affinity, IntoSource},
    base::{Base, BaseHandle},
    error::{Error, Result},
    protocol::Reasons,
    selector::{AnySelector, Pollable, Registered},
    slots::Key,
    source::Source as _,
};

pub use self::{
    settings::EventSettings,
    signal::Signalled,
    waited::{NoDescriptor, Waited},
    waiting::{EventState, Fired, Waiting},
    what::What,
};

/// Names an event, a signal or a timer of one base. Keeps nothing alive; of no use on another base.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId {
    base: u64,
    key: Key,
}

impl EventId {
    pub(crate) fn of<A: Affinity>(base: &Base<A>, key: Key) -> Self {
        Self { base: base.id(), key }
    }

    /// The key, on its own base.
    pub(crate) fn on<A: Affinity>(self, base: &Base<A>) -> Option<Key> {
        (self.base == base.id()).then_some(self.key)
    }
}

impl<A: Affinity> Base<A> {
    /// Runs `f` on this base whenever `source` is ready for what `settings` name: a [`What`], with a timeout or as a
    /// one-shot where that is asked for. See [`EventSettings`] for what holds otherwise.
    ///
    /// The event owns `source` and closes it when it ends. Who needs the descriptor elsewhere gives a clone of it
    /// (`try_clone`), and so can have several events on one. It should not block. A callback that panics is the last.
    ///
    /// * `f` gets what happened with the event itself ([`Fired`]), and the base.
    /// # Errors
    /// [`Error::Io`] if the selector does not take the descriptor (a plain file cannot be waited for);
    /// [`Error::Unsupported`] for edges and [`What::CLOSED`] on a selector that knows no edges. `source` is closed then.
    /// # Libevent
    /// `event_new` and `event_add`. Differs: the descriptor belongs to the event.
    /// # Examples
    /// ```
    /// use std::{io::Read, os::unix::net::UnixStream, time::Duration};
    /// use bufferevent_runtime::{Base, Pinned, What};
    ///
    /// let (ours, mut theirs) = UnixStream::pair()?;
    /// ours.set_nonblocking(true)?;
    /// let mut base = Base::<Pinned>::new()?;
    /// base.event(ours, What::READ.timeout(Duration::from_secs(5)), |event, base| {
    ///     if event.what().contains(What::READ) {
    ///         let mut bytes = [0; 64];
    ///         let n = event.source().read(&mut bytes).unwrap_or(0);
    ///         assert_eq!(&bytes[..n], b"hello");
    ///     }
    ///     base.cancel(event.id());
    /// })?;
    /// std::io::Write::write_all(&mut theirs, b"hello")?;
    /// base.run()?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[doc(alias = "event_new")]
    #[doc(alias = "event_add")]
    pub fn event<S, F>(&mut self, source: S, settings: impl Into<EventSettings>, f: F) -> Result<EventId>
    where
        S: Pollable,
        F: FnMut(&mut Fired<'_, Registered<S>>, &mut Base<A>) + 'static,
        Waiting<Registered<S>, F>: IntoSource<A>,
    {
        let key = self.reserve();
        match register(self.selector(), source, key, settings.into(), f) {
            Ok(event) => {
                event.begin(self, key);
                Ok(EventId::of(self, key))
            }
            Err(error) => {
                self.unreserve(key);
                Err(error)
            }
        }
    }

    /// Runs `f` on this base whenever the event is [activated](Base::activate), and when its timeout is due.
    ///
    /// A callback that panics is the last.
    /// # Libevent
    /// `event_new` with no descriptor.
    /// # Examples
    /// ```
    /// use bufferevent_runtime::{Base, Pinned, What};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// let event = base.user_event(What::NONE.once(), |_, base| base.exit());
    /// base.activate(event, What::NONE);
    /// base.run()?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    pub fn user_event<F>(&mut self, settings: impl Into<EventSettings>, f: F) -> EventId
    where
        F: FnMut(&mut Fired<'_, NoDescriptor>, &mut Base<A>) + 'static,
        Waiting<NoDescriptor, F>: IntoSource<A>,
    {
        let key = self.reserve();
        Waiting::of_user(settings.into(), f).begin(self, key);
        EventId::of(self, key)
    }

    /// Makes the callback of `event` run soon, with `what` and [`What::ACTIVATED`], as if it had happened. Several calls
    /// before it runs are one. Within the callback of an event that runs [once](EventSettings::once) it
    /// has that run once more. False if the event is gone.
    ///
    /// # Libevent
    /// `event_active`.
    #[doc(alias = "event_active")]
    pub fn activate(&mut self, event: EventId, what: What) -> bool {
        let Some(key) = event.on(self).filter(|key| self.holds(*key)) else { return false };
        self.post_to(key, Reasons::of_activation((what | What::ACTIVATED).bits()));
        true
    }

    /// Sets anew what `event` waits for, for how long and how often; the timeout is counted from now. With [`What::NONE`]
    /// it waits for nothing until it is set again. Inside its own callback: [`Fired::set`].
    ///
    /// # Errors
    /// [`Error::Closed`] if the event is gone, is running, or is a timer or a signal; else as [`Base::event`], and nothing
    /// is changed.
    /// # Libevent
    /// `event_add`, `event_del` and `event_remove_timer` of one that is kept.
    #[doc(alias = "event_remove_timer")]
    #[doc(alias = "event_assign")]
    pub fn set_event(&mut self, event: EventId, settings: impl Into<EventSettings>) -> Result<()> {
        let key = event.on(self).ok_or(Error::Closed)?;
        let now = self.now();
        let state = self.source(key).and_then(|source| source.event()).ok_or(Error::Closed)?;
        match state.reset(settings.into(), now)? {
            Some(deadline) => self.arm(key, deadline),
            None => self.disarm(key),
        }
        self.post_to(key, Reasons::USER);
        Ok(())
    }

    /// Cancels an event, a signal or a timer: its callback starts no more, and is dropped with what it owns; at the end of
    /// the callback, if it is the one that runs. False if there is none.
    ///
    /// # Libevent
    /// `event_del` and `event_free`.
    #[doc(alias = "event_del")]
    #[doc(alias = "event_free")]
    #[doc(alias = "evtimer_del")]
    #[doc(alias = "evsignal_del")]
    pub fn cancel(&mut self, event: impl Into<EventId>) -> bool {
        event.into().on(self).is_some_and(|key| self.remove(key))
    }
}

impl<A: Affinity> BaseHandle<A> {
    /// As [`Base::event`], from any thread. The id is valid at once. An edge that comes before the base knows the event may
    /// be told twice.
    ///
    /// # Errors
    /// As [`Base::event`], and as [`BaseHandle::post`].
    pub fn event<S, F>(&self, source: S, settings: impl Into<EventSettings>, f: F) -> Result<EventId>
    where
        S: Pollable + Send + 'static,
        F: FnMut(&mut Fired<'_, Registered<S>>, &mut Base<A>) + Send + 'static,
        Waiting<Registered<S>, F>: IntoSource<A> + Send,
    {
        let key = self.reserve();
        let begun = register(self.selector(), source, key, settings.into(), f).and_then(|event| {
            self.post(move |base| {
                event.begin(base, key);
                base.post_to(key, Reasons::USER);
            })
        });
        self.named(key, begun)
    }

    /// As [`Base::user_event`], from any thread. The id is valid at once.
    ///
    /// # Errors
    /// As [`BaseHandle::post`].
    pub fn user_event<F>(&self, settings: impl Into<EventSettings>, f: F) -> Result<EventId>
    where
        F: FnMut(&mut Fired<'_, NoDescriptor>, &mut Base<A>) + Send + 'static,
        Waiting<NoDescriptor, F>: IntoSource<A> + Send,
    {
        let (key, event) = (self.reserve(), Waiting::of_user(settings.into(), f));
        self.named(key, self.post(move |base| event.begin(base, key)))
    }

    /// As [`Base::activate`], from any thread; an event that is gone by then is left in peace.
    ///
    /// # Errors
    /// As [`BaseHandle::post`].
    pub fn activate(&self, event: EventId, what: What) -> Result<()> {
        self.post(move |base| {
            base.activate(event, what);
        })
    }

    /// As [`Base::cancel`], from any thread: never waits for a callback that runs, and one that is due may start before
    /// the base hears of it.
    ///
    /// # Errors
    /// As [`BaseHandle::post`].
    /// # Libevent
    /// `event_del_noblock`.
    #[doc(alias = "event_del_noblock")]
    pub fn cancel(&self, event: impl Into<EventId>) -> Result<()> {
        let event = event.into();
        self.post(move |base| {
            base.cancel(event);
        })
    }

    /// The id of what was sent to the base under `key`, if it was.
    fn named(&self, key: Key, sent: Result<()>) -> Result<EventId> {
        match sent {
            Ok(()) => Ok(EventId { base: self.id(), key }),
            Err(error) => {
                self.unreserve(key);
                Err(error)
            }
        }
    }
}

fn register<S: Pollable, F>(
    selector: &std::sync::Arc<AnySelector>,
    source: S,
    key: Key,
    settings: EventSettings,
    f: F,
) -> Result<Waiting<Registered<S>, F>> {
    // Somebody may have a duplicate: that is how one descriptor has two events.
    let registered = Registered::new(selector, source, key.token()).map_err(|(_, error)| error)?;
    Waiting::new(registered.duplicated(), settings, f)
}
