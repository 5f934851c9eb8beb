//! The traits of std and `bytes`; reading from a source and writing to a sink (B-25, B-26).

use std::fmt::Write as _;
use std::io;
use std::io::{BufRead, IoSlice, IoSliceMut, Read, Write};

use bufferevent_evbuffer::{Error, Evbuffer};
use bytes::{Buf, Bytes};

fn fragmented(text: &'static [u8], size: usize) -> Evbuffer {
    text.chunks(size).map(Bytes::from_static).collect()
}

/// Records the shape of each call and takes or gives at most so many bytes.
struct Recorder {
    calls: Vec<Vec<usize>>,
    at_most: usize,
}

impl Recorder {
    fn new(at_most: usize) -> Self {
        Recorder { calls: Vec::new(), at_most }
    }
}

impl Read for Recorder {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(out)])
    }

    fn read_vectored(&mut self, out: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.calls.push(out.iter().map(|slice| slice.len()).collect());
        let mut left = self.at_most;
        for slice in out {
            let n = slice.len().min(left);
            slice[..n].fill(b'r');
            left -= n;
        }
        Ok(self.at_most - left)
    }
}

impl Write for Recorder {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        self.calls.push(data.iter().map(|slice| slice.len()).collect());
        Ok(data.iter().map(|slice| slice.len()).sum::<usize>().min(self.at_most))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails, or claims more than it was given.
struct Broken(Option<io::ErrorKind>);

impl Broken {
    fn answer(&self, offered: usize) -> io::Result<usize> {
        self.0.map_or(Ok(offered + 1), |kind| Err(kind.into()))
    }
}

impl Read for Broken {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.answer(out.len())
    }

    fn read_vectored(&mut self, out: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.answer(out.iter().map(|slice| slice.len()).sum())
    }
}

impl Write for Broken {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.answer(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn read_from_is_one_call_of_at_most_max_bytes() {
    for max in [1, 100, 4096, 16_384, 65_536] {
        let mut source = Recorder::new(usize::MAX);
        let mut buffer = Evbuffer::from(b"held");
        assert_eq!(buffer.read_from(&mut source, max).unwrap(), max);
        assert_eq!(source.calls.len(), 1);
        assert_eq!(source.calls[0].iter().sum::<usize>(), max);
        assert_eq!(buffer.len(), 4 + max);
        buffer.debug_validate();
    }
}

#[test]
fn read_from_takes_at_most_64_kib_at_once() {
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.read_from(&mut Recorder::new(usize::MAX), usize::MAX).unwrap(), 65_536);
    assert_eq!(buffer.chunks().len(), 1);
}

/// B-25: the room behind the last bytes is used first.
#[test]
fn small_reads_share_a_block() {
    let mut buffer = Evbuffer::new();
    for _ in 0..100 {
        assert_eq!(buffer.read_from(&mut Recorder::new(100), 16_384).unwrap(), 100);
    }
    assert_eq!(buffer.chunks().len(), 1);
    assert_eq!(buffer, vec![b'r'; 10_000]);
}

#[test]
fn read_from_gives_zero_at_the_end_and_passes_errors_on() {
    let mut buffer = Evbuffer::from(b"held");
    assert_eq!(buffer.read_from(&mut io::empty(), 100).unwrap(), 0);
    let error = buffer.read_from(&mut Broken(Some(io::ErrorKind::WouldBlock)), 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    let error = buffer.read_from(&mut Broken(None), 100).unwrap_err();
    assert!(matches!(error.downcast::<Error>().unwrap(), Error::OutOfRange { .. }));
    assert_eq!(buffer, "held");
    buffer.debug_validate();
}

/// B-26: the pieces go out in one vectored call; what was not taken stays.
#[test]
fn write_to_is_one_call_and_drains_what_was_taken() {
    let text = b"0123456789abcdef";
    for size in 1..=16 {
        for max in 0..=17 {
            for taken in 0..=17 {
                let mut sink = Recorder::new(taken);
                let mut buffer = fragmented(text, size);
                let n = buffer.write_to(&mut sink, max).unwrap();
                assert_eq!(n, max.min(taken).min(16));
                assert_eq!(sink.calls.len(), usize::from(max > 0));
                assert_eq!(sink.calls.iter().flatten().sum::<usize>(), max.min(16));
                assert_eq!(buffer, &text[n..]);
                buffer.debug_validate();
            }
        }
    }
}

#[test]
fn write_to_offers_at_most_64_pieces() {
    let mut buffer: Evbuffer = std::iter::repeat_n(Bytes::from_static(b"ab"), 100).collect();
    let mut sink = Recorder::new(usize::MAX);
    assert_eq!(buffer.write_to(&mut sink, usize::MAX).unwrap(), 128);
    assert_eq!(sink.calls, [vec![2; 64]]);
    assert_eq!(buffer.len(), 72);
}

#[test]
fn write_to_calls_nothing_without_data_and_passes_errors_on() {
    let mut buffer = Evbuffer::new();
    assert_eq!(buffer.write_to(&mut Broken(None), 100).unwrap(), 0);
    buffer.add(b"held").unwrap();
    let error = buffer.write_to(&mut Broken(Some(io::ErrorKind::BrokenPipe)), 100).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    assert!(buffer.write_to(&mut Broken(None), 100).is_err(), "a sink that claims more than it got");
    assert_eq!(buffer, "held");
}

#[test]
fn io_read_and_write_move_bytes() {
    let mut buffer = Evbuffer::new();
    buffer.write_all(b"0123456789").unwrap();
    buffer.flush().unwrap();
    let (mut one, mut two) = ([0; 3], [0; 4]);
    let n = buffer.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two)]).unwrap();
    assert_eq!((n, &one, &two), (7, b"012", b"3456"));
    assert_eq!(buffer.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"c")]).unwrap(), 3);
    let mut text = String::new();
    buffer.read_to_string(&mut text).unwrap();
    assert_eq!(text, "789abc");
    assert_eq!(buffer.read(&mut one).unwrap(), 0, "empty is the end");
}

#[test]
fn io_copy_goes_through_a_buffer() {
    let mut buffer = Evbuffer::new();
    io::copy(&mut &[7; 100_000][..], &mut buffer).unwrap();
    let mut out = Vec::new();
    io::copy(&mut buffer, &mut out).unwrap();
    assert_eq!(out, [7; 100_000]);
}

#[test]
fn buf_read_gives_lines_across_segments() {
    for size in 1..12 {
        let buffer = fragmented(b"one\ntwo\n\nthree", size);
        let lines: Vec<String> = buffer.lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["one", "two", "", "three"]);
    }
}

#[test]
fn fmt_write_appends_text() {
    fn shout(out: &mut impl std::fmt::Write) -> std::fmt::Result {
        write!(out, "{}!", 42)
    }
    let mut buffer = Evbuffer::new();
    shout(&mut buffer).unwrap();
    buffer.write_str("?").unwrap();
    assert_eq!(buffer, "42!?");
    buffer.set_limit(Some(4));
    assert!(shout(&mut buffer).is_err());
}

#[test]
fn buf_reads_numbers_across_segments() {
    let mut buffer = fragmented(b"\x00\x00\x01\x02rest", 1);
    assert_eq!(buffer.get_u32(), 0x102);
    assert_eq!(buffer.copy_to_bytes(4), "rest");
    assert!(!buffer.has_remaining());
}

#[test]
fn buf_gives_its_pieces_for_a_vectored_write() {
    let buffer = fragmented(b"abcdef", 2);
    let mut out = [IoSlice::new(&[]); 2];
    assert_eq!(buffer.chunks_vectored(&mut out), 2);
    assert_eq!(out.map(|slice| slice.to_vec()), [b"ab", b"cd"]);
}

#[test]
#[should_panic(expected = "past the end")]
fn buf_advance_past_the_end_panics_as_prescribed() {
    Evbuffer::from(b"abc").advance(4);
}

#[test]
fn conversions_and_comparisons_see_the_bytes() {
    let expected = b"0123456789";
    let buffers = [
        Evbuffer::from(expected),
        Evbuffer::from(&expected[..]),
        Evbuffer::from("0123456789"),
        Evbuffer::from(expected.to_vec()),
        Evbuffer::from(Bytes::from_static(expected)),
        fragmented(expected, 3),
        expected.chunks(4).collect(),
    ];
    for buffer in &buffers {
        buffer.debug_validate();
        assert_eq!(*buffer, buffers[5]);
        assert_eq!(*buffer, expected);
        assert_eq!(*buffer, expected[..]);
        assert_eq!(*buffer, expected.to_vec());
        assert_eq!(*buffer, "0123456789");
        assert_ne!(*buffer, "0123456780");
        assert_ne!(*buffer, "012345678");
        assert_ne!(*buffer, Evbuffer::new());
    }
    for empty in
        [Evbuffer::from(b""), Evbuffer::from(Vec::new()), Evbuffer::from(Bytes::new()), Evbuffer::default()]
    {
        empty.debug_validate();
        assert_eq!(empty, "");
        assert_eq!(empty.limit(), None);
    }
}

#[test]
fn debug_shows_the_shape_and_not_the_bytes() {
    let shown = format!("{:?}", fragmented(b"secret", 3));
    assert!(shown.contains("len: 6") && shown.contains("segments: 2"));
    assert!(!shown.contains("sec") && !shown.contains("115"));
    let mut buffer = Evbuffer::from(b"secret");
    assert_eq!(format!("{:?}", buffer.chunks()), "Chunks { left: 1 }");
    assert!(!format!("{:?}", buffer.reserve(1)).contains("115"));
}

#[test]
fn errors_say_what_happened() {
    let mut buffer = Evbuffer::from(b"abc");
    buffer.set_limit(Some(4));
    assert_eq!(
        buffer.add(b"de").unwrap_err().to_string(),
        "2 more bytes do not fit: 3 of at most 4 are in use"
    );
    assert_eq!(buffer.cursor(9).unwrap_err().to_string(), "position 9 is past 3");
    let error = io::Error::from(buffer.pullup(4).unwrap_err());
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(std::fmt::Error::from(Error::Format), std::fmt::Error);
}
