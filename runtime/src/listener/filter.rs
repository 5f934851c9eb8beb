//! Who is let in: a hook that is asked before a connection is handed on; the usual one, a bound for each address.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroUsize,
    sync::Arc,
};

use bufferevent_sync::Leaf;

use super::{Accepted, ConnectionLimit};

/// What becomes of a connection that was accepted, see [`Listener::filter`](super::Listener::filter).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Verdict {
    /// It is handed on.
    Admit,
    /// It is handed on, and counted under this limit too until it is over. At the limit it is refused.
    Under(ConnectionLimit),
    /// It is closed, and nobody but [`BaseCounters::refused`](crate::BaseCounters::refused) hears of it.
    Refuse,
}

pub(super) type Filter = Arc<dyn Fn(&Accepted) -> Verdict + Send + Sync>;

/// A bound on the connections of each peer's address that are open at once. A clone is the same bound.
///
/// An address is that of IPv4, or the first 64 bits of one of IPv6, of which a peer has as many as it likes. Peers without
/// an internet address are admitted. It remembers twice as many addresses
/// as ever had a connection at once, at most.
///
/// ```
/// use std::num::NonZeroUsize;
/// use bufferevent_runtime::{AddressLimit, Base, Listener, Pinned};
///
/// let limit = AddressLimit::new(NonZeroUsize::new(20).expect("not zero"));
/// let mut base = Base::<Pinned>::new()?;
/// let listener = Listener::bind("127.0.0.1:0")?.filter(move |accepted| limit.verdict(accepted));
/// listener.start(&mut base, |_connection, _base| Ok(()))?;
/// # Ok::<(), bufferevent_runtime::Error>(())
/// ```
#[derive(Clone)]
pub struct AddressLimit {
    most: NonZeroUsize,
    /// Leaf lock, taken once for each accept.
    synced: Arc<Leaf<Known>>,
}

#[derive(Default)]
struct Known {
    /// The hash is keyed at random, so that no peer can choose addresses that collide (F46).
    limits: HashMap<IpAddr, ConnectionLimit>,
    /// So many may be known before those without a connection are forgotten.
    room: usize,
}

impl AddressLimit {
    /// At most `most` connections of each address.
    pub fn new(most: NonZeroUsize) -> Self {
        Self { most, synced: Arc::default() }
    }

    /// Admits a connection under the limit of its address. One whose peer is gone already is refused.
    pub fn verdict(&self, accepted: &Accepted) -> Verdict {
        match accepted.peer_addr().map(|peer| peer.as_socket()) {
            Ok(Some(peer)) => Verdict::Under(self.limit_of(peer.ip())),
            Ok(None) => Verdict::Admit,
            Err(_) => Verdict::Refuse,
        }
    }

    fn limit_of(&self, address: IpAddr) -> ConnectionLimit {
        let mut known = self.synced.lock();
        if known.limits.len() > known.room {
            // Whoever is counted has a clone.
            known.limits.retain(|_, limit| limit.is_shared());
            known.room = 2 * known.limits.len();
        }
        known.limits.entry(prefix(address)).or_insert_with(|| ConnectionLimit::new(self.most)).clone()
    }
}

/// The part of an address that a peer cannot choose at will.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

impl fmt::Debug for AddressLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressLimit").field("most", &self.most).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_a_peer_cannot_choose() {
        let same = |one: &str, other: &str| prefix(one.parse().unwrap()) == prefix(other.parse().unwrap());
        assert!(same("10.0.0.1", "::ffff:10.0.0.1") && !same("10.0.0.1", "10.0.0.2"));
        assert!(
            same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") && !same("2001:db8:1:2::1", "2001:db8:1:3::1")
        );
    }

    #[test]
    fn addresses_without_a_connection_are_forgotten() {
        let limit = AddressLimit::new(NonZeroUsize::MIN);
        let address = |number: u32| IpAddr::from(number.to_be_bytes());
        let kept: Vec<_> = (0..10).map(|number| limit.limit_of(address(number))).collect();
        (10..10_000).for_each(|number| drop(limit.limit_of(address(number))));
        assert!(limit.synced.lock().limits.len() <= 2 * kept.len() + 1);
        assert!(kept[3].is_same(&limit.limit_of(address(3))), "one that is open is counted where it was");
    }
}
