//! Pairs: what is their own. That they are bufferevents like any other is what the contract suite shows.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::{sync::Arc, time::Duration};

use bufferevent::{
    Base, BaseExt, Bufferevent, Builder, Callbacks, Closing, Context, Direction, Error, Event, FilterCall,
    FilterError, FilterFn, FilterStatus, FlushMode, Flushed, Handler, Id, Interest, Movable, NoHandler,
    PAIR_QUEUE, Partner, Pinned, Runtime, Stall,
    runtime::Clock,
    testing::{Census, ManualBase},
};
use bufferevent_sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it is told, and takes what arrives.
fn logger(log: &Log) -> impl Handler<Pinned> + Handler + Send + 'static {
    struct Logger(Log);
    impl Logger {
        fn read(&self, bufferevent: &mut Bufferevent) {
            let mut text = vec![0; bufferevent.input().len()];
            bufferevent.read(&mut text).unwrap();
            self.0.lock().push(String::from_utf8(text).unwrap());
        }
        fn event(&self, event: &Event) {
            self.0.lock().push(format!("{event:?}"));
        }
    }
    impl Handler<Pinned> for Logger {
        fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
            self.read(cx);
        }
        fn on_event(&mut self, _: &mut Context<'_, Pinned>, event: Event) {
            self.event(&event);
        }
    }
    impl Handler for Logger {
        fn on_read(&mut self, cx: &mut Context<'_>) {
            self.read(cx);
        }
        fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
            self.event(&event);
        }
    }
    Logger(Arc::clone(log))
}

/// A half without a handler, and one that writes down what it is told.
fn start(base: &mut ManualBase, log: &Log) -> (Id, Id) {
    let (one, other) = Bufferevent::pair();
    let one = one.handler(NoHandler).start(base).unwrap();
    (one, other.handler(logger(log)).start(base).unwrap())
}

fn told(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock())
}

#[test]
fn a_pair_has_no_descriptor_and_knows_its_partner() {
    // P-01, P-08, C-39
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.settle().unwrap();
    let partner_of = |base: &mut ManualBase, id| match base.bufferevent(id).unwrap().partner() {
        Some(Partner::Confined(id)) => Some(id),
        None => None,
        Some(partner) => panic!("{partner:?}"),
    };
    assert_eq!(partner_of(&mut base, one), Some(other));
    assert_eq!(partner_of(&mut base, other), Some(one));
    let half = base.bufferevent(one).unwrap();
    assert!(half.raw_fd().is_none() && half.take_fd().is_none());
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(matches!(half.set_fd(ours), Err(Error::NotSocket)));
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    assert!(matches!(half.connect_to(nowhere), Err(Error::NotSocket)));
    base.bufferevent(other).unwrap().abort();
    base.settle().unwrap();
    assert_eq!(partner_of(&mut base, one), None);
}

#[test]
fn no_callback_runs_inside_of_the_others_write() {
    // P-01, F21
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, _) = start(&mut base, &log);
    base.settle().unwrap();
    base.bufferevent(one).unwrap().write(b"hello").unwrap();
    assert!(told(&log).is_empty());
    base.settle().unwrap();
    assert_eq!(told(&log), ["hello"]);
}

#[test]
fn what_was_written_before_a_close_arrives_and_then_the_end() {
    // P-10, D9, D19: whatever CLOSE_ON_FREE says, started or not
    let _census = Census::begin();
    for (close_on_free, started) in [(true, true), (false, true), (true, false), (false, false)] {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = Bufferevent::pair();
        let one = one.close_on_free(close_on_free).handler(NoHandler);
        other.handler(logger(&log)).start(&mut base).unwrap();
        if started {
            let one = one.start(&mut base).unwrap();
            base.bufferevent(one).unwrap().write(b"last words").unwrap();
            base.bufferevent(one).unwrap().close();
        } else {
            drop(one.configure(|one| drop(one.write(b"last words"))));
        }
        base.settle().unwrap();
        assert_eq!(told(&log), ["last words", "Eof"], "{close_on_free} {started}");
    }
}

#[test]
fn more_than_the_queue_holds_is_delivered_before_the_end() {
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.bufferevent(other).unwrap().disable(Interest::READ);
    let bytes = 5 * PAIR_QUEUE + 1;
    base.bufferevent(one).unwrap().write(&vec![b'x'; bytes]).unwrap();
    base.settle().unwrap();
    assert_eq!(base.bufferevent(one).unwrap().output().len(), bytes - PAIR_QUEUE);
    base.bufferevent(one).unwrap().close();
    base.settle().unwrap();
    base.bufferevent(other).unwrap().enable(Interest::READ);
    base.settle().unwrap();
    let told = told(&log);
    let (end, data) = told.split_last().unwrap();
    assert_eq!((data.iter().map(String::len).sum::<usize>(), end.as_str()), (bytes, "Eof"));
}

#[test]
fn an_abort_unlinks_and_tells_nothing() {
    // P-10, D9, X-75
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.settle().unwrap();
    base.bufferevent(other).unwrap().write(b"stays").unwrap();
    base.bufferevent(one).unwrap().abort();
    assert!(matches!(base.bufferevent(other).unwrap().write(b"more"), Err(Error::Unlinked)));
    base.settle().unwrap();
    assert_eq!(told(&log), [""; 0]);
    assert_eq!(base.bufferevent(other).unwrap().output().len(), b"stays".len());
    // It can be closed at once all the same.
    base.bufferevent(other).unwrap().close();
    base.settle().unwrap();
    assert!(matches!(base.bufferevent(other), Err(Error::Closed)));
}

#[test]
fn each_direction_can_be_ended_by_itself() {
    //
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.settle().unwrap();
    base.bufferevent(one).unwrap().write(b"question").unwrap();
    base.bufferevent(one).unwrap().shutdown(Direction::Write).unwrap();
    base.settle().unwrap();
    assert_eq!(told(&log), ["question", "Eof"]);
    base.bufferevent(other).unwrap().write(b"answer").unwrap();
    base.settle().unwrap();
    assert_eq!(*base.bufferevent(one).unwrap().input(), b"answer");
    base.bufferevent(one).unwrap().shutdown(Direction::Read).unwrap();
    base.settle().unwrap();
    assert!(matches!(base.bufferevent(other).unwrap().write(b"more"), Err(Error::Unlinked)));
}

/// Plays ping-pong: answers what arrives with as much, until it has been told `rounds` times.
fn player(rounds: usize, played: &Arc<AtomicUsize>) -> impl Handler + Send + 'static {
    let played = Arc::clone(played);
    Callbacks::new().on_read(move |cx: &mut Context<'_>| {
        let (input, output) = cx.buffers();
        output.append(input).unwrap();
        if played.fetch_add(1, Ordering::Relaxed) >= rounds {
            cx.close();
        }
    })
}

#[test]
fn halves_on_two_bases_and_two_workers_play() {
    let _census = Census::begin();
    let rounds = 20_000;
    let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
    let bases = runtime.bases();
    let played = Arc::new(AtomicUsize::new(0));
    let (one, other) = Bufferevent::pair();
    let worker = {
        let runtime = runtime.clone();
        std::thread::spawn(move || runtime.run())
    };
    let one = one.handler(player(rounds, &played)).threadsafe().start(&mut bases[0].clone()).unwrap();
    other.handler(player(rounds, &played)).start(&mut bases[1].clone()).unwrap();
    one.write(b"ping").unwrap();
    while played.load(Ordering::Relaxed) < rounds {
        std::thread::yield_now();
    }
    let closed = one.close_and_wait();
    assert!(closed.is_ok() || one.is_closing());
    runtime.stop();
    worker.join().unwrap().unwrap();
}

#[test]
fn a_half_moves_while_the_ball_flies() {
    let _census = Census::begin();
    let base = || Base::<Movable>::with_clock(Clock::monotonic()).unwrap();
    let (mut here, mut there) = (base(), base());
    let played = Arc::new(AtomicUsize::new(0));
    let (one, other) = Bufferevent::pair();
    let rounds = 2_000;
    let one = one.handler(player(rounds, &played)).start(&mut here).unwrap();
    let mut other = other.handler(player(rounds, &played)).start(&mut here).unwrap();
    here.bufferevent(one).unwrap().write(b"ball").unwrap();
    let turn = |base: &mut Base| base.turn(Some(Duration::ZERO)).map(drop).unwrap();
    while played.load(Ordering::Relaxed) < rounds {
        (0..3).for_each(|_| turn(&mut here));
        turn(&mut there);
        let (from, to) = if other.base() == here.id() { (&mut here, &there) } else { (&mut there, &here) };
        // Gone at the end of the last round.
        let Ok(moved) = from.set_base(other, &to.handle()) else { break };
        other = moved;
    }
    (0..8).for_each(|_| (turn(&mut here), turn(&mut there)).1);
}

/// Each input has a high mark of 10 and holds that.
fn full(base: &mut ManualBase, log: &Log) -> (Id, Id) {
    let (one, other) = start(base, log);
    let half = base.bufferevent(other).unwrap();
    half.set_read_watermark(10, Some(10)).unwrap();
    (one, other)
}

#[test]
fn a_flush_passes_the_high_mark_and_each_mode_what_it_says() {
    // P-09, D8, D9, C-32
    let _census = Census::begin();
    for (mode, end) in
        [(FlushMode::Normal, None), (FlushMode::Flush, None), (FlushMode::Finished, Some("Eof"))]
    {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = full(&mut base, &log);
        base.set_handler(other, NoHandler).unwrap();
        base.bufferevent(one).unwrap().write(&[b'x'; 100]).unwrap();
        base.settle().unwrap();
        assert_eq!(base.bufferevent(other).unwrap().input().len(), 10);
        base.bufferevent(one).unwrap().write(&vec![b'y'; 2 * PAIR_QUEUE]).unwrap();
        assert_eq!(base.bufferevent(one).unwrap().flush(Interest::WRITE, mode).unwrap(), Flushed::Produced);
        assert!(base.bufferevent(one).unwrap().output().is_empty());
        base.set_handler(other, logger(&log)).unwrap();
        base.settle().unwrap();
        let told = told(&log);
        let data: usize = told.iter().filter(|told| !told.starts_with("Eof")).map(String::len).sum();
        assert_eq!(data, 100 + 2 * PAIR_QUEUE, "{mode:?}");
        assert_eq!(told.last().filter(|told| *told == "Eof").map(String::as_str), end);
        // Later writes still go.
        base.bufferevent(one).unwrap().write(&[b'z'; 10]).unwrap();
        base.settle().unwrap();
        assert_eq!(log.lock().as_slice(), ["zzzzzzzzzz"]);
    }
}

#[test]
fn a_flush_that_reads_takes_what_was_put_and_no_callback_runs_inside() {
    // P-09
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = full(&mut base, &log);
    base.set_handler(other, NoHandler).unwrap();
    base.bufferevent(one).unwrap().write(&[b'x'; 100]).unwrap();
    base.settle().unwrap();
    let half = base.bufferevent(other).unwrap();
    assert_eq!(half.flush(Interest::READ, FlushMode::Flush).unwrap(), Flushed::Produced);
    assert_eq!(half.input().len(), 100);
    assert_eq!(half.flush(Interest::READ, FlushMode::Flush).unwrap(), Flushed::Nothing);
    base.bufferevent(one).unwrap().abort();
    let half = base.bufferevent(other).unwrap();
    assert!(matches!(half.flush(Interest::BOTH, FlushMode::Flush), Err(Error::Unlinked)));
}

#[test]
fn one_that_has_flushed_past_a_full_queue_is_called_when_there_is_room() {
    // P-09: what is written next goes by itself
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.bufferevent(other).unwrap().disable(Interest::READ);
    base.bufferevent(one).unwrap().write(&vec![b'x'; PAIR_QUEUE + 1]).unwrap();
    base.settle().unwrap();
    let half = base.bufferevent(one).unwrap();
    assert_eq!(half.flush(Interest::WRITE, FlushMode::Normal).unwrap(), Flushed::Produced);
    base.bufferevent(other).unwrap().enable(Interest::READ);
    base.settle().unwrap();
    assert_eq!(told(&log).concat().len(), PAIR_QUEUE + 1);
    base.bufferevent(one).unwrap().write(b"next").unwrap();
    base.settle().unwrap();
    assert_eq!(told(&log), ["next"]);
}

#[test]
fn regress_bufferevent_pair_flush() {
    // TB-29: `bufferevent_pair_flush`
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, _) = start(&mut base, &log);
    base.settle().unwrap();
    let half = base.bufferevent(one).unwrap();
    half.flush(Interest::WRITE, FlushMode::Finished).unwrap();
    assert!(told(&log).is_empty());
    base.settle().unwrap();
    assert_eq!(told(&log), ["Eof"]);
}

#[test]
fn a_stack_over_a_half_knows_that_the_other_is_gone() {
    // P-10, F-15, X-75: as a half by itself does
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = Bufferevent::pair();
    let one = one.filter(FilterFn::new()).filter(FilterFn::new());
    let one = one.handler(logger(&log)).start(&mut base).unwrap();
    let other = other.enable(Interest::WRITE).handler(NoHandler).start(&mut base).unwrap();
    base.settle().unwrap();
    let Some(Partner::Confined(partner)) = base.bufferevent(one).unwrap().partner() else { panic!() };
    assert_eq!(partner, other);
    base.bufferevent(one).unwrap().write(&vec![b'x'; 2 << 20]).unwrap();
    base.settle().unwrap();
    base.bufferevent(other).unwrap().abort();
    let stack = base.bufferevent(one).unwrap();
    assert!(matches!(stack.write(b"more"), Err(Error::Unlinked)));
    assert!(matches!(stack.flush(Interest::WRITE, FlushMode::Flush), Err(Error::Unlinked)));
    base.settle().unwrap();
    let stack = base.bufferevent(one).unwrap();
    let explained = stack.explain();
    assert_eq!([explained.read.stall, explained.write.stall], [Some(Stall::Unlinked); 2]);
    stack.close();
    base.settle().unwrap();
    assert!(matches!(base.bufferevent(one), Err(Error::Closed)), "no time has passed");
}

#[test]
fn a_stack_that_closes_ends_when_the_other_half_leaves() {
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = Bufferevent::pair();
    let one = one.filter(FilterFn::new()).report_close().handler(logger(&log)).start(&mut base).unwrap();
    let other = other.enable(Interest::WRITE).handler(NoHandler).start(&mut base).unwrap();
    let bytes = 2 << 20;
    base.bufferevent(one).unwrap().write(&vec![b'x'; bytes]).unwrap();
    base.bufferevent(one).unwrap().close();
    base.settle().unwrap();
    assert!(told(&log).is_empty());
    base.bufferevent(other).unwrap().abort();
    base.settle().unwrap();
    let told = told(&log);
    let unsent = format!("unsent: {}", bytes - PAIR_QUEUE);
    assert!(told.len() == 1 && told[0].contains("clean: false") && told[0].contains(&unsent), "{told:?}");
}

#[test]
fn each_half_is_told_once_of_what_it_sent_and_of_what_it_received() {
    // P-05: in which order the two are told is nobody's promise
    let _census = Census::begin();
    for starts_first in [false, true] {
        let mut base = ManualBase::new().unwrap();
        let counts = [(); 4].map(|()| Arc::new(AtomicUsize::new(0)));
        let [sent, received, sent_back, received_back] = counts.clone();
        let count = |count: Arc<AtomicUsize>| {
            move |_: &mut Context<'_, Pinned>| {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let (one, other) = Bufferevent::pair();
        let one = one.configure(|one| drop(one.write(b"there")));
        let one = one.handler(Callbacks::new().on_write(count(sent)).on_read(count(received_back)));
        let other = other.configure(|other| drop(other.write(b"and back")));
        let other = other.handler(Callbacks::new().on_write(count(sent_back)).on_read(count(received)));
        if starts_first {
            one.start(&mut base).unwrap();
            other.start(&mut base).unwrap();
        } else {
            other.start(&mut base).unwrap();
            one.start(&mut base).unwrap();
        }
        base.settle().unwrap();
        assert_eq!(counts.map(|count| count.load(Ordering::Relaxed)), [1; 4]);
    }
}

#[test]
fn a_pair_at_rest_holds_no_timer_though_data_is_queued() {
    // P-12
    let _census = Census::begin();
    let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
    let (one, other) = start(&mut base, &log);
    base.bufferevent(other).unwrap().disable(Interest::READ);
    base.bufferevent(one).unwrap().write(&vec![b'x'; 2 * PAIR_QUEUE]).unwrap();
    base.settle().unwrap();
    assert_eq!(base.next_deadline(), None);
    let runs = base.counters().runs.get();
    base.advance(Duration::from_secs(3_600)).unwrap();
    assert_eq!(base.counters().runs.get(), runs);
}

/// So many filters above it, which pass everything and mark each end they are told of.
fn marking(half: Builder, filters: usize) -> Builder {
    (0..filters).fold(half, |half, _| {
        half.filter(FilterFn::new().on_input(
            |call: &mut FilterCall<'_>| -> Result<FilterStatus, FilterError> {
                call.pass()?;
                if call.mode() == FlushMode::Finished {
                    call.destination.add(b".")?;
                }
                Ok(FilterStatus::Ok)
            },
        ))
    })
}

#[test]
fn two_that_close_with_more_than_a_queue_outstanding_do_not_wait_for_each_other() {
    // D9, D15: as a socket that is reset, who writes to one that closes learns that it was for nothing
    let _census = Census::begin();
    for filters in 0..3 {
        let (mut base, logs) = (ManualBase::new().unwrap(), [Log::default(), Log::default()]);
        let (one, other) = Bufferevent::pair();
        let halves = [(one, &logs[0]), (other, &logs[1])].map(|(half, log)| {
            let half = marking(half.caps(None, None), filters).caps(None, None).report_close();
            half.handler(logger(log)).start(&mut base).unwrap()
        });
        base.settle().unwrap();
        for half in halves {
            base.bufferevent(half).unwrap().disable(Interest::READ);
            base.bufferevent(half).unwrap().write(&vec![b'x'; 5 * PAIR_QUEUE]).unwrap();
        }
        base.settle().unwrap();
        for (half, log) in halves.into_iter().zip(&logs) {
            log.lock().clear();
            base.bufferevent(half).unwrap().close();
        }
        base.settle().unwrap();
        for (half, log) in halves.into_iter().zip(&logs) {
            assert!(matches!(base.bufferevent(half), Err(Error::Closed)), "no time has passed");
            let (told, unsent) = (told(log), format!("unsent: {}", 4 * PAIR_QUEUE));
            assert!(
                told.len() == 1 && told[0].contains("clean: false") && told[0].contains(&unsent),
                "{told:?}"
            );
        }
    }
}

#[test]
fn one_that_closes_takes_nothing_any_more_and_delivers_what_it_wrote() {
    // P-10, D9
    let _census = Census::begin();
    for filters in 0..3 {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = Bufferevent::pair();
        let one = marking(one, filters).handler(NoHandler).start(&mut base).unwrap();
        let other = other.handler(logger(&log)).start(&mut base).unwrap();
        base.settle().unwrap();
        base.bufferevent(other).unwrap().disable(Interest::READ);
        base.bufferevent(one).unwrap().write(&vec![b'x'; 5 * PAIR_QUEUE]).unwrap();
        base.bufferevent(one).unwrap().close();
        base.settle().unwrap();
        assert!(matches!(base.bufferevent(other).unwrap().write(b"no"), Err(Error::Unlinked)));
        base.bufferevent(other).unwrap().enable(Interest::READ);
        base.settle().unwrap();
        let told = told(&log);
        let (end, data) = told.split_last().unwrap();
        let bytes = data.iter().map(String::len).sum::<usize>();
        assert_eq!((bytes, end.as_str()), (5 * PAIR_QUEUE, "Eof"));
    }
}

#[test]
fn a_close_that_cannot_send_all_is_an_error_to_the_other() {
    // P-10, D9, D15: behind what was put, and not an end
    let _census = Census::begin();
    for (below, above) in [(0, 0), (1, 0), (0, 1), (2, 2)] {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = Bufferevent::pair();
        let one = marking(one, below).handler(NoHandler).start(&mut base).unwrap();
        let other = marking(other, above).handler(logger(&log)).start(&mut base).unwrap();
        base.settle().unwrap();
        base.bufferevent(other).unwrap().disable(Interest::READ);
        base.bufferevent(one).unwrap().write(&vec![b'x'; 2 << 20]).unwrap();
        let hasty = Closing { drain: Duration::from_secs(1), ..Closing::default() };
        base.bufferevent(one).unwrap().close_with(hasty);
        base.advance(Duration::from_secs(2)).unwrap();
        assert!(matches!(base.bufferevent(one), Err(Error::Closed)));
        base.bufferevent(other).unwrap().enable(Interest::READ);
        base.settle().unwrap();
        let told = told(&log);
        let (end, data) = told.split_last().unwrap();
        assert_eq!(data.iter().map(String::len).sum::<usize>(), PAIR_QUEUE);
        assert!(end.contains("Error { direction: Some(Read)") && end.contains("ConnectionReset"), "{end}");
        assert_eq!(base.bufferevent(other).unwrap().enabled(), Interest::WRITE);
    }
}

#[test]
fn an_end_of_a_flush_is_told_through_filters_too_and_what_follows_is_a_beginning() {
    // P-09, F-09, D9, D10
    let _census = Census::begin();
    for filters in 0..3 {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = Bufferevent::pair();
        let one = marking(one, filters).handler(NoHandler).start(&mut base).unwrap();
        let other = marking(other, filters).handler(logger(&log)).start(&mut base).unwrap();
        base.settle().unwrap();
        let mark = &".."[..filters];
        for text in ["one", "two"] {
            let half = base.bufferevent(one).unwrap();
            half.write(text.as_bytes()).unwrap();
            half.flush(Interest::WRITE, FlushMode::Finished).unwrap();
            base.settle().unwrap();
            assert_eq!(told(&log).concat(), format!("{text}{mark}Eof"), "{filters}");
            assert_eq!(base.bufferevent(other).unwrap().enabled(), Interest::BOTH);
            base.bufferevent(one).unwrap().write(b"goes on").unwrap();
            base.settle().unwrap();
            assert_eq!(told(&log), ["goes on"]);
        }
        base.bufferevent(one).unwrap().close();
        base.settle().unwrap();
        assert_eq!(told(&log).concat(), format!("{mark}Eof"));
    }
}

#[test]
fn a_shutdown_of_a_half_stays_whatever_is_asked_after_it() {
    // K-18, X-82
    let _census = Census::begin();
    for filters in 0..3 {
        let (mut base, log) = (ManualBase::new().unwrap(), Log::default());
        let (one, other) = Bufferevent::pair();
        let one = one.configure(|one| one.shutdown(Direction::Read).unwrap()).enable(Interest::BOTH);
        let one = marking(one, filters).handler(logger(&log)).start(&mut base).unwrap();
        let other = other.handler(NoHandler).start(&mut base).unwrap();
        base.settle().unwrap();
        assert!(matches!(base.bufferevent(other).unwrap().write(b"no"), Err(Error::Unlinked)));
        let half = base.bufferevent(one).unwrap();
        half.shutdown(Direction::Write).unwrap();
        assert!(half.take_fd().is_none());
        assert!(matches!(half.write(b"no"), Err(Error::ShutDown)));
        base.settle().unwrap();
        assert!(matches!(base.bufferevent(one).unwrap().write(b"no"), Err(Error::ShutDown)));
        assert_eq!(told(&log), [""; 0]);
    }
}
