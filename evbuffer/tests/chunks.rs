//! Every small way to cut a text into segments, of every kind, through every operation that crosses segments.

use bufferevent_evbuffer::{Eol, Evbuffer};
use bytes::{Buf, Bytes};

const TEXT: &[u8] = b"ab\r\n\rab\n";

/// How a segment comes about: a reference, or a block with room on neither or both sides.
#[derive(Clone, Copy)]
enum Kind {
    Shared,
    Full,
    Roomy,
}

const KINDS: [Kind; 3] = [Kind::Shared, Kind::Full, Kind::Roomy];

fn segment(kind: Kind, part: &[u8]) -> Evbuffer {
    match kind {
        Kind::Shared => Evbuffer::from(Bytes::copy_from_slice(part)),
        Kind::Full => Evbuffer::from(part.to_vec()),
        Kind::Roomy => {
            let mut buffer = Evbuffer::new();
            buffer.prepend(part).expect("no limit");
            buffer
        }
    }
}

/// The text cut wherever `cuts` has a bit set; the kinds alternate from `kind` on.
fn cut(cuts: u32, kind: usize) -> Evbuffer {
    let mut buffer = Evbuffer::new();
    let mut start = 0;
    let mut count = kind;
    for end in 1..=TEXT.len() {
        if end == TEXT.len() || cuts & (1 << (end - 1)) != 0 {
            let mut part = segment(KINDS[count % 3], &TEXT[start..end]);
            // In front of what follows: `append` would copy such small blocks together.
            let mut before = std::mem::take(&mut buffer);
            part.prepend_buffer(&mut before).expect("no limit");
            buffer = part;
            start = end;
            count += 1;
        }
    }
    buffer.debug_validate();
    assert_eq!(buffer.chunks().len(), 1 + (cuts.count_ones() as usize));
    buffer
}

fn for_every_cut(mut check: impl FnMut(&dyn Fn() -> Evbuffer)) {
    for cuts in 0..1 << (TEXT.len() - 1) {
        for kind in 0..3 {
            check(&|| cut(cuts, kind));
        }
    }
}

fn expect(buffer: &Evbuffer, text: &[u8]) {
    buffer.debug_validate();
    assert_eq!(*buffer, text);
}

#[test]
fn draining_any_number_leaves_the_rest() {
    for_every_cut(|make| {
        for n in 0..=TEXT.len() {
            let mut buffer = make();
            assert_eq!(buffer.drain(n), Ok(n));
            expect(&buffer, &TEXT[n..]);
            buffer.add(b"+").unwrap();
            expect(&buffer, &[&TEXT[n..], b"+"].concat());
        }
    });
}

#[test]
fn moving_any_number_splits_the_text() {
    for_every_cut(|make| {
        for n in 0..=TEXT.len() {
            for held in [&b""[..], b"held"] {
                let mut from = make();
                let mut to = Evbuffer::from(held);
                assert_eq!(from.move_to(&mut to, n), Ok(n));
                expect(&from, &TEXT[n..]);
                expect(&to, &[held, &TEXT[..n]].concat());
                from.add(b"+").unwrap();
                to.add(b"-").unwrap();
                expect(&from, &[&TEXT[n..], b"+"].concat());
                to.append(&mut from).unwrap();
                expect(&to, &[held, &TEXT[..n], b"-", &TEXT[n..], b"+"].concat());
                expect(&from, b"");
            }
        }
    });
}

#[test]
fn pulling_up_any_number_changes_no_byte() {
    for_every_cut(|make| {
        for n in 0..=TEXT.len() {
            let mut buffer = make();
            assert_eq!(buffer.pullup(n), Ok(&TEXT[..n]));
            expect(&buffer, TEXT);
            buffer.prepend(b"-").unwrap();
            buffer.add(b"+").unwrap();
            expect(&buffer, &[b"-", TEXT, b"+"].concat());
        }
    });
}

#[test]
fn taking_any_number_splits_the_text() {
    for_every_cut(|make| {
        for n in 0..=TEXT.len() {
            let mut buffer = make();
            assert_eq!(buffer.take_bytes(n).unwrap(), TEXT[..n]);
            expect(&buffer, &TEXT[n..]);
            let mut rest = Vec::new();
            while let Some(chunk) = buffer.take_chunk().unwrap() {
                rest.extend_from_slice(&chunk);
                buffer.debug_validate();
            }
            assert_eq!(rest, TEXT[n..]);
        }
    });
}

#[test]
fn copying_out_any_range_gives_it() {
    for_every_cut(|make| {
        let buffer = make();
        for start in 0..=TEXT.len() {
            for end in start..=TEXT.len() {
                let mut out = vec![0; end - start];
                assert_eq!(buffer.copy_out_from(start, &mut out), Ok(end - start));
                assert_eq!(out, TEXT[start..end]);
            }
            assert_eq!(buffer.chunks_from(start).unwrap().collect::<Vec<_>>().concat(), TEXT[start..]);
            let mut cursor = buffer.cursor(start).unwrap();
            assert_eq!(cursor.copy_to_bytes(TEXT.len() - start), TEXT[start..]);
        }
    });
}

#[test]
fn every_part_of_the_text_is_found() {
    for_every_cut(|make| {
        let buffer = make();
        for start in 0..TEXT.len() {
            for end in start + 1..=TEXT.len() {
                let what = &TEXT[start..end];
                let first = TEXT.windows(what.len()).position(|window| window == what);
                assert_eq!(buffer.search(what, 0), first);
                assert_eq!(buffer.search(what, start), Some(start));
                assert_eq!(buffer.search_range(what, start..end), Some(start));
                assert_eq!(buffer.search_range(what, start..end - 1), None);
            }
        }
    });
}

#[test]
fn lines_are_the_same_however_the_text_is_cut() {
    let lines = |mut buffer: Evbuffer, eol| {
        let mut lines = Vec::new();
        while let Some(line) = buffer.readln(eol).unwrap() {
            buffer.debug_validate();
            lines.push(line);
        }
        (lines, buffer.to_vec())
    };
    for_every_cut(|make| {
        for eol in [Eol::Any, Eol::Crlf, Eol::CrlfStrict, Eol::Lf, Eol::Nul] {
            assert_eq!(lines(make(), eol), lines(Evbuffer::from(TEXT), eol));
        }
    });
    let split =
        |lines: &[&[u8]], rest: &[u8]| (lines.iter().map(|line| line.to_vec()).collect(), rest.to_vec());
    let whole = || Evbuffer::from(TEXT);
    assert_eq!(lines(whole(), Eol::Any), split(&[b"ab", b"ab"], b""));
    assert_eq!(lines(whole(), Eol::Crlf), split(&[b"ab", b"\rab"], b""));
    assert_eq!(lines(whole(), Eol::CrlfStrict), split(&[b"ab"], b"\rab\n"));
    assert_eq!(lines(whole(), Eol::Lf), split(&[b"ab\r", b"\rab"], b""));
}

#[test]
fn adding_and_prepending_in_any_sizes_gives_the_text() {
    for size in 1..=300 {
        let text: Vec<u8> = (0..2000).map(|i| (i % 251) as u8).collect();
        let mut added = Evbuffer::new();
        let mut prepended = Evbuffer::new();
        let mut both = Evbuffer::new();
        for part in text.chunks(size) {
            added.add(part).unwrap();
            added.debug_validate();
        }
        for part in text.rchunks(size) {
            prepended.prepend(part).unwrap();
            prepended.debug_validate();
        }
        let (before, behind) = text.split_at(1000);
        for (front, back) in before.rchunks(size).zip(behind.chunks(size)) {
            both.prepend(front).unwrap();
            both.add(back).unwrap();
        }
        expect(&added, &text);
        expect(&prepended, &text);
        expect(&both, &text);
    }
}
