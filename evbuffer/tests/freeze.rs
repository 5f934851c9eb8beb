//! B-24: every call that changes a frozen end is refused and changes nothing; every other call works.

use std::io;
use std::io::{BufRead, IoSlice, Read, Write};

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{End, Eol, Error, Evbuffer};
use bytes::{Buf, Bytes};

const DATA: &[u8] = b"one\ntwo\n";

type Call = (&'static str, fn(&mut Evbuffer) -> Result<(), Error>);

/// Calls that take from or put at the front.
const AT_FRONT: &[Call] = &[
    ("prepend", |b| b.prepend(b"x")),
    ("prepend_bytes", |b| b.prepend_bytes("x")),
    ("prepend_buffer", |b| b.prepend_buffer(&mut Evbuffer::from(b"x"))),
    ("drain", |b| b.drain(1).map(drop)),
    ("drain nothing", |b| b.drain(0).map(drop)),
    ("remove", |b| b.remove(&mut [0; 2]).map(drop)),
    ("copy_out", |b| b.copy_out(&mut [0; 2]).map(drop)),
    ("copy_out_from", |b| b.copy_out_from(1, &mut [0; 2]).map(drop)),
    ("take_bytes", |b| b.take_bytes(2).map(drop)),
    ("take_chunk", |b| b.take_chunk().map(drop)),
    ("readln", |b| b.readln(Eol::Lf).map(drop)),
    ("move_to", |b| b.move_to(&mut Evbuffer::new(), 2).map(drop)),
    ("append from it", |b| Evbuffer::new().append(b)),
    ("prepend_buffer from it", |b| Evbuffer::new().prepend_buffer(b)),
    ("write_to", |b| reason(b.write_to(&mut Vec::new(), 2))),
    ("io read", |b| reason(b.read(&mut [0; 2]))),
    ("fill_buf", |b| reason(b.fill_buf().map(drop))),
];

/// Calls that put at the back.
const AT_BACK: &[Call] = &[
    ("add", |b| b.add(b"x")),
    ("add nothing", |b| b.add(b"")),
    ("add_bytes", |b| b.add_bytes("x")),
    ("add_iovec", |b| b.add_iovec(&[IoSlice::new(b"x")]).map(drop)),
    ("write!", |b| write!(b, "{}", 1).map(drop)),
    ("append", |b| b.append(&mut Evbuffer::from(b"x"))),
    ("move_to it", |b| Evbuffer::from(b"xyz").move_to(b, 2).map(drop)),
    ("expand", |b| b.expand(1)),
    ("reserve", |b| b.reserve(1).map(drop)),
    ("reserve_contiguous", |b| b.reserve_contiguous(1).map(drop)),
    ("read_from", |b| reason(b.read_from(&mut &b"x"[..], 1))),
    ("io write", |b| reason(Write::write(b, b"x"))),
    ("io write_vectored", |b| reason(b.write_vectored(&[IoSlice::new(b"x")]))),
];

/// Calls that change neither end.
const AT_NEITHER: &[Call] = &[
    ("pullup", |b| b.pullup(8).map(drop)),
    ("peek", |b| b.peek(0, None, &mut []).map(drop)),
    ("chunks_from", |b| b.chunks_from(3).map(drop)),
    ("cursor", |b| b.cursor(3).map(drop)),
    ("prepend nothing", |b| b.prepend(b"")),
    ("append nothing", |b| b.append(&mut Evbuffer::new())),
    ("remove nothing", |b| b.remove(&mut []).map(drop)),
    ("move nothing", |b| b.move_to(&mut Evbuffer::new(), 0).map(drop)),
];

fn reason<T>(result: io::Result<T>) -> Result<(), Error> {
    result.map(drop).map_err(|error| {
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        error.downcast().expect("an error of ours")
    })
}

/// In two segments.
fn buffer() -> Evbuffer {
    DATA.chunks(4).map(Bytes::from_static).collect()
}

fn check(end: End, refused: &[Call], allowed: &[Call]) {
    for (name, call) in refused {
        let mut frozen = buffer();
        frozen.freeze(end);
        frozen.freeze(end);
        assert_eq!(call(&mut frozen), Err(Error::Frozen { end }), "{name}");
        assert_eq!(frozen, DATA, "{name} changed the buffer");
        frozen.debug_validate();
        frozen.unfreeze(end);
        assert_eq!(call(&mut frozen), Ok(()), "{name} after unfreeze");
    }
    for (name, call) in allowed.iter().chain(AT_NEITHER) {
        let mut frozen = buffer();
        frozen.freeze(end);
        assert_eq!(call(&mut frozen), Ok(()), "{name}");
    }
}

#[test]
fn frozen_front_refuses_what_changes_the_front_and_nothing_else() {
    check(End::Front, AT_FRONT, AT_BACK);
}

#[test]
fn frozen_back_refuses_what_changes_the_back_and_nothing_else() {
    check(End::Back, AT_BACK, AT_FRONT);
}

#[test]
fn refused_move_leaves_both_buffers_as_they_were() {
    let mut from = buffer();
    let mut to = Evbuffer::from(b"abc");
    to.freeze(End::Back);
    assert!(to.append(&mut from).is_err());
    assert!(from.move_to(&mut to, 3).is_err());
    to.unfreeze(End::Back);
    from.freeze(End::Front);
    assert!(to.append(&mut from).is_err());
    assert!(to.prepend_buffer(&mut from).is_err());
    assert_eq!(from, DATA);
    assert_eq!(to, "abc");
}

/// B-06, B-09: nothing to do is not refused.
#[test]
fn draining_an_empty_buffer_succeeds_at_a_frozen_front() {
    let mut buffer = Evbuffer::new();
    buffer.freeze(End::Front);
    assert_eq!(buffer.drain(5), Ok(0));
    assert_eq!(buffer.remove(&mut [0; 5]), Ok(0));
    assert_eq!(buffer.take_chunk(), Ok(None));
    let mut other = Evbuffer::new();
    assert_eq!(other.append(&mut buffer), Ok(()));
}

#[test]
fn frozen_front_looks_empty_through_buf() {
    let mut buffer = buffer();
    buffer.freeze(End::Front);
    assert_eq!(buffer.remaining(), 0);
    assert!(buffer.chunk().is_empty());
    assert_eq!(buffer.chunks_vectored(&mut [IoSlice::new(&[]); 4]), 0);
    BufRead::consume(&mut buffer, 3);
    assert_eq!(buffer, DATA);
}

/// The owner works on the ends that it has frozen for others.
#[test]
fn transport_ignores_frozen_ends() {
    let mut buffer = buffer();
    buffer.freeze(End::Front);
    buffer.freeze(End::Back);
    assert_eq!(Transport::consume(&mut buffer, 4), 4);
    buffer.fill(b"three\n").unwrap();
    buffer.append_block(b"four\n...".to_vec().into_boxed_slice(), 5).unwrap();
    assert_eq!(buffer.receive(&mut &b"five\n"[..], 100).unwrap(), 5);
    assert_eq!(buffer, "two\nthree\nfour\nfive\n");
    let mut sink = Vec::new();
    assert_eq!(buffer.send(&mut sink, 4).unwrap(), 4);
    assert_eq!(sink, b"two\n");
    let mut target = Evbuffer::new();
    target.freeze(End::Back);
    assert_eq!(buffer.pass_on(&mut target, 6), Ok(6));
    assert_eq!(target, "three\n");
}
