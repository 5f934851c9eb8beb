//! What the filters make of bytes, from buffer to buffer, in any chunking. How they work in a stack is in `stacks.rs`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Read as _;

use bufferevent::{Evbuffer, FilterStatus, FlushMode, evbuffer::Error::Full};
use examples::{Deflate, Inflate, LineError, Lines, ZlibError};
use proptest::{collection::vec, prelude::*};

/// Data that deflates: runs of few different bytes.
fn data() -> impl Strategy<Value = Vec<u8>> {
    vec((0..4u8, 1..400usize), 0..60)
        .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| vec![byte; len]).collect())
}

/// Moves up to `n` bytes to a buffer in which they are a segment of their own.
fn chunk_of(data: &mut &[u8], n: usize, source: &mut Evbuffer) {
    let (chunk, rest) = data.split_at(n.min(data.len()));
    source.add_bytes(chunk.to_vec()).unwrap();
    *data = rest;
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let (mut source, mut wire) = (Evbuffer::from(data.to_vec()), Evbuffer::new());
    Deflate::new(6).run(&mut source, &mut wire, usize::MAX, FlushMode::Finished).unwrap();
    wire.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the chunks, rooms and flushes: the same bytes come out, all of them at each flush, and the stream is what
    /// another program reads.
    #[test]
    fn what_is_deflated_and_inflated_in_any_chunking_is_the_same(
        data in data(),
        steps in vec((1..3000usize, 1..3000usize, 1..3000usize, 0..8u8), 1..40),
    ) {
        let (mut deflate, mut inflate) = (Deflate::new(6), Inflate::default());
        let (mut output, mut wire, mut arriving, mut input) =
            (Evbuffer::new(), Evbuffer::new(), Evbuffer::new(), Evbuffer::new());
        let (mut unwritten, mut sent) = (&data[..], Vec::new());
        for (n, there, here, flush) in steps.into_iter().chain([(usize::MAX, 1 << 20, 1 << 20, 1)]) {
            chunk_of(&mut unwritten, n, &mut output);
            let mut mode = if flush == 0 { FlushMode::Flush } else { FlushMode::Normal };
            if n == usize::MAX {
                mode = FlushMode::Finished;
            }
            loop {
                let before = wire.len();
                let done = deflate.run(&mut output, &mut wire, there, mode).unwrap();
                prop_assert!(wire.len() - before <= there);
                mode = FlushMode::Normal;
                if done == FilterStatus::NeedMore {
                    break;
                }
                prop_assert_eq!(wire.len() - before, there);
            }
            prop_assert!(output.is_empty());
            sent.extend(wire.to_vec());
            while !wire.is_empty() || !arriving.is_empty() {
                wire.move_to(&mut arriving, here).unwrap();
                let before = input.len();
                let done = inflate.run(&mut arriving, &mut input, here, FlushMode::Normal).unwrap();
                prop_assert!(input.len() - before <= here);
                prop_assert_eq!(done == FilterStatus::NeedMore && !arriving.is_empty(), false);
            }
            while inflate.run(&mut arriving, &mut input, here, FlushMode::Normal).unwrap() == FilterStatus::Ok {}
            if flush == 0 {
                prop_assert_eq!(&input.to_vec(), &data[..data.len() - unwritten.len()]);
            }
        }
        prop_assert_eq!(inflate.run(&mut arriving, &mut input, 1, FlushMode::Finished).unwrap(), FilterStatus::NeedMore);
        prop_assert_eq!(&input.to_vec(), &data);
        if !data.is_empty() {
            let mut read = Vec::new();
            flate2::read::ZlibDecoder::new(&sent[..]).read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &data);
        } else {
            prop_assert!(sent.is_empty());
        }
    }

    /// Damage is found, unless the bytes are the same (one distance in a run is as good as another).
    #[test]
    fn a_damaged_stream_gives_no_other_bytes_for_good(
        data in data().prop_filter("something", |data| !data.is_empty()),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
    ) {
        let mut wire = deflated(&data);
        let at = at.index(wire.len());
        wire[at] ^= 1 << bit;
        let (mut arriving, mut input) = (Evbuffer::from(wire), Evbuffer::new());
        match Inflate::default().run(&mut arriving, &mut input, 1 << 24, FlushMode::Finished) {
            Ok(_) => prop_assert_eq!(input.to_vec(), data),
            Err(error) => prop_assert!(matches!(error, ZlibError::Corrupt(_) | ZlibError::Truncated), "{error}"),
        }
    }

    #[test]
    fn a_stream_that_is_cut_short_is_truncated(
        data in data().prop_filter("something", |data| !data.is_empty()),
        cut in any::<prop::sample::Index>(),
    ) {
        let wire = deflated(&data);
        let cut = 1 + cut.index(wire.len() - 1);
        let (mut arriving, mut input) = (Evbuffer::from(wire[..cut].to_vec()), Evbuffer::new());
        let told = Inflate::default().run(&mut arriving, &mut input, usize::MAX, FlushMode::Finished);
        prop_assert!(matches!(told, Err(ZlibError::Truncated)), "{told:?}");
        prop_assert!(data.starts_with(&input.to_vec()));
    }

    /// Against `split_inclusive`: whole lines, at once, and nothing else before the end.
    #[test]
    fn only_whole_lines_pass_whatever_the_chunks(
        text in vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(b'b')], 0..200),
        chunks in vec((1..40usize, 1..60usize), 1..30),
        longest in 0..30usize,
    ) {
        let mut lines = Lines::new(longest);
        let (mut source, mut up, mut rest) = (Evbuffer::new(), Evbuffer::new(), &text[..]);
        let trimmed = |line: &[u8]| {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line).len()
        };
        let good: Vec<u8> =
            text.split_inclusive(|b| *b == b'\n').take_while(|line| trimmed(line) <= longest).flatten().copied().collect();
        let mut told = Ok(FilterStatus::NeedMore);
        for (n, room) in chunks.into_iter().chain([(usize::MAX, usize::MAX)]) {
            let mode = if n == usize::MAX { FlushMode::Finished } else { FlushMode::Normal };
            chunk_of(&mut rest, n, &mut source);
            let seen = text.len() - rest.len();
            loop {
                told = lines.run(&mut source, &mut up, room, mode);
                if told != Ok(FilterStatus::Ok) {
                    break;
                }
            }
            let whole = text[..seen].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
            let whole = if mode == FlushMode::Finished { text.len() } else { whole };
            prop_assert_eq!(&up.to_vec(), &good[..good.len().min(whole)]);
            if told.is_err() {
                break;
            }
        }
        prop_assert_eq!(told, if good == text { Ok(FilterStatus::NeedMore) } else { Err(LineError::TooLong { longest }) });
    }
}

#[test]
fn a_bomb_gives_no_more_than_there_is_room_for_and_goes_on_later() {
    let zeros = vec![0; 4 << 20];
    let mut wire = Evbuffer::from(deflated(&zeros));
    assert!(wire.len() < 5 << 10, "{}", wire.len());
    let (mut inflate, mut input, mut got) = (Inflate::default(), Evbuffer::new(), 0);
    loop {
        let done = inflate.run(&mut wire, &mut input, 10_000, FlushMode::Normal).unwrap();
        assert!(input.len() <= 10_000 && input.allocated() <= 64 << 10, "{input:?}");
        got += input.len();
        input.drain(input.len()).unwrap();
        if done == FilterStatus::NeedMore {
            break;
        }
    }
    assert_eq!(got, zeros.len());
}

#[test]
fn behind_the_end_of_a_stream_comes_the_next_one_and_nothing_else() {
    let both = [deflated(b"one"), deflated(b"two")].concat();
    let (mut arriving, mut input) = (Evbuffer::from(both), Evbuffer::new());
    let mut inflate = Inflate::default();
    assert_eq!(
        inflate.run(&mut arriving, &mut input, usize::MAX, FlushMode::Finished).unwrap(),
        FilterStatus::NeedMore
    );
    assert_eq!(input, b"onetwo");

    arriving.add(b"no stream").unwrap();
    let told = inflate.run(&mut arriving, &mut input, usize::MAX, FlushMode::Normal);
    assert!(matches!(told, Err(ZlibError::Corrupt(_))), "{told:?}");
}

#[test]
fn a_flush_costs_nothing_where_nothing_was_written() {
    let (mut deflate, mut nothing, mut wire) = (Deflate::new(6), Evbuffer::new(), Evbuffer::new());
    for mode in [FlushMode::Flush, FlushMode::Finished] {
        deflate.run(&mut nothing, &mut wire, usize::MAX, mode).unwrap();
        assert!(wire.is_empty());
    }
    deflate.run(&mut Evbuffer::from(b"some"), &mut wire, usize::MAX, FlushMode::Flush).unwrap();
    let len = wire.len();
    deflate.run(&mut nothing, &mut wire, usize::MAX, FlushMode::Flush).unwrap();
    assert_eq!(wire.len(), len);
}

#[test]
fn a_line_waits_for_room_and_one_that_will_never_have_it_is_told() {
    let (mut lines, mut source, mut input) =
        (Lines::new(100), Evbuffer::from(b"one\ntwo three\n"), Evbuffer::new());
    input.set_limit(Some(10));
    assert_eq!(lines.run(&mut source, &mut input, 10, FlushMode::Normal), Ok(FilterStatus::Ok));
    assert_eq!(input, b"one\n");
    input.drain(4).unwrap();
    assert_eq!(lines.run(&mut source, &mut input, 10, FlushMode::Normal), Ok(FilterStatus::NeedMore));
    assert_eq!(input, b"two three\n");

    input.drain(10).unwrap();
    source.add(b"ten and one\n").unwrap();
    let told = lines.run(&mut source, &mut input, 10, FlushMode::Normal);
    assert!(matches!(told, Err(LineError::Buffer(Full { limit: 10, .. }))), "{told:?}");
}
