//! Protocol 2: a base that sits edge-triggered in a top epoll, where any worker may consume its edge.

#![cfg(loom)]

use bufferevent_runtime::__loom::{BaseWord, Release};
use bufferevent_sync::atomic::{AtomicBool, Ordering};
use bufferevent_sync::{Arc, mutant, thread};
use loom_tests::{Bounds, Edge, Exclusive, Tally, assert_mutants_die, model};

/// A base: its word, its entry in the top epoll, two events its own selector may have, and what only its holder touches.
struct Base {
    word: BaseWord,
    edge: Edge,
    events: [AtomicBool; 2],
    core: Exclusive,
    handled: Tally,
}

impl Base {
    fn new(word: BaseWord) -> Self {
        Self {
            word,
            edge: Edge::new(),
            events: Default::default(),
            core: Exclusive::new(),
            handled: Tally::new(),
        }
    }

    /// An event arrives: the base's selector has it, then the top epoll tells.
    fn arrive(&self, event: usize) {
        self.events[event].store(true, Ordering::Release);
        self.edge.raise();
    }

    /// A worker looks at the top epoll.
    fn look(&self) {
        if self.edge.consume() && self.word.try_hold() {
            self.turn();
        }
    }

    /// The holder polls until it may let go. A poll sees what happened before it, and is not sure of more.
    fn turn(&self) {
        loop {
            self.core.write();
            for (index, event) in self.events.iter().enumerate() {
                if event.load(Ordering::Acquire) {
                    event.store(false, Ordering::Relaxed);
                    self.handled.set(1 << index);
                }
            }
            if self.word.release() == Release::Freed || mutant::is("base_ignores_poll_again") {
                return;
            }
        }
    }

    fn assert_handled(&self, events: u32) {
        self.look();
        assert_eq!(self.handled.get(), events, "an event waits, and no edge will tell of it");
        assert!(self.word.is_free());
    }
}

/// One worker holds the base while another consumes the edge of an event.
#[test]
fn edge_is_never_lost() {
    model(Bounds::EXHAUSTIVE, || {
        let base = Arc::new(Base::new(BaseWord::held()));
        let source = {
            let base = Arc::clone(&base);
            thread::spawn(move || base.arrive(0))
        };
        let other = {
            let base = Arc::clone(&base);
            thread::spawn(move || base.look())
        };
        base.turn();
        source.join().expect("no panic");
        other.join().expect("no panic");
        base.assert_handled(1);
    });
}

/// Two workers look for the edges of two events of a free base.
#[test]
fn base_has_one_holder() {
    model(Bounds::DEEP, || {
        let base = Arc::new(Base::new(BaseWord::new()));
        let source = {
            let base = Arc::clone(&base);
            thread::spawn(move || {
                base.arrive(0);
                base.arrive(1);
            })
        };
        let other = {
            let base = Arc::clone(&base);
            thread::spawn(move || {
                base.look();
            })
        };
        base.look();
        base.look();
        source.join().expect("no panic");
        other.join().expect("no panic");
        base.assert_handled(0b11);
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("base_hold:torn", "base_has_one_holder"),
        ("base_hold:torn", "edge_is_never_lost"),
        ("base_hold:release", "base_has_one_holder"),
        ("base_hold:acquire", "edge_is_never_lost"),
        ("base_release:torn", "edge_is_never_lost"),
        ("base_release:release", "edge_is_never_lost"),
        ("base_release:acquire", "base_has_one_holder"),
        ("base_hold_leaves_no_trace", "edge_is_never_lost"),
        ("base_release_frees_again", "edge_is_never_lost"),
        ("base_ignores_poll_again", "edge_is_never_lost"),
    ]);
}
