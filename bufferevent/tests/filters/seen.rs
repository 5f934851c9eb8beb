//! A handler that writes down what it is told, and a filter that counts how often it is dropped.

use std::sync::Arc;

use bufferevent::{
    BaseExt, Bufferevent, Builder, Closed, Context, Error, Event, Filter, FilterCall, FilterError,
    FilterStatus, Handle, Handler, HandlerAffinity, Id, Result, testing::ManualBase,
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What was read, and what was told.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    told: Arc<Mutex<(Vec<u8>, Vec<String>)>>,
    closed: Arc<Mutex<Option<Box<Closed>>>>,
    leaves: Arc<AtomicUsize>,
}

impl<A: HandlerAffinity> Handler<A> for Seen {
    fn on_read(&mut self, cx: &mut Context<'_, A>) {
        self.take(cx);
    }

    fn on_event(&mut self, _: &mut Context<'_, A>, event: Event) {
        self.told.lock().1.push(match event {
            Event::Closed(closed) => {
                let told = format!("Closed {} {}", closed.clean, closed.unsent);
                *self.closed.lock() = Some(closed);
                told
            }
            event => format!("{event:?}"),
        });
    }
}

impl Seen {
    /// Has the read callback leave so many bytes in the input.
    pub(crate) fn leave(&self, bytes: usize) {
        self.leaves.store(bytes, Relaxed);
    }

    pub(crate) fn take(&self, bufferevent: &mut Bufferevent) {
        let input = bufferevent.input();
        let n = input.len().saturating_sub(self.leaves.load(Relaxed));
        let data = input.take_bytes(n).unwrap();
        self.told.lock().0.extend_from_slice(&data);
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        self.told.lock().0.clone()
    }

    /// What was told of the end.
    pub(crate) fn closed(&self) -> Box<Closed> {
        self.closed.lock().take().expect("it has ended")
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.told.lock().1.clone()
    }
}

/// A bufferevent on a base that is turned by hand.
pub(crate) enum Who {
    Confined(Id),
    Shared(Handle),
}

pub(crate) struct Sim {
    pub(crate) base: ManualBase,
    pub(crate) who: Who,
}

impl Sim {
    pub(crate) fn start(shared: bool, builder: Builder, seen: &Seen) -> Self {
        let mut base = ManualBase::new().unwrap();
        let builder = builder.handler(seen.clone());
        let who = match shared {
            true => Who::Shared(builder.threadsafe().start(&mut base).unwrap()),
            false => Who::Confined(builder.start(&mut base).unwrap()),
        };
        Self { base, who }
    }

    pub(crate) fn with<R>(&mut self, f: impl FnOnce(&mut Bufferevent) -> R) -> Result<R> {
        match &self.who {
            Who::Shared(handle) => Ok(f(&mut handle.lock()?)),
            Who::Confined(id) => self.base.bufferevent(*id).map(f),
        }
    }

    pub(crate) fn is_gone(&mut self) -> bool {
        matches!(self.with(|_| ()), Err(Error::Closed))
    }

    /// Turns until nothing is left to do: fails if something makes itself run for ever.
    pub(crate) fn settle(&mut self) {
        self.base.settle().unwrap();
    }
}

/// Counts its drops, around another filter.
pub(crate) struct Dropped<F>(pub(crate) F, pub(crate) Arc<AtomicUsize>);

impl<F: Filter> Filter for Dropped<F> {
    fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.0.input(call)
    }

    fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
        self.0.output(call)
    }
}

impl<F> Drop for Dropped<F> {
    fn drop(&mut self) {
        self.1.fetch_add(1, Relaxed);
    }
}
