//! A client hears a server that was recorded, and changed since.

#![no_main]

#[path = "../drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive::client(input));
