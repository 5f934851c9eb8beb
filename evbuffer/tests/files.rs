//! B-21, B-27, F65: ranges of files in a buffer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, IoSlice, Read as _, Write as _};
use std::sync::Arc;

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{End, Eol, Error, Evbuffer, FILE_BLOCK, FileError, FileSegment};
use bytes::Buf as _;

use common::{Log, file_of, path, pattern};

fn whole(data: &[u8]) -> FileSegment {
    FileSegment::new(file_of(data), ..).unwrap()
}

/// A buffer of bytes in memory, a file, and bytes in memory.
fn mixed(front: &str, file: &[u8], back: &str) -> Evbuffer {
    let mut buffer = Evbuffer::from(front);
    buffer.add_file_segment(whole(file)).unwrap();
    buffer.add_bytes(back.to_owned()).unwrap();
    buffer.debug_validate();
    buffer
}

fn written(buffer: &mut Evbuffer, max: usize) -> Vec<u8> {
    let mut sink = Vec::new();
    while buffer.write_to(&mut sink, max).unwrap() > 0 {
        buffer.debug_validate();
    }
    assert_eq!((buffer.len(), buffer.unloaded()), (0, 0));
    sink
}

#[test]
fn a_file_counts_at_once_and_is_read_when_it_is_written() {
    for max in [1, 2, 7, 100, usize::MAX] {
        let mut buffer = mixed("head ", b"the file", " tail");
        assert_eq!((buffer.len(), buffer.unloaded(), buffer.loaded_len()), (18, 8, 5));
        assert_eq!(written(&mut buffer, max), b"head the file tail");
    }
}

#[test]
fn one_write_takes_memory_and_file_together_and_reads_no_more_than_a_block_ahead() {
    let data = pattern(3 * FILE_BLOCK + 5);
    let mut buffer = Evbuffer::from(b"head");
    buffer.add_file_segment(whole(&data)).unwrap();
    let mut sink = Vec::new();
    assert_eq!(buffer.write_to(&mut sink, 10).unwrap(), 10);
    assert_eq!(sink, [b"head", &data[..6]].concat());
    assert_eq!(buffer.unloaded(), 2 * FILE_BLOCK + 5);
    assert!(buffer.allocated() <= 2 * FILE_BLOCK);
    assert!(written(&mut buffer, usize::MAX) == data[6..]);
}

#[test]
fn what_is_drained_is_not_read() {
    let file = file_of(b"never read");
    let mut buffer = Evbuffer::from(b"x");
    buffer.add_file_segment(FileSegment::new(file.try_clone().unwrap(), ..).unwrap()).unwrap();
    buffer.add(b"end").unwrap();
    file.set_len(0).unwrap();
    buffer.drain(5).unwrap();
    buffer.debug_validate();
    assert_eq!((buffer.len(), buffer.unloaded()), (9, 6));
    buffer.drain(6).unwrap();
    assert_eq!(buffer, "end");
    buffer.debug_validate();
}

#[test]
fn files_move_and_are_split_like_all_other_bytes() {
    let all = b"head the file tail".to_vec();
    for cut in 0..=all.len() {
        let mut buffer = mixed("head ", b"the file", " tail");
        let mut front = Evbuffer::new();
        assert_eq!(buffer.move_to(&mut front, cut).unwrap(), cut);
        for part in [&buffer, &front] {
            part.debug_validate();
        }
        assert_eq!(buffer.unloaded() + front.unloaded(), 8);
        let mut joined = Evbuffer::from(b"<");
        joined.append(&mut buffer).unwrap();
        joined.prepend_buffer(&mut front).unwrap();
        joined.debug_validate();
        assert_eq!((buffer.unloaded(), front.unloaded(), joined.unloaded()), (0, 0, 8));
        assert_eq!(written(&mut joined, usize::MAX), [&all[..cut], b"<", &all[cut..]].concat());
    }
}

#[test]
fn bytes_go_before_and_behind_a_file() {
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(whole(b"file")).unwrap();
    buffer.prepend(b"before ").unwrap();
    buffer.prepend_bytes("long ").unwrap();
    buffer.add(b" behind").unwrap();
    buffer.expand(10).unwrap();
    let mut space = buffer.reserve(1).unwrap();
    space.as_mut_slice()[0] = b'!';
    space.commit(1).unwrap();
    buffer.debug_validate();
    assert_eq!(written(&mut buffer, 6), b"long before file behind!");
}

#[test]
fn what_needs_bytes_that_are_not_in_memory_is_refused_and_changes_nothing() {
    type Operation = (&'static str, fn(&mut Evbuffer) -> Option<Error>, usize);
    let operations: [Operation; 9] = [
        ("remove", |b| b.remove(&mut [0; 6]).err(), 6),
        ("copy_out", |b| b.copy_out(&mut [0; 99]).err(), 18),
        ("copy_out_from", |b| b.copy_out_from(3, &mut [0; 3]).err(), 6),
        ("pullup", |b| b.pullup(7).err(), 7),
        ("take_bytes", |b| b.take_bytes(8).err(), 8),
        ("readln", |b| b.readln(Eol::Lf).err(), 18),
        ("peek", |b| b.peek(2, Some(99), &mut [IoSlice::new(b"")]).err(), 18),
        ("chunks_from", |b| b.chunks_from(6).err(), 6),
        ("cursor", |b| b.cursor(18).err(), 18),
    ];
    for (name, operation, requested) in operations {
        let mut buffer = mixed("head ", b"the file", "\ntail");
        assert_eq!(operation(&mut buffer), Some(Error::NotLoaded { loaded: 5, requested }), "{name}");
        assert_eq!((buffer.len(), buffer.unloaded()), (18, 8), "{name}");
        buffer.load(usize::MAX).unwrap();
        assert_eq!(operation(&mut buffer), None, "{name}");
    }
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(whole(b"at the front")).unwrap();
    assert_eq!(buffer.take_chunk(), Err(Error::NotLoaded { loaded: 0, requested: 12 }));
}

#[test]
fn what_has_no_error_to_give_sees_what_is_in_memory() {
    let mut buffer = mixed("head\n", b"the file", "head");
    assert_eq!(buffer.chunks().collect::<Vec<_>>(), [b"head\n"]);
    assert_eq!((buffer.chunks().len(), buffer.contiguous_len()), (1, 5));
    assert_eq!(buffer.to_vec(), b"head\n");
    assert_eq!(
        (buffer.search(b"head", 0), buffer.search(b"head", 1), buffer.search(b"f", 6)),
        (Some(0), None, None)
    );
    assert_eq!(buffer.peek(5, None, &mut []).unwrap(), 0);
    assert_eq!((buffer.remaining(), buffer.chunk()), (5, &b"head\n"[..]));
    assert_eq!(buffer.cursor(1).unwrap().search(b"head"), None);
    assert!(buffer != mixed("head\n", b"the file", "head") && buffer != b"head\nthe filehead");
    assert_eq!(buffer.readln(Eol::Lf).unwrap(), Some(b"head".to_vec()));
    assert_eq!((buffer.remaining(), buffer.contiguous_len(), buffer.to_vec()), (0, 0, vec![]));
    buffer.load(1).unwrap();
    assert_eq!(buffer, "the filehead");
}

#[test]
fn the_traits_of_std_read_files_block_by_block() {
    let data = pattern(2 * FILE_BLOCK + 9);
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(whole(&data)).unwrap();
    buffer.add(b"end").unwrap();
    assert!(buffer.fill_buf().unwrap() == &data[..FILE_BLOCK]);
    io::BufRead::consume(&mut buffer, 1);
    let mut rest = Vec::new();
    let (mut one, mut two) = ([0; 1000], [0; 1000]);
    let n =
        buffer.read_vectored(&mut [io::IoSliceMut::new(&mut one), io::IoSliceMut::new(&mut two)]).unwrap();
    rest.extend([one, two].concat());
    assert_eq!(n, 2000);
    buffer.read_to_end(&mut rest).unwrap();
    assert!(rest == [&data[1..], b"end"].concat());
    buffer.debug_validate();
}

#[test]
fn a_file_that_becomes_shorter_gives_what_is_left_and_then_an_error() {
    // F65
    let data = pattern(FILE_BLOCK + 100);
    let file = file_of(&data);
    let mut buffer = Evbuffer::from(b"head");
    buffer.add_file_segment(FileSegment::new(file.try_clone().unwrap(), 10..).unwrap()).unwrap();
    buffer.add(b"tail").unwrap();
    file.set_len(FILE_BLOCK as u64 + 50).unwrap();
    let mut sink = Vec::new();
    let error = loop {
        if let Err(error) = buffer.write_to(&mut sink, usize::MAX) {
            break error;
        }
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    let reason = error.downcast::<FileError>().unwrap();
    assert!(matches!(reason, FileError::Ended { offset } if offset == FILE_BLOCK as u64 + 50), "{reason}");
    assert!(sink == [b"head", &data[10..FILE_BLOCK + 50]].concat());
    assert_eq!((buffer.len(), buffer.unloaded()), (54, 50));
    assert!(matches!(buffer.load(1), Err(FileError::Ended { .. })), "again");
    assert!(buffer.fill_buf().is_err() && buffer.read(&mut [0; 9]).is_err());
    buffer.debug_validate();
    buffer.drain(50).unwrap();
    assert_eq!(buffer, "tail");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_reason() {
    let path = path();
    let file = OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    (&file).write_all(b"written").unwrap();
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(FileSegment::new(file, ..).unwrap()).unwrap();
    let reason = buffer.load(7).unwrap_err();
    assert!(
        matches!(&reason, FileError::Io { offset: 0, source } if source.raw_os_error().is_some()),
        "{reason}"
    );
    assert_eq!((buffer.len(), buffer.unloaded()), (7, 7));
}

#[test]
fn ranges_are_checked_when_they_are_made() {
    let file = Arc::new(file_of(b"0123456789"));
    let of = |start: u64, end: u64| FileSegment::new(Arc::clone(&file), start..end);
    for (start, end) in [(0, 11), (11, 11), (5, 4), (3, u64::MAX)] {
        let refused = matches!(of(start, end), Err(FileError::OutOfRange { start: s, end: e, len: 10 }) if (s, e) == (start, end));
        assert!(refused, "{start}..{end}");
    }
    assert!(of(10, 10).unwrap().is_empty());
    let segment = of(2, 9).unwrap();
    assert_eq!((segment.len(), segment.slice(1..=3).unwrap().len()), (7, 3));
    assert_eq!(segment.slice(3..8).unwrap_err(), Error::OutOfRange { position: 8, len: 7 });
    let (start, end) = (5, 4);
    assert!(segment.slice(start..end).is_err());
    let mut buffer = Evbuffer::new();
    buffer.add_file_segment(segment.slice(1..=3).unwrap().slice(1..).unwrap()).unwrap();
    assert_eq!(written(&mut buffer, 1), b"45");
    assert!(matches!(FileSegment::new(File::open("/").unwrap(), ..), Err(FileError::NotRegular)));
    assert!(matches!(FileSegment::new(File::open("/dev/null").unwrap(), ..), Err(FileError::NotRegular)));
}

#[test]
fn bytes_of_files_do_not_count_against_the_limit_until_they_are_read() {
    // D8: it bounds memory
    let mut buffer = Evbuffer::new();
    buffer.set_limit(Some(8));
    buffer.add(b"memory").unwrap();
    buffer.add_file_segment(whole(&pattern(1000))).unwrap();
    assert_eq!((buffer.len(), buffer.room()), (1006, 2));
    assert_eq!(buffer.add(b"abc"), Err(Error::Full { limit: 8, len: 6, requested: 3 }));
    buffer.add(b"ab").unwrap();
    let mut small = Evbuffer::new();
    small.set_limit(Some(6));
    assert_eq!(buffer.move_to(&mut small, 900).unwrap(), 900);
    assert!(matches!(small.append(&mut buffer), Err(Error::Full { limit: 6, len: 6, requested: 2 })));
    small.load(1).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(small.room(), 0);
    small.load(7).unwrap();
    assert!(small.loaded_len() > 6, "reading is not hindered");
}

#[test]
fn a_frozen_back_refuses_files_and_a_frozen_front_may_be_loaded() {
    // B-24
    let mut buffer = mixed("", b"file", "");
    buffer.freeze(End::Back);
    assert_eq!(buffer.add_file_segment(whole(b"x")), Err(Error::Frozen { end: End::Back }));
    buffer.freeze(End::Front);
    assert!(buffer.write_to(&mut Vec::new(), 1).is_err() && buffer.drain(1).is_err());
    assert_eq!(buffer.unloaded(), 4);
    buffer.load(4).unwrap();
    assert_eq!(buffer, "file");
}

#[test]
fn the_file_closes_with_the_last_that_refers_to_it() {
    let file = Arc::new(file_of(b"some bytes of a file"));
    let open = Arc::downgrade(&file);
    let segment = FileSegment::new(file, ..).unwrap();
    let (mut one, mut two) = (Evbuffer::new(), Evbuffer::new());
    one.add_file_segment(segment.slice(2..).unwrap()).unwrap();
    drop(segment);
    one.move_to(&mut two, 5).unwrap();
    one.load(usize::MAX).unwrap();
    assert_eq!(open.strong_count(), 1, "what is read needs it no more");
    two.drain(5).unwrap();
    assert!(open.upgrade().is_none());
}

#[test]
fn observers_are_told_of_files_when_they_are_added_and_not_when_they_are_read() {
    // B-22
    let mut buffer = Evbuffer::from(b"x");
    let log = Log::default();
    log.observe(&mut buffer, 0);
    buffer.add_file_segment(whole(b"file")).unwrap();
    buffer.load(5).unwrap();
    buffer.write_to(&mut Vec::new(), 3).unwrap();
    assert_eq!(log.take(), [(0, 1, 4, 0), (0, 5, 0, 3)]);
}

#[test]
fn a_buffer_that_had_files_owns_nothing_when_it_is_settled() {
    let mut buffer = Evbuffer::new();
    buffer.set_settled();
    buffer.add_file_segment(whole(&pattern(100_000))).unwrap();
    while !buffer.is_empty() {
        buffer.send(&mut Vec::new(), usize::MAX).unwrap();
    }
    let mut pooled = 0;
    buffer.settle(&mut |block| pooled += block.len());
    assert_eq!(buffer.allocated(), 0);
    assert!(pooled >= FILE_BLOCK, "blocks are given back");
}

#[test]
fn one_block_serves_all_of_a_file() {
    let mut buffer = Evbuffer::new();
    buffer.set_settled();
    buffer.add_file_segment(whole(&pattern(5 * FILE_BLOCK))).unwrap();
    buffer.load_ahead(1).unwrap();
    let block = buffer.front().as_ptr();
    for _ in 0..4 {
        buffer.send(&mut Vec::new(), FILE_BLOCK).unwrap();
        buffer.settle(&mut |_| panic!("it is of use"));
        buffer.load_ahead(1).unwrap();
        assert_eq!(buffer.front().as_ptr(), block);
        assert_eq!(buffer.allocated(), FILE_BLOCK);
    }
}
