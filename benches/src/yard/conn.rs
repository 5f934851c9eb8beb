//! One connection of the yardstick: 16 bytes while it is idle.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One connection. Idle ones own nothing but their descriptor.
pub(super) struct Conn {
    fd: OwnedFd,
    /// What a short write left; while there is any, the connection waits for `EPOLLOUT` alone.
    rest: Option<Box<Rest>>,
}

/// What a short write left.
pub(super) struct Rest {
    bytes: Vec<u8>,
    sent: usize,
}

impl Conn {
    /// Wraps an accepted, nonblocking socket.
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd, rest: None }
    }

    /// Returns the socket.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Keeps what a short write left.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest = Some(Box::new(Rest { bytes: rest.to_vec(), sent: 0 }));
    }

    /// Returns what is still to be sent.
    pub(super) fn rest(&self) -> Option<&[u8]> {
        self.rest.as_ref().map(|rest| &rest.bytes[rest.sent..])
    }

    /// Notes that `count` bytes of the rest were sent. Returns true when none is left.
    pub(super) fn advance(&mut self, count: usize) -> bool {
        if let Some(rest) = &mut self.rest {
            rest.sent += count;
            if rest.sent < rest.bytes.len() {
                return false;
            }
        }
        self.rest = None;
        true
    }
}
