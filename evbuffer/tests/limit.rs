//! The limit: inclusive, whole or nothing, the same on every way in.

use std::fmt;
use std::io;
use std::io::{IoSlice, Write};

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{Error, Evbuffer};
use bytes::Bytes;

/// Puts a text in.
type WayIn = (&'static str, fn(&mut Evbuffer, &str) -> Result<(), Error>);

const WAYS_IN: &[WayIn] = &[
    ("add", |b, text| b.add(text.as_bytes())),
    ("add_bytes", |b, text| b.add_bytes(text.to_owned())),
    ("add_iovec", |b, text| {
        let (one, two) = text.split_at(text.len() / 2);
        b.add_iovec(&[one, two].map(|part| IoSlice::new(part.as_bytes()))).map(drop)
    }),
    ("write!", |b, text| {
        let (one, two) = text.split_at(text.len() / 2);
        write!(b, "{one}{two}").map(drop)
    }),
    ("prepend", |b, text| b.prepend(text.as_bytes())),
    ("prepend_bytes", |b, text| b.prepend_bytes(text.to_owned())),
    ("append", |b, text| {
        let mut other = Evbuffer::from(text);
        let result = b.append(&mut other);
        assert_eq!(other.len(), if result.is_ok() { 0 } else { text.len() }, "the source keeps its data");
        result
    }),
    ("prepend_buffer", |b, text| {
        let mut other = Evbuffer::from(text);
        let result = b.prepend_buffer(&mut other);
        assert_eq!(other.len(), if result.is_ok() { 0 } else { text.len() }, "the source keeps its data");
        result
    }),
    ("move_to", |b, text| {
        let mut other = Evbuffer::from(format!("{text}behind").as_str());
        let result = other.move_to(b, text.len());
        assert_eq!(other.len(), if result.is_ok() { 6 } else { text.len() + 6 }, "the source keeps its data");
        result.map(drop)
    }),
    ("pass_on", |b, text| Evbuffer::from(text).pass_on(b, text.len()).map(drop)),
    ("reserve", |b, text| {
        let mut space = b.reserve(text.len())?;
        space.as_mut_slice()[..text.len()].copy_from_slice(text.as_bytes());
        space.commit(text.len())
    }),
    ("reserve_contiguous", |b, text| {
        let mut space = b.reserve_contiguous(text.len())?;
        space.as_mut_slice()[..text.len()].copy_from_slice(text.as_bytes());
        space.commit(text.len())
    }),
    ("io write", |b, text| reason(b.write_all(text.as_bytes()))),
    ("fill", |b, text| b.fill(text.as_bytes())),
    ("append_block", |b, text| {
        let refused = b.append_block(text.as_bytes().into(), text.len());
        refused.map_err(|(error, block)| {
            assert_eq!(&*block, text.as_bytes(), "the block comes back");
            error
        })
    }),
];

fn reason(result: io::Result<()>) -> Result<(), Error> {
    result.map_err(|error| {
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        error.downcast().expect("an error of ours")
    })
}

#[test]
fn every_way_in_may_reach_the_limit_and_not_pass_it() {
    for (name, put) in WAYS_IN {
        for held in ["", "1234"] {
            let mut buffer = Evbuffer::from(held);
            buffer.set_limit(Some(held.len() + 6));
            let refused = Error::Full { limit: held.len() + 6, len: held.len(), requested: 7 };
            assert_eq!(put(&mut buffer, "seven !"), Err(refused), "{name}");
            assert_eq!(buffer, held, "{name} has added something");
            assert_eq!(put(&mut buffer, "six!!!"), Ok(()), "{name}");
            assert_eq!((buffer.len(), buffer.room()), (held.len() + 6, 0));
            assert!(put(&mut buffer, "x").is_err(), "{name}");
            buffer.debug_validate();
        }
    }
}

#[test]
fn limit_below_the_length_keeps_the_data_and_refuses_more() {
    let mut buffer = Evbuffer::from(b"0123456789");
    buffer.set_limit(Some(4));
    assert_eq!((buffer.len(), buffer.room(), buffer.limit()), (10, 0, Some(4)));
    assert!(buffer.add(b"x").is_err());
    assert_eq!(buffer.add(b""), Ok(()), "nothing fits always");
    buffer.drain(7).unwrap();
    assert_eq!(buffer.add(b"x"), Ok(()));
    buffer.set_limit(None);
    assert_eq!(buffer.add(&[0; 1000]), Ok(()));
    assert_eq!(buffer.limit(), None);
}

#[test]
fn limit_of_zero_holds_nothing() {
    let mut buffer = Evbuffer::new();
    buffer.set_limit(Some(0));
    assert!(buffer.add(b"x").is_err());
    assert!(buffer.read_from(&mut &b"x"[..], 1).is_err());
    assert_eq!(buffer.reserve(0).unwrap().capacity(), 0);
}

#[test]
fn reading_stops_at_the_limit() {
    let mut source = &b"0123456789"[..];
    let mut buffer = Evbuffer::new();
    buffer.set_limit(Some(6));
    assert_eq!(buffer.read_from(&mut source, 100).unwrap(), 6);
    let error = buffer.read_from(&mut source, 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(source, b"6789", "nothing was read for nothing");
    assert_eq!(buffer.read_from(&mut source, 0).unwrap(), 0);
}

#[test]
fn reservation_lends_no_more_than_the_limit_allows() {
    let mut buffer = Evbuffer::from(b"1234");
    buffer.set_limit(Some(10));
    let space = buffer.reserve(2).unwrap();
    assert_eq!(space.capacity(), 6);
    assert_eq!(space.commit(7), Err(Error::OutOfRange { position: 7, len: 6 }));
    assert_eq!(buffer.len(), 4);
    assert!(buffer.reserve(7).is_err());
    assert!(buffer.expand(7).is_err());
}

/// The total cannot overflow, limit or not.
#[test]
fn lengths_past_the_address_space_are_refused() {
    let page = Bytes::from(vec![0; 1 << 20]);
    let mut buffer: Evbuffer = std::iter::repeat_n(page, 1 << 12).collect();
    assert_eq!(buffer.len(), 1 << 32);
    assert_eq!(buffer.room(), usize::MAX - (1 << 32));
    buffer.set_limit(Some(usize::MAX));
    assert_eq!(buffer.limit(), None);
    assert!(buffer.reserve(usize::MAX).is_err());
}

/// B-18.
#[test]
fn refused_text_is_taken_back_whole() {
    let long = "y".repeat(600);
    for limit in 0..1204 {
        let mut buffer = Evbuffer::from(b"xx");
        buffer.set_limit(Some(limit));
        let result = write!(buffer, "{long}{}{long}", 12);
        assert_eq!(result.is_ok(), limit >= 1204);
        assert_eq!(buffer, "xx");
        buffer.debug_validate();
    }
}

#[test]
fn value_that_fails_to_format_leaves_nothing() {
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half of ")?;
            Err(fmt::Error)
        }
    }
    let mut buffer = Evbuffer::from(b"kept");
    assert_eq!(write!(buffer, "and {Broken}"), Err(Error::Format));
    assert_eq!(buffer, "kept");
    for held in ["", "kept"] {
        // A segment without room: the text begins a new one.
        let mut buffer = Evbuffer::from(Bytes::from(held));
        assert_eq!(write!(buffer, "and {Broken}"), Err(Error::Format));
        assert_eq!(buffer, held);
        buffer.debug_validate();
    }
}

#[test]
fn extend_stops_at_the_first_piece_that_does_not_fit() {
    let mut buffer = Evbuffer::new();
    buffer.set_limit(Some(5));
    buffer.extend([&b"abc"[..], b"defg", b"h"]);
    assert_eq!(buffer, "abc");
    buffer.extend(*b"123");
    assert_eq!(buffer, "abc12");
}
