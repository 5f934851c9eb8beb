//! What is below a filter.

use std::any::Any;

use bufferevent_runtime::Ready;

use super::{Bufferevent, LAYERED, LOWER, Owned, Phase, Socket};
use crate::{
    defaults::MAX_LAYERS,
    error::Error,
    filter::{Filter, Layer},
    handler::PanicPolicy,
    interest::Interest,
    options::Options,
};

impl Bufferevent {
    /// The bufferevent below a filter; `None` if this is none.
    ///
    /// # Libevent
    /// `bufferevent_get_underlying`.
    #[doc(alias = "bufferevent_get_underlying")]
    pub fn underlying(&self) -> Option<&Bufferevent> {
        self.layer().map(|layer| &*layer.lower)
    }

    /// The bufferevent below a filter, to change its settings or look into its buffers: what is changed takes effect in the same
    /// run. It has no handler: what happens to it is told by the filter. Closing it closes the stack.
    ///
    /// # Libevent
    /// `bufferevent_get_underlying`. Differs: nobody can set other callbacks there.
    #[doc(alias = "bufferevent_get_underlying")]
    pub fn underlying_mut(&mut self) -> Option<&mut Bufferevent> {
        self.unusual();
        self.layer_mut().map(|layer| &mut *layer.lower)
    }

    /// The filter right below this bufferevent; `None` if there is none, or one of another type. What it is made to
    /// [hold](Filter::holds) is given soon, though no byte comes.
    ///
    /// ```
    /// use bufferevent::{BaseExt, Bufferevent, Filter, testing::{ManualBase, Wire}};
    ///
    /// #[derive(Default)]
    /// struct Tap {
    ///     passed: usize,
    /// }
    ///
    /// impl Filter for Tap {}
    ///
    /// let (mut base, wire) = (ManualBase::new()?, Wire::new());
    /// let id = Bufferevent::scripted(&wire).filter(Tap::default()).start(&mut base)?;
    /// assert_eq!(base.bufferevent(id)?.filter_mut::<Tap>().map(|tap| tap.passed), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter_mut<F: Filter>(&mut self) -> Option<&mut F> {
        self.unusual();
        let layer = self.layer_mut()?;
        layer.touched = true;
        let filter: &mut dyn Any = layer.filter_mut();
        filter.downcast_mut()
    }

    /// The lowest of a stack: that which has the connection.
    pub(crate) fn bottom(&self) -> &Bufferevent {
        let mut bottom = self;
        while let Some(layer) = bottom.layer() {
            bottom = &layer.lower;
        }
        bottom
    }

    /// What becomes of a panic of a filter.
    pub(crate) fn set_panic_policy(&mut self, policy: PanicPolicy) {
        if let Some(layer) = self.layer_mut() {
            layer.set_panic_policy(policy);
        }
    }

    pub(crate) fn take_layer(&mut self) -> Option<Layer> {
        match std::mem::replace(&mut self.socket, Socket::None) {
            Socket::Filter(layer) => {
                self.run.rare &= !LAYERED;
                Some(*layer)
            }
            other => {
                self.socket = other;
                None
            }
        }
    }

    /// It lives nowhere any more, and can be started again.
    pub(crate) fn unsettle(&mut self) {
        (self.told.withheld, self.told.counted, self.hears_write) = (false, false, true);
        self.run.rare &= !LOWER;
        self.ready = Ready::NONE;
        if let Some(timeouts) = &mut self.timeouts {
            timeouts.stop();
        }
        if let Some(layer) = self.layer_mut() {
            layer.lower.unsettle();
        } else if self.connector.take().is_some() {
            self.enter(Phase::Detached);
        } else if let Socket::Registered(_) = self.socket {
            let permit = std::mem::take(&mut self.permit);
            self.socket = self.release_fd().map_or(Socket::None, |fd| Socket::Idle(fd.into()));
            self.permit = permit;
        }
        if let Some(end) = self.pair_end() {
            end.detach();
        }
        self.call_mate_by_message();
        self.home = None;
    }
}

impl Owned {
    /// Puts `filter` above: this is owned by what comes back. Refused, it comes back itself.
    #[allow(clippy::result_large_err, reason = "what is refused comes back")]
    pub(crate) fn put_under(mut self, filter: impl Filter) -> Result<Self, (Error, Self)> {
        let depth = self.layer().map_or(0, |layer| layer.depth) + 1;
        if usize::from(depth) > MAX_LAYERS {
            return Err((Error::TooDeep { limit: MAX_LAYERS }, self));
        }
        let mut upper = Self::new(self.options.with(Options::CLOSE_ON_FREE, true));
        upper.enabled = Interest::BOTH;
        upper.priority = self.priority;
        upper.run.errands.priority = self.run.errands.priority.take();
        upper.run.rare |= LAYERED;
        // These are told of the whole.
        upper.told.report_close = std::mem::take(&mut self.told.report_close);
        self.told.counted = true;
        self.hears_write = false;
        self.run.rare |= LOWER;
        upper.socket = Socket::Filter(Box::new(Layer::new(self, filter, depth)));
        upper.expect_handshake();
        upper.follow();
        Ok(upper)
    }
}
