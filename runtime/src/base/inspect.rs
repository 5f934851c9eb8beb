//! What lives on a base, to be looked at.

use super::Base;
use crate::{
    affinity::Affinity,
    clock::Time,
    slots::{Key, Slot},
    source::Source as _,
};

/// One object of a base, as [`Base::objects`] finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Object {
    /// Its name on the base.
    pub key: Key,
    /// What it is: `event`, `signal`, `timer`, `listener`, `bufferevent`, `strand`; `running` if it is what asks, `internal`
    /// if it only serves the others, and is not counted.
    pub kind: &'static str,
    /// How urgent it is; `None` for a strand, which knows that itself.
    pub priority: Option<u8>,
    /// Whether it waits to run. Not known of a strand.
    pub is_queued: bool,
    /// When its timer is due, if it has one.
    pub deadline: Option<Time>,
}

impl<A: Affinity> Base<A> {
    /// Everything that lives here, in no order that means anything. Looks at each object once; for dumps and tests.
    ///
    /// # Libevent
    /// `event_base_foreach_event`, `event_base_dump_events`.
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use bufferevent_runtime::{Base, Pinned};
    ///
    /// let mut base = Base::<Pinned>::new()?;
    /// base.after(Duration::from_secs(1), |_| {});
    /// assert_eq!(base.objects()[0].kind, "timer");
    /// # Ok::<(), bufferevent_runtime::Error>(())
    /// ```
    #[doc(alias = "event_base_foreach_event")]
    #[doc(alias = "event_base_dump_events")]
    pub fn objects(&mut self) -> Vec<Object> {
        self.slots.keys().into_iter().filter_map(|key| self.object(key)).collect()
    }

    /// What lives under `key`.
    pub fn object(&mut self, key: Key) -> Option<Object> {
        let Self { slots, wheel, .. } = self;
        let (kind, priority, is_queued, timer) = match slots.get_mut(key)? {
            Slot::Vacant => return None,
            Slot::Confined(confined) => {
                let kind = confined.source.as_ref().map_or("running", |source| source.kind());
                (kind, Some(confined.priority), confined.queued || confined.deferred, confined.timer)
            }
            Slot::Homed(homed) => {
                let kind = if homed.strand.is_internal() { "internal" } else { "strand" };
                (kind, None, false, homed.timer)
            }
        };
        let deadline = timer.and_then(|timer| wheel.deadline(timer)).map(Time::from_tick);
        Some(Object { key, kind, priority, is_queued, deadline })
    }
}
