//! The kinds that the suite is run over: sockets, pairs and filters.

use crate::harness::{
    DRIVEN, FEW, Ground, Kind, SHAPES, Top, filtered, over, pair, tcp_pair, unix_accepted, unix_pair,
};

pub(crate) const KINDS: [Kind; 7] = [
    Kind {
        name: "socket over a Unix pair",
        open: || over(unix_pair()),
        ground: Ground::Socket,
        top: Top::Nothing,
        worlds: &DRIVEN,
    },
    Kind {
        name: "socket over TCP",
        open: || over(tcp_pair()),
        ground: Ground::Socket,
        top: Top::Nothing,
        worlds: &DRIVEN,
    },
    Kind {
        name: "socket over a Unix listener",
        open: || over(unix_accepted()),
        ground: Ground::Socket,
        top: Top::Nothing,
        worlds: &FEW,
    },
    Kind { name: "pair", open: pair, ground: Ground::Pair, top: Top::Nothing, worlds: &SHAPES },
    Kind {
        name: "filter over a socket",
        open: || filtered(over(unix_pair()), &[251]),
        ground: Ground::Socket,
        top: Top::Filter,
        worlds: &FEW,
    },
    Kind {
        name: "filter over a pair",
        open: || filtered(pair(), &[241]),
        ground: Ground::Pair,
        top: Top::Filter,
        worlds: &FEW,
    },
    Kind {
        name: "filter over a filter",
        open: || filtered(over(unix_pair()), &[251, 7]),
        ground: Ground::Socket,
        top: Top::Filter,
        worlds: &FEW,
    },
];
