//! Waiting for descriptors: one contract, a direct epoll and a portable implementation over [`polling`].
//!
//! A descriptor is registered once, for both directions, edge-triggered; after that nothing is told to the kernel until
//! it is closed. Who does the I/O caches what is ready, clears a direction when a call answers `WouldBlock`, and then
//! waits for the next edge. Four rules follow:
//!
//! * **Drained.** A read that fills less than its buffer has drained the socket, *if* the end of the stream is reported
//!   for itself ([`Selector::reports_hangup`]): then it is enough to look at the cached [`Ready::HANGUP`]. Otherwise
//!   data and FIN may have shared one edge, and only a read that answers `WouldBlock` or 0 ends the run.
//! * **Budgets.** A run that stops before `WouldBlock` must post itself: no new edge will come.
//! * **Full batches.** The same holds for a batch: if [`Events::is_full`], poll again before sleeping elsewhere.
//! * **Stale events.** A batch may name a descriptor that was closed since, so a [`Token`] carries a generation.
//!
//! Where the system knows no edges ([`Selector::needs_rearm`]) they are made from one-shot events by
//! [`Registered::rearm`].

mod events;
mod interest;
mod polling;
#[cfg(feature = "test-util")]
mod posted;
mod registered;

#[cfg(any(target_os = "linux", target_os = "android"))]
mod epoll;

#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use self::epoll::EpollSelector;
use self::polling::PollingSelector;

pub use self::events::Events;
pub use self::interest::{Event, Ready, Token};
pub use self::registered::{Pollable, Registered};

/// What every selector promises. Registration is in [`Registered`], which alone may do it.
pub trait Selector: Send + Sync {
    /// Waits until something is ready, the selector is woken or `timeout` has passed, and replaces what is in `events`.
    ///
    /// * `timeout`, to the nanosecond, never early; `None` waits for ever, zero only looks.
    ///
    /// It may also return early with no events: after a signal, after a wake, or at once while another thread is
    /// inside `wait` (the portable selector admits one).
    ///
    /// # Errors
    /// What the system answers; `events` is empty then.
    fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()>;

    /// Makes the current or the next [`wait`](Selector::wait) of one thread return. Wakes that nobody has waited for
    /// yet are one.
    ///
    /// Everything written before the call is visible after the `wait` that it ended. A system call each, so callers
    /// first ask their parked word.
    ///
    /// # Errors
    /// What the system answers.
    fn wake(&self) -> io::Result<()>;

    /// Whether [`Ready::HANGUP`] tells the end of the stream also when data was ready with it, so that a short read
    /// means drained.
    fn reports_hangup(&self) -> bool;

    /// Whether [`Registered::rearm`] must be called, because the system knows no edges.
    fn needs_rearm(&self) -> bool;
}

/// The registering half of the contract, out of reach for all but [`Registered`]: see its invariant.
trait Register {
    /// Registers `fd` for both directions.
    fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()>;

    /// Waits anew for the directions in `missing`; does nothing unless [`Selector::needs_rearm`].
    fn rearm(&self, fd: BorrowedFd<'_>, token: Token, missing: Ready) -> io::Result<()>;

    /// Has the next wait report all that `fd` is ready for, as the first one after `add`.
    fn refresh(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()>;

    /// Takes `fd` out. It stays open.
    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()>;

    /// Takes `fd` out, knowing that it will now be closed and that no duplicate exists: where closing does it, this
    /// does nothing.
    fn forget(&self, fd: BorrowedFd<'_>) -> io::Result<()>;
}

/// The selector of a base: one of the implementations, chosen when it is made.
#[derive(Debug)]
pub struct AnySelector {
    kind: Kind,
    #[cfg(feature = "test-util")]
    posted: posted::Posted,
}

#[derive(Debug)]
enum Kind {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    Epoll(EpollSelector),
    Polling(PollingSelector),
}

impl AnySelector {
    fn of(kind: Kind) -> AnySelector {
        AnySelector {
            kind,
            #[cfg(feature = "test-util")]
            posted: posted::Posted::default(),
        }
    }

    /// Makes the best selector of this system.
    ///
    /// # Errors
    /// What the system answers, for instance that there are too many descriptors.
    pub fn new() -> io::Result<AnySelector> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return AnySelector::epoll();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        return AnySelector::polling();
    }

    /// Makes a selector that others can be nested in and that several threads may wait in.
    ///
    /// # Errors
    /// `Unsupported` where the system has no such selector; else as [`AnySelector::new`].
    pub fn nesting() -> io::Result<AnySelector> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return AnySelector::epoll();
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        return Err(io::ErrorKind::Unsupported.into());
    }

    /// Makes a selector that calls epoll itself: one system call for a wait, hang-ups reported.
    ///
    /// # Errors
    /// As [`AnySelector::new`].
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn epoll() -> io::Result<AnySelector> {
        Ok(AnySelector::of(Kind::Epoll(EpollSelector::new()?)))
    }

    /// Makes the portable selector. On a 32-bit system its tokens must fit a word.
    ///
    /// # Errors
    /// As [`AnySelector::new`].
    pub fn polling() -> io::Result<AnySelector> {
        Ok(AnySelector::of(Kind::Polling(PollingSelector::new()?)))
    }

    /// Makes the portable selector as it is where the system knows no edges, to test the code that re-arms.
    ///
    /// # Errors
    /// As [`AnySelector::new`].
    pub fn polling_without_edges() -> io::Result<AnySelector> {
        Ok(AnySelector::of(Kind::Polling(PollingSelector::without_edges()?)))
    }
}

/// Which selector to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SelectorKind {
    /// The best one of this system: direct epoll on Linux, the portable one elsewhere.
    #[default]
    Best,
    /// The portable one, over the crate `polling`.
    Portable,
    /// The portable one as it is where the system knows no edges, to test the code that re-arms.
    PortableWithoutEdges,
}

impl SelectorKind {
    /// Makes a selector of this kind.
    ///
    /// # Errors
    /// What the system answers, for instance that there are too many descriptors.
    pub fn make(self) -> io::Result<AnySelector> {
        match self {
            Self::Best => AnySelector::new(),
            Self::Portable => AnySelector::polling(),
            Self::PortableWithoutEdges => AnySelector::polling_without_edges(),
        }
    }
}

impl Selector for AnySelector {
    #[inline]
    fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(feature = "test-util")]
        let timeout = if self.posted.is_empty() { timeout } else { Some(Duration::ZERO) };
        let waited = match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.wait(events, timeout),
            Kind::Polling(polling) => polling.wait(events, timeout),
        };
        #[cfg(feature = "test-util")]
        self.posted.drain_into(events);
        waited
    }

    #[inline]
    fn wake(&self) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.wake(),
            Kind::Polling(polling) => polling.wake(),
        }
    }

    #[inline]
    fn reports_hangup(&self) -> bool {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.reports_hangup(),
            Kind::Polling(polling) => polling.reports_hangup(),
        }
    }

    #[inline]
    fn needs_rearm(&self) -> bool {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.needs_rearm(),
            Kind::Polling(polling) => polling.needs_rearm(),
        }
    }
}

impl Register for AnySelector {
    fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.add(fd, token),
            Kind::Polling(polling) => polling.add(fd, token),
        }
    }

    #[inline]
    fn rearm(&self, fd: BorrowedFd<'_>, token: Token, missing: Ready) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.rearm(fd, token, missing),
            Kind::Polling(polling) => polling.rearm(fd, token, missing),
        }
    }

    fn refresh(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.refresh(fd, token),
            Kind::Polling(polling) => polling.refresh(fd, token),
        }
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.remove(fd),
            Kind::Polling(polling) => polling.remove(fd),
        }
    }

    #[inline]
    fn forget(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.forget(fd),
            Kind::Polling(polling) => polling.forget(fd),
        }
    }
}

/// The descriptor that is readable while the selector has events, to nest it in another selector or a foreign loop.
impl AsFd for AnySelector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            #[cfg(any(target_os = "linux", target_os = "android"))]
            Kind::Epoll(epoll) => epoll.as_fd(),
            Kind::Polling(polling) => polling.as_fd(),
        }
    }
}
