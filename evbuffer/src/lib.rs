//! A chain of byte segments: libevent's `evbuffer` anew.
//!
//! An [`Evbuffer`] takes bytes at the back and gives them at the front. It is the buffer that bufferevents read into
//! and write from, and works as well by itself. It is not synchronised: it has one owner, and is `Send` and `Sync`.
//!
//! ```
//! use bufferevent_evbuffer::{Eol, Evbuffer};
//!
//! let mut input = Evbuffer::new();
//! input.read_from(&mut &b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..], 4096)?;
//!
//! let mut output = Evbuffer::new();
//! while let Some(line) = input.readln(Eol::Crlf)? {
//!     write!(output, "{} bytes\n", line.len())?;
//! }
//! assert_eq!(output, "14 bytes\n17 bytes\n0 bytes\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # What costs what
//!
//! The first segment lies inside the `Evbuffer`; a queue for more is allocated only when there is a second one. A
//! segment is a block that the buffer owns and fills, a reference ([`Bytes`](bytes::Bytes)) to memory that others may
//! share, or a range of a file ([`FileSegment`]).
//!
//! | operation | bytes copied | allocates |
//! |---|---|---|
//! | [`add`](Evbuffer::add), `write!` | all | when the last block is full: a block of twice its size, 256 bytes to 64 KiB |
//! | [`prepend`](Evbuffer::prepend) | all | when there is no room in front of the first bytes |
//! | [`drain`](Evbuffer::drain) | none | no; one drained block is kept for the next bytes |
//! | [`append`](Evbuffer::append), [`prepend_buffer`](Evbuffer::prepend_buffer) | none (`append`: up to 256 that fit behind the last) | at most the queue |
//! | [`move_to`](Evbuffer::move_to) | up to 4 KiB of a segment that is cut | at most the queue and one block |
//! | [`add_bytes`](Evbuffer::add_bytes) | none | at most the queue |
//! | [`add_buffer_reference`](Evbuffer::add_buffer_reference) | pieces below 1 KiB, or a quarter of their block | when it copies, shares a block, or at most the queue |
//! | [`add_file_segment`](Evbuffer::add_file_segment) | none | at most the queue, and a count |
//! | [`take_bytes`](Evbuffer::take_bytes) | none from a reference, or for 1 KiB or more of one block | when it copies, or shares a block |
//! | [`pullup`](Evbuffer::pullup) | what does not lie in one piece yet | unless the first block has the room |
//! | [`reserve`](Evbuffer::reserve), [`read_from`](Evbuffer::read_from) | none | when the room behind the last bytes does not do |
//! | [`peek`](Evbuffer::peek), [`chunks`](Evbuffer::chunks), [`write_to`](Evbuffer::write_to) | none | no |
//!
//! An empty buffer keeps the block it last used (up to 256 KiB, and one spare) until [`shrink`](Evbuffer::shrink);
//! after that, as when it is new, it owns no memory at all.
//!
//! # What is refused
//!
//! A call that the buffer refuses changes nothing and says why ([`Error`]): an end may be frozen
//! ([`freeze`](Evbuffer::freeze)), there may be a limit ([`set_limit`](Evbuffer::set_limit)), a position may be past
//! the end. Nothing here panics on bad arguments, except where the trait [`Buf`](bytes::Buf) prescribes it.
//!
//! # Who is told
//!
//! Observers are closures that are told of each change of the length, at once ([`observe`](Evbuffer::observe)) or as sums
//! ([`observe_deferred`](Evbuffer::observe_deferred)). A buffer that has none pays a test of one pointer per operation.
//!
//! # Files
//!
//! The bytes of a [`FileSegment`] count in [`len`](Evbuffer::len) at once, and are drained, moved, split and referred to like
//! all others, but they are read in blocks of up to 64 KiB when they are needed at the front, and by these alone:
//!
//! * [`load`](Evbuffer::load), which gets the first bytes into memory;
//! * [`write_to`](Evbuffer::write_to), and what sends the output of a bufferevent;
//! * the traits [`Read`](std::io::Read) and [`BufRead`](std::io::BufRead) of the buffer.
//!
//! They may wait for the disk. Everything else that gives or compares bytes works on what is in memory before the first
//! byte of a file ([`loaded_len`](Evbuffer::loaded_len)): what would reach further is refused with [`Error::NotLoaded`], and
//! where there is no error to give (`chunks`, `search`, `to_vec`, `Buf`) the data seems to end there. A buffer with bytes of
//! files that are not read equals no other, nor itself.
//!
//! # Words
//!
//! *Front* and *back* are libevent's start and end. A *segment* is its chain link. Positions are counted from the
//! front, in bytes.

#![forbid(unsafe_code)]

mod chain;
mod contiguous;
mod convert;
mod cursor;
mod error;
mod evbuffer;
mod file;
mod freeze;
mod iovec;
mod observe;
mod observers;
mod reserve;
mod rest;
mod search;
mod segment;
mod shared;
mod std_io;
mod transfer;
#[doc(hidden)]
pub mod transport;

pub use crate::cursor::Cursor;
pub use crate::error::Error;
pub use crate::evbuffer::Evbuffer;
pub use crate::file::{FILE_BLOCK, FileError, FileSegment};
pub use crate::freeze::End;
pub use crate::iovec::Chunks;
pub use crate::observe::{Change, OBSERVER_ROUNDS, ObserverId};
pub use crate::reserve::Reservation;
pub use crate::search::{Eol, EolMatch};
