//! What a user calls the other side: an address in one of its literal forms, or a name to look up. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    num::NonZeroU16,
    str::FromStr,
};

/// The longest name that is looked up, in bytes: the longest that DNS can carry, with the dot at its end.
const LONGEST: usize = 254;

/// A host: a literal address, which needs no lookup, or a name.
///
/// Parsed from `1.2.3.4`, `::1`, `[::1]`, `fe80::1%2` (a zone by its number), or a name such as `example.org`. Names are
/// given to the resolver as they are; one outside of ASCII must have been encoded before, by the crate `idna` for one.
///
/// ```
/// use bufferevent::Host;
///
/// assert!(matches!("[::1]".parse()?, Host::V6(..)));
/// assert!(matches!("example.org".parse()?, Host::Name(_)));
/// assert!("two words".parse::<Host>().is_err());
/// # Ok::<(), bufferevent::HostError>(())
/// ```
/// # Libevent
/// The `hostname` of `bufferevent_socket_connect_hostname`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, and the number of its zone; 0 if it has none.
    V6(Ipv6Addr, u32),
    /// A name to look up.
    Name(Box<str>),
}

/// Why a host or a port is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostError {
    /// The host is empty.
    Empty,
    /// The name is longer than any there is.
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// White space, a control character or a NUL in it, or a bracket where none belongs.
    InvalidCharacter(char),
    /// In brackets stands no IPv6 address, or one of the brackets is missing.
    InvalidLiteral,
    /// The port is 0.
    InvalidPort,
    /// There is no address to connect to.
    NoAddress,
}

impl Host {
    /// The address with `port`, unless it is a name.
    #[must_use]
    pub fn literal(&self, port: u16) -> Option<SocketAddr> {
        match self {
            Self::V4(address) => Some(SocketAddr::from((*address, port))),
            Self::V6(address, zone) => Some(SocketAddrV6::new(*address, port, 0, *zone).into()),
            Self::Name(_) => None,
        }
    }
}

/// Which addresses of a name are wanted, and which first.
///
/// # Libevent
/// The `family` of `bufferevent_socket_connect_hostname`: `AF_UNSPEC`, `AF_INET`, `AF_INET6`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Family {
    /// All, that of the first address first: the resolver knows what this machine reaches best.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
    /// All, IPv4 first.
    PreferV4,
    /// All, IPv6 first.
    PreferV6,
}

impl Family {
    /// Whether `address` is wanted.
    pub(crate) fn admits(self, address: &SocketAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Any | Self::PreferV4 | Self::PreferV6 => true,
        }
    }
}

/// The port, unless it is 0.
pub(crate) fn port(number: u16) -> Result<NonZeroU16, HostError> {
    NonZeroU16::new(number).ok_or(HostError::InvalidPort)
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address, 0),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::InvalidLiteral)?;
            return v6(inner).ok_or(HostError::InvalidLiteral);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        match v6(text) {
            Some(host) => Ok(host),
            None => name(text),
        }
    }
}

/// An IPv6 address, with the number of a zone behind it if there is one.
fn v6(text: &str) -> Option<Host> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, zone.parse().ok()?),
        None => (text, 0),
    };
    Some(Host::V6(address.parse().ok()?, zone))
}

fn name(text: &str) -> Result<Host, HostError> {
    if text.is_empty() {
        return Err(HostError::Empty);
    }
    if text.len() > LONGEST {
        return Err(HostError::TooLong { len: text.len() });
    }
    let wrong = |c: &char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '/');
    match text.chars().find(wrong) {
        Some(character) => Err(HostError::InvalidCharacter(character)),
        None => Ok(Host::Name(text.into())),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => write!(f, "{address}"),
            Self::V6(address, 0) => write!(f, "{address}"),
            Self::V6(address, zone) => write!(f, "{address}%{zone}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host is empty"),
            Self::TooLong { len } => write!(f, "a host of {len} bytes; no name has more than {LONGEST}"),
            Self::InvalidCharacter(character) => write!(f, "a host with {character:?} in it"),
            Self::InvalidLiteral => f.write_str("in brackets stands an IPv6 address, and nothing else"),
            Self::InvalidPort => f.write_str("port 0 names nobody"),
            Self::NoAddress => f.write_str("there is no address to connect to"),
        }
    }
}

impl std::error::Error for HostError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Host, HostError> {
        text.parse()
    }

    #[test]
    fn literals_of_both_families_need_no_lookup() {
        // K-12, D-02
        let v6 = |text: &str, zone| Host::V6(text.parse().unwrap(), zone);
        assert_eq!(parsed("1.2.3.4"), Ok(Host::V4([1, 2, 3, 4].into())));
        assert_eq!(parsed("::1"), Ok(v6("::1", 0)));
        assert_eq!(parsed("[::1]"), Ok(v6("::1", 0)));
        assert_eq!(parsed("fe80::1%3"), Ok(v6("fe80::1", 3)));
        assert_eq!(parsed("[fe80::1%3]"), Ok(v6("fe80::1", 3)));
        let address = parsed("[::1]").unwrap().literal(80).unwrap();
        assert_eq!(address, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn what_is_no_literal_is_a_name() {
        // The system resolver knows zones by name, and the old short forms of addresses.
        for name in
            ["localhost", "example.org.", "fe80::1%eth0", "127.1", "1.2.3.4.5", "bücher.example", "a_b"]
        {
            assert_eq!(parsed(name), Ok(Host::Name(name.into())));
            assert_eq!(parsed(name).unwrap().literal(80), None);
            assert_eq!(parsed(name).unwrap().to_string(), name);
        }
    }

    #[test]
    fn what_can_be_no_host_is_refused() {
        // K-12, D16
        assert_eq!(parsed(""), Err(HostError::Empty));
        assert_eq!(parsed("two words"), Err(HostError::InvalidCharacter(' ')));
        assert_eq!(parsed("nul\0"), Err(HostError::InvalidCharacter('\0')));
        assert_eq!(parsed("http://host"), Err(HostError::InvalidCharacter('/')));
        assert_eq!(parsed("::1]"), Err(HostError::InvalidCharacter(']')));
        for literal in ["[::1", "[1.2.3.4]", "[host]", "[]", "[::1]:80"] {
            assert_eq!(parsed(literal), Err(HostError::InvalidLiteral), "{literal}");
        }
        let long = "a".repeat(LONGEST + 1);
        assert_eq!(parsed(&long), Err(HostError::TooLong { len: LONGEST + 1 }));
        assert!(parsed(&long[1..]).is_ok());
        assert_eq!((port(0), port(1).is_ok()), (Err(HostError::InvalidPort), true));
    }
}
