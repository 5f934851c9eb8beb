//! The runtime: N bases, M workers, and what is done to all of them.

use std::{fmt, iter, net::ToSocketAddrs, panic::resume_unwind, sync::Arc, thread, time::Duration};

use bufferevent_sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{
    affinity::Movable,
    base::{
        Base, BaseHandle,
        shared::{BaseShared, Message},
    },
    builder::Builder,
    callback::CallbackKind,
    counters::WorkerCounters,
    error::{Error, Result},
    lane,
    listener::{Accepted, BoxError, Callbacks, Counts, Listener, ListenerHandle},
    placement::choose,
    random::Random,
    sched::{Worker, pool::Pool},
};

/// N event bases on M threads. A cheap handle: clones name the same runtime, and any thread may use them.
///
/// What was posted or spawned and never ran is dropped with the last handle, with the last worker to end, or by the stop of
/// a runtime that nobody runs. A closure
/// that waits in a runtime which never runs, and owns a handle of it, keeps both.
///
/// ```
/// use bufferevent_runtime::Runtime;
///
/// let runtime = Runtime::builder().workers(2).build()?;
/// let stopper = runtime.clone();
/// runtime.spawn(move || stopper.stop())?;
/// runtime.run()?;
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Arc<Pool>,
    bases: Vec<Arc<BaseShared>>,
    /// Which base gets the next task spawned from outside.
    next: AtomicUsize,
    thread_name: String,
    /// Whether [`Runtime::run`] has begun.
    ran: AtomicBool,
}

impl Runtime {
    /// Settings to begin with.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(pool: Arc<Pool>, thread_name: String) -> Self {
        let bases = pool.bases.iter().map(|base| Arc::clone(&base.shared)).collect();
        let (next, ran) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { inner: Arc::new(Inner { pool, bases, next, thread_name, ran }) }
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    /// Takes one worker, to be run on a thread of the caller's own. Until it is, its base lies still; dropped, it goes
    /// back.
    ///
    /// # Errors
    /// [`Error::NoWorkerLeft`] when all have been taken.
    pub fn worker(&self) -> Result<Worker> {
        let pool = &self.inner.pool;
        let (index, deque) = pool.take_free().ok_or(Error::NoWorkerLeft { workers: pool.workers.len() })?;
        Ok(Worker::new(Arc::clone(pool), index, deque))
    }

    /// Runs all workers that were not taken, one of them on this thread, until the runtime stops.
    ///
    /// # Errors
    /// [`Error::Io`] if a thread cannot be made or a selector fails; [`Error::AlreadyRun`] if it is run already, or was;
    /// [`Error::NoWorkerLeft`] if all workers were taken otherwise.
    ///
    /// [`Error::WorkerPanicked`] if a panic got out of a source or a strand: it names the worker that ran that. The rest goes
    /// on, to end as by [`Runtime::shutdown`] within [`GRACE_AFTER_PANIC`](crate::GRACE_AFTER_PANIC); [`Runtime::stop`] ends
    /// it at once. What is [posted](BaseHandle::post) or [spawned](Runtime::spawn) lets no panic out.
    pub fn run(&self) -> Result<()> {
        // ORDER: Relaxed, both; it only names the fault.
        let ran = || self.inner.ran.load(Ordering::Relaxed);
        let mine = self.worker().map_err(|error| if ran() { Error::AlreadyRun } else { error })?;
        self.inner.ran.store(true, Ordering::Relaxed);
        let mut threads = Vec::new();
        while let Ok(worker) = self.worker() {
            let name = format!("{}-{}", self.inner.thread_name, worker.index());
            match thread::Builder::new().name(name).spawn(move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    self.stop();
                    threads.into_iter().for_each(|thread| drop(thread.join()));
                    return Err(error.into());
                }
            }
        }
        let mut result = mine.run();
        for thread in threads {
            result = result.and(thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        result
    }

    /// Stops all workers after the callback each is in. The last worker to end drops the bases with all that lives there;
    /// if none runs, this call does. No callback tells of that: see [`Runtime::shutdown`].
    pub fn stop(&self) {
        self.inner.pool.stop();
    }

    /// Ends gracefully: listeners and timers close, each bufferevent is told, which closes it (its output is written out) unless its
    /// handler has more to say, and the workers stop when nothing is left, or after `grace` at the latest.
    ///
    /// # Errors
    /// [`Error::InboxFull`] or [`Error::Closed`] if a base could not be told.
    pub fn shutdown(&self, grace: Duration) -> Result<()> {
        self.shutdown_over(Duration::ZERO, grace)
    }

    /// As [`Runtime::shutdown`], but connections are asked to close one after the other, evenly over `spread`, so that not
    /// all peers come back at the same moment.
    ///
    /// # Errors
    /// As [`Runtime::shutdown`].
    pub fn shutdown_over(&self, spread: Duration, grace: Duration) -> Result<()> {
        self.inner.pool.shut_down(spread, grace)
    }

    /// All words of all workers and bases, and the strands that have something to do, as far as that can be seen from
    /// outside: for who wonders why nothing happens.
    pub fn dump(&self) -> String {
        self.inner.pool.dump()
    }

    /// Handles of the bases, in the order of their numbers.
    pub fn bases(&self) -> Vec<BaseHandle> {
        self.inner.bases.iter().map(|shared| BaseHandle::new(Arc::clone(shared))).collect()
    }

    /// What each worker has counted so far.
    pub fn worker_counters(&self) -> impl Iterator<Item = &WorkerCounters> {
        self.inner.pool.workers.iter().map(|worker| &worker.counters)
    }

    /// Runs `f` on any worker, soon. Called from a callback it goes to the queue of the worker that runs the callback,
    /// without a lock or a system call.
    ///
    /// # Errors
    /// [`Error::InboxFull`] if the queue holds its limit, [`Error::Closed`] if the runtime is gone.
    pub fn spawn(&self, f: impl FnOnce() + Send + 'static) -> Result<()> {
        if let Some(lane) = lane::current(self.inner.pool.id) {
            if lane.deque.len() >= lane::TASKS {
                return Err(Error::InboxFull { limit: lane::TASKS });
            }
            lane.push_call(Box::new(f));
            return Ok(());
        }
        // ORDER: Relaxed; spreads tasks over bases, nothing is published through it.
        let next = self.inner.next.fetch_add(1, Ordering::Relaxed);
        self.inner.bases[next % self.inner.bases.len()].send(Message::Spawn(Box::new(f)))
    }

    /// Listens on `addresses`. Each connection is placed on a base, the less loaded of two drawn at random, and
    /// `on_accept` runs there with it; an error it answers closes the connection.
    ///
    /// # Errors
    /// [`Error::Io`] if no address can be listened on, or the selector does not take the socket.
    /// # Libevent
    /// `evconnlistener_new_bind`.
    pub fn listen<F>(&self, addresses: impl ToSocketAddrs, on_accept: F) -> Result<ListenerHandle>
    where
        F: Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.listen_on(Listener::bind(addresses)?, on_accept)
    }

    /// As [`Runtime::listen`], on a listener that was made already.
    ///
    /// # Errors
    /// [`Error::Io`] if the selector does not take the socket.
    pub fn listen_on<F>(&self, listener: Listener, on_accept: F) -> Result<ListenerHandle>
    where
        F: Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.listen_with(listener, on_accept, |_, _| {})
    }

    /// As [`Runtime::listen_on`]; `on_error` is told of accepts that failed, such as for want of descriptors, and of the
    /// errors that `on_accept` answered, on the base where that was.
    ///
    /// # Errors
    /// [`Error::Io`] if the selector does not take the socket.
    /// # Libevent
    /// `evconnlistener_set_error_cb`.
    #[doc(alias = "evconnlistener_set_error_cb")]
    pub fn listen_with<F, E>(&self, listener: Listener, on_accept: F, on_error: E) -> Result<ListenerHandle>
    where
        F: Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
        E: Fn(BoxError, &mut Base) + Send + Sync + 'static,
    {
        let bases = self.inner.bases.clone();
        let mut random = Random::new(bases.len() as u64);
        let first = BaseHandle::new(Arc::clone(&bases[0]));
        let callbacks = Arc::<Callbacks<Movable>>::default();
        callbacks.set_on_accept(on_accept);
        callbacks.set_on_error(on_error);
        let (accept, told) = (Arc::clone(&callbacks), Arc::clone(&callbacks));
        let hand_on = move |accepted, base: &mut Base| {
            let chosen = choose(&bases, &mut random);
            if chosen.index == base.index() {
                base.counters().accepted.add(1);
                return accept.accept(accepted, base, |_, _| Ok(()));
            }
            let (callbacks, on_its_way) = (Arc::clone(&accept), OnItsWay::to(Arc::clone(chosen)));
            BaseHandle::new(Arc::clone(chosen)).post_as(CallbackKind::Accept, move |base: &mut Base| {
                base.counters().accepted.add(1);
                if let Err(error) = callbacks.accept(accepted, base, |_, _| Ok(())) {
                    callbacks.report(error, base, |_, _| {});
                }
                drop(on_its_way);
            })?;
            Ok(())
        };
        let report = move |error, base: &mut Base| told.report(error, base, |_, _| {});
        let handle = listener.start_from(first, hand_on, report, Counts::OnArrival)?;
        Ok(handle.with_callbacks(&callbacks))
    }
}

impl Runtime {
    /// Listens on the first of `addresses` that can be had with one socket for each base (`SO_REUSEPORT`): the kernel
    /// spreads the connections, and each is accepted by the base it stays on. Answers one handle for each base, in the
    /// order of their numbers.
    ///
    /// Nothing is handed from base to base, so this is for very many short connections; the kernel does not look at the
    /// load of the bases, as [`Runtime::listen`] does.
    /// # Errors
    /// As [`Runtime::listen`]; nothing is listened on then.
    pub fn listen_per_base<F>(
        &self,
        addresses: impl ToSocketAddrs,
        on_accept: F,
    ) -> Result<Vec<ListenerHandle>>
    where
        F: Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.listen_per_base_with(Listener::bind_reuse_port(addresses)?, on_accept, |_, _| {})
    }

    /// As [`Runtime::listen_per_base`], on the address of `listener`, which was made with
    /// [`reuse_port`](crate::ListenOptions::reuse_port): the others get its settings, its filter, and the same limits, so that
    /// they bound the connections of all. `on_error` is told as in [`Runtime::listen_with`].
    ///
    /// # Errors
    /// As there, and [`Error::Unsupported`] if the address may not be shared; nothing is listened on then.
    pub fn listen_per_base_with<F, E>(
        &self,
        listener: Listener,
        on_accept: F,
        on_error: E,
    ) -> Result<Vec<ListenerHandle>>
    where
        F: Fn(Accepted, &mut Base) -> Result<(), BoxError> + Send + Sync + 'static,
        E: Fn(BoxError, &mut Base) + Send + Sync + 'static,
    {
        let others = (1..self.inner.bases.len()).map(|_| listener.again()).collect::<Result<Vec<_>>>()?;
        let callbacks = Arc::new((on_accept, on_error));
        let mut handles = Vec::<ListenerHandle>::with_capacity(others.len() + 1);
        for (listener, base) in iter::once(listener).chain(others).zip(self.bases()) {
            let (accept, report) = (Arc::clone(&callbacks), Arc::clone(&callbacks));
            let accept = move |accepted, base: &mut Base| accept.0(accepted, base);
            let report = move |error, base: &mut Base| report.1(error, base);
            match listener.start_from(base, accept, report, Counts::Accepts) {
                Ok(handle) => handles.push(handle),
                Err(error) => {
                    handles.iter().for_each(|handle| drop(handle.close()));
                    return Err(error);
                }
            }
        }
        Ok(handles)
    }
}

/// A connection that was placed on a base and has not arrived: it counts in the base's load, or a burst of accepts
/// would all choose the same base.
struct OnItsWay(Arc<BaseShared>);

impl OnItsWay {
    fn to(base: Arc<BaseShared>) -> Self {
        base.object_added();
        Self(base)
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.0.object_removed();
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pool = &self.inner.pool;
        f.debug_struct("Runtime")
            .field("bases", &pool.bases.len())
            .field("workers", &pool.workers.len())
            .finish()
    }
}
