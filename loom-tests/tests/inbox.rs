//! Protocol 5: the inbox. Its wake-up is in `park.rs`.

#![cfg(loom)]

use bufferevent_runtime::__loom::Inbox;
use bufferevent_sync::{Arc, thread};
use loom_tests::{Bounds, Exclusive, assert_mutants_die, model};

/// A message with a piece of data its pusher wrote.
type Message = Arc<Exclusive>;

fn message() -> Message {
    let message = Message::default();
    message.write();
    message
}

/// Two pushers, one place: one of them gets it. Popping makes room for one, whatever happens meanwhile.
#[test]
fn capacity_is_never_exceeded() {
    model(Bounds::DEEP, || {
        let inbox = Arc::new(Inbox::with_capacity(1));
        let pushers: Vec<_> = (0..2)
            .map(|_| {
                let inbox = Arc::clone(&inbox);
                thread::spawn(move || inbox.push(message()).is_ok())
            })
            .collect();
        let popped = inbox.pop().inspect(|message| message.read()).is_some();
        let admitted =
            pushers.into_iter().map(|pusher| pusher.join().expect("no panic")).filter(|ok| *ok).count();
        assert!((1..=1 + usize::from(popped)).contains(&admitted), "{admitted} admitted, {popped} popped");
        assert_eq!(inbox.len(), admitted - usize::from(popped));
        while inbox.pop().is_some() {}
        assert!(inbox.is_empty(), "the count is that of the queue");
    });
}

/// Drains while two push and the inbox is closed: what was admitted comes out.
#[test]
fn closed_and_empty_is_the_end() {
    model(Bounds::LARGE, || {
        let inbox = Arc::new(Inbox::with_capacity(4));
        let pusher = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || [inbox.push(message()).is_ok(), inbox.push(message()).is_ok()])
        };
        let owner = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || inbox.push_unbounded(message()).is_ok())
        };
        inbox.close();
        let mut popped = 0;
        loop {
            while let Some(message) = inbox.pop() {
                message.read();
                popped += 1;
            }
            if inbox.is_empty() {
                break;
            }
            thread::yield_now();
        }
        let [first, second] = pusher.join().expect("no panic");
        assert!(first || !second, "refused once, refused for ever");
        let admitted = [first, second, owner.join().expect("no panic")].into_iter().filter(|ok| *ok).count();
        assert_eq!(admitted, popped, "closed and empty, but there was more");
        assert!(inbox.is_closed() && inbox.push(message()).is_err() && inbox.pop().is_none());
    });
}

/// Messages of one pusher keep their order, and looking whether there are any disturbs nothing.
#[test]
fn messages_keep_their_order() {
    model(Bounds::EXHAUSTIVE, || {
        let inbox = Arc::new(Inbox::with_capacity(2));
        let pusher = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                inbox.push(1).expect("there is room");
                inbox.push(2).expect("there is room");
            })
        };
        let mut seen = Vec::new();
        for _ in 0..2 {
            if !inbox.is_empty() {
                seen.extend(inbox.pop());
            }
        }
        pusher.join().expect("no panic");
        assert_eq!(inbox.len(), 2 - seen.len());
        seen.extend(std::iter::from_fn(|| inbox.pop()));
        assert_eq!(seen, [1, 2]);
        assert!(inbox.is_empty());
    });
}

#[test]
fn refused_pusher_sees_the_closing() {
    model(Bounds::EXHAUSTIVE, || {
        let inbox = Arc::new(Inbox::with_capacity(1));
        let reason = Arc::new(Exclusive::new());
        let pusher = {
            let (inbox, reason) = (Arc::clone(&inbox), Arc::clone(&reason));
            thread::spawn(move || {
                if inbox.push(()).is_err() {
                    reason.read();
                }
            })
        };
        reason.write();
        inbox.close();
        pusher.join().expect("no panic");
    });
}

#[test]
fn mutants_die() {
    assert_mutants_die(&[
        ("inbox_push:torn", "capacity_is_never_exceeded"),
        ("inbox_push:torn", "closed_and_empty_is_the_end"),
        ("inbox_push:release", "refused_pusher_sees_the_closing"),
        ("inbox_pushes_before_it_counts", "capacity_is_never_exceeded"),
        ("inbox_push_ignores_close", "closed_and_empty_is_the_end"),
        ("inbox_pop:torn", "messages_keep_their_order"),
        ("inbox_is_empty:torn", "messages_keep_their_order"),
        ("inbox_is_empty_asks_the_queue", "closed_and_empty_is_the_end"),
        ("inbox_close:torn", "closed_and_empty_is_the_end"),
        ("inbox_close:acquire", "refused_pusher_sees_the_closing"),
        ("queue_push_relaxed", "capacity_is_never_exceeded"),
    ]);
}
