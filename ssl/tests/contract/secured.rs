//! TLS over a bufferevent, and in front of its peer's end.

use std::io;

use bufferevent::Builder;
use bufferevent_ssl::{Engine, Evbuffer, Tls, openssl::ssl::SslVersion};

use crate::{
    common::{Pair, receive},
    harness::{End, Peer},
};

/// Which side a bufferevent is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Puts TLS over it, and has the peer be the other side. The handshake is over, so that the calls are those of any other kind.
pub(crate) fn secured((builder, peer): (Builder, Peer), side: Side, version: SslVersion) -> (Builder, Peer) {
    let Pair { mut client, server } = Pair::open(version);
    // What the server sends behind the handshake: no data.
    let _ = receive(&mut client, &mut Evbuffer::new()).unwrap();
    let (ours, theirs) = match side {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    (builder.filter(Tls::new(ours)), peer.behind(|end| Secured::new(end, theirs)))
}

/// The other side of TLS. A record that was begun is sent whole: what the end below does not take waits here for a
/// [turn](End::turn).
struct Secured {
    end: Box<dyn End>,
    engine: Engine,
    /// What was received and is to be read.
    data: Evbuffer,
    sends: Sends,
}

/// What this side says of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sends {
    /// Nothing yet.
    More,
    /// That it is the end: the notice is made, and the end below ends behind it.
    Ending,
    /// All is said; or nothing is to be said.
    Nothing,
}

impl Secured {
    fn new(end: Box<dyn End>, engine: Engine) -> Self {
        Self { end, engine, data: Evbuffer::new(), sends: Sends::More }
    }

    /// Sends what waits.
    fn flush(&mut self) -> io::Result<()> {
        let waiting = self.engine.to_send();
        while let Some(chunk) = waiting.chunks().next() {
            match self.end.write(chunk) {
                Ok(n) => drop(waiting.drain(n).unwrap()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        if self.sends == Sends::Ending {
            self.sends = Sends::Nothing;
            self.end.shutdown_write();
        }
        Ok(())
    }

    /// Receives until there is something to read; `Ok` at the end, too. An end of the one below without a notice is an error.
    fn fill(&mut self) -> io::Result<()> {
        let mut block = [0; 16 * 1024];
        while self.data.is_empty() && !self.engine.has_ended() {
            let n = self.end.read(&mut block)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.engine.arrived().add(&block[..n]).unwrap();
            let _ = receive(&mut self.engine, &mut self.data).map_err(io::Error::other)?;
        }
        Ok(())
    }
}

impl End for Secured {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if !self.engine.to_send().is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let sent = self.engine.send(&mut Evbuffer::from(from), 16 * 1024).map_err(io::Error::other)?;
        self.flush()?;
        Ok(sent)
    }

    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        Ok(self.data.remove(to).unwrap())
    }

    fn shutdown_write(&mut self) {
        self.engine.notify().unwrap();
        self.sends = Sends::Ending;
        self.turn();
    }

    fn reset(&mut self) {
        self.sends = Sends::Nothing;
        self.end.reset();
    }

    fn cut_short(&mut self) {
        self.sends = Sends::Nothing;
        let _ = self.flush();
        self.end.cut_short();
    }

    /// Nothing is received for it: what is unread below has the kernel tell of a reset.
    fn is_readable(&mut self) -> bool {
        !self.data.is_empty() || self.engine.has_ended() || self.end.is_readable()
    }

    fn is_ended(&mut self) -> bool {
        match self.fill() {
            Ok(()) => self.data.is_empty(),
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn turn(&mut self) {
        // An error is that of the next call.
        let _ = self.flush();
        self.end.turn();
    }
}

impl Drop for Secured {
    /// As a process ends a connection that closes it in order.
    fn drop(&mut self) {
        if self.sends == Sends::More {
            self.engine.notify().unwrap();
            let _ = self.flush();
        }
    }
}
