//! One thread of the client, its connections and its epoll set.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use openssl::ssl::SslContext;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, ioctl_fionbio};
use socket2::{Domain, SockAddr, Socket, Type};

use super::conn::{Conn, pattern};
use super::line::Line;
use super::tally::Tally;
use super::{Limit, Plan};
use crate::{Mode, tls};

/// One thread of the client, its connections and its epoll set.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) mode: Mode,
    pub(super) size: usize,
    pub(super) conns: Vec<Conn>,
    pub(super) pattern: Vec<u8>,
    pub(super) scratch: Vec<u8>,
    pub(super) tally: Tally,
    address: SocketAddr,
    tls: Option<SslContext>,
    epoll: OwnedFd,
}

impl Worker {
    /// Makes `connections` connections, except under churn.
    pub(super) fn connect(plan: &Plan, connections: usize) -> io::Result<Self> {
        let mut worker = Self {
            mode: plan.mode,
            size: plan.size,
            conns: Vec::with_capacity(connections),
            pattern: pattern(plan.size),
            scratch: vec![0; plan.size.clamp(SCRATCH, LARGEST_SCRATCH)],
            tally: Tally::new()?,
            address: plan.connect,
            tls: plan.tls.then(tls::client).transpose()?,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
        };
        for index in 0..connections {
            let line = if plan.mode == Mode::Churn { None } else { Some(worker.open_and_wait(index)?) };
            worker.conns.push(Conn::new(line));
        }
        Ok(worker)
    }

    /// Runs until `limit` and until nothing is under way; returns what was counted.
    pub(super) fn run(&mut self, limit: Limit) -> io::Result<Tally> {
        self.tally = Tally::new()?;
        if self.mode.is_request() {
            self.run_requests(limit)?
        } else {
            self.run_flow(limit)?
        }
        Ok(std::mem::replace(&mut self.tally, Tally::new()?))
    }

    /// Waits for events until `until`. Leaves `events` empty when there are none by then.
    pub(super) fn wait(&self, events: &mut Vec<Event>, until: Instant) -> io::Result<()> {
        events.clear();
        let timeout = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()).max(1_000_000),
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Starts a connection, nonblocking, and registers nothing yet.
    pub(super) fn open(&self) -> io::Result<Line> {
        let socket =
            Socket::new(Domain::for_address(self.address), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&SockAddr::from(self.address)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        self.line(socket)
    }

    /// Registers connection `index` for input, and for output if it is armed.
    pub(super) fn register(&self, index: usize) -> io::Result<()> {
        let conn = &self.conns[index];
        let Some(line) = &conn.line else { return Ok(()) };
        Ok(epoll::add(&self.epoll, line, EventData::new_u64(index as u64), interest(conn.armed))?)
    }

    /// Asks for output events on connection `index`, or stops asking.
    pub(super) fn arm(&mut self, index: usize, armed: bool) -> io::Result<()> {
        let conn = &mut self.conns[index];
        if conn.armed == armed {
            return Ok(());
        }
        conn.armed = armed;
        let Some(line) = &conn.line else { return Ok(()) };
        Ok(epoll::modify(&self.epoll, line, EventData::new_u64(index as u64), interest(armed))?)
    }

    fn open_and_wait(&self, index: usize) -> io::Result<Line> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM.cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        socket.connect_timeout(&SockAddr::from(self.address), CONNECT_TIMEOUT)?;
        socket.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        let mut line = self.line(socket)?;
        line.shake()?;
        ioctl_fionbio(&line, true)?;
        epoll::add(&self.epoll, &line, EventData::new_u64(index as u64), EventFlags::IN)?;
        Ok(line)
    }

    fn line(&self, socket: Socket) -> io::Result<Line> {
        Line::new(socket.into(), self.tls.as_ref().map(|context| tls::side(context, false)).transpose()?)
    }
}

fn interest(armed: bool) -> EventFlags {
    if armed { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN }
}

/// How many events one wait may return.
pub(super) const BATCH: usize = 1024;
/// How long after the end of the load an answer may still come.
pub(super) const GRACE: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const SCRATCH: usize = 64 * 1024;
const LARGEST_SCRATCH: usize = 1024 * 1024;
