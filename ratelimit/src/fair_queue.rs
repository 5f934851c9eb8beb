//! Who is next among those who wait: fair queueing by virtual time (as in Golestani, 1994, and Goyal, Vin and Cheng,
//! 1996). Pure.
//!
//! Bytes by weight are the time here. Whoever enters gets a *start*: the finish of its last service, but no earlier than
//! the time of the queue. Next is who would be ready first if it now got what it wants, `REACH` at most; so who wants
//! little is before who wants much. Of equal ones the first that came is. What was really given is charged when it is
//! known: *finish = start + bytes / weight*. So the sizes of grants may be anything: who got more waits longer, who was
//! idle is not behind, and nobody saves up. Who is far behind the one that follows, as the heavy are, may be given all it
//! *lags* at once.
//!
//! Between two that wait all the time, bytes by weight differ by `REACH` and what each is given at once, at most. Who comes
//! after it has had much, waited for or not, is ahead by a *lead* at most, so that it is not punished long for what
//! nobody else wanted then.

use std::collections::BTreeMap;

/// A moment in the time of a queue: bytes by weight, times 2^32. It does not wrap: 2^63 bytes are 2^95.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tag(u128);

/// A place in a queue, which nobody else had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    ready: Tag,
    /// Of all queues that belong together, each number once at a time.
    pub(crate) number: u64,
}

/// What somebody comes with.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) number: u64,
    pub(crate) weight: u32,
    /// Of its last service here, or the default.
    pub(crate) finish: Tag,
    /// Bytes it has got since without having been served here.
    pub(crate) taken: u64,
    /// It is so many bytes ahead of the time at most.
    pub(crate) lead: u64,
    /// Bytes.
    pub(crate) wants: u64,
}

/// * Q1 `weights` is the sum over the entries.
/// * Q2 No entry starts before `time`, which is `REACH` before the latest that was next, and does not go back.
pub(crate) struct FairQueue<T> {
    entries: BTreeMap<Place, Entry<T>>,
    weights: u64,
    time: Tag,
    /// How often somebody entered or left.
    #[cfg(test)]
    pub(crate) passed: usize,
}

struct Entry<T> {
    start: Tag,
    weight: u32,
    what: T,
}

/// Who is out of the queue to be served.
#[must_use]
pub(crate) struct Next<T> {
    pub(crate) number: u64,
    pub(crate) weight: u32,
    start: Tag,
    /// Bytes after which it would be behind the one that follows.
    pub(crate) lag: u64,
    pub(crate) what: T,
}

impl Tag {
    pub(crate) fn plus(self, bytes: u64, weight: u32) -> Self {
        Self(self.0 + by_weight(bytes, weight))
    }

    pub(crate) fn minus(self, bytes: u64, weight: u32) -> Self {
        Self(self.0.saturating_sub(by_weight(bytes, weight)))
    }
}

fn by_weight(bytes: u64, weight: u32) -> u128 {
    (u128::from(bytes) << 32) / u128::from(weight.max(1))
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            weights: 0,
            time: Tag::default(),
            #[cfg(test)]
            passed: 0,
        }
    }
}

impl<T> FairQueue<T> {
    pub(crate) fn enter(&mut self, arrival: Arrival, what: T) -> Place {
        let Arrival { number, weight, finish, taken, lead, wants } = arrival;
        let ahead = finish.max(self.time).plus(taken, weight);
        let start = ahead.min(self.time.plus(REACH, 1).plus(lead, weight));
        let place = Place { ready: start.plus(wants.min(REACH), weight), number };
        self.entries.insert(place, Entry { start, weight, what });
        self.add(u64::from(weight));
        place
    }

    /// Leaves without being served.
    pub(crate) fn leave(&mut self, place: Place) -> Option<T> {
        let Entry { weight, what, .. } = self.entries.remove(&place)?;
        self.add(u64::from(weight).wrapping_neg());
        Some(what)
    }

    /// Takes the next one out.
    pub(crate) fn next(&mut self) -> Option<Next<T>> {
        let (Place { ready, number }, Entry { start, weight, what }) = self.entries.pop_first()?;
        debug_assert!(start >= self.time, "Q2");
        self.add(u64::from(weight).wrapping_neg());
        debug_assert!(!self.entries.is_empty() || self.weights == 0, "Q1");
        self.time = self.time.max(ready.minus(REACH, 1));
        let follower = self.entries.first_key_value().map_or(ready, |(follower, _)| follower.ready);
        let lag = (follower.0 - ready.0).saturating_mul(u128::from(weight)) >> 32;
        Some(Next { number, weight, start, lag: u64::try_from(lag).unwrap_or(u64::MAX), what })
    }

    fn add(&mut self, weight: u64) {
        self.weights = self.weights.wrapping_add(weight);
        #[cfg(test)]
        {
            self.passed += 1;
        }
    }

    /// The next one.
    pub(crate) fn peek(&self) -> Option<&T> {
        self.entries.first_key_value().map(|(_, entry)| &entry.what)
    }

    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.entries.get(&place).map(|entry| &entry.what)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.entries.get_mut(&place).map(|entry| &mut entry.what)
    }

    pub(crate) fn weights(&self) -> u64 {
        self.weights
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<T> Next<T> {
    /// Its finish, after it has got so many bytes.
    pub(crate) fn finish(&self, bytes: u64) -> Tag {
        self.start.plus(bytes, self.weight)
    }

    /// To enter with at once, for more.
    pub(crate) fn again(&self, finish: Tag, wants: u64) -> Arrival {
        let Self { number, weight, .. } = *self;
        Arrival { number, weight, finish, taken: 0, lead: u64::MAX, wants }
    }

    /// Without what it is.
    pub(crate) fn split(self) -> (Next<()>, T) {
        let Self { number, weight, start, lag, what } = self;
        (Next { number, weight, start, lag, what: () }, what)
    }
}

/// Bytes: a want of more counts as that.
pub(crate) const REACH: u64 = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arrival(number: u64, weight: u32, finish: Tag) -> Arrival {
        Arrival { number, weight, finish, taken: 0, lead: u64::MAX, wants: u64::MAX }
    }

    /// whoever wants little is before those who want much, but for what it has had.
    #[test]
    fn light_one_is_next() {
        let mut queue = FairQueue::default();
        queue.enter(arrival(1, 1, Tag::default()), "heavy");
        queue.enter(Arrival { wants: 10, ..arrival(2, 1, Tag::default()) }, "light");
        queue.enter(Arrival { wants: 10, taken: 10_000, ..arrival(3, 1, Tag::default()) }, "not so light");
        let order = std::iter::from_fn(|| queue.next().map(|next| next.what));
        assert_eq!(Vec::from_iter(order), ["light", "heavy", "not so light"]);
        assert_eq!(queue.weights(), 0);
    }

    #[test]
    fn who_had_much_is_ahead_by_a_lead_at_most() {
        let mut queue = FairQueue::default();
        queue.enter(Arrival { taken: 1 << 50, lead: 100, ..arrival(1, 1, Tag::default()) }, ());
        queue.enter(arrival(2, 1, Tag::default()), ());
        let first = queue.next().expect("two are there");
        assert_eq!((first.number, first.lag), (2, REACH + 100));
    }

    proptest! {
        /// Who always wants more gets bytes by weight, whatever the sizes of the grants.
        #[test]
        fn shares_are_by_weight(
            weights in prop::collection::vec(1..8u32, 1..8),
            grants in prop::collection::vec(1..REACH, 100..400),
        ) {
            let mut queue = FairQueue::default();
            let mut got = vec![0; weights.len()];
            for (number, weight) in (0..).zip(&weights) {
                queue.enter(arrival(number, *weight, Tag::default()), number as usize);
            }
            for bytes in grants {
                let (next, who) = queue.next().expect("all are there").split();
                got[who] += bytes;
                queue.enter(next.again(next.finish(bytes), u64::MAX), who);
            }
            let by_weight = Vec::from_iter(got.iter().zip(&weights).map(|(bytes, weight)| bytes / u64::from(*weight)));
            let (least, most) = (by_weight.iter().min(), by_weight.iter().max());
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 2 * REACH), "{by_weight:?}");
        }
    }
}
