//! The configurations that a body is run with.

use std::{fmt, os::fd::OwnedFd, thread, time::Duration};

use bufferevent::{
    Bufferevent, Builder,
    runtime::{Clock, ManualClock, SelectorKind},
    testing::Census,
};

use super::{
    Actor, Call, Conn, Cx, Peer, World,
    code::{Code, Coded},
    peers, tcp_pair, unix_pair,
};

/// One way to run a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) kind: Kind,
    pub(crate) set: Set,
    pub(crate) shape: Shape,
    pub(crate) selector: SelectorKind,
}

/// A kind of bufferevent, over a fresh connection.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// Makes a bufferevent that is not started, and its peer.
    pub(crate) open: fn() -> (Builder, Peer),
    /// What carries the bytes to the peer.
    ground: Ground,
    /// Where it is tried: a kind that adds nothing to what a selector sees needs not all of them.
    worlds: &'static [(Shape, SelectorKind)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ground {
    /// A socket: it has a descriptor, the kernel may end it with an error, and a close waits for the peer's end, so that
    /// the kernel does not drop what was sent.
    Socket,
    /// A pair: it has no descriptor and knows no errors, and what was sent is the peer's, whatever becomes of the rest.
    Pair,
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

    /// Whether it is a filter over another.
    pub(crate) fn is_filter(&self) -> bool {
        self.name.starts_with("filter")
    }
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind {
        name: "socket over a Unix pair",
        open: || over(unix_pair()),
        ground: Ground::Socket,
        worlds: &DRIVEN,
    },
    Kind { name: "socket over TCP", open: || over(tcp_pair()), ground: Ground::Socket, worlds: &DRIVEN },
    Kind {
        name: "socket over a Unix listener",
        open: || over(peers::unix_accepted()),
        ground: Ground::Socket,
        worlds: &FEW,
    },
    Kind { name: "pair", open: pair, ground: Ground::Pair, worlds: &SHAPES },
    Kind {
        name: "filter over a socket",
        open: || filtered(over(unix_pair()), &[251]),
        ground: Ground::Socket,
        worlds: &FEW,
    },
    Kind {
        name: "filter over a pair",
        open: || filtered(pair(), &[241]),
        ground: Ground::Pair,
        worlds: &FEW,
    },
    Kind {
        name: "filter over a filter",
        open: || filtered(over(unix_pair()), &[251, 7]),
        ground: Ground::Socket,
        worlds: &FEW,
    },
];

/// The options that say how callbacks are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Set {
    Confined,
    ConfinedDefer,
    Shared,
    SharedDefer,
    SharedUnlock,
}

pub(crate) const SETS: [Set; 5] =
    [Set::Confined, Set::ConfinedDefer, Set::Shared, Set::SharedDefer, Set::SharedUnlock];

impl Set {
    pub(crate) fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::SharedDefer | Self::SharedUnlock)
    }

    pub(crate) fn is_deferred(self) -> bool {
        matches!(self, Self::ConfinedDefer | Self::SharedDefer | Self::SharedUnlock)
    }
}

/// Who drives how many bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One `Base<Pinned>`, turned by the test.
    Pinned,
    /// One `Base<Movable>`, turned by the test.
    Movable,
    Threads {
        workers: usize,
        bases: usize,
    },
}

const ONE: Shape = Shape::Threads { workers: 1, bases: 1 };
const TWO: Shape = Shape::Threads { workers: 2, bases: 2 };
const THREE: Shape = Shape::Threads { workers: 3, bases: 3 };
const MORE_WORKERS: Shape = Shape::Threads { workers: 3, bases: 2 };
const MORE_BASES: Shape = Shape::Threads { workers: 1, bases: 2 };

const DRIVEN: [(Shape, SelectorKind); 12] = [
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
const SHAPES: [(Shape, SelectorKind); 5] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Movable, SelectorKind::Best),
    (ONE, SelectorKind::Best),
    (TWO, SelectorKind::Best),
    (MORE_BASES, SelectorKind::Best),
];

/// One of each that differs: who turns it, a selector without edges, threads.
const FEW: [(Shape, SelectorKind); 3] = [
    (Shape::Pinned, SelectorKind::Best),
    (Shape::Movable, SelectorKind::PortableWithoutEdges),
    (TWO, SelectorKind::Best),
];

/// Runs `body` with every configuration.
pub(crate) fn each(body: impl Fn(Config)) {
    for config in configs() {
        run(config, &body);
    }
}

/// Runs `body` with every configuration whose option set passes.
pub(crate) fn each_of(sets: impl Fn(Set) -> bool, body: impl Fn(Config)) {
    for config in configs().filter(|config| sets(config.set)) {
        run(config, &body);
    }
}

/// Runs `body` with every configuration that the test itself drives, on its own thread.
pub(crate) fn each_by_hand(body: impl Fn(Config)) {
    for config in configs().filter(|config| !matches!(config.shape, Shape::Threads { .. })) {
        run(config, &body);
    }
}

/// The same, but for TCP: that takes bytes when it likes, also while the clock stands.
pub(crate) fn each_over_unix(body: impl Fn(Config)) {
    each_by_hand(|config| {
        if !config.kind.name.contains("TCP") {
            body(config);
        }
    });
}

/// Runs `body` with every configuration of a socket itself: for what becomes of descriptors.
pub(crate) fn each_socket(body: impl Fn(Config)) {
    each(|config| {
        if config.kind.is_socket() {
            body(config);
        }
    });
}

/// Runs `body` with every configuration where a socket carries the bytes: for the errors of the kernel,
/// and a close that awaits the peer's end.
pub(crate) fn each_over_socket(body: impl Fn(Config)) {
    each(|config| {
        if config.kind.is_over_socket() {
            body(config);
        }
    });
}

/// Lets time pass in a world whose clock is turned by hand.
pub(crate) fn pass(world: &mut World, hand: &ManualClock, time: Duration) {
    hand.advance(time);
    world.settle();
}

/// Runs `body` with every option set and in every world, with one kind: for bodies that make their own connections.
pub(crate) fn each_once(body: impl Fn(Config)) {
    for config in configs().take(SETS.len() * DRIVEN.len()) {
        run(config, &body);
    }
}

/// The same for the worlds that the test itself drives, on its own thread.
pub(crate) fn each_by_hand_once(body: impl Fn(Config)) {
    let threads = |config: &Config| matches!(config.shape, Shape::Threads { .. });
    for config in configs().take(SETS.len() * DRIVEN.len()).filter(|config| !threads(config)) {
        run(config, &body);
    }
}

/// Runs `body` in every world.
pub(crate) fn each_driven(body: impl Fn(World)) {
    for (shape, selector) in DRIVEN {
        let config = Config { kind: KINDS[0], set: Set::Confined, shape, selector };
        run(config, &|config| body(config.world()));
    }
}

fn configs() -> impl Iterator<Item = Config> {
    KINDS.into_iter().flat_map(|kind| {
        SETS.into_iter().flat_map(move |set| {
            kind.worlds.iter().map(move |&(shape, selector)| Config { kind, set, shape, selector })
        })
    })
}

fn run(config: Config, body: &impl Fn(Config)) {
    struct Named(Config);
    impl Drop for Named {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("with {:?}", self.0);
            }
        }
    }
    let _census = Census::begin();
    let _named = Named(config);
    body(config);
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Config {
    pub(crate) fn world(self) -> World {
        self.world_with(Clock::monotonic())
    }

    pub(crate) fn world_with(self, clock: Clock) -> World {
        World::new(self.shape, self.selector, clock)
    }

    /// A world whose time stands still but for the hand. For worlds that the test itself drives: turning it wakes nobody.
    pub(crate) fn with_manual_clock(self) -> (World, ManualClock) {
        let (clock, hand) = Clock::manual();
        (self.world_with(clock), hand)
    }

    /// Starts a bufferevent of this kind with these options; its handler only writes down.
    pub(crate) fn start(self, world: &mut World) -> (Conn, Peer) {
        self.start_with(world, |builder| builder, |_, _| {})
    }

    /// The same with settings, and with a script that each callback runs.
    pub(crate) fn start_with(
        self,
        world: &mut World,
        set_up: impl FnOnce(Builder) -> Builder,
        script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
    ) -> (Conn, Peer) {
        let (builder, peer) = (self.kind.open)();
        let actor = Actor::new(world, script);
        (world.start(self.set, set_up(builder), actor).unwrap(), peer)
    }
}

fn pair() -> (Builder, Peer) {
    let (ours, theirs) = Bufferevent::pair();
    (ours, Peer::half(theirs))
}

/// Puts a filter over it for each of these, and has the peer speak to them.
fn filtered((builder, peer): (Builder, Peer), periods: &'static [usize]) -> (Builder, Peer) {
    let layers = periods.chunks(1).fold(builder, |builder, period| builder.filter(Coded::new(period)));
    (layers, peer.in_code(&Code::new(periods)))
}

fn over((ours, peer): (OwnedFd, Peer)) -> (Builder, Peer) {
    (Bufferevent::socket(ours), peer)
}
