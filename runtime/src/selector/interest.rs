//! What a selector reports: which object, and what it is ready for.

use std::fmt;
use std::ops::{BitOr, BitOrAssign, Not, Sub};

/// Names a registration: slot index in the low 32 bits, generation in the high 32.
///
/// The generation tells an event of a closed descriptor from one of its successor in the slot; `u32::MAX` is not used
/// as one, those tokens belong to the selectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl Token {
    /// The selector's own waker; never reported.
    pub(super) const WAKER: Token = Token(u64::MAX);

    /// The token of slot `index` in its generation `generation`.
    pub const fn new(index: u32, generation: u32) -> Token {
        Token((generation as u64) << 32 | index as u64)
    }

    /// The slot index.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }

    /// The generation.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Whether a selector would take it for one of its own.
    pub const fn is_reserved(self) -> bool {
        self.generation() == u32::MAX
    }
}

/// A set of what a descriptor is ready for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const NONE: Ready = Ready(0);
    /// A read would not block: it finds data, the end or an error.
    pub const READABLE: Ready = Ready(1);
    /// A write would not block: it finds room or an error.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer will write no more (a FIN came, or both sides are closed). Comes with [`READABLE`](Ready::READABLE):
    /// what it wrote before is still to be read. See [`Selector::reports_hangup`](super::Selector::reports_hangup).
    pub const HANGUP: Ready = Ready(4);
    /// The descriptor failed, for instance by a reset. Comes with both directions, whose next call finds the error.
    pub const ERROR: Ready = Ready(8);

    /// Both directions.
    pub const BOTH: Ready = Ready(Ready::READABLE.0 | Ready::WRITABLE.0);

    /// The set of bits 0..4: readable, writable, hang-up, error.
    pub const fn from_bits(bits: u8) -> Ready {
        Ready(bits & 15)
    }

    /// Bits 0..4: readable, writable, hang-up, error.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Ready) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether some of `other` is in this set.
    pub const fn intersects(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing is.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// This set if `condition` holds, else nothing.
    pub(super) const fn when(self, condition: bool) -> Ready {
        Ready(self.0 * condition as u8)
    }
}

impl BitOr for Ready {
    type Output = Ready;

    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl Sub for Ready {
    type Output = Ready;

    /// What is in the left set only.
    fn sub(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }
}

/// What is not in the set; the names that do not exist are not.
impl Not for Ready {
    type Output = Ready;

    fn not(self) -> Ready {
        Ready(!self.0 & (Ready::BOTH | Ready::HANGUP | Ready::ERROR).0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            (Ready::READABLE, "READABLE"),
            (Ready::WRITABLE, "WRITABLE"),
            (Ready::HANGUP, "HANGUP"),
            (Ready::ERROR, "ERROR"),
        ];
        let mut set = f.debug_set();
        for (_, name) in names.into_iter().filter(|&(one, _)| self.contains(one)) {
            set.entry(&format_args!("{name}"));
        }
        set.finish()
    }
}

/// One report of a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The token it was registered with; stale if it was closed since.
    pub token: Token,
    /// What it is ready for.
    pub ready: Ready,
}
