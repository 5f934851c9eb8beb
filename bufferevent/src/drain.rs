//! Ending a whole runtime gracefully, and a report of how that went.

use std::{fmt, time::Duration};

use bufferevent_runtime::Runtime;

use crate::{defaults::DRAIN_GRACE, error::Result};

/// How a runtime is drained.
///
/// ```
/// use std::time::Duration;
/// use bufferevent::{Drain, Runtime, RuntimeExt};
///
/// let runtime = Runtime::builder().workers(1).build()?;
/// let draining = runtime.drain(Drain { grace: Duration::from_secs(5), ..Drain::default() })?;
/// runtime.run()?;
/// assert_eq!(draining.report().ended, 0);
/// # Ok::<(), bufferevent::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// Over how long the handlers are told, one after the other, so that not all peers come back at the
    /// same moment. Default: zero, all at once.
    ///
    /// No longer than the grace: a handler that has not been told by then ends as by [`Runtime::stop`].
    pub spread: Duration,
    /// When the runtime ends at the latest; what is not closed by then is dropped, and what a handler had gone on with
    /// [cut short](crate::Closing::cut_short). Default: 30 s.
    pub grace: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { spread: Duration::ZERO, grace: DRAIN_GRACE }
    }
}

/// What a runtime can do with all of its bufferevents.
pub trait RuntimeExt {
    /// Ends the runtime gracefully: listeners and timers close, each handler is told ([`Handler::on_drain`]), which closes its
    /// bufferevent unless it says otherwise, and [`Runtime::run`] returns when nothing is left, or when the grace is over.
    /// [`Runtime::stop`] ends it at once.
    ///
    /// What was written is sent. A handler with more to write goes on until it has closed; what the grace has not seen closing is
    /// [cut short](crate::Closing::cut_short). A [`Pipe`](crate::Pipe) goes on until both peers have ended, for only they know when
    /// that is. What is started while the drain is on is told of it in its first run, and a handler that is replaced meanwhile has
    /// its successor told. A second drain tells nobody twice.
    ///
    /// Signal events close with the rest, and what the process does on those signals from then on is what they left: nothing.
    /// Who wants a second signal to end the process waits for them on a thread of its own, as a recipe does.
    ///
    /// From any thread and any callback; never waits.
    /// # Errors
    /// [`InboxFull`](bufferevent_runtime::Error::InboxFull) if a base could not be told.
    ///
    /// [`Handler::on_drain`]: crate::Handler::on_drain
    fn drain(&self, how: Drain) -> Result<Draining>;
}

impl RuntimeExt for Runtime {
    fn drain(&self, how: Drain) -> Result<Draining> {
        let draining = Draining { before: Drained::so_far(self), runtime: self.clone() };
        self.shutdown_over(how.spread, how.grace)?;
        Ok(draining)
    }
}

/// A drain that is under way, or over.
#[derive(Debug)]
#[must_use = "it tells how the drain went"]
pub struct Draining {
    runtime: Runtime,
    before: Drained,
}

impl Draining {
    /// How the drain went so far; once [`Runtime::run`] has returned, how it went.
    pub fn report(&self) -> Drained {
        let now = Drained::so_far(&self.runtime);
        Drained {
            ended: now.ended - self.before.ended,
            clean: now.clean - self.before.clean,
            unsent: now.unsent - self.before.unsent,
        }
    }
}

/// How a drain went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections that ended.
    pub ended: u64,
    /// Those of them whose output was all sent and whose peer ended its side too.
    pub clean: u64,
    /// Bytes of output that were not sent.
    pub unsent: u64,
}

impl Drained {
    fn so_far(runtime: &Runtime) -> Self {
        runtime.bases().iter().fold(Self::default(), |sum, base| {
            let counters = base.counters();
            Self {
                ended: sum.ended + counters.ended.get(),
                clean: sum.clean + counters.ended_clean.get(),
                unsent: sum.unsent + counters.unsent.get(),
            }
        })
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, clean, unsent } = self;
        write!(f, "{ended} connections ended, {clean} of them clean; {unsent} bytes not sent")
    }
}
