//! Two threads that wake each other in turn, by hand and through bases; and posts to a base that is awake.
//!
//! The one module beside [`skew`](crate::skew) that uses our crates: a wake cannot be measured from outside.

mod busy;
mod by_hand;
mod posts;

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

pub use busy::{Busy, post_from_within};
pub use by_hand::ByHand;
pub use posts::{Bases, Workers};

/// Two threads, each of which sleeps until the other wakes it.
pub trait Party {
    /// Wakes `count` times, in turn, and answers how long that took in all.
    ///
    /// # Errors
    /// A side has failed.
    fn hops(&mut self, count: u64) -> io::Result<Duration>;
}

/// Threads that are joined when this is dropped. Whoever has one tells them to end first.
#[derive(Debug, Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Drop for Threads {
    fn drop(&mut self) {
        for thread in self.0.drain(..) {
            // A panic has been reported by then.
            let _ = thread.join();
        }
    }
}
