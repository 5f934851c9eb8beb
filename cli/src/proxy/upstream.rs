//! The server behind a proxy.

use std::str::FromStr;

use bufferevent::{Bufferevent, Builder, SockAddr, Target};

use crate::address::Address;

/// Where connections are passed on to.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// As it was given.
    pub(crate) address: Address,
    to: To,
}

#[derive(Debug, Clone)]
enum To {
    Target(Target),
    Unix(SockAddr),
}

impl Upstream {
    /// A connection to it, which is not under way yet.
    pub(super) fn connect(&self) -> Builder {
        match &self.to {
            To::Target(target) => Bufferevent::connect_target(target.clone()),
            To::Unix(address) => Bufferevent::connect(address.clone()),
        }
    }
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: Address = text.parse()?;
        let to = match &address {
            Address::Host(text) => {
                let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
                // What is passed on is not held back for more: who sent it may wait for the answer.
                let target = Target::host(host, port.parse().unwrap_or(0)).map_err(|why| why.to_string())?;
                To::Target(target.nodelay())
            }
            Address::Unix(_, address) => To::Unix(address.clone()),
        };
        Ok(Self { address, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_an_address_to_connect_to() {
        for good in ["127.0.0.1:1", "[::1]:7000", "localhost:65535", "example.org:80", "unix:/run/some.sock"]
        {
            let upstream = good.parse::<Upstream>();
            assert!(upstream.is_ok_and(|upstream| upstream.address.to_string() == good), "{good}");
        }
        for bad in [
            "",
            "7000",
            ":7000",
            "127.0.0.1",
            "127.0.0.1:0",
            "127.0.0.1:65536",
            "[::1:80",
            "two words:80",
            "unix:",
        ] {
            assert!(bad.parse::<Upstream>().is_err(), "{bad}");
        }
    }
}
