//! One connection of the yardstick: 16 bytes while it is idle, without TLS.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::epoll::EventFlags;

use super::protocol::Next;

/// One connection. Idle ones own nothing but their descriptor, and what the protocol keeps.
pub(super) struct Conn<S> {
    fd: OwnedFd,
    state: S,
    /// What a short write left; while there is any, the connection waits for `EPOLLOUT` alone.
    rest: Option<Box<Rest>>,
}

/// What a short write left.
pub(super) struct Rest {
    bytes: Vec<u8>,
    sent: usize,
}

impl<S> Conn<S> {
    /// Wraps an accepted, nonblocking socket.
    pub(super) fn new(fd: OwnedFd, state: S) -> Self {
        Self { fd, state, rest: None }
    }

    /// Returns what the protocol keeps of it.
    pub(super) fn state(&mut self) -> &mut S {
        &mut self.state
    }

    /// Returns the socket.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Keeps what a short write left, to be sent as soon as it can be.
    pub(super) fn wait_to_send(&mut self, rest: &[u8]) -> Next {
        self.rest = Some(Box::new(Rest { bytes: rest.to_vec(), sent: 0 }));
        Next::Wait(EventFlags::OUT)
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
