//! The kinds that the suite is run over here: TLS over each of those that are below it, both sides and both versions.

use bufferevent::runtime::SelectorKind;
use bufferevent_ssl::openssl::ssl::SslVersion;

use crate::{
    harness::{FEW, Ground, Kind, Shape, Top, filtered, over, pair, tcp_pair, unix_pair},
    secured::{Side, secured},
};

/// For those that differ in what is below alone.
const TWO: [(Shape, SelectorKind); 2] = [FEW[0], FEW[2]];

pub(crate) const KINDS: [Kind; 5] = [
    Kind {
        name: "TLS over a socket",
        open: || secured(over(unix_pair()), Side::Server, SslVersion::TLS1_3),
        ground: Ground::Socket,
        top: Top::Tls,
        worlds: &FEW,
    },
    Kind {
        name: "TLS over TCP",
        open: || secured(over(tcp_pair()), Side::Client, SslVersion::TLS1_2),
        ground: Ground::Socket,
        top: Top::Tls,
        worlds: &TWO,
    },
    Kind {
        name: "TLS over a pair",
        open: || secured(pair(), Side::Client, SslVersion::TLS1_3),
        ground: Ground::Pair,
        top: Top::Tls,
        worlds: &FEW,
    },
    Kind {
        name: "TLS over a filter",
        open: || secured(filtered(over(unix_pair()), &[251]), Side::Server, SslVersion::TLS1_2),
        ground: Ground::Socket,
        top: Top::Tls,
        worlds: &TWO,
    },
    Kind {
        name: "TLS over TLS",
        open: || {
            let below = secured(over(unix_pair()), Side::Server, SslVersion::TLS1_3);
            secured(below, Side::Client, SslVersion::TLS1_3)
        },
        ground: Ground::Socket,
        top: Top::Tls,
        worlds: &TWO,
    },
];
