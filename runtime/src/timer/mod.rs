//! Timers: the wheel that holds every deadline of one base. It knows ticks only; the base owns clock and sleep.

mod wheel;

#[cfg(test)]
mod tests;

pub use self::wheel::{TimerKey, Wheel};
