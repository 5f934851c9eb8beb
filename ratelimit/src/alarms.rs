//! Which base is to ring when. Pure.

use crate::Nanos;

/// The bases on which somebody waits.
///
/// * A1 A base is here exactly while somebody waits on it.
/// * A2 After [`set`](Self::set) each is armed for that time or an earlier one.
pub(crate) struct Alarms<B> {
    bases: Vec<Entry<B>>,
}

struct Entry<B> {
    base: B,
    waiting: usize,
    armed: Option<Nanos>,
}

impl<B> Default for Alarms<B> {
    fn default() -> Self {
        Self { bases: Vec::new() }
    }
}

impl<B: Clone + Eq> Alarms<B> {
    /// One more waits on the base.
    pub(crate) fn enter(&mut self, base: B) {
        match self.find(&base) {
            Some(at) => self.bases[at].waiting += 1,
            None => self.bases.push(Entry { base, waiting: 1, armed: None }),
        }
    }

    /// One less does. The last one gets what is kept of the base, to drop it where it likes.
    pub(crate) fn leave(&mut self, base: &B) -> Option<B> {
        let at = self.find(base)?;
        self.bases[at].waiting -= 1;
        (self.bases[at].waiting == 0).then(|| self.bases.swap_remove(at).base)
    }

    /// The base's alarm has gone off.
    pub(crate) fn rang(&mut self, base: &B) {
        if let Some(at) = self.find(base) {
            self.bases[at].armed = None;
        }
    }

    /// What is blocked may go on at `next`. Gives the alarms to set.
    pub(crate) fn set(&mut self, next: Nanos) -> impl Iterator<Item = (B, Nanos)> {
        let late = move |entry: &&mut Entry<B>| entry.armed.is_none_or(|armed| next < armed);
        self.bases.iter_mut().filter(late).map(move |entry| {
            entry.armed = Some(next);
            (entry.base.clone(), next)
        })
    }

    /// For when the base's alarm is set.
    pub(crate) fn armed(&self, base: &B) -> Option<Nanos> {
        self.find(base).and_then(|at| self.bases[at].armed)
    }

    fn find(&self, base: &B) -> Option<usize> {
        self.bases.iter().position(|entry| entry.base == *base)
    }
}
