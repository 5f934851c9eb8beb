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
    time::Duration,
};

pub(crate) use self::upstream::Upstream;
use self::{early::Early, tally::Tally};
use crate::{
    args,
    failure::Failure,
    failures::Client,
    server::{How, Server, Terms},
    tls::{self, Secured},
};
use bufferevent::{
    Accepted, Base, BaseExt as _, Builder, Cause, Closing, Direction, Error, Handle, Id, NoHandler, Pipe,
    PipeEnd, Piped, Result, TimeLimit, runtime::BoxError,
};

/// Descriptors of a connection: its own, and that to the upstream.
const DESCRIPTORS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Passes connections on until a signal comes, and tells what went through.
pub(crate) fn run(proxy: &args::Proxy) -> std::result::Result<(), Failure> {
    let mut server = Server::new(&proxy.serve, DESCRIPTORS)?;
    let secured = proxy.upstream_tls.then(|| proxy.trust.secured(&proxy.upstream.address)).transpose()?;
    let (secured, reload) = secured.unzip();
    server.reloads.extend(reload.flatten());
    let line = Arc::new(Line {
        upstream: proxy.upstream.clone(),
        connect_timeout: proxy.connect_timeout,
        secured,
        allow_truncation: proxy.upstream_allow_truncation,
        terms: server.terms.clone(),
        tally: Tally::default(),
    });
    let passes = Arc::clone(&line);
    let outcome = server.run(move |connection, base| passes.accept(connection, base))?;
    if let Some(outcome) = outcome {
        let address = &proxy.upstream.address.to_string();
        let told = match proxy.serve.json {
            true => line.tally.json(address, &outcome),
            false => line.tally.text(address, &outcome),
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
    connect_timeout: Duration,
    /// By TLS.
    secured: Option<Secured>,
    /// An end of the upstream without TLS's notice is one.
    allow_truncation: bool,
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
    /// Takes a connection, and joins it to a new one to the upstream: one over TLS when it has shaken hands, for nobody else is to
    /// cost the upstream anything. The limits are the client's: all that passes goes through it.
    fn accept(self: &Arc<Self>, connection: Accepted, base: &mut Base) -> std::result::Result<(), BoxError> {
        let client = Client::accepted(&connection);
        let Terms { how, limits, rates, memory, tls, .. } = &self.terms;
        let mut front = self.terms.lowest(connection).lifetime(limits.lifetime).configure(|front| {
            if let Some(rates) = rates {
                rates.admit(front);
            }
        });
        if let Some(memory) = memory {
            front = front.memory(memory);
        }
        if how.defers() {
            front = front.deferred();
        }
        let early = Early::of_client(self, client);
        let front = match how {
            How::Confined { .. } => Front::Confined(front.handler(early).start(base)?),
            How::Threadsafe { .. } => Front::Shared(front.handler(early).threadsafe().start(base)?),
            How::Unlocked => Front::Shared(front.threadsafe().unlocked(early).start(base)?),
        };
        if tls.is_none() {
            self.join(client, front, base);
        }
        Ok(())
    }

    /// Joins a client to a new connection to the upstream, on a turn of its base that runs neither.
    fn join(self: &Arc<Self>, client: Client, front: Front, base: &mut Base) {
        let line = Arc::clone(self);
        let mut pipe = Pipe::new().on_end(move |piped| line.ended(client, &piped));
        if let Some(idle) = self.terms.limits.idle {
            pipe = pipe.idle_timeout(idle);
        }
        let joined = self.back().and_then(|back| {
            let early = Early::of_upstream(self);
            match &front {
                Front::Confined(front) => join_on(base, pipe, *front, back),
                Front::Shared(front) => join(
                    pipe,
                    front,
                    match self.terms.how {
                        How::Unlocked => back.threadsafe().unlocked(early).start(base),
                        _ => back.handler(early).threadsafe().start(base),
                    },
                ),
            }
        });
        if let Err(why) = joined {
            self.failed(Side::Upstream, why);
            front.cut(base);
        }
    }

    /// A connection to the upstream, which is not under way yet.
    fn back(&self) -> std::result::Result<Builder, BoxError> {
        let mut back = self.upstream.connect().connect_timeout(Some(self.connect_timeout));
        if let Some(secured) = &self.secured {
            back = back.filter(secured.connect()?.allow_dirty_shutdown(self.allow_truncation));
        }
        if let Some(memory) = &self.terms.memory {
            back = back.memory(memory);
        }
        Ok(if self.terms.how.defers() { back.deferred() } else { back })
    }

    fn ended(&self, client: Client, piped: &Piped) {
        self.tally.passed(piped);
        let side = |number| if number == 0 { Side::Client(client) } else { Side::Upstream };
        match &piped.end {
            // It was answered to the end.
            PipeEnd::Failed(0, cause) if piped.had_all && tls::is_truncation(cause) => self.tally.left(),
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

    /// A connection has failed that never stood. That of a client did but for its handshake.
    fn never_stood(&self, side: Side, cause: &Cause) {
        let is_young = !matches!(cause, Cause::TimeLimit(TimeLimit::Lifetime));
        if let (Side::Client(_), true, Some(handshakes)) = (side, is_young, &self.terms.handshakes) {
            handshakes.count_one();
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

/// The side of the client.
enum Front {
    Confined(Id),
    Shared(Handle),
}

impl Front {
    fn cut(&self, base: &mut Base) {
        match self {
            Self::Confined(front) => {
                if let Ok(front) = base.bufferevent(*front) {
                    front.close_with(Closing::CUT_SHORT);
                }
            }
            Self::Shared(front) => front.close_with(Closing::CUT_SHORT),
        }
    }
}

/// Joins two that run nowhere else than on this turn. A client that has left meanwhile is of no interest to the upstream.
fn join_on(base: &mut Base, pipe: Pipe, front: Id, back: Builder) -> std::result::Result<(), BoxError> {
    if base.bufferevent(front).is_ok_and(|front| !front.is_closing()) {
        let back = back.handler(NoHandler).start(base)?;
        pipe.join_on(base, front, back)?;
    }
    Ok(())
}

/// Joins two that may run elsewhere already. What has failed meanwhile has said so.
fn join(pipe: Pipe, front: &Handle, back: Result<Handle>) -> std::result::Result<(), BoxError> {
    let back = back?;
    match pipe.join(front, &back).inspect_err(|_| back.close_with(Closing::CUT_SHORT)) {
        Err(Error::Closed) => {
            front.close_with(Closing::CUT_SHORT);
            Ok(())
        }
        joined => Ok(joined?),
    }
}
