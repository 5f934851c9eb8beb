//! What an event waits for, and what happened.

use std::{
    fmt,
    ops::{BitAnd, BitOr, BitOrAssign},
    time::Duration,
};

use super::EventSettings;

/// A set of what a plain event waits for, or of why its callback runs.
///
/// ```
/// use std::time::Duration;
/// use bufferevent_runtime::What;
///
/// let both = What::READ | What::WRITE;
/// assert!(both.contains(What::READ));
/// let settings = What::READ.timeout(Duration::from_secs(5)).once();
/// # let _ = settings;
/// ```
/// # Libevent
/// `EV_READ`, `EV_WRITE`, `EV_CLOSED`, `EV_TIMEOUT`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct What(u8);

impl What {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// A read would not block: it finds data, the end or an error.
    #[doc(alias = "EV_READ")]
    pub const READ: Self = Self(1);
    /// A write would not block: it finds room or an error.
    #[doc(alias = "EV_WRITE")]
    pub const WRITE: Self = Self(2);
    /// The peer will write no more; what it wrote before may be unread still.
    #[doc(alias = "EV_CLOSED")]
    pub const CLOSED: Self = Self(4);
    /// Nothing else has happened for the length of the event's timeout. Not waited for as such: it is set by
    /// [`EventSettings::timeout`].
    #[doc(alias = "EV_TIMEOUT")]
    pub const TIMEOUT: Self = Self(8);
    /// The program called [`Base::activate`](crate::Base::activate).
    pub const ACTIVATED: Self = Self(16);

    /// What a descriptor can be waited for.
    pub(super) const IO: Self = Self(7);

    pub(super) const fn from_bits(bits: u8) -> Self {
        Self(bits & 31)
    }

    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some of `other` is in the set.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set if `condition` holds, else nothing.
    pub(super) const fn when(self, condition: bool) -> Self {
        Self(self.0 * condition as u8)
    }

    /// Settings that wait for this, see [`EventSettings::timeout`].
    pub fn timeout(self, timeout: Duration) -> EventSettings {
        EventSettings::from(self).timeout(timeout)
    }

    /// Settings that wait for this, see [`EventSettings::once`].
    pub fn once(self) -> EventSettings {
        EventSettings::from(self).once()
    }

    /// Settings that wait for this, see [`EventSettings::edge_triggered`].
    pub fn edge_triggered(self) -> EventSettings {
        EventSettings::from(self).edge_triggered()
    }
}

impl BitOr for What {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for What {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for What {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Self::READ, "READ"),
            (Self::WRITE, "WRITE"),
            (Self::CLOSED, "CLOSED"),
            (Self::TIMEOUT, "TIMEOUT"),
            (Self::ACTIVATED, "ACTIVATED"),
        ];
        let mut set = f.debug_set();
        for (_, name) in names.into_iter().filter(|&(one, _)| self.contains(one)) {
            set.entry(&format_args!("{name}"));
        }
        set.finish()
    }
}
