//! Messages from other threads to a base or a strand: protocol 5, the inbox.
//!
//! The queue carries the messages, the word beside it counts them and closes. A pusher reserves its place in the word
//! and then pushes, so the count is never too low: `is_empty` is a promise, "not empty" may mean that a push is under
//! way. The count makes the bound exact and lets `close` name a last message.
//!
//! With a [`ParkWord`](super::ParkWord): push, then `notify`; the sleeper's recheck is `!is_empty()`.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Relaxed, Release};
use bufferevent_sync::{Queue, Word, mutant};

/// A bounded queue with many pushers and one popper.
///
/// | bit 31 | bits 30..0                              |
/// |--------|-----------------------------------------|
/// | CLOSED | messages: pushed or reserved, not popped |
///
/// * I1 Messages of one pusher come out in the order in which it pushed them.
/// * I2 `push` admits no message beyond the capacity; what `push_unbounded` admits counts, too.
/// * I3 What was admitted before `close` comes out; nothing is admitted after it. So once it is closed and `is_empty`,
///   the inbox is done with.
pub struct Inbox<T> {
    queue: Queue<T>,
    word: Word,
    capacity: u32,
}

const CLOSED: u32 = 1 << 31;
const COUNT: u32 = CLOSED - 1;

impl<T> Inbox<T> {
    /// An empty inbox for up to `capacity` messages (more than 2^30 are taken for 2^30).
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let capacity = u32::try_from(capacity).unwrap_or(u32::MAX).min(1 << 30);
        Self { queue: Queue::new(), word: Word::new(0), capacity }
    }

    /// Appends `message`.
    ///
    /// # Errors
    /// Gives it back if the inbox is full or closed; [`is_closed`](Self::is_closed) tells which.
    pub fn push(&self, message: T) -> Result<(), T> {
        self.push_below(self.capacity, message)
    }

    /// Appends `message` whatever the capacity: for messages of which every object has one at most, such as its end.
    ///
    /// # Errors
    /// Gives it back if the inbox is closed.
    pub fn push_unbounded(&self, message: T) -> Result<(), T> {
        self.push_below(COUNT, message)
    }

    /// Takes the oldest message. For the one popper. `None` although [`is_empty`](Self::is_empty) said no: a push is under
    /// way, and its pusher will notify.
    pub fn pop(&self) -> Option<T> {
        let message = self.queue.pop()?;
        // ORDER: Release pairs with `is_empty`: who finds the message gone sees its popper awake (protocol 12).
        // loom: drain::message_in_hand_is_not_missed. Not Acquire: the queue's edge carries the message. An RMW, as pushers
        // count at the same time. loom: inbox::messages_keep_their_order
        let old = self.word.sub("inbox_pop", 1, Release);
        debug_assert!(old & COUNT != 0, "I2: popped more than was counted");
        Some(message)
    }

    /// How many messages seemed to wait, for dumps and load numbers.
    #[must_use]
    pub fn len(&self) -> usize {
        // ORDER: Relaxed: a hint.
        (self.word.load(Relaxed) & COUNT) as usize
    }

    /// Whether no message waits and no push is under way: the re-check before parking, and the end of a drain after
    /// [`close`](Self::close).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        if mutant::is("inbox_is_empty_asks_the_queue") {
            return self.queue.is_empty();
        }
        // ORDER: RMW: it comes before or after each push, and reads the latest count. loom: inbox::messages_keep_their_order.
        // Acquire pairs with `pop`. loom: drain::message_in_hand_is_not_missed
        self.word.add("inbox_is_empty", 0, AcqRel) & COUNT == 0
    }

    /// Refuses later pushes. Messages that were admitted still come out.
    pub fn close(&self) {
        // ORDER: Release pairs with a refused push, whose caller sees what the closer did before.
        // loom: inbox::refused_pusher_sees_the_closing
        let _ = self.word.set("inbox_close", CLOSED, AcqRel);
    }

    /// Whether [`close`](Self::close) was called; once it says so, no push succeeds.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // ORDER: Relaxed: the bit is never cleared, and no data hangs on it.
        self.word.load(Relaxed) & CLOSED != 0
    }

    fn push_below(&self, limit: u32, message: T) -> Result<(), T> {
        let admits = |word: u32| {
            word & COUNT < limit && (word & CLOSED == 0 || mutant::is("inbox_push_ignores_close"))
        };
        let step = |word: u32| if admits(word) { word + 1 } else { word };
        if mutant::is("inbox_pushes_before_it_counts") && admits(self.word.load(Relaxed)) {
            self.queue.push(message);
            let _ = self.word.update("inbox_push", AcqRel, step);
            return Ok(());
        }
        // ORDER: RMW: capacity and closing hold exactly. loom: inbox::capacity_is_never_exceeded. Acquire pairs with
        // `close`. loom: inbox::refused_pusher_sees_the_closing
        let old = self.word.update("inbox_push", AcqRel, step);
        if !admits(old) {
            return Err(message);
        }
        self.queue.push(message);
        Ok(())
    }
}

impl<T> fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .field("closed", &self.is_closed())
            .finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn full_inbox_gives_the_message_back() {
        let inbox = Inbox::with_capacity(2);
        assert_eq!(inbox.push(1), Ok(()));
        assert_eq!(inbox.push(2), Ok(()));
        assert_eq!(inbox.push(3), Err(3));
        assert_eq!(inbox.push_unbounded(4), Ok(()));
        assert_eq!(inbox.len(), 3);
        assert_eq!([inbox.pop(), inbox.pop(), inbox.pop(), inbox.pop()], [Some(1), Some(2), Some(4), None]);
        assert!(inbox.is_empty());
        assert_eq!(inbox.push(5), Ok(()));
    }

    #[test]
    fn closed_inbox_keeps_what_it_has() {
        let inbox = Inbox::with_capacity(2);
        assert_eq!(inbox.push(1), Ok(()));
        inbox.close();
        assert!(inbox.is_closed());
        assert_eq!((inbox.push(2), inbox.push_unbounded(3)), (Err(2), Err(3)));
        assert!(!inbox.is_empty());
        assert_eq!((inbox.pop(), inbox.pop()), (Some(1), None));
        assert!(inbox.is_empty());
    }
}
