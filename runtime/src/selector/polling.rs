//! The portable selector, over [`polling::Poller`].
//!
//! On Linux a wait costs five system calls there and a hang-up that came with data cannot be seen, hence the other one.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use ::polling::{PollMode, Poller};

use super::{Event, Events, Ready, Register, Selector, Token};

/// A poller and the mode it registers in.
#[derive(Debug)]
pub(super) struct PollingSelector {
    poller: Poller,
    mode: PollMode,
}

impl PollingSelector {
    pub(super) fn new() -> io::Result<PollingSelector> {
        let poller = Poller::new()?;
        let mode = if poller.supports_edge() { PollMode::Edge } else { PollMode::Oneshot };
        Ok(PollingSelector { poller, mode })
    }

    pub(super) fn without_edges() -> io::Result<PollingSelector> {
        Ok(PollingSelector { poller: Poller::new()?, mode: PollMode::Oneshot })
    }
}

impl Selector for PollingSelector {
    fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        let mut reported = events.take_polling();
        let waited = self.poller.wait(&mut reported, timeout);
        if waited.is_ok() {
            let full = reported.len() + Events::HIDDEN >= reported.capacity().get();
            events.fill(full, reported.iter().map(|reported| event(&reported)));
        }
        events.give_back_polling(reported);
        waited.map(drop)
    }

    fn wake(&self) -> io::Result<()> {
        self.poller.notify()
    }

    fn reports_hangup(&self) -> bool {
        false
    }

    fn needs_rearm(&self) -> bool {
        self.mode == PollMode::Oneshot
    }
}

impl Register for PollingSelector {
    fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        let interest = interest(token, Ready::BOTH)?;
        // SAFETY: "The source must be deleted from this Poller before it is dropped."
        // * This function is called for a `Registered` alone, by `new` and by `move_to`: the trait is private to
        //   `selector`.
        // * `Registered` owns the source and lends it by shared reference only, and by `Pollable` its descriptor is the
        //   same for as long as it lives. So it can be dropped in two ways only, by dropping the `Registered` or after
        //   `into_source`; both call `remove` or `forget` first, and each of the two is `Poller::delete` here.
        // * `move_to` borrows the source while two selectors know it, and deletes it from one of the two before that ends.
        // * If deleting fails the descriptor was not registered. If the `Registered` is leaked, so is the source.
        // * The poller is alive then, because the `Registered`, or its borrower, holds the `Arc` of the selector.
        #[allow(unsafe_code, reason = "the owner of the registration keeps the promise, see above")]
        unsafe {
            self.poller.add_with_mode(fd.as_raw_fd(), interest, self.mode)
        }
    }

    fn rearm(&self, fd: BorrowedFd<'_>, token: Token, missing: Ready) -> io::Result<()> {
        if !self.needs_rearm() || !missing.intersects(Ready::BOTH) {
            return Ok(());
        }
        self.poller.modify_with_mode(fd, interest(token, missing)?, self.mode)
    }

    fn refresh(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        self.poller.modify_with_mode(fd, interest(token, Ready::BOTH)?, self.mode)
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poller.delete(fd)
    }

    fn forget(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.remove(fd)
    }
}

impl AsFd for PollingSelector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// What polling reported. A hang-up here is that of both sides.
fn event(reported: &::polling::Event) -> Event {
    let ready = Ready::READABLE.when(reported.readable)
        | Ready::WRITABLE.when(reported.writable)
        | (Ready::HANGUP | Ready::BOTH).when(reported.is_interrupt())
        | (Ready::ERROR | Ready::BOTH).when(reported.is_err() == Some(true));
    Event { token: Token(reported.key as u64), ready }
}

fn interest(token: Token, wanted: Ready) -> io::Result<::polling::Event> {
    let key = usize::try_from(token.0).map_err(|_| io::Error::from(io::ErrorKind::Unsupported))?;
    Ok(::polling::Event::new(key, wanted.contains(Ready::READABLE), wanted.contains(Ready::WRITABLE)))
}
