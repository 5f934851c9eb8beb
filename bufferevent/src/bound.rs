//! A bound that may be none, in one word; numbers of bytes in half of one.

/// Bytes there may be at most; [`Bound::NONE`], which no buffer reaches, is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bound(usize);

impl Bound {
    pub(crate) const NONE: Self = Self(usize::MAX);

    /// The one that is reached first.
    #[inline]
    pub(crate) fn tighter(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// Bytes that fit beside `len`.
    pub(crate) fn room(self, len: usize) -> usize {
        self.0.saturating_sub(len)
    }

    /// Whether `len` bytes are as many as there may be.
    pub(crate) fn is_reached(self, len: usize) -> bool {
        len >= self.0
    }

    /// `len`, or the bound if that is less.
    pub(crate) fn at_most(self, len: usize) -> usize {
        len.min(self.0)
    }

    pub(crate) fn get(self) -> Option<usize> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl From<Option<usize>> for Bound {
    fn from(bound: Option<usize>) -> Self {
        bound.map_or(Self::NONE, Self)
    }
}

/// So many bytes, of which 4 GiB and more are all the same.
pub(crate) fn saturated(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
