//! What the fuzz targets do with an input. `ssl/tests/recordings.rs` does the same with their corpus.
//!
//! Whatever arrives, nobody panics, nothing spins, no buffer grows past its bound, OpenSSL's queue of errors is left empty, and
//! what is received is a beginning of what was sent.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each target uses a part; one that cannot go on has found something"
)]

use bufferevent_ssl::{
    Acceptor, Connector, DangerousConnector, Engine, Error, Evbuffer, HANDSHAKE_BYTES, Identity, Progress,
    REPLIES,
    openssl::{error::ErrorStack, ssl::SslVersion},
    runtime::Time,
};

/// Calls after which something more must have come: far more than any input makes.
const CALLS: usize = 100_000;

/// Bytes that arrive at a time.
const PIECE: usize = 700;

thread_local! {
    /// To make them is dear.
    static SIDES: (Acceptor, DangerousConnector) = {
        let identity = Identity::self_signed(&["example.org"]).unwrap();
        let acceptor = Acceptor::builder().identity(identity).alpn(&[b"echo"]).unwrap().build().unwrap();
        let connector = Connector::builder().alpn(&[b"echo"]).unwrap().build().unwrap();
        (acceptor, DangerousConnector::new(connector))
    };
}

/// A server hears `input`.
pub(crate) fn server(input: &[u8]) {
    let mut side = Side::new(SIDES.with(|(acceptor, _)| acceptor.engine()), &[7; 1_000]);
    side.hears_all(input);
}

/// A client hears `input`.
pub(crate) fn client(input: &[u8]) {
    let engine = SIDES.with(|(_, connector)| connector.engine(Some("example.org")).unwrap());
    let mut side = Side::new(engine, &[7; 1_000]);
    side.step();
    side.hears_all(input);
}

/// A client and a server talk. The first byte of `input` says who is changed, the second when; then four bytes are a change.
pub(crate) fn conversation(input: &[u8]) {
    let Some(([who, when], changes)) = input.split_first_chunk() else { return };
    let (question, answer) = ([1; 300], [2; 20_000]);
    let [client, server] = SIDES
        .with(|(acceptor, connector)| [connector.engine(Some("example.org")).unwrap(), acceptor.engine()]);
    let mut sides = [Side::new(client, &question), Side::new(server, &answer)];
    for exchange in 0..8 {
        for from in 0..2 {
            sides[from].step();
            let mut wire = sides[from].take_wire();
            if usize::from(who % 2) == from && exchange == when % 8 {
                changes.chunks_exact(4).for_each(|change| apply(change, &mut wire));
            }
            sides[1 - from].engine.arrived().add(&wire).unwrap();
        }
    }
    assert!(answer.starts_with(&sides[0].heard.to_vec()) && question.starts_with(&sides[1].heard.to_vec()));
    for side in &mut sides {
        let ended = side.engine.has_ended();
        assert_eq!(side.engine.end_of_arrivals().is_ok(), ended);
    }
}

/// What, where, where, with what.
fn apply(change: &[u8], wire: &mut Vec<u8>) {
    let &[what, high, low, with] = change else { return };
    if wire.is_empty() {
        return;
    }
    let at = usize::from(u16::from_be_bytes([high, low])) % wire.len();
    let to = wire.len().min(at + usize::from(with));
    match what % 5 {
        0 => wire[at] ^= with,
        1 => drop(wire.drain(at..to)),
        2 => wire.insert(at, with),
        3 => wire.extend_from_within(at..to),
        _ => wire.truncate(at),
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

    fn hears_all(&mut self, input: &[u8]) {
        for piece in input.chunks(PIECE) {
            self.engine.arrived().add(piece).unwrap();
            self.step();
            self.take_wire();
        }
        let ended = self.engine.has_ended();
        assert_eq!(self.engine.end_of_arrivals().is_ok(), ended);
    }

    fn take_wire(&mut self) -> Vec<u8> {
        let wire = self.engine.to_send();
        let len = wire.len();
        wire.take_bytes(len).unwrap().to_vec()
    }

    fn step(&mut self) {
        self.failed |= self.try_step().is_err();
        assert!(ErrorStack::get().errors().is_empty(), "an error is left to strangers");
        assert!(self.engine.to_send().len() < REPLIES + HANDSHAKE_BYTES);
        assert_eq!(self.engine.stale_errors(), 0);
    }

    fn try_step(&mut self) -> Result<(), Error> {
        if self.failed || self.engine.handshake()? != Progress::Done {
            return Ok(());
        }
        let mut calls = 0;
        while self.engine.receive(&mut self.heard, usize::MAX, Time::ZERO)?.leftover {
            calls += 1;
            assert!(calls < CALLS, "it spins");
        }
        if self.engine.is_open() {
            self.engine.send(&mut self.say, usize::MAX)?;
            self.engine.notify()?;
        }
        Ok(())
    }
}

/// What a server and a client say to each other, in one version.
pub(crate) fn record(version: SslVersion) -> [Vec<u8>; 2] {
    let identity = Identity::self_signed(&["example.org"]).unwrap();
    let acceptor = Acceptor::builder().identity(identity).alpn(&[b"echo"]).unwrap();
    let connector = Connector::builder().alpn(&[b"echo"]).unwrap().versions(version, Some(version));
    let connector = DangerousConnector::new(connector.build().unwrap());
    let client = connector.engine(Some("example.org")).unwrap();
    let mut sides = [Side::new(acceptor.build().unwrap().engine(), b"hello"), Side::new(client, b"hello")];
    let mut said = [Vec::new(), Vec::new()];
    for _ in 0..6 {
        for from in [1, 0] {
            sides[from].step();
            let wire = sides[from].take_wire();
            sides[1 - from].engine.arrived().add(&wire).unwrap();
            said[from].extend(wire);
        }
    }
    assert!(sides.iter().all(|side| !side.failed && side.heard == b"hello"));
    said
}
