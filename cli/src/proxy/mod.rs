//! The proxy: each connection is joined to one to the upstream.
//!
//! Both are confined to the base that accepted, or have a strand each; a [`Pipe`] passes on what comes, ends included.

mod early;
mod tally;
mod upstream;

use std::{
    fmt,
    io::{self, Write as _},
    num::NonZeroUsize,
    sync::Arc,
};

pub(crate) use self::upstream::Upstream;
use self::{early::Early, tally::Tally};
use crate::{
    args,
    failure::Failure,
    failures::Client,
    server::{How, Server, Terms},
    tls::Secured,
};
use bufferevent::{
    Accepted, Base, BaseExt as _, Bufferevent, Builder, Cause, Closing, Direction, Error, Handle, NoHandler,
    Pipe, PipeEnd, Piped, Result, TimeLimit, runtime::BoxError,
};

/// Descriptors of a connection: its own, and that to the upstream.
const DESCRIPTORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Passes connections on until a signal comes, and tells what went through.
pub(crate) fn run(proxy: &args::Proxy) -> std::result::Result<(), Failure> {
    let server = Server::new(&proxy.serve, DESCRIPTORS)?;
    let rates = server.terms.rates.clone();
    let line = Arc::new(Line {
        upstream: proxy.upstream.clone(),
        secured: proxy.upstream_tls.then(|| proxy.trust.secured(&proxy.upstream.address)).transpose()?,
        terms: server.terms.clone(),
        tally: Tally::default(),
    });
    let passes = Arc::clone(&line);
    let drained = server.run(move |connection, base| passes.accept(connection, base))?;
    if let Some(drained) = drained {
        let address = &proxy.upstream.address;
        let told = match proxy.json {
            true => line.tally.json(address, &drained),
            false => {
                let rates = rates.map(|rates| rates.report().to_string()).unwrap_or_default();
                line.tally.text(address, drained) + &rates
            }
        };
        // Who started it may be gone by now.
        let _ = writeln!(io::stdout(), "{told}");
    }
    Ok(())
}

/// What all connections of a proxy share.
#[derive(Debug)]
struct Line {
    upstream: Upstream,
    /// By TLS.
    secured: Option<Secured>,
    terms: Terms,
    tally: Tally,
}

/// One side of what is passed on.
#[derive(Debug, Clone, Copy)]
enum Side {
    Client(Client),
    Upstream,
}

impl Line {
    /// Joins a connection to a new one to the upstream. The limits are the client's: all that passes goes through it.
    fn accept(self: &Arc<Self>, connection: Accepted, base: &mut Base) -> std::result::Result<(), BoxError> {
        self.tally.accepted();
        let client = Client::accepted(&connection);
        let Terms { how, limits, rates, memory, .. } = &self.terms;
        let mut front = self.terms.lowest(connection).lifetime(limits.lifetime).configure(|front| {
            if let Some(rates) = rates {
                rates.admit(front);
            }
        });
        let mut back = Bufferevent::connect_target(self.upstream.target.clone());
        if let Some(secured) = &self.secured {
            back = back.filter(secured.connect()?);
        }
        if let Some(memory) = memory {
            (front, back) = (front.memory(memory), back.memory(memory));
        }
        if let How::Confined { defer: true } | How::Threadsafe { defer: true } = how {
            (front, back) = (front.deferred(), back.deferred());
        }
        let line = Arc::clone(self);
        let mut pipe = Pipe::new().on_end(move |piped| line.ended(client, &piped));
        if let Some(idle) = limits.idle {
            pipe = pipe.idle_timeout(idle);
        }
        let joined = match how {
            How::Confined { .. } => join_on(base, pipe, front, back),
            How::Threadsafe { .. } => {
                let front = front.handler(Early::of(self, Side::Client(client))).threadsafe().start(base)?;
                join(pipe, &front, back.handler(Early::of(self, Side::Upstream)).threadsafe().start(base))
            }
            How::Unlocked => {
                let front = front.threadsafe().unlocked(Early::of(self, Side::Client(client))).start(base)?;
                join(pipe, &front, back.threadsafe().unlocked(Early::of(self, Side::Upstream)).start(base))
            }
        };
        Ok(joined?)
    }

    fn ended(&self, client: Client, piped: &Piped) {
        self.tally.passed(piped);
        let side = |number| if number == 0 { Side::Client(client) } else { Side::Upstream };
        match &piped.end {
            PipeEnd::Failed(number, cause) => self.failed_by(side(*number), cause),
            PipeEnd::Timeout(number, Direction::Write) => {
                self.failed(side(*number), "it takes nothing any more");
            }
            PipeEnd::Idle => self.tally.idle(),
            _ => {}
        }
    }

    /// The same for what its bufferevent was told. That it has lasted as long as it may is no failure.
    fn failed_by(&self, side: Side, cause: &Cause) {
        match cause {
            Cause::TimeLimit(TimeLimit::Lifetime) => self.tally.outlived(),
            cause => self.failed(side, cause),
        }
    }

    /// One side cannot be had, or its connection has failed.
    fn failed(&self, side: Side, why: impl fmt::Display) {
        match side {
            Side::Client(client) => self.tally.client_failures.tell(client, why),
            Side::Upstream => {
                self.tally.upstream_failures.tell(format_args!("upstream {}", self.upstream.address), why);
            }
        }
    }
}

/// Joins two that run nowhere else than on this turn.
fn join_on(base: &mut Base, pipe: Pipe, front: Builder, back: Builder) -> Result<()> {
    let front = front.handler(NoHandler).start(base)?;
    let back = back.handler(NoHandler).start(base);
    let joined = back.and_then(|back| pipe.join_on(base, front, back));
    if let (Err(_), Ok(front)) = (&joined, base.bufferevent(front)) {
        front.close_with(Closing::CUT_SHORT);
    }
    joined
}

/// Joins two that may run elsewhere already. What has failed meanwhile has said so.
fn join(pipe: Pipe, front: &Handle, back: Result<Handle>) -> Result<()> {
    let joined =
        back.and_then(|back| pipe.join(front, &back).inspect_err(|_| back.close_with(Closing::CUT_SHORT)));
    if joined.is_err() {
        front.close_with(Closing::CUT_SHORT);
    }
    match joined {
        Err(Error::Closed) => Ok(()),
        joined => joined,
    }
}
