//! Filtering bufferevents, row by row (F-01 to F-19), over scripted transports on a base whose time stands still: what passes,
//! what stops, what ends, and that nothing spins.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod crowd;
mod ending;
mod failing;
mod files;
mod handshake;
mod misbehaving;
mod model;
mod passing;
mod plain;
mod seen;
mod telling;
mod threads;
mod waking;
