//! The load: its connections, from the first connect to the last answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bufferevent::{BaseExt as _, BaseHandle, Builder, Id, Movable, Place, Runtime, Trigger};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::{
    board::{Board, Counts, Handshakes},
    client::{BEGIN, Client},
    tally::{Latencies, Progress, Tally, Totals},
};
use crate::{
    address::Resolved, args::Mode, failure::Failure, pattern::Pattern, running::Running, signals,
    tls::Secured, units,
};

/// Connects under way at a time: fewer than a listener's queue holds, for one that overflows costs a second.
const CONNECTING: usize = 512;

/// How often a waiting thread looks up.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Connections take them in turn.
    pub(crate) servers: Vec<Resolved>,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Bytes of a request; connections take them in turn.
    pub(crate) sizes: Vec<usize>,
    /// How long a connection may take to connect, and how long all may that are to be there from the beginning.
    pub(crate) connect_timeout: Duration,
    /// By TLS.
    pub(crate) tls: Option<Secured>,
}

impl Plan {
    /// The server of connection `number`.
    fn server(&self, number: usize) -> &Resolved {
        &self.servers[number % self.servers.len()]
    }

    /// Bytes of a request of connection `number`.
    pub(super) fn size(&self, number: usize) -> usize {
        self.sizes[number % self.sizes.len()]
    }
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) plan: Plan,
    pub(super) pattern: Pattern,
    pub(super) board: Board,
    stopping: AtomicBool,
    /// Connection numbers of one base are this far apart.
    stride: usize,
}

impl Load {
    /// The number of connection `number` among those of its base.
    pub(super) fn slot(&self, number: usize) -> usize {
        number / self.stride
    }

    pub(super) fn is_stopping(&self) -> bool {
        // ORDER: Relaxed; a client that sees it late makes a request more, nothing is published through it.
        self.stopping.load(Ordering::Relaxed)
    }
}

/// The part of the load on one base.
#[derive(Debug)]
pub(super) struct BaseLoad {
    load: Arc<Load>,
    pub(super) tally: Tally,
    connections: Mutex<Connections>,
}

#[derive(Debug)]
struct Connections {
    /// Those that stand and have not begun; `None` from [`Engine::begin`] on.
    idle: Option<Vec<Id>>,
    /// The number of the next to start.
    next: usize,
}

impl BaseLoad {
    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// Keeps a connection that stands for [`Engine::begin`]; false if that was already, so that it is to begin by itself.
    pub(super) fn keep(&self, id: Id) -> bool {
        match &mut self.connections.lock().idle {
            Some(idle) => {
                idle.push(id);
                true
            }
            None => false,
        }
    }

    /// Starts the next connection of this base, if there is one left; one that cannot be started has failed.
    pub(super) fn start_next(self: &Arc<Self>, place: &mut impl Place<Affinity = Movable>) {
        while let Some(number) = self.take_number() {
            let client = Client::new(Arc::clone(self), number);
            let builder = self.load.plan.server(number).connect();
            let builder = builder.connect_timeout(Some(self.load.plan.connect_timeout));
            let builder = match self.load.plan.tls.as_ref().map(Secured::connect).transpose() {
                Ok(Some(tls)) => Ok(builder.filter(tls)),
                Ok(None) => Ok(builder),
                Err(why) => Err(why.to_string()),
            };
            let start = |builder: Builder| builder.handler(client).report_close().start(place);
            match builder.and_then(|builder| start(builder).map_err(|why| why.to_string())) {
                Ok(_) => return,
                Err(error) => {
                    self.load.board.failed(|| error);
                    self.load.board.ended(false);
                }
            }
        }
    }

    fn take_number(&self) -> Option<usize> {
        let mut connections = self.connections.lock();
        let number = connections.next;
        if number >= self.load.plan.connections || self.load.is_stopping() {
            return None;
        }
        connections.next += self.load.stride;
        Some(number)
    }
}

/// What is left to know when the load has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Those of the requests that were answered after the measurement too.
    pub(crate) totals: Totals,
    /// How long all requests took that were begun: a lower bound for those that were never answered.
    pub(crate) latencies: Latencies,
    /// What had no answer when the measurement ended.
    pub(crate) unanswered: Unanswered,
    /// Requests that were being answered when there was no time left for that.
    pub(crate) cut_off: u64,
    /// A signal ended the measurement.
    pub(crate) interrupted: bool,
    /// Connections that stood.
    pub(crate) connected: usize,
    pub(crate) handshakes: Handshakes,
    /// Connections that failed: to connect, in the middle, by a wrong byte, or without an answer at the end.
    pub(crate) errors: u64,
    pub(crate) wrong_bytes: u64,
    /// Why the first of them failed.
    pub(crate) first_error: Option<String>,
}

/// Requests that were under way at one moment.
#[derive(Debug, Default)]
pub(crate) struct Unanswered {
    pub(crate) count: u64,
    /// For how long the oldest was.
    pub(crate) oldest: Option<Duration>,
}

impl Unanswered {
    fn with(self, age: Duration) -> Self {
        Self { count: self.count + 1, oldest: self.oldest.max(Some(age)) }
    }
}

impl Finished {
    /// An error if a connection failed.
    pub(crate) fn result(self) -> Result<(), Failure> {
        let counted = units::counted(self.errors, "connection");
        self.first_error.map_or(Ok(()), |first| Err(Failure::Failed(format!("{counted} failed: {first}"))))
    }
}

/// A load under way.
#[derive(Debug)]
pub(crate) struct Engine {
    running: Running,
    load: Arc<Load>,
    bases: Vec<(BaseHandle, Arc<BaseLoad>)>,
}

impl Engine {
    /// Prepares the load on `runtime`, which runs from now on. A signal ends its [waits](Engine::wait).
    pub(crate) fn start(runtime: Runtime, plan: Plan) -> Result<Self, Failure> {
        let handles = runtime.bases();
        let load = Arc::new(Load {
            plan,
            pattern: Pattern::new(),
            board: Board::default(),
            stopping: AtomicBool::new(false),
            stride: handles.len(),
        });
        let slots = load.plan.connections.div_ceil(load.stride);
        let base = |handle: BaseHandle| {
            let connections = Mutex::new(Connections { idle: Some(Vec::new()), next: handle.index() });
            (handle, Arc::new(BaseLoad { load: Arc::clone(&load), tally: Tally::new(slots), connections }))
        };
        let bases = handles.into_iter().map(base).collect();
        let told = Arc::clone(&load);
        signals::end_gracefully(move || told.board.interrupt())?;
        Ok(Self { running: Running::start(runtime, "bev-load")?, load, bases })
    }

    /// Connects all, each base some at a time; answers how many connections stand when all do or have failed, when a
    /// signal comes, or when the time for that is over.
    pub(crate) fn connect(&self) -> Result<usize, Failure> {
        let at_once = (CONNECTING / self.bases.len()).max(1);
        for (handle, base) in &self.bases {
            let base = Arc::clone(base);
            let posted = handle.post(move |place| (0..at_once).for_each(|_| base.start_next(place)));
            posted.map_err(|why| Failure::of("cannot reach a base of the load", why))?;
        }
        let Plan { connections: all, connect_timeout, .. } = self.load.plan;
        self.load
            .board
            .wait(connect_timeout, |counts| counts.interrupted || counts.standing + counts.ended >= all);
        Ok(self.load.board.counts().connected)
    }

    /// Whether a signal has asked for the end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.load.board.counts().interrupted
    }

    /// Lets every connection that stands begin.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        for (handle, base) in &self.bases {
            let idle = base.connections.lock().idle.take().unwrap_or_default();
            let posted = handle.post(move |base| {
                for id in idle {
                    // One that has failed meanwhile has said so.
                    if let Ok(connection) = base.bufferevent(id) {
                        connection.trigger_event(BEGIN, Trigger::PLAIN);
                    }
                }
            });
            posted.map_err(|why| Failure::of("cannot reach a base of the load", why))?;
        }
        Ok(())
    }

    /// Waits for `duration`, or until no connection is left or a signal comes, and calls `look` now and then; answers how
    /// long it was.
    pub(crate) fn wait(&self, duration: Duration, mut look: impl FnMut(Duration)) -> Duration {
        let began = Instant::now();
        let all = self.load.plan.connections;
        let is_over = |counts: &Counts| counts.interrupted || counts.ended >= all;
        loop {
            let elapsed = began.elapsed();
            if elapsed >= duration || is_over(&self.load.board.counts()) {
                return elapsed;
            }
            look(elapsed);
            self.load.board.wait((duration - elapsed).min(LOOK), is_over);
        }
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::new();
        self.bases.iter().for_each(|(_, base)| base.tally.add_to(&mut totals));
        totals.bytes = match self.load.plan.mode {
            Mode::Sink => totals.sent,
            Mode::Echo | Mode::Source => totals.received,
        };
        totals
    }

    /// Bytes that each connection has received so far.
    pub(crate) fn received_each(&self) -> Vec<u64> {
        let bases = self.bases.len();
        let received = |number: usize| self.bases[number % bases].1.tally.received[number / bases].get();
        (0..self.load.plan.connections).map(received).collect()
    }

    /// Lets each connection end its request and closes it, then ends the runtime. A request that is not answered within
    /// `limit` is cut off; if it came no further in that time, it has failed.
    pub(crate) fn finish(self, limit: Duration) -> Result<Finished, Failure> {
        let interrupted = self.is_interrupted();
        let unanswered = self.ages().fold(Unanswered::default(), Unanswered::with);
        let before: Vec<Progress> = self.progress().collect();
        // ORDER: Relaxed; see `is_stopping`.
        self.load.stopping.store(true, Ordering::Relaxed);
        self.load.board.wait(limit, |counts| counts.standing == 0);
        let counts = self.load.board.counts();
        let totals = self.totals();
        let mut latencies = totals.latencies.clone();
        if totals.requests > 0 {
            self.ages().for_each(|age| latencies.record(1, age));
        }
        let left = before.iter().zip(self.progress()).filter(|(_, now)| now.is_under_way);
        let (cut_off, silent): (Vec<_>, Vec<_>) = left.partition(|(then, now)| self.is_answered(then, now));
        let (cut_off, silent) = (cut_off.len() as u64, silent.len() as u64);
        let connecting = match interrupted {
            true => 0,
            false => self.load.plan.connections.saturating_sub(counts.ended + counts.standing) as u64,
        };
        // What was counted is known; what still stands is only left to end.
        self.running.finish(GRACE)?;
        let no_answer = || (silent > 0).then(|| format!("no answer within {limit:?} after the end"));
        let late = || (connecting > 0).then(|| "the connect took too long".to_owned());
        Ok(Finished {
            totals,
            latencies,
            unanswered,
            cut_off,
            interrupted,
            connected: counts.connected,
            handshakes: counts.handshakes,
            errors: counts.failed + silent + connecting,
            wrong_bytes: counts.wrong_bytes,
            first_error: counts.first_error.or_else(no_answer).or_else(late),
        })
    }

    /// Whether a request that was under way `then` comes further. Of a sink, which answers nothing, all there is to know is
    /// that a request before it was taken.
    fn is_answered(&self, then: &Progress, now: &Progress) -> bool {
        let plan = &self.load.plan;
        let is_taken = plan.mode == Mode::Sink && plan.sizes.iter().all(|&size| now.sent > size as u64);
        is_taken || (now.sent, now.received) != (then.sent, then.received)
    }

    fn progress(&self) -> impl Iterator<Item = Progress> {
        self.bases.iter().flat_map(|(_, base)| base.tally.progress())
    }

    /// How long each request that has no answer has been under way.
    fn ages(&self) -> impl Iterator<Item = Duration> {
        let now = Instant::now();
        self.bases.iter().flat_map(move |(_, base)| base.tally.ages(now))
    }
}

/// How long connections may take to close after the end.
const GRACE: Duration = Duration::from_millis(200);
