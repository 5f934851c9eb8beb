//! From a name to addresses: who is asked, and what may be answered.
//!
//! A bufferevent asks a [`Resolve`] and goes on; the answer comes through a [`Reply`], from any thread, and wakes the
//! bufferevent where it lives. One that has lost interest has cancelled, and an answer that comes after all is dropped.

mod lookup;
mod pool;
mod roster;
mod system;

use std::{fmt, io, net::SocketAddr, sync::Arc};

use bufferevent_runtime::{Affinity, Base, BaseHandle, Runtime};

pub(crate) use self::lookup::Lookup;
pub use self::{
    lookup::Reply,
    pool::{Resolver, ResolverBuilder},
};
use crate::host::Family;

/// Looks names up.
///
/// [`Resolver`] does so on threads of its own, with the system's functions or with any other that blocks. What has
/// its own way not to block implements this trait. [`Target::resolver`](crate::Target::resolver) gives one to a connect,
/// [`ResolverExt::set_resolver`] to a runtime.
///
/// ```
/// use bufferevent::{LookupError, Query, Reply, Resolve};
///
/// /// Knows one name.
/// struct OneName;
///
/// impl Resolve for OneName {
///     fn resolve(&self, query: Query, reply: Reply) {
///         reply.send(match query.name() {
///             "one" => Ok(vec!["127.0.0.1:0".parse().unwrap()]),
///             _ => Err(LookupError::NotFound),
///         });
///     }
/// }
/// ```
/// # Libevent
/// `struct evdns_base`.
#[doc(alias = "evdns_base")]
pub trait Resolve: Send + Sync {
    /// Looks `query` up, and sends the answer by `reply`, now or later, from any thread. A reply that is dropped unsent
    /// answers [`LookupError::NoAnswer`].
    ///
    /// Must not block: it runs where the bufferevent runs, under its strand's lock. A panic is isolated, and answers
    /// [`LookupError::NoAnswer`] too.
    fn resolve(&self, query: Query, reply: Reply);
}

impl<R: Resolve + ?Sized> Resolve for Arc<R> {
    fn resolve(&self, query: Query, reply: Reply) {
        (**self).resolve(query, reply);
    }
}

/// What is to be looked up.
///
/// # Libevent
/// The `struct evutil_addrinfo` of `bufferevent_socket_connect_hostname_hints`.
#[doc(alias = "evutil_addrinfo")]
#[derive(Debug, Clone)]
pub struct Query {
    pub(crate) name: Arc<str>,
    pub(crate) family: Family,
    pub(crate) configured_only: bool,
}

impl Query {
    /// The name; never empty, and no literal address.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which addresses are wanted. What else is answered is left out.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether only families are wanted of which this machine has an address: `AI_ADDRCONFIG`.
    pub fn configured_only(&self) -> bool {
        self.configured_only
    }
}

/// What was found: addresses, in the order in which to try them. Their ports do not matter.
pub(crate) type Answer = Result<Vec<SocketAddr>, LookupError>;

/// Why a name has no address.
///
/// # Libevent
/// `bufferevent_socket_get_dns_error`.
#[doc(alias = "bufferevent_socket_get_dns_error")]
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum LookupError {
    /// There is no such name, or it has no address.
    NotFound,
    /// The name has no address of a family that is wanted.
    NoAddress,
    /// Nobody could be asked; later somebody might.
    TryAgain,
    /// No answer came in time.
    TimedOut,
    /// The resolver has its limit of questions waiting.
    Busy {
        /// Questions that may wait.
        limit: usize,
    },
    /// The resolver has dropped the question.
    NoAnswer,
    /// Something else went wrong.
    Failed {
        /// The `EAI_` code of the system's resolver; 0 if the failure was elsewhere.
        code: i32,
        /// What it says.
        source: Arc<io::Error>,
    },
}

impl LookupError {
    /// The `EAI_` code of the system, if it has one for this.
    ///
    /// # Libevent
    /// What `bufferevent_socket_get_dns_error` answers.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::NotFound | Self::NoAddress => Some(libc::EAI_NONAME),
            Self::TryAgain | Self::TimedOut | Self::Busy { .. } => Some(libc::EAI_AGAIN),
            Self::NoAnswer => Some(libc::EAI_FAIL),
            Self::Failed { code: 0, .. } => None,
            Self::Failed { code, .. } => Some(*code),
        }
    }
}

impl LookupError {
    /// The kind of the error: `NotFound` if the name has no address, `TimedOut` if none came in time.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::NotFound | Self::NoAddress => io::ErrorKind::NotFound,
            Self::TimedOut => io::ErrorKind::TimedOut,
            Self::TryAgain | Self::Busy { .. } | Self::NoAnswer => io::ErrorKind::Other,
            Self::Failed { source, .. } => source.kind(),
        }
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("the name is not known"),
            Self::NoAddress => f.write_str("the name has no address of a family that is wanted"),
            Self::TryAgain => f.write_str("the name could not be looked up for now"),
            Self::TimedOut => f.write_str("the name was not found in time"),
            Self::Busy { limit } => write!(f, "the resolver has {limit} questions waiting, its limit"),
            Self::NoAnswer => f.write_str("the resolver gave no answer"),
            Self::Failed { source, .. } => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for LookupError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// Which resolver a runtime, or a base that is driven by hand, has.
pub trait ResolverExt {
    /// Looks names up by `resolver` from now on, for all bufferevents of the runtime, or of the base if that is driven
    /// by hand, unless their [`Target`](crate::Target) has another. Default: a [`Resolver::system`], made at the first
    /// lookup.
    ///
    /// From any thread and any callback.
    fn set_resolver(&self, resolver: impl Resolve + 'static);
}

/// A resolver as a runtime keeps it.
struct Attached(Arc<dyn Resolve>);

impl<A: Affinity> ResolverExt for BaseHandle<A> {
    fn set_resolver(&self, resolver: impl Resolve + 'static) {
        self.attach(Arc::new(Attached(Arc::new(resolver))));
    }
}

impl<A: Affinity> ResolverExt for Base<A> {
    fn set_resolver(&self, resolver: impl Resolve + 'static) {
        self.handle().set_resolver(resolver);
    }
}

impl ResolverExt for Runtime {
    fn set_resolver(&self, resolver: impl Resolve + 'static) {
        if let Some(base) = self.bases().first() {
            base.set_resolver(resolver);
        }
    }
}

/// The resolver of the runtime that `base` is of.
pub(crate) fn of(base: &BaseHandle) -> Arc<dyn Resolve> {
    let attached = base.attached_or(|| Arc::new(Attached(Arc::new(Resolver::system()))));
    match attached.downcast_ref::<Attached>() {
        Some(Attached(resolver)) => Arc::clone(resolver),
        // Another crate uses the place for something else.
        None => Arc::new(Resolver::system()),
    }
}
