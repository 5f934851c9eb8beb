//! crossbeam-deque's FIFO flavour, bounded: see [`Queue`] for what it promises. A lost race is `Steal::Retry`, as there.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

pub use crossbeam_deque::Steal;

use super::slots::{Queue, Taken};

/// How many values a deque holds at once.
const CAPACITY: usize = 4;

/// `crossbeam_deque::Worker`: the owner's end.
#[derive(Debug)]
pub struct Worker<T> {
    queue: Arc<Queue<T>>,
    not_sync: PhantomData<Cell<()>>,
}

impl<T> Worker<T> {
    /// An empty FIFO deque.
    #[must_use]
    pub fn new_fifo() -> Self {
        Self { queue: Arc::default(), not_sync: PhantomData }
    }

    /// A thief's end.
    #[must_use]
    pub fn stealer(&self) -> Stealer<T> {
        Stealer { queue: Arc::clone(&self.queue) }
    }

    /// Appends `value`.
    ///
    /// # Panics
    /// If the model's capacity of four is exceeded.
    pub fn push(&self, value: T) {
        assert!(self.queue.held() < CAPACITY, "a model deque holds {CAPACITY} values");
        self.queue.push(value);
    }

    /// Takes the oldest value.
    #[must_use]
    pub fn pop(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many values are queued.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

/// `crossbeam_deque::Stealer`: a thief's end.
#[derive(Debug)]
pub struct Stealer<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Stealer<T> {
    /// Takes the oldest value.
    pub fn steal(&self) -> Steal<T> {
        steal(&self.queue)
    }

    /// Whether nothing is to be seen from here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many values are to be seen from here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Clone for Stealer<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue) }
    }
}

/// `crossbeam_deque::Injector`: a FIFO anybody pushes into.
#[derive(Debug)]
pub struct Injector<T> {
    queue: Queue<T>,
}

impl<T> Injector<T> {
    /// An empty injector.
    #[must_use]
    pub fn new() -> Self {
        Self { queue: Queue::new() }
    }

    /// Appends `value`.
    ///
    /// # Panics
    /// At the ninth push of a model.
    pub fn push(&self, value: T) {
        self.queue.push(value);
    }

    /// Takes the oldest value.
    pub fn steal(&self) -> Steal<T> {
        steal(&self.queue)
    }

    /// Whether nothing is to be seen from here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many values are to be seen from here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queue.len()
    }
}

impl<T> Default for Injector<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn steal<T>(queue: &Queue<T>) -> Steal<T> {
    match queue.attempt() {
        Taken::Empty => Steal::Empty,
        Taken::Lost => Steal::Retry,
        Taken::Value(value) => Steal::Success(value),
    }
}
