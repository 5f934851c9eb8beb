//! What hides the differences: how a bufferevent is made, locked and driven, and who its peer is.
//!
//! A test is one body, called with every [`Config`]: a [`Kind`] of bufferevent, a [`Set`] of options, a [`Shape`] of
//! bases and workers and a selector. The body starts bufferevents in a [`World`], whose handlers write down each
//! callback in a [`Log`] and then run the test's script; the peer is a plain non-blocking socket of the standard
//! library, or what speaks to the filters of the kind. Nothing sleeps to synchronise: [`World::until`] waits for a condition, and fails after [`LIMIT`].
//!
//! Each program has a module `kinds`, with the table of those it is run over: a new kind is one more row of it.

mod actor;
mod code;
mod config;
mod conn;
mod cx;
mod half;
mod kind;
mod leaks;
mod log;
mod peers;
mod world;

use std::time::Duration;

pub(crate) use self::{
    actor::Actor,
    config::{
        Config, SETS, Set, Shape, each, each_by_hand, each_by_hand_once, each_counted, each_driven, each_of,
        each_once, each_over_socket, each_over_unix, each_socket, pass,
    },
    conn::{Conn, Who, launch},
    cx::Cx,
    kind::{DRIVEN, FEW, Ground, Kind, SHAPES, Top, filtered, over, pair},
    log::{Call, Entry, Log},
    peers::{End, Peer, pattern, tcp_pair, turn_peers, unix_accepted, unix_pair},
    world::{Drive, World},
};

/// How long a condition may take to come true. Only a failing test waits as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);
