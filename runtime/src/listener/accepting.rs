//! A listener at work on its base.

use std::{
    fmt, io,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use bufferevent_sync::atomic::{AtomicBool, Ordering};
use rustix::{
    io::Errno,
    net::{SocketFlags, accept_with},
};

use super::{
    ACCEPT_BACK_OFF, ACCEPTS_PER_RUN, Accepted, BoxError,
    callbacks::Callbacks,
    filter::{Filter, Verdict},
    limit::{ConnectionLimit, Permit, Waiting},
};
use crate::{
    affinity::Affinity,
    base::Base,
    callback::CallbackKind,
    error::Error,
    protocol::Reasons,
    selector::{Ready, Registered},
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// Which base counts a connection: the one that accepts it, or the one it is handed to, which does that itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counts {
    Accepts,
    OnArrival,
}

/// Whether the listener may accept now.
pub(super) struct Admission {
    pub(super) enabled: Arc<AtomicBool>,
    pub(super) limits: [Option<ConnectionLimit>; 2],
    pub(super) waiting: Waiting,
    pub(super) filter: Option<Filter>,
    /// At a limit, and that was told.
    pub(super) paused: bool,
}

impl Admission {
    fn is_enabled(&self) -> bool {
        // ORDER: Acquire, pairs with the swaps of `enable` and `disable`.
        self.enabled.load(Ordering::Acquire)
    }

    /// Counts one more connection, where that is bounded, or answers the bound that is reached.
    fn admit(&mut self) -> Result<Permit, usize> {
        Permit::take(&self.limits, &self.waiting)
    }

    /// Asks the filter, if there is one. A panic in it is a refusal.
    fn passes<A: Affinity>(&self, accepted: &mut Accepted, base: &Base<A>) -> bool {
        let Some(filter) = &self.filter else { return true };
        let mut verdict = Verdict::Refuse;
        if !isolate(|| verdict = filter(accepted)) {
            base.counters().panics.add(1);
        }
        let passes = match verdict {
            Verdict::Admit => true,
            Verdict::Under(limit) => accepted.permit.admit_under(limit),
            Verdict::Refuse => false,
        };
        base.counters().refused.add(u64::from(!passes));
        passes
    }
}

/// A listener as its base owns it.
pub struct Accepting<A: Affinity, F, E> {
    socket: Registered<OwnedFd>,
    admission: Admission,
    callbacks: Arc<Callbacks<A>>,
    on_accept: F,
    on_error: E,
    counts: Counts,
    /// Given up for a moment when there is no other descriptor left, to turn a peer away.
    spare: Option<OwnedFd>,
}

impl<A: Affinity, F, E> fmt::Debug for Accepting<A, F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepting").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl<A: Affinity, F, E> Source<A> for Accepting<A, F, E>
where
    F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError> + 'static,
    E: FnMut(BoxError, &mut Base<A>) + 'static,
{
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::CLOSE) {
            return After::Remove;
        }
        for _ in 0..ACCEPTS_PER_RUN {
            // It is looked at before each accept.
            if !self.admission.is_enabled() {
                return After::Idle;
            }
            let permit = match self.admission.admit() {
                Ok(permit) => permit,
                Err(limit) => return self.pause(limit, base),
            };
            match accept_with(self.socket.as_fd(), SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => self.hand_on(Accepted { fd, permit }, base),
                Err(Errno::AGAIN) => {
                    return match self.socket.rearm(key.token(), Ready::READABLE) {
                        Ok(()) => After::Idle,
                        Err(error) => {
                            self.report(error.into(), base);
                            After::Remove
                        }
                    };
                }
                Err(error) if is_of_one_peer(error) => {}
                Err(error) => {
                    base.counters().accept_pauses.add(1);
                    self.report(io::Error::from(error).into(), base);
                    if is_shortage(error) {
                        self.turn_away();
                    }
                    // No edge need come for what waits in the queue already.
                    base.arm(key, base.deadline(ACCEPT_BACK_OFF));
                    return After::Idle;
                }
            }
        }
        After::Again(Reasons::READABLE)
    }

    fn kind(&self) -> &'static str {
        "listener"
    }
}

impl<A: Affinity, F, E> Accepting<A, F, E> {
    pub(super) fn new(
        socket: Registered<OwnedFd>,
        admission: Admission,
        callbacks: Arc<Callbacks<A>>,
        on_accept: F,
        on_error: E,
        counts: Counts,
    ) -> Self {
        Self { socket, admission, callbacks, on_accept, on_error, counts, spare: spare() }
    }

    /// Waits until a connection is over: its permit wakes this source.
    fn pause(&mut self, limit: usize, base: &mut Base<A>) -> After
    where
        E: FnMut(BoxError, &mut Base<A>),
    {
        if !std::mem::replace(&mut self.admission.paused, true) {
            base.counters().accept_pauses.add(1);
            self.report(Error::ConnectionLimit { limit }.into(), base);
        }
        After::Idle
    }

    fn hand_on(&mut self, mut accepted: Accepted, base: &mut Base<A>)
    where
        F: FnMut(Accepted, &mut Base<A>) -> Result<(), BoxError>,
        E: FnMut(BoxError, &mut Base<A>),
    {
        self.admission.paused = false;
        let inside = base.callback_begins(self.admission.waiting.key, CallbackKind::Accept);
        if !self.admission.passes(&mut accepted, base) {
            return;
        }
        if self.counts == Counts::Accepts {
            base.counters().accepted.add(1);
        }
        let mut answer = Ok(());
        let (callbacks, given) = (&self.callbacks, &mut self.on_accept);
        if !isolate(|| answer = callbacks.accept(accepted, base, given)) {
            base.counters().panics.add(1);
        }
        drop(inside);
        if let Err(error) = answer {
            self.report(error, base);
        }
    }

    fn report(&mut self, error: BoxError, base: &mut Base<A>)
    where
        E: FnMut(BoxError, &mut Base<A>),
    {
        let _inside = base.callback_begins(self.admission.waiting.key, CallbackKind::Accept);
        let (callbacks, given) = (&self.callbacks, &mut self.on_error);
        if !isolate(|| callbacks.report(error, base, given)) {
            base.counters().panics.add(1);
        }
    }

    /// Accepts one peer with the spare descriptor and closes it at once: it learns that there is no room, and the queue
    /// does not stay full of peers that wait for nothing.
    fn turn_away(&mut self) {
        if self.spare.take().is_some() {
            drop(accept_with(self.socket.as_fd(), SocketFlags::CLOEXEC));
        }
        self.spare = spare();
    }
}

/// Whether the next in the queue may fare better: the peer left, a firewall or its network refused it, or a signal came.
fn is_of_one_peer(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NETUNREACH
    )
}

fn is_shortage(error: Errno) -> bool {
    matches!(error, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
}

fn spare() -> Option<OwnedFd> {
    std::fs::File::open("/dev/null").ok().map(OwnedFd::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_peer_is_skipped_and_a_shortage_waited_out() {
        // F2: injected, since no test can make a kernel answer all of these.
        for error in [Errno::INTR, Errno::CONNABORTED, Errno::PROTO, Errno::PERM, Errno::NETUNREACH] {
            assert!(is_of_one_peer(error) && !is_shortage(error), "{error}");
        }
        for error in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(is_shortage(error) && !is_of_one_peer(error), "{error}");
        }
        for error in [Errno::BADF, Errno::INVAL, Errno::OPNOTSUPP, Errno::AGAIN] {
            assert!(!is_shortage(error) && !is_of_one_peer(error), "{error}: would be asked for ever");
        }
    }
}
