//! What a kind of bufferevent is. Which there are, says the program: its module `kinds`.

use std::{fmt, os::fd::OwnedFd};

use bufferevent::{Bufferevent, Builder, runtime::SelectorKind};

use super::{
    Peer, Shape,
    code::{Code, Coded, InCode},
};

/// A kind of bufferevent, over a fresh connection.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Makes a bufferevent that is not started, and its peer.
    pub(crate) open: fn() -> (Builder, Peer),
    /// What carries the bytes to the peer.
    pub(crate) ground: Ground,
    /// What is above that.
    pub(crate) top: Top,
    /// Where it is tried: a kind that adds nothing to what a selector sees needs not all of them.
    pub(crate) worlds: &'static [(Shape, SelectorKind)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    /// A socket: it has a descriptor, the kernel may end it with an error, and a close waits for the peer's end, so that
    /// the kernel does not drop what was sent.
    Socket,
    /// A pair: it has no descriptor and knows no errors, and what was sent is the peer's, whatever becomes of the rest.
    Pair,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Top {
    Nothing,
    /// A filter that changes bytes, and makes as many of them.
    Filter,
    /// TLS: it makes records, and limits count those.
    #[allow(dead_code, reason = "for the suite over TLS")]
    Tls,
}

impl Kind {
    /// Whether a socket carries the bytes.
    pub(crate) fn is_over_socket(&self) -> bool {
        self.ground == Ground::Socket
    }

    /// Whether it is a socket itself: a filter keeps what is below it in place of a descriptor, and one exchanged there
    /// goes on in the middle of what the filter does to the bytes.
    pub(crate) fn is_socket(&self) -> bool {
        self.is_over_socket() && !self.is_filter()
    }

    /// Whether it is TLS: what is written goes in records, which limits count, and so does the end. So the peer can tell an end
    /// from a cut, and nothing can be told to one that is gone.
    pub(crate) fn is_tls(&self) -> bool {
        self.top == Top::Tls
    }

    /// Whether a peer can tell a cut from an end: by an error of TCP, of a pair, or of TLS. A Unix socket has none.
    pub(crate) fn tells_cuts(&self) -> bool {
        self.is_tls() || self.ground == Ground::Pair || self.name.contains("TCP")
    }

    /// Whether it is a filter over another.
    pub(crate) fn is_filter(&self) -> bool {
        self.top != Top::Nothing
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A socket over one end of a connection.
pub(crate) fn over((ours, peer): (OwnedFd, Peer)) -> (Builder, Peer) {
    (Bufferevent::socket(ours), peer)
}

/// A half of a pair.
pub(crate) fn pair() -> (Builder, Peer) {
    let (ours, theirs) = Bufferevent::pair();
    (ours, Peer::half(theirs))
}

/// Puts a filter over it for each of these, and has the peer speak to them.
pub(crate) fn filtered((builder, peer): (Builder, Peer), periods: &'static [usize]) -> (Builder, Peer) {
    let layers = periods.chunks(1).fold(builder, |builder, period| builder.filter(Coded::new(period)));
    (layers, peer.behind(|end| InCode::new(end, Code::new(periods))))
}

const ONE: Shape = Shape::Threads { workers: 1, bases: 1 };
const TWO: Shape = Shape::Threads { workers: 2, bases: 2 };
const THREE: Shape = Shape::Threads { workers: 3, bases: 3 };
const MORE_WORKERS: Shape = Shape::Threads { workers: 3, bases: 2 };
const MORE_BASES: Shape = Shape::Threads { workers: 1, bases: 2 };

/// All of them.
pub(crate) const DRIVEN: [(Shape, SelectorKind); 12] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Pinned, SelectorKind::Portable),
    (Shape::Pinned, SelectorKind::PortableWithoutEdges),
    (Shape::Movable, SelectorKind::Best),
    (ONE, SelectorKind::Best),
    (ONE, SelectorKind::PortableWithoutEdges),
    (TWO, SelectorKind::Best),
    (THREE, SelectorKind::Best),
    (TWO, SelectorKind::Portable),
    (MORE_WORKERS, SelectorKind::PortableWithoutEdges),
    (MORE_BASES, SelectorKind::Best),
    (MORE_BASES, SelectorKind::Portable),
];

/// Each shape once.
pub(crate) const SHAPES: [(Shape, SelectorKind); 5] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Movable, SelectorKind::Best),
    (ONE, SelectorKind::Best),
    (TWO, SelectorKind::Best),
    (MORE_BASES, SelectorKind::Best),
];

/// One of each that differs: who turns it, a selector without edges, threads.
pub(crate) const FEW: [(Shape, SelectorKind); 3] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Movable, SelectorKind::PortableWithoutEdges),
    (TWO, SelectorKind::Best),
];
