//! The owner of a registration.

use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::Arc;

use super::{AnySelector, Ready, Register, Token};

/// A descriptor together with its registration in a selector: it cannot be closed while it is registered.
///
/// Dropping it takes the source out of the selector, without a system call where closing does that, and drops the
/// source. Events that were already reported may still name its token.
///
/// Invariant, relied on by the `unsafe` block of the portable selector: `source` is registered in `selector` (inside `move_to`
/// in another too), and leaves this struct only in `release`, which ends the registration. It is never lent mutably, or it could be replaced.
pub struct Registered<S: Pollable> {
    /// `None` only inside `into_source` and drop.
    source: Option<S>,
    selector: Arc<AnySelector>,
    duplicated: bool,
}

impl<S: Pollable> Registered<S> {
    /// Registers `source` for both directions, edge-triggered, under `token`.
    ///
    /// The first wait after it reports what the source is ready for already. It should be in non-blocking mode, and no
    /// duplicate of its descriptor should exist; see [`duplicated`](Registered::duplicated).
    ///
    /// # Errors
    /// `InvalidInput` for a [reserved](Token::is_reserved) token, `PermissionDenied` for a file that cannot be waited
    /// for, `AlreadyExists` if it is registered, or what else the system answers. The source comes back.
    pub fn new(
        selector: &Arc<AnySelector>,
        source: S,
        token: Token,
    ) -> Result<Registered<S>, (S, io::Error)> {
        if token.is_reserved() {
            return Err((source, io::ErrorKind::InvalidInput.into()));
        }
        match selector.add(source.as_fd(), token) {
            Ok(()) => Ok(Registered {
                source: Some(source),
                selector: Arc::clone(selector),
                duplicated: !S::CLOSES,
            }),
            Err(error) => Err((source, error)),
        }
    }

    /// States that a duplicate of the descriptor may exist, for instance in a child process or made by `try_clone`.
    ///
    /// Closing then does not end the registration and stale events would go on; so it is ended by a system call.
    #[must_use]
    pub fn duplicated(mut self) -> Registered<S> {
        self.duplicated = true;
        self
    }

    /// The source.
    #[inline]
    pub fn source(&self) -> &S {
        match &self.source {
            Some(source) => source,
            None => unreachable!("`into_source` and drop own the value when they take its source"),
        }
    }

    /// The selector it is registered in.
    pub fn selector(&self) -> &Arc<AnySelector> {
        &self.selector
    }

    /// Waits for the next edge, on a selector that [needs it](super::Selector::needs_rearm); else does nothing.
    ///
    /// To be called after each event, and after each call that answered `WouldBlock`.
    /// * `token` is the one it was registered with.
    /// * `missing` is every direction that is not known to be ready and that anybody waits for.
    ///
    /// A direction that is ready in spite of that is reported by the next wait, so no edge is lost between the two.
    ///
    /// # Errors
    /// What the system answers.
    #[inline]
    pub fn rearm(&self, token: Token, missing: Ready) -> io::Result<()> {
        self.selector.rearm(self.as_fd(), token, missing)
    }

    /// Has the next wait report all that the source is ready for, as the first one after the registration did.
    ///
    /// For who may have missed an edge.
    /// * `token` is the one it was registered with.
    ///
    /// # Errors
    /// What the system answers.
    pub fn refresh(&self, token: Token) -> io::Result<()> {
        self.selector.refresh(self.as_fd(), token)
    }

    /// Moves the registration to another selector, under `token`, if `agreed` says so once it stands there too.
    ///
    /// # Errors
    /// What the system answers for the new selector, or what `agreed` does. The registration is as it was then.
    pub fn move_to<E: From<io::Error>>(
        &mut self,
        selector: &Arc<AnySelector>,
        token: Token,
        agreed: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let second = Second::new(selector, self.as_fd(), token)?;
        agreed()?;
        second.keep();
        let old = std::mem::replace(&mut self.selector, Arc::clone(selector));
        // It can fail only if the registration is gone already.
        let _ = old.remove(self.as_fd());
        Ok(())
    }

    /// Ends the registration and hands the source back, open.
    pub fn into_source(mut self) -> S {
        self.duplicated = true;
        match self.release() {
            Some(source) => source,
            None => unreachable!("`into_source` owns the value, and drop has not run"),
        }
    }

    /// Ends the registration, once.
    fn release(&mut self) -> Option<S> {
        let source = self.source.take()?;
        // It can fail only if the registration is gone already: nothing is left to do.
        let _ = match self.duplicated {
            true => self.selector.remove(source.as_fd()),
            false => self.selector.forget(source.as_fd()),
        };
        Some(source)
    }
}

/// A registration beside the one that a [`Registered`] owns, for as long as that is borrowed: ended when dropped, for the
/// source must not be closed with it.
struct Second<'a> {
    selector: &'a AnySelector,
    fd: BorrowedFd<'a>,
}

impl<'a> Second<'a> {
    fn new(selector: &'a AnySelector, fd: BorrowedFd<'a>, token: Token) -> io::Result<Self> {
        if token.is_reserved() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        selector.add(fd, token)?;
        Ok(Self { selector, fd })
    }

    /// It becomes the one.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Second<'_> {
    fn drop(&mut self) {
        let _ = self.selector.remove(self.fd);
    }
}

impl<S: Pollable> Drop for Registered<S> {
    fn drop(&mut self) {
        drop(self.release());
    }
}

impl<S: Pollable> AsFd for Registered<S> {
    #[inline]
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.source().as_fd()
    }
}

impl<S: Pollable + fmt::Debug> fmt::Debug for Registered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registered").field(self.source()).finish()
    }
}

/// What can be registered: a value with one descriptor, the same from its creation until it is dropped.
///
/// Sealed, because the soundness of the portable selector rests on that. Anything else is registered by its `OwnedFd`;
/// a selector is nested in another as `Arc<AnySelector>`.
pub trait Pollable: AsFd + sealed::Sealed {
    /// Whether dropping the value closes the descriptor.
    #[doc(hidden)]
    const CLOSES: bool = true;
}

impl Pollable for OwnedFd {}
impl Pollable for TcpListener {}
impl Pollable for TcpStream {}
impl Pollable for UdpSocket {}
impl Pollable for UnixDatagram {}
impl Pollable for UnixListener {}
impl Pollable for UnixStream {}
impl Pollable for socket2::Socket {}

impl Pollable for Arc<AnySelector> {
    const CLOSES: bool = false;
}

mod sealed {
    use super::*;

    #[allow(unnameable_types, reason = "that is what seals it")]
    pub trait Sealed {}

    impl Sealed for OwnedFd {}
    impl Sealed for TcpListener {}
    impl Sealed for TcpStream {}
    impl Sealed for UdpSocket {}
    impl Sealed for UnixDatagram {}
    impl Sealed for UnixListener {}
    impl Sealed for UnixStream {}
    impl Sealed for socket2::Socket {}
    impl Sealed for Arc<AnySelector> {}
}
