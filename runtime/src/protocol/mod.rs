//! The handshakes between threads, each one atomic word and the read-modify-writes on it. A module here holds no fd,
//! no clock and no callback: it says what its caller owes, and the shell beside it does that. The `loom-tests` crate
//! drives these very modules.
//!
//! | protocol                                  | module                            |
//! |-------------------------------------------|-----------------------------------|
//! | 1 strand word, 4 hand-off, 7 deferred     | `strand_word`                     |
//! | 2 parking and waking, the call for help   | `park`                            |
//! | 2 bases shared through a top epoll        | `base_word`, `sleepers`           |
//! | 3 loopbreak and loopexit                  | `gate`                            |
//! | 5 inbox                                   | `inbox`                           |
//! | 6 close and finish                        | `lifecycle`, with `waiter` to sleep |
//! | 9 question and answer                     | `answer`                          |
//! | 10 moving a strand to another base         | `seat`                           |
//! | 11 which callback a worker is in          | `callback_mark`                   |
//! | 12 the end of a drain                     | `quiet`, with marks in `park` and `sleepers` |
//! | 13 the two ends of a pair                 | `conduit`, under a leaf for each way |
//! | 14 calling who may move                   | `bell`, under a leaf              |
//! | 15 an answer that is waited for           | `awaited`, under a leaf           |
//!
//! What they share: every write is an RMW, so that all of them stand in one order and each sees the one before it. (But
//! for what a worker notes of itself in 11.) Who publishes does so and *then* makes its RMW; who wants to sleep, leave or stop makes its RMW and *then* looks. Of
//! two such RMWs one is first: either the second party sees the announcement, or the first party's data is visible to
//! the second's look. No fence, no SeqCst: loom and the thread sanitizer follow both sides.
//!
//! The RMWs are AcqRel throughout: each happens before all later ones on its word, and nobody has to think in halves. An
//! ORDER comment names the half on which a guarantee rests, or says that only the RMW matters, and the model that dies
//! without it.

#![cfg_attr(
    not(loom),
    allow(dead_code, unreachable_pub, unused_imports, reason = "public under loom; some have no caller")
)]

mod answer;
mod awaited;
mod base_word;
mod bell;
mod callback_mark;
mod conduit;
mod gate;
mod inbox;
mod lifecycle;
mod park;
mod quiet;
mod reasons;
mod seat;
mod sleepers;
mod strand_word;
mod waiter;

pub use answer::{AnswerWord, Answered, Cancelled};
pub use awaited::Awaited;
pub use base_word::{BaseWord, Release};
pub use bell::Bell;
pub use callback_mark::CallbackMark;
pub use conduit::{Conduit, End, Ended, Put, Taken};
pub use gate::Gate;
pub use inbox::Inbox;
pub use lifecycle::Lifecycle;
pub use park::{Park, ParkWord};
pub use quiet::{Population, is_quiet};
pub use reasons::Reasons;
pub use seat::Seat;
pub use sleepers::Sleepers;
pub use strand_word::{Finished, Posted, SPARE_TOKENS, Snapshot, StrandWord};
pub use waiter::Waiter;
