//! Where workers wait when there are more bases than workers: an epoll that holds the bases' own epolls.
//!
//! Each base's selector is registered edge-triggered, once. A free base whose selector becomes readable wakes one
//! waiting worker, which claims the base; an edge of a base that is held sets AGAIN in its word, and the holder polls
//! once more before it lets go. A free base's due timers make its selector readable by a timerfd.

use std::{sync::Arc, time::Duration};

use bufferevent_sync::atomic::{AtomicU32, Ordering};

use crate::{
    error::Result,
    selector::{AnySelector, Events, Registered, Selector as _, Token},
};

pub(crate) struct Top {
    selector: Arc<AnySelector>,
    bases: Vec<Registered<Arc<AnySelector>>>,
    sleepers: AtomicU32,
}

impl Top {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            selector: Arc::new(AnySelector::nesting()?),
            bases: Vec::new(),
            sleepers: AtomicU32::new(0),
        })
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
        let sleeps = timeout != Some(Duration::ZERO);
        let mut timeout = timeout;
        if sleeps {
            // ORDER: AcqRel; counts sleepers for `call`. If that came first, the recheck sees what it was made for.
            self.sleepers.fetch_add(1, Ordering::AcqRel);
            if recheck() {
                timeout = Some(Duration::ZERO);
            }
        }
        let waited = self.selector.wait(events, timeout);
        if sleeps {
            // ORDER: AcqRel; see above.
            self.sleepers.fetch_sub(1, Ordering::AcqRel);
        }
        waited?;
        Ok(events.iter().next().map(|event| event.token.index() as usize))
    }

    /// Wakes one waiting worker; true if one was waiting.
    pub(crate) fn call(&self) -> bool {
        // ORDER: AcqRel, an RMW so that a sleeper that announced itself before is seen; see `wait`.
        let called = self.sleepers.fetch_add(0, Ordering::AcqRel) > 0;
        if called {
            self.wake();
        }
        called
    }

    /// Workers that wait here.
    pub(crate) fn sleepers(&self) -> usize {
        // ORDER: Acquire, pairs with the announcement in `wait`: what its worker did before is visible.
        self.sleepers.load(Ordering::Acquire) as usize
    }

    pub(crate) fn wake(&self) {
        let _ = self.selector.wake();
    }
}
