//! The load: its connections, from the first connect to the last answer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bufferevent::{BaseExt as _, BaseHandle, Bufferevent, Id, Movable, Place, Runtime, Trigger};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::{
    board::Board,
    client::{BEGIN, Client},
    pattern::Pattern,
    tally::{Tally, Totals},
};
use crate::{args::Mode, failure::Failure, running::Running, units};

/// Connects under way at a time: fewer than a listener's queue holds, for one that overflows costs a second.
const CONNECTING: usize = 512;

/// How often a waiting thread looks up.
const LOOK: Duration = Duration::from_millis(100);

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: SocketAddr,
    pub(crate) mode: Mode,
    pub(crate) connections: usize,
    /// Bytes of a request; connections take them in turn.
    pub(crate) sizes: Vec<usize>,
}

impl Plan {
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
    /// Those that stand and have not begun.
    idle: Vec<Id>,
    /// The number of the next to start.
    next: usize,
}

impl BaseLoad {
    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// Keeps a connection that stands for [`Engine::begin`].
    pub(super) fn keep(&self, id: Id) {
        self.connections.lock().idle.push(id);
    }

    /// Starts the next connection of this base, if there is one left; one that cannot be started has failed.
    pub(super) fn start_next(self: &Arc<Self>, place: &mut impl Place<Affinity = Movable>) {
        while let Some(number) = self.take_number() {
            let client = Client::new(Arc::clone(self), number);
            let started =
                Bufferevent::connect(self.load.plan.target).handler(client).report_close().start(place);
            match started {
                Ok(_) => return,
                Err(error) => {
                    self.load.board.failed(|| error.to_string());
                    self.load.board.ended();
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
    pub(crate) totals: Totals,
    /// Connections that stood.
    pub(crate) connected: usize,
    /// Connections that failed: to connect, in the middle, by a wrong byte, or without an answer at the end.
    pub(crate) errors: u64,
    pub(crate) wrong_bytes: u64,
    /// Why the first of them failed.
    pub(crate) first_error: Option<String>,
}

impl Finished {
    /// An error if a connection failed.
    pub(crate) fn result(self) -> Result<(), Failure> {
        let counted = counted(self.errors);
        self.first_error.map_or(Ok(()), |first| Err(Failure::Failed(format!("{counted} failed: {first}"))))
    }
}

fn counted(connections: u64) -> String {
    match connections {
        1 => "1 connection".to_owned(),
        _ => format!("{} connections", units::count(connections)),
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
    /// Prepares the load on `runtime`, which runs from now on.
    pub(crate) fn start(runtime: Runtime, plan: Plan) -> Result<Self, Failure> {
        let handles = runtime.bases();
        let load = Arc::new(Load {
            plan,
            pattern: Pattern::new(),
            board: Board::default(),
            stopping: AtomicBool::new(false),
            stride: handles.len(),
        });
        let base = |handle: BaseHandle| {
            let connections = Mutex::new(Connections { idle: Vec::new(), next: handle.index() });
            (handle, Arc::new(BaseLoad { load: Arc::clone(&load), tally: Tally::new(), connections }))
        };
        let bases = handles.into_iter().map(base).collect();
        Ok(Self { running: Running::start(runtime)?, load, bases })
    }

    /// Connects all, each base some at a time; answers how many connections stand when all do or have failed, or when
    /// `limit` has passed.
    pub(crate) fn connect(&self, limit: Duration) -> Result<usize, Failure> {
        let at_once = (CONNECTING / self.bases.len()).max(1);
        for (handle, base) in &self.bases {
            let base = Arc::clone(base);
            handle.post(move |place| (0..at_once).for_each(|_| base.start_next(place)))?;
        }
        let all = self.load.plan.connections;
        self.load.board.wait(limit, |counts| counts.connected + counts.failed as usize >= all);
        Ok(self.load.board.counts().connected)
    }

    /// Lets every connection that stands begin.
    pub(crate) fn begin(&self) -> Result<(), Failure> {
        for (handle, base) in &self.bases {
            let idle = std::mem::take(&mut base.connections.lock().idle);
            handle.post(move |base| {
                for id in idle {
                    // One that has failed meanwhile has said so.
                    if let Ok(connection) = base.bufferevent(id) {
                        connection.trigger_event(BEGIN, Trigger::PLAIN);
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Waits for `duration`, or until no connection is left, and calls `look` now and then; answers how long it was.
    pub(crate) fn wait(&self, duration: Duration, mut look: impl FnMut(Duration)) -> Duration {
        let began = Instant::now();
        let all = self.load.plan.connections;
        loop {
            let elapsed = began.elapsed();
            if elapsed >= duration || self.load.board.counts().ended >= all {
                return elapsed;
            }
            look(elapsed);
            self.load.board.wait((duration - elapsed).min(LOOK), |counts| counts.ended >= all);
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

    /// Lets each connection end its request and closes it, then ends the runtime. A request that is not answered within
    /// `limit` has failed.
    pub(crate) fn finish(self, limit: Duration) -> Result<Finished, Failure> {
        // ORDER: Relaxed; see `is_stopping`.
        self.load.stopping.store(true, Ordering::Relaxed);
        let all = self.load.plan.connections;
        self.load.board.wait(limit, |counts| counts.ended >= all);
        let counts = self.load.board.counts();
        let totals = self.totals();
        // What was counted is known; what still stands is only left to end.
        self.running.finish(GRACE)?;
        let unanswered = all.saturating_sub(counts.ended) as u64;
        let unanswered_error =
            || format!("no answer for {} within {limit:?} after the end", counted(unanswered));
        Ok(Finished {
            totals,
            connected: counts.connected,
            errors: counts.failed + unanswered,
            wrong_bytes: counts.wrong_bytes,
            first_error: counts.first_error.or_else(|| (unanswered > 0).then(unanswered_error)),
        })
    }
}

/// How long connections may take to close after the end.
const GRACE: Duration = Duration::from_millis(200);
