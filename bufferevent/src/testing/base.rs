//! A base whose time stands still until a test turns it.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use bufferevent_runtime::{Base, Clock, Event, ManualClock, Pinned, Ready, Tick, Turned};

use crate::{
    context::{Id, Place, Spot},
    error::{Error, Result},
};

/// Turns that [`ManualBase::settle`] makes at most.
pub const TURNS: usize = 20_000;

/// A [`Base`], to which it derefs, with a clock that stands still until [`advance`](ManualBase::advance) moves it.
///
/// Nothing of it waits. What lives on it is made as on any base; over [`Wire`](super::Wire)s every run is the same.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use bufferevent::testing::ManualBase;
///
/// let mut base = ManualBase::new()?;
/// let fired = Rc::new(Cell::new(0));
/// let count = Rc::clone(&fired);
/// base.every(Duration::from_secs(60), move |_| count.set(count.get() + 1));
/// base.advance(Duration::from_secs(3_600))?;
/// assert_eq!(fired.get(), 60);
/// # Ok::<(), bufferevent::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualBase {
    base: Base<Pinned>,
    hand: ManualClock,
}

impl ManualBase {
    /// Makes a base, at the time zero.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no selector to give.
    pub fn new() -> Result<Self> {
        let (clock, hand) = Clock::manual();
        Ok(Self { base: Base::with_clock(clock)?, hand })
    }

    /// Turns until nothing is left to do at this time. Answers how the last turn ended: [`Turned::Idle`], [`Turned::Empty`]
    /// if nothing lives here, or how a callback ended the loop.
    ///
    /// # Errors
    /// [`Error::Unsettled`] if there is something to do after [`TURNS`] turns still: something makes itself run again and
    /// again. As [`Base::turn`].
    /// # Panics
    /// As [`Base::turn`].
    pub fn settle(&mut self) -> Result<Turned> {
        for _ in 0..TURNS {
            match self.base.turn(Some(Duration::ZERO))? {
                Turned::Ran => {}
                settled => return Ok(settled),
            }
        }
        Err(Error::Unsettled { turns: TURNS })
    }

    /// Moves the time forward by `duration`, stopping at each deadline on the way to settle there.
    ///
    /// # Errors
    /// As [`ManualBase::settle`]; the time stands where that was.
    /// # Panics
    /// As [`Base::turn`].
    pub fn advance(&mut self, duration: Duration) -> Result<Turned> {
        let until = self.base.now().saturating_add(duration);
        let mut settled = self.settle()?;
        while self.base.now() < until {
            let now = self.base.now();
            let next = self.base.next_deadline().unwrap_or(until).max(now.saturating_add(Tick::PERIOD));
            self.hand.advance(next.min(until) - now);
            settled = self.settle()?;
        }
        Ok(settled)
    }

    /// Has the selector report these events in its next batch, in this order, as if the system had: the bufferevents
    /// may be closed by then, and others have taken their places.
    pub fn deliver(&mut self, batch: impl IntoIterator<Item = (Id, Ready)>) {
        for (id, ready) in batch {
            self.base.selector().post(Event { token: id.key.token(), ready });
        }
    }
}

impl Deref for ManualBase {
    type Target = Base<Pinned>;

    fn deref(&self) -> &Base<Pinned> {
        &self.base
    }
}

impl DerefMut for ManualBase {
    fn deref_mut(&mut self) -> &mut Base<Pinned> {
        &mut self.base
    }
}

impl Place for ManualBase {
    type Affinity = Pinned;

    fn spot(&mut self) -> Spot<'_, Pinned> {
        Spot::Base(&mut self.base)
    }
}
