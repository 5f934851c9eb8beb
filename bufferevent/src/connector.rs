//! A connect by name, or to several addresses, on its way: a lookup, then a race of sockets.
//!
//! All sockets of the race are registered under the token of their bufferevent, so an event is of any of them, and each
//! is asked. Which to try when is [`attempts`](crate::attempts)' business.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    os::fd::{AsFd as _, OwnedFd},
};

use bufferevent_runtime::{BaseHandle, Error as Refused, Key, Ready, Registered, Time};
use rustix::io::Errno;

use crate::{
    attempts::{Attempts, Next},
    bufferevent::Home,
    event::Cause,
    host::Host,
    resolver::{self, Answer, Lookup, LookupError},
    stream::{self, Link},
    target::{Target, To},
};

/// A connect that is under way inside of a bufferevent. Dropped, it gives everything up.
pub(crate) struct Connector {
    target: Target,
    stage: Stage,
    /// The failure that says most, of those there were.
    error: Option<io::Error>,
}

enum Stage {
    Fresh,
    Lookup(Lookup, Time),
    Race(Attempts, VecDeque<Registered<OwnedFd>>),
}

/// How far a connect has come.
#[must_use]
pub(crate) enum Progress {
    /// It is under way; it is to be looked at when something happens, and at this time if one is given.
    Waits(Option<Time>),
    /// This one is connected.
    Connected(Registered<OwnedFd>),
    Failed(Cause),
}

impl Connector {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, stage: Stage::Fresh, error: None }
    }

    /// Whether no step was made yet.
    pub(crate) fn is_fresh(&self) -> bool {
        matches!(self.stage, Stage::Fresh)
    }

    /// Whether a name is being looked up, or is to be.
    pub(crate) fn is_looking_up(&self) -> bool {
        match &self.stage {
            Stage::Fresh => matches!(self.target.to, To::Host(Host::Name(_), _)),
            Stage::Lookup(..) => true,
            Stage::Race(..) => false,
        }
    }

    /// Goes on as far as it can; `stirred`: there was an event of one of the sockets.
    pub(crate) fn advance(&mut self, home: &Home, stirred: bool, now: Time) -> Progress {
        if self.is_fresh() {
            if let Err(error) = self.begin(home, now) {
                return Progress::Failed(Cause::Lookup(error));
            }
        }
        if let Stage::Lookup(lookup, until) = &mut self.stage {
            match lookup.take() {
                Some(answer) => {
                    if let Err(error) = self.answered(answer) {
                        return Progress::Failed(Cause::Lookup(error));
                    }
                }
                None if now >= *until => return Progress::Failed(Cause::Lookup(LookupError::TimedOut)),
                None => return Progress::Waits(Some(*until)),
            }
        }
        if stirred {
            if let Some(winner) = self.ask_sockets() {
                return match renew(winner, home) {
                    Ok(winner) => Progress::Connected(winner),
                    Err(error) => Progress::Failed(Cause::Io(error)),
                };
            }
        }
        self.race(home, now)
    }

    fn begin(&mut self, home: &Home, now: Time) -> Result<(), LookupError> {
        self.stage = match &self.target.to {
            To::Any(addresses) => self.race_of(addresses)?,
            To::Host(host, port) => match host.literal(port.get()) {
                Some(address) => self.race_of(&[address])?,
                None if self.target.numeric_only => return Err(LookupError::NotFound),
                None => {
                    let resolver = self.target.resolver.take();
                    let resolver = resolver.unwrap_or_else(|| resolver::of(&home.base));
                    let query = self.target.query(&host.to_string());
                    let until = now.saturating_add(self.target.lookup_deadline);
                    Stage::Lookup(Lookup::begin(resolver, query, &home.base, home.key), until)
                }
            },
        };
        Ok(())
    }

    fn answered(&mut self, answer: Answer) -> Result<(), LookupError> {
        let mut addresses = answer?;
        if let To::Host(_, port) = &self.target.to {
            addresses.iter_mut().for_each(|address| address.set_port(port.get()));
        }
        self.stage = self.race_of(&addresses)?;
        Ok(())
    }

    fn race_of(&self, addresses: &[SocketAddr]) -> Result<Stage, LookupError> {
        let from = self.target.from;
        let fits = |address: &&SocketAddr| from.is_none_or(|from| from.is_ipv4() == address.is_ipv4());
        let addresses: Vec<_> = addresses.iter().filter(fits).copied().collect();
        let attempts = Attempts::new(&addresses, self.target.family, self.target.pace);
        Ok(Stage::Race(attempts.ok_or(LookupError::NoAddress)?, VecDeque::new()))
    }

    /// Asks each socket how its attempt went. The first that is connected is the one.
    fn ask_sockets(&mut self) -> Option<Registered<OwnedFd>> {
        let Stage::Race(attempts, sockets) = &mut self.stage else { return None };
        let mut index = 0;
        while let Some(socket) = sockets.get(index) {
            match Link::Fd(socket.as_fd()).connected() {
                Some(Ok(())) => return sockets.remove(index),
                Some(Err(error)) => {
                    drop(sockets.remove(index));
                    attempts.failed();
                    note(&mut self.error, error);
                }
                None => index += 1,
            }
        }
        None
    }

    /// Begins what attempts are due.
    fn race(&mut self, home: &Home, now: Time) -> Progress {
        let Stage::Race(attempts, sockets) = &mut self.stage else { return Progress::Waits(None) };
        loop {
            match attempts.next(now) {
                Next::Start { address, evict } => {
                    if evict {
                        drop(sockets.pop_front());
                    }
                    match attempt(address, &self.target, home) {
                        Ok(socket) => sockets.push_back(socket),
                        Err(error) => {
                            attempts.failed();
                            note(&mut self.error, error);
                        }
                    }
                }
                Next::Wait(until) => return Progress::Waits(until),
                Next::Over => {
                    let error = self.error.take().unwrap_or_else(|| Errno::CONNREFUSED.into());
                    return Progress::Failed(Cause::Io(error));
                }
            }
        }
    }

    /// Where a connection stands already, though that was not seen yet, its peer is to read an error in place of the end.
    pub(crate) fn reset_on_close(&self) {
        let Stage::Race(_, sockets) = &self.stage else { return };
        sockets.iter().for_each(|socket| Link::Fd(socket.source().as_fd()).reset_on_close());
    }

    /// Moves to another base: all its sockets, or nothing.
    pub(crate) fn move_to(
        &mut self,
        base: &BaseHandle,
        key: Key,
        agreed: &mut dyn FnMut() -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        match &mut self.stage {
            Stage::Fresh => agreed(),
            Stage::Lookup(lookup, _) => agreed().map(|()| lookup.set_asker(base, key)),
            Stage::Race(_, sockets) => move_all(sockets.make_contiguous(), base, key, agreed),
        }
    }

    /// It has moved: has the new selector report all its sockets again.
    pub(crate) fn refresh(&self, home: &Home) -> io::Result<()> {
        let Stage::Race(_, sockets) = &self.stage else { return Ok(()) };
        sockets.iter().try_for_each(|socket| socket.refresh(home.key.token()))
    }

    /// Where the system knows no edges: waits anew for all sockets.
    pub(crate) fn rearm(&self, home: &Home) -> io::Result<()> {
        let Stage::Race(_, sockets) = &self.stage else { return Ok(()) };
        sockets.iter().try_for_each(|socket| socket.rearm(home.key.token(), Ready::WRITABLE))
    }
}

/// Moves the first, if the others can be moved.
fn move_all(
    sockets: &mut [Registered<OwnedFd>],
    base: &BaseHandle,
    key: Key,
    agreed: &mut dyn FnMut() -> Result<(), Refused>,
) -> Result<(), Refused> {
    match sockets.split_first_mut() {
        None => agreed(),
        Some((first, rest)) => {
            first.move_to(base.selector(), key.token(), || move_all(rest, base, key, agreed))
        }
    }
}

/// Begins one attempt.
fn attempt(address: SocketAddr, target: &Target, home: &Home) -> io::Result<Registered<OwnedFd>> {
    let begun = stream::connect(&address.into(), target.from.map(Into::into).as_ref())?;
    if let Some(error) = begun.failed {
        return Err(error);
    }
    let socket: OwnedFd = begun.stream.into();
    if target.nodelay {
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
    }
    Registered::new(home.base.selector(), socket, home.key.token()).map_err(|(_, error)| error)
}

/// Registers the winner anew, which reports what it is ready for: what was reported before may have been of another.
fn renew(winner: Registered<OwnedFd>, home: &Home) -> io::Result<Registered<OwnedFd>> {
    Registered::new(home.base.selector(), winner.into_source(), home.key.token()).map_err(|(_, error)| error)
}

/// Keeps the failure that says more: that nobody could be reached says less than what somebody answered.
fn note(kept: &mut Option<io::Error>, error: io::Error) {
    let weight = |error: &io::Error| match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => 0,
        io::ErrorKind::HostUnreachable => 1,
        _ => 2,
    };
    if kept.as_ref().is_none_or(|kept| weight(&error) >= weight(kept)) {
        *kept = Some(error);
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.target).finish()
    }
}
