//! The contract of every bufferevent, over TLS: the bodies are bufferevent's own, with kinds of this program, so what is told is
//! the same as over plain bytes (T11). Those that make their own connections are not repeated.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../common/mod.rs"]
#[allow(unused_imports, reason = "it serves other programs too")]
mod common;
#[path = "../../../bufferevent/tests/contract/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "it serves other programs too")]
mod harness;
mod kinds;
mod secured;

#[path = "../../../bufferevent/tests/contract/backpressure.rs"]
mod backpressure;
#[path = "../../../bufferevent/tests/contract/buffers.rs"]
mod buffers;
#[path = "../../../bufferevent/tests/contract/cutting.rs"]
mod cutting;
#[path = "../../../bufferevent/tests/contract/descriptor.rs"]
mod descriptor;
#[path = "../../../bufferevent/tests/contract/draining.rs"]
mod draining;
#[path = "../../../bufferevent/tests/contract/ending.rs"]
mod ending;
#[path = "../../../bufferevent/tests/contract/explaining.rs"]
mod explaining;
#[path = "../../../bufferevent/tests/contract/files.rs"]
mod files;
#[path = "../../../bufferevent/tests/contract/groups.rs"]
mod groups;
#[path = "../../../bufferevent/tests/contract/handlers.rs"]
mod handlers;
#[path = "../../../bufferevent/tests/contract/limits.rs"]
mod limits;
#[path = "../../../bufferevent/tests/contract/mailbox.rs"]
mod mailbox;
#[path = "../../../bufferevent/tests/contract/misuse.rs"]
mod misuse;
#[path = "../../../bufferevent/tests/contract/moving.rs"]
mod moving;
#[path = "../../../bufferevent/tests/contract/observers.rs"]
mod observers;
#[path = "../../../bufferevent/tests/contract/order.rs"]
mod order;
#[path = "../../../bufferevent/tests/contract/panics.rs"]
mod panics;
#[path = "../../../bufferevent/tests/contract/piping.rs"]
mod piping;
#[path = "../../../bufferevent/tests/contract/shutting.rs"]
mod shutting;
#[path = "../../../bufferevent/tests/contract/socket.rs"]
mod socket;
#[path = "../../../bufferevent/tests/contract/switches.rs"]
mod switches;
#[path = "../../../bufferevent/tests/contract/timeouts.rs"]
mod timeouts;
#[path = "../../../bufferevent/tests/contract/watermarks.rs"]
mod watermarks;
