//! One thread of the yardstick and its epoll set.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};
use socket2::Socket;

use super::conn::Conn;
use super::inbox::{Inbox, Outbox};
use super::protocol::{Next, Protocol};

/// One thread and its epoll set.
pub(super) struct Reactor<P: Protocol> {
    epoll: OwnedFd,
    /// By descriptor number: the kernel keeps those small, and no table of ours is needed.
    conns: Vec<Option<Conn<P::State>>>,
    scratch: Box<[u8]>,
    role: Role,
    protocol: P,
}

/// Where a reactor's connections come from.
pub(super) enum Role {
    /// It accepts, and deals out in turn to itself and `outboxes`.
    Acceptor {
        /// Nonblocking.
        listener: Socket,
        /// Ends the loop when readable.
        stop: UnixStream,
        /// Those of the other threads.
        outboxes: Vec<Outbox>,
        /// Whose turn it is; 0 is its own.
        turn: usize,
    },
    /// It is handed them.
    Helper {
        /// Its end of an outbox.
        inbox: Inbox,
    },
}

impl<P: Protocol> Reactor<P> {
    /// Creates the epoll set and registers what `role` waits for.
    pub(super) fn new(protocol: P, role: Role) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        match &role {
            Role::Acceptor { listener, stop, .. } => {
                epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
                epoll::add(&epoll, stop, EventData::new_u64(STOP), EventFlags::IN)?;
            }
            Role::Helper { inbox } => {
                epoll::add(&epoll, inbox.wake(), EventData::new_u64(INBOX), EventFlags::IN)?;
            }
        }
        let scratch = vec![0; SCRATCH].into_boxed_slice();
        Ok(Self { epoll, conns: Vec::new(), scratch, role, protocol })
    }

    /// Serves until told to stop.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(BATCH);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    STOP => return Ok(()),
                    INBOX => self.take_over()?,
                    // A number is in one batch at most once, and is not reused before its own event was served.
                    number => self.serve(number as usize, event.flags)?,
                }
            }
        }
    }

    #[inline]
    fn serve(&mut self, number: usize, ready: EventFlags) -> io::Result<()> {
        let Some(slot) = self.conns.get_mut(number) else { return Ok(()) };
        let Some(conn) = slot else { return Ok(()) };
        match self.protocol.serve(conn, ready, &mut self.scratch) {
            Next::Same => {}
            Next::Wait(interest) => {
                epoll::modify(&self.epoll, conn.fd(), EventData::new_u64(number as u64), interest)?;
            }
            // Closing the only descriptor takes it out of the epoll set.
            Next::Close => *slot = None,
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            let Role::Acceptor { listener, outboxes, turn, .. } = &mut self.role else { return Ok(()) };
            let Ok(fd) = accept_with(&*listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) else {
                return Ok(());
            };
            let next = *turn;
            *turn = if next == outboxes.len() { 0 } else { next + 1 };
            match next.checked_sub(1) {
                Some(other) => outboxes[other].give(fd),
                None => self.adopt(fd)?,
            }
        }
        Ok(())
    }

    fn take_over(&mut self) -> io::Result<()> {
        if let Role::Helper { inbox } = &self.role {
            inbox.acknowledge();
        }
        while let Role::Helper { inbox } = &self.role {
            let Some(fd) = inbox.take() else { break };
            self.adopt(fd)?;
        }
        Ok(())
    }

    fn adopt(&mut self, fd: OwnedFd) -> io::Result<()> {
        let number = fd.as_raw_fd() as usize;
        epoll::add(&self.epoll, fd.as_fd(), EventData::new_u64(number as u64), P::INTEREST)?;
        if number >= self.conns.len() {
            self.conns.resize_with(number + 1, || None);
        }
        self.conns[number] = Some(Conn::new(fd, self.protocol.open()?));
        Ok(())
    }
}

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const INBOX: u64 = u64::MAX - 2;
const BATCH: usize = 1024;
const SCRATCH: usize = 64 * 1024;
const ACCEPTS_PER_TURN: usize = 64;
