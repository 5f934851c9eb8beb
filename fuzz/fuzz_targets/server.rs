//! A server hears a client that was recorded, and changed since.

#![no_main]

#[path = "../drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive::server(input));
