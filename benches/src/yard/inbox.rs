//! How the accepting thread hands a connection to another: a bounded queue and an eventfd in the other's epoll set.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use rustix::event::{EventfdFlags, eventfd};

/// The accepting side.
pub(super) struct Outbox {
    queue: Sender<OwnedFd>,
    wake: OwnedFd,
}

/// The receiving side.
pub(super) struct Inbox {
    queue: Receiver<OwnedFd>,
    wake: OwnedFd,
}

impl Inbox {
    /// Creates both sides.
    pub(super) fn new() -> io::Result<(Outbox, Self)> {
        let (sender, receiver) = bounded(CAPACITY);
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let outbox = Outbox { queue: sender, wake: wake.try_clone()? };
        Ok((outbox, Self { queue: receiver, wake }))
    }

    /// Becomes readable when a connection was handed over.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Resets the wake-up; what is queued must be taken afterwards.
    pub(super) fn acknowledge(&self) {
        let mut counter = [0; 8];
        let _ = rustix::io::read(&self.wake, &mut counter);
    }

    /// Takes the next connection.
    pub(super) fn take(&self) -> Option<OwnedFd> {
        self.queue.try_recv().ok()
    }
}

impl Outbox {
    /// Hands `fd` over; a full queue drops it, which the client sees as a closed connection.
    pub(super) fn give(&self, fd: OwnedFd) {
        match self.queue.try_send(fd) {
            Ok(()) => {
                let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
            }
            Err(TrySendError::Full(fd) | TrySendError::Disconnected(fd)) => drop(fd),
        }
    }
}

const CAPACITY: usize = 16 * 1024;
