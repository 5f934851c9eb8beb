//! What the tests of the runtime share.

#![allow(clippy::unwrap_used, reason = "for tests")]
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part of it")]

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bufferevent_runtime::{
    Affinity, After, Base, BaseHandle, Body, Held, IntoSource, Left, Lent, Placement, Reasons, Runtime,
    Source, Strand,
};
use bufferevent_sync::{Condvar, Mutex};

/// A wait that takes longer than this has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A count that threads wait for.
#[derive(Debug, Default)]
pub struct Signal {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Signal {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn raise(&self) {
        *self.count.lock() += 1;
        self.changed.notify_all();
    }

    pub fn count(&self) -> u64 {
        *self.count.lock()
    }

    pub fn wait(&self) {
        self.wait_for(1);
    }

    /// Waits until it was raised `times` times.
    pub fn wait_for(&self, times: u64) {
        let until = Instant::now() + PATIENCE;
        let mut count = self.count.lock();
        while *count < times {
            let late = self.changed.wait_until(&mut count, until).timed_out();
            assert!(!late || *count >= times, "raised {count} times, {times} expected");
        }
    }
}

/// What happened, in order.
#[derive(Debug, Default, Clone)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn add(&self, what: impl Into<String>) {
        self.0.lock().push(what.into());
    }

    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Asks again and again until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never happened: {what}");
        thread::yield_now();
    }
}

/// A source made of a closure.
pub struct FnSource<F>(pub F);

impl<A: Affinity, F> Source<A> for FnSource<F>
where
    F: FnMut(&mut Base<A>, Reasons) -> After + 'static,
{
    fn run(&mut self, base: &mut Base<A>, _: bufferevent_runtime::Key, reasons: Reasons) -> After {
        (self.0)(base, reasons)
    }
}

/// Inserts a closure as a source and posts USER to it.
pub fn start<A: Affinity, F>(base: &mut Base<A>, run: F) -> bufferevent_runtime::Key
where
    F: FnMut(&mut Base<A>, Reasons) -> After + 'static,
    FnSource<F>: IntoSource<A>,
{
    let key = base.insert(FnSource(run));
    base.post_to(key, Reasons::USER);
    key
}

type Run = dyn Fn(&mut Held<'_, Script>, Reasons, &mut Lent<'_>) -> Left + Send + Sync;

/// A strand's body made of a closure.
pub struct Script {
    run: Arc<Run>,
    /// Raised when the body is abandoned.
    pub abandoned: Arc<Signal>,
    pub value: u64,
}

impl Script {
    pub fn new(
        run: impl Fn(&mut Held<'_, Script>, Reasons, &mut Lent<'_>) -> Left + Send + Sync + 'static,
    ) -> Self {
        Self { run: Arc::new(run), abandoned: Signal::new(), value: 0 }
    }

    pub fn idle() -> Self {
        Self::new(|_, _, _| Left::Idle)
    }
}

impl Body for Script {
    type Outer = ();

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left {
        let run = Arc::clone(&held.body().run);
        run(held, reasons, lent)
    }

    fn abandon(&mut self, _: &()) {
        self.abandoned.raise();
    }
}

/// Makes a strand on a base of a runtime.
pub fn strand(
    base: &BaseHandle,
    placement: Placement,
    run: impl Fn(&mut Held<'_, Script>, Reasons, &mut Lent<'_>) -> Left + Send + Sync + 'static,
) -> Arc<Strand<Script>> {
    base.strand(placement, (), |_| Script::new(run)).unwrap()
}

/// A runtime at work on threads of its own; stopped when it is dropped.
pub struct Running {
    pub runtime: Runtime,
    thread: Option<JoinHandle<bufferevent_runtime::Result<()>>>,
}

impl Running {
    pub fn start(runtime: Runtime) -> Self {
        let mine = runtime.clone();
        let thread = Some(thread::spawn(move || mine.run()));
        Self { runtime, thread }
    }

    pub fn base(&self, index: usize) -> BaseHandle {
        self.runtime.bases().swap_remove(index)
    }

    /// Waits for the end that something else brings about.
    pub fn join(mut self) -> thread::Result<bufferevent_runtime::Result<()>> {
        self.thread.take().unwrap().join()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            if !thread::panicking() {
                ended.unwrap().unwrap();
            }
        }
    }
}
