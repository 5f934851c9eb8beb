//! Keys and the table of what a base owns.
//!
//! A key is a slot index and a generation. Keys are handed out under a leaf lock, so that any thread can name an object
//! before its base has adopted it; the table itself belongs to the base alone. A key whose generation is past finds
//! nothing, so an event of a re-used descriptor never reaches the new object.

use std::sync::Arc;

use bufferevent_sync::Leaf;

use crate::{affinity::Affinity, protocol::Reasons, selector::Token, strand::AnyStrand, timer::TimerKey};

/// Names an object of one base: slot index and generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Names nothing: indices are not handed out so far.
    pub(crate) const NOTHING: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// The selector's token for this key.
    pub fn token(self) -> Token {
        Token::new(self.index, self.generation)
    }

    pub(crate) fn from_token(token: Token) -> Self {
        Self { index: token.index(), generation: token.generation() }
    }
}

/// Hands out keys. Leaf lock: nothing is called under it.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    synced: Leaf<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    /// The generation each index has now, or will have when it is handed out next.
    current: Vec<u32>,
    free: Vec<u32>,
}

/// Generations stay below this, so that no token meets the selectors' reserved ones.
const GENERATIONS: u32 = u32::MAX / 2;

impl Keys {
    pub(crate) fn reserve(&self) -> Key {
        let mut synced = self.synced.lock();
        if let Some(index) = synced.free.pop() {
            return Key { index, generation: synced.current[index as usize] };
        }
        let index = synced.current.len() as u32;
        synced.current.push(0);
        Key { index, generation: 0 }
    }

    pub(crate) fn release(&self, key: Key) {
        let mut synced = self.synced.lock();
        match synced.current.get_mut(key.index as usize) {
            Some(current) if *current == key.generation => *current = (key.generation + 1) % GENERATIONS,
            // Released already, or of another base: nobody's key is freed by that.
            _ => return,
        }
        synced.free.push(key.index);
    }
}

/// A source of the base's root strand, with what the base knows about it.
pub(crate) struct Confined<A: Affinity> {
    /// `None` while it runs.
    pub(crate) source: Option<Box<A::Source>>,
    pub(crate) reasons: Reasons,
    pub(crate) queued: bool,
    pub(crate) deferred: bool,
    pub(crate) priority: u8,
    pub(crate) timer: Option<TimerKey>,
}

/// A strand homed on the base.
pub(crate) struct Homed {
    pub(crate) strand: Arc<dyn AnyStrand>,
    pub(crate) timer: Option<TimerKey>,
}

pub(crate) enum Slot<A: Affinity> {
    Vacant,
    Confined(Confined<A>),
    Homed(Homed),
}

impl<A: Affinity> Slot<A> {
    /// Whether it is one of the objects of its base.
    pub(crate) fn is_counted(&self) -> bool {
        match self {
            Self::Vacant => false,
            Self::Confined(_) => true,
            Self::Homed(homed) => !homed.strand.is_internal(),
        }
    }
}

/// The table of one base.
pub(crate) struct Slots<A: Affinity> {
    entries: Vec<(u32, Slot<A>)>,
    /// Of those that are counted.
    len: usize,
}

impl<A: Affinity> Slots<A> {
    pub(crate) fn new() -> Self {
        Self { entries: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, key: Key, slot: Slot<A>) {
        let index = key.index as usize;
        if index >= self.entries.len() {
            self.entries.resize_with(index + 1, || (0, Slot::Vacant));
        }
        debug_assert!(matches!(self.entries[index].1, Slot::Vacant), "a key names one object");
        self.len += usize::from(slot.is_counted());
        self.entries[index] = (key.generation, slot);
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Slot<A>> {
        match self.entries.get_mut(key.index as usize) {
            Some((generation, slot)) if *generation == key.generation => Some(slot),
            _ => None,
        }
    }

    pub(crate) fn confined_mut(&mut self, key: Key) -> Option<&mut Confined<A>> {
        match self.get_mut(key) {
            Some(Slot::Confined(confined)) => Some(confined),
            _ => None,
        }
    }

    /// Empties the slot; the caller releases the key.
    pub(crate) fn take(&mut self, key: Key) -> Option<Slot<A>> {
        let slot = self.get_mut(key)?;
        match std::mem::replace(slot, Slot::Vacant) {
            Slot::Vacant => None,
            taken => {
                self.len -= usize::from(taken.is_counted());
                Some(taken)
            }
        }
    }

    /// Every key in use.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let used = self.entries.iter().enumerate().filter(|(_, (_, slot))| !matches!(slot, Slot::Vacant));
        used.map(|(index, (generation, _))| Key { index: index as u32, generation: *generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_key_comes_back_with_a_new_generation() {
        let keys = Keys::default();
        let first = keys.reserve();
        keys.release(first);
        let second = keys.reserve();
        assert_eq!(first.index, second.index);
        assert_ne!(first, second);
        assert_eq!(Key::from_token(second.token()), second);
        keys.release(first);
        keys.release(Key { index: 7, generation: 0 });
        assert_ne!(keys.reserve().index, second.index, "a stale key, or a foreign one, frees nothing");
    }
}
