//! What hides the differences: how a bufferevent is made, locked and driven, and who its peer is.
//!
//! A test is one body, called with every [`Config`]: a [`Kind`] of bufferevent, a [`Set`] of options, a [`Shape`] of
//! bases and workers and a selector. The body starts bufferevents in a [`World`], whose handlers write down each
//! callback in a [`Log`] and then run the test's script; the peer is a plain non-blocking socket of the standard
//! library. Nothing sleeps to synchronise: [`World::until`] waits for a condition, and fails after [`LIMIT`].
//!
//! A new kind is one more row of [`KINDS`].

#[path = "leaks.rs"]
mod leaks;
#[path = "peers.rs"]
mod peers;

use std::{
    fmt,
    io::{self, Write as _},
    os::fd::OwnedFd,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bufferevent::{
    Base, BaseExt, BaseHandle, Bufferevent, Builder, Cause, Closed, Context, Direction, Error, Evbuffer,
    Event, Guard, Handle, Handler, Id, Interest, IntoHandler, LookupError, Movable, Pinned, Place, Result,
    Runtime, TimeLimit, Trigger, Turned, UnlockedHandler,
    runtime::{Clock, ManualClock, SelectorKind},
    testing::Census,
};
use bufferevent_sync::{Condvar, Mutex};

use self::leaks::Leaks;
pub(crate) use self::peers::{Peer, pattern, tcp_pair, unix_pair};

/// How long a condition may take to come true. Only a failing test waits as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

// ---- configurations ----

/// One way to run a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) kind: Kind,
    pub(crate) set: Set,
    pub(crate) shape: Shape,
    pub(crate) selector: SelectorKind,
}

/// A kind of bufferevent, over a fresh connection.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Makes a bufferevent that is not started, and its peer.
    pub(crate) open: fn() -> (Builder, Peer),
}

pub(crate) const KINDS: [Kind; 3] = [
    Kind { name: "socket over a Unix pair", open: || over(unix_pair()) },
    Kind { name: "socket over TCP", open: || over(tcp_pair()) },
    Kind { name: "socket over a Unix listener", open: || over(peers::unix_accepted()) },
];

/// The options that say how callbacks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Confined,
    ConfinedDefer,
    Shared,
    SharedDefer,
    SharedUnlock,
}

pub(crate) const SETS: [Set; 5] =
    [Set::Confined, Set::ConfinedDefer, Set::Shared, Set::SharedDefer, Set::SharedUnlock];

impl Set {
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedDefer | Self::SharedUnlock)
    }

    pub(crate) fn is_deferred(self) -> bool {
        matches!(self, Self::ConfinedDefer | Self::SharedDefer | Self::SharedUnlock)
    }
}

/// Who drives how many bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One `Base<Pinned>`, turned by the test.
    Pinned,
    /// One `Base<Movable>`, turned by the test.
    Movable,
    Threads {
        workers: usize,
        bases: usize,
    },
}

const ONE: Shape = Shape::Threads { workers: 1, bases: 1 };
const TWO: Shape = Shape::Threads { workers: 2, bases: 2 };
const THREE: Shape = Shape::Threads { workers: 3, bases: 3 };
const MORE_WORKERS: Shape = Shape::Threads { workers: 3, bases: 2 };
const MORE_BASES: Shape = Shape::Threads { workers: 1, bases: 2 };

const DRIVEN: [(Shape, SelectorKind); 12] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Pinned, SelectorKind::Portable),
    (Shape::Pinned, SelectorKind::PortableWithoutEdges),
    (Shape::Movable, SelectorKind::Best),
    (ONE, SelectorKind::Best),
    (ONE, SelectorKind::PortableWithoutEdges),
    (TWO, SelectorKind::Best),
    (THREE, SelectorKind::Best),
    (TWO, SelectorKind::Portable),
    (MORE_WORKERS, SelectorKind::PortableWithoutEdges),
    (MORE_BASES, SelectorKind::Best),
    (MORE_BASES, SelectorKind::Portable),
];

/// Runs `body` with every configuration.
pub(crate) fn each(body: impl Fn(Config)) {
    for config in configs() {
        run(config, &body);
    }
}

/// Runs `body` with every configuration whose option set passes.
pub(crate) fn each_of(sets: impl Fn(Set) -> bool, body: impl Fn(Config)) {
    for config in configs().filter(|config| sets(config.set)) {
        run(config, &body);
    }
}

/// Runs `body` with every configuration that the test itself drives, on its own thread.
pub(crate) fn each_by_hand(body: impl Fn(Config)) {
    for config in configs().filter(|config| !matches!(config.shape, Shape::Threads { .. })) {
        run(config, &body);
    }
}

/// The same, but for TCP: that takes bytes when it likes, also while the clock stands.
pub(crate) fn each_over_unix(body: impl Fn(Config)) {
    each_by_hand(|config| {
        if !config.kind.name.contains("TCP") {
            body(config);
        }
    });
}

/// Lets time pass in a world whose clock is turned by hand.
pub(crate) fn pass(world: &mut World, hand: &ManualClock, time: Duration) {
    hand.advance(time);
    world.settle();
}

/// Runs `body` with every option set and in every world, with one kind: for bodies that make their own connections.
pub(crate) fn each_once(body: impl Fn(Config)) {
    for config in configs().take(SETS.len() * DRIVEN.len()) {
        run(config, &body);
    }
}

/// The same for the worlds that the test itself drives, on its own thread.
pub(crate) fn each_by_hand_once(body: impl Fn(Config)) {
    let threads = |config: &Config| matches!(config.shape, Shape::Threads { .. });
    for config in configs().take(SETS.len() * DRIVEN.len()).filter(|config| !threads(config)) {
        run(config, &body);
    }
}

/// Runs `body` in every world.
pub(crate) fn each_driven(body: impl Fn(World)) {
    for (shape, selector) in DRIVEN {
        let config = Config { kind: KINDS[0], set: Set::Confined, shape, selector };
        run(config, &|config| body(config.world()));
    }
}

fn configs() -> impl Iterator<Item = Config> {
    KINDS.into_iter().flat_map(|kind| {
        SETS.into_iter().flat_map(move |set| {
            DRIVEN.into_iter().map(move |(shape, selector)| Config { kind, set, shape, selector })
        })
    })
}

fn run(config: Config, body: &impl Fn(Config)) {
    struct Named(Config);
    impl Drop for Named {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("with {:?}", self.0);
            }
        }
    }
    let _census = Census::begin();
    let _named = Named(config);
    body(config);
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Config {
    pub(crate) fn world(self) -> World {
        self.world_with(Clock::monotonic())
    }

    pub(crate) fn world_with(self, clock: Clock) -> World {
        World::new(self.shape, self.selector, clock)
    }

    /// A world whose time stands still but for the hand. For worlds that the test itself drives: turning it wakes nobody.
    pub(crate) fn with_manual_clock(self) -> (World, ManualClock) {
        let (clock, hand) = Clock::manual();
        (self.world_with(clock), hand)
    }

    /// Starts a bufferevent of this kind with these options; its handler only writes down.
    pub(crate) fn start(self, world: &mut World) -> (Conn, Peer) {
        self.start_with(world, |builder| builder, |_, _| {})
    }

    /// The same with settings, and with a script that each callback runs.
    pub(crate) fn start_with(
        self,
        world: &mut World,
        set_up: impl FnOnce(Builder) -> Builder,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> (Conn, Peer) {
        let (builder, peer) = (self.kind.open)();
        let actor = Actor::new(world, script);
        (world.start(self.set, set_up(builder), actor).unwrap(), peer)
    }
}

// ---- what is told ----

/// One callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Connected,
    Eof,
    Failed(Option<Direction>),
    Timeout(Direction),
    Drained,
    InputFull,
    Closed,
    User(u16),
}

/// A callback, and what the bufferevent looked like when it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) call: Call,
    pub(crate) input: usize,
    pub(crate) output: usize,
    pub(crate) enabled: Interest,
    /// Which handler was called.
    pub(crate) actor: u32,
}

/// What the callbacks of one bufferevent wrote down.
#[derive(Clone)]
pub(crate) struct Log {
    synced: Arc<Mutex<Written>>,
    signal: Arc<Signal>,
}

#[derive(Default)]
struct Written {
    entries: Vec<Entry>,
    data: Vec<u8>,
    cause: Option<io::ErrorKind>,
    time_limit: Option<TimeLimit>,
    lookup: Option<LookupError>,
    closed: Option<Closed>,
    inside: bool,
    overlapped: bool,
}

/// Wakes whoever waits for a condition.
#[derive(Default)]
struct Signal {
    lock: Mutex<()>,
    changed: Condvar,
}

impl Log {
    fn new(signal: &Arc<Signal>) -> Self {
        Self { synced: Arc::default(), signal: Arc::clone(signal) }
    }

    /// The callbacks so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.synced.lock().entries.iter().map(|entry| entry.call).collect()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.synced.lock().entries.clone()
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.synced.lock().entries.iter().filter(|entry| entry.call == call).count()
    }

    /// Whether a callback is running.
    pub(crate) fn is_inside(&self) -> bool {
        self.synced.lock().inside
    }

    pub(crate) fn has(&self, call: Call) -> bool {
        self.count(call) > 0
    }

    /// Bytes that scripts have put here by [`Cx::take`].
    pub(crate) fn data(&self) -> Vec<u8> {
        self.synced.lock().data.clone()
    }

    pub(crate) fn data_len(&self) -> usize {
        self.synced.lock().data.len()
    }

    pub(crate) fn clear(&self) {
        self.synced.lock().entries.clear();
    }

    /// Why the last error event came.
    pub(crate) fn cause(&self) -> Option<io::ErrorKind> {
        self.synced.lock().cause
    }

    /// The limit that the last error event told of, if it did.
    pub(crate) fn time_limit(&self) -> Option<TimeLimit> {
        self.synced.lock().time_limit
    }

    /// Why no address was found, of the last error event.
    pub(crate) fn lookup(&self) -> Option<LookupError> {
        self.synced.lock().lookup.clone()
    }

    /// What the `Closed` event brought, once.
    pub(crate) fn closed(&self) -> Option<Closed> {
        self.synced.lock().closed.take()
    }
}

/// What a callback does after it was written down.
type Script = dyn Fn(&mut Cx<'_, '_>, &Call) + Send + Sync;

/// A handler of every kind: writes down each callback, then runs the script.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) log: Log,
    number: u32,
    hears_write: bool,
    script: Arc<Script>,
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
        Self { log: Log::new(&Arc::default()), number: 0, hears_write: true, script: Arc::new(script) }
    }

    /// Another handler that writes into the same log, under a number of its own.
    pub(crate) fn heir(
        log: &Log,
        number: u32,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> Self {
        Self { log: log.clone(), number, hears_write: true, script: Arc::new(script) }
    }

    /// The same, that need not be told that the output has drained.
    pub(crate) fn deaf_to_write(self) -> Self {
        Self { hears_write: false, ..self }
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

    fn hears_write(&self) -> bool {
        self.hears_write
    }
}

/// A callback's view of its bufferevent, to which it derefs: a context, or a guard in an unlocked callback.
pub(crate) struct Cx<'a, 'b> {
    view: View<'a, 'b>,
    log: Option<Log>,
}

enum View<'a, 'b> {
    Pinned(&'a mut Context<'b, Pinned>),
    Movable(&'a mut Context<'b>),
    Guard(&'a mut Guard<'b>, &'b Handle),
}

impl<'a, 'b> Cx<'a, 'b> {
    fn new(view: View<'a, 'b>) -> Self {
        Self { view, log: None }
    }

    /// The log of the handler that is running.
    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    /// Moves the input to the log.
    pub(crate) fn take(&mut self) {
        let bytes = self.input().to_vec();
        self.input().drain(bytes.len()).unwrap();
        self.log().synced.lock().data.extend(bytes);
    }

    /// Replaces the handler.
    pub(crate) fn replace(&mut self, actor: Actor) {
        match &mut self.view {
            View::Pinned(cx) => cx.set_handler(actor),
            View::Movable(cx) => cx.set_handler(actor),
            View::Guard(guard, _) => guard.set_unlocked_handler(actor).unwrap(),
        }
    }

    /// This bufferevent's own handle, where a context has one.
    pub(crate) fn handle(&self) -> Option<Handle> {
        match &self.view {
            View::Movable(cx) => cx.handle(),
            View::Pinned(_) | View::Guard(..) => None,
        }
    }

    /// Closes another bufferevent of the same world.
    pub(crate) fn close_other(&mut self, other: &Conn) {
        match (&mut self.view, &other.who) {
            (_, Who::Shared(handle)) => handle.close(),
            (View::Pinned(cx), Who::Confined(id)) => cx.get(*id).unwrap().close(),
            (View::Movable(cx), Who::Confined(id)) => match cx.get(*id) {
                Ok(other) => other.close(),
                // It lives on another base.
                Err(_) => {
                    let (id, base) = (*id, other.home.as_ref().unwrap());
                    base.post(move |base| base.bufferevent(id).unwrap().close()).unwrap();
                }
            },
            (View::Guard(..), Who::Confined(_)) => unreachable!("all of a test are of one set"),
        }
    }

    /// Aborts another bufferevent of the same hand-driven base.
    #[allow(dead_code, reason = "for the suite of faults")]
    pub(crate) fn abort_other(&mut self, other: &Conn) {
        match (&mut self.view, &other.who) {
            (_, Who::Shared(handle)) => handle.abort(),
            (View::Pinned(cx), Who::Confined(id)) => cx.get(*id).unwrap().abort(),
            (View::Movable(cx), Who::Confined(id)) => cx.get(*id).unwrap().abort(),
            (View::Guard(..), Who::Confined(_)) => unreachable!("all of a test are of one set"),
        }
    }

    /// Moves it to another base.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn set_base(&mut self, base: &BaseHandle) -> Result<()> {
        match &mut self.view {
            View::Pinned(_) => unreachable!("what is pinned does not move"),
            View::Movable(cx) => cx.set_base(base),
            View::Guard(guard, _) => guard.set_base(base),
        }
    }

    /// Its name, if it is confined.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn id(&self) -> Option<Id> {
        match &self.view {
            View::Pinned(cx) => cx.id(),
            View::Movable(cx) => cx.id(),
            View::Guard(..) => None,
        }
    }

    /// Ends the loop of the base.
    pub(crate) fn stop_base(&mut self, now: bool) {
        match &mut self.view {
            View::Pinned(cx) => stop(&cx.base_handle(), now),
            View::Movable(cx) => stop(&cx.base_handle(), now),
            View::Guard(_, handle) => stop(&handle.base(), now),
        }
    }

    /// The base.
    pub(crate) fn base_id(&self) -> u64 {
        match &self.view {
            View::Pinned(cx) => cx.base_handle().id(),
            View::Movable(cx) => cx.base_handle().id(),
            View::Guard(_, handle) => handle.base().id(),
        }
    }

    /// Starts another bufferevent on the base of this one, where a context can.
    pub(crate) fn start(&mut self, set: Set, builder: Builder, actor: Actor) -> Option<Result<Conn>> {
        match &mut self.view {
            View::Pinned(cx) => Some(launch(set, builder, actor, *cx, None)),
            View::Movable(cx) => {
                let home = cx.base_handle();
                Some(launch(set, builder, actor, *cx, Some(home)))
            }
            View::Guard(..) => None,
        }
    }
}

impl std::ops::Deref for Cx<'_, '_> {
    type Target = Bufferevent;

    fn deref(&self) -> &Bufferevent {
        match &self.view {
            View::Pinned(cx) => cx,
            View::Movable(cx) => cx,
            View::Guard(guard, _) => guard,
        }
    }
}

impl std::ops::DerefMut for Cx<'_, '_> {
    fn deref_mut(&mut self) -> &mut Bufferevent {
        match &mut self.view {
            View::Pinned(cx) => cx,
            View::Movable(cx) => cx,
            View::Guard(guard, _) => guard,
        }
    }
}

// ---- the world ----

/// Bases, and whoever drives them.
pub(crate) struct World {
    pub(crate) drive: Drive,
    signal: Arc<Signal>,
    logs: Vec<Log>,
    next_base: usize,
    leaks: Leaks,
}

pub(crate) enum Drive {
    Pinned(Base<Pinned>),
    Movable(Base<Movable>),
    Threads { runtime: Runtime, running: Option<JoinHandle<()>> },
}

/// A started bufferevent.
#[derive(Clone)]
pub(crate) struct Conn {
    pub(crate) who: Who,
    pub(crate) log: Log,
    /// The base that a runtime put it on.
    home: Option<BaseHandle>,
}

#[derive(Clone, Debug)]
pub(crate) enum Who {
    Confined(Id),
    Shared(Handle),
}

impl Conn {
    /// One that was started elsewhere.
    #[allow(dead_code, reason = "for the suite of moves")]
    pub(crate) fn of(who: Who, log: &Log) -> Self {
        Self { who, log: log.clone(), home: None }
    }

    /// The handle of a THREADSAFE one.
    pub(crate) fn handle(&self) -> &Handle {
        match &self.who {
            Who::Shared(handle) => handle,
            Who::Confined(_) => panic!("a confined bufferevent has no handle"),
        }
    }
}

impl Conn {
    /// Writes from a callback of another: to a confined one of a runtime by a post to its base.
    #[allow(dead_code, reason = "for the suite of issues")]
    pub(crate) fn write(&self, mut data: Evbuffer) {
        match (&self.who, &self.home) {
            (Who::Shared(handle), _) => {
                handle.write_buffer(data).unwrap();
            }
            (Who::Confined(id), Some(home)) => {
                let id = *id;
                home.post(move |base| {
                    base.bufferevent(id).unwrap().write_buffer(&mut data).unwrap();
                })
                .unwrap();
            }
            (Who::Confined(_), None) => unreachable!("its base is not a runtime's"),
        }
    }
}

/// A result that another thread brings.
type Answer<R> = Arc<Mutex<Option<R>>>;

impl World {
    pub(crate) fn new(shape: Shape, selector: SelectorKind, clock: Clock) -> Self {
        let by_hand = || selector.make().unwrap();
        let drive = match shape {
            Shape::Pinned => Drive::Pinned(Base::with_selector(by_hand(), clock).unwrap()),
            Shape::Movable => Drive::Movable(Base::with_selector(by_hand(), clock).unwrap()),
            Shape::Threads { workers, bases } => {
                let builder =
                    Runtime::builder().workers(workers).bases(bases).selector(selector).clock(clock);
                let runtime = builder.build().unwrap();
                let mine = runtime.clone();
                let running = Some(thread::spawn(move || mine.run().unwrap()));
                Drive::Threads { runtime, running }
            }
        };
        let bases = match &drive {
            Drive::Pinned(base) => vec![base.handle().as_movable()],
            Drive::Movable(base) => vec![base.handle()],
            Drive::Threads { runtime, .. } => runtime.bases(),
        };
        Self { drive, signal: Arc::default(), logs: Vec::new(), next_base: 0, leaks: Leaks::of(bases) }
    }

    pub(crate) fn start(&mut self, set: Set, builder: Builder, actor: Actor) -> Result<Conn> {
        self.logs.push(actor.log.clone());
        self.leaks.watch_handler(&actor);
        match &mut self.drive {
            Drive::Pinned(base) => launch(set, builder, actor, base, None),
            Drive::Movable(base) => launch(set, builder, actor, base, None),
            Drive::Threads { runtime, .. } => {
                let bases = runtime.bases();
                let home = bases[self.next_base % bases.len()].clone();
                self.next_base += 1;
                launch(set, builder, actor, &mut home.clone(), Some(home))
            }
        }
    }

    /// Runs `f` on the bufferevent, from outside of its callbacks.
    pub(crate) fn with<R: Send + 'static>(
        &mut self,
        conn: &Conn,
        f: impl FnOnce(&mut Bufferevent) -> R + Send + 'static,
    ) -> Result<R> {
        let id = match &conn.who {
            Who::Shared(handle) => return Ok(f(&mut handle.lock()?)),
            Who::Confined(id) => *id,
        };
        match &mut self.drive {
            Drive::Pinned(base) => base.bufferevent(id).map(f),
            Drive::Movable(base) => base.bufferevent(id).map(f),
            Drive::Threads { .. } => self.on_base_of(conn, move |base| base.bufferevent(id).map(f)),
        }
    }

    /// What is started next goes to the base of `conn`.
    pub(crate) fn skip_to_base_of(&mut self, conn: &Conn) {
        if let (Drive::Threads { .. }, Some(home)) = (&self.drive, &conn.home) {
            self.next_base = home.index();
        }
    }

    /// Runs `f` on the base of a bufferevent of a runtime, and waits for it.
    pub(crate) fn on_base_of<R: Send + 'static>(
        &mut self,
        conn: &Conn,
        f: impl FnOnce(&mut Base) -> R + Send + 'static,
    ) -> R {
        let answer = Answer::default();
        let theirs = Arc::clone(&answer);
        let home = conn.home.as_ref().unwrap();
        home.post(move |base| *theirs.lock() = Some(f(base))).unwrap();
        self.until("the base to answer", || answer.lock().is_some());
        answer.lock().take().unwrap()
    }

    /// Turns, or lets the workers turn, until `condition` holds.
    pub(crate) fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !condition() {
            assert!(Instant::now() < deadline, "waited too long for {what}; {:?}", self.transcripts());
            self.pump();
        }
    }

    /// Waits for `count` callbacks `call`.
    pub(crate) fn until_called(&mut self, conn: &Conn, call: Call, count: usize) {
        let log = conn.log.clone();
        self.until(&format!("{call:?} {count} times"), || log.count(call) >= count && !log.is_inside());
    }

    /// Waits until the input holds `len` bytes.
    pub(crate) fn until_input(&mut self, conn: &Conn, len: usize) {
        self.until_that(conn, "input", move |bufferevent| bufferevent.input().len() >= len);
    }

    /// Waits until `condition` holds for the bufferevent.
    pub(crate) fn until_that(
        &mut self,
        conn: &Conn,
        what: &str,
        condition: impl Fn(&mut Bufferevent) -> bool + Clone + Send + 'static,
    ) {
        let deadline = Instant::now() + LIMIT;
        while !self.with(conn, condition.clone()).unwrap() {
            assert!(Instant::now() < deadline, "waited too long for {what}; {:?}", self.transcripts());
            self.pump();
        }
    }

    fn transcripts(&self) -> Vec<Vec<Call>> {
        self.logs.iter().map(Log::calls).collect()
    }

    /// Lets a little happen.
    pub(crate) fn pump(&mut self) {
        let a_while = Duration::from_millis(1);
        match &mut self.drive {
            Drive::Pinned(base) => drop(base.turn(Some(a_while)).unwrap()),
            Drive::Movable(base) => drop(base.turn(Some(a_while)).unwrap()),
            Drive::Threads { .. } => {
                let mut locked = self.signal.lock.lock();
                self.signal.changed.wait_for(&mut locked, a_while);
            }
        }
    }

    /// Waits until nothing is going on: fails if something is running again and again.
    pub(crate) fn settle(&mut self) {
        let deadline = Instant::now() + LIMIT;
        let mut quiet = 0;
        while quiet < 3 {
            assert!(Instant::now() < deadline, "it runs and runs; {:?}", self.transcripts());
            let before = self.runs();
            let turned = match &mut self.drive {
                Drive::Pinned(base) => base.turn(Some(Duration::ZERO)).unwrap(),
                Drive::Movable(base) => base.turn(Some(Duration::ZERO)).unwrap(),
                Drive::Threads { .. } => {
                    self.pump();
                    Turned::Idle
                }
            };
            let idle = turned != Turned::Ran && self.runs() == before;
            quiet = if idle { quiet + 1 } else { 0 };
        }
    }

    pub(crate) fn runs(&self) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.counters().runs.get(),
            Drive::Movable(base) => base.counters().runs.get(),
            Drive::Threads { runtime, .. } => {
                let bases: u64 = runtime.bases().iter().map(|base| base.counters().runs.get()).sum();
                bases + runtime.worker_counters().map(|worker| worker.runs.get()).sum::<u64>()
            }
        }
    }

    /// The base that the bufferevent was started on.
    pub(crate) fn base_id(&self, conn: &Conn) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.id(),
            Drive::Movable(base) => base.id(),
            Drive::Threads { .. } => conn.home.as_ref().unwrap().id(),
        }
    }

    /// Callbacks that panicked.
    pub(crate) fn panics(&self) -> u64 {
        match &self.drive {
            Drive::Pinned(base) => base.counters().panics.get(),
            Drive::Movable(base) => base.counters().panics.get(),
            Drive::Threads { runtime, .. } => {
                runtime.bases().iter().map(|base| base.counters().panics.get()).sum()
            }
        }
    }

    pub(crate) fn until_panics(&mut self, count: u64) {
        let deadline = Instant::now() + LIMIT;
        while self.panics() < count {
            assert!(Instant::now() < deadline, "{} panics", self.panics());
            self.pump();
        }
        assert_eq!(self.panics(), count);
    }

    /// Sends an event through the bufferevent: what was due before it has been told when this returns.
    pub(crate) fn fence(&mut self, conn: &Conn) {
        const FENCE: u16 = 0x4000;
        let before = conn.log.count(Call::User(FENCE));
        self.with(conn, |bufferevent| bufferevent.trigger_event(FENCE, Trigger::PLAIN)).unwrap();
        self.until_called(conn, Call::User(FENCE), before + 1);
        conn.log.synced.lock().entries.retain(|entry| entry.call != Call::User(FENCE));
    }

    /// Waits until the bufferevent is no more.
    pub(crate) fn until_gone(&mut self, conn: &Conn) {
        let deadline = Instant::now() + LIMIT;
        while !matches!(self.with(conn, |_| ()), Err(Error::Closed)) {
            assert!(Instant::now() < deadline, "not gone; {:?}", self.transcripts());
            self.pump();
        }
    }

    pub(crate) fn close(&mut self, conn: &Conn) {
        match &conn.who {
            Who::Shared(handle) => handle.close(),
            Who::Confined(_) => self.with(conn, |bufferevent| bufferevent.close()).unwrap(),
        }
    }

    pub(crate) fn abort(&mut self, conn: &Conn) {
        match &conn.who {
            Who::Shared(handle) => handle.abort(),
            Who::Confined(_) => self.with(conn, |bufferevent| bufferevent.abort()).unwrap(),
        }
    }

    /// Sends all of `data` from the peer.
    pub(crate) fn send(&mut self, peer: &mut Peer, data: &[u8]) {
        let mut left = data;
        self.until("the peer to send", || {
            while !left.is_empty() {
                match peer.0.write(left) {
                    Ok(n) => left = &left[n..],
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("the peer cannot send: {error}"),
                }
            }
            true
        });
    }

    /// Receives exactly `count` bytes at the peer.
    pub(crate) fn receive(&mut self, peer: &mut Peer, count: usize) -> Vec<u8> {
        let mut got = Vec::new();
        self.until(&format!("{count} bytes at the peer"), || {
            match peer.read_some(count - got.len(), &mut got) {
                Ok(ended) => assert!(!ended || got.len() == count, "the end after {} bytes", got.len()),
                Err(error) => panic!("the peer cannot receive: {error}"),
            }
            got.len() == count
        });
        got
    }

    /// Receives at the peer until the end of the stream.
    pub(crate) fn receive_all(&mut self, peer: &mut Peer) -> Vec<u8> {
        let mut got = Vec::new();
        self.until("the end at the peer", || peer.read_some(usize::MAX, &mut got).unwrap());
        got
    }

    /// Lets the base of the bufferevent go on after a break; one that is turned by hand does so by itself.
    pub(crate) fn resume(&self, conn: &Conn) {
        if let Some(home) = &conn.home {
            home.resume();
        }
    }

    /// Objects that live on the bases.
    pub(crate) fn objects(&self) -> usize {
        match &self.drive {
            Drive::Pinned(base) => base.len(),
            Drive::Movable(base) => base.len(),
            Drive::Threads { runtime, .. } => runtime.bases().iter().map(BaseHandle::objects).sum(),
        }
    }

    pub(crate) fn until_empty(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while self.objects() > 0 {
            assert!(
                Instant::now() < deadline,
                "{} objects are left; {:?}",
                self.objects(),
                self.transcripts()
            );
            self.pump();
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Drive::Threads { runtime, running } = &mut self.drive {
            runtime.stop();
            let ended = running.take().map(JoinHandle::join);
            assert!(thread::panicking() || matches!(ended, None | Some(Ok(()))), "a worker panicked");
        }
        // D1, in every test.
        let overlapped = self.logs.iter().any(|log| log.synced.lock().overlapped);
        assert!(thread::panicking() || !overlapped, "callbacks of one bufferevent overlapped");
    }
}

fn stop<A: bufferevent::runtime::Affinity>(base: &BaseHandle<A>, now: bool) {
    if now { base.break_now() } else { base.exit() }
}

/// Starts a bufferevent of these options.
pub(crate) fn launch<P: Place>(
    set: Set,
    builder: Builder,
    actor: Actor,
    place: &mut P,
    home: Option<BaseHandle>,
) -> Result<Conn>
where
    Actor: IntoHandler<P::Affinity>,
{
    let log = actor.log.clone();
    let who = match set {
        Set::Confined => Who::Confined(builder.handler(actor).start(place)?),
        Set::ConfinedDefer => Who::Confined(builder.handler(actor).deferred().start(place)?),
        Set::Shared => Who::Shared(builder.handler(actor).threadsafe().start(place)?),
        Set::SharedDefer => Who::Shared(builder.handler(actor).threadsafe().deferred().start(place)?),
        Set::SharedUnlock => Who::Shared(builder.threadsafe().unlocked(actor).start(place)?),
    };
    Ok(Conn { who, log, home })
}

fn over((ours, peer): (OwnedFd, Peer)) -> (Builder, Peer) {
    (Bufferevent::socket(ours), peer)
}
