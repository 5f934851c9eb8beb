//! The rate limit of one bufferevent, C-40, K-09 under D11 and D13. The clock is turned by hand,
//! and the numbers are exact; over TCP, which takes bytes late, they are upper bounds.

use std::{sync::Arc, time::Duration};

use bufferevent::{
    Bufferevent, Builder, Direction, Error, Interest, Suspend, TokenBucketConfig,
    evbuffer::FileSegment,
    runtime::{Clock, ManualClock},
};
use bufferevent_sync::Mutex;

use crate::{
    files::file_of,
    harness::{Call, Config, Conn, Peer, World, each, each_by_hand, each_counted, pass, pattern},
};

pub(crate) const TICK: Duration = Duration::from_millis(100);
const JUST: Duration = Duration::from_millis(1);
pub(crate) const DIRECTIONS: [Direction; 2] = [Direction::Read, Direction::Write];

/// So many bytes a tick in either direction.
pub(crate) fn limit(rate: u64, burst: u64) -> TokenBucketConfig {
    TokenBucketConfig::new(rate, burst, rate, burst, Some(TICK)).unwrap()
}

/// A limited bufferevent that has `len` bytes to move in one direction, all of which could go at once.
struct Flow {
    world: World,
    hand: ManualClock,
    conn: Conn,
    peer: Peer,
    direction: Direction,
    got: Vec<u8>,
}

impl Flow {
    fn new(
        config: Config,
        direction: Direction,
        len: usize,
        set_up: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let (mut world, hand) = config.with_manual_clock();
        let (conn, peer) = config.start_with(&mut world, set_up, |_, _| {});
        let mut flow = Self { world, hand, conn, peer, direction, got: Vec::new() };
        flow.offer(&pattern(len));
        flow
    }

    fn offer(&mut self, data: &[u8]) {
        match self.direction {
            Direction::Read => self.world.send(&mut self.peer, data),
            Direction::Write => {
                let data = data.to_vec();
                self.with(move |b| _ = b.write(&data).unwrap());
            }
        }
        self.world.settle();
    }

    fn with<R: Send + 'static>(&mut self, f: impl FnOnce(&mut Bufferevent) -> R + Send + 'static) -> R {
        let answer = self.world.with(&self.conn, f).unwrap();
        self.world.settle();
        answer
    }

    /// Bytes that have moved so far.
    fn moved(&mut self) -> usize {
        match self.direction {
            Direction::Read => {
                self.got.extend(
                    self.world
                        .with(&self.conn, |b| {
                            let mut data = vec![0; b.input().len()];
                            b.read(&mut data).unwrap();
                            data
                        })
                        .unwrap(),
                );
            }
            Direction::Write => {
                self.peer.read_some(usize::MAX, &mut self.got).unwrap();
            }
        }
        assert!(pattern(self.got.len()) == self.got, "in order, and nothing twice");
        self.world.settle();
        self.got.len()
    }

    fn pass(&mut self, time: Duration) {
        pass(&mut self.world, &self.hand, time);
    }

    fn level(&mut self) -> i64 {
        let direction = self.direction;
        self.with(move |b| b.rate_limit_level(direction).unwrap())
    }

    fn suspended(&mut self) -> Suspend {
        let direction = self.direction;
        self.with(move |b| b.suspended(direction))
    }

    /// Neither the end nor an error.
    fn goes_on(&self) -> bool {
        self.conn.log.calls().iter().all(|call| matches!(call, Call::Read | Call::Write))
    }
}

fn each_flow(len: usize, rate: u64, burst: u64, body: impl Fn(Flow)) {
    each_counted(|config| {
        for direction in DIRECTIONS {
            body(Flow::new(config, direction, len, |b| b.rate_limit(&limit(rate, burst))));
        }
    });
}

#[test]
fn one_ticks_worth_moves_and_then_one_more_at_each_boundary() {
    // D13: on pairs and filters too; the peer need not do anything for it
    each_flow(1_000, 100, 400, |mut flow| {
        assert_eq!((flow.level(), flow.suspended()), (0, Suspend::BANDWIDTH));
        for _ in 0..4 {
            flow.pass(TICK - JUST);
            flow.pass(JUST);
        }
        assert_eq!(flow.moved(), 500);
        for tick in 6..10 {
            flow.pass(TICK - JUST);
            assert_eq!(flow.moved(), (tick - 1) * 100);
            flow.pass(JUST);
            assert_eq!(flow.moved(), tick * 100);
        }
        flow.pass(TICK);
        assert_eq!((flow.moved(), flow.level()), (1_000, 0));
        flow.pass(TICK);
        assert_eq!((flow.level(), flow.suspended()), (100, Suspend::NONE));
        assert!(flow.goes_on(), "to have no budget is neither an end nor an error");
    });
}

#[test]
fn what_is_saved_up_is_the_burst_and_no_more() {
    // D13
    each_flow(0, 100, 400, |mut flow| {
        flow.pass(10 * TICK);
        assert_eq!(flow.level(), 400);
        flow.offer(&pattern(1_000));
        assert_eq!((flow.moved(), flow.level()), (400, 0));
        flow.pass(TICK);
        assert_eq!(flow.moved(), 500);
    });
}

#[test]
fn each_direction_has_a_limit_of_its_own() {
    //
    each_counted(|config| {
        let halves = TokenBucketConfig::new(100, 100, 300, 300, Some(TICK)).unwrap();
        let mut flow = Flow::new(config, Direction::Write, 2_000, |b| b.rate_limit(&halves));
        flow.world.send(&mut flow.peer, &pattern(2_000));
        for tick in 1..=5 {
            flow.world.settle();
            let read = flow.with(|b| b.input().len());
            assert_eq!((read, flow.moved()), (tick * 100, tick * 300));
            flow.pass(TICK);
        }
    });
}

#[test]
fn the_limit_is_set_read_replaced_and_taken_away() {
    // C-40
    each_flow(2_000, 100, 400, |mut flow| {
        assert_eq!(flow.with(|b| b.rate_limit().cloned()), Some(limit(100, 400)));
        // The same again changes nothing, and gives nothing.
        flow.with(|b| b.set_rate_limit(Some(&limit(100, 400))));
        assert_eq!((flow.moved(), flow.level()), (100, 0));
        flow.pass(TICK / 2);
        flow.with(|b| b.set_rate_limit(Some(&limit(300, 300))));
        assert_eq!(flow.moved(), 100, "what there is stays");
        flow.pass(2 * TICK);
        let moved = flow.moved();
        assert!((300..=800).contains(&moved), "{moved}");
        flow.with(|b| b.set_rate_limit(None));
        assert_eq!((flow.moved(), flow.suspended()), (2_000, Suspend::NONE), "at once");
        let direction = flow.direction;
        assert_eq!(
            flow.with(move |b| (b.rate_limit().cloned(), b.rate_limit_level(direction))),
            (None, None)
        );
    });
}

#[test]
fn a_new_limit_clips_the_level_to_its_burst() {
    // R-04, D13
    each_flow(0, 100, 400, |mut flow| {
        flow.pass(10 * TICK);
        flow.with(|b| b.set_rate_limit(Some(&limit(10, 50))));
        assert_eq!(flow.level(), 50);
        flow.with(|b| b.set_rate_limit(Some(&limit(100, 400))));
        assert_eq!(flow.level(), 50, "what was clipped does not come back");
        flow.offer(&pattern(1_000));
        assert_eq!(flow.moved(), 50);
    });
}

#[test]
fn one_that_is_suspended_goes_by_its_new_limit_at_once() {
    // F49, F53: from a tick of an hour to one of 100 ms, and of a debt of a day to one of a tick
    each_counted(|config| {
        for direction in DIRECTIONS {
            let hour = Duration::from_secs(3_600);
            let slow = TokenBucketConfig::new(100, 100, 100, 100, Some(hour)).unwrap();
            let mut flow = Flow::new(config, direction, 1_000, |b| b.rate_limit(&slow));
            flow.with(move |b| b.decrement_rate_limit(direction, 2_400).unwrap());
            flow.pass(TICK);
            assert_eq!((flow.moved(), flow.level()), (100, -2_400));
            flow.with(|b| b.set_rate_limit(Some(&limit(2_500, 2_500))));
            assert_eq!(flow.moved(), 100);
            flow.pass(TICK);
            assert_eq!(flow.moved(), 200);
        }
    });
}

#[test]
fn a_debt_is_waited_for_once_and_paid_exactly() {
    // F51: libevent wakes each tick
    each_flow(400, 100, 200, |mut flow| {
        let direction = flow.direction;
        flow.with(move |b| b.decrement_rate_limit(direction, 99_950).unwrap());
        assert_eq!((flow.level(), flow.suspended()), (-99_950, Suspend::BANDWIDTH));
        assert_eq!(flow.moved(), 100);
        let runs = flow.world.runs();
        for _ in 0..999 {
            flow.pass(TICK);
        }
        assert_eq!((flow.world.runs(), flow.moved()), (runs, 100), "nothing runs before it is paid");
        flow.pass(TICK);
        assert_eq!(flow.moved(), 150);
        flow.pass(TICK);
        assert_eq!(flow.moved(), 250);
    });
}

#[test]
fn credit_lets_it_go_on_at_once_up_to_the_burst() {
    // D13
    each_flow(2_000, 100, 400, |mut flow| {
        let direction = flow.direction;
        flow.with(move |b| b.decrement_rate_limit(direction, -250).unwrap());
        assert_eq!(flow.moved(), 350);
        flow.with(move |b| b.decrement_rate_limit(direction, i64::MIN).unwrap());
        assert_eq!(flow.moved(), 750, "the burst, and no more");
        flow.with(|b| b.set_rate_limit(Some(&limit(100, 400).unclipped())));
        flow.with(move |b| b.decrement_rate_limit(direction, -900).unwrap());
        assert_eq!(flow.moved(), 1_650, "unless that is asked for");
    });
}

#[test]
fn a_decrement_in_a_callback_holds_up_what_comes_next_and_no_longer() {
    // between two writes of one run, as a user does who counts what a packet costs beside its bytes
    each_counted(|config| {
        let (mut world, hand) = config.with_manual_clock();
        let set_up = |b: Builder| b.rate_limit(&limit(100, 100));
        let (conn, mut peer) = config.start_with(&mut world, set_up, |cx, call| {
            if *call == Call::Write && cx.log().count(Call::Write) <= 3 {
                cx.write(b"0123456789").unwrap();
                cx.decrement_rate_limit(Direction::Write, 190).unwrap();
            }
        });
        world.with(&conn, |b| _ = b.write(b"0123456789").unwrap()).unwrap();
        world.settle();
        let mut got = Vec::new();
        for expected in [10, 10, 20, 20, 30, 30, 40, 40] {
            peer.read_some(usize::MAX, &mut got).unwrap();
            assert_eq!(got.len(), expected);
            pass(&mut world, &hand, TICK);
        }
    });
}

#[test]
fn to_decrement_without_a_limit_is_an_error() {
    // D16: libevent aborts
    each(|config| {
        let mut world = config.world();
        let (conn, _peer) = config.start(&mut world);
        for direction in DIRECTIONS {
            for bytes in [i64::MIN, -1, 0, 1, i64::MAX] {
                let refused = world.with(&conn, move |b| b.decrement_rate_limit(direction, bytes)).unwrap();
                assert!(matches!(refused, Err(Error::NoRateLimit)), "{refused:?}");
            }
        }
    });
}

#[test]
fn the_least_of_all_limits_holds_and_to_ask_for_it_suspends_nobody() {
    // D11: libevent ignores the most of one operation under a limit
    each_flow(40_000, 20_000, 20_000, |mut flow| {
        let direction = flow.direction;
        assert_eq!(flow.moved(), 20_000);
        flow.with(|b| {
            b.set_max_single_read(3_000);
            b.set_max_single_write(3_000);
        });
        assert_eq!(flow.with(move |b| b.max_to_move(direction)), 0);
        let largest = Arc::new(Mutex::new(0));
        let watch = Arc::clone(&largest);
        flow.with(move |b| {
            let note = move |bytes: usize| {
                let mut largest = watch.lock();
                *largest = bytes.max(*largest);
            };
            match direction {
                Direction::Read => b.input().observe(move |_, change| note(change.added)),
                Direction::Write => b.output().observe(move |_, change| note(change.removed)),
            };
        });
        flow.pass(TICK);
        assert_eq!((flow.moved(), *largest.lock()), (40_000, 3_000));
        flow.pass(TICK);
        assert_eq!(flow.with(move |b| b.max_to_move(direction)), 3_000);
        flow.with(move |b| b.decrement_rate_limit(direction, 19_000).unwrap());
        assert_eq!(
            flow.with(move |b| (b.max_to_move(direction), b.suspended(direction))),
            (1_000, Suspend::NONE)
        );
    });
}

#[test]
fn an_idle_one_has_no_timer_and_a_silent_one_is_not_suspended() {
    // R-09, R15, R9 of the design: limits cost nobody anything who does not reach them
    each_flow(30, 100, 100, |mut flow| {
        assert_eq!(flow.moved(), 30);
        flow.pass(TICK);
        let runs = flow.world.runs();
        for _ in 0..50 {
            flow.pass(TICK);
        }
        assert_eq!((flow.world.runs(), flow.suspended()), (runs, Suspend::NONE));
    });
}

#[test]
fn the_timeout_of_a_suspended_direction_stands_still() {
    // R-15, D6: the debt takes ten times as long as the timeout
    each_counted(|config| {
        for direction in DIRECTIONS {
            let limited = |b: Builder| b.rate_limit(&limit(100, 100)).timeouts(Some(TICK), Some(TICK));
            let mut flow = Flow::new(config, direction, 150, limited);
            flow.with(move |b| {
                // The other direction has nothing to do, and times out otherwise.
                b.disable(if direction == Direction::Read { Interest::WRITE } else { Interest::READ });
                b.decrement_rate_limit(direction, 950).unwrap();
            });
            for _ in 0..9 {
                flow.pass(TICK);
            }
            assert_eq!((flow.moved(), flow.suspended()), (100, Suspend::BANDWIDTH));
            flow.pass(TICK);
            assert_eq!(flow.moved(), 150);
            assert!(flow.goes_on(), "{:?}", flow.conn.log.calls());
            if direction == Direction::Read {
                // It finds nothing more to read at the next boundary, and then the peer is silent.
                flow.pass(TICK);
                flow.pass(TICK - JUST);
                assert!(flow.goes_on());
                flow.pass(JUST);
                assert_eq!(flow.conn.log.count(Call::Timeout(Direction::Read)), 1);
            }
        }
    });
}

#[test]
fn a_direction_that_is_switched_while_suspended_is_as_the_switch_says() {
    // enabling is remembered, and gives no byte; disabling ends the wait
    each_flow(1_000, 100, 100, |mut flow| {
        flow.with(|b| b.enable(Interest::BOTH));
        assert_eq!((flow.moved(), flow.suspended()), (100, Suspend::BANDWIDTH));
        flow.with(|b| b.disable(Interest::BOTH));
        flow.pass(3 * TICK);
        assert_eq!(flow.moved(), 100);
        flow.with(|b| b.enable(Interest::BOTH));
        assert_eq!(flow.moved(), 200, "what has come in, clipped to the burst");
        flow.pass(TICK);
        assert_eq!(flow.moved(), 300);
    });
}

#[test]
fn a_file_goes_out_within_the_limit() {
    // K-09, R-18, X-37, D11: libevent sends the whole
    each_counted(|config| {
        let segment = FileSegment::new(file_of(&pattern(1_000)), ..).unwrap();
        let mut flow = Flow::new(config, Direction::Write, 0, |b| b.rate_limit(&limit(100, 100)));
        flow.with(move |b| b.output().add_file_segment(segment).unwrap());
        for tick in 1..=10 {
            assert_eq!(flow.moved(), tick * 100);
            flow.pass(TICK);
        }
        assert!(flow.goes_on());
    });
}

#[test]
fn a_limit_that_was_set_before_the_start_begins_with_it() {
    // also on a base whose clock is another than the system's, and with a debt
    each_counted(|config| {
        let set_up = |b: Builder| {
            b.rate_limit(&limit(100, 100))
                .configure(|b| b.decrement_rate_limit(Direction::Write, 150).unwrap())
        };
        let mut flow = Flow::new(config, Direction::Write, 200, set_up);
        assert_eq!((flow.moved(), flow.level()), (0, -50));
        flow.pass(TICK);
        assert_eq!(flow.moved(), 50);
        flow.pass(TICK);
        assert_eq!(flow.moved(), 150);
    });
}

#[test]
fn no_more_moves_than_what_was_paid() {
    // P-07, F-12, X-35, D11, D13, over every kind on the system's clock: never more than the burst and what the ticks since have paid
    const RATE: usize = 4_000;
    const SHORT: Duration = Duration::from_millis(5);
    each(|config| {
        let limit = TokenBucketConfig::new(4_000, 4_000, 4_000, 4_000, Some(SHORT)).unwrap();
        let clock = Clock::monotonic();
        let mut world = config.world_with(clock.clone());
        let since = clock.now();
        let (conn, mut peer) = config.start_with(
            &mut world,
            |b| b.rate_limit(&limit),
            |cx, call| {
                if *call == Call::Read {
                    cx.take();
                }
            },
        );
        let data = pattern(5 * RATE);
        let ours = data.clone();
        world.with(&conn, move |b| _ = b.write(&ours).unwrap()).unwrap();
        world.send(&mut peer, &data);
        let mut got = Vec::new();
        world.until("all to move", || {
            peer.read_some(usize::MAX, &mut got).unwrap();
            let (sent, read) = (got.len(), conn.log.data_len());
            let ticks = clock.now().since(since).as_nanos() / SHORT.as_nanos() + 1;
            let most = ticks as usize * RATE;
            assert!(sent <= most && read <= most, "{sent} and {read} in {ticks} ticks");
            sent == data.len() && read == data.len()
        });
        assert!(got == data && conn.log.data() == data);
    });
}

#[test]
fn over_tcp_no_tick_moves_more_than_it_pays() {
    // R-16, D11: TCP takes bytes when it likes, so what has moved is bounded
    each_by_hand(|config| {
        for direction in DIRECTIONS {
            let mut flow = Flow::new(config, direction, 2_000, |b| b.rate_limit(&limit(100, 100)));
            for tick in 1..=10 {
                assert!(flow.moved() <= tick * 100);
                flow.pass(TICK);
            }
            flow.with(|b| b.set_rate_limit(None));
            let Flow { mut world, conn, mut peer, mut got, .. } = flow;
            match direction {
                Direction::Write => got.extend(world.receive(&mut peer, 2_000 - got.len())),
                Direction::Read => {
                    let left = 2_000 - got.len();
                    world.until_input(&conn, left);
                    got.extend(world.with(&conn, |b| b.input().to_vec()).unwrap());
                }
            }
            assert!(got == pattern(2_000));
        }
    });
}

#[test]
fn over_tcp_a_sender_notices_a_limit_on_reading_once_the_buffers_of_both_systems_are_full() {
    // what is limited is what is read; a peer is ahead of that by what the systems hold, and no further
    each_by_hand(|config| {
        if config.kind.name != "socket over TCP" {
            return;
        }
        let mut flow = Flow::new(config, Direction::Read, 100, |b| b.rate_limit(&limit(100, 100)));
        // It repeats after that.
        let data = pattern(65_521);
        let (mut sent, mut refused) = (100, 0);
        while refused < 3 {
            match flow.peer.write(&data[sent % data.len()..]) {
                Ok(n) => (sent, refused) = (sent + n, 0),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => refused += 1,
                Err(error) => panic!("{error}"),
            }
            flow.world.settle();
            assert!(sent < 256 << 20, "it is never held up");
        }
        assert!(sent >= 10_000 && flow.moved() <= 100, "{sent}");
        flow.pass(TICK);
        assert!(flow.moved() <= 200);
        flow.with(|b| b.set_rate_limit(None));
        let Flow { mut world, conn, mut got, .. } = flow;
        while got.len() < sent {
            world.until_input(&conn, 1);
            let more = world.with(&conn, |b| {
                let mut data = vec![0; b.input().len()];
                b.read(&mut data).unwrap();
                data
            });
            got.extend(more.unwrap());
        }
        assert!(got == pattern(sent));
    });
}
