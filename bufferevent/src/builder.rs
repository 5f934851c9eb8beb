//! How a bufferevent is made and started.

use std::{fmt, marker::PhantomData, net::SocketAddr, num::NonZeroU32, time::Duration};

use bufferevent_ratelimit::TokenBucketConfig;
use bufferevent_runtime::{Base, BaseHandle, Placement, Reasons};
use socket2::SockAddr;

use crate::{
    bufferevent::{Bufferevent, Home, Owned, Phase, Socket},
    confined::Confined,
    context::{Id, Place, Spot},
    error::{Error, Result},
    filter::Filter,
    handle::Handle,
    handler::{Handler, HandlerAffinity, IntoHandler, NoHandler, PanicPolicy, Unlocked, UnlockedHandler},
    interest::{Direction, Interest},
    memory::{Member, MemoryLimit},
    options::Options,
    pair::PairEnd,
    shared::{Outer, Slot, Stack},
    stream::Stream,
    target::Target,
    throttle::RateLimitGroup,
};

/// Marks a [`Builder`] whose bufferevent will be confined to its base.
#[derive(Debug)]
pub enum ConfinedKind {}

/// Marks a [`Builder`] whose bufferevent will be THREADSAFE.
#[derive(Debug)]
pub enum SharedKind {}

/// A bufferevent that is not started yet.
///
/// Dropped unstarted it closes its descriptor, unless CLOSE_ON_FREE is off; what was written to it is sent first, as far
/// as the socket takes it without waiting.
///
/// ```
/// use bufferevent::{Base, Bufferevent, Interest, NoHandler, Pinned};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut base = Base::<Pinned>::new()?;
/// let id = Bufferevent::socket(ours).handler(NoHandler).enable(Interest::READ).start(&mut base)?;
/// # let _ = id;
/// # Ok::<(), bufferevent::Error>(())
/// ```
/// # Libevent
/// `bufferevent_socket_new`.
#[doc(alias = "bufferevent_socket_new")]
#[must_use = "a bufferevent does nothing until it is started"]
pub struct Builder<Kind = ConfinedKind, H = NoHandler> {
    bufferevent: Owned,
    begin: Begin,
    handler: H,
    placement: Placement,
    on_panic: PanicPolicy,
    error: Option<Error>,
    kind: PhantomData<fn(Kind)>,
}

/// What is to be done at the start.
enum Begin {
    Nothing,
    /// Check the descriptor, which the bufferevent has already.
    Check,
    Connect(SockAddr),
}

impl Bufferevent {
    /// A bufferevent over a connected stream socket, which is made non-blocking. Reading is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_new`. Differs: reading is on from the start.
    #[doc(alias = "bufferevent_socket_new")]
    pub fn socket(stream: impl Into<Stream>) -> Builder {
        Builder::over(stream.into(), Phase::Open)
    }

    /// A bufferevent that connects to `address` when it is started: of the internet, or that of a Unix-domain socket
    /// ([`SockAddr::unix`]). Reading is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_new` with -1, then `bufferevent_socket_connect`.
    #[doc(alias = "bufferevent_socket_connect")]
    pub fn connect(address: impl Into<SockAddr>) -> Builder {
        Builder::new(Begin::Connect(address.into()))
    }

    /// A bufferevent that connects to a host, by its name or as a literal address, at `port`: see
    /// [`Bufferevent::connect_to_host`]. What is wrong with them is told by `start`. Reading is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_new` with -1, then `bufferevent_socket_connect_hostname`.
    #[doc(alias = "bufferevent_socket_connect_hostname")]
    pub fn connect_host(host: &str, port: u16) -> Builder {
        Builder::toward(Target::host(host, port))
    }

    /// A bufferevent that connects to any of `addresses`, the first that can be had: see [`Target`]. That there is none is
    /// told by `start`. Reading is enabled.
    pub fn connect_any(addresses: &[SocketAddr]) -> Builder {
        Builder::toward(Target::any(addresses))
    }

    /// A bufferevent that connects to `target`. Reading is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_new` with -1, then `bufferevent_socket_connect_hostname_hints`.
    #[doc(alias = "bufferevent_socket_connect_hostname_hints")]
    pub fn connect_target(target: Target) -> Builder {
        Builder::toward(Ok(target))
    }

    /// A bufferevent over a socket whose connect is under way. Reading is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_connect` with no address.
    pub fn connect_pending(stream: impl Into<Stream>) -> Builder {
        Builder::over(stream.into(), Phase::Connecting)
    }

    /// A bufferevent over a transport that does what a test says. Reading is enabled. It has no descriptor, and so none to
    /// hand back.
    ///
    /// `start` answers [`Error::AlreadyConnected`] if the wire is, or was, another bufferevent's.
    #[cfg(feature = "test-util")]
    pub fn scripted(wire: &crate::testing::Wire) -> Builder {
        let mut builder = Builder::new(Begin::Nothing);
        builder.bufferevent.phase = if wire.is_connected() { Phase::Open } else { Phase::Connecting };
        match wire.plug() {
            Ok(plug) => builder.bufferevent.socket = Socket::Scripted(plug),
            Err(error) => builder.error = Some(error),
        }
        builder
    }

    /// Two bufferevents joined without a socket: what one writes the other reads. Reading is enabled at both.
    ///
    /// Each half is a bufferevent like any other: started, confined or THREADSAFE, with options, limits and marks of its own, on the
    /// same base or on another, to which it can move. What one sends waits in a queue of [`PAIR_QUEUE`](crate::PAIR_QUEUE) bytes until
    /// the other reads it; blocks are passed on, nothing is copied. No half ever locks the other or runs its callbacks, so
    /// callbacks of both may write to both.
    ///
    /// [`close`](Bufferevent::close) of one half ends it when its output is in the queue, and the other reads the end behind
    /// that. It does not wait for the other: what is in the queue counts as sent ([`Closed`](crate::Closed)). A half that is
    /// dropped with its builder ends so too. One that closes takes nothing any more; if it ends before all is in the queue, by a
    /// bound of the close, the other is told an [`Event::Error`](crate::Event::Error) behind what is.
    ///
    /// [`abort`](Bufferevent::abort) of one half, or a panic in its callback, only unlinks the other: that reads what is in the
    /// queue, is told nothing, and can write nothing more ([`Error::Unlinked`]). One that only reads finds out by a read
    /// [timeout](Bufferevent::set_timeouts), or by asking: [`partner`](Bufferevent::partner),
    /// [`explain`](Bufferevent::explain).
    ///
    /// ```
    /// use bufferevent::{Base, BaseExt, Bufferevent, Callbacks, Context, NoHandler, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// let (one, other) = Bufferevent::pair();
    /// let one = one.handler(NoHandler).start(&mut base)?;
    /// let echo = |cx: &mut Context<'_, Pinned>| {
    ///     let (input, output) = cx.buffers();
    ///     let _ = output.append(input);
    /// };
    /// other.handler(Callbacks::new().on_read(echo)).start(&mut base)?;
    /// base.bufferevent(one)?.write(b"hello")?;
    /// while base.bufferevent(one)?.input().is_empty() {
    ///     base.turn(None)?;
    /// }
    /// assert_eq!(*base.bufferevent(one)?.input(), b"hello");
    /// # Ok::<(), bufferevent::Error>(())
    /// ```
    /// # Libevent
    /// `bufferevent_pair_new`. Differs: the halves need not share a base or their options; reading is on from the start.
    #[doc(alias = "bufferevent_pair_new")]
    pub fn pair() -> (Builder, Builder) {
        let (one, other) = PairEnd::both();
        let half = |end| {
            let mut builder = Builder::new(Begin::Nothing);
            builder.bufferevent.socket = Socket::Pair(Box::new(end));
            builder.bufferevent.phase = Phase::Open;
            builder
        };
        (half(one), half(other))
    }

    /// A bufferevent that has no socket yet: [`Bufferevent::set_fd`] or [`Bufferevent::connect_to`] gives it one. Reading
    /// is enabled.
    ///
    /// # Libevent
    /// `bufferevent_socket_new` with -1.
    pub fn detached() -> Builder {
        Builder::new(Begin::Nothing)
    }
}

impl Builder {
    fn over(mut stream: Stream, phase: Phase) -> Self {
        let mut builder = Self::new(Begin::Check);
        builder.bufferevent.permit = stream.take_permit();
        builder.bufferevent.socket = Socket::Idle(stream);
        builder.bufferevent.phase = phase;
        builder
    }

    /// Of what was below a filter, to be started again.
    pub(crate) fn of_lower(mut lower: Owned) -> Self {
        // The others were of the whole.
        let closes = lower.options.contains(Options::CLOSE_ON_FREE);
        lower.options = Options::NONE.with(Options::CLOSE_ON_FREE, closes);
        Self { bufferevent: lower, ..Self::new(Begin::Nothing) }
    }

    fn toward(target: Result<Target>) -> Self {
        let mut builder = Self::new(Begin::Nothing);
        let begun = target.and_then(|target| builder.bufferevent.connect_to_target(target));
        builder.error = begun.err();
        builder
    }

    fn new(begin: Begin) -> Self {
        let mut bufferevent = Owned::new(Options::CLOSE_ON_FREE);
        bufferevent.enabled = Interest::BOTH;
        Self {
            bufferevent,
            begin,
            handler: NoHandler,
            placement: Placement::Any,
            on_panic: PanicPolicy::Isolate,
            error: None,
            kind: PhantomData,
        }
    }
}

impl<K, H> Builder<K, H> {
    /// Sets the handler.
    pub fn handler<N>(self, handler: N) -> Builder<K, N> {
        let Self { bufferevent, begin, placement, on_panic, error, .. } = self;
        Builder { bufferevent, begin, handler, placement, on_panic, error, kind: PhantomData }
    }

    /// Sets which directions are enabled at first. Default: both.
    pub fn enable(mut self, directions: Interest) -> Self {
        self.bufferevent.enabled = self.bufferevent.unless_shut(directions);
        self
    }

    /// Sets how urgent it is, see [`Bufferevent::set_priority`]; a priority that the base does not have is told by `start`.
    /// Default: the middle one.
    #[doc(alias = "bufferevent_priority_set")]
    pub fn priority(mut self, priority: u8) -> Self {
        self.bufferevent.priority = Some(priority);
        self.bufferevent.run.errands.priority = Some(priority);
        self
    }

    /// Closes the descriptor when the bufferevent ends, or leaves it open. Default: closes.
    ///
    /// One that is left open comes back by [`Event::Closed`](crate::Event::Closed), if that is asked for
    /// ([`Builder::report_close`]), by [`Handle::close_and_wait`], or by [`Bufferevent::take_fd`] before; else nobody owns it.
    #[doc(alias = "BEV_OPT_CLOSE_ON_FREE")]
    pub fn close_on_free(mut self, on: bool) -> Self {
        self.bufferevent.options = self.bufferevent.options.with(Options::CLOSE_ON_FREE, on);
        self
    }

    /// Runs callbacks from the deferred queue. Default: at once.
    #[doc(alias = "BEV_OPT_DEFER_CALLBACKS")]
    pub fn deferred(mut self) -> Self {
        self.bufferevent.options = self.bufferevent.options | Options::DEFER_CALLBACKS;
        self
    }

    /// Tells a last [`Event::Closed`](crate::Event::Closed) when the bufferevent has ended. Default: not.
    ///
    /// No callback comes when the base ends first, by [`Runtime::stop`](crate::Runtime::stop) or because the grace of a
    /// shutdown is over: what is left then goes to [`Handle::close_and_wait`].
    pub fn report_close(mut self) -> Self {
        self.bufferevent.told.report_close = true;
        self
    }

    /// What becomes of a panic in a callback. Default: [`PanicPolicy::Isolate`].
    pub fn on_panic(mut self, policy: PanicPolicy) -> Self {
        self.on_panic = policy;
        self
    }

    /// Sets the watermarks of the input; see [`Bufferevent::set_read_watermark`]. A wrong pair is told by `start`.
    pub fn read_watermark(mut self, low: usize, high: Option<usize>) -> Self {
        self.error = self.bufferevent.set_read_watermark(low, high).err().or(self.error);
        self
    }

    /// Sets the watermarks of the output; see [`Bufferevent::set_write_watermark`]. A wrong pair is told by `start`.
    pub fn write_watermark(mut self, low: usize, high: Option<usize>) -> Self {
        self.error = self.bufferevent.set_write_watermark(low, high).err().or(self.error);
        self
    }

    /// Sets how long each direction may make no progress; see [`Bufferevent::set_timeouts`].
    pub fn timeouts(mut self, read: Option<Duration>, write: Option<Duration>) -> Self {
        self.bufferevent.set_timeouts(read, write);
        self
    }

    /// Sets how long a connect may take; see [`Bufferevent::set_connect_timeout`].
    pub fn connect_timeout(mut self, after: Option<Duration>) -> Self {
        self.bufferevent.set_connect_timeout(after);
        self
    }

    /// Sets how long the bufferevent may live, from its start; see [`Bufferevent::set_lifetime`].
    pub fn lifetime(mut self, after: Option<Duration>) -> Self {
        self.bufferevent.set_lifetime(after);
        self
    }

    /// Sets the most input and the most output there may be; see [`Bufferevent::set_input_cap`] and
    /// [`Bufferevent::set_output_cap`].
    pub fn caps(mut self, input: Option<usize>, output: Option<usize>) -> Self {
        self.bufferevent.set_input_cap(input);
        self.bufferevent.set_output_cap(output);
        self
    }

    /// Counts what its buffers hold under `limit`, until it has ended. Default: no limit.
    pub fn memory(mut self, limit: &MemoryLimit) -> Self {
        self.bufferevent.memory = Some(Box::new(Member::new(limit)));
        self
    }

    /// Puts a filter above what was built so far: from here on the builder is of a bufferevent that owns that one, and through
    /// which `filter` lets all data pass. Filters stack, up to [`MAX_LAYERS`](crate::MAX_LAYERS); they are one
    /// bufferevent, with one handler, one strand and one name.
    ///
    /// What was set before goes for what is below: directions, watermarks, timeouts, limits, caps, CLOSE_ON_FREE. What comes after
    /// goes for the filter. The handler, THREADSAFE, the placement, the priority, deferring, what becomes of a panic and
    /// [`report_close`](Builder::report_close) are of the whole, whenever they are set. Both directions are enabled.
    ///
    /// What concerns the connection is passed on: [`fd`](Bufferevent::fd), [`set_fd`](Bufferevent::set_fd), `connect_to` and their
    /// kin. [`Bufferevent::underlying`] gives what is below.
    ///
    /// One filter too many is [`Error::TooDeep`] at the start.
    /// # Libevent
    /// `bufferevent_filter_new`.
    #[doc(alias = "bufferevent_filter_new")]
    pub fn filter(mut self, filter: impl Filter) -> Self {
        match self.bufferevent.put_under(filter) {
            Ok(upper) => self.bufferevent = upper,
            Err((error, lower)) => {
                self.bufferevent = lower;
                self.error = self.error.or(Some(error));
            }
        }
        self
    }

    /// Limits how fast it reads and writes; see [`Bufferevent::set_rate_limit`].
    pub fn rate_limit(mut self, config: &TokenBucketConfig) -> Self {
        self.bufferevent.set_rate_limit(Some(config));
        self
    }

    /// Puts it under the limits of a group; see [`Bufferevent::join_rate_limit_group`]. A group that goes by another clock
    /// than the base is told by `start`.
    pub fn rate_limit_group(self, group: &RateLimitGroup) -> Self {
        self.rate_limit_group_weighted(group, NonZeroU32::MIN)
    }

    /// As [`rate_limit_group`](Self::rate_limit_group), with a weight; see [`Bufferevent::join_rate_limit_group_weighted`].
    pub fn rate_limit_group_weighted(mut self, group: &RateLimitGroup, weight: NonZeroU32) -> Self {
        self.error = self.bufferevent.join_rate_limit_group_weighted(group, weight).err().or(self.error);
        self
    }

    /// The bufferevent itself, to set what has no method here.
    pub fn configure(mut self, set: impl FnOnce(&mut Bufferevent)) -> Self {
        set(&mut self.bufferevent);
        self
    }

    /// The same as a builder of another kind.
    fn map<K2>(self) -> Builder<K2, H> {
        let Self { bufferevent, begin, handler, placement, on_panic, error, .. } = self;
        Builder { bufferevent, begin, handler, placement, on_panic, error, kind: PhantomData }
    }
}

impl<H> Builder<ConfinedKind, H> {
    /// Gives the bufferevent a strand of its own; `start` then answers a [`Handle`].
    #[doc(alias = "BEV_OPT_THREADSAFE")]
    pub fn threadsafe(mut self) -> Builder<SharedKind, H> {
        self.bufferevent.options = self.bufferevent.options | Options::THREADSAFE;
        self.map()
    }

    /// Starts the bufferevent on a base, or from a callback on the base of that: the base owns it from now on, and the id
    /// is valid at once.
    ///
    /// # Errors
    /// [`Error::NotStream`] if the descriptor is not a stream socket; [`Error::InvalidWatermark`] of a wrong pair;
    /// [`InvalidPriority`](bufferevent_runtime::Error::InvalidPriority) of one that the base does not have;
    /// [`Error::Io`] if no socket could be made or the selector does not take it. The descriptor is closed then, unless
    /// CLOSE_ON_FREE is off.
    pub fn start<P: Place>(self, place: &mut P) -> Result<Id>
    where
        H: IntoHandler<P::Affinity>,
    {
        let Self { bufferevent, begin, handler, on_panic, error, .. } = self;
        let bufferevent = prepare(bufferevent, begin, on_panic, error)?;
        let spot = place.spot();
        bufferevent.check_priority(spot.priorities())?;
        bufferevent.check_clock(&|| spot.handle().as_movable())?;
        let confined = Confined::new(bufferevent, handler.into_handler(), on_panic);
        match spot {
            Spot::Base(base) => confined.start_here(base),
            elsewhere => confined.start_there(&elsewhere.handle()),
        }
    }
}

impl<H> Builder<SharedKind, H> {
    /// Which worker may run it. Default: [`Placement::Any`].
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// Sets a handler that is called with no lock held; callbacks are deferred too.
    #[doc(alias = "BEV_OPT_UNLOCK_CALLBACKS")]
    pub fn unlocked<U: UnlockedHandler>(mut self, handler: U) -> Builder<SharedKind, Unlocked<U>> {
        self.bufferevent.options =
            self.bufferevent.options | Options::DEFER_CALLBACKS | Options::UNLOCK_CALLBACKS;
        self.handler(Unlocked(handler))
    }

    /// Starts the bufferevent, homed on a base; the base owns it from now on, and the handle is valid at once.
    ///
    /// From a callback of any kind, and with a [`BaseHandle`] from any thread.
    /// # Errors
    /// As for a confined one; [`Error::Closed`] if the base is gone.
    pub fn start<P: Place>(self, place: &mut P) -> Result<Handle>
    where
        H: IntoSlot,
    {
        let Self { bufferevent, begin, handler, placement, on_panic, error, .. } = self;
        let bufferevent = prepare(bufferevent, begin, on_panic, error)?;
        let spot = place.spot();
        bufferevent.check_priority(spot.priorities())?;
        bufferevent.check_clock(&|| spot.handle().as_movable())?;
        let outer = Outer::new(&bufferevent);
        let slot = handler.into_slot();
        match spot {
            Spot::Base(base) => {
                let home = base.handle().as_movable();
                let stack = |_| Stack::new(bufferevent, slot, home, on_panic);
                Ok(Handle::new(base.strand(placement, outer, stack)))
            }
            elsewhere => {
                let base = elsewhere.handle();
                let home = base.as_movable();
                let stack = |_| Stack::new(bufferevent, slot, home, on_panic);
                Ok(Handle::new(base.strand(placement, outer, stack)?))
            }
        }
    }
}

/// Does all of a start that needs no base. Dropped by an error, the bufferevent closes its descriptor or leaves it open.
fn prepare(
    mut bufferevent: Owned,
    begin: Begin,
    on_panic: PanicPolicy,
    error: Option<Error>,
) -> Result<Owned> {
    bufferevent.set_panic_policy(on_panic);
    match (error, begin) {
        (Some(error), _) => return Err(error),
        (None, Begin::Nothing) => {}
        (None, Begin::Check) if bufferevent.fd().is_none() => return Err(Error::NotConnected),
        (None, Begin::Check) => bufferevent.prepare()?,
        (None, Begin::Connect(address)) => bufferevent.connect_to(address)?,
    }
    Ok(bufferevent)
}

impl<A: HandlerAffinity> Confined<A> {
    /// Starts on a base that the caller holds.
    fn start_here(mut self, base: &mut Base<A>) -> Result<Id> {
        let id = Id { base: base.id(), key: base.reserve() };
        if let Err(error) = self.register(base, id) {
            base.unreserve(id.key);
            return Err(error.into());
        }
        self.insert(base, id);
        Ok(id)
    }

    /// Starts on the base of a strand, or of another thread; what goes wrong there is told by an event.
    fn start_there(self, base: &BaseHandle<A>) -> Result<Id> {
        let id = Id { base: base.id(), key: base.reserve() };
        match A::send(self, base, id) {
            Ok(()) => Ok(id),
            Err(error) => {
                base.unreserve(id.key);
                Err(error)
            }
        }
    }

    pub(crate) fn arrive(mut self, base: &mut Base<A>, id: Id) {
        if let Err(error) = self.register(base, id) {
            self.view().fail(Direction::Read, error);
        }
        self.insert(base, id);
    }

    fn register(&mut self, base: &Base<A>, id: Id) -> std::io::Result<()> {
        self.view().settle_at(Home::new(base.handle().as_movable(), id.key, base.now(), false));
        self.view().register()
    }

    fn insert(mut self, base: &mut Base<A>, id: Id) {
        let priority = self.view().priority;
        base.insert_boxed(id.key, A::source(self));
        if let Some(priority) = priority {
            // It was checked, and the base has the bufferevent.
            let _ = base.set_priority_of(id.key, priority);
        }
        // What is due already, such as a connect that failed at once, comes from the first run.
        base.post_to(id.key, if base.is_draining() { Reasons::CLOSE } else { Reasons::START });
    }
}

/// A handler of a THREADSAFE bufferevent: a [`Handler`] that is `Send`, or one that is called unlocked.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler of a THREADSAFE bufferevent",
    label = "it does not take `{Self}`",
    note = "it takes what implements `Handler` and is `Send`, since any worker may run it; with `unlocked(..)` an `UnlockedHandler`"
)]
pub trait IntoSlot {
    #[doc(hidden)]
    fn into_slot(self) -> Slot;
}

impl<H: Handler + Send + 'static> IntoSlot for H {
    fn into_slot(self) -> Slot {
        Slot::Locked(Some(Box::new(self)))
    }
}

impl<U: UnlockedHandler + 'static> IntoSlot for Unlocked<U> {
    fn into_slot(self) -> Slot {
        Slot::Unlocked(Some(Box::new(self.0)))
    }
}

impl<H> Builder<ConfinedKind, H> {
    /// Sets all options at once, as a port of a libevent program has them; what does not go together is told by `start`.
    #[doc(alias = "bufferevent_options")]
    pub fn options(mut self, options: Options) -> Builder<AnyKind, H> {
        self.bufferevent.options = options;
        self.map()
    }
}

impl<H> Builder<AnyKind, H> {
    /// Sets all options of a filter that was put above since: THREADSAFE as it was before, else `start` answers
    /// [`Error::MixedLocking`].
    pub fn options(mut self, options: Options) -> Self {
        let threadsafe = |options: Options| options.contains(Options::THREADSAFE);
        if self.bufferevent.is_layered() && threadsafe(options) != threadsafe(self.bufferevent.options) {
            self.error = self.error.or(Some(Error::MixedLocking));
        }
        self.bufferevent.options = options;
        self
    }
}

/// Marks a [`Builder`] whose options are known at run time only.
#[derive(Debug)]
pub enum AnyKind {}

/// What [`Builder::start`] gave for options that are known at run time only.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Started {
    /// Without THREADSAFE.
    Confined(Id),
    /// With THREADSAFE.
    Shared(Handle),
}

impl<H> Builder<AnyKind, H> {
    /// Starts the bufferevent. Without THREADSAFE there is no lock to drop, and UNLOCK_CALLBACKS means DEFER alone.
    ///
    /// # Errors
    /// As for the other builders, and [`Error::UnlockWithoutDefer`]; [`Error::WrongHandler`] for THREADSAFE with
    /// UNLOCK_CALLBACKS, whose handler is an [`UnlockedHandler`]: use [`Builder::threadsafe`] and [`Builder::unlocked`].
    pub fn start<P: Place>(mut self, place: &mut P) -> Result<Started>
    where
        H: IntoHandler<P::Affinity> + IntoSlot,
    {
        let options = self.bufferevent.options;
        self.error = self.error.or(options.validate().err());
        if !options.contains(Options::THREADSAFE) {
            return self.map::<ConfinedKind>().start(place).map(Started::Confined);
        }
        if options.contains(Options::UNLOCK_CALLBACKS) {
            self.error = self.error.or(Some(Error::WrongHandler));
        }
        self.map::<SharedKind>().start(place).map(Started::Shared)
    }
}

impl<K, H> fmt::Debug for Builder<K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Builder").field(&&*self.bufferevent).finish()
    }
}
