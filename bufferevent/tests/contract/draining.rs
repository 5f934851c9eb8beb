//! A drain: each handler is told once, and ends what it has begun.

use std::sync::Arc;

use bufferevent::{Interest, Trigger};
use bufferevent_sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Actor, Call, Config, Conn, Cx, Peer, Set, World, each, each_by_hand, each_of, pattern};

/// One whose script says what it does in a drain.
fn start(
    config: Config,
    world: &mut World,
    script: impl Fn(&mut Cx<'_, '_>, &Call) + Send + Sync + 'static,
) -> (Conn, Peer) {
    let (builder, peer) = (config.kind.open)();
    let actor = Actor::new(world, script).going_on();
    (world.start(config.set, builder.report_close(), actor).unwrap(), peer)
}

/// The handlers that were told of a drain, in order.
fn told(conn: &Conn) -> Vec<u32> {
    let drains = conn.log.entries().into_iter().filter(|entry| entry.call == Call::Drain);
    drains.map(|entry| entry.actor).collect()
}

#[test]
fn a_handler_with_more_to_send_than_its_output_holds_sends_it_to_the_end() {
    // D15: a file that is sent block by block is not cut in the middle, and the end is clean
    const BLOCK: usize = 100_000;
    each(|config| {
        let (whole, at) = (Arc::new(pattern(10 * BLOCK)), AtomicUsize::new(0));
        let all = Arc::clone(&whole);
        let send_next = move |cx: &mut Cx<'_, '_>, _: &Call| {
            if !cx.log().has(Call::Drain) {
                return;
            }
            // ORDER: Relaxed; callbacks of one bufferevent come one after the other.
            let next = at.fetch_add(BLOCK, Ordering::Relaxed);
            match all.get(next..next + BLOCK) {
                Some(block) => drop(cx.write(block).unwrap()),
                None => cx.close(),
            }
        };
        let mut world = config.world();
        let (conn, mut peer) = start(config, &mut world, send_next);
        world.drain();
        assert!(world.receive_all(&mut peer) == *whole);
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        let closed = conn.log.closed().unwrap();
        assert_eq!((closed.clean, closed.unsent), (true, 0));
        assert_eq!(told(&conn), [0]);
        world.until_empty();
    });
}

#[test]
fn what_goes_on_and_is_dropped_or_aborted_is_cut_short() {
    // D15: the grace is over. What was told of no drain ends as it always does.
    for (drains, aborts) in [(true, false), (true, true), (false, false)] {
        each_by_hand(|config| {
            if aborts && !config.kind.is_over_socket() {
                // The other half of a pair is told no end of one that is aborted, whenever that is.
                return;
            }
            let mut world = config.world();
            let (conn, mut peer) = start(config, &mut world, |_, _| {});
            world.with(&conn, |b| b.write(b"half of").unwrap()).unwrap();
            assert_eq!(world.receive(&mut peer, 7), b"half of");
            if drains {
                world.drain();
                world.settle();
            }
            assert_eq!(conn.log.has(Call::Drain), drains);
            if aborts {
                world.abort(&conn);
                world.settle();
            }
            drop(world);
            let cut = (vec![], drains && config.kind.tells_cuts());
            assert_eq!(config.world().receive_last(&mut peer), cut, "drains: {drains}, aborts: {aborts}");
        });
    }
}

#[test]
fn each_handler_is_told_once() {
    each(|config| {
        let mut world = config.world();
        let (conn, peer) = start(config, &mut world, |cx, call| {
            if *call == Call::Drain {
                let heir = Actor::heir(cx.log(), 1, |_, _| {}).going_on();
                cx.replace(heir);
            }
        });
        world.drain();
        world.until("the heir to be told", || told(&conn) == [0, 1]);
        let heir = Actor::heir(&conn.log, 2, |_, _| {}).going_on();
        world.replace(&conn, heir);
        world.until("the next to be told", || told(&conn) == [0, 1, 2]);
        world.drain();
        world.fence(&conn);
        // One that says nothing of drains closes.
        let heir = Actor::heir(&conn.log, 3, |_, _| {});
        world.replace(&conn, heir);
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(told(&conn), [0, 1, 2]);
    });
}

#[test]
fn a_handler_is_told_ahead_of_what_is_due_and_of_nothing_after_it_has_closed() {
    each_by_hand(|config| {
        for closes in [false, true] {
            let mut world = config.world();
            let (conn, peer) = start(config, &mut world, move |cx, call| {
                if *call == Call::Drain && closes {
                    cx.close();
                }
            });
            world.settle();
            world
                .with(&conn, |b| {
                    b.trigger(Interest::BOTH, Trigger::IGNORE_WATERMARKS);
                    b.trigger_event(1, Trigger::PLAIN);
                })
                .unwrap();
            world.drain();
            world.settle();
            drop(peer);
            world.settle();
            let told = conn.log.calls();
            match closes {
                true => assert_eq!(told, [Call::Drain, Call::Closed]),
                false => assert_eq!(told[..4], [Call::Drain, Call::Read, Call::Write, Call::User(1)]),
            }
        }
    });
}

#[test]
fn one_that_is_started_in_a_drain_is_told_in_its_first_run() {
    each(|config| {
        let mut world = config.world();
        world.drain();
        let (conn, mut peer) = start(config, &mut world, |cx, call| {
            if *call == Call::Drain {
                cx.write(b"too late").unwrap();
                cx.close();
            }
        });
        assert_eq!(world.receive_all(&mut peer), b"too late");
        drop(peer);
        world.until_called(&conn, Call::Closed, 1);
        assert_eq!(told(&conn), [0]);
    });
}

#[test]
fn one_that_is_held_is_told_when_it_is_let_go_unless_it_has_closed() {
    each_of(Set::is_shared, |config| {
        for closes in [false, true] {
            let mut world = config.world();
            let (conn, peer) = start(config, &mut world, |_, _| {});
            world.settle();
            let mut held = conn.handle().lock().unwrap();
            world.drain();
            world.settle();
            assert_eq!(told(&conn), []);
            if closes {
                held.close();
            }
            drop((held, peer));
            match closes {
                true => world.until_gone(&conn),
                false => world.until_called(&conn, Call::Drain, 1),
            }
            assert_eq!(told(&conn), [0; 1][usize::from(closes)..]);
        }
    });
}
