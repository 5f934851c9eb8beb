//! A listener as any thread may use it.

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Weak},
};

use bufferevent_sync::atomic::{AtomicBool, Ordering};

use super::{Accepted, BoxError, callbacks::Callbacks};
use crate::{
    affinity::{Affinity, Movable},
    base::{Base, BaseHandle},
    error::{Error, Result},
    protocol::Reasons,
    slots::Key,
};

/// A listener on its base, as any thread may use it. Dropping it changes nothing.
pub struct ListenerHandle<A: Affinity = Movable> {
    pub(super) key: Key,
    pub(super) enabled: Arc<AtomicBool>,
    pub(super) address: Option<SocketAddr>,
    pub(super) base: BaseHandle<A>,
    /// They may own this handle.
    pub(super) callbacks: Weak<Callbacks<A>>,
}

impl<A: Affinity> ListenerHandle<A> {
    /// The address it listens on, `None` if it is not an internet socket.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// The base it accepts on.
    #[doc(alias = "evconnlistener_get_base")]
    pub fn base(&self) -> &BaseHandle<A> {
        &self.base
    }

    /// Accepts again, those that came meanwhile first.
    ///
    /// From any thread and any callback.
    /// # Errors
    /// [`Error::InboxFull`] or [`Error::Closed`] of the base.
    /// # Libevent
    /// `evconnlistener_enable`.
    #[doc(alias = "evconnlistener_enable")]
    pub fn enable(&self) -> Result<()> {
        // ORDER: AcqRel, pairs with the load in `Accepting::run`; the post below brings the run that sees it.
        self.enabled.swap(true, Ordering::AcqRel);
        let key = self.key;
        self.base.post(move |base| base.post_to(key, Reasons::READABLE))
    }

    /// Stops accepting; new connections wait in the kernel's queue. An accept callback that runs on another thread
    /// finishes, and nothing waits for it.
    ///
    /// # Libevent
    /// `evconnlistener_disable`.
    #[doc(alias = "evconnlistener_disable")]
    pub fn disable(&self) {
        // ORDER: AcqRel; see `enable`. It is looked at before each accept.
        self.enabled.swap(false, Ordering::AcqRel);
    }

    /// Replaces the accept callback, from the next connection on.
    ///
    /// From any thread and any callback, the listener's own included. An old one that runs on another thread finishes. On a
    /// listener of [`Runtime::listen`](crate::Runtime::listen) the connections are spread over the bases as before; of
    /// [`Runtime::listen_per_base`](crate::Runtime::listen_per_base) each handle is for its own base. The one that the
    /// listener was started with is dropped with the listener.
    ///
    /// # Errors
    /// [`Error::Closed`] if the listener is gone.
    /// # Libevent
    /// `evconnlistener_set_cb`.
    #[doc(alias = "evconnlistener_set_cb")]
    pub fn set_callback(
        &self,
        on_accept: impl Fn(Accepted, &mut Base<A>) -> Result<(), BoxError> + Send + Sync + 'static,
    ) -> Result<()> {
        self.callbacks.upgrade().ok_or(Error::Closed)?.set_on_accept(on_accept);
        Ok(())
    }

    /// Replaces the error callback; see [`ListenerHandle::set_callback`].
    ///
    /// # Errors
    /// [`Error::Closed`] if the listener is gone.
    /// # Libevent
    /// `evconnlistener_set_error_cb`.
    #[doc(alias = "evconnlistener_set_error_cb")]
    pub fn set_error_callback(
        &self,
        on_error: impl Fn(BoxError, &mut Base<A>) + Send + Sync + 'static,
    ) -> Result<()> {
        self.callbacks.upgrade().ok_or(Error::Closed)?.set_on_error(on_error);
        Ok(())
    }

    /// The handle of a listener that hands all it accepts to `callbacks`.
    pub(crate) fn with_callbacks(self, callbacks: &Arc<Callbacks<A>>) -> Self {
        Self { callbacks: Arc::downgrade(callbacks), ..self }
    }

    /// Closes the listening socket, at the end of the accept callback if one runs.
    ///
    /// # Errors
    /// [`Error::InboxFull`] or [`Error::Closed`] of the base.
    /// # Libevent
    /// `evconnlistener_free`.
    #[doc(alias = "evconnlistener_free")]
    pub fn close(&self) -> Result<()> {
        self.disable();
        let key = self.key;
        self.base.post(move |base| {
            base.remove(key);
        })
    }
}

impl<A: Affinity> Clone for ListenerHandle<A> {
    fn clone(&self) -> Self {
        Self {
            key: self.key,
            enabled: Arc::clone(&self.enabled),
            address: self.address,
            base: self.base.clone(),
            callbacks: Weak::clone(&self.callbacks),
        }
    }
}

impl<A: Affinity> fmt::Debug for ListenerHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerHandle").field("address", &self.address).finish_non_exhaustive()
    }
}
