//! The bufferevent itself: its state, and every operation on it, written once, a topic a file.

mod buffers;
mod callbacks;
mod close;
mod connect;
mod descriptor;
mod flush;
mod limits;
mod priority;
mod switches;
pub(crate) mod timeouts;
mod underlying;
mod watermarks;

use std::{
    fmt, io,
    ops::{Deref, DerefMut},
    os::fd::{IntoRawFd, OwnedFd},
};

use bufferevent_evbuffer::{End, Evbuffer, transport::Transport};
use bufferevent_runtime::{BaseHandle, Key, Permit, Ready, Reasons, Registered, Selector as _, Time};

use self::timeouts::Timeouts;
pub use self::{close::Closing, flush::Flushed, timeouts::MinRate};
use crate::{
    bound::Bound,
    connector::Connector,
    defaults::{INPUT_CAP, MAX_SINGLE_READ, MAX_SINGLE_WRITE, OUTPUT_CAP, OUTPUT_HIGH},
    error::Error,
    event::Cause,
    filter::Layer,
    interest::{Direction, Interest},
    memory::Member,
    options::Options,
    pair::PairEnd,
    pending::Pending,
    stream::Stream,
    throttle::{Allowance, Throttle},
};

/// A buffered, callback-driven connection.
///
/// It has an input and an output buffer, a handler, and for each direction watermarks and a switch. Data that arrives
/// is read into the input and the handler told; what is put into the output is sent when the socket takes it.
///
/// Every operation stands here and takes `&mut self`. There are three ways to reach it: in a callback through
/// [`Context`](crate::Context), which derefs to it; from any thread through [`Handle::lock`](crate::Handle::lock), if
/// it is THREADSAFE; and from other code of the same base through its [`Id`](crate::Id). It is made by
/// [`Bufferevent::socket`], [`Bufferevent::connect`] and their like, which give a [`Builder`](crate::Builder).
///
/// The type parameter only makes the type unsized, so that two bufferevents cannot be swapped.
/// # Libevent
/// `struct bufferevent`.
#[doc(alias = "bufferevent")]
pub struct Bufferevent<Unsized: ?Sized = [()]> {
    pub(crate) input: Evbuffer,
    pub(crate) output: Evbuffer,
    pub(crate) read: Half,
    pub(crate) write: Half,
    /// The most bytes that one read, and one write, moves.
    pub(crate) max_single: [u32; 2],
    pub(crate) input_cap: Bound,
    pub(crate) socket: Socket,
    /// Under a limit of the memory of many.
    pub(crate) memory: Option<Box<Member>>,
    /// Its rate limits.
    pub(crate) throttle: Option<Box<Throttle>>,
    /// What they let move unasked, and what has moved.
    pub(crate) allowance: Allowance,
    /// What counts the connection under the limits of its listener.
    pub(crate) permit: Permit,
    pub(crate) home: Option<Home>,
    /// `None`: the middle one of the base.
    pub(crate) priority: Option<u8>,
    /// A connect by name, or to several addresses, that is under way: the phase is `Connecting` or `Departing`.
    pub(crate) connector: Option<Box<Connector>>,
    /// Why the last lookup failed, until the next connect by name; once it closes, what went wrong first.
    pub(crate) failure: Option<Box<Cause>>,
    pub(crate) pending: Pending,
    /// Callbacks that were asked for from the deferred queue although this bufferevent does not defer.
    pub(crate) later: Option<Box<Pending>>,
    pub(crate) timeouts: Option<Box<Timeouts>>,
    pub(crate) options: Options,
    pub(crate) enabled: Interest,
    pub(crate) ready: Ready,
    pub(crate) phase: Phase,
    pub(crate) told: Told,
    pub(crate) shut: Shut,
    /// The handler is told when the output is down to its low mark.
    pub(crate) hears_write: bool,
    /// It is in a pipe: the peer of the other tells the end of what is sent here.
    pub(crate) relays: bool,
    pub(crate) run: Run,
    #[cfg(feature = "test-util")]
    _live: bufferevent_runtime::Live,
    _unswappable: Unsized,
}

/// What each direction has of its own.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) low: usize,
    pub(crate) high: Bound,
}

/// Where the bufferevent lives, once it is started.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    pub(crate) base: BaseHandle,
    pub(crate) key: Key,
    /// When it was started.
    pub(crate) since: Time,
    /// In a strand of its own, and not in the root strand of the base.
    pub(crate) in_strand: bool,
    /// Its base tells edges and hang-ups, and nobody there wants to know how long callbacks take.
    pub(crate) is_plain: bool,
}

impl Home {
    pub(crate) fn new(base: BaseHandle, key: Key, since: Time, in_strand: bool) -> Self {
        let is_plain = is_plain(&base);
        Self { base, key, since, in_strand, is_plain }
    }

    /// It lives on another base, since as long as before.
    pub(crate) fn move_to(&mut self, base: BaseHandle, key: Key) {
        (self.is_plain, self.base, self.key) = (is_plain(&base), base, key);
    }
}

fn is_plain(base: &BaseHandle) -> bool {
    let selector = base.selector();
    selector.reports_hangup() && !selector.needs_rearm() && !base.times_callbacks()
}

/// What is below: the descriptor, and whether the selector knows it, or one end of a pair.
pub(crate) enum Socket {
    None,
    Idle(Stream),
    Registered(Registered<OwnedFd>),
    /// Another bufferevent, and a filter between.
    Filter(Box<Layer>),
    Pair(Box<PairEnd>),
    #[cfg(feature = "test-util")]
    Scripted(crate::testing::Plug),
}

/// How far the connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No descriptor.
    Detached,
    /// A connect is under way.
    Connecting,
    Open,
    /// `close` was called while a connect is under way; the output is written out once it stands.
    Departing,
    /// `close` was called; the output is being written out.
    Draining,
    /// Our side is ended; waiting for the peer's end.
    Lingering,
    Ended,
}

/// What has been told and need not be told again.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The output is, or was last told to be, at its high mark.
    pub(crate) output_full: bool,
    pub(crate) input_full: bool,
    /// The peer has ended its side.
    pub(crate) eof: bool,
    /// That end is not told yet.
    pub(crate) owes_eof: bool,
    /// `enable(WRITE)` was called: a write callback is due when the socket is writable.
    pub(crate) announce_writable: bool,
    /// The system had no memory to send with; a timer tells when to try again.
    pub(crate) shortage: bool,
    /// It ended with the peer's end seen, where that is awaited.
    pub(crate) clean: bool,
    /// An error of what arrives was told: it is not all.
    pub(crate) broken_off: bool,
    /// More was to come when it was closed: the peer must not take it for all.
    pub(crate) cut_short: bool,
    /// A drain is on, and that is, or will be, told to each handler.
    pub(crate) drain: bool,
    /// The filter above wants no input for now.
    pub(crate) withheld: bool,
    /// The end is counted.
    pub(crate) counted: bool,
    /// A `Closed` event was asked for.
    pub(crate) report_close: bool,
    /// What is left of it, by that event or to who waits for the end.
    pub(crate) outcome: bool,
}

/// The directions that the user shut down, and of which the system knows.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Shut {
    pub(crate) asked: Interest,
    pub(crate) done: Interest,
}

/// In [`Run::rare`]: the base's timer has fired.
pub(crate) const ALARM: u8 = 1;
/// In [`Run::rare`], for good: it is a filter over another bufferevent.
pub(crate) const LAYERED: u8 = 2;
/// In [`Run::rare`], as long as that is so: a filter is over it, which alone hears of it.
pub(crate) const LOWER: u8 = 4;
/// In [`Run::rare`], from when that may be so until a run finds that it is not: see [`plain`](crate::plain).
pub(crate) const UNUSUAL: u8 = 8;
/// In [`Run::rare`], as long as its limits are to be settled at the end of each run, which may be plain up to then.
pub(crate) const LIMITED: u8 = 16;

/// The run that is going on.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// Callbacks may be delivered.
    pub(crate) deliver: bool,
    pub(crate) reads: u8,
    pub(crate) writes: u8,
    /// That may still be delivered.
    pub(crate) callbacks: u8,
    /// When it began.
    pub(crate) now: Time,
    /// What few have: [`ALARM`], [`LAYERED`], [`LOWER`], [`UNUSUAL`], [`LIMITED`]. In one word, since it is looked at in each step.
    pub(crate) rare: u8,
    /// Directions in which bytes have moved since the countdowns were looked at.
    pub(crate) progress: Interest,
    /// Bytes that may still be read and dropped while lingering.
    pub(crate) linger_bytes: u32,
    /// What the shell must still see to.
    pub(crate) errands: Errands,
}

/// What only the shell can do, at the end of a run.
#[derive(Debug, Default)]
pub(crate) struct Errands {
    /// Was set, and the base does not know yet.
    pub(crate) priority: Option<u8>,
    /// The other half of a pair, on the same base, is to run.
    pub(crate) call: Option<(Key, Reasons)>,
    /// It lives on another base than the one that runs it, until it has arrived there.
    pub(crate) abroad: bool,
}

impl Errands {
    /// The other half of a pair is to run for these reasons too.
    pub(crate) fn call(&mut self, key: Key, reasons: Reasons) {
        let before = self.call.map_or(Reasons::EMPTY, |(_, reasons)| reasons);
        self.call = Some((key, reasons | before));
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.priority.is_none() && self.call.is_none()
    }
}

/// Whether the output has room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Go on.
    Some,
    /// The output has reached its high mark: what was given is taken, [`Event::Drained`](crate::Event::Drained) tells when to go on.
    Full,
}

impl Bufferevent {
    /// The connection has come so far.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.unusual();
    }

    /// It is started.
    pub(crate) fn settle_at(&mut self, home: Home) {
        self.unusual();
        if let Some(layer) = self.layer_mut() {
            layer.lower.settle_at(home.clone());
        }
        if let Some(member) = &mut self.memory {
            // One that was below a filter lived elsewhere before.
            member.moved(&home);
        }
        if let Some(mut throttle) = self.take_limits() {
            // The time of the turn may be from before it was made.
            let now = home.base.now();
            throttle.begin(now);
            throttle.moves_to(&home);
            if !throttle.fits(&home.base) {
                // Joined when its base was not known here yet.
                throttle.leave(now);
                self.fail(Direction::Read, io::Error::other(Error::WrongClock));
            }
            self.put_limits(throttle, now);
        }
        self.home = Some(home);
        if let Some(layer) = self.layer() {
            layer.hang_bell();
        }
    }
}

impl Bufferevent<[(); 0]> {
    fn new(options: Options) -> Self {
        let (mut input, mut output) = (Evbuffer::new(), Evbuffer::new());
        input.freeze(End::Back);
        output.freeze(End::Front);
        output.set_limit(Some(OUTPUT_CAP));
        input.set_settled();
        output.set_settled();
        Self {
            input,
            output,
            read: Half { low: 0, high: Bound::NONE },
            write: Half { low: 0, high: Some(OUTPUT_HIGH).into() },
            max_single: [MAX_SINGLE_READ as u32, MAX_SINGLE_WRITE as u32],
            input_cap: Some(INPUT_CAP).into(),
            socket: Socket::None,
            memory: None,
            throttle: None,
            allowance: Allowance::default(),
            permit: Permit::default(),
            home: None,
            priority: None,
            connector: None,
            failure: None,
            pending: Pending::default(),
            later: None,
            timeouts: None,
            options,
            enabled: Interest::WRITE,
            ready: Ready::NONE,
            phase: Phase::Detached,
            told: Told::default(),
            shut: Shut::default(),
            hears_write: true,
            relays: false,
            run: Run { rare: UNUSUAL, ..Run::default() },
            #[cfg(feature = "test-util")]
            _live: bufferevent_runtime::Live::bufferevent(),
            _unswappable: [],
        }
    }
}

/// A bufferevent as its owner has it. Dropped, it is closed (D15), or its descriptor left open (D19).
pub(crate) struct Owned(Bufferevent<[(); 0]>);

impl Owned {
    pub(crate) fn new(options: Options) -> Self {
        Self(Bufferevent::new(options))
    }
}

impl Deref for Owned {
    type Target = Bufferevent;

    #[inline]
    fn deref(&self) -> &Bufferevent {
        &self.0
    }
}

impl DerefMut for Owned {
    #[inline]
    fn deref_mut(&mut self) -> &mut Bufferevent {
        &mut self.0
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.close_without_waiting();
        if let Some(fd) = self.release_fd() {
            let _stays_open = fd.into_raw_fd();
        }
    }
}

impl<Unsized: ?Sized> fmt::Debug for Bufferevent<Unsized> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bufferevent")
            .field("phase", &self.phase)
            .field("enabled", &self.enabled)
            .field("input", &self.input.len())
            .field("output", &self.output.len())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
