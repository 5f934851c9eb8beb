//! Addresses as they are given: HOST:PORT, or unix:PATH.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
    str::FromStr,
};

use bufferevent::{Bufferevent, Builder, Listener, SockAddr, runtime};

use crate::failure::Failure;

/// Where to listen, or what to connect to.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    /// HOST:PORT. Whether the host has an address is found out later.
    Host(String),
    /// A Unix-domain socket.
    Unix(PathBuf, SockAddr),
}

/// What to connect to, once it was looked up.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    /// The first that can be had; at least one.
    Any(Vec<SocketAddr>),
    Unix(SockAddr),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            let address = SockAddr::unix(path).map_err(|why| why.to_string())?;
            return Ok(Self::Unix(path.into(), address));
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        match port.map(str::parse::<u16>) {
            Some(Ok(_)) => Ok(Self::Host(text.to_owned())),
            _ => Err("expected HOST:PORT, such as 127.0.0.1:7000, or unix:PATH".to_owned()),
        }
    }
}

impl Address {
    pub(crate) fn listen(&self) -> runtime::Result<Listener> {
        match self {
            Self::Host(address) => Listener::bind(address),
            Self::Unix(path, _) => Listener::bind_unix(path),
        }
    }

    /// Looks a name up.
    pub(crate) fn resolve(&self) -> Result<Resolved, Failure> {
        let fault = |why: &dyn fmt::Display| Failure::of(format_args!("cannot resolve {self}"), why);
        let address = match self {
            Self::Host(address) => address,
            Self::Unix(_, address) => return Ok(Resolved::Unix(address.clone())),
        };
        let found: Vec<_> = address.to_socket_addrs().map_err(|why| fault(&why))?.collect();
        match found.is_empty() {
            true => Err(fault(&"no address")),
            false => Ok(Resolved::Any(found)),
        }
    }

    /// The name or number of the host, which a certificate can be for.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Host(address) => Some(address.rsplit_once(':')?.0.trim_matches(['[', ']'])),
            Self::Unix(..) => None,
        }
    }
}

impl Resolved {
    pub(crate) fn connect(&self) -> Builder {
        match self {
            Self::Any(addresses) => match **addresses {
                [only] => Bufferevent::connect(only),
                ref all => Bufferevent::connect_any(all),
            },
            Self::Unix(address) => Bufferevent::connect(address.clone()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(address) => f.write_str(address),
            Self::Unix(path, _) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_or_a_path() {
        for good in
            ["127.0.0.1:0", "[::1]:7000", "localhost:65535", "unix:/run/some.sock", "unix:here", "unix:7000"]
        {
            assert!(good.parse::<Address>().is_ok_and(|address| address.to_string() == good), "{good}");
        }
        let long = format!("unix:/{}", "x".repeat(200));
        for bad in
            ["", "7000", ":7000", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "a:b", "unix:", "unix", &long]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_can_be_for_a_host_and_for_no_path() {
        for (text, host) in
            [("[::1]:7000", Some("::1")), ("localhost:1", Some("localhost")), ("unix:/x", None)]
        {
            assert_eq!(text.parse::<Address>().unwrap().host(), host);
        }
    }
}
