//! The demo: a server and its load in one process, with a view on what the bases do; then tenants under rate limits. All of it
//! over TLS.
//!
//! The first server is skewed on purpose: half of the connections are THREADSAFE and homed on base 0, the others are confined
//! and spread over the bases. So the workers of the other bases run out of work of their own, and steal.

mod sample;
mod screen;
mod server;
mod summary;
mod table;
mod tenants;
mod traffic;

use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

use bufferevent::Runtime;
use bufferevent_ssl::Acceptor;

use self::{
    screen::Screen,
    server::Server,
    summary::Summary,
    table::{Bases, Line, heading},
    traffic::Traffic,
};
use crate::{
    address::Resolved,
    args::{self, Mode},
    failure::Failure,
    limits,
    load::{Engine, Plan},
    tls::{self, Secured},
    units,
};

/// Connections, if the process may have them.
const CONNECTIONS: u64 = 2_000;

/// Descriptors of one connection: both ends are ours.
const FILES_EACH: u64 = 2;

/// Descriptors that are not connections: the standard streams, the listener, and a few for each base.
const OTHER_FILES: u64 = 64;
const FILES_PER_BASE: u64 = 4;

/// Bases of the server, if there are not more cores.
const BASES: usize = 4;

/// Bytes of a request; connections take them in turn.
const SIZES: [usize; 5] = [64, 256, 1_024, 4_096, 16_384];

/// What each may take at most. A machine that is not busy needs a small part of it: with 5 seconds of traffic twice it is all over
/// in less than 15.
const CONNECT: Duration = Duration::from_secs(10);
const LAST_ANSWERS: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_millis(300);

/// Runs the demo.
pub(crate) fn run(demo: &args::Demo) -> Result<(), Failure> {
    let cores = available_parallelism().map_or(1, usize::from);
    let bases = cores.max(BASES);
    let connections = affordable(cores + bases);
    let tls = tls::among_ourselves()?;
    if echo(demo.seconds, bases, connections, &tls)? {
        Ok(())
    } else {
        tenants::run(demo.seconds, bases, connections, &tls)
    }
}

/// Shows the echo server; answers whether a signal ended it.
fn echo(
    seconds: u64,
    bases: usize,
    connections: usize,
    (acceptor, secured): &(Acceptor, Secured),
) -> Result<bool, Failure> {
    let server = Server::start(bases, acceptor)?;
    let mut screen = Screen::new();
    introduce(&mut screen, bases, connections)?;

    let plan = Plan {
        servers: vec![Resolved::Any(vec![server.address()])],
        mode: Mode::Echo,
        connections,
        sizes: SIZES.to_vec(),
        connect_timeout: CONNECT,
        tls: Some(secured.clone()),
    };
    let engine = Engine::start(Runtime::builder().build().map_err(Failure::runtime)?, plan)?;
    screen.line("")?;
    let connecting = Instant::now();
    let connected = engine.connect()?;
    let took = units::time(connecting.elapsed());
    let stand = if connected == 1 { "stands" } else { "stand" };
    screen.line(format_args!("{} {stand} after {took}", units::counted(connected as u64, "connection")))?;
    screen.line("")?;

    let before = server.sample();
    engine.begin()?;
    let elapsed = watch(&mut screen, &server, &engine, Duration::from_secs(seconds))?;
    let sample = server.sample().since(&before);
    let measured = engine.totals();
    screen.settle()?;
    screen.line(Bases { sample: &sample, elapsed })?;

    let ended = engine.finish(LAST_ANSWERS)?;
    server.finish(GRACE)?;
    screen.line(Summary { elapsed, measured: &measured, ended: &ended })?;
    let (interrupted, cut_off) = (ended.interrupted, ended.cut_off);
    ended.result()?;
    match cut_off {
        0 => Ok(interrupted),
        _ => Err(Failure::Failed(format!("{} not answered to the end", units::counted(cut_off, "request")))),
    }
}

/// Shows the traffic for `duration`; answers how long it was.
fn watch(
    screen: &mut Screen,
    server: &Server,
    engine: &Engine,
    duration: Duration,
) -> Result<Duration, Failure> {
    let before = server.sample();
    let mut latest = (Duration::ZERO, engine.totals());
    let mut shown = Ok(());
    let mut look = |elapsed| {
        if screen.is_due(elapsed) && shown.is_ok() {
            let totals = engine.totals();
            let traffic = Traffic::between((latest.0, &latest.1), (elapsed, &totals));
            let sample = server.sample().since(&before);
            let line = Line { traffic: &traffic, steals: sample.total().steals };
            let bases = Bases { sample: &sample, elapsed };
            let live = || format!("{}\n{line}\n\n{bases}", heading());
            shown = screen.show(elapsed, heading(), &line, live);
            latest = (elapsed, totals);
        }
    };
    let elapsed = engine.wait(duration, &mut look);
    look(elapsed);
    shown?;
    Ok(elapsed)
}

fn introduce(screen: &mut Screen, bases: usize, connections: usize) -> Result<(), Failure> {
    let all = units::counted(connections as u64, "connection");
    screen.line(format_args!("bev demo: a TLS echo server on {bases} bases, {all}, every byte checked"))?;
    screen.line("")?;
    if (connections as u64) < CONNECTIONS {
        let wanted = units::count(CONNECTIONS);
        screen.line(format_args!("{all}, not {wanted}: the limit of open files allows no more"))?;
    }
    if connections == 1 {
        return screen.line("it is confined to a base, without a lock; there is nothing to steal");
    }
    screen.line("half of them confined to a base, without a lock; half THREADSAFE, all homed on base 0,")?;
    screen.line("where the workers of the other bases steal when they have nothing else to do")
}

/// How many connections the limit of open files allows, at most [`CONNECTIONS`].
fn affordable(bases: usize) -> usize {
    let others = OTHER_FILES + FILES_PER_BASE * bases as u64;
    let most = match limits::raise_open_files() {
        Some(limit) => limit.saturating_sub(others) / FILES_EACH,
        None => CONNECTIONS,
    };
    most.clamp(1, CONNECTIONS) as usize
}
