//! Who is told: handlers, and closures as handlers.

use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use bufferevent_runtime::{Affinity, Base, BaseCounters, BaseHandle, Movable, Pinned, drop_panic};

use crate::{
    confined::Confined,
    context::{Context, Id},
    error::Result,
    event::Event,
    handle::Handle,
};

/// The callbacks of a bufferevent. Those not given do nothing, but [`Handler::on_drain`], which closes: without
/// [`Handler::on_event`] a connection stays after its peer has ended.
///
/// Callbacks of one bufferevent never overlap. The handler is taken out while it runs, so it may replace itself, close
/// its own or any other bufferevent, start others and stop the base. On a [`Movable`] base, and for a THREADSAFE
/// bufferevent, it must be `Send`.
///
/// ```
/// use bufferevent::{Context, Event, Handler};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_read(&mut self, cx: &mut Context<'_>) {
///         let (input, output) = cx.buffers();
///         // Refused past the cap: it stays in the input until the output has drained.
///         let _ = output.append(input);
///     }
///
///     fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
///         if event.is_terminal() {
///             cx.close();
///         }
///     }
/// }
/// ```
/// # Locks
/// The strand of a THREADSAFE bufferevent is held: locking any strand answers `WouldDeadlock`. [`UnlockedHandler`] is for
/// callbacks that hold nothing.
/// # Libevent
/// `bufferevent_setcb`.
#[doc(alias = "bufferevent_setcb")]
#[doc(alias = "bufferevent_data_cb")]
pub trait Handler<A: HandlerAffinity = Movable> {
    /// The input holds at least the low mark.
    ///
    /// # Libevent
    /// `readcb`.
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        let _ = cx;
    }

    /// The output is down to the low mark, after something was sent. A call of [`enable`](crate::Bufferevent::enable) for writing,
    /// also if it is enabled, brings one where nothing has been written yet.
    ///
    /// # Libevent
    /// `writecb`.
    fn on_write(&mut self, cx: &mut Context<'_, A>) {
        let _ = cx;
    }

    /// Whether [`Handler::on_write`] is to be called when the output has drained; asked once, when the handler is set.
    ///
    /// A handler without that callback may answer false, which saves a call for each write. Default: true.
    /// # Libevent
    /// `writecb` is NULL.
    fn hears_write(&self) -> bool {
        true
    }

    /// Something else happened.
    ///
    /// # Libevent
    /// `eventcb`.
    fn on_event(&mut self, cx: &mut Context<'_, A>, event: Event) {
        let _ = (cx, event);
    }

    /// A [drain](crate::RuntimeExt::drain) has begun: no more is to be begun, and what is under way may be ended. Default: closes,
    /// so that what stands in the output is sent, and no more.
    ///
    /// A handler that has more to send than its output holds goes on, and closes when that is done. What is not closed when the
    /// grace is over is [cut short](crate::Closing::cut_short), as it is by an abort from here on.
    ///
    /// Called once, at any time before the last event, also before [`Event::Connected`]; ahead of what else is due then. So is a
    /// handler that is set later in the drain, or with which a bufferevent is started.
    /// ```
    /// use bufferevent::{Context, Event, Handler};
    ///
    /// /// Sends what it reads from somewhere, a block at a time, once it is enabled for writing.
    /// struct Download<R>(R);
    ///
    /// impl<R: std::io::Read> Handler for Download<R> {
    ///     fn on_write(&mut self, cx: &mut Context<'_>) {
    ///         let mut block = [0; 4096];
    ///         match self.0.read(&mut block) {
    ///             Ok(0) => cx.close(),
    ///             Ok(n) => drop(cx.write(&block[..n])),
    ///             Err(_) => cx.abort(),
    ///         }
    ///     }
    ///
    ///     fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
    ///         if matches!(event, Event::Error { .. }) {
    ///             cx.close();
    ///         }
    ///     }
    ///
    ///     /// What has been begun is sent to the end.
    ///     fn on_drain(&mut self, _: &mut Context<'_>) {}
    /// }
    /// ```
    fn on_drain(&mut self, cx: &mut Context<'_, A>) {
        cx.close();
    }

    /// Whether it reaches for another bufferevent of its base, so that its own must stay there.
    #[doc(hidden)]
    fn is_joined(&self) -> bool {
        false
    }
}

/// The callbacks of a THREADSAFE bufferevent with UNLOCK_CALLBACKS: nothing is held while they run, so they may lock any
/// bufferevent, their own too.
///
/// # Libevent
/// `BEV_OPT_UNLOCK_CALLBACKS`.
#[doc(alias = "BEV_OPT_UNLOCK_CALLBACKS")]
pub trait UnlockedHandler: Send {
    /// The input held at least the low mark when this was called.
    fn on_read(&mut self, bufferevent: &Handle) {
        let _ = bufferevent;
    }

    /// The output was down to the low mark when this was called.
    fn on_write(&mut self, bufferevent: &Handle) {
        let _ = bufferevent;
    }

    /// Whether [`UnlockedHandler::on_write`] is to be called, as [`Handler::hears_write`].
    fn hears_write(&self) -> bool {
        true
    }

    /// Something else happened.
    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        let _ = (bufferevent, event);
    }

    /// A drain has begun, as [`Handler::on_drain`]. Default: closes.
    fn on_drain(&mut self, bufferevent: &Handle) {
        bufferevent.close();
    }
}

/// A handler that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHandler;

impl<A: HandlerAffinity> Handler<A> for NoHandler {
    fn hears_write(&self) -> bool {
        false
    }
}

/// Marks a handler as one that is called with nothing held.
#[derive(Debug)]
pub struct Unlocked<U>(pub(crate) U);

/// How a base of one affinity stores handlers, and the bufferevents they belong to.
pub trait HandlerAffinity: Affinity {
    /// A handler as it is stored.
    type Handler: Handler<Self> + ?Sized;

    #[doc(hidden)]
    fn source(confined: Confined<Self>) -> Box<Self::Source>;

    #[doc(hidden)]
    fn send(confined: Confined<Self>, base: &BaseHandle<Self>, id: Id) -> Result<()>;
}

impl HandlerAffinity for Movable {
    type Handler = dyn Handler<Movable> + Send;

    fn source(confined: Confined<Self>) -> Box<Self::Source> {
        Box::new(confined)
    }

    fn send(confined: Confined<Self>, base: &BaseHandle<Self>, id: Id) -> Result<()> {
        Ok(base.post(move |base: &mut Base| confined.arrive(base, id))?)
    }
}

impl HandlerAffinity for Pinned {
    type Handler = dyn Handler<Pinned>;

    fn source(confined: Confined<Self>) -> Box<Self::Source> {
        Box::new(confined)
    }

    /// A handler that may be `!Send` is started on its own thread only.
    fn send(_: Confined<Self>, _: &BaseHandle<Self>, _: Id) -> Result<()> {
        Err(bufferevent_runtime::Error::WrongAffinity.into())
    }
}

/// A handler that a base of affinity `A` may store: any for [`Pinned`], only `Send` ones for [`Movable`].
///
/// What is not `Send` stays out of a base that workers pass among themselves:
///
/// ```compile_fail,E0277
/// use bufferevent::{Base, Bufferevent, Handler};
/// use std::{os::unix::net::UnixStream, rc::Rc};
///
/// struct Counts(Rc<()>);
/// impl Handler for Counts {}
///
/// fn start(base: &mut Base, socket: UnixStream) {
///     let _ = Bufferevent::socket(socket).handler(Counts(Rc::new(()))).start(base);
/// }
/// ```
///
/// On a base that keeps its thread it may be. There the handler says so: `impl Handler` alone is for `Base<Movable>`, and a
/// `Base<Pinned>` answers to it `expected Movable, found Pinned`.
///
/// ```
/// use bufferevent::{Base, Bufferevent, Handler, Pinned};
/// use std::{os::unix::net::UnixStream, rc::Rc};
///
/// struct Counts(Rc<()>);
/// impl Handler<Pinned> for Counts {}
///
/// fn start(base: &mut Base<Pinned>, socket: UnixStream) {
///     let _ = Bufferevent::socket(socket).handler(Counts(Rc::new(()))).start(base);
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler that this base may own",
    label = "a base of this kind does not take `{Self}`",
    note = "for a base of a runtime, a `Base<Movable>`, it implements `Handler` and is `Send`, since workers pass such bases among themselves",
    note = "for a `Base<Pinned>`, which keeps its thread, it implements `Handler<Pinned>`, and may be not `Send`",
    note = "for both: `impl<A: HandlerAffinity> Handler<A> for ...`; an `UnlockedHandler` goes to `threadsafe().unlocked(..)`"
)]
pub trait IntoHandler<A: HandlerAffinity> {
    /// Boxes the handler.
    fn into_handler(self) -> Box<A::Handler>;
}

impl<H: Handler<Movable> + Send + 'static> IntoHandler<Movable> for H {
    fn into_handler(self) -> Box<<Movable as HandlerAffinity>::Handler> {
        Box::new(self)
    }
}

impl<H: Handler<Pinned> + 'static> IntoHandler<Pinned> for H {
    fn into_handler(self) -> Box<<Pinned as HandlerAffinity>::Handler> {
        Box::new(self)
    }
}

/// Closures as a handler.
///
/// ```
/// use bufferevent::{Callbacks, Context};
///
/// let handler = Callbacks::new()
///     .on_read(|cx: &mut Context<'_>| drop(cx.input().take_bytes(1)))
///     .on_event(|cx, event| if event.is_terminal() { cx.close() });
/// # drop(handler);
/// ```
pub struct Callbacks<A: HandlerAffinity = Movable, R = (), W = (), E = (), D = ()> {
    read: R,
    write: W,
    event: E,
    drain: D,
    affinity: PhantomData<fn(A)>,
}

impl<A: HandlerAffinity> Callbacks<A> {
    /// No callbacks yet.
    #[must_use]
    pub fn new() -> Self {
        Self { read: (), write: (), event: (), drain: (), affinity: PhantomData }
    }
}

impl<A: HandlerAffinity> Default for Callbacks<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: HandlerAffinity, R, W, E, D> Callbacks<A, R, W, E, D> {
    /// Sets what [`Handler::on_read`] calls.
    pub fn on_read<F: FnMut(&mut Context<'_, A>)>(self, read: F) -> Callbacks<A, Call<F>, W, E, D> {
        let Self { write, event, drain, affinity, .. } = self;
        Callbacks { read: Call(read), write, event, drain, affinity }
    }

    /// Sets what [`Handler::on_write`] calls.
    pub fn on_write<F: FnMut(&mut Context<'_, A>)>(self, write: F) -> Callbacks<A, R, Call<F>, E, D> {
        let Self { read, event, drain, affinity, .. } = self;
        Callbacks { read, write: Call(write), event, drain, affinity }
    }

    /// Sets what [`Handler::on_event`] calls.
    pub fn on_event<F: FnMut(&mut Context<'_, A>, Event)>(self, event: F) -> Callbacks<A, R, W, Call<F>, D> {
        let Self { read, write, drain, affinity, .. } = self;
        Callbacks { read, write, event: Call(event), drain, affinity }
    }

    /// Sets what [`Handler::on_drain`] calls; without it, it closes.
    pub fn on_drain<F: FnMut(&mut Context<'_, A>)>(self, drain: F) -> Callbacks<A, R, W, E, Call<F>> {
        let Self { read, write, event, affinity, .. } = self;
        Callbacks { read, write, event, drain: Call(drain), affinity }
    }
}

impl<A: HandlerAffinity, R, W, E, D> fmt::Debug for Callbacks<A, R, W, E, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").finish_non_exhaustive()
    }
}

/// A closure in [`Callbacks`].
#[derive(Debug)]
pub struct Call<F>(F);

/// A read, write or drain callback of [`Callbacks`]: a closure, or nothing.
pub trait DataCall<A: HandlerAffinity> {
    /// Whether there is anything to call.
    const IS_CALL: bool = true;

    /// Calls it.
    fn call(&mut self, cx: &mut Context<'_, A>);
}

/// An event callback of [`Callbacks`]: a closure, or nothing.
pub trait EventCall<A: HandlerAffinity> {
    /// Calls it.
    fn call(&mut self, cx: &mut Context<'_, A>, event: Event);
}

impl<A: HandlerAffinity> DataCall<A> for () {
    const IS_CALL: bool = false;

    fn call(&mut self, _: &mut Context<'_, A>) {}
}

impl<A: HandlerAffinity> EventCall<A> for () {
    fn call(&mut self, _: &mut Context<'_, A>, _: Event) {}
}

impl<A: HandlerAffinity, F: FnMut(&mut Context<'_, A>)> DataCall<A> for Call<F> {
    fn call(&mut self, cx: &mut Context<'_, A>) {
        (self.0)(cx);
    }
}

impl<A: HandlerAffinity, F: FnMut(&mut Context<'_, A>, Event)> EventCall<A> for Call<F> {
    fn call(&mut self, cx: &mut Context<'_, A>, event: Event) {
        (self.0)(cx, event);
    }
}

impl<A: HandlerAffinity, R: DataCall<A>, W: DataCall<A>, E: EventCall<A>, D: DataCall<A>> Handler<A>
    for Callbacks<A, R, W, E, D>
{
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        self.read.call(cx);
    }

    fn on_write(&mut self, cx: &mut Context<'_, A>) {
        self.write.call(cx);
    }

    fn hears_write(&self) -> bool {
        W::IS_CALL
    }

    fn on_event(&mut self, cx: &mut Context<'_, A>, event: Event) {
        self.event.call(cx, event);
    }

    fn on_drain(&mut self, cx: &mut Context<'_, A>) {
        if D::IS_CALL { self.drain.call(cx) } else { cx.close() }
    }
}

/// What becomes of a panic in a callback.
///
/// A panic in the drop of a handler, of output that was not sent when the bufferevent ended, or of what a panic said, is isolated whatever the
/// policy: it is counted among the base's panics, and the bufferevent goes on, or ends, as if there had been none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// The bufferevent is aborted, the rest goes on.
    #[default]
    Isolate,
    /// It ends the runtime, gracefully: the bufferevent is aborted, the others end as in a [drain](crate::RuntimeExt::drain) of
    /// 5 s, on all workers, and [`Runtime::run`](crate::Runtime::run) answers
    /// [`WorkerPanicked`](bufferevent_runtime::Error::WorkerPanicked), which names the worker. On a base that is driven by hand
    /// it comes out of the turn.
    Propagate,
    /// The process is aborted.
    Abort,
}

impl PanicPolicy {
    /// Runs `call`; false if it panicked and that is to be isolated.
    #[inline(always)]
    pub(crate) fn guard(self, call: impl FnOnce()) -> bool {
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(()) => true,
            Err(panic) => match self {
                Self::Isolate => {
                    drop_panic(panic);
                    false
                }
                Self::Propagate => resume_unwind(panic),
                Self::Abort => std::process::abort(),
            },
        }
    }
}

/// Runs code of the user's that is no callback; a panic in there is counted and goes no further.
pub(crate) fn isolate(counters: &BaseCounters, call: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(call)) {
        drop_panic(panic);
        counters.panics.add(1);
    }
}

/// Drops something of the user's.
#[cold]
pub(crate) fn discard<T>(counters: &BaseCounters, garbage: T) {
    isolate(counters, || drop(garbage));
}

/// Puts a handler back after its callback; one that was replaced meanwhile is dropped.
#[inline(always)]
pub(crate) fn put_back<H: ?Sized>(counters: &BaseCounters, slot: &mut Option<Box<H>>, handler: Box<H>) {
    match slot {
        None => *slot = Some(handler),
        Some(_) => discard(counters, handler),
    }
}
