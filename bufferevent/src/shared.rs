//! A THREADSAFE bufferevent: the body of a strand.

use std::{fmt, sync::Arc};

use bufferevent_runtime::{
    BaseCounters, BaseHandle, Body, CallbackKind, Held, Left, Lent, Lifecycle, Reasons, Seating, Strand,
    Waiter,
};
use bufferevent_sync::Leaf;

use crate::{
    bufferevent::{Bufferevent, Home, Owned},
    context::{Context, Spot},
    engine::Ended,
    event::Closed,
    handle::Handle,
    handler::{Handler, PanicPolicy, UnlockedHandler, discard, isolate, put_back},
    interest::Direction,
    mailbox::{Bounds, Mailbox, Op},
    pair::Line,
    pending::{Callback, Due},
    plain::Next,
    trace,
};

/// What the strand's lock protects.
#[allow(unnameable_types, reason = "an implementation detail that only the runtime is told of")]
pub struct Stack {
    bufferevent: Owned,
    pub(crate) slot: Slot,
    base: BaseHandle,
    on_panic: PanicPolicy,
}

/// The handler; `None` while it runs.
#[allow(unnameable_types, reason = "an implementation detail that only the runtime is told of")]
pub enum Slot {
    /// Called with the strand held.
    Locked(Option<Box<dyn Handler + Send>>),
    /// Called with nothing held.
    Unlocked(Option<Box<dyn UnlockedHandler>>),
}

/// What any thread may reach without the lock.
#[allow(unnameable_types, reason = "an implementation detail that only the runtime is told of")]
#[derive(Default)]
pub struct Outer {
    pub(crate) mailbox: Mailbox,
    pub(crate) bounds: Bounds,
    pub(crate) lifecycle: Lifecycle,
    waiter: Waiter,
    left: Leaf<LeftBehind>,
}

/// Leaf lock; what a run or the end has left behind.
#[derive(Default)]
struct LeftBehind {
    /// The handler of an unlocked callback that came back while a guard held the strand.
    handler: Option<Box<dyn UnlockedHandler>>,
    closed: Option<Closed>,
}

impl Outer {
    pub(crate) fn new(bufferevent: &Bufferevent) -> Self {
        let bounds = Bounds { high: bufferevent.write.high.get(), cap: bufferevent.output.limit() };
        Self { bounds, ..Self::default() }
    }

    /// Waits until the bufferevent has ended.
    pub(crate) fn wait(&self) -> Option<Closed> {
        if self.lifecycle.wait_begin() {
            self.waiter.wait();
        }
        self.left.lock().closed.take()
    }

    fn finish(&self, closed: Option<Closed>) {
        self.left.lock().closed = closed;
        if self.lifecycle.finish() {
            self.waiter.wake();
        }
    }
}

impl Stack {
    pub(crate) fn new(mut bufferevent: Owned, slot: Slot, base: BaseHandle, on_panic: PanicPolicy) -> Self {
        match &slot {
            Slot::Locked(Some(handler)) => bufferevent.heed(handler.hears_write()),
            Slot::Unlocked(Some(handler)) => bufferevent.heed(handler.hears_write()),
            Slot::Locked(None) | Slot::Unlocked(None) => bufferevent.heed(false),
        }
        Self { bufferevent, slot, base, on_panic }
    }

    pub(crate) fn view(&mut self) -> &mut Bufferevent {
        &mut self.bufferevent
    }

    /// What is moved together: the bufferevent, and where it is.
    pub(crate) fn parts(&mut self) -> (&mut Bufferevent, &mut BaseHandle) {
        (&mut self.bufferevent, &mut self.base)
    }

    pub(crate) fn counters(&self) -> &BaseCounters {
        self.base.counters()
    }

    pub(crate) fn look(&self) -> &Bufferevent {
        &self.bufferevent
    }

    /// The base knows the strand now: registers the descriptor, so that its first event finds the strand.
    fn start(&mut self, strand: &Arc<Strand<Self>>) {
        let since = self.base.now();
        let home = Home::new(self.base.clone(), strand.key(), since, true);
        self.view().settle_at(home);
        self.view().attach_pair(&Line::Strand(Arc::clone(strand)));
        if let Err(error) = self.view().register() {
            self.view().fail(Direction::Read, error);
        }
    }

    fn apply_mail(&mut self, seating: Seating<'_, Self>) {
        if let Some(base) = seating.strand().outer().mailbox.apply(self.view()) {
            // Who mailed it looks where it is.
            let _ = self.set_base(seating, &base);
        }
    }

    #[inline(always)]
    fn call_locked(&mut self, seating: Seating<'_, Self>, callback: Callback) {
        if self.bufferevent.times_callbacks() {
            self.call_locked_timed(seating, callback);
        } else {
            self.call_handler(seating, callback);
        }
    }

    #[cold]
    fn call_locked_timed(&mut self, seating: Seating<'_, Self>, callback: Callback) {
        let _inside = self.bufferevent.callback_begins(callback.kind());
        self.call_handler(seating, callback);
    }

    #[inline(always)]
    fn call_handler(&mut self, seating: Seating<'_, Self>, callback: Callback) {
        let Self { bufferevent, slot: Slot::Locked(slot), base, on_panic } = self else { return };
        let Some(mut handler) = slot.take() else { return };
        trace::callback(bufferevent, &callback);
        let mut context = Context { bufferevent, spot: Spot::Strand(base, seating), replaced: slot };
        let returned = on_panic.guard(|| match callback {
            Callback::Read => handler.on_read(&mut context),
            Callback::Write => handler.on_write(&mut context),
            Callback::Drain => handler.on_drain(&mut context),
            Callback::Event(event) => handler.on_event(&mut context, event),
        });
        put_back(base.counters(), slot, handler);
        if !returned {
            self.panicked();
        }
    }

    /// Calls observers of the buffers.
    #[cold]
    fn notify(&mut self, tell: fn(&mut Bufferevent)) {
        let _inside = self.bufferevent.callback_begins(CallbackKind::Observer);
        if !self.on_panic.guard(|| tell(&mut self.bufferevent)) {
            self.panicked();
        }
    }

    /// Takes the handler of an unlocked callback back that found the strand in the hands of a guard.
    #[inline]
    fn take_back(&mut self, outer: &Outer) {
        let Slot::Unlocked(slot) = &mut self.slot else { return };
        let left = outer.left.lock().handler.take();
        if let Some(handler) = left {
            put_back(self.base.counters(), slot, handler);
        }
    }

    /// It is over: the handler is dropped, since it may keep a handle to this very strand.
    fn finish(&mut self, outer: &Outer) {
        // Before the handler is dropped, which may ask.
        let _first = outer.lifecycle.request_close();
        self.take_back(outer);
        outer.mailbox.close(self.view());
        self.view().count_end();
        let closed = self.view().outcome();
        // A handle may keep the rest for long.
        self.view().memory = None;
        let (input, output) =
            (std::mem::take(&mut self.view().input), std::mem::take(&mut self.view().output));
        let layer = self.view().take_layer();
        let handler = std::mem::replace(&mut self.slot, Slot::Locked(None));
        discard(self.base.counters(), input);
        discard(self.base.counters(), output);
        discard(self.base.counters(), layer);
        discard(self.base.counters(), handler);
        outer.finish(closed);
    }

    fn panicked(&mut self) {
        self.base.counters().panics.add(1);
        trace::panicked(&self.bufferevent);
        self.view().abort();
    }
}

/// Applies what was mailed since the run began. One that has ended must not miss any: its outcome is told next. True: the
/// run is interrupted.
fn collect_mail(held: &mut Held<'_, Stack>) -> bool {
    let mailed = held.strand().take(Reasons::MAIL).contains(Reasons::MAIL);
    let (stack, seating) = held.seating();
    if !mailed && !stack.look().has_ended() {
        return false;
    }
    stack.apply_mail(seating);
    held.is_interrupted()
}

/// After a callback: what was accepted while it ran is to be sent before our side is ended.
#[inline(always)]
fn collect_last_mail(held: &mut Held<'_, Stack>) {
    if held.body().look().is_closing() {
        let _looked_at_next = collect_mail(held);
    }
}

/// Calls an unlocked handler with the strand's lock dropped. False: a guard took the lock meanwhile, the run must end.
fn call_unlocked(held: &mut Held<'_, Stack>, callback: Callback) -> bool {
    let strand = held.strand();
    let on_panic = held.body().on_panic;
    trace::callback(held.body().look(), &callback);
    let Stack { bufferevent, slot: Slot::Unlocked(slot), .. } = held.body() else { return true };
    let Some(mut handler) = slot.take() else {
        // It has gone with a panic that got out.
        bufferevent.abort();
        return true;
    };
    let inside = bufferevent.callback_begins(callback.kind());
    let handle = Handle::new(Arc::clone(strand));
    let (returned, locked) = held.unlocked(|| {
        on_panic.guard(|| match callback {
            Callback::Read => handler.on_read(&handle),
            Callback::Write => handler.on_write(&handle),
            Callback::Drain => handler.on_drain(&handle),
            Callback::Event(event) => handler.on_event(&handle, event),
        })
    });
    drop(inside);
    if !locked {
        // Nothing is there: this run has taken what an earlier one left.
        strand.outer().left.lock().handler = Some(handler);
        if !returned {
            handle.base().counters().panics.add(1);
            // It is refused only if another waits there.
            let _ = strand.outer().mailbox.push(Op::Abort, Bounds::default());
        }
        return false;
    }
    let stack = held.body();
    if let Slot::Unlocked(slot) = &mut stack.slot {
        put_back(stack.base.counters(), slot, handler);
    }
    if !returned {
        stack.panicked();
    }
    true
}

impl Body for Stack {
    type Outer = Outer;

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left {
        let strand = held.strand();
        let outer = strand.outer();
        if reasons.contains(Reasons::START) {
            held.body().start(strand);
        }
        held.body().take_back(outer);
        if reasons.contains(Reasons::MAIL) {
            let (stack, seating) = held.seating();
            stack.apply_mail(seating);
        }
        held.body().view().begin_run(reasons, lent.now);
        let locked = matches!(held.body().slot, Slot::Locked(_));
        let mut plain = locked && held.body().look().is_plain();
        while plain {
            let (stack, seating) = held.seating();
            let next = stack.view().advance_plain(lent.scratch);
            if next == Next::End {
                if ends_plain(held, lent) {
                    return Left::Idle;
                }
                if !held.body().look().is_layered() {
                    return end(held, lent, false);
                }
                // What is left there may be for the steps of any run.
                break;
            }
            if strand.take(Reasons::MAIL).contains(Reasons::MAIL) {
                if next == Next::Read {
                    // It may have to wait, or be dropped, for what came.
                    stack.view().pending.read(Due::Io);
                }
                stack.apply_mail(seating);
                break;
            }
            if next == Next::Read {
                stack.call_handler(seating, Callback::Read);
            } else if let Some(callback) = stack.view().next_callback() {
                stack.call_handler(seating, callback);
            }
            plain = stack.look().is_plain();
            if !plain {
                collect_last_mail(held);
            }
            if held.is_interrupted() {
                return end(held, lent, true);
            }
        }
        let broken = loop {
            if held.is_interrupted() {
                break true;
            }
            if !held.body().view().advance(lent.scratch) {
                break false;
            }
            if collect_mail(held) {
                break true;
            }
            let (stack, seating) = held.seating();
            if stack.look().has_news() {
                stack.notify(Bufferevent::notify_at_once);
                continue;
            }
            if locked && stack.view().takes_read() {
                stack.call_locked(seating, Callback::Read);
            } else {
                let Some(callback) = stack.view().next_callback() else { continue };
                if locked {
                    stack.call_locked(seating, callback);
                } else if !call_unlocked(held, callback) {
                    return Left::Contended(Reasons::DEFERRED | Reasons::MAIL);
                }
            }
            collect_last_mail(held);
        };
        end(held, lent, broken)
    }

    fn abandon(&mut self, outer: &Outer) {
        outer.mailbox.close(self.view());
        let Self { bufferevent, base, .. } = self;
        isolate(base.counters(), || bufferevent.close_without_waiting());
        // Also if that panicked on its way.
        bufferevent.abort();
        self.finish(outer);
    }
}

/// Ends a run that is plain still, if it leaves nothing to do.
#[inline(always)]
fn ends_plain(held: &mut Held<'_, Stack>, lent: &mut Lent<'_>) -> bool {
    let view = held.body().view();
    if !view.ends_idle(lent.scratch) || !view.run.errands.is_empty() {
        return false;
    }
    if let Some(at) = view.next_plain_alarm() {
        held.strand().arm(Some(at));
    }
    true
}

#[inline(never)]
fn end(held: &mut Held<'_, Stack>, lent: &mut Lent<'_>, broken: bool) -> Left {
    let strand = held.strand();
    if !broken && held.body().look().owes_deferred() {
        held.body().notify(Bufferevent::notify_deferred);
    }
    let view = held.body().view();
    let ended = view.end_run(lent.scratch);
    if let Some(at) = view.next_alarm() {
        strand.arm(Some(at));
    }
    if let Some(priority) = view.run.errands.priority.take() {
        strand.set_priority(priority);
    }
    view.look_whether_usual();
    if view.is_closing() {
        let _first = strand.outer().lifecycle.request_close();
    }
    match ended {
        // The step that is next was not looked for.
        Ended::Idle if broken => Left::Again(Reasons::USER),
        Ended::Idle => Left::Idle,
        Ended::Again | Ended::PutOff => Left::Again(Reasons::USER),
        Ended::Defer => Left::Again(Reasons::DEFERRED),
        Ended::Over => {
            held.body().finish(strand.outer());
            Left::Dead
        }
    }
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.look().fmt(f)
    }
}

impl fmt::Debug for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outer").field("lifecycle", &self.lifecycle).finish_non_exhaustive()
    }
}
