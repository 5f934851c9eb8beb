//! For tests of handlers: a base whose time is turned by hand, and transports that do what a script says.
//!
//! Nothing here touches a socket or waits. A [`Wire`] is a transport whose reads and writes meet what the test has
//! written down: chunks of any size, `WouldBlock` at any byte, short writes, ends, resets, readiness that is not true.
//! [`Bufferevent::scripted`](crate::Bufferevent::scripted) makes a bufferevent over it. A [`ManualBase`] runs it:
//! [`settle`](ManualBase::settle) until nothing is left to do, [`advance`](ManualBase::advance) the time past each deadline
//! in turn. A [`Seed`] makes scripts at random, is printed when the test fails, and replays it. A [`Census`] fails a test
//! that leaves a descriptor, a base or a bufferevent behind.
//!
//! The base is a [`Pinned`](crate::Pinned) one. A handler for the bases of a runtime, `impl Handler for Lengths`, is tested by
//! starting it `.threadsafe()`; one that is to be confined to bases of both kinds is written
//! `impl<A: HandlerAffinity> Handler<A> for Lengths`, with `cx: &mut Context<'_, A>`.
//!
//! With the feature `test-util` only. Nothing of it is in a build without.
//!
//! ```
//! use bufferevent::{
//!     Bufferevent, Context, Event, Handler, Pinned,
//!     evbuffer::Eol,
//!     testing::{ManualBase, Wire, WriteStep},
//! };
//!
//! /// Answers each line with its length.
//! struct Lengths;
//!
//! impl Handler<Pinned> for Lengths {
//!     fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
//!         while let Ok(Some(line)) = cx.input().readln(Eol::Lf) {
//!             let _ = cx.write(format!("{}\n", line.len()).as_bytes());
//!         }
//!     }
//!
//!     fn on_event(&mut self, cx: &mut Context<'_, Pinned>, event: Event) {
//!         if event.is_terminal() {
//!             cx.close();
//!         }
//!     }
//! }
//!
//! let mut base = ManualBase::new()?;
//! let wire = Wire::new();
//! Bufferevent::scripted(&wire).handler(Lengths).start(&mut base)?;
//!
//! // Byte by byte; and the first answer goes out in two pieces.
//! wire.deliver_in(b"four\nto\n", 1);
//! wire.write_next(WriteStep::Take(1));
//! base.settle()?;
//! assert_eq!(wire.written(), b"4\n2\n");
//!
//! wire.end();
//! base.settle()?;
//! assert!(wire.is_closed());
//! # Ok::<(), bufferevent::Error>(())
//! ```

mod base;
mod script;
mod seed;
mod wire;

pub use bufferevent_runtime::{Census, Random, Ready};

pub(crate) use self::wire::Plug;
pub use self::{
    base::{ManualBase, TURNS},
    script::{ReadStep, WriteStep},
    seed::Seed,
    wire::Wire,
};
