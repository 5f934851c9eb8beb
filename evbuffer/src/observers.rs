//! The table of a buffer's observers: who is due to be told what. It calls nobody.

use std::mem;

use crate::{Change, Evbuffer, ObserverId};

pub(crate) type Call = Box<dyn FnMut(&mut Evbuffer, Change) + Send + Sync>;

/// When an observer is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    AtOnce,
    Deferred,
}

/// All observers of one buffer.
///
/// O1  `entries` is in ascending order of `id`, which is the order in which they were added.
/// O2  An entry's `added` and `removed` are the sums since it was added, enabled or taken to be called, and 0 while it is
///     disabled; so the length then was `seen + removed - added`.
/// O3  `call` is `None` only while `telling`.
#[derive(Default)]
pub(crate) struct Observers {
    entries: Vec<Entry>,
    next: u64,
    /// The length of the buffer that the sums lead up to.
    seen: usize,
    /// An entry that is called at once was given something since `telling` last ended.
    news: bool,
    telling: bool,
}

/// One observer.
pub(crate) struct Entry {
    id: ObserverId,
    when: When,
    enabled: bool,
    added: usize,
    removed: usize,
    /// `None` while it is being called.
    call: Option<Call>,
}

impl Observers {
    pub(crate) fn add(&mut self, when: When, call: Call) -> ObserverId {
        let id = ObserverId(self.next);
        self.next += 1;
        self.entries.push(Entry { id, when, enabled: true, added: 0, removed: 0, call: Some(call) });
        id
    }

    /// Whether there never was one.
    pub(crate) fn is_new(&self) -> bool {
        self.next == 0
    }

    /// The caller drops what comes back when the table is whole again: it may be the user's, and panic.
    pub(crate) fn remove(&mut self, id: ObserverId) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.id == id)?;
        Some(self.entries.remove(at))
    }

    pub(crate) fn enable(&mut self, id: ObserverId, on: bool) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) else { return false };
        if entry.enabled != on {
            (entry.enabled, entry.added, entry.removed) = (on, 0, 0);
        }
        true
    }

    /// Takes note of the length after an operation, which has either added or removed.
    pub(crate) fn note(&mut self, len: usize) {
        let seen = mem::replace(&mut self.seen, len);
        if len == seen {
            return;
        }
        for entry in self.entries.iter_mut().filter(|entry| entry.enabled) {
            entry.added = entry.added.wrapping_add(len.saturating_sub(seen));
            entry.removed = entry.removed.wrapping_add(seen.saturating_sub(len));
            self.news |= entry.when == When::AtOnce;
        }
    }

    /// Whether an observer is to be called at once.
    pub(crate) fn has_news(&self) -> bool {
        self.news && !self.telling
    }

    /// Whether a deferred observer has something to be told.
    pub(crate) fn owes_deferred(&self) -> bool {
        self.entries.iter().any(|entry| entry.is_due(When::Deferred))
    }

    /// False if observers are being called already.
    pub(crate) fn begin(&mut self) -> bool {
        !mem::replace(&mut self.telling, true)
    }

    /// All that were called are back; one that is not has panicked.
    pub(crate) fn end(&mut self) {
        (self.telling, self.news) = (false, false);
        self.entries.retain(|entry| entry.call.is_some());
    }

    /// Takes the last that was added, but before `last`, and is due.
    pub(crate) fn take_due(&mut self, when: When, last: Option<ObserverId>) -> Option<(Call, Change)> {
        let in_turn = |entry: &&mut Entry| last.is_none_or(|last| entry.id < last) && entry.is_due(when);
        let entry = self.entries.iter_mut().rev().find(in_turn)?;
        let (added, removed) = (mem::take(&mut entry.added), mem::take(&mut entry.removed));
        let before = self.seen.wrapping_add(removed).wrapping_sub(added);
        entry.call.take().map(|call| (call, Change { observer: entry.id, before, added, removed }))
    }

    /// Puts one back after its call; dropped if it was removed meanwhile.
    pub(crate) fn put_back(&mut self, id: ObserverId, call: Call) {
        let is_out = |entry: &&mut Entry| entry.id == id && entry.call.is_none();
        if let Some(entry) = self.entries.iter_mut().find(is_out) {
            entry.call = Some(call);
        }
    }
}

impl Entry {
    fn is_due(&self, when: When) -> bool {
        self.when == when && (self.added, self.removed) != (0, 0)
    }
}
