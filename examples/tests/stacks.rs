//! The filters at work: in stacks, over sockets, pairs and scripted transports.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    cell::RefCell,
    io::{BufReader, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    rc::Rc,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Builder, Callbacks, Cause, Direction, Event, Filter, FilterCall,
    FilterError, FilterStatus, FlushMode, Handle, Handler, Id, Interest, NoHandler, Pinned, Pipe, PipeEnd,
    Runtime, Turned,
    evbuffer::{Eol, Evbuffer},
    testing::{Census, ManualBase, Random, Wire},
};
use examples::{Deflate, Inflate, LineError, Lines, Passed, Tap, Zlib, ZlibError};
use flate2::read::ZlibDecoder;
use proptest::{collection::vec, prelude::*};

/// What a handler has seen.
#[derive(Default)]
struct Seen {
    got: Vec<u8>,
    /// The lengths of the input at each read callback.
    reads: Vec<usize>,
    events: Vec<Event>,
}

type Log = Rc<RefCell<Seen>>;

/// Takes all that is read, and closes at the end.
fn reader(log: &Log) -> impl Handler<Pinned> + use<> {
    let (reads, events) = (Rc::clone(log), Rc::clone(log));
    Callbacks::<Pinned>::new()
        .on_read(move |cx| {
            let mut log = reads.borrow_mut();
            let n = cx.input().len();
            log.reads.push(n);
            log.got.extend(cx.input().take_bytes(n).unwrap());
        })
        .on_event(move |cx, event| {
            let ends = event.is_terminal();
            events.borrow_mut().events.push(event);
            if ends {
                cx.close();
            }
        })
}

/// The cause of the error that was told, which is to be the only one.
fn failure<E: std::error::Error + 'static>(log: &Log) -> String {
    let log = log.borrow();
    let [Event::Error { direction: Some(Direction::Read), cause: Cause::Filter(error) }] = &log.events[..]
    else {
        panic!("{:?}", log.events);
    };
    format!("{:?}", error.downcast_ref::<E>().unwrap())
}

fn text(len: usize) -> Vec<u8> {
    (0..).flat_map(|line| format!("line {line} of a text that deflates\n").into_bytes()).take(len).collect()
}

/// Bytes that do not deflate.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

fn deflated(data: &[u8]) -> Vec<u8> {
    let (mut source, mut wire) = (Evbuffer::from(data.to_vec()), Evbuffer::new());
    Deflate::new(6).run(&mut source, &mut wire, usize::MAX, FlushMode::Finished).unwrap();
    wire.to_vec()
}

fn inflated(stream: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    ZlibDecoder::new(stream).read_to_end(&mut data).unwrap();
    data
}

/// TZ-01, TB-27: 8,333 bytes in two writes, deflated by a filter of one and inflated by a filter of the other.
#[test]
fn bufferevent_zlib() {
    struct Sending {
        deflate: Deflate,
        _alive: Arc<()>,
    }

    struct Receiving {
        inflate: Inflate,
        _alive: Arc<()>,
    }

    impl Filter for Sending {
        fn output(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
            let (room, mode) = (call.room(), call.mode());
            Ok(self.deflate.run(call.source, call.destination, room, mode)?)
        }
    }

    impl Filter for Receiving {
        fn input(&mut self, call: &mut FilterCall<'_>) -> Result<FilterStatus, FilterError> {
            let (room, mode) = (call.room(), call.mode());
            Ok(self.inflate.run(call.source, call.destination, room, mode)?)
        }
    }

    let _census = Census::begin();
    let alive = Arc::new(());
    let mut base = Base::<Pinned>::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let (log, written) = (Log::default(), Rc::new(RefCell::new(Vec::new())));
    let writes = Rc::clone(&written);
    let writer = Callbacks::<Pinned>::new()
        .on_write(move |cx| writes.borrow_mut().push(cx.output().len()))
        .on_event(|_, event| panic!("{event:?}"));
    let received = Rc::clone(&log);
    let reader = Callbacks::<Pinned>::new()
        .on_read(move |cx| {
            if cx.input().len() == 8_333 {
                let mut scratch = Evbuffer::new();
                cx.read_buffer(&mut scratch).unwrap();
                cx.disable(Interest::READ);
                received.borrow_mut().got = scratch.to_vec();
            }
        })
        .on_event(|_, event| panic!("{event:?}"));
    let sending = Sending { deflate: Deflate::new(6), _alive: Arc::clone(&alive) };
    let receiving = Receiving { inflate: Inflate::default(), _alive: Arc::clone(&alive) };
    let b1 = Bufferevent::socket(one)
        .filter(sending)
        .handler(writer)
        .enable(Interest::WRITE)
        .start(&mut base)
        .unwrap();
    let b2 = Bufferevent::socket(other).filter(receiving).handler(reader).start(&mut base).unwrap();

    let data: Vec<u8> = (0..8_333).map(|i| i as u8).collect();
    let b = base.bufferevent(b1).unwrap();
    b.write(&data[..1_800]).unwrap();
    b.write(&data[1_800..]).unwrap();
    b.flush(Interest::WRITE, FlushMode::Finished).unwrap();
    while log.borrow().got.is_empty() || written.borrow().is_empty() {
        base.turn(None).unwrap();
    }
    assert_eq!(log.borrow().got, data);
    assert_eq!(written.borrow().last(), Some(&0));
    for id in [b1, b2] {
        base.bufferevent(id).unwrap().abort();
    }
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(Arc::strong_count(&alive), 1, "each filter is dropped");
}

/// What a tap shows, in bytes each way.
fn counting() -> (Tap<impl FnMut(Passed) + Send + 'static>, mpsc::Receiver<Passed>) {
    let (tell, told) = mpsc::sync_channel(10_000);
    (Tap::new(move |passed| tell.send(passed).unwrap()), told)
}

/// Sends 300,000 bytes through `tap over zlib over each half`, and as many back.
fn there_and_back(base: &mut Base<Pinned>, one: Builder, other: Builder) {
    let data = text(300_000);
    let ((tap, told), log) = (counting(), Log::default());
    let echo = Callbacks::<Pinned>::new()
        .on_read(|cx| {
            let (input, output) = cx.buffers();
            output.append(input).unwrap();
            cx.flush(Interest::WRITE, FlushMode::Flush).unwrap();
        })
        .on_event(|cx, event| {
            if event.is_terminal() {
                cx.close();
            }
        });
    let client = one.filter(Zlib::new(6)).filter(tap).handler(reader(&log)).start(base).unwrap();
    other.filter(Zlib::new(6)).handler(echo).start(base).unwrap();
    let b = base.bufferevent(client).unwrap();
    b.write(&data).unwrap();
    b.flush(Interest::WRITE, FlushMode::Flush).unwrap();
    while log.borrow().got.len() < data.len() {
        base.turn(None).unwrap();
    }
    base.bufferevent(client).unwrap().close();
    assert_eq!(base.run().unwrap(), Turned::Empty);
    assert_eq!(log.borrow().got, data);
    assert!(matches!(log.borrow().events[..], [] | [Event::Drained]), "{:?}", log.borrow().events);
    let shown: Vec<Passed> = told.try_iter().collect();
    for direction in [Direction::Read, Direction::Write] {
        let bytes = shown
            .iter()
            .filter(|passed| passed.direction == direction)
            .flat_map(|passed| passed.bytes.to_vec());
        assert_eq!(bytes.collect::<Vec<u8>>(), data, "{direction:?}");
        let total = shown.iter().rfind(|passed| passed.direction == direction).unwrap().total;
        assert_eq!(total, data.len() as u64);
    }
}

#[test]
fn a_tap_over_zlib_over_a_socket() {
    let _census = Census::begin();
    let (one, other) = UnixStream::pair().unwrap();
    let mut base = Base::<Pinned>::new().unwrap();
    there_and_back(&mut base, Bufferevent::socket(one), Bufferevent::socket(other));
}

#[test]
fn a_tap_over_zlib_over_a_pair() {
    let _census = Census::begin();
    let (one, other) = Bufferevent::pair();
    there_and_back(&mut Base::<Pinned>::new().unwrap(), one, other);
}

/// A stack over a wire, and what its handler has seen.
fn over_wire(base: &mut ManualBase, filter: impl Filter) -> (Wire, Log, Id) {
    let (wire, log) = (Wire::new(), Log::default());
    let id = Bufferevent::scripted(&wire).filter(filter).handler(reader(&log)).start(base).unwrap();
    (wire, log, id)
}

#[test]
fn a_corrupt_stream_is_an_error_of_reading_behind_what_came_before() {
    // D10
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, log, _) = over_wire(&mut base, Zlib::new(6));
    wire.deliver(&[&deflated(b"well"), &b"no stream"[..]].concat());
    base.settle().unwrap();
    assert!(failure::<ZlibError>(&log).starts_with("Corrupt"));
    assert_eq!(log.borrow().got, b"well");
    assert!(wire.is_shut_down());
}

#[test]
fn an_end_within_a_stream_is_an_error_before_it_is_an_end() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, log, _) = over_wire(&mut base, Zlib::new(6));
    let data = noise(1_000);
    wire.deliver_in(&deflated(&data)[..900], 100);
    wire.end();
    base.settle().unwrap();
    assert_eq!(failure::<ZlibError>(&log), "Truncated");
    assert!(log.borrow().got.len() > 500 && data.starts_with(&log.borrow().got));
}

#[test]
fn a_bomb_waits_below_a_high_mark() {
    // F-03, F-04: 16 MB of zeros are 16 KB, and come up 10,000 bytes at a time.
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let wire = Wire::new();
    let builder =
        Bufferevent::scripted(&wire).filter(Zlib::new(6)).handler(NoHandler).read_watermark(0, Some(10_000));
    let id = builder.start(&mut base).unwrap();
    wire.deliver(&deflated(&vec![0; 16 << 20]));
    wire.end();
    let mut got = 0;
    while got < 16 << 20 {
        base.settle().unwrap();
        let input = base.bufferevent(id).unwrap().input();
        assert!((1..=10_000).contains(&input.len()) && input.allocated() <= 64 << 10, "{input:?}");
        got += input.drain(input.len()).unwrap();
    }
    base.bufferevent(id).unwrap().abort();
    base.settle().unwrap();
    assert_eq!(got, 16 << 20);
}

#[test]
fn a_close_finishes_the_stream_behind_all_that_was_written() {
    // D10, D15, issues #616, #795 of libevent: nothing that was written is lost in a filter.
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, log, id) = over_wire(&mut base, Zlib::new(6));
    let data = [noise(200_000), text(200_000)].concat();
    wire.set_room(0);
    let b = base.bufferevent(id).unwrap();
    b.write(&data).unwrap();
    b.close();
    let mut sent = Vec::new();
    while !wire.is_shut_down() {
        wire.set_room(1_000);
        base.settle().unwrap();
        sent.extend(wire.take_written());
    }
    wire.end();
    base.settle().unwrap();
    assert!(wire.is_closed());
    assert_eq!(inflated(&sent), data);
    assert!(log.borrow().events.is_empty());
}

#[test]
fn a_close_that_takes_all_the_calls_of_a_run_goes_on_in_the_next() {
    // As many pieces as a run gives to a filter, which keeps them all: nothing below would call for another run.
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, _, id) = over_wire(&mut base, Zlib::new(6));
    let data = vec![b'a'; 16 * 64 * 1024];
    let b = base.bufferevent(id).unwrap();
    b.write(&data).unwrap();
    b.close();
    base.settle().unwrap();
    assert!(wire.is_shut_down(), "without waiting for any deadline");
    assert_eq!(inflated(&wire.written()), data);
    wire.end();
    base.settle().unwrap();
}

#[test]
fn a_flush_makes_readable_what_was_written_and_one_that_flushes_always_needs_none() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let readable = |wire: &Wire| {
        let (mut stream, mut data) = (Evbuffer::from(wire.written()), Evbuffer::new());
        Inflate::default().run(&mut stream, &mut data, usize::MAX, FlushMode::Normal).unwrap();
        data.to_vec()
    };
    let (wire, _, id) = over_wire(&mut base, Zlib::new(6));
    base.bufferevent(id).unwrap().write(b"question").unwrap();
    base.settle().unwrap();
    assert_eq!(readable(&wire), b"", "it waits for more");
    base.bufferevent(id).unwrap().flush(Interest::WRITE, FlushMode::Flush).unwrap();
    base.settle().unwrap();
    assert_eq!(readable(&wire), b"question");

    let (wire, _, id) = over_wire(&mut base, Zlib::new(6).flushing());
    base.bufferevent(id).unwrap().write(b"question").unwrap();
    base.settle().unwrap();
    assert_eq!(readable(&wire), b"question");
}

#[test]
fn only_whole_lines_are_told_and_the_rest_at_the_end() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, log, _) = over_wire(&mut base, Lines::new(80));
    wire.deliver_in(b"one\r\ntwo\nthree\n", 2);
    base.settle().unwrap();
    assert_eq!(log.borrow().reads, [5, 4, 6]);
    wire.deliver(b"begun");
    base.settle().unwrap();
    assert_eq!(log.borrow().reads.len(), 3);
    wire.end();
    base.settle().unwrap();
    assert_eq!(log.borrow().got, b"one\r\ntwo\nthree\nbegun");
    assert!(matches!(log.borrow().events[..], [Event::Eof]), "{:?}", log.borrow().events);
}

#[test]
fn a_line_that_is_too_long_is_an_error_behind_those_before() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (wire, log, _) = over_wire(&mut base, Lines::new(4));
    wire.deliver(b"four\nfour and one\n");
    base.settle().unwrap();
    assert_eq!(failure::<LineError>(&log), "TooLong { longest: 4 }");
    assert_eq!(log.borrow().got, b"four\n");
}

#[test]
fn lines_wait_for_room_below_a_high_mark_and_none_is_cut() {
    // F-04
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let wire = Wire::new();
    let builder = Bufferevent::scripted(&wire).filter(Lines::new(80)).handler(NoHandler);
    let id = builder.read_watermark(0, Some(10)).caps(Some(40), None).start(&mut base).unwrap();
    let lines: Vec<u8> = (0..50).flat_map(|n| format!("this is line {n}\n").into_bytes()).collect();
    wire.deliver_in(&lines, 7);
    wire.end();
    let mut got = Vec::new();
    while got.len() < lines.len() {
        base.settle().unwrap();
        let input = base.bufferevent(id).unwrap().input();
        assert!(input.len() <= 40);
        let line = input.readln(Eol::Crlf).unwrap().expect("a whole line, or none is left");
        got.extend(line);
        got.push(b'\n');
    }
    assert_eq!(got, lines);
    base.bufferevent(id).unwrap().abort();
    base.settle().unwrap();
}

/// What a user does next to two stacks over one line.
#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Flush(FlushMode),
    Drain(usize),
    /// The high mark of who receives.
    High(Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1..20_000usize).prop_map(Step::Write),
        1 => prop::sample::select(vec![FlushMode::Normal, FlushMode::Flush, FlushMode::Finished]).prop_map(Step::Flush),
        3 => (1..20_000usize).prop_map(Step::Drain),
        1 => prop::option::of(1..5_000usize).prop_map(Step::High),
    ];
    vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Over transports that take and give as much as they like, and say that they are ready when they are not.
    #[test]
    fn what_goes_through_two_stacks_arrives_whole_and_ends(steps in steps(), chunk in 100..5_000usize, seed in any::<u64>()) {
        let _census = Census::begin();
        let mut base = ManualBase::new().unwrap();
        let (there, here) = (Wire::new(), Wire::new());
        for (wire, seed) in [(&there, seed), (&here, !seed)] {
            wire.disturb(Random::new(seed));
        }
        let log = Log::default();
        let ended = Rc::clone(&log);
        let events = Callbacks::<Pinned>::new().on_event(move |_, event| ended.borrow_mut().events.push(event));
        let stack = |wire| Bufferevent::scripted(wire).filter(Zlib::new(3)).filter(Tap::new(drop));
        let one = stack(&there).handler(NoHandler).start(&mut base).unwrap();
        let other = stack(&here).handler(events).start(&mut base).unwrap();
        let data = [text(100_000), noise(100_000)].concat();
        let (mut written, mut got) = (0, Vec::new());
        let carry = |base: &mut ManualBase| {
            base.settle().unwrap();
            here.deliver_in(&there.take_written(), chunk);
            base.settle().unwrap();
        };
        for step in steps {
            match step {
                Step::Write(n) => {
                    let piece = &data[written..data.len().min(written + n)];
                    written += piece.len();
                    base.bufferevent(one).unwrap().write(piece).unwrap();
                }
                Step::Flush(mode) => drop(base.bufferevent(one).unwrap().flush(Interest::WRITE, mode).unwrap()),
                Step::Drain(n) => {
                    let input = base.bufferevent(other).unwrap().input();
                    let n = n.min(input.len());
                    got.extend(input.take_bytes(n).unwrap());
                }
                Step::High(high) => base.bufferevent(other).unwrap().set_read_watermark(0, high).unwrap(),
            }
            carry(&mut base);
        }
        base.bufferevent(one).unwrap().close();
        for _ in 0..10_000 {
            carry(&mut base);
            if there.is_shut_down() {
                here.end();
            }
            let input = base.bufferevent(other).unwrap().input();
            got.extend(input.take_bytes(input.len()).unwrap());
            if !log.borrow().events.is_empty() {
                break;
            }
        }
        prop_assert!(matches!(log.borrow().events[..], [Event::Eof]), "{:?}", log.borrow().events);
        prop_assert_eq!(got.len(), written);
        prop_assert!(got == data[..written]);
        base.bufferevent(other).unwrap().abort();
        there.end();
        base.settle().unwrap();
        prop_assert!(there.is_closed() && here.is_closed());
    }
}

/// A proxy: what is plain on one side is compressed on the other. 12 MB each way, to peers that take 4,000 bytes at a time.
#[test]
fn a_pipe_of_two_stacks_is_exact_and_holds_little() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (plain, packed) = (Wire::new(), Wire::new());
    let front = Bufferevent::scripted(&plain).filter(Tap::new(drop)).start(&mut base).unwrap();
    let back = Bufferevent::scripted(&packed).filter(Zlib::new(1)).start(&mut base).unwrap();
    Pipe::new().join_on(&mut base, front, back).unwrap();
    let data = [noise(6_000_000), text(6_000_000)].concat();
    plain.deliver_in(&data, 16 << 10);
    plain.end();
    packed.deliver_in(&deflated(&data), 16 << 10);
    packed.end();

    let (mut there, mut back_again, mut most) = (Vec::new(), Vec::new(), 0);
    while !(plain.is_closed() && packed.is_closed()) {
        for wire in [&plain, &packed] {
            wire.set_room(4_000);
        }
        base.settle().unwrap();
        there.extend(packed.take_written());
        back_again.extend(plain.take_written());
        let mut sum = 0;
        for id in [front, back] {
            let Ok(b) = base.bufferevent(id) else { continue };
            let held = |b: &mut Bufferevent| b.input().allocated() + b.output().allocated();
            sum += held(b) + b.underlying_mut().map_or(0, held);
        }
        most = most.max(sum);
    }
    // What four outputs queue up to their high marks, each of 256 KiB, and what one run reads.
    assert!(most < 3 << 20, "{most}");
    assert_eq!(inflated(&there), data);
    assert_eq!(back_again, data);
}

/// A runtime of two workers at work.
struct Two {
    runtime: Runtime,
    running: thread::JoinHandle<bufferevent::runtime::Result<()>>,
}

impl Two {
    fn new() -> Self {
        let runtime = Runtime::builder().workers(2).build().unwrap();
        let running = runtime.clone();
        Self { runtime, running: thread::spawn(move || running.run()) }
    }

    fn start(&self, base: usize, builder: Builder, handler: impl Handler + Send + 'static) -> Handle {
        let (tell, told) = mpsc::sync_channel(1);
        let start =
            move |base: &mut Base| tell.send(builder.handler(handler).threadsafe().start(base)).unwrap();
        self.runtime.bases()[base].post(start).unwrap();
        told.recv().unwrap().unwrap()
    }

    fn end(self) {
        self.runtime.shutdown(Duration::from_secs(1)).unwrap();
        self.running.join().unwrap().unwrap();
    }
}

#[test]
fn a_close_over_a_pair_between_two_workers_delivers_all_and_the_end() {
    let _census = Census::begin();
    let two = Two::new();
    let (one, other) = Bufferevent::pair();
    let (tell, told) = mpsc::sync_channel(1);
    let mut got = Vec::new();
    let reader = Callbacks::new().on_read(|_| {}).on_event(move |cx, event| {
        let n = cx.input().len();
        got.extend(cx.input().take_bytes(n).unwrap());
        cx.close();
        tell.send((std::mem::take(&mut got), event)).unwrap();
    });
    let writer = two.start(0, one.filter(Zlib::new(1)), NoHandler);
    two.start(1, other.filter(Zlib::new(1)).filter(Tap::new(drop)), reader);
    let data = [noise(500_000), text(500_000)].concat();
    writer.write(&data).unwrap();
    let closed = writer.close_and_wait().unwrap();
    assert!(closed.clean && closed.unsent == 0, "{closed:?}");
    let (got, event) = told.recv().unwrap();
    assert!(matches!(event, Event::Eof), "{event:?}");
    assert!(got == data, "{} of {}", got.len(), data.len());
    two.end();
}

/// The same with THREADSAFE stacks on two bases and two workers, between sockets, to a server that reads 10 MB bit by bit.
#[test]
fn a_pipe_of_two_threadsafe_stacks_is_exact_on_two_workers() {
    let _census = Census::begin();
    let two = Two::new();
    let ((client, front), (back, server)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let front = two.start(0, Bufferevent::socket(front).filter(Tap::new(drop)), NoHandler);
    let back = two.start(1, Bufferevent::socket(back).filter(Tap::new(drop)).filter(Zlib::new(1)), NoHandler);
    let (tell, told) = mpsc::sync_channel(1);
    Pipe::new().on_end(move |piped| tell.send(piped).unwrap()).join(&front, &back).unwrap();

    let data = [noise(5_000_000), text(5_000_000)].concat();
    let sending = {
        let data = data.clone();
        thread::spawn(move || {
            (&client).write_all(&data).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            (&client).read_to_end(&mut answer).unwrap();
            answer
        })
    };
    let mut got = Vec::new();
    let mut stream = ZlibDecoder::new(BufReader::with_capacity(1_000, &server));
    stream.read_to_end(&mut got).unwrap();
    (&server).write_all(&deflated(&got[..1_000_000])).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let answer = sending.join().unwrap();
    let piped = told.recv().unwrap();
    two.end();
    assert!(got == data && answer == data[..1_000_000]);
    assert_eq!((piped.forth, piped.back), (data.len() as u64, 1_000_000));
    assert!(matches!(piped.end, PipeEnd::Ended), "{:?}", piped.end);
}
