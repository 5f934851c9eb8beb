//! The callbacks of a listener, which any thread may replace.

use std::sync::Arc;

use bufferevent_sync::Leaf;

use super::{Accepted, BoxError};
use crate::{affinity::Affinity, base::Base};

type OnAccept<A> = dyn Fn(Accepted, &mut Base<A>) -> Result<(), BoxError> + Send + Sync;
type OnError<A> = dyn Fn(BoxError, &mut Base<A>) + Send + Sync;

/// The callbacks that were set, which come before those that a listener was started with.
///
/// Leaf locks, each taken for as long as it takes to clone an `Arc`.
pub(crate) struct Callbacks<A: Affinity> {
    on_accept: Leaf<Option<Arc<OnAccept<A>>>>,
    on_error: Leaf<Option<Arc<OnError<A>>>>,
}

impl<A: Affinity> Default for Callbacks<A> {
    fn default() -> Self {
        Self { on_accept: Leaf::default(), on_error: Leaf::default() }
    }
}

impl<A: Affinity> Callbacks<A> {
    pub(crate) fn set_on_accept(
        &self,
        on_accept: impl Fn(Accepted, &mut Base<A>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) {
        let old = self.on_accept.lock().replace(Arc::new(on_accept));
        // It is the user's: not under the lock.
        drop(old);
    }

    pub(crate) fn set_on_error(&self, on_error: impl Fn(BoxError, &mut Base<A>) + Send + Sync + 'static) {
        let old = self.on_error.lock().replace(Arc::new(on_error));
        drop(old);
    }

    /// Hands a connection to the callback that was set, or else to `given`.
    pub(crate) fn accept(
        &self,
        accepted: Accepted,
        base: &mut Base<A>,
        given: impl FnOnce(Accepted, &mut Base<A>) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        let set = self.on_accept.lock().clone();
        match set {
            Some(on_accept) => on_accept(accepted, base),
            None => given(accepted, base),
        }
    }

    /// Tells the callback that was set, or else `given`, of an error.
    pub(crate) fn report(
        &self,
        error: BoxError,
        base: &mut Base<A>,
        given: impl FnOnce(BoxError, &mut Base<A>),
    ) {
        let set = self.on_error.lock().clone();
        match set {
            Some(on_error) => on_error(error, base),
            None => given(error, base),
        }
    }
}
