//! A FIFO that gives what crossbeam documents and no other edge between its users: a push happens before the pop that
//! returns its value. Not a mutex around a `VecDeque`, whose lock would order everything with everything and hide the
//! bugs under test.

use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering};

use crate::mutant;

/// Pushes into one queue during one model; slots are not used twice.
const SLOTS: usize = 8;

const EMPTY: usize = 0;
const TAKEN: usize = usize::MAX;

/// `crossbeam::queue::SegQueue`.
///
/// * L1 The order of the values is the order of the slots: a slot is filled by CAS after all before it were seen filled.
/// * L2 A slot goes EMPTY -> number of a cell -> TAKEN, once; whoever makes the second step has the value.
/// * L3 The cells are invisible to loom: they add no edge, and what they hold decides nothing that a slot did not.
pub struct Queue<T> {
    slots: [AtomicUsize; SLOTS],
    cells: Mutex<Vec<Option<T>>>,
}

/// What an attempt to take the oldest value found.
pub(super) enum Taken<T> {
    Empty,
    Lost,
    Value(T),
}

impl<T> Queue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> Self {
        Self { slots: std::array::from_fn(|_| AtomicUsize::new(EMPTY)), cells: Mutex::new(Vec::new()) }
    }

    /// Appends `value`.
    ///
    /// # Panics
    /// At the ninth push of a model.
    pub fn push(&self, value: T) {
        let cell = {
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            cells.push(Some(value));
            cells.len()
        };
        // ORDER: Release, pairs with the CAS in `attempt`. loom: sync_queue::push_happens_before_its_pop
        let order = mutant::ordering("queue_push_relaxed", Ordering::Release);
        for slot in &self.slots {
            if slot.compare_exchange(EMPTY, cell, order, Ordering::Relaxed).is_ok() {
                return;
            }
        }
        panic!("a model queue takes {SLOTS} pushes");
    }

    /// Takes the oldest value.
    pub fn pop(&self) -> Option<T> {
        loop {
            match self.attempt() {
                Taken::Empty => return None,
                Taken::Lost => {}
                Taken::Value(value) => return Some(value),
            }
        }
    }

    /// Whether nothing is to be seen from here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values are to be seen from here.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Relaxed, as crossbeam promises nothing about when another thread's push is seen.
        let waiting = |slot: &&AtomicUsize| !matches!(slot.load(Ordering::Relaxed), EMPTY | TAKEN);
        self.slots.iter().filter(waiting).count()
    }

    /// How many values there are in truth, for a bound; not an operation of the model.
    pub(super) fn held(&self) -> usize {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.iter().filter(|cell| cell.is_some()).count()
    }

    pub(super) fn attempt(&self) -> Taken<T> {
        for slot in &self.slots {
            // ORDER: Relaxed: the CAS below takes the value and its edge.
            let cell = match slot.load(Ordering::Relaxed) {
                EMPTY => return Taken::Empty,
                TAKEN => continue,
                cell => cell,
            };
            // ORDER: Acquire, pairs with the CAS in `push`. loom: sync_queue::push_happens_before_its_pop
            let order = mutant::ordering("queue_pop_relaxed", Ordering::Acquire);
            if slot.compare_exchange(cell, TAKEN, order, Ordering::Relaxed).is_err() {
                return Taken::Lost;
            }
            let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
            return Taken::Value(cells[cell - 1].take().expect("L2: one taker"));
        }
        Taken::Empty
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> std::fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}
