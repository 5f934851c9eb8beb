//! Where workers wait when there are more bases than workers: an epoll that holds the bases' own epolls.
//!
//! Each base's selector is registered edge-triggered, once. A free base whose selector becomes readable wakes one
//! waiting worker, which claims the base; an edge of a base that is held sets AGAIN in its word, and the holder polls
//! once more before it lets go. A free base's due timers make its selector readable by a timerfd.

use std::{sync::Arc, time::Duration};

use crate::{
    error::Result,
    protocol::Sleepers,
    selector::{AnySelector, Events, Registered, Selector as _, Token},
};

pub(crate) struct Top {
    selector: Arc<AnySelector>,
    bases: Vec<Registered<Arc<AnySelector>>>,
    sleepers: Sleepers,
}

impl Top {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { selector: Arc::new(AnySelector::nesting()?), bases: Vec::new(), sleepers: Sleepers::new() })
    }

    /// Registers the selector of base `index`.
    pub(crate) fn add(&mut self, index: usize, base: &Arc<AnySelector>) -> Result<()> {
        let registered = Registered::new(&self.selector, Arc::clone(base), Token::new(index as u32, 0));
        self.bases.push(registered.map_err(|(_, error)| error)?);
        Ok(())
    }

    /// Waits at most `timeout` for one base to become ready, and answers its index. Does not wait if `recheck`, asked
    /// after the sleeper has announced itself, says that there is something else to do.
    pub(crate) fn wait(
        &self,
        events: &mut Events,
        timeout: Option<Duration>,
        recheck: impl FnOnce() -> bool,
    ) -> Result<Option<usize>> {
        if timeout == Some(Duration::ZERO) {
            let looked = self.selector.wait(events, timeout);
            if self.sleepers.must_pass_on() {
                self.wake();
            }
            looked?;
        } else {
            self.sleepers.announce();
            let timeout = if recheck() { Some(Duration::ZERO) } else { timeout };
            let slept = self.selector.wait(events, timeout);
            self.sleepers.returned();
            slept?;
        }
        Ok(events.iter().next().map(|event| event.token.index() as usize))
    }

    /// Wakes one waiting worker, after publishing what for; true if one was waiting.
    pub(crate) fn call(&self) -> bool {
        let called = self.sleepers.call();
        if called {
            self.wake();
        }
        called
    }

    /// Marks the place if `all` workers wait here and none of them was called.
    pub(crate) fn mark(&self, all: usize) -> bool {
        self.sleepers.mark(all)
    }

    /// Whether `all` workers wait here, and none has come or gone since the mark.
    pub(crate) fn is_marked(&self, all: usize) -> bool {
        self.sleepers.is_marked(all)
    }

    /// Workers that wait here.
    pub(crate) fn sleepers(&self) -> usize {
        self.sleepers.count()
    }

    pub(crate) fn wake(&self) {
        let _ = self.selector.wake();
    }
}
