//! B-22, B-23: observers of a bufferevent's own buffers.

use std::sync::Arc;

use bufferevent::{
    Bufferevent, Builder, Closed, Evbuffer,
    evbuffer::{Change, End},
    testing::Census,
};
use bufferevent_sync::Mutex;

use crate::{
    harness::{Call, Config, Conn, Peer, World, each, each_of, pattern},
    panics::{Meant, hush},
};

/// What was told to whom, in order.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Entry>>>);

/// Who was told of which length before, how much added, how much removed.
type Entry = (&'static str, usize, usize, usize);

impl Told {
    fn note(&self, who: &'static str, change: Change) {
        self.0.lock().push((who, change.before, change.added, change.removed));
    }

    fn mark(&self, what: &'static str) {
        self.0.lock().push((what, 0, 0, 0));
    }

    fn all(&self) -> Vec<Entry> {
        self.0.lock().clone()
    }

    /// How much `who` was told of, put in and taken out.
    fn sums(&self, who: &str) -> (usize, usize) {
        let told = self.0.lock();
        let mine = told.iter().filter(|told| told.0 == who);
        mine.fold((0, 0), |(added, removed), told| (added + told.2, removed + told.3))
    }

    fn watch(&self, buffer: &mut Evbuffer) {
        let (now, later) = (self.clone(), self.clone());
        buffer.observe(move |_, change| now.note("at once", change));
        buffer.observe_deferred(move |_, change| later.note("deferred", change));
    }
}

/// Starts one whose input or output is watched.
fn start(
    config: Config,
    world: &mut World,
    which: fn(&mut Bufferevent) -> &mut Evbuffer,
) -> (Conn, Peer, Told) {
    let told = Told::default();
    let (watched, marks) = (told.clone(), told.clone());
    let set_up = move |builder: Builder| builder.configure(move |b| watched.watch(which(b)));
    let (conn, peer) = config.start_with(world, set_up, move |cx, call| {
        if *call == Call::Read {
            marks.mark("read");
            cx.take();
        }
    });
    (conn, peer, told)
}

#[test]
fn what_arrives_is_told_at_once_before_the_callback_it_causes_and_deferred_at_the_end_of_the_run() {
    // B-22, B-23, D17
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer, told) = start(config, &mut world, Bufferevent::input);
        world.send(&mut peer, b"hello");
        world.until("all to be told", || told.sums("deferred") == (5, 5));
        world.fence(&conn);
        let (come, gone) = (("at once", 0, 5, 0), ("at once", 5, 0, 5));
        let read = ("read", 0, 0, 0);
        if config.set.is_deferred() {
            let deferred = [("deferred", 0, 5, 0), ("deferred", 5, 0, 5)];
            assert_eq!(told.all(), [come, deferred[0], read, gone, deferred[1]]);
        } else {
            assert_eq!(told.all(), [come, read, gone, ("deferred", 0, 5, 5)]);
        }
    });
}

#[test]
fn what_is_sent_is_told_and_no_observer_is_called_inside_a_guard() {
    // B-22, D17
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer, told) = start(config, &mut world, Bufferevent::output);
        let seen = told.clone();
        let inside = world
            .with(&conn, move |b| {
                b.write(b"abc").unwrap();
                b.output().add(b"de").unwrap();
                b.output().notify_deferred();
                seen.all().len()
            })
            .unwrap();
        assert_eq!(inside, if config.set.is_shared() { 0 } else { 3 });
        assert_eq!(world.receive(&mut peer, 5), b"abcde");
        world.until("all to be told", || (told.sums("at once"), told.sums("deferred")) == ((5, 5), (5, 5)));
        world.settle();
        assert_eq!(told.sums("deferred"), (5, 5), "once");
    });
}

#[test]
fn what_is_mailed_to_a_busy_one_is_told_too() {
    // B-22: a handle never waits, and calls nobody
    each_of(
        |set| set.is_shared(),
        |config| {
            let mut world = config.world();
            let (conn, mut peer, told) = start(config, &mut world, Bufferevent::output);
            conn.handle().write(b"abc").unwrap();
            {
                let _busy = conn.handle().lock().unwrap();
                conn.handle().write(b"de").unwrap();
            }
            assert_eq!(world.receive(&mut peer, 5), b"abcde");
            world.until("all to be told", || {
                (told.sums("at once"), told.sums("deferred")) == ((5, 5), (5, 5))
            });
        },
    );
}

#[test]
fn what_an_observer_writes_is_sent() {
    // B-22: it may change its buffer; by iteration
    each(|config| {
        let mut world = config.world();
        let set_up = |builder: Builder| {
            builder.configure(|b| {
                let mut echoes = 0;
                b.output().observe_deferred(move |output, _| {
                    if echoes < 3 {
                        echoes += 1;
                        output.add(b"later,").unwrap();
                    }
                });
                let mut once = true;
                b.output().observe(move |output, _| {
                    if std::mem::take(&mut once) {
                        output.add(b"at once,").unwrap();
                    }
                });
            })
        };
        let (conn, mut peer) = config.start_with(&mut world, set_up, |_, _| {});
        world.with(&conn, |b| b.write(b"first,").unwrap()).unwrap();
        let got = world.receive(&mut peer, 32);
        assert_eq!(String::from_utf8(got).unwrap(), "first,at once,later,later,later,");
        world.settle();
    });
}

#[test]
fn a_panic_in_an_observer_aborts_its_own_connection_and_no_other() {
    // D16: as one in a callback
    let _census = Census::begin();
    hush();
    let watch: [fn(&mut Bufferevent); 2] = [
        |b| _ = b.input().observe(|_, _| std::panic::panic_any(Meant)),
        |b| _ = b.input().observe_deferred(|_, _| std::panic::panic_any(Meant)),
    ];
    for watch in watch {
        each(|config| {
            let mut world = config.world();
            let (other, mut other_peer) = config.start(&mut world);
            let set_up = move |builder: Builder| builder.report_close().configure(watch);
            let (conn, mut peer) = config.start_with(&mut world, set_up, |_, _| {});
            world.send(&mut peer, b"panic");
            world.until_called(&conn, Call::Closed, 1);
            world.until_gone(&conn);
            world.until_panics(1);
            world.until("the end at the peer", || peer.is_ended());
            world.send(&mut other_peer, b"alive");
            world.until_called(&other, Call::Read, 1);
        });
    }
}

#[test]
fn once_it_closes_no_observer_is_called_and_all_are_dropped_at_the_end() {
    // D3
    each(|config| {
        let mut world = config.world();
        let told = Told::default();
        let watched = told.clone();
        let set_up = move |builder: Builder| {
            builder.configure(move |b| {
                watched.watch(b.input());
                watched.watch(b.output());
            })
        };
        let (conn, mut peer) = config.start_with(&mut world, set_up, |_, _| {});
        let data = pattern(2_000_000);
        let sent = data.clone();
        world.with(&conn, move |b| b.write(&sent).map(drop).unwrap()).unwrap();
        world.until("the write to be told", || told.sums("deferred").0 == data.len());
        let before = world.with(&conn, {
            let told = told.clone();
            move |b| {
                b.close();
                told.all()
            }
        });
        assert!(world.receive_all(&mut peer) == data);
        drop(peer);
        world.until_gone(&conn);
        assert_eq!(told.all(), before.unwrap());
        world.until("the observers to be dropped", || Arc::strong_count(&told.0) == 1);
    });
}

#[test]
fn unread_input_comes_back_without_its_observers() {
    // D19
    each(|config| {
        let mut world = config.world();
        let (conn, mut peer, told) = start(config, &mut world, Bufferevent::input);
        world.with(&conn, |b| b.set_read_watermark(100, None).unwrap()).unwrap();
        world.send(&mut peer, b"unread");
        world.until("it to be told", || told.sums("deferred") == (6, 0));
        world.with(&conn, |b| assert_eq!(b.input().len(), 6)).unwrap();
        let Some(Closed { mut unread, .. }) = closed(&mut world, &conn) else { return };
        assert!(!unread.is_frozen(End::Back) && unread == "unread");
        unread.drain(6).unwrap();
        assert_eq!(told.sums("at once"), (6, 0));
    });
}

/// What is left of it, where a handle tells that.
fn closed(world: &mut World, conn: &Conn) -> Option<Closed> {
    world.abort(conn);
    world.until_gone(conn);
    match &conn.who {
        crate::harness::Who::Shared(handle) => handle.close_and_wait().ok(),
        crate::harness::Who::Confined(_) => None,
    }
}
