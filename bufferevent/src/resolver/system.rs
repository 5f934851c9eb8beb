//! The system's resolver. It blocks: [`Resolver`](super::Resolver) calls it on its threads.

use std::{io, net::SocketAddr, sync::Arc};

use dns_lookup::{AddrInfoHints, LookupErrorKind, getaddrinfo};
use socket2::{Domain, Type};

use super::{LookupError, Query};
use crate::{defaults::ADDRESSES, host::Family};

/// Asks `getaddrinfo` for stream sockets.
pub(super) fn lookup(query: &Query) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints {
        flags: if query.configured_only { libc::AI_ADDRCONFIG } else { 0 },
        address: match query.family {
            Family::V4 => Domain::IPV4.into(),
            Family::V6 => Domain::IPV6.into(),
            Family::Any | Family::PreferV4 | Family::PreferV6 => libc::AF_UNSPEC,
        },
        socktype: Type::STREAM.into(),
        protocol: 0,
    };
    let found = getaddrinfo(Some(query.name()), None, Some(hints)).map_err(of_system)?;
    // Families that are none of the internet's are no addresses to us.
    Ok(found.filter_map(Result::ok).map(|info| info.sockaddr).take(ADDRESSES).collect())
}

fn of_system(error: dns_lookup::LookupError) -> LookupError {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => LookupError::NotFound,
        LookupErrorKind::Again => LookupError::TryAgain,
        _ => LookupError::Failed { code: error.error_num(), source: Arc::new(io::Error::from(error)) },
    }
}
