//! The server behind a proxy.

use std::str::FromStr;

use bufferevent::Target;

/// Where connections are passed on to.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    /// As it was given.
    pub(crate) address: String,
    pub(crate) target: Target,
}

impl FromStr for Upstream {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |port: &str| port.parse::<u16>().ok();
        let parts = text.rsplit_once(':').and_then(|(host, digits)| Some((host, port(digits)?)));
        let (host, port) = parts.ok_or("expected HOST:PORT, such as 127.0.0.1:7000")?;
        // What is passed on is not held back for more: who sent it may wait for the answer.
        let target = Target::host(host, port).map_err(|why| why.to_string())?.nodelay();
        Ok(Self { address: text.to_owned(), target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port_to_connect_to() {
        for good in ["127.0.0.1:1", "[::1]:7000", "localhost:65535", "example.org:80"] {
            assert!(good.parse::<Upstream>().is_ok_and(|upstream| upstream.address == good), "{good}");
        }
        for bad in
            ["", "7000", ":7000", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "[::1:80", "two words:80"]
        {
            assert!(bad.parse::<Upstream>().is_err(), "{bad}");
        }
    }
}
