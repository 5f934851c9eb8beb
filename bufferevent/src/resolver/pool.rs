//! A few threads that look names up with a function that blocks.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bufferevent_runtime::drop_panic;
use bufferevent_sync::{Condvar, Mutex, thread};

use super::{
    LookupError, Query, Reply, Resolve,
    roster::{Limits, Pushed, Roster},
    system,
};
use crate::defaults::{RESOLVER_IDLE, RESOLVER_QUEUE, RESOLVER_THREADS};

/// A function that looks a name up and may block.
type Function = dyn Fn(&Query) -> Result<Vec<SocketAddr>, LookupError> + Send + Sync;

/// Looks names up on a few threads of its own, with a function that blocks: the system's `getaddrinfo`, or any other.
///
/// Threads are made when they are needed, and end when they were idle for a while or when the last clone is dropped.
/// Questions wait in a bounded queue, where those that were cancelled make room for new ones. A lookup that hangs keeps
/// its thread, and nothing else: who asked is told by the deadline of its [`Target`](crate::Target).
///
/// ```
/// use std::time::Duration;
/// use bufferevent::{LookupError, Resolver, ResolverExt, Runtime};
///
/// let runtime = Runtime::builder().workers(1).build()?;
/// runtime.set_resolver(
///     Resolver::builder()
///         .threads(2)
///         .function(|query| match query.name() {
///             "database" => Ok(vec!["127.0.0.1:0".parse().unwrap()]),
///             _ => Err(LookupError::NotFound),
///         })
///         .build(),
/// );
/// # Ok::<(), bufferevent::Error>(())
/// ```
/// # Libevent
/// `evdns_base_new`; the thread that `bufferevent_socket_connect_hostname` blocks without one.
#[derive(Clone)]
pub struct Resolver {
    user: Arc<User>,
}

/// All clones of a resolver; its threads do not count.
struct User {
    pool: Arc<Pool>,
}

struct Pool {
    /// Held for a moment at a time; nothing is called under it.
    roster: Mutex<Roster<(Query, Reply)>>,
    work: Condvar,
    limits: Limits,
    idle: Duration,
    function: Box<Function>,
}

impl Resolver {
    /// The system's resolver (`getaddrinfo`), with default limits.
    #[must_use]
    pub fn system() -> Self {
        Self::builder().build()
    }

    /// Settings to begin with.
    #[must_use]
    pub fn builder() -> ResolverBuilder {
        ResolverBuilder {
            limits: Limits { threads: RESOLVER_THREADS, jobs: RESOLVER_QUEUE },
            idle: RESOLVER_IDLE,
            function: Box::new(system::lookup),
        }
    }

    /// Threads there are now.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.user.pool.roster.lock().threads()
    }

    /// Questions that wait for a thread now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.user.pool.roster.lock().jobs()
    }
}

impl Resolve for Resolver {
    fn resolve(&self, query: Query, reply: Reply) {
        let pool = &self.user.pool;
        let mut swept = Vec::new();
        let is_stale = |(_, reply): &(Query, Reply)| reply.is_cancelled();
        let pushed = pool.roster.lock().push((query, reply), is_stale, &mut swept);
        match pushed {
            Pushed::Waits => {}
            Pushed::Wake => drop(pool.work.notify_one()),
            Pushed::Spawn => pool.spawn(),
            Pushed::Refused((_, reply)) => reply.send(Err(LookupError::Busy { limit: pool.limits.jobs })),
        }
    }
}

impl Pool {
    fn spawn(self: &Arc<Self>) {
        let pool = Arc::clone(self);
        let made = thread::Builder::new().name("bev-resolver".to_owned()).spawn(move || pool.work());
        let Err(error) = made else { return };
        let unserved = self.roster.lock().no_thread();
        let source = Arc::new(error);
        for (_, reply) in unserved {
            reply.send(Err(LookupError::Failed { code: 0, source: Arc::clone(&source) }));
        }
    }

    /// What a thread does all its life.
    fn work(&self) {
        let mut roster = self.roster.lock();
        loop {
            if let Some((query, reply)) = roster.take() {
                drop(roster);
                self.look_up(&query, reply);
                roster = self.roster.lock();
                continue;
            }
            if !roster.rest() {
                return;
            }
            let late = self.work.wait_for(&mut roster, self.idle).timed_out();
            if !roster.rested(late) {
                return;
            }
        }
    }

    fn look_up(&self, query: &Query, reply: Reply) {
        if reply.is_cancelled() {
            return;
        }
        // A panic drops the reply, which says that there is no answer.
        let _isolated =
            catch_unwind(AssertUnwindSafe(move || reply.send((self.function)(query)))).map_err(drop_panic);
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let unserved = self.pool.roster.lock().close();
        self.pool.work.notify_all();
        drop(unserved);
    }
}

/// Settings of a [`Resolver`].
///
/// ```
/// use std::time::Duration;
/// use bufferevent::Resolver;
///
/// let resolver = Resolver::builder().threads(2).queue(64).idle(Duration::from_secs(1)).build();
/// assert_eq!(resolver.threads(), 0);
/// ```
pub struct ResolverBuilder {
    limits: Limits,
    idle: Duration,
    function: Box<Function>,
}

impl ResolverBuilder {
    /// Threads there may be, at least 1. Default: [`RESOLVER_THREADS`].
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.limits.threads = threads.max(1);
        self
    }

    /// Questions that may wait for a thread, at least 1; more are answered with [`LookupError::Busy`]. Default:
    /// [`RESOLVER_QUEUE`].
    #[must_use]
    pub fn queue(mut self, questions: usize) -> Self {
        self.limits.jobs = questions.max(1);
        self
    }

    /// How long a thread waits for a question before it ends. Default: [`RESOLVER_IDLE`].
    #[must_use]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// What looks names up, on the threads; it may block. A panic in there answers [`LookupError::NoAnswer`]. Default:
    /// the system's `getaddrinfo`.
    #[must_use]
    pub fn function(
        mut self,
        function: impl Fn(&Query) -> Result<Vec<SocketAddr>, LookupError> + Send + Sync + 'static,
    ) -> Self {
        self.function = Box::new(function);
        self
    }

    /// Makes the resolver. No thread is made yet.
    #[must_use]
    pub fn build(self) -> Resolver {
        let Self { limits, idle, function } = self;
        let roster = Mutex::new(Roster::new(limits));
        let pool = Pool { roster, work: Condvar::new(), limits, idle, function };
        Resolver { user: Arc::new(User { pool: Arc::new(pool) }) }
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("limits", &self.user.pool.limits).finish_non_exhaustive()
    }
}

impl fmt::Debug for ResolverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolverBuilder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
