//! Which protocol is spoken inside: lists of names, and the choice of a server. Pure.

use crate::Error;

/// The names of protocols in the order of preference, as they go over the wire: each behind its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Protocols(Vec<u8>);

impl Protocols {
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is none, or one is empty or longer than 255 bytes.
    pub(crate) fn new(names: &[&[u8]]) -> Result<Self, Error> {
        let mut wire = Vec::new();
        for name in names {
            let len = u8::try_from(name.len()).ok().filter(|len| *len > 0);
            wire.push(len.ok_or_else(|| Error::configuration("the name of a protocol has 1 to 255 bytes"))?);
            wire.extend_from_slice(name);
        }
        if wire.is_empty() { Err(Error::configuration("there is no protocol")) } else { Ok(Self(wire)) }
    }

    pub(crate) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// The first of ours that is among those of a client.
    pub(crate) fn select<'a>(&self, theirs: &'a [u8]) -> Option<&'a [u8]> {
        names(&self.0).find_map(|ours| names(theirs).find(|theirs| *theirs == ours))
    }
}

/// The names in a list; of a damaged one, those before the damage.
fn names(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, rest) = wire.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        wire = rest;
        Some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocols(names: &[&str]) -> Protocols {
        Protocols::new(&names.iter().map(|name| name.as_bytes()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_servers_order_decides() {
        let ours = protocols(&["h2", "http/1.1"]);
        assert_eq!(ours.wire(), b"\x02h2\x08http/1.1");
        assert_eq!(ours.select(b"\x08http/1.1\x02h2"), Some(&b"h2"[..]));
        assert_eq!(ours.select(b"\x08http/1.1"), Some(&b"http/1.1"[..]));
        assert_eq!(ours.select(b"\x02h3"), None);
        assert_eq!(ours.select(b"\x02h3\xffh2"), None, "damaged");
        assert_eq!(ours.select(b""), None);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!(Protocols::new(&[]).is_err());
        assert!(Protocols::new(&[b""]).is_err());
        assert!(Protocols::new(&[&[0; 256]]).is_err());
    }
}
