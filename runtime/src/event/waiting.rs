//! An event on its base: when its callback runs, and what the callback gets.

use std::fmt;

use super::{EventId, EventSettings, NoDescriptor, Waited, What, settings::Timeout};
use crate::{
    affinity::{Affinity, IntoSource},
    base::Base,
    callback::CallbackKind,
    clock::Time,
    error::Result,
    protocol::Reasons,
    selector::{Pollable, Registered},
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// The part of an event that can be changed while it waits.
#[derive(Debug)]
pub struct EventState {
    settings: EventSettings,
    timeout: Timeout,
    has_edges: bool,
    /// Set since the last run: what holds already is not known.
    changed: bool,
}

impl EventState {
    fn set(&mut self, settings: EventSettings) -> Result<()> {
        settings.check(self.has_edges)?;
        self.settings = settings;
        self.changed = true;
        Ok(())
    }

    /// Sets the event from outside its callback; answers when its timeout is due.
    pub(super) fn reset(&mut self, settings: EventSettings, now: Time) -> Result<Option<Time>> {
        self.set(settings)?;
        Ok(self.timeout.begin(settings.timeout, now))
    }
}

/// An event as its base owns it.
pub struct Waiting<W, F> {
    waited: W,
    state: EventState,
    call: F,
}

/// What the callback of an event gets: what happened, and the event itself.
#[derive(Debug)]
pub struct Fired<'a, W: Waited> {
    id: EventId,
    what: What,
    waited: &'a W,
    state: &'a mut EventState,
}

impl<W: Waited> Fired<'_, W> {
    /// Why the callback runs.
    pub fn what(&self) -> What {
        self.what
    }

    /// The event's id, for [`Base::cancel`].
    pub fn id(&self) -> EventId {
        self.id
    }

    /// Sets anew what the event waits for, for how long and how often. Takes effect when the callback returns; the timeout
    /// is counted from then.
    ///
    /// # Errors
    /// As [`Base::event`]; nothing is changed.
    /// # Libevent
    /// `event_add` inside the callback.
    pub fn set(&mut self, settings: impl Into<EventSettings>) -> Result<()> {
        self.state.set(settings.into())
    }
}

impl<S: Pollable> Fired<'_, Registered<S>> {
    /// The descriptor's owner, as it was given to [`Base::event`].
    pub fn source(&self) -> &S {
        self.waited.source()
    }
}

impl<F> Waiting<NoDescriptor, F> {
    /// An event without a descriptor waits for none.
    pub(super) fn of_user(mut settings: EventSettings, call: F) -> Self {
        settings.wanted = What::NONE;
        let state = EventState { settings, timeout: Timeout::default(), has_edges: true, changed: false };
        Self { waited: NoDescriptor, state, call }
    }
}

impl<W: Waited, F> Waiting<W, F> {
    pub(super) fn new(waited: W, settings: EventSettings, call: F) -> Result<Self> {
        let has_edges = waited.has_edges();
        settings.check(has_edges)?;
        let state = EventState { settings, timeout: Timeout::default(), has_edges, changed: false };
        Ok(Self { waited, state, call })
    }

    /// Puts the event on its base; the timeout is counted from now.
    pub(super) fn begin<A: Affinity>(mut self, base: &mut Base<A>, key: Key)
    where
        Self: IntoSource<A>,
    {
        let deadline = self.state.timeout.begin(self.state.settings.timeout, base.now());
        base.insert_boxed(key, self.into_source());
        if let Some(deadline) = deadline {
            base.arm(key, deadline);
        }
    }

    /// What has happened of what is waited for.
    fn look(&mut self, reasons: Reasons) -> What {
        let wanted = self.state.settings.wanted;
        let changed = std::mem::take(&mut self.state.changed);
        if wanted.is_empty() {
            return What::NONE;
        }
        match self.state.settings.edge && !changed && !reasons.contains(Reasons::USER) {
            true => What::from_bits(reasons.readiness()) & wanted,
            false => self.waited.look(wanted),
        }
    }

    /// Nothing wanted holds: waits for the next edge.
    fn wait(&self, key: Key) -> After {
        match self.waited.rearm(key.token(), self.state.settings.wanted) {
            Ok(()) => After::Idle,
            // Then it is looked at in every turn.
            Err(_) => After::NextTurn,
        }
    }
}

impl<A: Affinity, W, F> Source<A> for Waiting<W, F>
where
    W: Waited + 'static,
    F: FnMut(&mut Fired<'_, W>, &mut Base<A>) + 'static,
{
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::CLOSE) {
            return After::Remove;
        }
        // 1. What happened.
        let due = reasons.contains(Reasons::TIMER) && self.state.timeout.is_due(base.now());
        let happened = What::from_bits(reasons.activation()) | self.look(reasons);
        let what = happened | What::TIMEOUT.when(due && happened.is_empty());
        if what.is_empty() {
            return self.wait(key);
        }
        // 2. The callback.
        let Self { waited, state, call } = self;
        let mut fired = Fired { id: EventId::of(base, key), what, waited, state: &mut *state };
        let inside = base.callback_begins(key, CallbackKind::Plain);
        let returned = isolate(|| call(&mut fired, base));
        drop(inside);
        if !returned {
            base.counters().panics.add(1);
            return After::Remove;
        }
        if state.settings.once && !state.changed {
            if !base.is_activated(key) {
                return After::Remove;
            }
            // That is told too; it waits for nothing else.
            state.settings = EventSettings::from(What::NONE).once();
        }
        // 3. What comes next.
        let told = what.contains(What::TIMEOUT) && !state.changed;
        match state.timeout.again(state.settings.timeout, told, base.now()) {
            Some(deadline) => base.arm(key, deadline),
            None => base.disarm(key),
        }
        match !state.settings.wanted.is_empty() && (state.changed || !state.settings.edge) {
            true => After::NextTurn,
            false => self.wait(key),
        }
    }

    fn event(&mut self) -> Option<&mut EventState> {
        Some(&mut self.state)
    }

    fn kind(&self) -> &'static str {
        "event"
    }
}

impl<W, F> fmt::Debug for Waiting<W, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("state", &self.state).finish_non_exhaustive()
    }
}
