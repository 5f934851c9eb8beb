//! N event bases on M work-stealing threads.
//!
//! A [`Runtime`] owns bases and workers. Each base has a selector, a timer wheel and an inbox; what is confined to it
//! runs on its turns without a lock, and what has a strand of its own may run on any worker. One base can also be driven
//! by hand ([`Base::new`], [`Base::turn`]), and workers can be run on threads of the program's own
//! ([`Runtime::worker`]).
//!
//! This crate knows nothing of buffers and connections; the crate `bufferevent` is built on it and re-exports what its
//! users need.

mod protocol;
#[cfg_attr(loom, allow(unreachable_pub, reason = "for the models"))]
mod semaphore;

#[cfg(loom)]
#[doc(hidden)]
pub mod __loom {
    pub use crate::protocol::*;
    pub use crate::semaphore::*;
}

#[cfg(not(loom))]
mod affinity;
#[cfg(not(loom))]
mod base;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod callback;
#[cfg(all(not(loom), feature = "test-util"))]
mod census;
#[cfg(not(loom))]
mod clock;
#[cfg(not(loom))]
mod counters;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod event;
#[cfg(not(loom))]
mod explain;
#[cfg(not(loom))]
mod lane;
#[cfg(not(loom))]
mod listener;
#[cfg(not(loom))]
mod placement;
#[cfg(not(loom))]
mod random;
#[cfg(not(loom))]
mod runtime;
#[cfg(not(loom))]
mod sched;
#[cfg(not(loom))]
mod scratch;
#[cfg(not(loom))]
mod selector;
#[cfg(not(loom))]
mod slots;
#[cfg(not(loom))]
mod source;
#[cfg(not(loom))]
mod strand;
#[cfg(not(loom))]
mod task;
#[cfg(not(loom))]
mod timer;
#[cfg(not(loom))]
mod timers;

#[cfg(all(not(loom), feature = "test-util"))]
pub use self::census::{Census, Live};
#[cfg(not(loom))]
pub use self::{
    affinity::{Affinity, IntoSource, Movable, Pinned},
    base::{
        Base, BaseHandle, Check, DEFERRED_PER_PASS, EVENTS, HANDSHAKES, INBOX, Object, PRIORITIES, Prepare,
        TIMERS_PER_PASS, Turned,
    },
    builder::{Builder, MOST},
    callback::{BLOCKED_AFTER, Blocked, CallbackKind, InCallback},
    clock::{Clock, ManualClock, Tick, Time},
    counters::{BaseCounters, CallbackTimes, WorkerCounters},
    error::{Error, Result},
    event::{EventId, EventSettings, EventState, Fired, NoDescriptor, Signalled, Waited, Waiting, What},
    explain::{BaseSnapshot, RuntimeSnapshot, WorkerSnapshot},
    listener::{
        ACCEPT_BACK_OFF, ACCEPTS_PER_RUN, Accepted, Accepting, AddressLimit, BACKLOG, BoxError,
        ConnectionLimit, ListenOptions, Listener, ListenerHandle, Paused, Permit, SPARE_DESCRIPTORS, Verdict,
    },
    placement::Placement,
    protocol::{
        AnswerWord, Answered, Awaited, Bell, Cancelled, Conduit, End, Ended, Lifecycle, Put, Reasons,
        SPARE_TOKENS, Taken, Waiter,
    },
    random::Random,
    runtime::Runtime,
    sched::{GRACE_AFTER_PANIC, Worker},
    scratch::{BLOCK, HANDSHAKES_PER_PASS, Scratch},
    selector::{AnySelector, Event, Events, Pollable, Ready, Registered, Selector, SelectorKind, Token},
    semaphore::{Semaphore, SemaphorePermit},
    slots::Key,
    source::{After, Source},
    strand::{Body, Held, Left, Lent, Seating, Strand, StrandGuard, holds_strand, lock_both},
    task::drop_panic,
    timer::{TimerKey, Wheel},
    timers::{Every, Once, TimerId},
};
