//! What rings the bells of groups when something that waits there may go on: a strand of each base with waiters, with a
//! timer on that base.
//!
//! Whichever rings first serves the waiters of all bases; so no base needs another. An alarm ends when nobody of its base
//! has waited for a while: it takes itself out of the register and *then* rings once more. So who begins to wait either
//! finds it gone, and makes another, or is found by it. Several threads may set one at once, in any order: the earliest time
//! of those counts.
//!
//! It is nothing that lives on the base: no loop and no drain waits for its end. While anybody of its base waits it looks
//! at least every [`LINGER`], so that it need not be told when the last of them has gone.

use std::{sync::Arc, time::Duration};

use bufferevent_ratelimit::{Bell, Nanos};
use bufferevent_runtime::{Body, Held, Left, Lent, Placement, Reasons, Strand, Time};
use bufferevent_sync::Leaf;

use super::group::{Site, Throttled, nanos, time};

/// The alarms of one tree: one for each base and bell. Leaf lock.
///
/// An alarm is entered *before* its strand is made, which may run, and end, before its maker goes on.
#[derive(Default)]
pub(super) struct Alarms {
    entries: Leaf<Vec<Entry>>,
}

struct Entry {
    what: Arc<What>,
    /// `None` while it is being made.
    strand: Option<Arc<Strand<Alarm>>>,
    /// When it is to ring once it is made.
    at: Time,
}

impl Alarms {
    /// Has the bell rung for `site` at `at`, or earlier.
    pub(super) fn set(site: &Site, bell: &Bell<Throttled>, at: Nanos) {
        let (alarms, at) = (&site.tree.alarms, time(at));
        let mut entries = alarms.entries.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.what.is_for(site, bell)) {
            entry.at = entry.at.min(at);
            let strand = entry.strand.clone();
            drop(entries);
            return strand.iter().for_each(|strand| strand.arm_by(at));
        }
        let what = Arc::new(What { site: site.clone(), bell: bell.clone() });
        entries.push(Entry { what: Arc::clone(&what), strand: None, at });
        drop(entries);
        alarms.make(what);
    }

    fn make(&self, what: Arc<What>) {
        let Ok(strand) = what.site.base.strand(Placement::Any, Arc::clone(&what), |_| Alarm::default())
        else {
            // A base that is gone has no waiters for long.
            return self.forget(&what);
        };
        let mut entries = self.entries.lock();
        let entry = entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.what, &what));
        let at = entry.map(|entry| {
            entry.strand = Some(Arc::clone(&strand));
            entry.at
        });
        drop(entries);
        // Else it has ended already.
        at.into_iter().for_each(|at| strand.arm_by(at));
    }

    /// Takes `alarm` out, if it is in.
    fn forget(&self, alarm: &What) {
        let mut entries = self.entries.lock();
        let at = entries.iter().position(|entry| std::ptr::eq(&*entry.what, alarm));
        let forgotten = at.map(|at| entries.swap_remove(at));
        drop(entries);
        drop(forgotten);
    }
}

/// The body of the strand.
#[derive(Default)]
pub(super) struct Alarm {
    /// Nobody waited when it rang last.
    lingers: bool,
}

/// The part that needs no lock.
pub(super) struct What {
    site: Site,
    bell: Bell<Throttled>,
}

impl What {
    fn is_for(&self, site: &Site, bell: &Bell<Throttled>) -> bool {
        self.site == *site && self.bell == *bell
    }
}

impl Body for Alarm {
    type Outer = Arc<What>;

    /// Who waits is there, so it need not be.
    const INTERNAL: bool = true;

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left {
        let strand = held.strand();
        let What { site, bell } = &**strand.outer();
        let next = bell.ring(site, nanos(lent.now)).map(time);
        let lingers = std::mem::replace(&mut held.body().lingers, next.is_none());
        let ends = next.is_none() && (lingers || reasons.contains(Reasons::CLOSE));
        if !ends {
            let soon = lent.now.saturating_add(LINGER);
            strand.arm_by(next.map_or(soon, |next| next.min(soon)));
            return Left::Idle;
        }
        site.tree.alarms.forget(strand.outer());
        if let Some(at) = bell.ring(site, nanos(lent.now)) {
            Alarms::set(site, bell, at);
        }
        Left::Dead
    }

    /// Those who wait there end with the base too.
    fn abandon(&mut self, what: &Arc<What>) {
        what.site.tree.alarms.forget(what);
    }
}

/// An alarm is kept for so long after it was of use, and looks whether it is so often.
const LINGER: Duration = Duration::from_millis(50);

#[cfg(all(test, feature = "test-util"))]
mod tests {
    use std::os::unix::net::UnixStream;

    use bufferevent_ratelimit::TokenBucketConfig;
    use bufferevent_runtime::Turned;

    use super::*;
    use crate::{
        BaseExt as _, Bufferevent, Direction, Id, NoHandler, RateLimitGroup,
        testing::{Census, ManualBase},
    };

    /// A member of a group with ticks of so long, which has moved 100 bytes and waits to move more. The other end is to be kept.
    fn waiting(base: &mut ManualBase, tick: Duration) -> (RateLimitGroup, Id, UnixStream) {
        let config = TokenBucketConfig::new(100, 100, 100, 100, Some(tick)).expect("valid");
        let group = RateLimitGroup::with_clock(&config, base.handle().clock().clone());
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let id = Bufferevent::socket(ours)
            .handler(NoHandler)
            .rate_limit_group(&group)
            .configure(|bufferevent| drop(bufferevent.write(&[7; 1_000])))
            .start(&mut **base)
            .expect("started");
        base.settle().expect("settled");
        let snapshot = group.snapshot(Direction::Write);
        assert_eq!((snapshot.total, snapshot.waiting), (100, 1));
        (group, id, theirs)
    }

    /// Two threads that hold the lock of the group one after the other may come here in the other order.
    #[test]
    fn alarm_that_is_set_late_puts_no_earlier_one_off() {
        let _census = Census::begin();
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(3_600));
        let mut base = ManualBase::new().expect("a base");
        let (group, _id, _theirs) = waiting(&mut base, short);
        let alarm = Arc::clone(&group.tree.alarms.entries.lock()[0].what);
        let What { site, bell } = &*alarm;
        Alarms::set(site, bell, nanos(base.now().saturating_add(long)));
        base.advance(short).expect("settled");
        assert_eq!(group.total(Direction::Write), 200);
    }

    /// It lingers after the last that waited is gone, which no loop and no drain waits for.
    #[test]
    fn alarm_that_lingers_is_nothing_that_lives_on_the_base() {
        let _census = Census::begin();
        let mut base = ManualBase::new().expect("a base");
        let (group, id, _theirs) = waiting(&mut base, Duration::from_millis(10));
        let alarms = |group: &RateLimitGroup| group.tree.alarms.entries.lock().len();
        assert_eq!((base.len(), alarms(&group)), (1, 1));
        base.bufferevent(id).expect("it is there").abort();
        assert_eq!(base.run().expect("no failure"), Turned::Empty);
        assert_eq!((base.len(), alarms(&group)), (0, 1));
        base.close_all_over(Duration::from_secs(3_600));
        assert_eq!(base.run().expect("no failure"), Turned::Empty);
        base.advance(2 * LINGER).expect("settled");
        assert_eq!(alarms(&group), 0);
    }
}
