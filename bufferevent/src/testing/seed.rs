//! The number that all of a random test follows from.

use std::{
    env,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    num::ParseIntError,
    thread,
};

use bufferevent_runtime::Random;

/// The variable that [`Seed::new`] looks at.
const VARIABLE: &str = "BEV_SEED";

/// The seed of a random test. When the test panics it is printed, and `BEV_SEED=` with it replays the test.
///
/// ```
/// use bufferevent::testing::Seed;
///
/// let seed = Seed::of(7);
/// assert_eq!(seed.random().below(1_000), Seed::of(7).random().below(1_000));
/// ```
#[derive(Debug)]
pub struct Seed {
    number: u64,
}

impl Seed {
    /// The seed in the environment's `BEV_SEED`, else a new one.
    ///
    /// # Errors
    /// If `BEV_SEED` is no number.
    pub fn new() -> Result<Self, ParseIntError> {
        match env::var(VARIABLE) {
            Ok(number) => number.trim().parse().map(Self::of),
            Err(_) => Ok(Self::of(RandomState::new().build_hasher().finish())),
        }
    }

    /// This seed.
    #[must_use]
    pub fn of(number: u64) -> Self {
        Self { number }
    }

    /// The seed itself.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The generator that follows from it.
    #[must_use]
    pub fn random(&self) -> Random {
        Random::new(self.number)
    }
}

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{VARIABLE}={} replays this", self.number);
        }
    }
}
