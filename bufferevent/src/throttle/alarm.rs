//! What rings the bells of groups when something that waits there may go on: a strand of each base with waiters, with a
//! timer on that base.
//!
//! Whichever rings first serves the waiters of all bases; so no base needs another. An alarm ends when nobody of its base
//! has waited for a while: it takes itself out of the register and *then* rings once more. So who begins to wait either
//! finds it gone, and makes another, or is found by it. Several threads may set one at once, in any order: the earliest time
//! of those counts.

use std::{sync::Arc, time::Duration};

use bufferevent_ratelimit::{Bell, Nanos};
use bufferevent_runtime::{Body, Held, Left, Lent, Placement, Reasons, Strand};
use bufferevent_sync::Leaf;

use super::group::{Site, Throttled, nanos, time};

/// The alarms of one tree: one for each base and bell at most, but for a moment. Leaf lock.
#[derive(Default)]
pub(super) struct Alarms {
    set: Leaf<Vec<Arc<Strand<Alarm>>>>,
}

impl Alarms {
    /// Has the bell rung for `site` at `at`, or earlier.
    pub(super) fn set(site: &Site, bell: &Bell<Throttled>, at: Nanos) {
        let known = site.tree.alarms.find(|alarm| alarm.is_for(site, bell));
        if let Some(strand) = known {
            return strand.arm_by(time(at));
        }
        let what = Arc::new(What { site: site.clone(), bell: bell.clone() });
        // A base that is gone has no waiters for long.
        let Ok(strand) = site.base.strand(Placement::Any, what, |_| Alarm::default()) else { return };
        strand.arm_by(time(at));
        site.tree.alarms.set.lock().push(strand);
    }

    fn find(&self, which: impl Fn(&What) -> bool) -> Option<Arc<Strand<Alarm>>> {
        self.set.lock().iter().find(|alarm| which(alarm.outer())).cloned()
    }

    /// Whether `alarm` is the one for its base and bell: two threads may have made one.
    fn holds(&self, alarm: &What) -> bool {
        let first = self.find(|known| known.is_for(&alarm.site, &alarm.bell));
        first.is_some_and(|first| std::ptr::eq(&**first.outer(), alarm))
    }

    /// Takes `alarm` out, if it is in.
    fn forget(&self, alarm: &What) {
        let mut set = self.set.lock();
        let at = set.iter().position(|known| std::ptr::eq(&**known.outer(), alarm));
        let forgotten = at.map(|at| set.swap_remove(at));
        drop(set);
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

    fn run(held: &mut Held<'_, Self>, reasons: Reasons, lent: &mut Lent<'_>) -> Left {
        let strand = held.strand();
        let What { site, bell } = &**strand.outer();
        let next = bell.ring(site, nanos(lent.now)).map(time);
        let lingers = std::mem::replace(&mut held.body().lingers, next.is_none());
        let ends = next.is_none() && (lingers || reasons.contains(Reasons::CLOSE));
        if !ends && site.tree.alarms.holds(strand.outer()) {
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
    use bufferevent_ratelimit::TokenBucketConfig;

    use super::*;
    use crate::{
        Bufferevent, Direction, NoHandler, RateLimitGroup,
        testing::{Census, ManualBase},
    };

    fn config(tick: Duration) -> TokenBucketConfig {
        TokenBucketConfig::new(100, 100, 100, 100, Some(tick)).expect("valid")
    }

    /// Two threads that hold the lock of the group one after the other may come here in the other order.
    #[test]
    fn alarm_that_is_set_late_puts_no_earlier_one_off() {
        let _census = Census::begin();
        let (short, long) = (Duration::from_millis(10), Duration::from_secs(3_600));
        let mut base = ManualBase::new().expect("a base");
        let group = RateLimitGroup::with_clock(&config(short), base.handle().clock().clone());
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let id = Bufferevent::socket(ours)
            .handler(NoHandler)
            .rate_limit_group(&group)
            .configure(|bufferevent| drop(bufferevent.write(&[7; 1_000])))
            .start(&mut *base)
            .expect("started");
        base.settle().expect("settled");
        let waiting = |group: &RateLimitGroup| group.snapshot(Direction::Write).waiting;
        assert_eq!((group.total(Direction::Write), waiting(&group)), (100, 1));
        let alarm = group.tree.alarms.find(|_| true).expect("somebody waits");
        let What { site, bell } = &**alarm.outer();
        Alarms::set(site, bell, nanos(base.now().saturating_add(long)));
        base.advance(short).expect("settled");
        assert_eq!(group.total(Direction::Write), 200);
        drop((alarm, id));
    }
}
