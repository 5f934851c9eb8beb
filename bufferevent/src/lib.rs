//! Buffered, callback-driven connections on N event bases and M threads: libevent's bufferevents, anew.
//!
//! A [`Bufferevent`] is a connection with an input and an output buffer. Its [`Handler`] is told when input has come,
//! when output has gone, and when anything else happened. It lives on a [`Base`], and a [`Runtime`] runs N bases on M
//! threads.
//!
//! Each bufferevent is either *confined* to its base, without a lock, or THREADSAFE: then it has a strand of its own,
//! any worker may run it, and any thread may use it through its [`Handle`].
//!
//! It is over a socket, or half of a [pair](Bufferevent::pair), which joins two of them without one. A [`Filter`] changes what
//! passes through it; filters stack over either. A [`RateLimitGroup`] limits many of them together.
//!
//! ```no_run
//! use bufferevent::{Bufferevent, Context, Event, Handler, Runtime};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_read(&mut self, cx: &mut Context<'_>) {
//!         let (input, output) = cx.buffers();
//!         // Moves segments, copies nothing. Refused past the cap: it stays until the output has drained.
//!         let _ = output.append(input);
//!     }
//!
//!     fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
//!         if event.is_terminal() {
//!             cx.close();
//!         }
//!     }
//! }
//!
//! fn main() -> bufferevent::Result<()> {
//!     let runtime = Runtime::builder().build()?; // workers = bases = cores
//!     runtime.listen("127.0.0.1:7000", |connection, base| {
//!         Bufferevent::socket(connection).handler(Echo).start(base)?;
//!         Ok(())
//!     })?;
//!     Ok(runtime.run()?)
//! }
//! ```
//!
//! In the repository `docs/migrating-from-libevent.md` is a guide for who comes from libevent, and `docs/calls.md` tells
//! which call is allowed in which thread and callback, and whether it waits.

#![forbid(unsafe_code)]

mod attempts;
mod bound;
mod bufferevent;
mod builder;
mod clocks;
mod confined;
mod connector;
mod context;
mod defaults;
mod drain;
mod engine;
mod error;
mod event;
mod explain;
mod filter;
mod handle;
mod handler;
mod host;
mod interest;
mod mailbox;
mod memory;
mod moving;
mod notify;
mod options;
mod pair;
mod pending;
mod pipe;
mod plain;
mod resolver;
mod shared;
mod stream;
mod suspend;
mod target;
#[cfg(feature = "test-util")]
pub mod testing;
mod throttle;
mod trace;

pub use bufferevent_evbuffer as evbuffer;
pub use bufferevent_evbuffer::Evbuffer;
pub use bufferevent_ratelimit as ratelimit;
pub use bufferevent_ratelimit::{
    ConfigError, GroupSnapshot, ParseRateError, Rate, RateFault, TokenBucketConfig, TokenSource, TooDeep,
    ZeroRate,
};
pub use bufferevent_runtime as runtime;
pub use bufferevent_runtime::{
    Accepted, AddressLimit, BLOCKED_AFTER, Base, BaseHandle, Blocked, CallbackKind, ConnectionLimit, EventId,
    EventSettings, Listener, ListenerHandle, Movable, Pinned, Placement, Runtime, Turned, Verdict, What,
};
pub use socket2::SockAddr;

pub use self::{
    bufferevent::{Bufferevent, Closing, Flushed, MinRate, Room},
    builder::{AnyKind, Builder, ConfinedKind, IntoSlot, SharedKind, Started},
    confined::Confined,
    context::{BaseExt, Context, Id, Place, Spot},
    defaults::*,
    drain::{Drain, Drained, Draining, RuntimeExt},
    error::{Error, Result},
    event::{Cause, Closed, Event, TimeLimit, Trigger},
    explain::{Flow, Snapshot, Stall, State, StrandSnapshot},
    filter::{
        Ending, Filter, FilterCall, FilterError, FilterFn, FilterSide, FilterStatus, FlushMode, Handshake,
        SideFn,
    },
    handle::{Guard, Handle, lock_both},
    handler::{
        Call, Callbacks, DataCall, EventCall, Handler, HandlerAffinity, IntoHandler, NoHandler, PanicPolicy,
        Unlocked, UnlockedHandler,
    },
    host::{Family, Host, HostError},
    interest::{Direction, Interest},
    memory::{MemoryLimit, MemoryLimitBuilder, MemoryStage},
    moving::Moving,
    options::Options,
    pair::Partner,
    pipe::{Pipe, PipeEnd, Piped, Relay, pipe},
    resolver::{LookupError, Query, Reply, Resolve, Resolver, ResolverBuilder, ResolverExt},
    stream::Stream,
    suspend::Suspend,
    target::Target,
    throttle::RateLimitGroup,
};
