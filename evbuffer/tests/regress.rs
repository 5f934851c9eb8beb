//! The cases of libevent's buffer suite that apply here, under their C names.
//!
//! Not here: the out-of-memory parts, and `add_file_leak1`, since no `File` is closed. Cases about chains without bytes use references without bytes, which leave no segment.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::IoSlice;
use std::sync::Arc;

use bufferevent_evbuffer::{End, Eol, EolMatch, Error, Evbuffer, FileSegment};
use bytes::Bytes;

use common::{Log, file_of, pattern};

/// Memory whose release can be seen: where a C reference has a cleanup callback.
struct Watched {
    data: &'static [u8],
    _alive: Arc<()>,
}

impl AsRef<[u8]> for Watched {
    fn as_ref(&self) -> &[u8] {
        self.data
    }
}

fn watched(data: &'static [u8], alive: &Arc<()>) -> Bytes {
    Bytes::from_owner(Watched { data, _alive: Arc::clone(alive) })
}

/// How many pieces of watched memory have not been released.
fn count(alive: &Arc<()>) -> usize {
    Arc::strong_count(alive) - 1
}

/// One segment for each part.
fn fragmented<'a>(parts: impl IntoIterator<Item = &'a str>) -> Evbuffer {
    parts.into_iter().map(|part| Bytes::copy_from_slice(part.as_bytes())).collect()
}

fn add_empty_reference(buffer: &mut Evbuffer) {
    buffer.add_bytes(Bytes::new()).expect("no limit");
    buffer.debug_validate();
}

fn pieces(buffer: &Evbuffer) -> Vec<usize> {
    buffer.chunks().map(<[u8]>::len).collect()
}

/// B-01, B-03, B-04, B-05, B-06, B-07, B-09, B-11, B-13, B-18.
#[test]
fn regress_evbuffer_evbuffer() {
    let zeros = [0; 512];
    let mut one = Evbuffer::new();
    let mut two = Evbuffer::new();
    assert_eq!(write!(one, "{}/{}", "first", 1), Ok(7));
    one.append(&mut two).unwrap();
    assert_eq!(one.drain(6), Ok(6));
    assert_eq!(one, "1");
    write!(two, "/first").unwrap();
    one.append(&mut two).unwrap();
    assert!(two.is_empty());
    assert_eq!(one, "1/first");

    one.add(&zeros).unwrap();
    let piece = one.pullup(7 + 512).unwrap();
    assert_eq!(piece[..7], *b"1/first");
    assert_eq!(piece[7..], zeros);
    one.prepend(b"more of ").unwrap();
    one.prepend(b"some ").unwrap();
    assert_eq!(one.pullup(20).unwrap(), b"some more of 1/first");
    one.debug_validate();
    one.drain(usize::MAX).unwrap();
    two.drain(usize::MAX).unwrap();
    assert!(one.is_empty() && two.is_empty());

    for _ in 0..3 {
        two.add(&zeros).unwrap();
        one.append(&mut two).unwrap();
        one.debug_validate();
        two.debug_validate();
    }
    assert_eq!(one.len(), 3 * 512);
    assert_eq!(one.move_to(&mut two, 1280), Ok(1280));
    assert_eq!((two.len(), one.len()), (1280, 256));
    assert_eq!(one.pullup(256).unwrap(), [0; 256]);
    assert_eq!(two.pullup(1280).unwrap(), [0; 1280]);

    for _ in 0..3 {
        let mut space = one.reserve_contiguous(10_000).unwrap();
        assert_eq!(space.pieces(), 1);
        assert!(space.as_mut_slice().len() >= 10_000);
        space.as_mut_slice()[..10_000].fill(9);
        let n = space.capacity();
        space.commit(n).unwrap();
        assert!(one.len() >= 10_000);
        one.drain(50_000).unwrap();
        one.debug_validate();
    }
}

/// B-07.
#[test]
fn regress_evbuffer_remove_buffer_with_empty() {
    let mut from = fragmented(["ab", "cd"]);
    let mut to = Evbuffer::from(b"xy");
    add_empty_reference(&mut to);
    assert_eq!(from.move_to(&mut to, 3), Ok(3));
    assert_eq!(to, "xyabc");
    assert_eq!(from, "d");
}

#[test]
fn regress_evbuffer_remove_buffer_with_empty2() {
    let mut from = fragmented(["AAAA"]);
    let mut to = fragmented(["BB"]);
    add_empty_reference(&mut from);
    from.add_bytes("CC").unwrap();
    add_empty_reference(&mut to);
    assert_eq!(from.move_to(&mut to, 3), Ok(3));
    assert_eq!(to, "BBAAA");
    assert_eq!(from.move_to(&mut to, 2), Ok(2));
    assert_eq!(to, "BBAAAAC");
    assert_eq!(from, "C");
}

#[test]
fn regress_evbuffer_remove_buffer_with_empty3() {
    let mut from = fragmented(["A", "B", "C"]);
    let mut to = Evbuffer::new();
    add_empty_reference(&mut to);
    assert_eq!(from.move_to(&mut to, 2), Ok(2));
    add_empty_reference(&mut to);
    assert_eq!(from.move_to(&mut to, 100), Ok(1));
    assert_eq!(to, "ABC");
    assert!(from.is_empty());
}

#[test]
fn regress_evbuffer_remove_buffer_with_empty_front() {
    let mut from = Evbuffer::new();
    add_empty_reference(&mut from);
    from.add_bytes("AAAA").unwrap();
    let mut to = Evbuffer::new();
    assert_eq!(from.move_to(&mut to, 3), Ok(3));
    assert_eq!(to, "AAA");
    assert_eq!(from, "A");
}

#[test]
fn regress_evbuffer_remove_buffer_adjust_last_with_datap_with_empty() {
    let mut from = fragmented(["aaaa", "bbbb"]);
    add_empty_reference(&mut from);
    from.add(b"cccc").unwrap();
    let mut to = Evbuffer::new();
    assert_eq!(from.move_to(&mut to, 11), Ok(11));
    assert_eq!(to, "aaaabbbbccc");
    from.add(b"d").unwrap();
    assert_eq!(from, "cd");
}

/// B-06.
#[test]
fn regress_evbuffer_add_buffer_with_empty() {
    let mut from = fragmented(["cc", "dd"]);
    let mut to = fragmented(["aa"]);
    add_empty_reference(&mut to);
    to.append(&mut from).unwrap();
    to.debug_validate();
    assert_eq!(to, "aaccdd");
    assert!(from.is_empty());
}

#[test]
fn regress_evbuffer_add_buffer_with_empty2() {
    let mut from = Evbuffer::new();
    add_empty_reference(&mut from);
    from.add_bytes("b").unwrap();
    add_empty_reference(&mut from);
    let mut to = Evbuffer::new();
    add_empty_reference(&mut to);
    to.append(&mut from).unwrap();
    to.add(b"c").unwrap();
    assert_eq!(to, "bc");
}

/// B-13: the same block is used until it is full; a reservation over two blocks may be used in part.
#[test]
fn regress_evbuffer_reserve2() {
    let mut buffer = Evbuffer::new();
    let mut space = buffer.reserve(1024).unwrap();
    assert_eq!(space.pieces(), 1);
    let address = space.as_mut_slice().as_ptr();
    let mut remaining = space.capacity();
    space.as_mut_slice()[..512].fill(b'X');
    space.commit(512).unwrap();
    remaining -= 512;

    let mut space = buffer.reserve(32).unwrap();
    assert_eq!((space.pieces(), space.capacity()), (1, remaining));
    assert_eq!(space.as_mut_slice().as_ptr(), address.wrapping_add(512), "the same block");
    space.as_mut_slice()[..8].fill(b'Y');
    space.commit(8).unwrap();
    remaining -= 8;

    let mut space = buffer.reserve(remaining + 64).unwrap();
    assert_eq!(space.pieces(), 2);
    assert_eq!(space.as_mut_slice().len(), remaining);
    let second = space.io_slices()[1].as_ptr();
    space.as_mut_slice()[0] = b'Z';
    space.commit(1).unwrap();
    remaining -= 1;

    let mut space = buffer.reserve(remaining + 64).unwrap();
    let [mut one, mut two] = space.io_slices();
    assert_eq!(one.len(), remaining);
    assert!(two.len() >= 64);
    assert_eq!(two.as_ptr(), second, "the block of the reservation before");
    one[..400].fill(b'W');
    two[..60].fill(b'x');
    space.commit_parts(400, 60).unwrap();

    assert_eq!(pieces(&buffer), [921, 60]);
    let expected = [vec![b'X'; 512], vec![b'Y'; 8], vec![b'Z'; 1], vec![b'W'; 400], vec![b'x'; 60]].concat();
    assert_eq!(buffer, expected);
    buffer.debug_validate();
}

/// B-13, all three variants: reserving more and more never needs more than two pieces here.
#[test]
fn regress_evbuffer_reserve_many() {
    for (start, filled) in [("", false), ("add", false), ("fill", true)] {
        let mut buffer = Evbuffer::new();
        let mut space = buffer.reserve(128).unwrap();
        assert_eq!(space.pieces(), 1);
        let first = if filled { space.capacity() } else { usize::from(!start.is_empty()) };
        space.as_mut_slice()[..first].fill(b'X');
        let mut capacity = space.capacity();
        space.commit(first).unwrap();
        for _ in 0..4 {
            let space = buffer.reserve(capacity + 128).unwrap();
            assert!((1..=2).contains(&space.pieces()));
            assert!(space.capacity() >= capacity + 128);
            capacity = space.capacity();
            drop(space);
            buffer.debug_validate();
        }
        assert_eq!(buffer, vec![b'X'; first]);
    }
}

/// B-13.
#[test]
fn regress_evbuffer_reserve_with_empty() {
    let mut buffer = Evbuffer::new();
    buffer.add(b"a").unwrap();
    add_empty_reference(&mut buffer);
    let mut space = buffer.reserve(2048).unwrap();
    let mut left = 2048;
    for mut slice in space.io_slices() {
        let n = slice.len().min(left);
        slice[..n].fill(b'b');
        left -= n;
    }
    space.commit(2048).unwrap();
    assert_eq!(buffer, [&b"a"[..], &[b'b'; 2048]].concat());
}

#[test]
fn regress_evbuffer_reserve_invalid_last_with_datap() {
    let mut buffer = Evbuffer::new();
    add_empty_reference(&mut buffer);
    buffer.prepend(b"front").unwrap();
    let mut space = buffer.reserve(10).unwrap();
    space.as_mut_slice()[..1].fill(b'!');
    space.commit(1).unwrap();
    assert_eq!(buffer, "front!");
    buffer.debug_validate();
}

/// B-12.
#[test]
fn regress_evbuffer_expand() {
    let data = [b'X'; 4096];
    let mut buffer = Evbuffer::new();
    buffer.expand(20_000).unwrap();
    assert!(buffer.is_empty() && buffer.allocated() >= 20_000);
    let before = buffer.allocated();
    buffer.add(&data[..1024]).unwrap();
    buffer.expand(1024).unwrap();
    assert_eq!(buffer.allocated(), before, "there was room");
    assert_eq!(pieces(&buffer), [1024]);

    // Nearly all drained: what is left moves to the front of the block.
    let mut buffer = Evbuffer::new();
    buffer.add(&data[..200]).unwrap();
    let before = buffer.allocated();
    buffer.add(&data[..before - 201]).unwrap();
    buffer.drain(before - 2).unwrap();
    assert_eq!((buffer.len(), buffer.allocated()), (1, before));
    buffer.expand(40).unwrap();
    buffer.add(&data[..40]).unwrap();
    assert_eq!((pieces(&buffer), buffer.allocated()), (vec![41], before));

    // Add, expand, pull up.
    let mut buffer = Evbuffer::new();
    for _ in 0..3 {
        buffer.add(&data).unwrap();
    }
    buffer.expand(1024).unwrap();
    buffer.debug_validate();
    assert_eq!(buffer.pullup(3 * 4096).unwrap(), data.repeat(3));
    buffer.debug_validate();
}

#[test]
fn regress_evbuffer_expand_overflow() {
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.expand(usize::MAX), Err(Error::TooLarge { requested: usize::MAX }));
    assert!(buffer.expand(isize::MAX as usize + 1).is_err());
    buffer.add(b"x").unwrap();
    for n in [usize::MAX, usize::MAX - 1, usize::MAX / 2 + 1] {
        assert!(buffer.expand(n).is_err());
        assert!(buffer.reserve(n).is_err());
        assert!(buffer.reserve_contiguous(n).is_err());
    }
    buffer.debug_validate();
    assert_eq!(buffer, "x");
}

#[test]
fn regress_evbuffer_add1() {
    let mut buffer = Evbuffer::new();
    buffer.add(b"1").unwrap();
    buffer.expand(2048).unwrap();
    buffer.add(b"2").unwrap();
    write!(buffer, "3").unwrap();
    assert_eq!(buffer.pullup(3).unwrap(), b"123");
}

#[test]
fn regress_evbuffer_add2() {
    let mut buffer = Evbuffer::new();
    buffer.add(&[b'P'; 1000]).unwrap();
    buffer.expand(100).unwrap();
    buffer.add(b"2").unwrap();
    write!(buffer, "3").unwrap();
    assert_eq!(buffer.len(), 1002);
    assert!(buffer.pullup(1002).unwrap().ends_with(b"P23"));
}

const TEXT: &[u8] = b"memory that belongs to somebody else";

/// B-19: prepending does not write in front of referenced bytes; the memory is released once, when drained.
#[test]
fn regress_evbuffer_reference() {
    let alive = Arc::new(());
    let mut from = Evbuffer::new();
    let mut to = Evbuffer::new();
    from.add_bytes(watched(TEXT, &alive)).unwrap();
    let mut space = to.reserve_contiguous(TEXT.len()).unwrap();
    let out = &mut space.as_mut_slice()[..TEXT.len()];
    assert_eq!(from.remove(&mut out[..10]), Ok(10));
    from.prepend(b"aaaaa").unwrap();
    from.debug_validate();
    from.drain(5).unwrap();
    assert_eq!(count(&alive), 1);
    assert_eq!(from.remove(&mut out[10..]), Ok(TEXT.len() - 10));
    space.commit(TEXT.len()).unwrap();
    assert_eq!(count(&alive), 0);
    assert_eq!(to.pullup(TEXT.len()).unwrap(), TEXT);
}

#[test]
fn regress_evbuffer_reference2() {
    let mut buffer = Evbuffer::new();
    buffer.add(&[b'P'; 1000]).unwrap();
    buffer.expand(100).unwrap();
    buffer.add_bytes("2").unwrap();
    write!(buffer, "3").unwrap();
    assert!(buffer.pullup(1002).unwrap().ends_with(b"P23"));
    buffer.debug_validate();
}

/// B-19: draining a reference in part, moving it to another buffer, dropping a buffer that holds one.
#[test]
fn regress_evbuffer_add_reference() {
    let alive = Arc::new(());
    let mut one = Evbuffer::new();
    one.add_bytes(watched(b"the first part", &alive)).unwrap();
    one.add(b", ").unwrap();
    one.add_bytes(watched(b"and another one", &alive)).unwrap();
    assert_eq!(one.len(), 14 + 2 + 15);

    let mut word = [0; 4];
    one.remove(&mut word).unwrap();
    assert_eq!(&word, b"the ");
    one.prepend(b"for a ").unwrap();
    assert_eq!(one, "for a first part, and another one");
    one.drain(6 + 9).unwrap();
    assert_eq!(count(&alive), 2, "one byte is left");
    one.drain(1).unwrap();
    assert_eq!(count(&alive), 1);

    one.drain(2 + 4).unwrap();
    let mut two = Evbuffer::from(b"yet ");
    two.append(&mut one).unwrap();
    assert_eq!(two, "yet another one");
    assert_eq!(count(&alive), 1);
    two.drain(usize::MAX).unwrap();
    assert_eq!(count(&alive), 0);

    one.add(b"before ").unwrap();
    one.add_bytes(watched(b"the end", &alive)).unwrap();
    one.add(b"!").unwrap();
    assert_eq!(count(&alive), 1);
    drop(one);
    assert_eq!(count(&alive), 0);
}

#[test]
fn regress_evbuffer_add_reference_with_offset() {
    let alive = Arc::new(());
    let mut buffer = Evbuffer::new();
    buffer.add_bytes(watched(TEXT, &alive).slice(7..11)).unwrap();
    assert_eq!(buffer, "that");
    buffer.drain(3).unwrap();
    assert_eq!(count(&alive), 1);
    buffer.drain(1).unwrap();
    assert_eq!(count(&alive), 0);
}

/// B-04, B-18: 103,000 pieces of growing length; less than an eighth of the memory is waste.
#[test]
fn regress_evbuffer_iterative() {
    let letters = "abcdefghijklmnopqrstuvwxyz".repeat(4);
    let mut buffer = Evbuffer::new();
    let mut sum = 0;
    for _ in 0..1000 {
        for n in 1..letters.len() {
            write!(buffer, "{:.n$}", letters).unwrap();
            sum += n;
        }
        buffer.debug_validate();
    }
    assert_eq!(buffer.len(), sum);
    let waste = buffer.allocated() - sum;
    assert!(waste * 8 < buffer.allocated(), "{waste} bytes of {}", buffer.allocated());
}

fn line(buffer: &mut Evbuffer, eol: Eol) -> Option<String> {
    let line = buffer.readln(eol).expect("not frozen");
    buffer.debug_validate();
    line.map(|line| String::from_utf8(line).expect("text"))
}

/// B-17.
#[test]
fn regress_evbuffer_readln() {
    let mut buffer = Evbuffer::from(b"one\r\n\n\r\n\n\rtwo\0\n\0");
    assert_eq!(line(&mut buffer, Eol::Any).as_deref(), Some("one"));
    assert_eq!(line(&mut buffer, Eol::Any).as_deref(), Some("two\0"));
    assert_eq!(line(&mut buffer, Eol::Nul).as_deref(), Some(""));
    assert!(buffer.is_empty());
    buffer.add(b"\nno end").unwrap();
    assert_eq!(line(&mut buffer, Eol::Any).as_deref(), Some(""));
    assert_eq!(line(&mut buffer, Eol::Any), None);
    buffer.drain(usize::MAX).unwrap();

    buffer.add(b"a\rb\nc\r\n\nd\nx").unwrap();
    for expected in ["a\rb", "c", "", "d"] {
        assert_eq!(line(&mut buffer, Eol::Crlf).as_deref(), Some(expected));
    }
    assert_eq!(line(&mut buffer, Eol::Crlf), None);

    buffer.add(b"y\nz\r\n\r\nw\r").unwrap();
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some("xy\nz"));
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some(""));
    assert_eq!(line(&mut buffer, Eol::CrlfStrict), None);
    buffer.add(b"\n").unwrap();
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some("w"));
    assert!(buffer.is_empty());

    buffer.add(b"a\r b\n\nc").unwrap();
    assert_eq!(line(&mut buffer, Eol::Lf).as_deref(), Some("a\r b"));
    assert_eq!(line(&mut buffer, Eol::Lf).as_deref(), Some(""));
    assert_eq!(line(&mut buffer, Eol::Lf), None);

    // Across segments.
    let mut buffer = fragmented(["bad\ngood\r", "\n\r", "\nmore\r"]);
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some("bad\ngood"));
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some(""));
    assert_eq!(line(&mut buffer, Eol::CrlfStrict), None);
    buffer.add_bytes("\n").unwrap();
    assert_eq!(line(&mut buffer, Eol::CrlfStrict).as_deref(), Some("more"));
    assert!(buffer.is_empty());
}

/// B-17.
#[test]
fn regress_evbuffer_search_eol() {
    let buffer = Evbuffer::from(b"string! \r\n\r\nx\n");
    let found = |from, eol| buffer.search_eol(from, eol).map(|EolMatch { position, len }| (position, len));
    assert_eq!(found(0, Eol::Crlf), Some((8, 2)));
    assert_eq!(found(8, Eol::Crlf), Some((8, 2)));
    assert_eq!(found(9, Eol::Crlf), Some((9, 1)));
    assert_eq!(found(9, Eol::CrlfStrict), Some((10, 2)));
    assert_eq!(found(0, Eol::Lf), Some((9, 1)));
    assert_eq!(found(9, Eol::Lf), Some((9, 1)));
    assert_eq!(found(10, Eol::Lf), Some((11, 1)));
    assert_eq!(found(0, Eol::Nul), None);
    assert_eq!(Evbuffer::new().search_eol(0, Eol::Any), None);
}

/// B-16: nothing is found past the data, even where the block still holds old bytes.
#[test]
fn regress_evbuffer_find() {
    let mut buffer = Evbuffer::from(b"0123456789\r\n");
    buffer.drain(12).unwrap();
    buffer.add(b"0123456789\r").unwrap();
    assert_eq!(buffer.search(b"\r\n", 0), None);
    buffer.drain(11).unwrap();
    let mut data = [b'a'; 256];
    data[255] = b'x';
    buffer.add(&data).unwrap();
    assert_eq!(buffer.search(b"xy", 0), None);
    assert_eq!(buffer.search(b"ax", 0), Some(254));
}

/// B-15.
#[test]
fn regress_evbuffer_ptr_set() {
    let mut buffer = Evbuffer::new();
    for (n, byte) in [(5000, 1), (4000, 2), (3000, 3)] {
        buffer.add_bytes(vec![byte; n]).unwrap();
    }
    assert_eq!(buffer.len(), 12_000);
    assert_eq!(buffer.cursor(13_000).err(), Some(Error::OutOfRange { position: 13_000, len: 12_000 }));
    let mut cursor = buffer.cursor(0).unwrap();
    assert!(cursor.skip(13_000).is_err());
    cursor.skip(10_000).unwrap();
    cursor.skip(1000).unwrap();
    assert_eq!(cursor.position(), 11_000);
    cursor.skip(1000).unwrap();
    assert_eq!(cursor.position(), 12_000, "the end is a position");
    assert!(cursor.skip(1).is_err());
    assert_eq!(cursor.position(), 12_000);
}

/// B-16.
#[test]
fn regress_evbuffer_search() {
    let buffer = fragmented(["hello", "foo", "cat", "attack"]);
    assert_eq!(buffer.search(b"attack", 0), Some(11));
    assert_eq!(buffer.search(b"attacker", 0), None);
    assert_eq!(buffer.search(b"oc", 0), Some(7));
    assert_eq!(buffer.search(b"cat", 7), Some(8));
    assert_eq!(buffer.search(b"tacking", 8), None);
    assert_eq!(buffer.search(b"foo", 5), Some(5));
    assert_eq!(buffer.search(b"tat", 7), Some(10));
    assert_eq!(buffer.search_range(b"foo", ..12), Some(5));
    assert_eq!(buffer.search_range(b"foocata", ..12), Some(5));
    assert_eq!(buffer.search_range(b"foocatat", ..12), None);
    assert_eq!(buffer.search_range(b"ack", ..12), None);
    assert_eq!(buffer.search(b"", 3), Some(3), "an empty pattern is found at once");
    assert_eq!(buffer.search(b"", 17), Some(17));
    assert_eq!(buffer.search(b"", 18), None);
    assert_eq!(Evbuffer::new().search(b"x", 0), None);
}

/// B-05.
#[test]
fn regress_evbuffer_prepend() {
    let mut one = Evbuffer::new();
    one.prepend(b"a string with some characters").unwrap();
    one.prepend(b"Short.").unwrap();
    one.drain(6 + 8).unwrap();
    one.prepend(b"is").unwrap();
    assert_eq!(one, "is with some characters");
    one.debug_validate();
    let long = "x".repeat(1000);
    one.prepend(long.as_bytes()).unwrap();
    assert_eq!(one, format!("{long}is with some characters").as_str());
    one.drain(usize::MAX).unwrap();

    let mut two = Evbuffer::new();
    write!(one, "string {}. ", 999).unwrap();
    two.prepend_buffer(&mut one).unwrap();
    write!(one, "string {}. ", 1000).unwrap();
    two.prepend_buffer(&mut one).unwrap();
    assert_eq!(two, "string 1000. string 999. ");
    one.debug_validate();
    two.debug_validate();

    let log = Log::default();
    two.drain(usize::MAX).unwrap();
    log.observe(&mut two, 0);
    for n in [3, 8096, 0] {
        two.prepend(&vec![b'x'; n]).unwrap();
    }
    assert_eq!(log.take(), [(0, 0, 3, 0), (0, 3, 8096, 0)]);
}

/// B-22.
#[test]
fn regress_evbuffer_callbacks() {
    let mut buffer = Evbuffer::new();
    let log = Log::default();
    let one = log.observe(&mut buffer, 1);
    let two = log.observe(&mut buffer, 2);
    write!(buffer, "{}", "x".repeat(36)).unwrap();
    assert!(buffer.enable_observer(two, false));
    buffer.drain(10).unwrap();
    buffer.prepend(b"Hello").unwrap();
    assert!(buffer.enable_observer(two, true));
    buffer.add_bytes("Goodbye").unwrap();
    assert!(buffer.unobserve(one));
    buffer.drain(buffer.len()).unwrap();
    assert!(!buffer.unobserve(one));
    buffer.add(b"X").unwrap();
    assert!(buffer.unobserve(two));
    buffer.add(b"unseen").unwrap();
    assert_eq!(log.transcript(1), "0->36; 36->26; 26->31; 31->38; ");
    assert_eq!(log.transcript(2), "0->36; 31->38; 38->0; 0->1; ");
    buffer.debug_validate();

    let drains = buffer.observe(|buffer, change| {
        if change.added > 0 {
            buffer.drain(change.after()).unwrap();
        }
    });
    write!(buffer, "this is drained at once").unwrap();
    assert_eq!(buffer.len(), 0);
    assert!(buffer.unobserve(drains));
    write!(buffer, "this is not").unwrap();
    assert_eq!(buffer, "this is not");
    buffer.debug_validate();
}

#[test]
fn regress_evbuffer_empty_reference_prepend() {
    let mut buffer = Evbuffer::new();
    add_empty_reference(&mut buffer);
    buffer.prepend(b"foo").unwrap();
    assert_eq!(buffer, "foo");
    buffer.debug_validate();
}

#[test]
fn regress_evbuffer_empty_reference_prepend_buffer() {
    let mut one = Evbuffer::new();
    let mut two = Evbuffer::new();
    add_empty_reference(&mut one);
    add_empty_reference(&mut two);
    two.add(b"foo").unwrap();
    one.prepend_buffer(&mut two).unwrap();
    assert_eq!(one, "foo");
    assert!(two.is_empty());
}

/// B-14.
#[test]
fn regress_evbuffer_peek() {
    let texts: Vec<String> = (0..16).map(|i| format!("Contents of chunk [{i}]\n")).collect();
    let buffer = fragmented(texts.iter().map(String::as_str));
    let mut out = [IoSlice::new(&[]); 20];
    let text = |slice: &IoSlice<'_>| String::from_utf8(slice.to_vec()).unwrap();

    assert_eq!(buffer.peek(0, None, &mut []), Ok(16));
    assert_eq!(buffer.peek(0, None, &mut out), Ok(16));
    for (i, expected) in texts.iter().enumerate() {
        assert_eq!(text(&out[i]), *expected);
    }
    assert_eq!(buffer.peek(0, None, &mut out[..1]), Ok(1));
    assert_eq!(buffer.peek(0, Some(40), &mut out[..16]), Ok(2));
    assert_eq!(buffer.peek(0, Some(100), &mut []), Ok(5));
    out[1] = IoSlice::new(&[]);
    assert_eq!(buffer.peek(0, Some(60), &mut out[..1]), Ok(3), "more are needed than there is place for");
    assert!(out[1].is_empty());
    assert_eq!(buffer.peek(0, Some(65_536), &mut out), Ok(16));
    let empty = Evbuffer::new();
    assert_eq!(empty.peek(0, None, &mut out), Ok(0));
    assert_eq!(empty.peek(0, Some(50), &mut out), Ok(0));

    assert_eq!(buffer.peek(30, Some(50), &mut out), Ok(3));
    assert_eq!(text(&out[0]), " of chunk [1]\n");
    assert_eq!(text(&out[2]), "Contents of chunk [3]\n", "more than was asked for");
    assert_eq!(buffer.peek(44, Some(44), &mut out), Ok(2));
    assert_eq!(text(&out[0]), texts[2]);
    assert_eq!(buffer.peek(buffer.len(), Some(44), &mut out), Ok(0), "the end");
    assert!(buffer.peek(buffer.len() + 1, None, &mut out).is_err());
}

#[test]
fn regress_evbuffer_peek_first_gt() {
    let buffer = fragmented(["Contents of chunk 1\n", "Contents of chunk 2\n"]);
    let mut out = [IoSlice::new(&[]); 2];
    assert_eq!(buffer.peek(0, Some(1), &mut out), Ok(1), "the first piece is more than was asked for");
    assert_eq!(out[0].len(), 20);
}

/// B-24.
#[test]
fn regress_evbuffer_freeze_start() {
    let mut buffer = Evbuffer::from(b"left where they fell\nand held in ice");
    let frozen = Error::Frozen { end: End::Front };
    buffer.freeze(End::Front);
    assert_eq!(buffer.add(b""), Ok(()));
    buffer.reserve(10).unwrap().commit(10).unwrap();
    assert_eq!(buffer.add_bytes("five!"), Ok(()));
    assert_eq!(write!(buffer, "Hello {}", "world"), Ok(11));
    let len = buffer.len();
    assert_eq!(buffer.remove(&mut [0; 1]), Err(frozen.clone()));
    assert_eq!(buffer.drain(3), Err(frozen.clone()));
    assert_eq!(buffer.prepend(b"dummy"), Err(frozen.clone()));
    assert_eq!(buffer.readln(Eol::Lf), Err(frozen));
    assert_eq!(buffer.len(), len);
}

#[test]
fn regress_evbuffer_freeze_end() {
    let mut buffer = Evbuffer::from(b"left where they fell\nand held in ice");
    let frozen = Error::Frozen { end: End::Back };
    let len = buffer.len();
    buffer.freeze(End::Back);
    assert_eq!(buffer.add(b""), Err(frozen.clone()));
    assert_eq!(buffer.reserve(10).err(), Some(frozen.clone()));
    assert_eq!(buffer.add_bytes("five!"), Err(frozen.clone()));
    assert_eq!(write!(buffer, "Hello {}", "world"), Err(frozen));
    assert_eq!(buffer.len(), len);
    assert_eq!(buffer.remove(&mut [0; 1]), Ok(1));
    assert_eq!(buffer.drain(3), Ok(3));
    assert_eq!(buffer.prepend(b"dummy"), Ok(()));
    assert_eq!(buffer.readln(Eol::Lf), Ok(Some(b"dummy where they fell".to_vec())));
}

/// B-20.
#[test]
fn regress_evbuffer_add_iovec() {
    let parts = [
        "Guilt resembles a sword with two edges.",
        "On the one hand, it cuts for Justice;",
        "on the other",
        "",
    ];
    let slices = parts.map(|part| IoSlice::new(part.as_bytes()));
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.add_iovec(&[]), Ok(0));
    assert_eq!(buffer.add_iovec(&slices), Ok(parts.concat().len()));
    assert_eq!(buffer, parts.concat().as_str());
}

/// B-10.
#[test]
fn regress_evbuffer_copyout() {
    let text = "0123456789".repeat(20) + "012345";
    let (one, rest) = text.split_at(80);
    let (two, three) = rest.split_at(70);
    let buffer = fragmented([one, two, three]);
    let mut out = [0; 256];
    for (n, expected) in [(10, 10), (100, 100), (230, 206)] {
        assert_eq!(buffer.copy_out(&mut out[..n]), Ok(expected));
        assert_eq!(out[..expected], text.as_bytes()[..expected]);
    }
    for (position, n, expected) in [(80, 10, 10), (80, 100, 100), (79, 2, 2), (150, 230, 56), (206, 1, 0)] {
        assert_eq!(buffer.copy_out_from(position, &mut out[..n]), Ok(expected));
        assert_eq!(out[..expected], text.as_bytes()[position..position + expected]);
    }
    assert!(buffer.copy_out_from(207, &mut out).is_err());
}

/// B-11.
#[test]
fn regress_evbuffer_pullup_with_empty() {
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.pullup(0), Ok(&[][..]));
    assert!(buffer.pullup(1).is_err());
    buffer.add(b"foo").unwrap();
    add_empty_reference(&mut buffer);
    assert_eq!(buffer.pullup(3), Ok(&b"foo"[..]));
    assert!(buffer.pullup(4).is_err());
    buffer.debug_validate();
}

/// B-08. A reference to a reference is one too.
#[test]
fn regress_evbuffer_multicast() {
    let (one, two) = ("x".repeat(2000), "y".repeat(3000));
    let mut source = Evbuffer::from(one.as_bytes());
    source.add_bytes(", ").unwrap();
    source.add_bytes(two.clone()).unwrap();
    let all = format!("{one}, {two}");
    let mut target = Evbuffer::new();
    target.add_buffer_reference(&mut source).unwrap();
    assert_eq!((source.len(), target.len()), (all.len(), all.len()));
    let mut nested = Evbuffer::from(b">");
    nested.add_buffer_reference(&mut target).unwrap();
    for buffer in [&source, &target, &nested] {
        buffer.debug_validate();
    }

    // Neither changes the others.
    target.drain(6).unwrap();
    target.add(b"of its own").unwrap();
    source.prepend(b"I have ").unwrap();
    source.add(b"more").unwrap();
    assert_eq!(target, format!("{}of its own", &all[6..]).as_str());
    assert_eq!(source, format!("I have {all}more").as_str());
    drop(source);
    drop(target);
    assert_eq!(nested, format!(">{all}").as_str());
}

/// B-08.
#[test]
fn regress_evbuffer_multicast_drain() {
    let alive = Arc::new(());
    let mut source = Evbuffer::new();
    source.add_bytes(watched(b"If you have found the answer to such a problem", &alive)).unwrap();
    source.add_bytes(", ").unwrap();
    source.add_bytes(watched(b"you ought to write it up for publication", &alive)).unwrap();
    let len = source.len();
    let mut target = Evbuffer::new();
    target.add_buffer_reference(&mut source).unwrap();
    assert_eq!(source.drain(len).unwrap(), len);
    assert_eq!((target.len(), count(&alive)), (len, 2));
    target.drain(48).unwrap();
    assert_eq!(count(&alive), 1);
    target.drain(len).unwrap();
    assert_eq!(count(&alive), 0);
}

/// B-08, B-24.
#[test]
fn regress_evbuffer_multicast_is_refused_at_frozen_ends() {
    let (mut source, mut target) = (Evbuffer::from(b"data"), Evbuffer::new());
    source.freeze(End::Front);
    assert_eq!(target.add_buffer_reference(&mut source), Err(Error::Frozen { end: End::Front }));
    source.unfreeze(End::Front);
    target.freeze(End::Back);
    assert_eq!(target.add_buffer_reference(&mut source), Err(Error::Frozen { end: End::Back }));
    assert_eq!(target.add_buffer_reference(&mut Evbuffer::new()), Ok(()));
}

/// B-21. The file, and with it what a C program is told by a cleanup callback, goes with the last of segment and buffer.
#[test]
fn regress_evbuffer_file_segment_add_cleanup_cb() {
    let file = Arc::new(file_of(b"a file"));
    let open = Arc::downgrade(&file);
    let segment = FileSegment::new(file, ..).unwrap();
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(segment.clone()).unwrap();
    drop(segment);
    assert_eq!(open.strong_count(), 1);
    drop(buffer);
    assert_eq!(open.strong_count(), 0);
}

/// B-21: 34 bytes and 512 KiB, ranges of the file and of the segment, through a socket.
fn send_file(len: usize, offset: usize, part: Option<std::ops::Range<usize>>) {
    let data = pattern(len);
    let segment = FileSegment::new(file_of(&data), offset as u64..).unwrap();
    let expected = match part.clone() {
        Some(part) => &data[offset..][part],
        None => &data[offset..],
    };
    let segment = match part {
        Some(part) => segment.slice(part.start as u64..part.end as u64).unwrap(),
        None => segment,
    };
    let mut output = Evbuffer::new();
    output.add_file_segment(segment).unwrap();
    assert_eq!(output.len(), expected.len());
    let (mut ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut input = Evbuffer::new();
    while input.len() < expected.len() {
        let n = output.write_to(&mut ours, 16 * 1024).unwrap();
        let mut got = 0;
        while got < n {
            got += input.read_from(&mut theirs, n).unwrap();
        }
    }
    assert_eq!(output.len(), 0);
    assert!(input == expected);
}

#[test]
fn regress_evbuffer_add_file() {
    send_file(34, 0, None);
}

#[test]
fn regress_evbuffer_add_file_offset() {
    send_file(34, 34 / 4 + 1, None);
}

#[test]
fn regress_evbuffer_add_file_offset2() {
    send_file(34, 34 / 2 - 1, Some(0..34 / 3));
}

#[test]
fn regress_evbuffer_add_file_offset3() {
    send_file(34, 34 / 4 + 1, Some(34 / 3..34 / 2));
}

#[test]
fn regress_evbuffer_add_big_file() {
    let len = 512 * 1024;
    send_file(len, 0, None);
    send_file(len, len / 4 + 1, None);
    send_file(len, len / 2 - 1, Some(0..len / 3));
    send_file(len, len / 4 + 1, Some(len / 3..len / 2));
}
