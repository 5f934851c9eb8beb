//! B-22, B-23: who is told of a change, when, and of how much.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::io::{Read as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bufferevent_evbuffer::transport::Transport;
use bufferevent_evbuffer::{End, Eol, Evbuffer, OBSERVER_ROUNDS};
use bytes::{Buf as _, Bytes};

use common::Log;

/// A buffer of `data` that is watched.
fn watched(data: &[u8]) -> (Evbuffer, Log) {
    let mut buffer = Evbuffer::from(data);
    let log = Log::default();
    log.observe(&mut buffer, 0);
    (buffer, log)
}

#[test]
fn every_operation_that_adds_or_removes_is_told_once_with_its_counts() {
    type Operation = (&'static str, fn(&mut Evbuffer), usize, usize);
    let operations: [Operation; 23] = [
        ("add", |b| b.add(b"abc").unwrap(), 3, 0),
        ("add_iovec", |b| _ = b.write_vectored(&[std::io::IoSlice::new(b"ab"); 2]).unwrap(), 4, 0),
        ("write!", |b| _ = write!(b, "{}-x", 12).unwrap(), 4, 0),
        ("prepend", |b| b.prepend(b"abc").unwrap(), 3, 0),
        ("add_bytes", |b| b.add_bytes("abc").unwrap(), 3, 0),
        ("prepend_bytes", |b| b.prepend_bytes("abc").unwrap(), 3, 0),
        ("append", |b| b.append(&mut Evbuffer::from(b"abcde")).unwrap(), 5, 0),
        ("prepend_buffer", |b| b.prepend_buffer(&mut Evbuffer::from(b"abcde")).unwrap(), 5, 0),
        ("commit", |b| b.reserve(100).unwrap().commit(7).unwrap(), 7, 0),
        ("commit_parts", |b| b.reserve(5000).unwrap().commit_parts(4, 2).unwrap(), 6, 0),
        ("read_from", |b| assert_eq!(b.read_from(&mut &b"source"[..], 99).unwrap(), 6), 6, 0),
        ("extend", |b| b.extend([Bytes::from("four")]), 4, 0),
        ("drain", |b| _ = b.drain(2).unwrap(), 0, 2),
        ("remove", |b| _ = b.remove(&mut [0; 3]).unwrap(), 0, 3),
        ("take_bytes", |b| _ = b.take_bytes(3).unwrap(), 0, 3),
        ("take_chunk", |b| _ = b.take_chunk().unwrap(), 0, 10),
        ("readln", |b| _ = b.readln(Eol::Lf).unwrap().unwrap(), 0, 5),
        ("write_to", |b| assert_eq!(b.write_to(&mut Vec::new(), 6).unwrap(), 6), 0, 6),
        ("move_to", |b| _ = b.move_to(&mut Evbuffer::new(), 4).unwrap(), 0, 4),
        ("read", |b| _ = b.read(&mut [0; 20]).unwrap(), 0, 10),
        ("consume", |b| std::io::BufRead::consume(b, 2), 0, 2),
        ("advance", |b| b.advance(2), 0, 2),
        ("copy_to_bytes", |b| _ = b.copy_to_bytes(9), 0, 9),
    ];
    for (name, operation, added, removed) in operations {
        let (mut buffer, log) = watched(b"line\nlines");
        operation(&mut buffer);
        assert_eq!(log.take(), [(0, 10, added, removed)], "{name}");
    }
}

#[test]
fn what_changes_no_length_and_what_is_refused_is_not_told() {
    let (mut buffer, log) = watched(b"line\nlines");
    buffer.add(b"").unwrap();
    buffer.drain(0).unwrap();
    buffer.pullup(10).unwrap();
    buffer.expand(100).unwrap();
    drop(buffer.reserve(10).unwrap());
    buffer.shrink();
    buffer.set_limit(Some(12));
    buffer.add(b"abc").unwrap_err();
    write!(buffer, "a{}", 12).unwrap_err();
    buffer.freeze(End::Front);
    buffer.drain(1).unwrap_err();
    assert_eq!(log.take(), []);
}

#[test]
fn of_a_move_both_buffers_are_told_the_source_first() {
    // B-06, B-07
    let log = Log::default();
    let (mut source, mut target) = (Evbuffer::from(b"12345"), Evbuffer::from(b"x"));
    log.observe(&mut source, 1);
    log.observe(&mut target, 2);
    source.move_to(&mut target, 2).unwrap();
    assert_eq!(log.take(), [(1, 5, 0, 2), (2, 1, 2, 0)]);
    target.append(&mut source).unwrap();
    assert_eq!(log.take(), [(1, 3, 0, 3), (2, 3, 3, 0)]);
    source.prepend_buffer(&mut target).unwrap();
    assert_eq!(log.take(), [(2, 6, 0, 6), (1, 0, 6, 0)]);
    source.prepend_buffer(&mut target).unwrap();
    assert_eq!(log.take(), []);
}

#[test]
fn the_last_one_added_is_called_first() {
    // B-22
    let (mut buffer, log) = watched(b"");
    log.observe(&mut buffer, 1);
    log.observe(&mut buffer, 2);
    buffer.add(b"x").unwrap();
    assert_eq!(log.take(), [(2, 0, 1, 0), (1, 0, 1, 0), (0, 0, 1, 0)]);
}

#[test]
fn an_observer_may_remove_itself_and_others_and_add_new_ones_inside_its_call() {
    let (mut buffer, log) = watched(b"");
    let other = log.observe(&mut buffer, 1);
    let alive = Arc::new(());
    let (mine, held) = (log.clone(), alive.clone());
    buffer.observe(move |buffer, change| {
        assert_eq!(Arc::strong_count(&held), 2);
        mine.note(2, change);
        assert!(buffer.unobserve(change.observer) && !buffer.unobserve(change.observer));
        assert!(buffer.unobserve(other));
        mine.observe(buffer, 3);
    });
    buffer.add(b"x").unwrap();
    assert_eq!(log.take(), [(2, 0, 1, 0), (0, 0, 1, 0)]);
    assert_eq!(Arc::strong_count(&alive), 1, "dropped when it has returned");
    buffer.add(b"y").unwrap();
    assert_eq!(log.take(), [(3, 1, 1, 0), (0, 1, 1, 0)]);
}

#[test]
fn what_an_observer_changes_is_told_by_iteration_with_counts_of_its_own() {
    let mut buffer = Evbuffer::new();
    let log = Log::default();
    log.observe(&mut buffer, 0);
    let (mine, mut depth) = (log.clone(), 0);
    buffer.observe(move |buffer, change| {
        depth += 1;
        mine.note(1, change);
        if change.added > 0 {
            buffer.drain(1).unwrap();
        }
        depth -= 1;
        assert_eq!(depth, 0, "entered twice");
    });
    buffer.add(b"abc").unwrap();
    // The second is told of both at once: of what was added, and of what the first one to be called took.
    assert_eq!(log.take(), [(1, 0, 3, 0), (0, 0, 3, 1), (1, 3, 0, 1)]);
    assert_eq!(buffer, "bc");
}

#[test]
fn an_observer_that_always_changes_the_buffer_is_called_so_often_and_told_the_rest_later() {
    let mut buffer = Evbuffer::new();
    let log = Log::default();
    let mine = log.clone();
    buffer.observe(move |buffer, change| {
        mine.note(0, change);
        buffer.add(b"x").unwrap();
    });
    buffer.add(b"x").unwrap();
    assert_eq!(log.take().len(), OBSERVER_ROUNDS);
    assert_eq!(buffer.len(), 1 + OBSERVER_ROUNDS);
    buffer.drain(2).unwrap();
    assert_eq!(log.take()[0], (0, OBSERVER_ROUNDS, 1, 2), "nothing is lost");
}

#[test]
fn a_deferred_observer_is_told_the_sums_when_it_is_time() {
    // B-23
    let mut buffer = Evbuffer::from(b"start");
    let log = Log::default();
    log.observe_deferred(&mut buffer, 1);
    log.observe_deferred(&mut buffer, 2);
    buffer.notify_deferred();
    buffer.add(b"abc").unwrap();
    buffer.drain(4).unwrap();
    buffer.prepend(b"z").unwrap();
    assert_eq!(log.take(), []);
    buffer.notify_deferred();
    assert_eq!(log.take(), [(2, 5, 4, 4), (1, 5, 4, 4)], "also if the length is the same again");
    buffer.notify_deferred();
    assert_eq!(log.take(), []);
}

#[test]
fn one_that_is_called_at_once_has_counts_of_its_own_beside_a_deferred_one() {
    // B-23: libevent gives it those that the deferred ones have not been told yet
    let (mut buffer, log) = watched(b"");
    log.observe_deferred(&mut buffer, 1);
    buffer.add(b"abc").unwrap();
    buffer.add(b"de").unwrap();
    buffer.notify_deferred();
    assert_eq!(log.take(), [(0, 0, 3, 0), (0, 3, 2, 0), (1, 0, 5, 0)]);
}

#[test]
fn what_a_deferred_observer_changes_is_told_at_once_to_others_and_the_next_time_to_itself() {
    let (mut buffer, log) = watched(b"");
    let mine = log.clone();
    buffer.observe_deferred(move |buffer, change| {
        mine.note(1, change);
        buffer.drain(change.added).unwrap();
        buffer.notify_deferred();
    });
    buffer.add(b"abc").unwrap();
    assert_eq!(log.take(), [(0, 0, 3, 0)]);
    buffer.notify_deferred();
    assert_eq!(log.take(), [(1, 0, 3, 0), (0, 3, 0, 3)]);
    buffer.notify_deferred();
    assert_eq!(log.take(), [(1, 3, 0, 3)]);
}

#[test]
fn what_happens_while_an_observer_is_off_it_is_not_told() {
    let (mut buffer, log) = watched(b"");
    let off = log.observe_deferred(&mut buffer, 1);
    buffer.add(b"abc").unwrap();
    assert!(buffer.enable_observer(off, false));
    buffer.add(b"d").unwrap();
    assert!(buffer.enable_observer(off, true));
    buffer.notify_deferred();
    assert_eq!(log.take(), [(0, 0, 3, 0), (0, 3, 1, 0)]);
    buffer.drain(2).unwrap();
    buffer.notify_deferred();
    assert_eq!(log.take(), [(0, 4, 0, 2), (1, 4, 0, 2)]);
    assert!(buffer.unobserve(off) && !buffer.enable_observer(off, true));
}

#[test]
fn an_observer_that_panics_is_removed_and_the_others_go_on() {
    let mut buffer = Evbuffer::new();
    let log = Log::default();
    log.observe(&mut buffer, 0);
    let panics = buffer.observe(|_, _| std::panic::panic_any("meant"));
    let panicked = catch_unwind(AssertUnwindSafe(|| buffer.add(b"abc")));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"meant"));
    assert_eq!(buffer, "abc", "the operation is complete");
    assert!(!buffer.unobserve(panics));
    buffer.add(b"d").unwrap();
    assert_eq!(log.take(), [(0, 0, 4, 0)]);
}

#[test]
fn the_owners_operations_leave_it_to_the_owner_to_tell() {
    let (mut buffer, log) = watched(b"data");
    log.observe_deferred(&mut buffer, 1);
    buffer.fill(b"in").unwrap();
    Transport::consume(&mut buffer, 3);
    buffer.pass_on(&mut Evbuffer::new(), 1).unwrap();
    assert!(buffer.has_news() && buffer.owes_deferred());
    assert_eq!(log.take(), []);
    buffer.notify_at_once();
    assert_eq!(log.take(), [(0, 4, 2, 4)]);
    assert!(!buffer.has_news() && buffer.owes_deferred());

    buffer.hold_observers(true);
    buffer.add(b"held").unwrap();
    buffer.notify_deferred();
    assert_eq!(log.take(), []);
    buffer.hold_observers(false);
    buffer.notify_at_once();
    buffer.notify_deferred();
    assert_eq!(log.take(), [(0, 2, 4, 0), (1, 4, 6, 4)]);
}
