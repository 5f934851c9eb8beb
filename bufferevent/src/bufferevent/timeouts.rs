//! What may take how long, and what is told when it took longer.

use std::time::Duration;

use bufferevent_runtime::{Ready, Time};

use super::{ALARM, Bufferevent, Phase};
use crate::{
    clocks::{Clocks, Limit, Limits},
    event::{Cause, Event, TimeLimit},
    interest::{Direction, Interest},
};

/// The countdowns, and what is needed to tell whether a direction is too slow. Made when the first of them is.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    clocks: Clocks,
    read: Pace,
    write: Pace,
}

/// The bytes that must move in each window, and how many had moved when this window began.
#[derive(Debug, Default)]
struct Pace {
    least: u64,
    from: u64,
}

/// A least rate: so many bytes in each window of time.
///
/// ```
/// use std::time::Duration;
/// use bufferevent::MinRate;
///
/// let rate = MinRate { bytes: 1_000, window: Duration::from_secs(10) };
/// assert_eq!(rate, MinRate::per_second(100, Duration::from_secs(10)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MinRate {
    /// Bytes that must move in each window.
    pub bytes: u64,
    /// How long a window is.
    pub window: Duration,
}

impl Timeouts {
    #[cold]
    fn boxed() -> Box<Self> {
        Box::default()
    }

    /// The base's timer is lost: all begin anew.
    pub(crate) fn stop(&mut self) {
        self.clocks.stop();
    }

    fn pace(&mut self, direction: Direction) -> &mut Pace {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl MinRate {
    /// `bytes` per second on average over each window.
    #[must_use]
    pub fn per_second(bytes: u64, window: Duration) -> Self {
        let whole = u128::from(bytes) * window.as_millis() / 1_000;
        Self { bytes: u64::try_from(whole).unwrap_or(u64::MAX), window }
    }
}

impl Bufferevent {
    /// Sets how long each direction may make no progress, `None` for ever, which is the default.
    ///
    /// A timeout fires once: it disables its direction and tells [`Event::Timeout`]. It runs only while the direction is
    /// enabled and not suspended, and for writing while there is output; every byte that moves begins it anew, and so does
    /// this call, and `enable`. Data that is there when it fires is read first, and puts it off. While a connect is under
    /// way the write timeout limits that.
    /// # Libevent
    /// `bufferevent_set_timeouts`.
    #[doc(alias = "bufferevent_set_timeouts")]
    #[doc(alias = "bufferevent_settimeout")]
    pub fn set_timeouts(&mut self, read: Option<Duration>, write: Option<Duration>) {
        self.set_limit(Limit::Read, read);
        self.set_limit(Limit::Write, write);
    }

    /// The timeout of a direction.
    pub fn timeout(&self, direction: Direction) -> Option<Duration> {
        let limit = match direction {
            Direction::Read => Limit::Read,
            Direction::Write => Limit::Write,
        };
        self.timeouts.as_ref().and_then(|timeouts| timeouts.clocks.length(limit))
    }

    /// Sets how long a connect may take, `None` for as long as the system tries; default 30 s. One under way begins
    /// anew.
    ///
    /// The attempt ends then, and [`Event::Error`] with [`TimeLimit::Connect`] tells it.
    pub fn set_connect_timeout(&mut self, after: Option<Duration>) {
        self.unusual();
        match self.layer_mut() {
            Some(layer) => layer.lower.set_connect_timeout(after),
            None => self.timeouts().clocks.set(Limit::Connect, after),
        }
    }

    /// Sets how long the bufferevent may live from now on, or from its start, `None` for ever, which is the default.
    ///
    /// Both directions are disabled then, a connect that is under way is given up, and [`Event::Error`] with
    /// [`TimeLimit::Lifetime`] told, once. One that is closing by then ends at once.
    pub fn set_lifetime(&mut self, after: Option<Duration>) {
        self.set_limit(Limit::Lifetime, after);
    }

    /// Sets how fast a direction must be, `None` as slow as it likes, which is the default. For peers that send, or take,
    /// a byte now and then to hold a connection.
    ///
    /// A window runs only while the direction is enabled and not suspended, and for writing while there is output. When
    /// one ends in which less has moved, the direction is disabled and [`Event::Error`] with [`TimeLimit::MinRate`] told.
    /// A rate of no bytes is none.
    pub fn set_min_rate(&mut self, direction: Direction, rate: Option<MinRate>) {
        // No window of it could end otherwise than well.
        let rate = rate.filter(|rate| rate.bytes > 0);
        let limit = match direction {
            Direction::Read => Limit::ReadRate,
            Direction::Write => Limit::WriteRate,
        };
        self.set_limit(limit, rate.map(|rate| rate.window));
        if let (Some(timeouts), Some(rate)) = (&mut self.timeouts, rate) {
            timeouts.pace(direction).least = rate.bytes;
        }
    }

    fn set_limit(&mut self, limit: Limit, length: Option<Duration>) {
        if length.is_some() || self.timeouts.is_some() {
            self.timeouts().clocks.set(limit, length);
        }
    }

    fn timeouts(&mut self) -> &mut Timeouts {
        self.timeouts.get_or_insert_with(Timeouts::boxed)
    }

    /// The countdowns, for a close to set its bounds.
    pub(crate) fn clocks(&mut self) -> &mut Clocks {
        &mut self.timeouts().clocks
    }

    /// Forgets the countdown of `limit`, which will not run again unless it is set. What counts nothing else takes no memory.
    pub(crate) fn forget_limit(&mut self, limit: Limit) {
        let Some(Timeouts { clocks, read, write }) = self.timeouts.as_deref_mut() else { return };
        if clocks.are_new_but_for(limit) && read.least == 0 && write.least == 0 {
            self.timeouts = None;
        }
    }

    /// The timeouts of these directions begin anew, and that of a connect.
    pub(crate) fn restart_timeouts(&mut self, directions: Interest) {
        if let Some(timeouts) = &mut self.timeouts {
            timeouts.clocks.restart(limits_of(directions) | Limit::Connect);
        }
    }

    /// What is limited in time as things stand (D6).
    #[inline]
    fn running(&self) -> Limits {
        let retry = Limits::from(Limit::Retry).only_if(self.told.shortage);
        let by_phase =
            if self.phase == Phase::Open { self.running_while_open() } else { self.running_by_phase() };
        let below = Limits::from(Limit::Below).only_if(self.is_layered());
        retry | self.refills() | below | by_phase
    }

    #[inline]
    fn refills(&self) -> Limits {
        let Some(throttle) = &self.throttle else { return Limits::NONE };
        let waits = |direction| throttle.refill_at(direction).is_some();
        Limits::from(Limit::ReadRefill).only_if(waits(Direction::Read))
            | Limits::from(Limit::WriteRefill).only_if(waits(Direction::Write))
    }

    #[inline]
    fn running_while_open(&self) -> Limits {
        let may =
            |direction: Direction| self.enabled.contains(direction.into()) && !self.is_throttled(direction);
        let reads = may(Direction::Read) && self.has_room_to_read();
        let writes = may(Direction::Write) && !self.output.is_empty();
        Limits::from(Limit::Lifetime)
            | (Limits::from(Limit::Read) | Limit::ReadRate).only_if(reads)
            | (Limits::from(Limit::Write) | Limit::WriteRate).only_if(writes)
    }

    #[inline(never)]
    fn running_by_phase(&self) -> Limits {
        let attempt = Limits::from(Limit::Attempt).only_if(self.connector.is_some());
        match self.phase {
            // For the connection what is below has to wait.
            Phase::Connecting if self.is_layered() => {
                let greets = self.layer().is_some_and(|layer| layer.is_greeting());
                Limits::from(Limit::Lifetime) | Limits::from(Limit::Connect).only_if(greets)
            }
            Phase::Draining if self.is_layered() => {
                let waits = self.waits_to_sink() && !self.is_throttled(Direction::Write);
                Limits::from(Limit::Lifetime) | Limit::Close | Limits::from(Limit::Drain).only_if(waits)
            }
            Phase::Open => self.running_while_open(),
            Phase::Detached => Limit::Lifetime.into(),
            Phase::Connecting => {
                attempt
                    | Limit::Lifetime
                    | Limit::Connect
                    | Limits::from(Limit::Write).only_if(self.enabled.contains(Interest::WRITE))
            }
            Phase::Departing => attempt | Limit::Lifetime | Limit::Close | Limit::Connect,
            Phase::Draining => {
                Limits::from(Limit::Lifetime)
                    | Limit::Close
                    | Limits::from(Limit::Drain)
                        .only_if(!self.output.is_empty() && !self.is_throttled(Direction::Write))
            }
            Phase::Lingering => Limits::from(Limit::Lifetime) | Limit::Close | Limit::Linger,
            Phase::Ended => Limits::NONE,
        }
    }

    /// At the end of a run: lets the countdowns run that are to. Answers when the base's timer must fire, if that is
    /// earlier than it will.
    #[inline]
    pub(crate) fn next_alarm(&mut self) -> Option<Time> {
        if self.timeouts.is_none() && matches!(self.phase, Phase::Open | Phase::Detached | Phase::Ended) {
            return None;
        }
        self.run_clocks()
    }

    #[inline(always)]
    fn run_clocks(&mut self) -> Option<Time> {
        let (running, now) = (self.running(), self.run.now);
        let [read, written] = Direction::ALL.map(|direction| self.moved(direction));
        let progress = std::mem::take(&mut self.run.progress);
        let Timeouts { clocks, read: reads, write: writes } = self.timeouts();
        let begin = clocks.behind(running);
        if begin != Limits::NONE {
            for (limit, pace, moved) in [(Limit::ReadRate, reads, read), (Limit::WriteRate, writes, written)]
            {
                if begin.contains(limit) {
                    pace.from = moved;
                }
            }
        }
        clocks.run(running, put_off_by(progress), now)
    }

    /// Whether a countdown is to run and does not, or is to be put off.
    pub(crate) fn owes_clocks(&self) -> bool {
        match &self.timeouts {
            Some(timeouts) => {
                self.run.progress != Interest::NONE || timeouts.clocks.behind(self.running()) != Limits::NONE
            }
            None => false,
        }
    }

    /// The base's timer has fired.
    pub(crate) fn alarm_rings(&mut self) {
        if let Some(timeouts) = &mut self.timeouts {
            self.run.rare |= ALARM;
            timeouts.clocks.disarmed();
        }
    }

    /// The system had no memory to send with: as if the socket were full, but no readiness tells when it is not.
    #[cold]
    pub(crate) fn retry_later(&mut self) {
        self.ready = self.ready - Ready::WRITABLE;
        self.told.shortage = true;
        self.clocks().restart(Limit::Retry.into());
    }

    /// After all that could be read and written: tells what took too long. False: nothing did.
    #[cold]
    pub(crate) fn step_clocks(&mut self) -> bool {
        self.run.rare &= !ALARM;
        let progress = std::mem::take(&mut self.run.progress);
        self.clocks().restart(put_off_by(progress));
        let (running, now) = (self.running(), self.run.now);
        let over = self.clocks().take_over(running, now);
        if over == Limits::NONE {
            return false;
        }
        if over.contains(Limit::Retry) {
            self.told.shortage = false;
            self.ready |= Ready::WRITABLE;
        }
        if let Some(layer) = self.layer_mut().filter(|_| over.contains(Limit::Below)) {
            layer.lower.alarm_rings();
        }
        let refills = Limits::from(Limit::ReadRefill) | Limit::WriteRefill;
        if over.difference(refills | Limit::Retry | Limit::Attempt | Limit::Below) == Limits::NONE {
            // What comes next is the next step's; a connector and a bucket look at the time themselves.
            return true;
        }
        if self.is_closing() {
            match of_close(over) {
                // The peer was given time, and is to be told nothing.
                TimeLimit::Linger if self.told.cut_short => self.end(),
                limit => self.end_by(Cause::TimeLimit(limit)),
            }
        } else if over.contains(Limit::Lifetime) {
            self.life_over();
        } else if self.phase == Phase::Connecting {
            let limit = if self.shakes_hands() { TimeLimit::Handshake } else { TimeLimit::Connect };
            self.connect_failed(Cause::TimeLimit(limit));
        } else {
            for direction in [Direction::Read, Direction::Write] {
                self.direction_over(direction, over);
            }
        }
        true
    }

    /// Once: a connect that is under way ends with it.
    fn life_over(&mut self) {
        self.clocks().set(Limit::Lifetime, None);
        if self.phase == Phase::Connecting && !self.is_layered() {
            self.enabled = Interest::NONE;
            self.connect_failed(Cause::TimeLimit(TimeLimit::Lifetime));
        } else {
            self.expire(Interest::BOTH, None, TimeLimit::Lifetime);
        }
    }

    fn direction_over(&mut self, direction: Direction, over: Limits) {
        let (idle, slow) = match direction {
            Direction::Read => (Limit::Read, Limit::ReadRate),
            Direction::Write => (Limit::Write, Limit::WriteRate),
        };
        let moved = self.moved(direction);
        let pace = self.timeouts().pace(direction);
        if over.contains(slow) && moved - pace.from < pace.least {
            self.expire(direction.into(), Some(direction), TimeLimit::MinRate);
        } else if over.contains(idle) {
            self.enabled = self.enabled.difference(direction.into());
            self.pending.event(Event::Timeout(direction));
        }
    }

    fn expire(&mut self, directions: Interest, direction: Option<Direction>, limit: TimeLimit) {
        self.enabled = self.enabled.difference(directions);
        self.pending.event(Event::Error { direction, cause: Cause::TimeLimit(limit) });
    }
}

/// Which of the bounds of a close it was.
fn of_close(over: Limits) -> TimeLimit {
    let bounds = [
        (Limit::Lifetime, TimeLimit::Lifetime),
        (Limit::Close, TimeLimit::Close),
        (Limit::Connect, TimeLimit::Connect),
        (Limit::Linger, TimeLimit::Linger),
    ];
    let bound = bounds.into_iter().find(|(limit, _)| over.contains(*limit));
    bound.map_or(TimeLimit::Drain, |(_, bound)| bound)
}

/// The timeouts of these directions.
fn limits_of(directions: Interest) -> Limits {
    Limits::from(Limit::Read).only_if(directions.contains(Interest::READ))
        | Limits::from(Limit::Write).only_if(directions.contains(Interest::WRITE))
}

/// What bytes that moved in these directions put off.
fn put_off_by(progress: Interest) -> Limits {
    limits_of(progress) | Limits::from(Limit::Drain).only_if(progress.contains(Interest::WRITE))
}
