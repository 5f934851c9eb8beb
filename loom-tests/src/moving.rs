//! Bases and a strand that moves between them: the smallest shell around [`StrandWord`], [`Seat`] and [`Inbox`].

use bufferevent_runtime::__loom::{Finished, Inbox, Posted, Reasons, Seat, StrandWord};
use bufferevent_sync::{Queue, mutant};

use crate::{Exclusive, Tally, TryLock};

/// What a base is told of the one strand there is.
#[derive(Debug)]
pub enum Told {
    /// Its token.
    Run,
    /// It comes.
    Settle,
    /// It wants its timer.
    Arm,
    /// It has gone.
    Forget,
}

/// A base, as far as it knows the strand.
#[derive(Debug)]
pub struct Station {
    /// What it is told.
    pub inbox: Inbox<Told>,
    /// Tokens it has taken in.
    pub ready: Queue<()>,
}

/// Where the strand lives, and the deadline that it wants met.
#[derive(Debug)]
pub struct Berth {
    /// The number of the base.
    pub base: usize,
    /// Whether a deadline is still to be met.
    pub deadline: bool,
}

/// One strand and the two bases between which it moves; it lives on the first.
#[derive(Debug)]
pub struct Journey {
    /// The bases.
    pub bases: [Station; 2],
    /// The word.
    pub word: StrandWord,
    /// The seat under test.
    pub seat: Seat<Berth>,
    /// The lock.
    pub lock: TryLock,
    /// What the holder of the lock has to itself.
    pub body: Exclusive,
    /// The reasons that runs got.
    pub delivered: Tally,
    /// How often it was ended because its base was gone.
    pub ended: Tally,
    /// How often its deadline was met.
    pub met: Tally,
}

impl Default for Journey {
    fn default() -> Self {
        let station = || Station { inbox: Inbox::with_capacity(8), ready: Queue::new() };
        Self {
            bases: [station(), station()],
            word: StrandWord::new(),
            seat: Seat::new(0, Berth { base: 0, deadline: true }),
            lock: TryLock::new(),
            body: Exclusive::new(),
            delivered: Tally::new(),
            ended: Tally::new(),
            met: Tally::new(),
        }
    }
}

impl Journey {
    /// Posts from a thread that is no worker.
    pub fn post(&self, reasons: Reasons) {
        if self.word.post(reasons) == Posted::Enqueue {
            self.enqueue();
        }
    }

    /// As a worker does: by the hint, into a queue that is near; who pops it there finds out.
    pub fn enqueue_near(&self) {
        self.bases[self.seat.place() as usize].ready.push(());
    }

    /// Sends the token home; ends the strand if that is gone.
    pub fn enqueue(&self) {
        let home = self.seat.look(|berth| berth.base);
        if self.bases[home].inbox.push_unbounded(Told::Run).is_err() {
            self.orphan();
        }
    }

    /// Takes the lock as a guard does.
    #[must_use]
    pub fn try_hold(&self) -> bool {
        self.lock.try_lock()
    }

    /// Moves to the second base; the caller holds the lock.
    pub fn depart(&self, may: impl Fn() -> bool) -> bool {
        self.body.write();
        if mutant::is("moving_tells_last") {
            return self.change(may) && self.bases[1].inbox.push_unbounded(Told::Settle).is_ok();
        }
        if self.bases[1].inbox.push_unbounded(Told::Settle).is_err() {
            return false;
        }
        let moved = self.change(may);
        if !moved {
            let _ = self.bases[1].inbox.push_unbounded(Told::Forget);
        }
        moved
    }

    fn change(&self, may: impl Fn() -> bool) -> bool {
        let change = |berth: &mut Berth| {
            berth.base = 1;
            berth.deadline
        };
        let Some(arm) = self.seat.move_to(1, may, change) else { return false };
        if arm {
            let _ = self.bases[1].inbox.push_unbounded(Told::Arm);
        }
        let _ = self.bases[0].inbox.push_unbounded(Told::Forget);
        if !mutant::is("moving_replaces_nothing") && self.word.replace() {
            self.enqueue();
        }
        true
    }

    /// Drops a guard.
    pub fn release(&self) {
        self.body.write();
        self.lock.unlock();
        if self.word.release(Reasons::EMPTY) {
            self.enqueue();
        }
    }

    /// A base takes a message. What it knows of the strand is in `known`, whether it has a timer for it in `timer`.
    pub fn drain_one(&self, base: usize, known: &mut bool, timer: &mut bool) -> bool {
        let Some(told) = self.bases[base].inbox.pop() else { return false };
        match told {
            Told::Run => self.bases[base].ready.push(()),
            Told::Settle => {
                *known = true;
                if self.word.post(Reasons::MOVED) == Posted::Enqueue {
                    self.bases[base].ready.push(());
                }
            }
            Told::Arm if !*known => {}
            Told::Arm => *timer = self.seat.look(|berth| berth.base == base && berth.deadline),
            Told::Forget => (*known, *timer) = (false, false),
        }
        true
    }

    /// The timer of a base fires: the deadline is met if it is still that base's to meet.
    pub fn fire(&self, base: usize) {
        let ignores = mutant::is("moving_fires_anywhere");
        let due = self.seat.look(|berth| {
            let here = berth.base == base && std::mem::replace(&mut berth.deadline, false);
            berth.deadline &= !ignores;
            here || ignores
        });
        if due {
            self.met.add(1);
        }
    }

    /// A base pops a token and runs the strand, or sends it on.
    pub fn run_one(&self, base: usize) -> bool {
        let Some(()) = self.bases[base].ready.pop() else { return false };
        let Some(mut reasons) = self.word.begin() else { return true };
        if !self.lock.try_lock() {
            self.word.contend(reasons);
            if !self.lock.try_lock() {
                return true;
            }
            let reclaimed = self.word.reclaim();
            match reclaimed.then(|| self.word.begin()).flatten() {
                Some(ours) => reasons = ours,
                None if reclaimed && mutant::is("moving_forgets_who_contended") => {
                    self.lock.unlock();
                    return true;
                }
                None => {
                    self.release();
                    return true;
                }
            }
        }
        if self.seat.place() != base as u64 && !mutant::is("moving_runs_anywhere") {
            self.lock.unlock();
            if self.word.finish(reasons) == Finished::Requeue && !mutant::is("moving_drops_the_token") {
                self.enqueue();
            }
            return true;
        }
        self.body.write();
        assert_eq!(self.seat.look(|berth| berth.base), base, "a run on a base that it has left");
        self.delivered.set(reasons.bits());
        self.lock.unlock();
        if self.word.finish(Reasons::EMPTY) == Finished::Requeue {
            self.enqueue();
        }
        true
    }

    /// Drops a base that knows the strand, or does not.
    pub fn drop_base(&self, base: usize, mut known: bool) {
        self.bases[base].inbox.close();
        if std::mem::take(&mut known) {
            self.orphan_if_here();
        }
        while !self.bases[base].inbox.is_empty() {
            match self.bases[base].inbox.pop() {
                Some(Told::Run) => self.orphan(),
                Some(Told::Settle) => self.orphan_if_here(),
                Some(Told::Arm | Told::Forget) => {}
                None => loom::thread::yield_now(),
            }
        }
        while let Some(()) = self.bases[base].ready.pop() {
            self.orphan();
        }
    }

    fn orphan_if_here(&self) {
        if self.word.post(Reasons::USER) == Posted::Enqueue {
            self.orphan();
        }
    }

    /// Ends the strand if its base is gone; the caller has its token.
    pub fn orphan(&self) {
        let Some(reasons) = self.word.begin() else { return };
        if !self.lock.try_lock() {
            self.word.contend(reasons);
            if self.lock.try_lock() {
                self.lock.unlock();
                if self.word.release(Reasons::EMPTY) {
                    self.orphan();
                }
            }
            return;
        }
        let gone = |berth: &mut Berth| self.bases[berth.base].inbox.is_closed();
        if !self.seat.look(gone) && !mutant::is("moving_ends_what_has_left") {
            self.lock.unlock();
            if self.word.finish(reasons) == Finished::Requeue {
                self.enqueue();
            }
            return;
        }
        self.body.write();
        self.ended.add(1);
        self.word.kill();
        self.lock.unlock();
        let _ = self.word.finish(Reasons::EMPTY);
    }

    /// Lets both bases go on until there is nothing to do.
    pub fn settle_down(&self) {
        self.go_on(&[0, 1]);
    }

    /// Lets some of the bases go on, while the others rest.
    pub fn go_on(&self, bases: &[usize]) {
        let (mut known, mut timer) = (false, false);
        loop {
            let mut busy = false;
            for &base in bases {
                if !self.bases[base].inbox.is_closed() {
                    busy |= self.drain_one(base, &mut known, &mut timer) | self.run_one(base);
                }
            }
            if !busy {
                return;
            }
        }
    }

    /// Checks that nothing is left to do.
    ///
    /// # Panics
    /// If there is.
    pub fn assert_idle(&self) {
        let word = self.word.snapshot();
        assert!(!word.is_running() && !word.is_queued() && !word.is_contended(), "a run was lost: {word:?}");
        assert!(word.is_dead() || word.reasons().is_empty(), "a reason was lost: {word:?}");
        assert!(word.is_dead() || word.spare() == 0, "a token was lost: {word:?}");
    }
}
