//! Every default limit, in one table.

use std::{fmt, time::Duration};

use bufferevent_evbuffer::{FILE_BLOCK, OBSERVER_ROUNDS};
use bufferevent_ratelimit::{GRANT_GOOD_FOR, GROUP_DEPTH_MAX, LEASE_MAX, LEASE_MIN};
use bufferevent_runtime::{
    ACCEPT_BACK_OFF, ACCEPTS_PER_RUN, BACKLOG, BLOCK, BLOCKED_AFTER, DEFERRED_PER_PASS, EVENTS,
    GRACE_AFTER_PANIC, HANDSHAKES, HANDSHAKES_PER_PASS, INBOX, SPARE_DESCRIPTORS, SPARE_TOKENS,
    TIMERS_PER_PASS,
};

/// Reads of one run at most: then it is the turn of others. So a run reads 256 KiB, or so many times what
/// [`set_max_single_read`](crate::Bufferevent::set_max_single_read) says.
pub const READS_PER_RUN: u8 = 4;
/// Bytes one read takes at most.
pub const MAX_SINGLE_READ: usize = BLOCK;
/// Bytes one write sends at most, and one run writes.
pub const MAX_SINGLE_WRITE: usize = 64 * 1024;
/// Bytes of input at which reading is suspended until it is drained, whatever the high mark says.
pub const INPUT_CAP: usize = 4 * 1024 * 1024;
/// Bytes of output at which `write` reports full.
pub const OUTPUT_HIGH: usize = 256 * 1024;
/// Bytes of output past which `write` is refused.
pub const OUTPUT_CAP: usize = 4 * 1024 * 1024;
/// Bytes that one half of a pair has sent and the other has not taken yet, each way.
pub const PAIR_QUEUE: usize = 64 * 1024;
/// Operations a mailbox holds; their bytes are bounded by the output's cap.
pub const MAILBOX: usize = 1_024;
/// How long a write waits that the system had no memory for: readiness may never tell that there is some.
pub const SEND_RETRY: Duration = Duration::from_millis(5);
/// How long a connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the handshake of a filter may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a drain of a whole runtime may take.
pub const DRAIN_GRACE: Duration = Duration::from_secs(30);
/// How long a close waits for the peer to end its side after ours was ended.
pub const LINGER: Duration = Duration::from_secs(2);
/// Bytes a close reads and drops meanwhile.
pub const LINGER_BYTES: usize = 256 * 1024;
/// How long a close waits for the peer to take any of the output that is left.
pub const DRAIN_IDLE: Duration = Duration::from_secs(30);
/// Addresses of a host that are tried at most.
pub const ADDRESSES: usize = 64;
/// Addresses that are tried at once at most; with the delay below, each lives long enough to repeat its first packet.
pub const ATTEMPTS: usize = 6;
/// The head start of one address before the next is tried too.
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How long the lookup of a name may take.
pub const LOOKUP_DEADLINE: Duration = Duration::from_secs(15);
/// Threads of a resolver.
pub const RESOLVER_THREADS: usize = 4;
/// Questions that wait for one of them.
pub const RESOLVER_QUEUE: usize = 1_024;
/// How long such a thread waits for a question before it ends.
pub const RESOLVER_IDLE: Duration = Duration::from_secs(10);

/// How long a bufferevent under a [`MemoryLimit`](crate::MemoryLimit) has moved no byte before it may be ended for the memory
/// it holds.
pub const MEMORY_IDLE: Duration = Duration::from_secs(10);
/// Between two looks for such ones.
pub const MEMORY_LOOK: Duration = Duration::from_secs(1);

/// Filters above each other.
pub const MAX_LAYERS: usize = 64;
/// Calls in which a filter may give what it keeps at the end of a direction; in each as much as the buffer behind it holds.
pub const FINISH_CALLS: u32 = 1_024;
/// Bytes that a filter may give in a close without taking any of what is there for it.
pub const FINISH_BYTES: usize = 64 << 20;
/// Pieces in which what a filter has given and is not sent is counted back into what it had taken: of more, two are one.
pub const UNSENT_PIECES: usize = 64;

/// Prints every default limit, one a line.
///
/// ```
/// println!("{}", bufferevent::Defaults);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Defaults;

impl fmt::Display for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("read high mark", "none".to_owned()),
            ("input cap, bytes", INPUT_CAP.to_string()),
            ("output high mark, bytes", OUTPUT_HIGH.to_string()),
            ("output cap, bytes", OUTPUT_CAP.to_string()),
            ("most bytes per read", MAX_SINGLE_READ.to_string()),
            ("reads per run, writes per run", format!("{READS_PER_RUN}; 1")),
            ("most bytes per write", MAX_SINGLE_WRITE.to_string()),
            ("queue of a pair, each way, bytes", PAIR_QUEUE.to_string()),
            ("mailbox, operations", MAILBOX.to_string()),
            ("read-ahead of a file that is sent, bytes", FILE_BLOCK.to_string()),
            ("rounds of observers per operation", OBSERVER_ROUNDS.to_string()),
            ("inbox of a base, messages", INBOX.to_string()),
            ("events per poll", EVENTS.to_string()),
            ("timers per pass", TIMERS_PER_PASS.to_string()),
            ("deferred callbacks per pass", DEFERRED_PER_PASS.to_string()),
            ("accepts per run", ACCEPTS_PER_RUN.to_string()),
            ("connections per listener, per process", "none".to_owned()),
            ("memory of all buffers together", "none".to_owned()),
            (
                "under it: idle before it may be ended; looked",
                format!("{MEMORY_IDLE:?}; every {MEMORY_LOOK:?}"),
            ),
            ("rate limits, of one and of groups", "none".to_owned()),
            ("rate limits: depth of groups", GROUP_DEPTH_MAX.to_string()),
            ("rate limits: a grant is good for", format!("{GRANT_GOOD_FOR:?}")),
            ("rate limits: a lease, bytes, until the tick ends", format!("{LEASE_MIN} to {LEASE_MAX}")),
            ("a callback is blocked after; told", format!("{BLOCKED_AFTER:?}; nobody")),
            ("descriptors left by a limit on them", SPARE_DESCRIPTORS.to_string()),
            ("priorities of a base", "1".to_owned()),
            ("accept queue of the kernel", BACKLOG.to_string()),
            ("pause after a shortage of descriptors", format!("{ACCEPT_BACK_OFF:?}")),
            ("read, write and life timeouts", "none".to_owned()),
            ("connect timeout; that of a lookup", format!("{CONNECT_TIMEOUT:?}; {LOOKUP_DEADLINE:?}")),
            ("handshake timeout", format!("{HANDSHAKE_TIMEOUT:?}")),
            ("handshakes at once, per base; calls per pass", format!("{HANDSHAKES}; {HANDSHAKES_PER_PASS}")),
            ("connect: addresses tried; at once", format!("{ADDRESSES}; {ATTEMPTS}")),
            ("connect: head start of an address", format!("{ATTEMPT_DELAY:?}")),
            ("resolver: threads; questions", format!("{RESOLVER_THREADS}; {RESOLVER_QUEUE}")),
            ("resolver: idle before a thread ends", format!("{RESOLVER_IDLE:?}")),
            ("pause after a shortage of memory to send", format!("{SEND_RETRY:?}")),
            ("drain of a runtime", format!("{DRAIN_GRACE:?}")),
            ("grace after a panic that got out", format!("{GRACE_AFTER_PANIC:?}")),
            ("tokens left behind by a bufferevent that moves", SPARE_TOKENS.to_string()),
            ("filters above each other", MAX_LAYERS.to_string()),
            ("calls of a filter to give the rest", FINISH_CALLS.to_string()),
            ("bytes of one that takes nothing in a close", FINISH_BYTES.to_string()),
            ("pieces of what a filter gave that is not sent", UNSENT_PIECES.to_string()),
            ("close: wait without progress", format!("{DRAIN_IDLE:?}")),
            ("close: linger", format!("{LINGER:?}, {LINGER_BYTES} bytes")),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<52}{value}")?;
        }
        Ok(())
    }
}
