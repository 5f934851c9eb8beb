use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// Why a strand must run: a set, kept in bits 8..32 of the strand's word. The set is the mailbox:
/// posting allocates nothing, and a reason that is posted twice before the run is delivered once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reasons(u32);

impl Reasons {
    /// No reason.
    pub const EMPTY: Self = Self(0);
    /// A descriptor became readable.
    pub const READABLE: Self = Self(1 << 8);
    /// A descriptor became writable.
    pub const WRITABLE: Self = Self(1 << 9);
    /// The peer closed its side.
    pub const HANGUP: Self = Self(1 << 10);
    /// A descriptor reported an error.
    pub const ERROR: Self = Self(1 << 11);
    /// A timer is due.
    pub const TIMER: Self = Self(1 << 12);
    /// The strand's mailbox holds messages.
    pub const MAIL: Self = Self(1 << 13);
    /// Callbacks were put off to a later run.
    pub const DEFERRED: Self = Self(1 << 14);
    /// A guard was dropped that left work behind.
    pub const GUARD: Self = Self(1 << 15);
    /// The first run.
    pub const START: Self = Self(1 << 16);
    /// Somebody asked for the end.
    pub const CLOSE: Self = Self(1 << 17);
    /// The user posted.
    pub const USER: Self = Self(1 << 18);
    /// It has come from another base, whose events may have missed it on the way.
    pub const MOVED: Self = Self(1 << 19);

    /// All bits a reason may use.
    pub(super) const MASK: u32 = !0xff;

    const NAMES: [(&'static str, Self); 12] = [
        ("READABLE", Self::READABLE),
        ("WRITABLE", Self::WRITABLE),
        ("HANGUP", Self::HANGUP),
        ("ERROR", Self::ERROR),
        ("TIMER", Self::TIMER),
        ("MAIL", Self::MAIL),
        ("DEFERRED", Self::DEFERRED),
        ("GUARD", Self::GUARD),
        ("START", Self::START),
        ("CLOSE", Self::CLOSE),
        ("USER", Self::USER),
        ("MOVED", Self::MOVED),
    ];

    /// The reasons in a strand word.
    pub(super) const fn of_word(word: u32) -> Self {
        Self(word & Self::MASK)
    }

    /// The reasons of what a selector reported: its bits 0..4 are readable, writable, hang-up, error.
    #[must_use]
    pub const fn of_readiness(ready: u8) -> Self {
        Self((ready as u32 & 15) << 8)
    }

    /// The readiness among the reasons, as a selector reports it.
    #[must_use]
    pub const fn readiness(self) -> u8 {
        (self.0 >> 8) as u8 & 15
    }

    /// The reasons of a plain event that is activated by hand: what is said to have happened, five bits.
    #[must_use]
    pub const fn of_activation(what: u8) -> Self {
        Self((what as u32 & 31) << ACTIVATION)
    }

    /// What is said to have happened, see [`Reasons::of_activation`].
    #[must_use]
    pub const fn activation(self) -> u8 {
        (self.0 >> ACTIVATION) as u8 & 31
    }

    /// As they stand in a strand word.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in `self`.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Those in either set; `|`, for constants.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those of `self` that are not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Adds `other`.
    pub const fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Takes `other` out.
    pub const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }
}

/// The lowest bit of an activation.
const ACTIVATION: u32 = 20;

impl BitOr for Reasons {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitOrAssign for Reasons {
    fn bitor_assign(&mut self, other: Self) {
        self.insert(other);
    }
}

impl fmt::Debug for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("EMPTY");
        }
        let mut rest = *self;
        let mut separator = "";
        for (name, reason) in Self::NAMES {
            if self.contains(reason) {
                write!(f, "{separator}{name}")?;
                separator = " | ";
                rest.remove(reason);
            }
        }
        if !rest.is_empty() {
            write!(f, "{separator}{:#x}", rest.0)?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_names() {
        assert_eq!(format!("{:?}", Reasons::EMPTY), "EMPTY");
        assert_eq!(format!("{:?}", Reasons::READABLE | Reasons::MAIL), "READABLE | MAIL");
        assert_eq!(format!("{:?}", Reasons(1 << 31) | Reasons::USER), "USER | 0x80000000");
    }

    #[test]
    fn set_operations_agree_with_their_names() {
        let mut set = Reasons::TIMER | Reasons::CLOSE;
        assert!(set.contains(Reasons::TIMER) && set.contains(Reasons::EMPTY));
        assert!(!set.contains(Reasons::TIMER | Reasons::USER));
        assert!(set.intersects(Reasons::TIMER | Reasons::USER));
        assert_eq!(set.intersection(Reasons::TIMER | Reasons::USER), Reasons::TIMER);
        assert_eq!(set.difference(Reasons::TIMER), Reasons::CLOSE);
        set.remove(Reasons::TIMER);
        set.insert(Reasons::USER);
        assert_eq!(set, Reasons::CLOSE | Reasons::USER);
    }

    #[test]
    fn reasons_leave_the_low_byte_to_the_strand_word() {
        let all = Reasons::NAMES.iter().fold(Reasons::EMPTY, |all, (_, reason)| all | *reason);
        assert_eq!(all.bits() & !Reasons::MASK, 0);
        assert_eq!(all.bits().count_ones() as usize, Reasons::NAMES.len());
    }
}
