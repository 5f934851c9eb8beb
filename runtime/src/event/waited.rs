//! What an event waits on: a descriptor, or nothing.

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use super::What;
use crate::selector::{Pollable, Ready, Registered, Selector as _, Token};

/// What an event waits on.
pub trait Waited: sealed::Sealed {
    /// What of `wanted` holds now.
    #[doc(hidden)]
    fn look(&self, wanted: What) -> What;

    /// Waits for the next edge of `wanted`.
    #[doc(hidden)]
    fn rearm(&self, token: Token, wanted: What) -> std::io::Result<()>;

    /// Whether edges, and hang-ups as such, are reported.
    #[doc(hidden)]
    fn has_edges(&self) -> bool;
}

/// An event without a descriptor: it fires by its timeout, or when it is activated.
#[derive(Debug)]
pub struct NoDescriptor;

impl<S: Pollable> Waited for Registered<S> {
    fn look(&self, wanted: What) -> What {
        let mut polled = [PollFd::new(self, flags(wanted))];
        loop {
            return match poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Ok(_) => what(polled[0].revents()) & wanted,
                Err(Errno::INTR) => continue,
                // Whoever does the I/O finds out.
                Err(_) => wanted,
            };
        }
    }

    fn rearm(&self, token: Token, wanted: What) -> std::io::Result<()> {
        Registered::rearm(self, token, Ready::from_bits((wanted & (What::READ | What::WRITE)).bits()))
    }

    fn has_edges(&self) -> bool {
        !self.selector().needs_rearm()
    }
}

impl Waited for NoDescriptor {
    fn look(&self, _: What) -> What {
        What::NONE
    }

    fn rearm(&self, _: Token, _: What) -> std::io::Result<()> {
        Ok(())
    }

    fn has_edges(&self) -> bool {
        true
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const PEER_CLOSED: PollFlags = PollFlags::RDHUP;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const PEER_CLOSED: PollFlags = PollFlags::HUP;

fn flags(wanted: What) -> PollFlags {
    [(What::READ, PollFlags::IN), (What::WRITE, PollFlags::OUT), (What::CLOSED, PEER_CLOSED)]
        .into_iter()
        .filter(|&(one, _)| wanted.contains(one))
        .fold(PollFlags::empty(), |flags, (_, flag)| flags | flag)
}

/// An error, or the end of both sides, is for whoever waits for anything.
fn what(flags: PollFlags) -> What {
    if flags.intersects(PollFlags::HUP | PollFlags::ERR) {
        return What::IO;
    }
    What::READ.when(flags.contains(PollFlags::IN))
        | What::WRITE.when(flags.contains(PollFlags::OUT))
        | What::CLOSED.when(flags.contains(PEER_CLOSED))
}

mod sealed {
    use super::*;

    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}
    impl<S: Pollable> Sealed for Registered<S> {}
    impl Sealed for NoDescriptor {}
}
