//! Watchers: what runs just before and just after each poll of the selector.

use std::time::Duration;

use super::Base;
use crate::{
    affinity::{Affinity, IntoSource},
    event::EventId,
    lane,
    protocol::Reasons,
    slots::Key,
    source::{After, Source},
    task::isolate,
};

/// The watchers of a base, in the order they came.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    prepare: Vec<Key>,
    check: Vec<Key>,
    /// How long the poll that is being prepared waits.
    wait: Option<Duration>,
}

/// A watcher that runs before each poll, as its base owns it.
pub struct Prepare<F>(F);

/// A watcher that runs after each poll, as its base owns it.
pub struct Check<F>(F);

impl<A: Affinity> Base<A> {
    /// Runs `f` before each poll of the selector, with how long that will wait at most; `None`: until something happens.
    /// What `f` queues, or sets a timer for, is heeded: the poll waits no longer than that allows.
    ///
    /// For measuring, and for batching what is done once between two polls. It keeps no loop running, and
    /// [`Base::cancel`] ends it. One that panics is the last.
    /// # Libevent
    /// `evwatch_prepare_new`.
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bufferevent_runtime::{Base, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// base.on_prepare(|wait, _| println!("waits for {wait:?}"));
    /// base.on_check(|_| println!("has waited"));
    /// base.after(Duration::from_millis(1), |_| {});
    /// base.run()?;
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[doc(alias = "evwatch_prepare_new")]
    #[doc(alias = "evwatch_prepare_get_timeout")]
    pub fn on_prepare<F>(&mut self, f: F) -> EventId
    where
        F: FnMut(Option<Duration>, &mut Base<A>) + 'static,
        Prepare<F>: IntoSource<A>,
    {
        let key = self.insert(Prepare(f));
        self.watchers.prepare.push(key);
        EventId::of(self, key)
    }

    /// Runs `f` after each poll of the selector, before what it found. Else as [`Base::on_prepare`].
    ///
    /// # Libevent
    /// `evwatch_check_new`.
    #[doc(alias = "evwatch_check_new")]
    pub fn on_check<F>(&mut self, f: F) -> EventId
    where
        F: FnMut(&mut Base<A>) + 'static,
        Check<F>: IntoSource<A>,
    {
        let key = self.insert(Check(f));
        self.watchers.check.push(key);
        EventId::of(self, key)
    }

    /// Runs the watchers before a poll that would wait for `wait`; answers how long it may wait then.
    pub(super) fn prepare(&mut self, wait: Option<Duration>) -> Option<Duration> {
        if self.watchers.prepare.is_empty() {
            return wait;
        }
        self.watchers.wait = wait;
        self.run_watchers(|watchers| &mut watchers.prepare);
        let tasks = lane::current(self.shared.pool).is_some_and(|lane| !lane.is_empty());
        match tasks || self.has_confined_work() || self.is_ending() {
            true => Some(Duration::ZERO),
            false => self.wait_time(wait),
        }
    }

    /// Runs the watchers after a poll.
    pub(super) fn check(&mut self) {
        if !self.watchers.check.is_empty() {
            self.run_watchers(|watchers| &mut watchers.check);
        }
    }

    /// Runs those that are there now, and drops the names of those that are gone.
    fn run_watchers(&mut self, list: impl Fn(&mut Watchers) -> &mut Vec<Key>) {
        let mut keys = std::mem::take(list(&mut self.watchers));
        for key in &keys {
            if self.shared.gate.is_broken() {
                break;
            }
            if let Some(confined) = self.slots.confined_mut(*key) {
                confined.reasons |= Reasons::USER;
                self.run_source(*key, false);
            }
        }
        keys.retain(|key| self.holds(*key));
        let watchers = list(&mut self.watchers);
        keys.append(watchers);
        *watchers = keys;
    }

    /// How many watchers live here.
    pub(super) fn watching(&mut self) -> usize {
        let keys: Vec<_> = self.watchers.prepare.iter().chain(&self.watchers.check).copied().collect();
        keys.into_iter().filter(|key| self.holds(*key)).count()
    }

    fn is_ending(&self) -> bool {
        self.shared.gate.is_exiting() || self.shared.gate.is_broken()
    }
}

impl<A: Affinity, F: FnMut(Option<Duration>, &mut Base<A>) + 'static> Source<A> for Prepare<F> {
    fn run(&mut self, base: &mut Base<A>, _: Key, reasons: Reasons) -> After {
        let wait = base.watchers.wait;
        watch(base, reasons, |base| (self.0)(wait, base))
    }

    fn kind(&self) -> &'static str {
        "prepare watcher"
    }
}

impl<A: Affinity, F: FnMut(&mut Base<A>) + 'static> Source<A> for Check<F> {
    fn run(&mut self, base: &mut Base<A>, _: Key, reasons: Reasons) -> After {
        watch(base, reasons, |base| (self.0)(base))
    }

    fn kind(&self) -> &'static str {
        "check watcher"
    }
}

fn watch<A: Affinity>(base: &mut Base<A>, reasons: Reasons, call: impl FnOnce(&mut Base<A>)) -> After {
    if reasons.contains(Reasons::CLOSE) {
        return After::Remove;
    }
    match isolate(|| call(base)) {
        true => After::Idle,
        false => {
            base.counters().panics.add(1);
            After::Remove
        }
    }
}
