//! T12: edits of a conversation on its way, and garbage. Whatever is done to the wire, nobody panics, nobody hangs, nothing
//! grows, and what is received is a beginning of what was sent.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ssl::{
    Engine, Evbuffer, HANDSHAKE_BYTES, Progress, REPLIES,
    openssl::{error::ErrorStack, ssl::SslVersion},
    runtime::Time,
};
use common::{Census, Pair, VERSIONS, pattern};
use proptest::{prelude::*, sample::Index};

/// What is done to the bytes of one way, where they are so many in all.
#[derive(Debug, Clone)]
enum Edit {
    Flip(Index, u8),
    Remove(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, u8),
    Cut(Index),
}

impl Edit {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<Index>;
        prop_oneof![
            (at(), 1..=u8::MAX).prop_map(|(at, bits)| Self::Flip(at, bits)),
            (at(), any::<u8>()).prop_map(|(at, n)| Self::Remove(at, n)),
            (at(), proptest::collection::vec(any::<u8>(), 1..40))
                .prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            (at(), any::<u8>()).prop_map(|(at, n)| Self::Repeat(at, n)),
            at().prop_map(Self::Cut),
        ]
    }

    fn apply(&self, wire: &mut Vec<u8>) {
        if wire.is_empty() {
            return;
        }
        let len = wire.len();
        let span = |at: &Index, n: u8| at.index(len)..len.min(at.index(len) + usize::from(n));
        match self {
            Self::Flip(at, bits) => wire[span(at, 0).start] ^= bits,
            Self::Remove(at, n) => drop(wire.drain(span(at, *n))),
            Self::Insert(at, bytes) => drop(wire.splice(span(at, 0), bytes.iter().copied())),
            Self::Repeat(at, n) => {
                let span = span(at, *n);
                let again = wire[span.clone()].to_vec();
                drop(wire.splice(span.end..span.end, again));
            }
            Self::Cut(at) => wire.truncate(span(at, 0).start),
        }
    }
}

/// One side, what it says and what it has heard.
struct Side {
    engine: Engine,
    say: Evbuffer,
    heard: Evbuffer,
    failed: bool,
}

impl Side {
    fn new(engine: Engine, say: &[u8]) -> Self {
        Self { engine, say: say.into(), heard: Evbuffer::new(), failed: false }
    }

    /// Does what can be done; a failure ends it, and leaves the queue of the thread clean.
    fn step(&mut self) {
        self.failed |= self.try_step().is_err();
        assert!(ErrorStack::get().errors().is_empty());
        assert!(self.engine.to_send().len() < REPLIES + HANDSHAKE_BYTES);
        assert_eq!(self.engine.stale_errors(), 0);
    }

    fn try_step(&mut self) -> Result<(), bufferevent_ssl::Error> {
        if self.failed || self.engine.handshake()? == Progress::Pending {
            return Ok(());
        }
        for _ in 0..100 {
            if !self.engine.receive(&mut self.heard, usize::MAX, Time::ZERO)?.leftover {
                break;
            }
        }
        if self.engine.is_open() {
            self.engine.send(&mut self.say, usize::MAX)?;
            self.engine.notify()?;
        }
        Ok(())
    }
}

/// Lets the two talk; what goes from one to the other in the `round`-th exchange is edited.
fn talk(version: SslVersion, round: usize, from_client: bool, edits: &[Edit]) {
    let (question, answer) = (pattern(300), pattern(20_000));
    let Pair { client, server } = Pair::new(version);
    let mut sides = [Side::new(client, &question), Side::new(server, &answer)];
    for exchange in 0..12 {
        for from in 0..2 {
            sides[from].step();
            let mut wire = sides[from].engine.to_send().to_vec();
            sides[from].engine.to_send().drain(usize::MAX).unwrap();
            if exchange == round && (from == 0) == from_client {
                edits.iter().for_each(|edit| edit.apply(&mut wire));
            }
            sides[1 - from].engine.arrived().add(&wire).unwrap();
        }
    }
    assert!(answer.starts_with(&sides[0].heard.to_vec()));
    assert!(question.starts_with(&sides[1].heard.to_vec()));
    for side in &mut sides {
        let whole = !side.failed && side.engine.has_ended();
        assert_eq!(side.engine.end_of_arrivals().is_ok(), side.engine.has_ended());
        assert!(!whole || side.heard == answer || side.heard == question, "an end without all of it");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_edit_of_the_wire_does_more_than_end_it(
        version in proptest::sample::select(&VERSIONS[..]),
        round in 0..4usize,
        from_client: bool,
        edits in proptest::collection::vec(Edit::any(), 1..5),
    ) {
        let _census = Census::begin();
        talk(version, round, from_client, &edits);
    }

    #[test]
    fn garbage_does_no_more_than_end_it(
        version in proptest::sample::select(&VERSIONS[..]),
        to_client: bool,
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..2_000), 1..10),
    ) {
        let _census = Census::begin();
        let Pair { mut client, server } = Pair::new(version);
        let _ = client.handshake().unwrap();
        let mut side = Side::new(if to_client { client } else { server }, b"");
        for piece in pieces {
            side.engine.arrived().add(&piece).unwrap();
            side.step();
        }
        prop_assert!(side.heard.is_empty());
    }
}

#[test]
fn what_is_not_edited_comes_whole() {
    let _census = Census::begin();
    for version in VERSIONS {
        talk(version, 0, true, &[]);
    }
}
