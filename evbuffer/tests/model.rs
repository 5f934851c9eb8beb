//! Random sequences of all operations on three buffers, against plain vectors. They are watched all the time, and there is a
//! file whose ranges they take.

mod common;

use std::io;
use std::io::{BufRead, IoSlice, Read, Write};
use std::sync::OnceLock;

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{End, Eol, EolMatch, Error, Evbuffer, FILE_BLOCK, FileSegment};
use bytes::{Buf, Bytes};
use proptest::prelude::*;

use common::{Log, file_of};

/// What an operation works on: a buffer and what it should be.
#[derive(Default)]
struct Pair {
    real: Evbuffer,
    model: Vec<u8>,
    runs: Runs,
    front: bool,
    back: bool,
    limit: Option<usize>,
    watch: Watch,
}

/// Which bytes of a buffer are of a file and not in memory: so many that are or are not, then so many, and so on.
#[derive(Clone, Default)]
struct Runs(Vec<(usize, bool)>);

impl Runs {
    fn of(len: usize, unread: bool) -> Self {
        Self(vec![(len, unread)])
    }

    /// Makes a run end at `n`; gives the number of runs before that.
    fn split(&mut self, n: usize) -> usize {
        let mut left = n;
        for index in 0..self.0.len() {
            let (len, unread) = self.0[index];
            if left < len {
                self.0[index].0 = left;
                self.0.insert(index + 1, (len - left, unread));
                return index + 1;
            }
            left -= len;
        }
        self.0.len()
    }

    fn take(&mut self, n: usize) -> Self {
        let before = self.split(n);
        Self(self.0.drain(..before).collect())
    }

    /// The first `n` bytes are in memory now.
    fn read(&mut self, n: usize) {
        let before = self.split(n);
        self.0[..before].iter_mut().for_each(|run| run.1 = false);
    }

    /// The bytes among the first `n` that are not in memory.
    fn unread(&self, n: usize) -> usize {
        let mut runs = self.clone();
        runs.take(n).0.iter().filter(|run| run.1).map(|run| run.0).sum()
    }

    /// The bytes before the first that is not in memory.
    fn loaded(&self) -> usize {
        self.0.iter().take_while(|run| !run.1 || run.0 == 0).map(|run| run.0).sum()
    }
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
    AddFile(usize, usize),
    Reference(usize),
    Load(usize),
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
        self.limit.unwrap_or(usize::MAX).saturating_sub(self.held()).min(usize::MAX - self.model.len())
    }

    /// The bytes in memory.
    fn held(&self) -> usize {
        self.held_in(self.model.len())
    }

    /// Those among the first `n`.
    fn held_in(&self, n: usize) -> usize {
        n - self.runs.unread(n)
    }

    /// Those before the first that is not.
    fn loaded(&self) -> usize {
        self.runs.loaded()
    }

    /// What needing the first `n` bytes in memory should say.
    fn may_see(&self, n: usize) -> Result<(), Error> {
        let loaded = self.loaded();
        if n > loaded { Err(Error::NotLoaded { loaded, requested: n }) } else { Ok(()) }
    }

    /// An operation may have read files: takes over how far, within reason.
    fn has_loaded(&mut self, most: usize) {
        let loaded = self.real.loaded_len();
        assert!(loaded >= self.loaded(), "what is in memory stays there");
        let read = loaded - self.held_in(loaded);
        assert!(read < most.saturating_add(FILE_BLOCK), "read further ahead than a block");
        self.runs.read(loaded);
    }

    /// What adding `n` bytes at the back should say.
    fn may_add(&self, n: usize) -> Result<(), Error> {
        if self.back { Err(Error::Frozen { end: End::Back }) } else { self.may_hold(n) }
    }

    fn may_hold(&self, n: usize) -> Result<(), Error> {
        if n > self.room() { Err(self.full(n)) } else { Ok(()) }
    }

    fn full(&self, n: usize) -> Error {
        Error::Full { limit: self.limit.unwrap_or(usize::MAX), len: self.held(), requested: n }
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
        self.take_flagged(n, allowed).0
    }

    /// The same, with what of it is not in memory.
    fn take_flagged(&mut self, n: usize, allowed: &Result<(), Error>) -> (Vec<u8>, Runs) {
        let n = if allowed.is_ok() { n.min(self.model.len()) } else { 0 };
        (self.model.drain(..n).collect(), self.runs.take(n))
    }

    fn put(&mut self, data: &[u8], allowed: &Result<(), Error>) {
        if allowed.is_ok() {
            self.put_flagged((data.to_vec(), Runs::of(data.len(), false)));
        }
    }

    fn put_flagged(&mut self, (data, runs): (Vec<u8>, Runs)) {
        self.model.extend(data);
        self.runs.0.extend(runs.0);
    }

    fn put_front(&mut self, data: &[u8], allowed: &Result<(), Error>) {
        if allowed.is_ok() {
            self.put_front_flagged((data.to_vec(), Runs::of(data.len(), false)));
        }
    }

    fn put_front_flagged(&mut self, (data, runs): (Vec<u8>, Runs)) {
        self.model.splice(..0, data);
        self.runs.0.splice(..0, runs.0);
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
        let loaded = self.loaded();
        assert_eq!((self.real.loaded_len(), self.real.unloaded()), (loaded, self.model.len() - self.held()));
        assert!(self.real.to_vec() == self.model[..loaded], "bytes differ");
        assert_eq!(self.real == self.model, self.real.unloaded() == 0);
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

/// A file that is there as long as the tests, and what is in it.
fn whole_file() -> &'static (FileSegment, Vec<u8>) {
    static FILE: OnceLock<(FileSegment, Vec<u8>)> = OnceLock::new();
    FILE.get_or_init(|| {
        let bytes = Data { seed: 99, len: 3 * FILE_BLOCK }.bytes();
        (FileSegment::new(file_of(&bytes), ..).expect("a file"), bytes)
    })
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
        Op::Append(_) | Op::PrependBuffer(_) | Op::MoveTo(..) | Op::PassOn(..) | Op::Reference(_) => {
            apply_two(op, pair, other);
        }
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
        | Op::AddFile(..)
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
            let held = other.held();
            let allowed = if n == 0 { Ok(()) } else { pair.may_add(held).and(other.may_take()) };
            assert_eq!(pair.real.append(&mut other.real), allowed);
            pair.put_flagged(other.take_flagged(n, &allowed));
        }
        Op::PrependBuffer(_) => {
            let n = other.model.len();
            let fits = pair.may_take().and(pair.may_hold(other.held()));
            let allowed = if n == 0 { Ok(()) } else { fits.and(other.may_take()) };
            assert_eq!(pair.real.prepend_buffer(&mut other.real), allowed);
            pair.put_front_flagged(other.take_flagged(n, &allowed));
        }
        Op::MoveTo(_, n) => {
            let n = n.min(pair.model.len());
            let held = pair.held_in(n);
            let allowed = if n == 0 { Ok(()) } else { pair.may_take().and(other.may_add(held)) };
            assert_eq!(pair.real.move_to(&mut other.real, n), allowed.clone().map(|()| n));
            other.put_flagged(pair.take_flagged(n, &allowed));
        }
        Op::PassOn(_, n) => {
            let n = n.min(pair.model.len());
            let allowed = other.may_hold(pair.held_in(n));
            assert_eq!(pair.real.pass_on(&mut other.real, n), allowed.clone().map(|()| n));
            other.put_flagged(pair.take_flagged(n, &allowed));
        }
        Op::Reference(_) => {
            let n = other.model.len();
            let fits = pair.may_add(other.held());
            let allowed = if n == 0 { Ok(()) } else { fits.and(other.may_take()) };
            assert_eq!(pair.real.add_buffer_reference(&mut other.real), allowed);
            if allowed.is_ok() {
                pair.put_flagged((other.model.clone(), other.runs.clone()));
            }
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
        Op::AddFile(start, len) => {
            let (file, bytes) = whole_file();
            let end = (start + len).min(bytes.len());
            let start = start.min(end);
            let segment = file.slice(start as u64..end as u64).expect("it is in the file");
            let allowed = pair.may_add(0);
            assert_eq!(pair.real.add_file_segment(segment), allowed);
            if allowed.is_ok() {
                pair.put_flagged((bytes[start..end].to_vec(), Runs::of(end - start, true)));
            }
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
            let allowed = if n == 0 { Ok(()) } else { pair.may_take().and(pair.may_see(position + n)) };
            assert_eq!(result, allowed.clone().map(|()| n));
            if allowed.is_ok() {
                assert!(out[..n] == pair.model[position..position + n]);
            }
        }
        Op::Peek(position, wanted, slots) => {
            let mut out = vec![IoSlice::new(b""); slots];
            let needed = match pair.real.peek(position, wanted, &mut out) {
                Ok(needed) => needed,
                Err(error) if position > len => {
                    return assert_eq!(error, Error::OutOfRange { position, len });
                }
                Err(error) => {
                    let seen = position + wanted.unwrap_or(0).min(len - position);
                    return assert_eq!(Err(error), pair.may_see(seen));
                }
            };
            let got = out[..needed.min(slots)].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<u8>>();
            assert!(pair.model[position..].starts_with(&got), "the pieces follow the position");
            let covers = wanted.unwrap_or(usize::MAX).min(pair.loaded() - position);
            if needed <= slots && (wanted.is_some() || needed < slots) {
                assert!(got.len() >= covers, "all that was asked for");
            }
            if wanted.is_some() && needed > 0 && needed <= slots {
                assert!(got.len() - out[needed - 1].len() < covers, "no piece too many");
            }
        }
        Op::Search(data, start, end) => {
            let what = data.bytes();
            let model = &pair.model[..pair.loaded()];
            assert_eq!(pair.real.search(&what, start), model_search(model, &what, start, len));
            let expected = model_search(model, &what, start, end);
            assert_eq!(pair.real.search_range(&what, start..end), expected);
        }
        Op::SearchEol(from, eol) => {
            assert_eq!(pair.real.search_eol(from, eol), model_eol(&pair.model[..pair.loaded()], from, eol));
        }
        Op::Cursor(position, skip) => {
            let len = pair.loaded();
            let Ok(mut cursor) = pair.real.cursor(position) else { return assert!(position > len) };
            let model = &pair.model[..len];
            assert_eq!(cursor.remaining(), len - position);
            let fits = skip <= len - position;
            assert_eq!(cursor.skip(skip).is_ok(), fits);
            let position = if fits { position + skip } else { position };
            assert_eq!(cursor.position(), position);
            assert!(cursor.chunks().collect::<Vec<_>>().concat() == model[position..]);
            assert_eq!(cursor.search(b"ab"), model_search(model, b"ab", position, len));
            let n = cursor.remaining();
            assert!(cursor.copy_to_bytes(n) == model[len - n..]);
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
            let io = matches!(op, Op::IoRead(_));
            if io && pair.real.contiguous_len() == 0 {
                pair.real.load(1).expect("the file is there");
                pair.has_loaded(1);
            }
            let n = if io { n.min(pair.loaded()) } else { n };
            let allowed = if n == 0 { Ok(()) } else { nonempty.and(pair.may_see(n.min(len))) };
            let result = if io { reason(pair.real.read(&mut out)) } else { pair.real.remove(&mut out) };
            assert_eq!(result, allowed.clone().map(|()| n.min(len)));
            let taken = pair.take(n, &allowed);
            assert!(out.starts_with(&taken));
        }
        Op::Pullup(n) => match pair.real.pullup(n) {
            Ok(piece) => assert!(*piece == pair.model[..n]),
            Err(error) if n > len => assert_eq!(error, Error::OutOfRange { position: n, len }),
            Err(error) => assert_eq!(Err(error), pair.may_see(n)),
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
                let in_memory = pair.real.unloaded() == 0;
                assert!(
                    !in_memory || pair.real.chunks().last().is_none_or(|last| last.len() >= n),
                    "in one piece"
                );
            }
        }
        Op::Readln(eol) => {
            let found = model_eol(&pair.model[..pair.loaded()], 0, eol);
            let line = found.map(|found| pair.model[..found.position].to_vec());
            let seen = if line.is_some() { Ok(()) } else { pair.may_see(len) };
            assert_eq!(pair.real.readln(eol), pair.may_take().and(seen).map(|()| line));
            pair.take(found.map_or(0, |found| found.position + found.len), &pair.may_take());
        }
        Op::TakeBytes(n) => {
            if n > len {
                return assert_eq!(pair.real.take_bytes(n), Err(Error::OutOfRange { position: n, len }));
            }
            let allowed = if n == 0 { Ok(()) } else { pair.may_take().and(pair.may_see(n)) };
            let taken = pair.take(n, &allowed);
            assert_eq!(pair.real.take_bytes(n), allowed.map(|()| Bytes::from(taken)));
        }
        Op::TakeChunk => {
            let n = pair.real.contiguous_len();
            if n == 0 && len > 0 && nonempty.is_ok() {
                let refused = pair.real.take_chunk();
                return assert!(matches!(refused, Err(Error::NotLoaded { loaded: 0, .. })));
            }
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
            pair.runs.read(n);
            assert!(
                n > 0 || max == 0 || takes == 0 || len == 0 || allowed.is_err(),
                "a write that wrote nothing"
            );
            assert!(pair.take(n, &allowed) == sink.data);
            pair.has_loaded(FILE_BLOCK);
        }
        Op::BufReadConsume(n) => {
            let allowed = nonempty;
            let filled = reason(pair.real.fill_buf().map(<[u8]>::len));
            assert_eq!(filled.is_ok(), allowed.is_ok());
            assert!(filled.is_err() || (filled == Ok(0)) == (len == 0));
            pair.has_loaded(1);
            BufRead::consume(&mut pair.real, n);
            pair.take(n, &allowed);
        }
        Op::BufAdvance(n) => {
            let remaining = if pair.front { 0 } else { pair.loaded() };
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
        Op::Load(n) => {
            pair.real.load(n).expect("the file is there");
            pair.has_loaded(n.min(len));
            assert!(pair.loaded() >= n.min(len));
        }
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
        3 => (length(), length()).prop_map(|(start, len)| Op::AddFile(start, len)),
    ]
}

fn ways_between() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0usize..3).prop_map(Op::Append),
        2 => (0usize..3).prop_map(Op::PrependBuffer),
        4 => (0usize..3, any_length()).prop_map(|(to, n)| Op::MoveTo(to, n)),
        1 => (0usize..3, any_length()).prop_map(|(to, n)| Op::PassOn(to, n)),
        1 => (0usize..3).prop_map(Op::Reference),
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
        3 => any_length().prop_map(Op::Load),
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
            | Op::PassOn(second, _)
            | Op::Reference(second) => second,
            _ => index + 1,
        };
        let second = if second % 3 == *index { (index + 1) % 3 } else { second % 3 };
        let [pair, other] = pairs.get_disjoint_mut([*index, second]).expect("two different buffers");
        apply(op, pair, other);
        pair.check();
        other.check();
    }
    for pair in &mut pairs {
        apply(&Op::Load(usize::MAX), pair, &mut Pair::default());
        pair.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_operation_agrees_with_a_vector(ops in prop::collection::vec((0usize..3, op()), 1..80)) {
        run(&ops);
    }
}
