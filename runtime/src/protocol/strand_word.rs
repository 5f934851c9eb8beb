//! When a strand runs, and who may run it: protocols 1 (strand word), 4 (hand-off) and 7 (deferred).
//!
//! A strand that has something to do is represented by one *token*, which is pushed into one queue at a time; whoever
//! pops it becomes the runner. Reasons to run are bits of the same word as the two bits that say where the token is:
//!
//! ```text
//!            post: push a token                     begin: pop it
//!   IDLE 00 ---------------------> QUEUED 10 ---------------------> RUNNING 01
//!     ^                             ^     ^                          |   |  post
//!     |  finish: Idle               |     |  contend: park the token |   v
//!     +-----------------------------|-----|-------------------------(+) NOTIFIED 11
//!                                   |     +--------------------------+   |
//!                                   +------------------------------------+
//!                                      finish: Requeue, push it at the tail
//! ```
//!
//! **Hand-off.** A THREADSAFE strand has a lock, which a user's guard may hold when the runner comes. The runner never
//! waits: it parks its token with the holder, and the holder pushes it after unlocking.
//!
//! ```text
//!   runner                                         unlocker (guard, try_lock path, ...)
//!   begin, try_lock fails
//!   contend(reasons)    C: RMW, sets CONTENDED
//!   try_lock again      T                          unlock                U
//!     fails:   the token is the holder's           release(reasons)      R: RMW, clears CONTENDED
//!     success: reclaim  RMW, clears CONTENDED        true: push a token
//! ```
//!
//! The race is between T and U. If T fails, some holder H had not unlocked. H's R comes after C in the word's order:
//! were R first, C would read from it and U would happen before T, which then could not have seen H's lock. So R finds
//! CONTENDED, unless the release of an earlier holder cleared it and has the token, which is as good. If T succeeds,
//! either reclaim or the R of an earlier holder clears CONTENDED, one of them: one token. A runner whose reclaim failed
//! is an unlocker like any other: somebody may have contended with *it*.
//!
//! A runner unlocks **before** it calls `finish`: while RUNNING is set nobody else has a token to contend with.
//!
//! **Replaced.** A token may lie where nobody looks for long: in the queue of a base that rests, is not turned, or is inside
//! of a callback, while its strand has moved to another base. So who moves a strand makes a second token, for the new
//! base, and counts it in REPLACED. From then on it is open which of the two is the spare one: whoever pops one while the
//! strand is queued runs it, and whoever pops one while it is not has the spare one in hand, and spends it.
//!
//! **Deferred.** What a runner leaves for later is a reason it passes to `finish`. The same RMW that ends the run sets
//! it, so there is no moment at which it is neither the runner's nor in the word; every later step carries it until a
//! `begin` or a `take` hands it out.

use std::fmt;

use bufferevent_sync::atomic::Ordering::{AcqRel, Relaxed};
use bufferevent_sync::{Word, mutant};

use super::Reasons;

/// What the caller of [`StrandWord::post`] owes.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    /// Push one token into a queue.
    Enqueue,
    /// Nothing: a token is on its way, or the runner will see the reasons.
    Coalesced,
    /// Nothing: the strand is dead and the reasons are lost.
    Dead,
}

/// What the runner owes after [`StrandWord::finish`].
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing.
    Idle,
    /// Push one token at the tail of a queue.
    Requeue,
    /// Nothing; no token exists, and none will.
    Dead,
}

/// The state of one strand.
///
/// | bits 31..8 | bits 7..4 | bit 3     | bit 2 | bit 1  | bit 0   |
/// |------------|-----------|-----------|-------|--------|---------|
/// | reasons    | REPLACED  | CONTENDED | DEAD  | QUEUED | RUNNING |
///
/// * S1 One token while QUEUED is set without RUNNING, made by whoever turns RUNNING and QUEUED from 00 to QUEUED, or
///   clears RUNNING and leaves QUEUED; and as many spare ones as REPLACED counts, at most 15.
/// * S2 At most one runner: only who has popped a token sets RUNNING, and where QUEUED is set alone.
/// * S3 No reason is lost: a reason is in the word until `begin` or `take` gives it to the runner, and a word with reasons
///   has QUEUED.
/// * S4 CONTENDED means that the token, but for spare ones, is in no queue: it belongs to whoever clears the bit. Then
///   QUEUED is set and RUNNING is not.
/// * S5 DEAD is never cleared. After it no token is made; one that exists is dropped by `begin` or `release`.
/// * S6 A living runner has QUEUED exactly if there are reasons, so no run is in vain.
///
/// Written by posters, runner and unlockers, by RMWs only. S2 makes everything the runner touches exclusive: `finish`
/// releases it, `begin` acquires it, and every RMW between carries it on.
pub struct StrandWord {
    word: Word,
}

const RUNNING: u32 = 1;
const QUEUED: u32 = 1 << 1;
const DEAD: u32 = 1 << 2;
const CONTENDED: u32 = 1 << 3;
const REPLACED: u32 = SPARE_TOKENS << 4;
const ONE_REPLACED: u32 = 1 << 4;

/// Tokens of one strand that may lie with bases that it has left.
pub const SPARE_TOKENS: u32 = 15;

impl StrandWord {
    /// An idle strand.
    #[must_use]
    pub fn new() -> Self {
        Self { word: Word::new(0) }
    }

    /// Gives the strand reasons to run. What was written before the call is visible to the run that gets them.
    pub fn post(&self, reasons: Reasons) -> Posted {
        debug_assert!(!reasons.is_empty(), "S3: QUEUED comes with reasons");
        // ORDER: AcqRel. Release pairs with `begin` and `take`: the run sees what was posted.
        // loom: strand::coalesced_post_is_seen_by_the_run. Acquire pairs with `kill`: who learns of the death sees what
        // led to it. loom: strand::death_in_a_run_is_final
        let old = self.word.set("strand_post", reasons.bits() | QUEUED, AcqRel);
        if old & DEAD != 0 {
            Posted::Dead
        } else if old & (RUNNING | QUEUED) == 0 {
            Posted::Enqueue
        } else {
            Posted::Coalesced
        }
    }

    /// Starts a run: for whoever popped a token. Takes all reasons; `None` if the strand died, or if the token is a spare
    /// one: drop it.
    #[must_use]
    pub fn begin(&self) -> Option<Reasons> {
        let step = |word: u32| {
            if word & DEAD != 0 && !mutant::is("strand_begin_forgets_dead") {
                word & !QUEUED
            } else if is_queued(word) || mutant::is("strand_begin_knows_no_spare") {
                (word & REPLACED) | RUNNING
            } else {
                word.wrapping_sub(ONE_REPLACED)
            }
        };
        // ORDER: Acquire pairs with `post`, `release` and, through the token, `finish`: the run sees what was posted, and
        // the run before it. loom: strand::coalesced_post_is_seen_by_the_run
        let old = self.word.update("strand_begin", AcqRel, step);
        let runs = is_queued(old) || mutant::is("strand_begin_knows_no_spare");
        debug_assert!(
            is_queued(old) || old & (REPLACED | DEAD) != 0,
            "S1, S2, S4: one token too many at {:?}",
            Snapshot(old)
        );
        (old & DEAD == 0 && runs).then_some(Reasons::of_word(old))
    }

    /// For who has just moved the strand, with its lock in hand. `true`: a token may lie where nobody looks; push another
    /// one for the new base. `false`: the next one that is pushed goes there, or 15 spare ones lie about, and the strand
    /// waits until one of all those is popped.
    #[must_use]
    pub fn replace(&self) -> bool {
        let may = |word: u32| word & DEAD == 0 && is_queued(word) && word & REPLACED != REPLACED;
        let step = |word: u32| if may(word) { word + ONE_REPLACED } else { word };
        // ORDER: RMW: a post that came before it made the token that is replaced; one that comes after it, and makes one,
        // finds the new home. loom: moving::token_of_a_base_that_rests_is_replaced
        let old = self.word.update("strand_replace", AcqRel, step);
        may(old)
    }

    /// Takes those of `which` that have arrived since the run began. For the runner, before each callback: a post that it does
    /// not find has come, as far as anybody can tell, when the callback was running.
    #[inline]
    #[must_use]
    pub fn take(&self, which: Reasons) -> Reasons {
        // ORDER: Relaxed: nothing follows from finding nothing; a post that happened before is found, whatever the order.
        // loom: strand::taken_mail_is_visible_and_complete
        let came = self.word.load(Relaxed) & which.bits() != 0 && !mutant::is("strand_take_sees_nothing");
        if came { self.take_posted(which) } else { Reasons::EMPTY }
    }

    #[cold]
    fn take_posted(&self, which: Reasons) -> Reasons {
        let step = |word: u32| {
            let which = if mutant::is("strand_take_takes_all") { Reasons::MASK } else { which.bits() };
            let left = word & !which;
            match Reasons::of_word(left).is_empty() || mutant::is("strand_take_unqueues") {
                true => left & !QUEUED,
                false => left,
            }
        };
        // ORDER: Acquire pairs with `post`: mail is visible to who takes MAIL. RMW: what others post meanwhile stays.
        // loom: strand::taken_mail_is_visible_and_complete
        let old = self.word.update("strand_take", AcqRel, step);
        debug_assert!(old & RUNNING != 0, "take is the runner's: {:?}", Snapshot(old));
        Reasons::of_word(old).intersection(which)
    }

    /// Ends the run. `left` is what the runner posts to itself: an exhausted budget, deferred callbacks.
    pub fn finish(&self, left: Reasons) -> Finished {
        let step = |word: u32| match (word & DEAD != 0, left.is_empty()) {
            (true, _) if mutant::is("strand_finish_forgets_dead") => 0,
            (true, _) => DEAD,
            (false, true) => word & !RUNNING,
            (false, false) if word & QUEUED != 0 && mutant::is("strand_finish_drops_left") => word & !RUNNING,
            (false, false) => (word & !RUNNING) | QUEUED | left.bits(),
        };
        // ORDER: Release pairs with the next `begin`: its run sees this one. loom: strand::runs_never_overlap. RMW: a
        // post that came before it makes the token, one that comes after it finds an idle word.
        // loom: strand::no_reason_is_lost
        let old = self.word.update("strand_finish", AcqRel, step);
        debug_assert!(old & RUNNING != 0 && old & CONTENDED == 0, "S2, S4: finish of {:?}", Snapshot(old));
        debug_assert!(
            old & DEAD != 0 || (old & QUEUED == 0) == Reasons::of_word(old).is_empty(),
            "S6: finish of {:?}",
            Snapshot(old)
        );
        if old & DEAD != 0 {
            Finished::Dead
        } else if old & QUEUED != 0 || !left.is_empty() {
            Finished::Requeue
        } else {
            Finished::Idle
        }
    }

    /// Ends the strand's life. For the runner, or for whoever has the strand to itself (its lock, or `&mut`). From now on
    /// `post` says [`Posted::Dead`]; a token that is queued is dropped by `begin`, a parked one by `release`.
    pub fn kill(&self) {
        // ORDER: Release pairs with `begin` and `post`: who learns of the death sees what led to it.
        // loom: strand::death_in_the_queue_is_final
        let _ = self.word.set("strand_kill", DEAD, AcqRel);
    }

    /// Parks the token with whoever holds the strand's lock, and gives back the reasons `left`. For the runner, after its
    /// `try_lock` failed; it must try once more, and call [`reclaim`](Self::reclaim) if that succeeds.
    pub fn contend(&self, left: Reasons) {
        let left = if mutant::is("strand_contend_drops_reasons") { 0 } else { left.bits() };
        let step = |word: u32| (word & !RUNNING) | QUEUED | CONTENDED | left;
        // ORDER: Acquire pairs with `release`: if that came first, its unlock happens before our second try_lock.
        // loom: handoff::no_run_is_lost
        let old = self.word.update("strand_contend", AcqRel, step);
        debug_assert!(old & RUNNING != 0 && old & CONTENDED == 0, "S2, S4: contend of {:?}", Snapshot(old));
    }

    /// Takes the parked token back, after the second `try_lock` succeeded. `true`: it is ours, `begin`. `false`: an
    /// unlocker has enqueued it; unlock, then [`release`](Self::release).
    #[must_use]
    pub fn reclaim(&self) -> bool {
        // ORDER: RMW, against `release`: one of the two finds CONTENDED. loom: handoff::token_is_never_spent_twice
        let old = self.word.clear("strand_reclaim", CONTENDED, AcqRel);
        debug_assert!(old & CONTENDED == 0 || old & (RUNNING | QUEUED) == QUEUED, "S4: {:?}", Snapshot(old));
        old & CONTENDED != 0
    }

    /// Posts `reasons` (which may be empty) and takes over a token that a runner parked. For every unlocker of the
    /// strand's lock, *after* unlocking. `true`: push one token into a queue.
    ///
    /// The one exception is the runner at the end of a run, which unlocks and calls [`finish`](Self::finish).
    #[must_use]
    pub fn release(&self, reasons: Reasons) -> bool {
        let step = |word: u32| match (word & !CONTENDED, reasons.is_empty()) {
            (open, true) => open,
            (open, false) => open | QUEUED | reasons.bits(),
        };
        // ORDER: Release pairs with `contend`, see there, and with `begin` for the reasons; a write even if nothing
        // changes, for the same reason. loom: handoff::no_run_is_lost, handoff::posted_data_survives_the_hand_over
        let old = self.word.update("strand_release", AcqRel, step);
        debug_assert!(old & CONTENDED == 0 || old & (RUNNING | QUEUED) == QUEUED, "S4: {:?}", Snapshot(old));
        let made = !reasons.is_empty() && old & (RUNNING | QUEUED) == 0;
        old & DEAD == 0 && (made || old & CONTENDED != 0)
    }

    /// Whether [`kill`](Self::kill) was called. Certain for who has the strand to itself, since the killer had, too; for
    /// all others a moment's impression.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.snapshot().is_dead()
    }

    /// The word as it was a moment ago, for dumps and watchdogs.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        // ORDER: Relaxed: nothing follows from it. Under the strand's lock the lock itself orders it after `kill`.
        Snapshot(self.word.load(Relaxed))
    }
}

/// Whether the token, and not a spare one only, is in a queue.
const fn is_queued(word: u32) -> bool {
    word & (RUNNING | QUEUED | CONTENDED) == QUEUED
}

impl Default for StrandWord {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StrandWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

/// A strand word at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Snapshot(u32);

impl Snapshot {
    /// Whether a runner was inside.
    #[must_use]
    pub const fn is_running(self) -> bool {
        self.0 & RUNNING != 0
    }

    /// Whether a run was due: a token was queued or parked, or the runner had been posted to.
    #[must_use]
    pub const fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    /// Whether the strand had been killed.
    #[must_use]
    pub const fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    /// Whether the token was parked with the holder of the lock.
    #[must_use]
    pub const fn is_contended(self) -> bool {
        self.0 & CONTENDED != 0
    }

    /// How many spare tokens lay about.
    #[must_use]
    pub const fn spare(self) -> u32 {
        (self.0 & REPLACED) / ONE_REPLACED
    }

    /// The reasons that no run had taken yet.
    #[must_use]
    pub const fn reasons(self) -> Reasons {
        Reasons::of_word(self.0)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [(RUNNING, "RUNNING "), (QUEUED, "QUEUED "), (DEAD, "DEAD "), (CONTENDED, "CONTENDED ")];
        for (flag, name) in flags {
            if self.0 & flag != 0 {
                f.write_str(name)?;
            }
        }
        if self.spare() > 0 {
            write!(f, "+{} ", self.spare())?;
        }
        self.reasons().fmt(f)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const READABLE: Reasons = Reasons::READABLE;
    const MAIL: Reasons = Reasons::MAIL;

    fn running() -> StrandWord {
        let strand = StrandWord::new();
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        assert_eq!(strand.begin(), Some(READABLE));
        strand
    }

    #[test]
    fn posts_coalesce_into_one_token() {
        let strand = StrandWord::new();
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        assert_eq!(strand.post(READABLE), Posted::Coalesced);
        assert_eq!(strand.post(MAIL), Posted::Coalesced);
        assert_eq!(strand.begin(), Some(READABLE | MAIL));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
    }

    #[test]
    fn post_during_a_run_requeues() {
        let strand = running();
        assert_eq!(strand.post(MAIL), Posted::Coalesced);
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Requeue);
        assert_eq!(strand.post(READABLE), Posted::Coalesced);
        assert_eq!(strand.begin(), Some(READABLE | MAIL));
    }

    #[test]
    fn taking_the_last_reason_saves_the_next_run() {
        let strand = running();
        assert_eq!(strand.take(MAIL), Reasons::EMPTY);
        assert_eq!(strand.post(MAIL), Posted::Coalesced);
        assert_eq!(strand.take(MAIL), MAIL);
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
    }

    #[test]
    fn taking_one_reason_leaves_the_others() {
        let strand = running();
        assert_eq!(strand.post(MAIL | Reasons::TIMER), Posted::Coalesced);
        assert_eq!(strand.take(MAIL), MAIL);
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Requeue);
        assert_eq!(strand.begin(), Some(Reasons::TIMER));
    }

    #[test]
    fn deferred_reason_comes_in_the_next_run() {
        let strand = running();
        assert_eq!(strand.finish(Reasons::DEFERRED), Finished::Requeue);
        assert_eq!(strand.begin(), Some(Reasons::DEFERRED));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
    }

    #[test]
    fn death_while_running_ends_with_finish() {
        let strand = running();
        strand.kill();
        assert_eq!(strand.post(MAIL), Posted::Dead);
        assert_eq!(strand.finish(Reasons::DEFERRED), Finished::Dead);
        assert_eq!(strand.post(MAIL), Posted::Dead);
        assert!(!strand.release(MAIL));
        assert!(strand.is_dead());
    }

    #[test]
    fn death_while_queued_drops_the_token() {
        let strand = StrandWord::new();
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        strand.kill();
        assert_eq!(strand.begin(), None);
        assert_eq!(strand.post(READABLE), Posted::Dead);
    }

    #[test]
    fn unlocker_takes_the_parked_token() {
        let strand = running();
        strand.contend(READABLE);
        assert!(strand.snapshot().is_contended() && !strand.snapshot().is_running());
        assert_eq!(strand.post(MAIL), Posted::Coalesced);
        assert!(strand.release(Reasons::GUARD));
        assert!(!strand.reclaim(), "the token is gone");
        assert_eq!(strand.begin(), Some(READABLE | MAIL | Reasons::GUARD));
    }

    #[test]
    fn runner_reclaims_the_parked_token() {
        let strand = running();
        strand.contend(READABLE);
        assert!(strand.reclaim());
        assert_eq!(strand.begin(), Some(READABLE));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
        assert!(!strand.release(Reasons::EMPTY));
    }

    #[test]
    fn release_posts_like_post() {
        let strand = StrandWord::new();
        assert!(!strand.release(Reasons::EMPTY));
        assert!(strand.release(Reasons::GUARD));
        assert!(!strand.release(Reasons::GUARD));
        assert_eq!(strand.begin(), Some(Reasons::GUARD));
        assert!(!strand.release(Reasons::GUARD));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Requeue);
    }

    #[test]
    fn parked_token_of_a_dead_strand_is_dropped() {
        let strand = running();
        strand.contend(READABLE);
        strand.kill();
        assert!(!strand.release(Reasons::EMPTY));
        assert!(!strand.reclaim());
    }

    #[test]
    fn whoever_comes_second_has_the_spare_token() {
        let strand = StrandWord::new();
        assert!(!strand.replace(), "there is none to replace");
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        assert!(strand.replace());
        assert_eq!(strand.begin(), Some(READABLE));
        assert!(!strand.replace(), "the runner has it");
        assert_eq!((strand.post(MAIL), strand.begin()), (Posted::Coalesced, None));
        assert_eq!(strand.snapshot().spare(), 0);
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Requeue);
        assert!(strand.replace());
        assert_eq!(strand.begin(), Some(MAIL));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
        assert_eq!((strand.begin(), strand.snapshot().spare()), (None, 0));
    }

    #[test]
    fn a_parked_token_is_not_replaced_and_a_spare_one_is_no_parked_one() {
        let strand = StrandWord::new();
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        assert!(strand.replace());
        assert_eq!(strand.begin(), Some(READABLE));
        strand.contend(READABLE);
        assert!(!strand.replace());
        assert_eq!((strand.begin(), strand.snapshot().spare()), (None, 0));
        assert!(strand.release(Reasons::EMPTY));
        assert_eq!(strand.begin(), Some(READABLE));
    }

    #[test]
    fn spare_tokens_are_bounded() {
        let strand = StrandWord::new();
        assert_eq!(strand.post(READABLE), Posted::Enqueue);
        assert_eq!((0..20).filter(|_| strand.replace()).count(), 15);
        assert_eq!(strand.begin(), Some(READABLE));
        assert_eq!(strand.finish(Reasons::EMPTY), Finished::Idle);
        assert_eq!((0..15).filter_map(|_| strand.begin()).count(), 0);
        assert_eq!(strand.snapshot().spare(), 0);
    }

    #[test]
    fn debug_prints_flags_and_reasons() {
        let strand = running();
        assert_eq!(strand.post(MAIL), Posted::Coalesced);
        assert_eq!(format!("{strand:?}"), "RUNNING QUEUED MAIL");
    }
}
