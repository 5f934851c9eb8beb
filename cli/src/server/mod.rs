//! The servers: what is done with a connection, and how it is run.

mod echo;
mod ending;
mod limited;
mod outcome;
mod rates;
mod service;
mod sink;
mod source;

use std::{
    io::{self, Write as _},
    num::NonZeroUsize,
    sync::Arc,
    time::Instant,
};

use bufferevent::{
    Accepted, Base, Bufferevent, Builder, ConnectionLimit, ListenerHandle, MemoryLimit, MemoryStage, Movable,
    Place, Runtime, runtime::BoxError,
};
use bufferevent_ssl::Acceptor;
use rustix::net::sockopt::set_tcp_nodelay;

pub(crate) use self::{
    echo::Echo,
    ending::farewell,
    limited::{Limited, TimeLimits},
    outcome::Outcome,
    rates::Rates,
    service::{Served, Service},
    sink::Sink,
    source::Source,
};
use self::{ending::Ending, outcome::Limits};
use crate::{
    args::{Mode, Serve},
    failure::Failure,
    failures::Failures,
    json::Object,
    limits,
    running::Running,
    signals,
    tls::{self, Fingerprint, Reload},
    units,
    warnings::Warnings,
};

/// Serves connections, each with a service that `make` gives, until a signal comes, and tells what came of it.
pub(crate) fn run<S: Service>(
    mode: Mode,
    make: impl Fn() -> S + Send + Sync + 'static,
    serve: &Serve,
) -> Result<(), Failure> {
    let server = Server::new(serve, NonZeroUsize::MIN)?;
    let terms = server.terms.clone();
    let outcome = server.run(move |connection, base| {
        terms.start(Limited::new(make(), terms.limits, terms.rates.clone()), connection, base)
    })?;
    if let Some(outcome) = outcome {
        let told = match serve.json {
            true => outcome.json(Object::default().text("mode", mode.name())).finish(),
            false => outcome.text(),
        };
        // Who started it may be gone by now.
        let _ = writeln!(io::stdout(), "{told}");
    }
    Ok(())
}

/// A server that does not listen yet.
#[derive(Debug)]
pub(crate) struct Server<'a> {
    serve: &'a Serve,
    runtime: Runtime,
    connections: ConnectionLimit,
    pub(crate) terms: Terms,
    /// Of a certificate that nobody knows yet.
    fingerprint: Option<Fingerprint>,
    /// What is read again at SIGHUP.
    pub(crate) reloads: Vec<Reload>,
}

/// What every connection of a server is under.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) how: How,
    pub(crate) limits: TimeLimits,
    pub(crate) rates: Option<Rates>,
    pub(crate) memory: Option<MemoryLimit>,
    pub(crate) tls: Option<Acceptor>,
    /// An end without TLS's notice is one.
    pub(crate) allow_truncation: bool,
    /// Handshakes that fail; `None` without TLS.
    pub(crate) handshakes: Option<Arc<Failures>>,
}

impl Terms {
    /// Those of a server without limits.
    pub(crate) fn unlimited(how: How, tls: Acceptor) -> Self {
        Self {
            how,
            limits: TimeLimits::default(),
            rates: None,
            memory: None,
            tls: Some(tls),
            allow_truncation: false,
            handshakes: None,
        }
    }

    /// A connection that was accepted, over TLS if that is to be.
    pub(crate) fn lowest(&self, connection: Accepted) -> Builder {
        // Requests are answered as soon as they are there; a socket without the option serves as well.
        let _ = set_tcp_nodelay(&connection, true);
        let builder = Bufferevent::socket(connection);
        match &self.tls {
            Some(acceptor) => builder.filter(acceptor.accept().allow_dirty_shutdown(self.allow_truncation)),
            None => builder,
        }
    }

    /// Starts a connection that was accepted, homed on a base.
    pub(crate) fn start<S: Service>(
        &self,
        mut service: S,
        connection: Accepted,
        place: &mut impl Place<Affinity = Movable>,
    ) -> Result<(), BoxError> {
        let mut builder = self.lowest(connection).configure(|bufferevent| service.begin(bufferevent));
        if let Some(memory) = &self.memory {
            builder = builder.memory(memory);
        }
        let served = Served::new(service, self.handshakes.clone());
        match self.how {
            How::Confined { defer: false } => drop(builder.handler(served).start(place)?),
            How::Confined { defer: true } => drop(builder.handler(served).deferred().start(place)?),
            How::Threadsafe { defer: false } => drop(builder.handler(served).threadsafe().start(place)?),
            How::Threadsafe { defer: true } => {
                drop(builder.handler(served).threadsafe().deferred().start(place)?)
            }
            How::Unlocked => drop(builder.threadsafe().unlocked(served).start(place)?),
        }
        Ok(())
    }
}

impl<'a> Server<'a> {
    /// One whose connections need so many descriptors each.
    pub(crate) fn new(serve: &'a Serve, descriptors: NonZeroUsize) -> Result<Self, Failure> {
        limits::raise_open_files();
        if let Some(spread) = serve.spread.filter(|&spread| spread > serve.grace) {
            let (spread, grace) = (units::time(spread), units::time(serve.grace));
            return Err(Failure::Usage(format!("--spread {spread} is longer than --grace {grace}")));
        }
        let runtime = runtime(serve)?;
        let most = ConnectionLimit::of_descriptors().limit() / descriptors;
        let connections = ConnectionLimit::new(NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN));
        let (tls, fingerprint, reload) = match serve.tls.speaking()? {
            Some(tls) => (Some(tls.acceptor), tls.fingerprint, tls.reload),
            None => (None, None, None),
        };
        let terms = Terms {
            how: How::from(serve),
            limits: TimeLimits { idle: serve.idle, lifetime: serve.lifetime },
            rates: Rates::of(serve)?,
            memory: memory(serve, &connections),
            handshakes: tls.is_some().then(Arc::default),
            tls,
            allow_truncation: serve.tls.tls_allow_truncation,
        };
        Ok(Self { serve, runtime, connections, terms, fingerprint, reloads: reload.into_iter().collect() })
    }

    /// Gives connections to `on_accept` until a signal comes; answers what came of it.
    pub(crate) fn run(
        self,
        on_accept: impl Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<Option<Outcome>, Failure> {
        let Self { serve, runtime, connections, terms, fingerprint, reloads } = self;
        let (bases, began) = (runtime.bases(), Instant::now());
        let listener = listen(&runtime, serve, &connections, on_accept)
            .map_err(|why| Failure::of(format_args!("cannot listen on {}", serve.listen), why))?;
        let ending = Ending::at_signal(&runtime, serve, &connections)?;
        signals::reload_on_hangup(move || tls::read_again(&reloads))?;
        let (running, mine) = Running::start_others(runtime, "bev")?;
        let address = listener.local_addr().map(|address| address.to_string());
        let address = address.unwrap_or_else(|| serve.listen.to_string());
        let told = listening(&address, fingerprint.map(|fingerprint| fingerprint.to_string()), serve.json);
        writeln!(io::stdout(), "{told}").map_err(Failure::output)?;
        mine.run();
        running.wait()?;
        Ok(ending.report().map(|drained| Outcome {
            clients: bases.iter().map(|base| base.counters().accepted.get()).sum(),
            lasted: began.elapsed(),
            drained,
            limits: Limits::of(serve, &connections, &terms),
            rates: terms.rates,
            handshakes: terms.handshakes,
        }))
    }
}

/// What is told at the beginning.
fn listening(address: &str, fingerprint: Option<String>, json: bool) -> String {
    match fingerprint {
        _ if json => Object::default()
            .text("listening", address)
            .text("certificate_sha256", fingerprint.as_deref())
            .finish(),
        Some(fingerprint) => format!("listening on {address}\ncertificate SHA-256 {fingerprint}"),
        None => format!("listening on {address}"),
    }
}

/// Listens, and warns of what cannot be accepted.
fn listen(
    runtime: &Runtime,
    serve: &Serve,
    connections: &ConnectionLimit,
    on_accept: impl Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
) -> bufferevent::runtime::Result<ListenerHandle> {
    let warnings = Warnings::default();
    let mut listener = serve.listen.listen()?.limited_by(connections);
    if let Some(most) = serve.max_connections.and_then(|most| NonZeroUsize::new(most as usize)) {
        listener = listener.max_connections(most);
    }
    runtime.listen_with(listener, on_accept, move |why, base| {
        // One that comes while the server ends is turned away on purpose.
        if !base.is_draining() {
            warnings.tell("cannot accept", why);
        }
    })
}

/// The limit of the memory of all connections, which says so when it is reached.
fn memory(serve: &Serve, connections: &ConnectionLimit) -> Option<MemoryLimit> {
    let bytes = usize::try_from(serve.memory.of(limits::memory())?).ok().and_then(NonZeroUsize::new)?;
    let warnings = Warnings::default();
    let limit = MemoryLimit::builder(bytes).pause(connections).on_stage(move |stage| match stage {
        MemoryStage::Accepting => warnings.tell("memory for buffers is short", "nobody is accepted"),
        MemoryStage::Critical => warnings.tell("memory for buffers is short", "who is idle is ended"),
        _ => {}
    });
    Some(limit.build())
}

fn runtime(serve: &Serve) -> Result<Runtime, Failure> {
    let mut builder = Runtime::builder().pinned(serve.pinned);
    if let Some(workers) = serve.workers {
        builder = builder.workers(workers as usize);
    }
    if let Some(bases) = serve.bases {
        builder = builder.bases(bases as usize);
    }
    builder.build().map_err(Failure::runtime)
}

/// How the callbacks of a connection are locked and called.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Confined {
        defer: bool,
    },
    Threadsafe {
        defer: bool,
    },
    /// THREADSAFE, deferred, and no lock held in callbacks.
    Unlocked,
}

impl How {
    /// Whether callbacks come from the deferred queue though that is not in the nature of their handler.
    pub(crate) fn defers(self) -> bool {
        matches!(self, Self::Confined { defer: true } | Self::Threadsafe { defer: true })
    }
}

impl From<&Serve> for How {
    /// Without THREADSAFE there is no lock to drop: unlocked means deferred alone then.
    fn from(serve: &Serve) -> Self {
        match (serve.threadsafe, serve.unlocked) {
            (false, _) => Self::Confined { defer: serve.defer },
            (true, false) => Self::Threadsafe { defer: serve.defer },
            (true, true) => Self::Unlocked,
        }
    }
}
