//! Two engines in memory: a whole conversation, however the wire is cut (T1), under caps (T2), and what each step answers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bufferevent_ssl::{
    Engine, ErrorKind, Evbuffer, Progress, RECORD, openssl::ssl::SslVersion, runtime::Time,
};
use common::{Census, Pair, VERSIONS, carry, pattern, receive, send};

/// A conversation of both sides to its end, over a wire that moves `step(i)` bytes at its i-th use.
struct Talk {
    pair: Pair,
    question: Evbuffer,
    answer: Evbuffer,
    heard: [Evbuffer; 2],
}

impl Talk {
    fn new(version: SslVersion, question: &[u8], answer: &[u8]) -> Self {
        let heard = [Evbuffer::new(), Evbuffer::new()];
        Self { pair: Pair::new(version), question: question.into(), answer: answer.into(), heard }
    }

    /// Lets one side do what it can: the handshake, its data, its notify.
    fn step(engine: &mut Engine, say: &mut Evbuffer, heard: &mut Evbuffer, limit: usize) {
        if engine.handshake().unwrap() == Progress::Done {
            let _ = receive(engine, heard).unwrap();
            if engine.is_open() {
                engine.send(say, limit).unwrap();
                if say.is_empty() {
                    engine.notify().unwrap();
                }
            }
        }
    }

    fn run(mut self, mut step: impl FnMut() -> usize, limit: usize) {
        let (question, answer) = (self.question.to_vec(), self.answer.to_vec());
        let Pair { client, server } = &mut self.pair;
        while !(client.has_ended() && server.has_ended()) {
            Self::step(client, &mut self.question, &mut self.heard[0], limit);
            carry(client, server, step());
            Self::step(server, &mut self.answer, &mut self.heard[1], limit);
            carry(server, client, step());
        }
        assert_eq!(self.heard[1], question);
        assert_eq!(self.heard[0], answer);
        assert_eq!((client.stale_errors(), server.stale_errors()), (0, 0));
        client.end_of_arrivals().unwrap();
        server.end_of_arrivals().unwrap();
    }
}

#[test]
fn data_comes_whole_wherever_the_wire_is_cut() {
    let _census = Census::begin();
    // T1: one cut in each conversation.
    for (first, version) in VERSIONS.into_iter().enumerate() {
        for cut in (first..2_500).step_by(5) {
            let mut moved = 0;
            Talk::new(version, b"a question", b"an answer").run(
                || {
                    let n = if moved < cut { cut - moved } else { usize::MAX };
                    moved = moved.saturating_add(n);
                    n
                },
                usize::MAX,
            );
        }
    }
}

#[test]
fn data_comes_whole_in_pieces_of_every_size() {
    let _census = Census::begin();
    // T1: each byte of the wire is the last of a piece.
    for version in VERSIONS {
        for size in [1, 2, 3, 5, 7, 64, 1_000] {
            Talk::new(version, &pattern(3_000), &pattern(20_000)).run(|| size, usize::MAX);
        }
    }
}

#[test]
fn data_comes_whole_when_hardly_anything_may_be_sent() {
    let _census = Census::begin();
    // T2: a cap of one byte on what is to be sent, which is taken away byte by byte.
    for version in VERSIONS {
        Talk::new(version, &pattern(5_000), &pattern(20_000)).run(|| 1, 1);
    }
}

#[test]
fn data_comes_whole_when_hardly_anything_may_be_received() {
    let _census = Census::begin();
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        let data = pattern(40_000);
        send(&mut pair.client, &data);
        pair.reach_server();
        let mut into = Evbuffer::new();
        for limit in [1, 7, 1_000, 20_000].into_iter().cycle() {
            let received = pair.server.receive(&mut into, limit, Time::ZERO).unwrap();
            assert!(received.bytes <= limit);
            if !received.leftover {
                break;
            }
        }
        assert_eq!(into, data);
    }
}

#[test]
fn a_full_buffer_leaves_the_rest_for_later() {
    let _census = Census::begin();
    let mut pair = Pair::open(SslVersion::TLS1_3);
    send(&mut pair.client, &pattern(5_000));
    pair.reach_server();
    let mut into = Evbuffer::new();
    into.set_limit(Some(1_000));
    let received = pair.server.receive(&mut into, usize::MAX, Time::ZERO).unwrap();
    assert_eq!((received.bytes, received.leftover), (1_000, true));
    // What is left is inside OpenSSL: no new byte will tell of it.
    assert!(pair.server.arrived().is_empty());
    into.drain(1_000).unwrap();
    assert_eq!(pair.server.receive(&mut into, usize::MAX, Time::ZERO).unwrap().bytes, 1_000);
    into.set_limit(None);
    assert_eq!(receive(&mut pair.server, &mut into).unwrap().bytes, 3_000);
}

#[test]
fn a_server_makes_nothing_before_the_first_byte() {
    let _census = Census::begin();
    // 1.2: a peer that connects and waits costs a socket and a timer.
    let mut pair = Pair::new(SslVersion::TLS1_3);
    assert_eq!(pair.server.handshake().unwrap(), Progress::Pending);
    assert!(pair.server.ssl().is_none());
    assert_eq!(pair.client.handshake().unwrap(), Progress::Pending);
    carry(&mut pair.client, &mut pair.server, 1);
    assert_eq!(pair.server.handshake().unwrap(), Progress::Pending);
    assert!(pair.server.ssl().is_some());
}

#[test]
fn small_pieces_are_gathered_into_one_record() {
    let _census = Census::begin();
    // 1.9: 100 writes of 100 bytes are one record, and its data is in order.
    let mut pair = Pair::open(SslVersion::TLS1_3);
    let mut from = Evbuffer::new();
    let data = pattern(10_000);
    data.chunks(100).for_each(|piece| from.add_bytes(piece.to_vec()).unwrap());
    assert_eq!(pair.client.send(&mut from, usize::MAX).unwrap(), 10_000);
    assert_eq!(pair.client.to_send().len(), 10_000 + 22);
    pair.reach_server();
    let mut into = Evbuffer::new();
    let _ = receive(&mut pair.server, &mut into).unwrap();
    assert_eq!(into, data);
}

#[test]
fn a_write_that_moves_between_two_calls_is_sent_once() {
    let _census = Census::begin();
    // T-12: the sink never refuses, so there is no write to be repeated; and what is given may lie elsewhere each time.
    let mut pair = Pair::open(SslVersion::TLS1_2);
    let data = pattern(100_000);
    let mut left = &data[..];
    while !left.is_empty() {
        let mut moved = Evbuffer::new();
        moved.add_bytes(left.to_vec()).unwrap();
        let taken = pair.client.send(&mut moved, 20_000).unwrap();
        assert!(taken > 0);
        assert_eq!(moved, &left[taken..]);
        left = &left[taken..];
    }
    pair.reach_server();
    let mut into = Evbuffer::new();
    let _ = receive(&mut pair.server, &mut into).unwrap();
    assert_eq!(into, data);
}

#[test]
fn records_are_made_to_fit_a_limit() {
    let _census = Census::begin();
    // 1.9: no more ciphertext than the limit lets, down to records of 1 KiB.
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        for limit in [1_100, 5_000, RECORD + 29, 40_000] {
            let mut from = Evbuffer::from(pattern(100_000));
            pair.client.to_send().drain(usize::MAX).unwrap();
            let taken = pair.client.send(&mut from, limit).unwrap();
            let made = pair.client.to_send().len();
            assert!(made <= limit && made + 1_100 > limit, "{made} of {limit}");
            assert_eq!(taken + from.len(), 100_000);
        }
    }
}

#[test]
fn what_is_done_at_the_wrong_time_is_an_error() {
    let _census = Census::begin();
    let mut pair = Pair::new(SslVersion::TLS1_3);
    let mut buffer = Evbuffer::from(b"too early");
    let kind = |result: Result<_, bufferevent_ssl::Error>| result.map(|_: usize| ()).unwrap_err().kind();
    assert_eq!(kind(pair.client.send(&mut buffer, 100)), ErrorKind::NotOpen);
    assert_eq!(kind(pair.client.receive(&mut buffer, 100, Time::ZERO).map(|r| r.bytes)), ErrorKind::NotOpen);
    assert_eq!(kind(pair.client.update_key(true).map(|()| 0)), ErrorKind::NotOpen);
    pair.client.notify().unwrap();
    assert!(pair.client.to_send().is_empty(), "there is no end to tell of");
    pair.shake().unwrap();
    pair.client.notify().unwrap();
    let notice = pair.client.to_send().len();
    pair.client.notify().unwrap();
    assert_eq!(pair.client.to_send().len(), notice, "told once");
    assert_eq!(kind(pair.client.send(&mut buffer, 100)), ErrorKind::Closed);
    assert_eq!(buffer, b"too early", "nothing was taken");
}

#[test]
fn who_has_told_its_end_still_receives() {
    let _census = Census::begin();
    // 1.7, T-16: half-close, both ways.
    for version in VERSIONS {
        let mut pair = Pair::open(version);
        pair.client.notify().unwrap();
        pair.reach_server();
        assert!(receive(&mut pair.server, &mut Evbuffer::new()).unwrap().ended);
        pair.server.end_of_arrivals().unwrap();
        send(&mut pair.server, b"still here");
        pair.server.notify().unwrap();
        pair.reach_client();
        let mut into = Evbuffer::new();
        assert!(receive(&mut pair.client, &mut into).unwrap().ended);
        assert_eq!(into, b"still here");
    }
}

#[test]
fn it_begins_anew_over_another_connection() {
    let _census = Census::begin();
    let mut pair = Pair::open(SslVersion::TLS1_3);
    send(&mut pair.client, b"lost with the connection");
    pair.client.restart();
    pair.server.restart();
    assert!(pair.client.to_send().is_empty() && pair.client.ssl().is_none());
    pair.shake().unwrap();
    send(&mut pair.client, b"again");
    pair.reach_server();
    let mut into = Evbuffer::new();
    let _ = receive(&mut pair.server, &mut into).unwrap();
    assert_eq!(into, b"again");
}

#[test]
fn an_idle_engine_keeps_no_block_where_what_arrives_is_swapped_in() {
    let _census = Census::begin();
    let mut pair = Pair::open(SslVersion::TLS1_3);
    let _ = receive(&mut pair.server, &mut Evbuffer::new()).unwrap();
    pair.server.arrived().shrink();
    send(&mut pair.client, &pattern(50_000));
    let mut wire = Evbuffer::new();
    wire.append(pair.client.to_send()).unwrap();
    std::mem::swap(pair.server.arrived(), &mut wire);
    assert_eq!(receive(&mut pair.server, &mut Evbuffer::new()).unwrap().bytes, 50_000);
    std::mem::swap(pair.server.arrived(), &mut wire);
    assert_eq!(pair.server.arrived().allocated(), 0);
}
