//! The yardstick: a level-triggered epoll server written by hand, against which everything else is a ratio.
//!
//! It does what an expert would do with the bare kernel and no more: register once, wait for up to 1,024 events,
//! receive into one buffer per thread, send straight from it, and ask for `EPOLLOUT` only after a short write. There
//! are no timers, no buffers of its own and no callbacks, so a library pays for those as a ratio above 1.
//!
//! With several threads each has an epoll set; the first also accepts and hands every new connection to the next
//! thread in turn, so that the threads' shares are equal (with `SO_REUSEPORT` they are up to the kernel's hash, and
//! the ratios scatter).
//!
//! Over TLS it echoes too: OpenSSL by hand, in memory.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::thread;

use openssl::ssl::SslContext;
use socket2::{Domain, Socket, Type};

use crate::Mode;
use crate::compare::process;
use crate::json::Object;
use crate::tls;
use inbox::Inbox;
use protocol::{Echo, Protocol, Sink, Source};
use reactor::{Reactor, Role};
use tls_echo::TlsEcho;

mod conn;
mod inbox;
mod protocol;
mod reactor;
mod tls_echo;

/// A bound yardstick, not yet running.
#[derive(Debug)]
pub struct Yard {
    mode: Mode,
    tls: Option<SslContext>,
    threads: NonZeroUsize,
    listener: Socket,
    address: SocketAddr,
}

impl Yard {
    /// Binds the listener.
    ///
    /// * `threads`: each has its own epoll set; connections are dealt out in turn.
    /// * `tls`: with a certificate that is made now; for echoes alone.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for another mode over TLS.
    pub fn bind(mode: Mode, tls: bool, listen: SocketAddr, threads: NonZeroUsize) -> io::Result<Self> {
        if tls && !mode.is_request() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "over TLS it echoes alone"));
        }
        let tls = tls.then(tls::server).transpose()?;
        let kind = Type::STREAM.nonblocking().cloexec();
        let listener = Socket::new(Domain::for_address(listen), kind, None)?;
        listener.set_reuse_address(true)?;
        // Accepted sockets inherit it: no system call per connection.
        listener.set_tcp_nodelay(true)?;
        listener.bind(&listen.into())?;
        listener.listen(BACKLOG)?;
        let address =
            listener.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP listener"))?;
        Ok(Self { mode, tls, threads, listener, address })
    }

    /// Returns the address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` becomes readable, on this thread and `threads - 1` more, which end with the process.
    pub fn run(mut self, stop: UnixStream) -> io::Result<()> {
        match (self.mode, self.tls.take()) {
            (Mode::Echo | Mode::Churn, Some(context)) => self.serve(stop, || TlsEcho::new(context.clone())),
            (Mode::Echo | Mode::Churn, None) => self.serve(stop, || Echo),
            (Mode::Sink, _) => self.serve(stop, || Sink),
            (Mode::Source, _) => self.serve(stop, || Source),
        }
    }

    fn serve<P: Protocol>(self, stop: UnixStream, protocol: impl Fn() -> P) -> io::Result<()> {
        let mut outboxes = Vec::new();
        for number in 1..self.threads.get() {
            let (outbox, inbox) = Inbox::new()?;
            outboxes.push(outbox);
            let mut reactor = Reactor::new(protocol(), Role::Helper { inbox })?;
            thread::Builder::new().name(format!("yard-{number}")).spawn(move || reactor.run())?;
        }
        let role = Role::Acceptor { listener: self.listener, stop, outboxes, turn: 0 };
        Reactor::new(protocol(), role)?.run()
    }
}

/// Returns what this process has used so far, as one line of JSON: all of it in nanoseconds, and split into user and
/// system seconds at the kernel's clock tick.
///
/// All is read from `/proc`: the clock of `rustix` looks for the vDSO, which is not where it seems under valgrind.
pub fn usage(mode: Mode, threads: NonZeroUsize) -> io::Result<String> {
    let pid = std::process::id();
    let times = process::ticks(pid)?;
    Ok(Object::new()
        .text("mode", mode.name())
        .count("threads", threads.get() as u64)
        .number("cpu_ns", process::CpuTime::of(pid)?.ns())
        .number("user_s", times.user_s)
        .number("sys_s", times.sys_s)
        .finish())
}

const BACKLOG: i32 = 4096;
