//! The configurations that a body is run with.

use std::{thread, time::Duration};

use bufferevent::{
    Builder,
    runtime::{Clock, ManualClock, SelectorKind},
    testing::Census,
};

use super::{Actor, Call, Conn, Cx, Kind, Peer, World, kind::DRIVEN};
use crate::kinds::KINDS;

/// One way to run a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) kind: Kind,
    pub(crate) set: Set,
    pub(crate) shape: Shape,
    pub(crate) selector: SelectorKind,
}

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

/// The same, but for kinds that make other lengths of what is written: there a limit lets a certain number of bytes move.
pub(crate) fn each_counted(body: impl Fn(Config)) {
    each_over_unix(|config| {
        if !config.kind.is_tls() {
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
    for config in configs_of(KINDS[0]) {
        run(config, &body);
    }
}

/// The same for the worlds that the test itself drives, on its own thread.
pub(crate) fn each_by_hand_once(body: impl Fn(Config)) {
    let threads = |config: &Config| matches!(config.shape, Shape::Threads { .. });
    for config in configs_of(KINDS[0]).filter(|config| !threads(config)) {
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
    KINDS.into_iter().flat_map(configs_of)
}

fn configs_of(kind: Kind) -> impl Iterator<Item = Config> {
    SETS.into_iter().flat_map(move |set| {
        kind.worlds.iter().map(move |&(shape, selector)| Config { kind, set, shape, selector })
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
