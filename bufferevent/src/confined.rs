//! A bufferevent in its base's root strand: no lock, run on the base's turns.

use std::fmt;

use bufferevent_runtime::{After, Base, CallbackKind, Key, Reasons, Source};

use crate::{
    bufferevent::{Bufferevent, Owned},
    context::{Context, Spot},
    engine::Ended,
    handler::{Handler as _, HandlerAffinity, PanicPolicy, put_back},
    pending::Callback,
    plain::Next,
    trace,
};

/// A confined bufferevent and its handler, as its base owns them.
pub struct Confined<A: HandlerAffinity> {
    bufferevent: Owned,
    /// `None` while it runs.
    handler: Option<Box<A::Handler>>,
    on_panic: PanicPolicy,
}

impl<A: HandlerAffinity> Confined<A> {
    pub(crate) fn new(mut bufferevent: Owned, handler: Box<A::Handler>, on_panic: PanicPolicy) -> Self {
        bufferevent.heed(handler.hears_write());
        Self { bufferevent, handler: Some(handler), on_panic }
    }

    pub(crate) fn view(&mut self) -> &mut Bufferevent {
        &mut self.bufferevent
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.handler.as_ref().is_some_and(|handler| handler.is_joined())
    }

    pub(crate) fn replace_handler(&mut self, handler: Box<A::Handler>) -> Option<Box<A::Handler>> {
        self.bufferevent.heed(handler.hears_write());
        self.handler.replace(handler)
    }

    #[inline(always)]
    fn call(&mut self, base: &mut Base<A>, callback: Callback) {
        if self.bufferevent.times_callbacks() {
            self.call_timed(base, callback);
        } else {
            self.call_handler(base, callback);
        }
    }

    #[inline(never)]
    fn call_next(&mut self, base: &mut Base<A>) {
        if let Some(callback) = self.view().next_callback() {
            self.call(base, callback);
        }
    }

    #[cold]
    fn call_timed(&mut self, base: &mut Base<A>, callback: Callback) {
        let _inside = self.bufferevent.callback_begins(callback.kind());
        self.call_handler(base, callback);
    }

    #[inline(always)]
    fn call_handler(&mut self, base: &mut Base<A>, callback: Callback) {
        let Some(mut handler) = self.handler.take() else { return };
        trace::callback(&self.bufferevent, &callback);
        let (bufferevent, replaced) = (&mut *self.bufferevent, &mut self.handler);
        let mut context = Context { bufferevent, spot: Spot::Base(base), replaced };
        let returned = self.on_panic.guard(|| match callback {
            Callback::Read => handler.on_read(&mut context),
            Callback::Write => handler.on_write(&mut context),
            Callback::Drain => handler.on_drain(&mut context),
            Callback::Event(event) => handler.on_event(&mut context, event),
        });
        put_back(base.counters(), &mut self.handler, handler);
        if !returned {
            self.panicked(base);
        }
    }

    /// Calls observers of the buffers.
    #[cold]
    fn notify(&mut self, base: &Base<A>, tell: fn(&mut Bufferevent)) {
        let _inside = self.bufferevent.callback_begins(CallbackKind::Observer);
        if !self.on_panic.guard(|| tell(&mut self.bufferevent)) {
            self.panicked(base);
        }
    }

    #[inline]
    fn run_errands(&mut self, base: &mut Base<A>, key: Key) {
        let errands = &mut self.view().run.errands;
        if let Some((mate, reasons)) = errands.call.take() {
            base.post_to(mate, reasons);
        }
        if let Some(priority) = errands.priority.take() {
            // It was checked when it was set, and the base has the bufferevent.
            let _ = base.set_priority_of(key, priority);
        }
    }

    fn panicked(&mut self, base: &Base<A>) {
        base.counters().panics.add(1);
        trace::panicked(&self.bufferevent);
        self.view().abort();
    }
}

impl<A: HandlerAffinity> Source<A> for Confined<A> {
    fn is_connection(&self) -> bool {
        true
    }

    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        self.view().begin_run(reasons, base.now());
        while self.bufferevent.is_plain() {
            match self.view().advance_plain(base.scratch()) {
                Next::Read => self.call_handler(base, Callback::Read),
                Next::Callback => self.call_next(base),
                Next::End if self.ends_plain(base, key) => return After::Idle,
                // What is left there may be for the steps of any run.
                Next::End if self.bufferevent.is_layered() => break,
                Next::End => return self.end(base, key, false),
            }
            if base.interrupts_run() {
                return self.end(base, key, true);
            }
        }
        let broken = loop {
            if !self.view().advance(base.scratch()) {
                break false;
            }
            if self.view().has_news() {
                self.notify(base, Bufferevent::notify_at_once);
            } else if self.view().takes_read() {
                self.call(base, Callback::Read);
            } else {
                self.call_next(base);
            }
            if base.interrupts_run() {
                break true;
            }
        };
        self.end(base, key, broken)
    }

    fn kind(&self) -> &'static str {
        "bufferevent"
    }
}

impl<A: HandlerAffinity> Confined<A> {
    /// Ends a run that is plain still, if it leaves nothing to do.
    #[inline(always)]
    fn ends_plain(&mut self, base: &mut Base<A>, key: Key) -> bool {
        if !self.view().ends_idle(base.scratch()) {
            return false;
        }
        if let Some(at) = self.view().next_plain_alarm() {
            base.arm(key, at);
        }
        self.run_errands(base, key);
        true
    }

    /// Ends a run.
    #[inline(never)]
    fn end(&mut self, base: &mut Base<A>, key: Key, broken: bool) -> After {
        if !broken && self.view().owes_deferred() {
            self.notify(base, Bufferevent::notify_deferred);
        }
        let ended = self.view().end_run(base.scratch());
        if let Some(at) = self.view().next_alarm() {
            base.arm(key, at);
        }
        self.view().look_whether_usual();
        self.run_errands(base, key);
        if ended == Ended::Idle && !broken {
            return After::Idle;
        }
        match ended {
            // If it was broken, the step that is next was not looked for.
            Ended::Idle | Ended::Again => After::Again(Reasons::USER),
            Ended::PutOff => After::NextTurn,
            Ended::Defer => After::Defer(Reasons::EMPTY),
            Ended::Over => After::Remove,
        }
    }
}

impl<A: HandlerAffinity> fmt::Debug for Confined<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self.bufferevent).fmt(f)
    }
}
