//! Why a direction that is enabled makes no progress of its own.

use std::{fmt, ops::BitOr};

use crate::{bound::Bound, bufferevent::Bufferevent, interest::Direction};

/// Reasons for which a direction is suspended: enabled, but not to go on for now.
///
/// They are not set and cleared; they hold while what they are about does.
///
/// ```
/// use bufferevent::Suspend;
///
/// let why = Suspend::WATERMARK | Suspend::CAP;
/// assert!(why.contains(Suspend::CAP) && !Suspend::NONE.contains(Suspend::CAP));
/// ```
/// # Libevent
/// `BEV_SUSPEND_*`.
#[doc(alias = "bufferevent_suspend_flags")]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Suspend(u8);

impl Suspend {
    /// None: the direction goes on.
    pub const NONE: Self = Self(0);
    /// The input is at its high mark.
    #[doc(alias = "BEV_SUSPEND_WM")]
    pub const WATERMARK: Self = Self(1);
    /// The input is at its cap.
    pub const CAP: Self = Self(2);
    /// The name of the host is being looked up.
    #[doc(alias = "BEV_SUSPEND_LOOKUP")]
    pub const LOOKUP: Self = Self(4);
    /// The system had no memory to send with; it is tried again soon.
    pub const SHORTAGE: Self = Self(8);
    /// It waits for memory, which is short among those under its [`MemoryLimit`](crate::MemoryLimit).
    pub const MEMORY: Self = Self(16);
    /// Its own rate limit lets nothing more move for now.
    #[doc(alias = "BEV_SUSPEND_BW")]
    pub const BANDWIDTH: Self = Self(32);
    /// It waits for its turn in its rate-limit group.
    #[doc(alias = "BEV_SUSPEND_BW_GROUP")]
    pub const GROUP_BANDWIDTH: Self = Self(64);

    /// The filter above has no use for input: its reading is off, suspended, or its input full.
    #[doc(alias = "BEV_SUSPEND_FILT_READ")]
    pub const FILTER: Self = Self(128);

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn only_if(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }
}

impl BitOr for Suspend {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const NAMES: [(Suspend, &str); 8] = [
    (Suspend::WATERMARK, "WATERMARK"),
    (Suspend::CAP, "CAP"),
    (Suspend::LOOKUP, "LOOKUP"),
    (Suspend::SHORTAGE, "SHORTAGE"),
    (Suspend::MEMORY, "MEMORY"),
    (Suspend::BANDWIDTH, "BANDWIDTH"),
    (Suspend::GROUP_BANDWIDTH, "GROUP_BANDWIDTH"),
    (Suspend::FILTER, "FILTER"),
];

impl fmt::Debug for Suspend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("NONE");
        }
        let mut set = NAMES.into_iter().filter(|(reason, _)| self.contains(*reason)).peekable();
        while let Some((_, name)) = set.next() {
            write!(f, "{name}{}", if set.peek().is_some() { " | " } else { "" })?;
        }
        Ok(())
    }
}

impl Bufferevent {
    /// Why a direction is suspended; empty if it is not.
    pub fn suspended(&self, direction: Direction) -> Suspend {
        let lookup = Suspend::LOOKUP.only_if(self.is_looking_up());
        let rate = self.throttle.as_ref().map_or(Suspend::NONE, |throttle| throttle.suspended(direction));
        let here = match direction {
            Direction::Read => {
                let at = |bound: Bound| bound.is_reached(self.input.len());
                lookup
                    | Suspend::WATERMARK.only_if(at(self.read.high))
                    | Suspend::CAP.only_if(at(self.input_cap))
                    | Suspend::MEMORY.only_if(self.is_short_of_memory())
                    | Suspend::FILTER.only_if(self.told.withheld)
            }
            Direction::Write => lookup | Suspend::SHORTAGE.only_if(self.told.shortage),
        };
        here | rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_names_what_is_in_it() {
        assert_eq!(format!("{:?}", Suspend::NONE), "NONE");
        assert_eq!(format!("{:?}", Suspend::WATERMARK | Suspend::LOOKUP), "WATERMARK | LOOKUP");
    }
}
