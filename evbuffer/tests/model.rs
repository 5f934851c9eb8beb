//! Random sequences of all operations on three buffers, against plain vectors.

mod common;

use std::io;
use std::io::{BufRead, IoSlice, Read, Write};

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{End, Eol, EolMatch, Error, Evbuffer};
use bytes::{Buf, Bytes};
use proptest::prelude::*;

use common::Log;

/// What an operation works on: a buffer and what it should be.
#[derive(Default)]
struct Pair {
    real: Evbuffer,
    model: Vec<u8>,
    front: bool,
    back: bool,
    limit: Option<usize>,
    watch: Watch,
}

/// What two observers of a buffer were told: the first at once, the second later.
#[derive(Default)]
struct Watch {
    log: Log,
    /// The length that the first one knows of.
    len: usize,
    /// What the first was told since the second was.
    before: usize,
    added: usize,
    removed: usize,
}

/// Bytes to put in: made from a seed, so that a failing case prints and shrinks well.
#[derive(Debug, Clone, Copy)]
struct Data {
    seed: u8,
    len: usize,
}

#[derive(Debug, Clone)]
enum Op {
    Add(Data),
    AddIovec(Data, Data),
    Print(Data),
    Prepend(Data),
    AddBytes(Data),
    PrependBytes(Data),
    Append(usize),
    PrependBuffer(usize),
    MoveTo(usize, usize),
    Drain(usize),
    Remove(usize),
    CopyOut(usize, usize),
    Pullup(usize),
    Expand(usize),
    Reserve(usize, Data),
    ReserveContiguous(usize, Data),
    ReserveParts(usize, usize, usize),
    ReserveAndDrop(usize),
    Peek(usize, Option<usize>, usize),
    Search(Data, usize, usize),
    SearchEol(usize, Eol),
    Readln(Eol),
    TakeBytes(usize),
    TakeChunk,
    Cursor(usize, usize),
    Freeze(End, bool),
    SetLimit(Option<usize>),
    ReadFrom(Data, usize),
    WriteTo(usize, usize),
    IoRead(usize),
    IoWrite(Data),
    BufReadConsume(usize),
    BufAdvance(usize),
    BufCopyToBytes(usize),
    Extend(Data, Data),
    Shrink,
    AppendBlock(Data, usize),
    Reclaim,
    Fill(Data),
    Consume(usize),
    PassOn(usize, usize),
    Receive(Data, usize),
    Send(usize, usize),
    NotifyDeferred,
}

impl Data {
    /// A text of few letters, among them those that end lines.
    fn bytes(self) -> Vec<u8> {
        let mut state = u32::from(self.seed).wrapping_mul(2_654_435_761) | 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b"aabbcd\r\n\r\n\0e"[(state >> 16) as usize % 12]
        };
        (0..self.len).map(next).collect()
    }
}

impl Pair {
    fn room(&self) -> usize {
        self.limit.unwrap_or(usize::MAX).saturating_sub(self.model.len())
    }

    /// What adding `n` bytes at the back should say.
    fn may_add(&self, n: usize) -> Result<(), Error> {
        if self.back { Err(Error::Frozen { end: End::Back }) } else { self.may_hold(n) }
    }

    fn may_hold(&self, n: usize) -> Result<(), Error> {
        if n > self.room() { Err(self.full(n)) } else { Ok(()) }
    }

    fn full(&self, n: usize) -> Error {
        Error::Full { limit: self.limit.unwrap_or(usize::MAX), len: self.model.len(), requested: n }
    }

    /// What touching the front should say.
    fn may_take(&self) -> Result<(), Error> {
        if self.front { Err(Error::Frozen { end: End::Front }) } else { Ok(()) }
    }

    fn may_prepend(&self, n: usize) -> Result<(), Error> {
        if n == 0 { Ok(()) } else { self.may_take().and_then(|()| self.may_hold(n)) }
    }

    /// Takes `n` bytes off the model if `allowed`; gives the number.
    fn take(&mut self, n: usize, allowed: &Result<(), Error>) -> Vec<u8> {
        let n = if allowed.is_ok() { n.min(self.model.len()) } else { 0 };
        self.model.drain(..n).collect()
    }

    fn put(&mut self, data: &[u8], allowed: &Result<(), Error>) {
        if allowed.is_ok() {
            self.model.extend_from_slice(data);
        }
    }

    fn put_front(&mut self, data: &[u8], allowed: &Result<(), Error>) {
        if allowed.is_ok() {
            self.model.splice(..0, data.iter().copied());
        }
    }

    /// A pair whose real buffer is watched.
    fn watched() -> Self {
        let mut pair = Self::default();
        pair.watch.log.observe(&mut pair.real, 0);
        pair.watch.log.observe_deferred(&mut pair.real, 1);
        pair
    }

    /// B-22: whatever the operation was, the sums that were told lead to the length that there is.
    fn check_told(&mut self) {
        self.real.notify_at_once();
        let watch = &mut self.watch;
        for (who, before, added, removed) in watch.log.take() {
            assert_eq!((who, before), (0, watch.len));
            assert!((added == 0) != (removed == 0), "an operation either adds or removes");
            watch.len = before + added - removed;
            watch.added += added;
            watch.removed += removed;
        }
        assert_eq!(watch.len, self.model.len());
    }

    /// B-23.
    fn notify_deferred(&mut self) {
        self.real.notify_deferred();
        let watch = &mut self.watch;
        let sums = (1, watch.before, watch.added, watch.removed);
        let expected = if (watch.added, watch.removed) == (0, 0) { vec![] } else { vec![sums] };
        assert_eq!(watch.log.take(), expected);
        (watch.before, watch.added, watch.removed) = (watch.len, 0, 0);
    }

    fn check(&mut self) {
        self.check_told();
        self.real.debug_validate();
        assert_eq!(self.real.len(), self.model.len());
        assert!(self.real == self.model, "bytes differ");
        assert_eq!(self.real.to_vec().len(), self.model.len());
        assert_eq!(self.real.room(), self.room());
        assert_eq!(self.real.limit(), self.limit);
        assert!(self.real.chunks().all(|chunk| !chunk.is_empty()));
        assert_eq!(self.real.chunks().len(), self.real.chunks().count());
        assert_eq!(self.real.is_empty(), self.model.is_empty());
    }
}

/// Gives at most `at_most` bytes per call, and only into the first slice of a vectored call if `narrow`.
struct Source {
    data: Vec<u8>,
}

impl Read for Source {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = out.len().min(self.data.len());
        out[..n].copy_from_slice(&self.data[..n]);
        self.data.drain(..n);
        Ok(n)
    }

    fn read_vectored(&mut self, out: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        let mut total = 0;
        for slice in out {
            total += self.read(slice)?;
        }
        Ok(total)
    }
}

/// Takes at most so many bytes.
struct Sink {
    data: Vec<u8>,
    takes: usize,
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(data)])
    }

    fn write_vectored(&mut self, data: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.data.len();
        for slice in data {
            let n = slice.len().min(self.takes);
            self.data.extend_from_slice(&slice[..n]);
            self.takes -= n;
        }
        Ok(self.data.len() - before)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The reason inside an I/O error.
fn reason<T>(result: io::Result<T>) -> Result<T, Error> {
    result.map_err(|error| error.downcast::<Error>().expect("an error of ours"))
}

fn model_search(model: &[u8], what: &[u8], start: usize, end: usize) -> Option<usize> {
    let end = end.min(model.len());
    if start > end {
        return None;
    }
    if what.is_empty() {
        return Some(start);
    }
    model[start..end].windows(what.len()).position(|window| window == what).map(|k| k + start)
}

fn model_eol(model: &[u8], from: usize, eol: Eol) -> Option<EolMatch> {
    let behind = model.get(from..)?;
    let byte = |wanted: &[u8]| behind.iter().position(|byte| wanted.contains(byte));
    let (at, len) = match eol {
        Eol::Any => {
            let at = byte(b"\r\n")?;
            (at, behind[at..].iter().take_while(|byte| b"\r\n".contains(byte)).count())
        }
        Eol::Crlf => match byte(b"\n")? {
            at if at > 0 && behind[at - 1] == b'\r' => (at - 1, 2),
            at => (at, 1),
        },
        Eol::CrlfStrict => (behind.windows(2).position(|pair| pair == b"\r\n")?, 2),
        Eol::Lf => (byte(b"\n")?, 1),
        Eol::Nul => (byte(b"\0")?, 1),
        _ => unreachable!("no other style"),
    };
    Some(EolMatch { position: from + at, len })
}

/// Runs one operation on `pair`, with `other` as the second buffer where it needs one.
fn apply(op: &Op, pair: &mut Pair, other: &mut Pair) {
    match op {
        Op::Append(_) | Op::PrependBuffer(_) | Op::MoveTo(..) | Op::PassOn(..) => apply_two(op, pair, other),
        Op::Add(_)
        | Op::AddIovec(..)
        | Op::Print(_)
        | Op::Prepend(_)
        | Op::AddBytes(_)
        | Op::PrependBytes(_)
        | Op::IoWrite(_)
        | Op::Extend(..)
        | Op::AppendBlock(..)
        | Op::Fill(_)
        | Op::ReadFrom(..)
        | Op::Receive(..) => apply_in(op, pair),
        Op::Reserve(..) | Op::ReserveContiguous(..) | Op::ReserveParts(..) | Op::ReserveAndDrop(_) => {
            apply_reserve(op, pair);
        }
        Op::Peek(..) | Op::Search(..) | Op::SearchEol(..) | Op::Cursor(..) | Op::CopyOut(..) => {
            apply_look(op, pair);
        }
        _ => apply_out(op, pair),
    }
}

/// Operations between two buffers.
fn apply_two(op: &Op, pair: &mut Pair, other: &mut Pair) {
    match *op {
        Op::Append(_) => {
            let n = other.model.len();
            let allowed = if n == 0 { Ok(()) } else { pair.may_add(n).and(other.may_take()) };
            assert_eq!(pair.real.append(&mut other.real), allowed);
            let moved = other.take(n, &allowed);
            pair.put(&moved, &Ok(()));
        }
        Op::PrependBuffer(_) => {
            let n = other.model.len();
            let allowed = pair.may_prepend(n).and(if n == 0 { Ok(()) } else { other.may_take() });
            assert_eq!(pair.real.prepend_buffer(&mut other.real), allowed);
            let moved = other.take(n, &allowed);
            pair.put_front(&moved, &Ok(()));
        }
        Op::MoveTo(_, n) => {
            let n = n.min(pair.model.len());
            let allowed = if n == 0 { Ok(()) } else { pair.may_take().and(other.may_add(n)) };
            assert_eq!(pair.real.move_to(&mut other.real, n), allowed.clone().map(|()| n));
            let moved = pair.take(n, &allowed);
            other.put(&moved, &Ok(()));
        }
        Op::PassOn(_, n) => {
            let n = n.min(pair.model.len());
            let allowed = other.may_hold(n);
            assert_eq!(pair.real.pass_on(&mut other.real, n), allowed.clone().map(|()| n));
            let moved = pair.take(n, &allowed);
            other.put(&moved, &Ok(()));
        }
        _ => unreachable!(),
    }
}

/// Operations that put bytes in.
fn apply_in(op: &Op, pair: &mut Pair) {
    match *op {
        Op::Add(data) => {
            let allowed = pair.may_add(data.len);
            assert_eq!(pair.real.add(&data.bytes()), allowed);
            pair.put(&data.bytes(), &allowed);
        }
        Op::AddIovec(one, two) => {
            let (one, two) = (one.bytes(), two.bytes());
            let total = one.len() + two.len();
            let allowed = pair.may_add(total);
            let slices = [IoSlice::new(&one), IoSlice::new(&two)];
            assert_eq!(pair.real.add_iovec(&slices), allowed.clone().map(|()| total));
            pair.put(&[one, two].concat(), &allowed);
        }
        Op::Print(data) => {
            let text = format!("[{}]", String::from_utf8_lossy(&data.bytes()));
            let result = write!(pair.real, "[{}]", String::from_utf8_lossy(&data.bytes()));
            let allowed = pair.may_add(text.len());
            assert_eq!(result.is_ok(), allowed.is_ok());
            pair.put(text.as_bytes(), &allowed);
        }
        Op::Prepend(data) => {
            let allowed = pair.may_prepend(data.len);
            assert_eq!(pair.real.prepend(&data.bytes()), allowed);
            pair.put_front(&data.bytes(), &allowed);
        }
        Op::AddBytes(data) => {
            let allowed = pair.may_add(data.len);
            assert_eq!(pair.real.add_bytes(data.bytes()), allowed);
            pair.put(&data.bytes(), &allowed);
        }
        Op::PrependBytes(data) => {
            let allowed = pair.may_prepend(data.len);
            assert_eq!(pair.real.prepend_bytes(data.bytes()), allowed);
            pair.put_front(&data.bytes(), &allowed);
        }
        Op::IoWrite(data) => {
            let allowed = pair.may_add(data.len);
            assert_eq!(
                reason(pair.real.write_all(&data.bytes())),
                if data.len == 0 { Ok(()) } else { allowed.clone() }
            );
            pair.put(&data.bytes(), &allowed);
        }
        Op::Extend(one, two) => {
            pair.real.extend([one, two].map(|data| Bytes::from(data.bytes())));
            let first = pair.may_add(one.len);
            pair.put(&one.bytes(), &first);
            let second = first.and(pair.may_add(two.len));
            pair.put(&two.bytes(), &second);
        }
        Op::AppendBlock(data, slack) => {
            let mut block = data.bytes();
            block.resize(data.len + slack, b'#');
            let block = block.into_boxed_slice();
            let address = block.as_ptr();
            let allowed = pair.may_hold(data.len);
            let result = pair.real.append_block(block, data.len);
            match result {
                Ok(()) => assert_eq!(allowed, Ok(())),
                Err((error, block)) => {
                    assert_eq!(Err(error), allowed);
                    assert_eq!(block.as_ptr(), address, "the block comes back");
                }
            }
            pair.put(&data.bytes(), &allowed);
        }
        Op::Fill(data) => {
            let allowed = pair.may_hold(data.len);
            assert_eq!(pair.real.fill(&data.bytes()), allowed);
            pair.put(&data.bytes(), &allowed);
        }
        Op::ReadFrom(data, max) | Op::Receive(data, max) => {
            let ignore = matches!(op, Op::Receive(..));
            let mut source = Source { data: data.bytes() };
            let frozen = if ignore { Ok(()) } else { pair.may_add(0) };
            let allowed = frozen.and(if max == 0 { Ok(()) } else { pair.may_hold(1) });
            let result = if ignore {
                pair.real.receive(&mut source, max)
            } else {
                pair.real.read_from(&mut source, max)
            };
            let got = reason(result);
            assert_eq!(got.as_ref().err(), allowed.as_ref().err());
            let n = got.unwrap_or(0);
            assert!(n <= max && n <= pair.room());
            assert!(max == 0 || data.len == 0 || allowed.is_err() || n > 0, "a read that read nothing");
            assert_eq!(source.data.len(), data.len - n);
            pair.put(&data.bytes()[..n], &allowed);
        }
        _ => unreachable!(),
    }
}

/// Reserve and commit.
fn apply_reserve(op: &Op, pair: &mut Pair) {
    let (Op::Reserve(n, _) | Op::ReserveContiguous(n, _) | Op::ReserveParts(n, ..) | Op::ReserveAndDrop(n)) =
        *op
    else {
        unreachable!()
    };
    let allowed = pair.may_add(n);
    let room = pair.room();
    let contiguous = matches!(op, Op::ReserveContiguous(..));
    let result = if contiguous { pair.real.reserve_contiguous(n) } else { pair.real.reserve(n) };
    let mut space = match result {
        Ok(space) => space,
        Err(error) => return assert_eq!(Err(error), allowed),
    };
    assert_eq!(allowed, Ok(()));
    let capacity = space.capacity();
    assert!(capacity >= n && capacity <= room);
    let lens = space.io_slices().map(|slice| slice.len());
    assert_eq!(lens[0] + lens[1], capacity);
    assert_eq!(lens.iter().filter(|&&len| len > 0).count(), space.pieces());
    assert_eq!(space.as_mut_slice().len(), lens[0]);
    assert!(!contiguous || lens[0] >= n);
    match *op {
        Op::Reserve(_, data) | Op::ReserveContiguous(_, data) => {
            let data = data.bytes();
            let n = data.len().min(capacity);
            let (first, second) = data[..n].split_at(n.min(lens[0]));
            let [mut one, mut two] = space.io_slices();
            one[..first.len()].copy_from_slice(first);
            two[..second.len()].copy_from_slice(second);
            assert_eq!(space.commit(n), Ok(()));
            pair.put(&data[..n], &Ok(()));
        }
        Op::ReserveParts(_, first, second) => {
            for (mut slice, byte) in space.io_slices().into_iter().zip([b'1', b'2']) {
                slice.fill(byte);
            }
            let fits = first <= lens[0] && second <= lens[1];
            assert_eq!(space.commit_parts(first, second).is_ok(), fits);
            if fits {
                pair.put(&vec![b'1'; first], &Ok(()));
                pair.put(&vec![b'2'; second], &Ok(()));
            }
        }
        _ => drop(space),
    }
}

/// Operations that only look.
fn apply_look(op: &Op, pair: &mut Pair) {
    let len = pair.model.len();
    match *op {
        Op::CopyOut(position, n) => {
            let mut out = vec![0; n];
            let result = pair.real.copy_out_from(position, &mut out);
            if position > len {
                return assert_eq!(result, Err(Error::OutOfRange { position, len }));
            }
            let n = n.min(len - position);
            let allowed = if n == 0 { Ok(()) } else { pair.may_take() };
            assert_eq!(result, allowed.clone().map(|()| n));
            if allowed.is_ok() {
                assert!(out[..n] == pair.model[position..position + n]);
            }
        }
        Op::Peek(position, wanted, slots) => {
            let mut out = vec![IoSlice::new(b""); slots];
            let needed = match pair.real.peek(position, wanted, &mut out) {
                Ok(needed) => needed,
                Err(error) => return assert_eq!(error, Error::OutOfRange { position, len }),
            };
            let got = out[..needed.min(slots)].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
            assert!(pair.model[position..].starts_with(&got), "the pieces follow the position");
            let covers = wanted.unwrap_or(usize::MAX).min(len - position);
            if needed <= slots && (wanted.is_some() || needed < slots) {
                assert!(got.len() >= covers, "all that was asked for");
            }
            if wanted.is_some() && needed > 0 && needed <= slots {
                assert!(got.len() - out[needed - 1].len() < covers, "no piece too many");
            }
        }
        Op::Search(data, start, end) => {
            let what = data.bytes();
            assert_eq!(pair.real.search(&what, start), model_search(&pair.model, &what, start, len));
            let expected = model_search(&pair.model, &what, start, end);
            assert_eq!(pair.real.search_range(&what, start..end), expected);
        }
        Op::SearchEol(from, eol) => {
            assert_eq!(pair.real.search_eol(from, eol), model_eol(&pair.model, from, eol));
        }
        Op::Cursor(position, skip) => {
            let Ok(mut cursor) = pair.real.cursor(position) else { return assert!(position > len) };
            assert_eq!(cursor.remaining(), len - position);
            let fits = skip <= len - position;
            assert_eq!(cursor.skip(skip).is_ok(), fits);
            let position = if fits { position + skip } else { position };
            assert_eq!(cursor.position(), position);
            assert!(cursor.chunks().collect::<Vec<_>>().concat() == pair.model[position..]);
            assert_eq!(cursor.search(b"ab"), model_search(&pair.model, b"ab", position, len));
            let n = cursor.remaining();
            assert!(cursor.copy_to_bytes(n) == pair.model[len - n..]);
        }
        _ => unreachable!(),
    }
}

/// Operations that take bytes out, and those on the whole buffer.
fn apply_out(op: &Op, pair: &mut Pair) {
    let len = pair.model.len();
    let nonempty = if len == 0 { Ok(()) } else { pair.may_take() };
    match *op {
        Op::Drain(n) => {
            assert_eq!(pair.real.drain(n), nonempty.clone().map(|()| n.min(len)));
            pair.take(n, &nonempty);
        }
        Op::Remove(n) | Op::IoRead(n) => {
            let mut out = vec![0; n];
            let allowed = if n == 0 { Ok(()) } else { nonempty };
            let io = matches!(op, Op::IoRead(_));
            let result = if io { reason(pair.real.read(&mut out)) } else { pair.real.remove(&mut out) };
            assert_eq!(result, allowed.clone().map(|()| n.min(len)));
            let taken = pair.take(n, &allowed);
            assert!(out.starts_with(&taken));
        }
        Op::Pullup(n) => match pair.real.pullup(n) {
            Ok(piece) => assert!(*piece == pair.model[..n]),
            Err(error) => assert_eq!(error, Error::OutOfRange { position: n, len }),
        },
        Op::Expand(n) => {
            let allowed = pair.may_add(n);
            assert_eq!(pair.real.expand(n), allowed);
            if allowed.is_ok() {
                let before = pair.real.allocated();
                let chunks = pair.real.chunks().len();
                pair.real.add(&vec![b'e'; n]).expect("it fits");
                pair.put(&vec![b'e'; n], &Ok(()));
                assert_eq!(pair.real.allocated(), before, "expand has made the room");
                assert!(pair.real.chunks().len() <= chunks + 1);
                assert!(pair.real.chunks().last().is_none_or(|last| last.len() >= n), "in one piece");
            }
        }
        Op::Readln(eol) => {
            let found = model_eol(&pair.model, 0, eol);
            let line = found.map(|found| pair.model[..found.position].to_vec());
            assert_eq!(pair.real.readln(eol), pair.may_take().map(|()| line));
            pair.take(found.map_or(0, |found| found.position + found.len), &pair.may_take());
        }
        Op::TakeBytes(n) => {
            if n > len {
                return assert_eq!(pair.real.take_bytes(n), Err(Error::OutOfRange { position: n, len }));
            }
            let allowed = if n == 0 { Ok(()) } else { pair.may_take() };
            let taken = pair.take(n, &allowed);
            assert_eq!(pair.real.take_bytes(n), allowed.map(|()| Bytes::from(taken)));
        }
        Op::TakeChunk => {
            let n = pair.real.contiguous_len();
            let taken = pair.take(n, &nonempty);
            let expected = (n > 0).then(|| Bytes::from(taken));
            assert_eq!(pair.real.take_chunk(), nonempty.map(|()| expected));
        }
        Op::Freeze(end, on) => {
            if on {
                pair.real.freeze(end)
            } else {
                pair.real.unfreeze(end)
            }
            assert_eq!(pair.real.is_frozen(end), on);
            *(if end == End::Front { &mut pair.front } else { &mut pair.back }) = on;
        }
        Op::SetLimit(limit) => {
            pair.real.set_limit(limit);
            pair.limit = limit;
        }
        Op::WriteTo(max, takes) | Op::Send(max, takes) => {
            let ignore = matches!(op, Op::Send(..));
            let mut sink = Sink { data: Vec::new(), takes };
            let allowed = if ignore { Ok(()) } else { pair.may_take() };
            let result =
                if ignore { pair.real.send(&mut sink, max) } else { pair.real.write_to(&mut sink, max) };
            let sent = reason(result);
            assert_eq!(sent.as_ref().err(), allowed.as_ref().err());
            let n = sent.unwrap_or(0);
            assert!(n <= max.min(takes));
            assert!(
                n > 0 || max == 0 || takes == 0 || len == 0 || allowed.is_err(),
                "a write that wrote nothing"
            );
            assert!(pair.take(n, &allowed) == sink.data);
        }
        Op::BufReadConsume(n) => {
            let allowed = nonempty;
            let filled = reason(pair.real.fill_buf().map(<[u8]>::len));
            assert_eq!(filled.is_ok(), allowed.is_ok());
            assert!(filled.is_err() || (filled == Ok(0)) == (len == 0));
            BufRead::consume(&mut pair.real, n);
            pair.take(n, &allowed);
        }
        Op::BufAdvance(n) => {
            let remaining = if pair.front { 0 } else { len };
            assert_eq!(pair.real.remaining(), remaining);
            assert_eq!(pair.real.chunk().is_empty(), remaining == 0);
            pair.real.advance(n.min(remaining));
            pair.take(n.min(remaining), &Ok(()));
        }
        Op::BufCopyToBytes(n) => {
            let n = n.min(pair.real.remaining());
            let taken = pair.take(n, &Ok(()));
            assert!(pair.real.copy_to_bytes(n) == taken);
        }
        Op::Shrink => {
            pair.real.shrink();
            assert!(len > 0 || pair.real.allocated() == 0, "an empty buffer owns nothing after `shrink`");
        }
        Op::Reclaim => {
            let before = pair.real.allocated();
            if let Some(block) = pair.real.reclaim() {
                assert!(block.len() >= 16 * 1024);
                assert_eq!(pair.real.allocated(), before - block.len());
            }
        }
        Op::Consume(n) => {
            assert_eq!(Transport::consume(&mut pair.real, n), n.min(len));
            pair.take(n, &Ok(()));
        }
        Op::NotifyDeferred => pair.notify_deferred(),
        _ => unreachable!(),
    }
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => 0usize..40,
        4 => 40usize..700,
        2 => 700usize..6000,
        1 => 6000usize..80_000,
    ]
}

/// Also lengths that must not overflow anything.
fn any_length() -> impl Strategy<Value = usize> {
    prop_oneof![20 => length(), 1 => Just(usize::MAX), 1 => Just(usize::MAX - 1)]
}

fn data() -> impl Strategy<Value = Data> {
    (any::<u8>(), length()).prop_map(|(seed, len)| Data { seed, len })
}

fn word() -> impl Strategy<Value = Data> {
    (any::<u8>(), 0usize..5).prop_map(|(seed, len)| Data { seed, len })
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Front), Just(End::Back)]
}

fn eol() -> impl Strategy<Value = Eol> {
    prop::sample::select(vec![Eol::Any, Eol::Crlf, Eol::CrlfStrict, Eol::Lf, Eol::Nul])
}

fn ways_in() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => data().prop_map(Op::Add),
        1 => (data(), data()).prop_map(|(one, two)| Op::AddIovec(one, two)),
        1 => data().prop_map(Op::Print),
        3 => data().prop_map(Op::Prepend),
        3 => data().prop_map(Op::AddBytes),
        1 => data().prop_map(Op::PrependBytes),
        1 => data().prop_map(Op::IoWrite),
        1 => (data(), data()).prop_map(|(one, two)| Op::Extend(one, two)),
        2 => (data(), length()).prop_map(|(data, slack)| Op::AppendBlock(data, slack)),
        2 => data().prop_map(Op::Fill),
        2 => (data(), any_length()).prop_map(|(data, max)| Op::ReadFrom(data, max)),
        1 => (data(), any_length()).prop_map(|(data, max)| Op::Receive(data, max)),
        2 => (length(), data()).prop_map(|(n, data)| Op::Reserve(n, data)),
        1 => (length(), data()).prop_map(|(n, data)| Op::ReserveContiguous(n, data)),
        1 => (length(), length(), length()).prop_map(|(n, one, two)| Op::ReserveParts(n, one, two)),
        1 => length().prop_map(Op::ReserveAndDrop),
        1 => length().prop_map(Op::Expand),
    ]
}

fn ways_between() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0usize..3).prop_map(Op::Append),
        2 => (0usize..3).prop_map(Op::PrependBuffer),
        4 => (0usize..3, any_length()).prop_map(|(to, n)| Op::MoveTo(to, n)),
        1 => (0usize..3, any_length()).prop_map(|(to, n)| Op::PassOn(to, n)),
    ]
}

fn ways_out() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any_length().prop_map(Op::Drain),
        2 => length().prop_map(Op::Remove),
        2 => length().prop_map(Op::Pullup),
        3 => eol().prop_map(Op::Readln),
        2 => length().prop_map(Op::TakeBytes),
        1 => Just(Op::TakeChunk),
        2 => (any_length(), length()).prop_map(|(max, takes)| Op::WriteTo(max, takes)),
        1 => (any_length(), length()).prop_map(|(max, takes)| Op::Send(max, takes)),
        1 => length().prop_map(Op::IoRead),
        1 => any_length().prop_map(Op::BufReadConsume),
        1 => length().prop_map(Op::BufAdvance),
        1 => length().prop_map(Op::BufCopyToBytes),
        1 => any_length().prop_map(Op::Consume),
        1 => Just(Op::Shrink),
        1 => Just(Op::Reclaim),
    ]
}

fn looks() -> impl Strategy<Value = Op> {
    prop_oneof![
        (any_length(), length()).prop_map(|(position, n)| Op::CopyOut(position, n)),
        (any_length(), prop::option::of(any_length()), 0usize..5)
            .prop_map(|(at, n, slots)| Op::Peek(at, n, slots)),
        (word(), any_length(), any_length()).prop_map(|(what, start, end)| Op::Search(what, start, end)),
        (any_length(), eol()).prop_map(|(from, eol)| Op::SearchEol(from, eol)),
        (any_length(), any_length()).prop_map(|(position, skip)| Op::Cursor(position, skip)),
    ]
}

fn settings() -> impl Strategy<Value = Op> {
    prop_oneof![
        1 => end().prop_map(|end| Op::Freeze(end, true)),
        4 => end().prop_map(|end| Op::Freeze(end, false)),
        1 => length().prop_map(|limit| Op::SetLimit(Some(limit))),
        4 => Just(Op::SetLimit(None)),
        8 => Just(Op::NotifyDeferred),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![8 => ways_in(), 4 => ways_between(), 5 => ways_out(), 3 => looks(), 1 => settings()]
}

/// Three buffers; operations that move between two take the next one if both are the same.
fn run(ops: &[(usize, Op)]) {
    let mut pairs = [Pair::watched(), Pair::watched(), Pair::watched()];
    for (index, op) in ops {
        let second = match *op {
            Op::Append(second)
            | Op::PrependBuffer(second)
            | Op::MoveTo(second, _)
            | Op::PassOn(second, _) => second,
            _ => index + 1,
        };
        let second = if second % 3 == *index { (index + 1) % 3 } else { second % 3 };
        let [pair, other] = pairs.get_disjoint_mut([*index, second]).expect("two different buffers");
        apply(op, pair, other);
        pair.check();
        other.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_agrees_with_a_vector(ops in prop::collection::vec((0usize..3, op()), 1..80)) {
        run(&ops);
    }
}
