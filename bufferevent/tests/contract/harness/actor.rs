//! The handler of all that a world starts.

use std::sync::Arc;

use bufferevent::{Cause, Context, Event, Handle, Handler, Pinned, UnlockedHandler};

use super::{Call, Cx, Entry, Log, World, cx::View};

/// What a callback does after it was written down.
pub(super) type Script = dyn Fn(&mut Cx<'_, '_>, &Call) + Send + Sync;

/// A handler of every kind: writes down each callback, then runs the script.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) log: Log,
    number: u32,
    hears_write: bool,
    goes_on: bool,
    pub(super) script: Arc<Script>,
}

impl Actor {
    pub(crate) fn new(
        world: &World,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> Self {
        Self { log: Log::new(&world.signal), ..Self::alone(script) }
    }

    /// One whose callbacks no world waits for.
    pub(crate) fn alone(script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static) -> Self {
        Self::heir(&Log::new(&Arc::default()), 0, script)
    }

    /// Another handler that writes into the same log, under a number of its own.
    pub(crate) fn heir(
        log: &Log,
        number: u32,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> Self {
        Self { log: log.clone(), number, hears_write: true, goes_on: false, script: Arc::new(script) }
    }

    /// The same, that need not be told that the output has drained.
    pub(crate) fn deaf_to_write(self) -> Self {
        Self { hears_write: false, ..self }
    }

    /// The same, whose script says what it does in a drain.
    pub(crate) fn going_on(self) -> Self {
        Self { goes_on: true, ..self }
    }

    fn act(&mut self, mut cx: Cx<'_, '_>, call: Call) {
        struct Inside(Log);
        impl Drop for Inside {
            fn drop(&mut self) {
                self.0.synced.lock().inside = false;
                drop(self.0.signal.lock.lock());
                self.0.signal.changed.notify_all();
            }
        }
        let entry = Entry {
            call,
            input: cx.input().len(),
            output: cx.output().len(),
            enabled: cx.enabled(),
            actor: self.number,
        };
        {
            let mut written = self.log.synced.lock();
            written.entries.push(entry);
            written.overlapped |= std::mem::replace(&mut written.inside, true);
        }
        let _inside = Inside(self.log.clone());
        cx.log = Some(self.log.clone());
        (self.script)(&mut cx, &call);
    }

    fn note(&self, event: Event) -> Call {
        match event {
            Event::Connected => Call::Connected,
            Event::Eof => Call::Eof,
            Event::Error { direction, cause } => {
                let mut written = self.log.synced.lock();
                written.cause = Some(cause.kind());
                match cause {
                    Cause::TimeLimit(limit) => written.time_limit = Some(limit),
                    Cause::Lookup(error) => written.lookup = Some(error),
                    _ => {}
                }
                Call::Failed(direction)
            }
            Event::Timeout(direction) => Call::Timeout(direction),
            Event::Drained => Call::Drained,
            Event::InputFull => Call::InputFull,
            Event::User(bits) => Call::User(bits),
            Event::Closed(closed) => {
                let before = self.log.synced.lock().closed.replace(*closed);
                assert!(before.is_none(), "closed twice");
                Call::Closed
            }
            other => panic!("an event that the harness does not know: {other:?}"),
        }
    }

    fn unlocked(&mut self, handle: &Handle, call: Call) {
        // Closed meanwhile by somebody else: there is nothing left to look at.
        if let Ok(mut guard) = handle.lock() {
            self.act(Cx::new(View::Guard(&mut guard, handle)), call);
        }
    }
}

impl Handler<Pinned> for Actor {
    fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
        self.act(Cx::new(View::Pinned(cx)), Call::Read);
    }

    fn on_write(&mut self, cx: &mut Context<'_, Pinned>) {
        self.act(Cx::new(View::Pinned(cx)), Call::Write);
    }

    fn on_event(&mut self, cx: &mut Context<'_, Pinned>, event: Event) {
        let call = self.note(event);
        self.act(Cx::new(View::Pinned(cx)), call);
    }

    fn on_drain(&mut self, cx: &mut Context<'_, Pinned>) {
        match self.goes_on {
            true => self.act(Cx::new(View::Pinned(cx)), Call::Drain),
            false => cx.close(),
        }
    }

    fn hears_write(&self) -> bool {
        self.hears_write
    }
}

impl Handler for Actor {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        self.act(Cx::new(View::Movable(cx)), Call::Read);
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        self.act(Cx::new(View::Movable(cx)), Call::Write);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        let call = self.note(event);
        self.act(Cx::new(View::Movable(cx)), call);
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        match self.goes_on {
            true => self.act(Cx::new(View::Movable(cx)), Call::Drain),
            false => cx.close(),
        }
    }

    fn hears_write(&self) -> bool {
        self.hears_write
    }
}

impl UnlockedHandler for Actor {
    fn on_read(&mut self, bufferevent: &Handle) {
        self.unlocked(bufferevent, Call::Read);
    }

    fn on_write(&mut self, bufferevent: &Handle) {
        self.unlocked(bufferevent, Call::Write);
    }

    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        let call = self.note(event);
        self.unlocked(bufferevent, call);
    }

    fn on_drain(&mut self, bufferevent: &Handle) {
        match self.goes_on {
            true => self.unlocked(bufferevent, Call::Drain),
            false => bufferevent.close(),
        }
    }

    fn hears_write(&self) -> bool {
        self.hears_write
    }
}
