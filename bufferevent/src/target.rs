//! What to connect to, and how.

use std::{
    fmt,
    net::SocketAddr,
    num::{NonZeroU16, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use crate::{
    attempts::Pace,
    defaults::LOOKUP_DEADLINE,
    error::Result,
    host::{self, Family, Host, HostError},
    resolver::{Query, Resolve},
};

/// A host and a port, or several addresses, to connect to, and how to go about it.
///
/// A name is looked up; of the addresses the first is tried, and each further one when the one before it has failed or
/// has had its head start (RFC 8305, "happy eyeballs"). The first connection that stands is the one; the others are given
/// up. The whole is bounded by [`Bufferevent::set_connect_timeout`](crate::Bufferevent::set_connect_timeout).
///
/// [`Bufferevent::connect_target`](crate::Bufferevent::connect_target) begins so, and
/// [`Bufferevent::connect_to_target`](crate::Bufferevent::connect_to_target) on one that is detached.
///
/// ```
/// use std::time::Duration;
/// use bufferevent::{Bufferevent, Family, Target};
///
/// let target = Target::host("localhost", 7000)?.family(Family::V4).lookup_deadline(Duration::from_secs(5));
/// let builder = Bufferevent::connect_target(target);
/// # drop(builder);
/// # Ok::<(), bufferevent::Error>(())
/// ```
/// # Libevent
/// The arguments of `bufferevent_socket_connect_hostname_hints`. Differs: all addresses are tried.
#[derive(Clone)]
pub struct Target {
    pub(crate) to: To,
    pub(crate) family: Family,
    configured_only: bool,
    pub(crate) numeric_only: bool,
    pub(crate) pace: Pace,
    pub(crate) lookup_deadline: Duration,
    pub(crate) resolver: Option<Arc<dyn Resolve>>,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) nodelay: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum To {
    Host(Host, NonZeroU16),
    Any(Arc<[SocketAddr]>),
}

impl Target {
    /// The host `host`, a literal address or a name as [`Host`] reads it, at `port`.
    ///
    /// # Errors
    /// [`Error::InvalidHost`](crate::Error::InvalidHost) if it is no host, or the port is 0.
    pub fn host(host: &str, port: u16) -> Result<Self> {
        let host = host.parse()?;
        Ok(Self::to(To::Host(host, host::port(port)?)))
    }

    /// Any of `addresses`.
    ///
    /// # Errors
    /// [`Error::InvalidHost`](crate::Error::InvalidHost) if there is none, or a port is 0.
    pub fn any(addresses: &[SocketAddr]) -> Result<Self> {
        if addresses.is_empty() {
            return Err(HostError::NoAddress.into());
        }
        for address in addresses {
            host::port(address.port())?;
        }
        Ok(Self::to(To::Any(addresses.into())))
    }

    fn to(to: To) -> Self {
        Self {
            to,
            family: Family::Any,
            configured_only: false,
            numeric_only: false,
            pace: Pace::default(),
            lookup_deadline: LOOKUP_DEADLINE,
            resolver: None,
            from: None,
            nodelay: false,
        }
    }

    /// Which addresses to try, and which first. Default: [`Family::Any`].
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = family;
        self
    }

    /// Asks for addresses of those families alone of which this machine has one itself, the loopback's apart. Default:
    /// off; an address that cannot be reached fails at once anyway, and costs no time.
    ///
    /// # Libevent
    /// `EVUTIL_AI_ADDRCONFIG`.
    #[must_use]
    pub fn configured_only(mut self) -> Self {
        self.configured_only = true;
        self
    }

    /// Looks nothing up: a name fails with [`LookupError::NotFound`](crate::LookupError::NotFound). Default: off.
    ///
    /// # Libevent
    /// `EVUTIL_AI_NUMERICHOST`.
    #[must_use]
    pub fn numeric_only(mut self) -> Self {
        self.numeric_only = true;
        self
    }

    /// How long the lookup may take; an answer that comes later is dropped. Default: [`LOOKUP_DEADLINE`].
    #[must_use]
    pub fn lookup_deadline(mut self, deadline: Duration) -> Self {
        self.lookup_deadline = deadline;
        self
    }

    /// The head start of an address before the next is tried too. Default:
    /// [`ATTEMPT_DELAY`](crate::ATTEMPT_DELAY).
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.pace.delay = delay;
        self
    }

    /// Addresses that are tried at once at most; when all of those have had their head start, the oldest gives way to
    /// one that was not tried. Default: [`ATTEMPTS`](crate::ATTEMPTS).
    #[must_use]
    pub fn at_once(mut self, attempts: NonZeroUsize) -> Self {
        self.pace.most = attempts.get();
        self
    }

    /// Looks the name up by `resolver`. Default: that of the runtime, see
    /// [`ResolverExt::set_resolver`](crate::ResolverExt::set_resolver).
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolve + 'static) -> Self {
        self.resolver = Some(Arc::new(resolver));
        self
    }

    /// Connects from this address of ours; port 0 takes a free one. Addresses of the other family are left out.
    #[must_use]
    pub fn from(mut self, address: SocketAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// Has the system send small writes at once (`TCP_NODELAY`), rather than wait for the peer to acknowledge those before.
    /// Default: off.
    #[must_use]
    pub fn nodelay(mut self) -> Self {
        self.nodelay = true;
        self
    }

    /// What to ask the resolver for.
    pub(crate) fn query(&self, name: &str) -> Query {
        Query { name: name.into(), family: self.family, configured_only: self.configured_only }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("to", &self.to).field("family", &self.family).finish_non_exhaustive()
    }
}
