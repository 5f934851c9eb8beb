//! A hierarchical timing wheel over ticks, without clock, lock or callback.
//!
//! Six levels of 64 slots. A timer sits on the level of the highest base-64 digit in which its deadline differs from
//! `now`, in the slot named by that digit of the deadline. Deadlines that differ above the sixth digit (2^36 ticks, two
//! years at 1 ms) wait in one list beyond the wheel. When `now` reaches the start of a slot, its timers are placed
//! again and so fall to a lower level, at most six times in a life; a slot of level 0 is one tick and expires whole.
//!
//! ```text
//! deadline, low 36 bits   | digit 5 | digit 4 | digit 3 | digit 2 | digit 1 | digit 0 |
//! level                        5         4         3         2         1         0
//! ticks in one slot          2^30      2^24      2^18      2^12      2^6        1
//! ```
//!
//! Arming, re-arming and cancelling are O(1): a timer is a slab entry linked into the list of its slot by indices.
//! Firing is collect, then act: [`Wheel::advance`] moves what is due to one list, [`Wheel::pop_expired`] hands it out
//! timer by timer, and between two pops everything is allowed.

use std::fmt;
use std::num::NonZeroU32;

use slab::Slab;

use crate::clock::Tick;

/// Names one arming of a timer. Stale once the timer has fired or was cancelled, also when its memory is in use again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    /// A stamp of its own for each insertion; it repeats after 2^32 - 1 of them.
    stamp: NonZeroU32,
}

/// Deadlines in ticks, each with a value that comes back when it is due.
///
/// Invariants, with `now` the tick of the last [`advance`](Wheel::advance):
/// * W1  A timer on level `l` shares every digit above `l` with `now`, and its digit `l` is greater than that of `now`.
///   So the lowest occupied slot of the lowest occupied level holds the earliest deadline, and nothing wraps.
/// * W2  A timer beyond the wheel differs from `now` above the sixth digit.
/// * W3  `DUE` and `EXPIRED` hold exactly the timers with a deadline at or before `now`.
/// * W4  Timers of equal deadline stand in one list, in the order of arming: a list is appended to at its tail, and
///   when a slot is placed again, head first, every level below it is empty.
/// * W5  A bit of `occupied` is set if and only if that list is not empty.
pub struct Wheel<T> {
    now: Tick,
    /// One word for each level, and one for the three lists that are not slots.
    occupied: [u64; LEVELS + 1],
    lists: [List; LISTS],
    timers: Slab<Timer<T>>,
    last_stamp: u32,
}

impl<T> Wheel<T> {
    /// Creates an empty wheel that stands at `now`.
    pub fn new(now: Tick) -> Wheel<T> {
        Wheel {
            now,
            occupied: [0; LEVELS + 1],
            lists: [List::EMPTY; LISTS],
            timers: Slab::new(),
            last_stamp: 0,
        }
    }

    /// Arms a timer.
    ///
    /// * `deadline`, ticks: one that has passed counts as due now, and comes with the *next* advance, even to the same
    ///   tick; so a callback that arms a timer for now is not fired again in the same round.
    ///
    /// # Panics
    /// If there are 2^32 - 1 timers.
    pub fn insert(&mut self, deadline: Tick, value: T) -> TimerKey {
        let stamp = self.next_stamp();
        let timer = Timer { deadline, prev: NIL, next: NIL, stamp, list: EXPIRED, value };
        let index = index_of(self.timers.insert(timer));
        self.place(index, deadline);
        TimerKey { index, stamp }
    }

    /// Moves a timer to another deadline, with the rules of [`insert`](Wheel::insert). It counts as armed last.
    ///
    /// Also takes back a timer that has expired but was not popped yet. False if the key is stale.
    pub fn rearm(&mut self, key: TimerKey, deadline: Tick) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        self.unlink(key.index);
        self.place(key.index, deadline);
        true
    }

    /// Removes a timer and returns its value, also if it has expired but was not popped yet. `None` if the key is
    /// stale.
    pub fn cancel(&mut self, key: TimerKey) -> Option<T> {
        self.get(key)?;
        self.unlink(key.index);
        Some(self.timers.remove(key.index as usize).value)
    }

    /// Moves the wheel to `now` and collects what is due for [`pop_expired`](Wheel::pop_expired).
    ///
    /// A `now` before the wheel's counts as the wheel's. Costs a few steps for each occupied slot on the way, nothing
    /// for empty ones, however far it is.
    pub fn advance(&mut self, now: Tick) {
        // 1. What was armed too late comes first: it was due at the tick the wheel stands at.
        self.place_all(DUE, EXPIRED);
        // 2. From occupied slot to occupied slot. Each is either one tick, which expires, or falls to lower levels.
        while let Some((list, start)) = self.first_slot().filter(|&(_, start)| start <= now) {
            self.now = start;
            self.fall(list);
        }
        // 3. The rest of the way is empty.
        self.now = self.now.max(now);
    }

    /// Takes out the next of the collected timers: by deadline, those of one tick in the order they were armed.
    ///
    /// A timer cancelled or moved since the advance is not among them; one armed since then waits for the next.
    pub fn pop_expired(&mut self) -> Option<(TimerKey, T)> {
        let index = self.lists[usize::from(EXPIRED)].head;
        if index == NIL {
            return None;
        }
        self.unlink(index);
        let timer = self.timers.remove(index as usize);
        Some((TimerKey { index, stamp: timer.stamp }, timer.value))
    }

    /// When the wheel must next be advanced, `None` if it is empty.
    ///
    /// Never later than the earliest deadline, so that sleeping until then oversleeps nothing. It is that deadline
    /// itself for a timer on level 0 (less than 64 ticks ahead, mostly) or alone in its slot; else the start of its
    /// slot, where the timers fall to a lower level: at most one idle wake for each level, five for a wait of a year.
    pub fn next_deadline(&self) -> Option<Tick> {
        if self.occupied[LEVELS] & (bit(DUE) | bit(EXPIRED)) != 0 {
            return Some(self.now);
        }
        let (list, start) = self.first_slot()?;
        let List { head, tail } = self.lists[usize::from(list)];
        Some(if head == tail { self.timers[head as usize].deadline } else { start })
    }

    /// The deadline of a timer, as entered or, if that had passed, the tick it was entered in. `None` if the key is
    /// stale.
    pub fn deadline(&self, key: TimerKey) -> Option<Tick> {
        self.get(key).map(|timer| timer.deadline)
    }

    /// How many timers are armed, those expired but not popped included.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is no timer.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }

    /// The tick of the last advance.
    pub fn now(&self) -> Tick {
        self.now
    }

    fn get(&self, key: TimerKey) -> Option<&Timer<T>> {
        self.timers.get(key.index as usize).filter(|timer| timer.stamp == key.stamp)
    }

    fn next_stamp(&mut self) -> NonZeroU32 {
        self.last_stamp = self.last_stamp.wrapping_add(1).max(1);
        NonZeroU32::new(self.last_stamp).unwrap_or(NonZeroU32::MIN)
    }

    /// The first occupied slot (W1) and the tick it starts at, the list beyond the wheel included.
    fn first_slot(&self) -> Option<(u16, Tick)> {
        for level in 0..LEVELS {
            let slots = self.occupied[level];
            if slots != 0 {
                let slot = slots.trailing_zeros();
                let shift = DIGIT_BITS * level as u32;
                let turn = self.now.0 >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
                return Some((
                    (level as u16) << DIGIT_BITS | slot as u16,
                    Tick(turn | u64::from(slot) << shift),
                ));
            }
        }
        let turn = (self.now.0 >> HORIZON_BITS) + 1;
        (self.occupied[LEVELS] & bit(BEYOND) != 0).then_some((BEYOND, Tick(turn << HORIZON_BITS)))
    }

    /// Links an unlinked timer into the list that its deadline asks for.
    fn place(&mut self, index: u32, deadline: Tick) {
        let (list, deadline) =
            if deadline > self.now { (list_of(self.now, deadline), deadline) } else { (DUE, self.now) };
        self.timers[index as usize].deadline = deadline;
        self.append(index, list);
    }

    /// Empties the slot that starts at `now`: what is due expires, the rest falls to lower levels (W4).
    fn fall(&mut self, list: u16) {
        let mut index = self.take(list);
        while index != NIL {
            let Timer { deadline, next, .. } = self.timers[index as usize];
            self.append(index, if deadline > self.now { list_of(self.now, deadline) } else { EXPIRED });
            index = next;
        }
    }

    /// Appends one whole list to another.
    fn place_all(&mut self, from: u16, to: u16) {
        let mut index = self.take(from);
        while index != NIL {
            let next = self.timers[index as usize].next;
            self.append(index, to);
            index = next;
        }
    }

    /// Detaches a whole list and returns its head; the links between its timers remain.
    fn take(&mut self, list: u16) -> u32 {
        self.occupied[level_of(list)] &= !bit(list);
        std::mem::replace(&mut self.lists[usize::from(list)], List::EMPTY).head
    }

    fn append(&mut self, index: u32, list: u16) {
        let tail = std::mem::replace(&mut self.lists[usize::from(list)].tail, index);
        if tail == NIL {
            self.lists[usize::from(list)].head = index;
            self.occupied[level_of(list)] |= bit(list);
        } else {
            self.timers[tail as usize].next = index;
        }
        let timer = &mut self.timers[index as usize];
        (timer.prev, timer.next, timer.list) = (tail, NIL, list);
    }

    fn unlink(&mut self, index: u32) {
        let Timer { prev, next, list, .. } = self.timers[index as usize];
        let ends = &mut self.lists[usize::from(list)];
        if prev == NIL {
            ends.head = next;
        } else {
            self.timers[prev as usize].next = next;
        }
        if next == NIL {
            ends.tail = prev;
        } else {
            self.timers[next as usize].prev = prev;
        }
        if prev == NIL && next == NIL {
            self.occupied[level_of(list)] &= !bit(list);
        }
    }
}

impl<T> fmt::Debug for Wheel<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("now", &self.now)
            .field("len", &self.len())
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

struct Timer<T> {
    deadline: Tick,
    prev: u32,
    next: u32,
    /// Never zero, which lets the slab tell a vacant entry without a word of its own.
    stamp: NonZeroU32,
    list: u16,
    value: T,
}

#[derive(Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

impl List {
    const EMPTY: List = List { head: NIL, tail: NIL };
}

/// The list of a deadline after `now`: level and slot in one number, or [`BEYOND`].
#[inline]
fn list_of(now: Tick, deadline: Tick) -> u16 {
    let highest_bit = (now.0 ^ deadline.0).ilog2();
    if highest_bit >= HORIZON_BITS {
        return BEYOND;
    }
    let level = highest_bit / DIGIT_BITS;
    let digit = deadline.0 >> (level * DIGIT_BITS) & (SLOTS as u64 - 1);
    (level << DIGIT_BITS) as u16 | digit as u16
}

fn level_of(list: u16) -> usize {
    usize::from(list >> DIGIT_BITS)
}

fn bit(list: u16) -> u64 {
    1 << (list & (SLOTS as u16 - 1))
}

fn index_of(slab_key: usize) -> u32 {
    match u32::try_from(slab_key) {
        Ok(index) if index != NIL => index,
        _ => panic!("a wheel holds fewer than 2^32 - 1 timers"),
    }
}

const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = 6;
const HORIZON_BITS: u32 = DIGIT_BITS * LEVELS as u32;

/// Deadlines past the horizon.
const BEYOND: u16 = (LEVELS * SLOTS) as u16;
/// Armed with a deadline that had passed, since the last advance.
const DUE: u16 = BEYOND + 1;
/// Collected by an advance, not popped yet.
const EXPIRED: u16 = BEYOND + 2;
const LISTS: usize = EXPIRED as usize + 1;

const NIL: u32 = u32::MAX;
