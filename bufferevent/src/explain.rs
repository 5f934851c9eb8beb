//! What a bufferevent is doing, and why it does not do more.

use std::{fmt, time::Duration};

use bufferevent_runtime::Ready;

use crate::{
    bufferevent::{Bufferevent, Phase},
    handle::Handle,
    interest::{Direction, Interest},
    options::Options,
    suspend::Suspend,
};

/// What a bufferevent looked like at one moment, and why each direction makes no progress.
///
/// Printed, it says so in a few lines.
///
/// ```
/// use bufferevent::{Base, BaseExt, Bufferevent, Interest, NoHandler, Pinned, Stall};
/// use std::os::unix::net::UnixStream;
///
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut base = Base::<Pinned>::new()?;
/// let id = Bufferevent::socket(ours).handler(NoHandler).enable(Interest::WRITE).start(&mut base)?;
/// let snapshot = base.bufferevent(id)?.explain();
/// assert_eq!(snapshot.read.stall, Some(Stall::Disabled));
/// println!("{snapshot}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// How far the connection has come.
    pub state: State,
    /// The direction from the peer.
    pub read: Flow,
    /// The direction to the peer.
    pub write: Flow,
    /// The options it was made with.
    pub options: Options,
    /// How urgent it is; `None` before it is started.
    pub priority: Option<u8>,
    /// Callbacks that are due and not yet delivered.
    pub callbacks_due: usize,
    /// How long ago it was started; zero before.
    pub age: Duration,
    /// What only a THREADSAFE one has.
    pub strand: Option<StrandSnapshot>,
    /// The bufferevent below a filter.
    pub underlying: Option<Box<Snapshot>>,
}

/// One direction of a [`Snapshot`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Flow {
    /// Why nothing moves; `None` if something would at the next run.
    pub stall: Option<Stall>,
    /// Whether the direction is enabled.
    pub enabled: bool,
    /// Bytes in the buffer.
    pub buffered: usize,
    /// The low mark, bytes.
    pub low: usize,
    /// The high mark, bytes.
    pub high: Option<usize>,
    /// The cap, bytes.
    pub cap: Option<usize>,
    /// Bytes that have moved since the start.
    pub moved: u64,
    /// The timeout.
    pub timeout: Option<Duration>,
    /// Bytes that its own rate limit lets move, negative for a debt; `None` without one.
    pub level: Option<i64>,
}

/// The strand of a THREADSAFE bufferevent.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StrandSnapshot {
    /// Operations that wait in its mailbox.
    pub mailbox: usize,
    /// How long it has waited to run; `None` if it does not, or if the runtime does not
    /// [trace](bufferevent_runtime::Builder::trace).
    pub waiting: Option<Duration>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// No descriptor, and no connect under way.
    Detached,
    /// A name is being looked up.
    LookingUp,
    /// A connect is under way.
    Connecting,
    /// The connection stands.
    Connected,
    /// Closing: the output is being sent, once a connection stands.
    Draining,
    /// Closing: our side is ended, the peer's end is awaited.
    Lingering,
    /// It has ended.
    Ended,
}

/// Why a direction makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stall {
    /// There is no connection.
    NotConnected,
    /// It is closing: nothing is read but to be dropped, and our side is ended when the output is out.
    Closing,
    /// It was disabled: by `disable`, by a timeout, or by an error; for reading by the peer's end too.
    Disabled,
    /// It was shut down.
    ShutDown,
    /// The peer has ended its side.
    Ended,
    /// The other half of the pair is gone, or takes nothing any more.
    Unlinked,
    /// It is suspended, for these reasons.
    Suspended(Suspend),
    /// There is nothing to write.
    Empty,
    /// The system, or the other half of the pair, has nothing to read or takes no more; for a filter, what is below has not, or the
    /// filter needs more.
    NotReady,
}

impl Bufferevent {
    /// What the bufferevent is doing, and why it does not do more.
    ///
    /// # Locks
    /// Needs the strand; [`Handle::explain`] tells of one that is busy.
    pub fn explain(&self) -> Snapshot {
        let flow = |direction: Direction| {
            let (low, high) = self.watermark(direction);
            let (buffered, cap) = match direction {
                Direction::Read => (self.input.len(), self.input_cap.get()),
                Direction::Write => (self.output.len(), self.output.limit()),
            };
            let moved = self.moved(direction);
            let (enabled, timeout) = (self.enabled.contains(direction.into()), self.timeout(direction));
            let (stall, level) = (self.stall(direction), self.rate_limit_level(direction));
            Flow { stall, enabled, buffered, low, high, cap, moved, timeout, level }
        };
        let age = self.home.as_ref().map_or(Duration::ZERO, |home| home.base.now().since(home.since));
        Snapshot {
            state: self.state(),
            read: flow(Direction::Read),
            write: flow(Direction::Write),
            options: self.options,
            priority: self.priority(),
            callbacks_due: self.pending.len() + self.later.as_ref().map_or(0, |later| later.len()),
            age,
            strand: None,
            underlying: self.underlying().map(|lower| Box::new(lower.explain())),
        }
    }

    fn state(&self) -> State {
        match self.phase {
            Phase::Detached => State::Detached,
            Phase::Connecting if self.is_looking_up() => State::LookingUp,
            Phase::Connecting => State::Connecting,
            Phase::Open => State::Connected,
            Phase::Departing | Phase::Draining => State::Draining,
            Phase::Lingering => State::Lingering,
            Phase::Ended => State::Ended,
        }
    }

    fn stall(&self, direction: Direction) -> Option<Stall> {
        let interest = Interest::from(direction);
        let suspended = self.suspended(direction);
        let reads = direction == Direction::Read;
        if !suspended.is_empty() {
            return Some(Stall::Suspended(suspended));
        }
        match self.phase {
            Phase::Open => {}
            Phase::Draining if !reads => {}
            Phase::Draining | Phase::Lingering => return Some(Stall::Closing),
            _ => return Some(Stall::NotConnected),
        }
        if self.shut.asked.contains(interest) && (reads || self.output.is_empty()) {
            return Some(Stall::ShutDown);
        }
        if !self.enabled.contains(interest) {
            return Some(if reads && self.told.eof { Stall::Ended } else { Stall::Disabled });
        }
        let ready = self.ready.contains(if reads { Ready::READABLE } else { Ready::WRITABLE });
        if !(reads && ready) && self.is_stalled_by_mate(direction) {
            return Some(Stall::Unlinked);
        }
        if !reads && self.output.is_empty() {
            return Some(Stall::Empty);
        }
        (!ready).then_some(Stall::NotReady)
    }
}

impl Handle {
    /// What the bufferevent is doing, and why it does not do more; `None` while somebody holds it, as its own callback
    /// does, and once it has ended.
    ///
    /// From any thread; never waits.
    pub fn explain(&self) -> Option<Snapshot> {
        let mailbox = self.mailbox_len();
        let waiting = self.waiting_since().map(|since| self.base().now().since(since));
        let snapshot = self.try_lock().ok()??.explain();
        Some(Snapshot { strand: Some(StrandSnapshot { mailbox, waiting }), ..snapshot })
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state, options, age, callbacks_due, .. } = self;
        writeln!(f, "{state:?}, {options:?}, {age:.1?} old, {callbacks_due} callbacks due")?;
        write!(f, "reading: {}\nwriting: {}", self.read, self.write)?;
        if let Some(strand) = &self.strand {
            write!(f, "\nmailbox: {} operations, waiting: {:?}", strand.mailbox, strand.waiting)?;
        }
        if let Some(underlying) = &self.underlying {
            write!(f, "\nbelow: {underlying}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stall {
            None => f.write_str("goes on")?,
            Some(Stall::Suspended(reasons)) => write!(f, "suspended by {reasons:?}")?,
            Some(stall) => write!(f, "{stall}")?,
        }
        write!(f, "; {} bytes buffered", self.buffered)?;
        if let Some(high) = self.high {
            write!(f, " (high mark {high})")?;
        }
        write!(f, ", {} moved", self.moved)?;
        if let Some(level) = self.level {
            write!(f, ", {level} allowed by its rate limit")?;
        }
        match self.timeout {
            Some(timeout) => write!(f, ", timeout {timeout:?}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotConnected => "there is no connection",
            Self::Closing => "closing",
            Self::Disabled => "disabled",
            Self::ShutDown => "shut down",
            Self::Ended => "the peer has ended its side",
            Self::Suspended(_) => "suspended",
            Self::Unlinked => "the other half of the pair is gone",
            Self::Empty => "nothing to write",
            Self::NotReady => "what is below is not ready",
        })
    }
}
