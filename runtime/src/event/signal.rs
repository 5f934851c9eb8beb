//! Signals, as events of a base.

use std::{fmt, os::unix::net::UnixStream};

use rustix::net::{RecvFlags, recv};
use signal_hook::{SigId, consts::FORBIDDEN, low_level};

use super::EventId;
use crate::{
    affinity::{Affinity, IntoSource},
    base::{Base, BaseHandle},
    callback::CallbackKind,
    error::{Error, Result},
    protocol::Reasons,
    selector::{AnySelector, Ready, Registered},
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// Signals counted in one run; the rest are told in the next.
const PER_RUN: usize = 1_024;

/// A signal that is waited for, as its base owns it: the handler writes a byte into a socket pair, the base reads them.
pub struct Signalled<F> {
    told: Registered<UnixStream>,
    id: SigId,
    call: F,
}

impl<A: Affinity> Base<A> {
    /// Runs `f` on this base whenever the process gets `signal`, with how often it came since the last time.
    ///
    /// Each base, and each call, hears of the signal for itself. Signals that come before the callback runs are told
    /// together; while the base is so far behind that a few hundred wait, further ones are counted no more. Nothing is
    /// done inside the signal handler but one write that cannot wait. A callback that panics is the last.
    ///
    /// [`Base::cancel`] ends it, and so does the end of the base. What the signal did by default before the first call
    /// does not come back: the process ignores it from then on.
    /// # Errors
    /// [`Error::InvalidSignal`] for those that cannot be caught (KILL, STOP) or must not be waited for (SEGV, ILL, FPE);
    /// [`Error::Io`] if the system refuses.
    /// # Libevent
    /// `evsignal_new` and `evsignal_add`. Differs: on any number of bases; the default is not restored.
    /// # Examples
    /// ```
    /// use bufferevent_runtime::{Base, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// base.signal(10 /* SIGUSR1 on Linux */, |times, base| {
    ///     println!("{times} signals came");
    ///     base.exit();
    /// })?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[doc(alias = "evsignal_new")]
    #[doc(alias = "evsignal_add")]
    pub fn signal<F>(&mut self, signal: i32, f: F) -> Result<EventId>
    where
        F: FnMut(u64, &mut Base<A>) + 'static,
        Signalled<F>: IntoSource<A>,
    {
        let key = self.reserve();
        match Signalled::register(self.selector(), signal, key, f) {
            Ok(signalled) => {
                self.insert_boxed(key, signalled.into_source());
                Ok(EventId::of(self, key))
            }
            Err(error) => {
                self.unreserve(key);
                Err(error)
            }
        }
    }
}

impl<A: Affinity> BaseHandle<A> {
    /// As [`Base::signal`], from any thread: signals count from now on, and are told once the base runs.
    ///
    /// # Errors
    /// As [`Base::signal`], and as [`BaseHandle::post`].
    pub fn signal<F>(&self, signal: i32, f: F) -> Result<EventId>
    where
        F: FnMut(u64, &mut Base<A>) + Send + 'static,
        Signalled<F>: IntoSource<A> + Send,
    {
        let key = self.reserve();
        let begun = Signalled::register(self.selector(), signal, key, f).and_then(|signalled| {
            self.post(move |base| {
                base.insert_boxed(key, signalled.into_source());
                // An edge may have come before the base knew the key.
                base.post_to(key, Reasons::READABLE);
            })
        });
        self.named(key, begun)
    }
}

impl<F> Signalled<F> {
    fn register(selector: &std::sync::Arc<AnySelector>, signal: i32, key: Key, call: F) -> Result<Self> {
        if FORBIDDEN.contains(&signal) {
            return Err(Error::InvalidSignal { signal });
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let told = Registered::new(selector, ours, key.token()).map_err(|(_, error)| error)?;
        let id = low_level::pipe::register(signal, theirs)?;
        Ok(Self { told, id, call })
    }

    /// How many bytes the signal handler has written since the last look, at most [`PER_RUN`].
    fn count(&self) -> usize {
        let mut bytes = [0; PER_RUN];
        recv(&self.told, &mut bytes, RecvFlags::DONTWAIT).map_or(0, |(n, _)| n)
    }
}

impl<A: Affinity, F: FnMut(u64, &mut Base<A>) + 'static> Source<A> for Signalled<F> {
    fn run(&mut self, base: &mut Base<A>, key: Key, reasons: Reasons) -> After {
        if reasons.contains(Reasons::CLOSE) {
            return After::Remove;
        }
        let count = self.count();
        if count > 0 {
            let inside = base.callback_begins(key, CallbackKind::Signal);
            let returned = isolate(|| (self.call)(count as u64, base));
            drop(inside);
            if !returned {
                base.counters().panics.add(1);
                return After::Remove;
            }
        }
        match self.told.rearm(key.token(), Ready::READABLE) {
            Ok(()) if count < PER_RUN => After::Idle,
            _ => After::NextTurn,
        }
    }

    fn kind(&self) -> &'static str {
        "signal"
    }
}

impl<F> Drop for Signalled<F> {
    fn drop(&mut self) {
        low_level::unregister(self.id);
    }
}

impl<F> fmt::Debug for Signalled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signalled").field("id", &self.id).finish_non_exhaustive()
    }
}
