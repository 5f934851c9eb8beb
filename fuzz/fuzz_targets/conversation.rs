//! A client and a server talk, and what goes from one to the other is changed on its way.

#![no_main]

#[path = "../drive.rs"]
mod drive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drive::conversation(input));
