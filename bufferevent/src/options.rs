//! The options of a bufferevent, as a set.

use std::{fmt, ops::BitOr};

use crate::error::{Error, Result};

/// How a bufferevent is locked, how its callbacks are called, and what becomes of its descriptor.
///
/// ```
/// use bufferevent::Options;
///
/// let options = Options::CLOSE_ON_FREE | Options::DEFER_CALLBACKS;
/// assert!(options.contains(Options::CLOSE_ON_FREE));
/// assert!(Options::UNLOCK_CALLBACKS.validate().is_err());
/// ```
/// # Libevent
/// `enum bufferevent_options`.
#[doc(alias = "bufferevent_options")]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Options(u8);

impl Options {
    /// None of them: confined to its base, callbacks at once, the descriptor stays open.
    pub const NONE: Self = Self(0);
    /// Closes the descriptor when the bufferevent ends. On in a new builder.
    #[doc(alias = "BEV_OPT_CLOSE_ON_FREE")]
    pub const CLOSE_ON_FREE: Self = Self(1);
    /// Gives the bufferevent a strand of its own: any worker may run it, any thread may reach it by its handle.
    #[doc(alias = "BEV_OPT_THREADSAFE")]
    pub const THREADSAFE: Self = Self(2);
    /// Runs callbacks from the deferred queue, not from inside the step that raised them.
    #[doc(alias = "BEV_OPT_DEFER_CALLBACKS")]
    pub const DEFER_CALLBACKS: Self = Self(4);
    /// Runs callbacks with no lock held. Needs [`Options::DEFER_CALLBACKS`].
    #[doc(alias = "BEV_OPT_UNLOCK_CALLBACKS")]
    pub const UNLOCK_CALLBACKS: Self = Self(8);
    /// What is recommended for a bufferevent that several threads use.
    pub const SHARED: Self = Self(1 | 2 | 4 | 8);

    /// Whether all of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set with `other` set, or cleared.
    #[must_use]
    pub const fn with(self, other: Self, on: bool) -> Self {
        if on { Self(self.0 | other.0) } else { Self(self.0 & !other.0) }
    }

    /// libevent's bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set of libevent's bits; `None` if there are others.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !15 == 0 { Some(Self(bits)) } else { None }
    }

    /// Checks that the options go together.
    ///
    /// # Errors
    /// [`Error::UnlockWithoutDefer`].
    pub fn validate(self) -> Result<()> {
        if self.contains(Self::UNLOCK_CALLBACKS) && !self.contains(Self::DEFER_CALLBACKS) {
            return Err(Error::UnlockWithoutDefer);
        }
        Ok(())
    }
}

impl BitOr for Options {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["CLOSE_ON_FREE", "THREADSAFE", "DEFER_CALLBACKS", "UNLOCK_CALLBACKS"];
        let set = names.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        f.debug_set().entries(set.map(|(_, name)| format_args!("{name}").to_string())).finish()
    }
}
