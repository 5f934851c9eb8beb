//! Rate limits: how many bytes may go when.
//!
//! Nothing here has a clock, a thread or a descriptor. Time comes in as [`Nanos`], what comes out is a number of bytes or
//! the time at which there will be some; whoever asks arms the timer. Bytes and [`Nanos`] are the only units: a
//! configuration is in bytes per tick, as libevent's, or is made from a [`Rate`] in bytes per second.
//!
//! * A [`TokenBucketConfig`] says what may pass in each [`Direction`]: so many bytes a tick, and at most so many at once.
//! * A [`TokenBucket`] limits one direction of one connection, and belongs to one owner.
//! * A [`ByteClock`] limits what many threads take from, by the [`Plan`] that all of them know.
//! * A [`Group`] is such a clock with [`Member`]s that wait for their turns, fairly, and groups below it.
//!
//! # Ticks
//! A limit pays at the boundaries of its ticks: the first is one tick after the limit was set, the others follow to the
//! nanosecond, whoever looks and however late. Nobody refills: what was paid since is computed when somebody asks, so a
//! limit that nobody waits for needs no timer, and a clock that jumps fills a bucket once. A `now` from before the last
//! one asked with grants too little for the moment, never too much.
//!
//! What is new holds one tick's worth. What is paid above the burst is forfeited. When the rate, the burst or the tick
//! changes, the level stays, or is clipped to the new burst, and what the running tick has earned so far is paid at the
//! next boundary: changing a limit every few milliseconds neither starves nor feeds it.
//!
//! # Leases
//! Where the burst allows [4 KiB](LEASE_MIN) or more for each member, and there is plenty, a member takes [more](LEASE_MAX)
//! than it wants, and uses that up to the end of the tick without asking. In any window passes no more than without; what is
//! left when the tick ends is forfeited. Levels are low by what is leased, totals lag by what was used of it. With smaller
//! bursts both are exact at every moment.
//!
//! # Debt
//! What must go, goes: a flush, or a record that is larger than what is there. The level is negative then, and nothing more
//! is granted before the debt is paid.

#![forbid(unsafe_code)]

mod accrual;
mod alarms;
mod bucket;
mod byte_clock;
mod config;
mod direction;
mod fair_queue;
mod group;
mod half;
mod lease;
mod member;
mod parse_rate;
mod path;
mod plan;
mod rate;
mod room;
mod served;
mod share;
mod source;
mod terms;
mod time;
mod waiter;

#[cfg(loom)]
#[doc(hidden)]
pub mod __loom {
    pub use crate::{byte_clock::*, plan::*};
}

pub use self::{
    bucket::TokenBucket,
    byte_clock::{ByteClock, Taken},
    config::{BURST_TICKS, ConfigError, Limit, RATE_LIMIT_MAX, TICK, TICK_MAX, TICK_MIN, TokenBucketConfig},
    direction::Direction,
    group::{GROUP_DEPTH_MAX, Group, GroupSnapshot, TooDeep},
    lease::{LEASE_MAX, LEASE_MIN},
    member::{Grant, Member, Want},
    parse_rate::{ParseRateError, RateFault},
    plan::{BYTES_MAX, Plan},
    rate::{Rate, ZeroRate},
    room::GRANT_GOOD_FOR,
    source::{LocalClock, TokenSource},
    terms::Terms,
    time::Nanos,
    waiter::{Bell, Waiter},
};
