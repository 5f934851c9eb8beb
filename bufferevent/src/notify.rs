//! The observers of the two buffers: what the engine's steps changed is told by the shells.

use bufferevent_evbuffer::transport::Transport;

use crate::bufferevent::Bufferevent;

impl Bufferevent {
    /// Whether an observer of a buffer is to be called before anything else happens. Of one that is closing none is (D3).
    #[inline(always)]
    pub(crate) fn has_news(&self) -> bool {
        !self.is_unobserved() && self.look_for_news()
    }

    /// One test for both buffers, since it is made for each step and few have observers.
    #[inline(always)]
    pub(crate) fn is_unobserved(&self) -> bool {
        self.input.is_plain() & self.output.is_plain()
    }

    #[cold]
    fn look_for_news(&self) -> bool {
        (self.input.has_news() || self.output.has_news()) && !self.is_closing()
    }

    pub(crate) fn notify_at_once(&mut self) {
        self.input.notify_at_once();
        self.output.notify_at_once();
    }

    /// Whether an observer is to be called at the end of a run.
    #[inline(always)]
    pub(crate) fn owes_deferred(&self) -> bool {
        !self.is_unobserved() && self.look_for_deferred()
    }

    #[cold]
    fn look_for_deferred(&self) -> bool {
        (self.input.owes_deferred() || self.output.owes_deferred()) && !self.is_closing()
    }

    pub(crate) fn notify_deferred(&mut self) {
        self.input.notify_deferred();
        self.output.notify_deferred();
    }

    /// While a guard is out no observer is called: what it changes is told by a run (D17).
    pub(crate) fn hold_observers(&mut self, held: bool) {
        self.input.hold_observers(held);
        self.output.hold_observers(held);
        if let Some(layer) = self.layer_mut() {
            layer.lower.hold_observers(held);
        }
    }
}
