//! Directions, one or a set of them.

use std::{fmt, ops::BitOr};

pub use bufferevent_ratelimit::Direction;

/// A set of directions.
///
/// # Libevent
/// `EV_READ`, `EV_WRITE`.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Neither direction.
    pub const NONE: Self = Self(0);
    /// Reading.
    #[doc(alias = "EV_READ")]
    pub const READ: Self = Self(1);
    /// Writing.
    #[doc(alias = "EV_WRITE")]
    pub const WRITE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Bit 0 reading, bit 1 writing, as in [`Ready`](bufferevent_runtime::Ready).
    #[must_use]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other`.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Interest {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl From<Direction> for Interest {
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Read => Self::READ,
            Direction::Write => Self::WRITE,
        }
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["NONE", "READ", "WRITE", "READ | WRITE"][usize::from(self.0)])
    }
}
