//! What a certificate is checked against.

use std::{net::IpAddr, str::FromStr};

use bufferevent::Host;

use crate::{Error, ErrorKind};

/// The name or the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum ServerName {
    /// In lower case, without a dot at its end.
    Dns(Box<str>),
    Address(IpAddr),
}

/// The longest part of a name between dots, in bytes.
const LONGEST_LABEL: usize = 63;

impl FromStr for ServerName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse::<Host>()? {
            Host::V4(address) => Ok(Self::Address(address.into())),
            Host::V6(address, _) => Ok(Self::Address(address.into())),
            Host::Name(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                if name.is_ascii() && name.split('.').all(|label| (1..=LONGEST_LABEL).contains(&label.len()))
                {
                    return Ok(Self::Dns(name.to_ascii_lowercase().into()));
                }
                Err(Error::new(ErrorKind::Name).detailed(name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns(text: &str) -> Option<ServerName> {
        Some(ServerName::Dns(text.into()))
    }

    #[test]
    fn names_and_addresses_are_told_apart() {
        let parse = |text: &str| text.parse::<ServerName>().ok();
        assert_eq!(parse("example.org"), dns("example.org"));
        assert_eq!(parse("Example.ORG."), dns("example.org"), "the same name");
        assert_eq!(parse("localhost"), dns("localhost"));
        assert_eq!(parse("127.0.0.1"), Some(ServerName::Address([127, 0, 0, 1].into())));
        assert_eq!(parse("[::1]"), Some(ServerName::Address("::1".parse().unwrap())));
    }

    #[test]
    fn what_is_neither_is_refused() {
        let long = "a".repeat(LONGEST_LABEL + 1);
        for text in ["", ".", "a..b", ".a", "a\0b", "a b", "b\u{fc}cher.example", &long, "a/b"] {
            assert_eq!(text.parse::<ServerName>().unwrap_err().kind(), ErrorKind::Name, "{text:?}");
        }
    }
}
