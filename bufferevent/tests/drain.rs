//! The graceful end of a whole runtime: nothing is lost within the grace, and the report says what was after it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    thread::{self, JoinHandle},
    time::Duration,
};

use bufferevent::{
    Base, BaseHandle, Bufferevent, Builder, Context, Drain, Event, Handle, Handler, Interest, NoHandler,
    PanicPolicy, Pinned, Pipe, Runtime, RuntimeExt, Turned, UnlockedHandler,
    runtime::{self, Clock},
    testing::Census,
};
use socket2::SockRef;

/// Answers each byte with so many.
struct Answer(usize);

impl Handler for Answer {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let bytes = cx.input().len();
        cx.input().drain(bytes).unwrap();
        let _ = cx.write(&vec![7; bytes * self.0]);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

/// In a strand of its own, or confined to the base.
fn start(
    builder: Builder,
    handler: impl Handler + Send + 'static,
    shared: bool,
    base: &mut Base,
) -> bufferevent::Result<()> {
    let builder = builder.handler(handler);
    if shared { builder.threadsafe().start(base).map(drop) } else { builder.start(base).map(drop) }
}

fn serve(workers: usize, answer: usize, shared: bool) -> (Runtime, SocketAddr, JoinHandle<()>) {
    let runtime = Runtime::builder().workers(workers).bases(2).build().unwrap();
    let listener = runtime
        .listen("127.0.0.1:0", move |connection, base| {
            // So that a client that does not read is soon felt.
            SockRef::from(&connection).set_send_buffer_size(64 * 1024)?;
            Ok(start(Bufferevent::socket(connection), Answer(answer), shared, base)?)
        })
        .unwrap();
    let address = listener.local_addr().unwrap();
    let mine = runtime.clone();
    (runtime, address, thread::spawn(move || mine.run().unwrap()))
}

/// A client that has sent a byte and had the first of the answer.
fn client(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

#[test]
fn a_drain_sends_everything_and_reports_clean_ends() {
    // F55
    let _census = Census::begin();
    for shared in [false, true] {
        let (runtime, address, running) = serve(2, 300_000, shared);
        let clients: Vec<_> = (0..50).map(|_| client(address)).collect();
        let draining = runtime.drain(Drain::default()).unwrap();
        for mut client in clients {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), 299_999);
        }
        running.join().unwrap();
        let report = draining.report();
        assert_eq!((report.ended, report.clean, report.unsent), (50, 50, 0), "{report}");
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

/// Answers as the other does, but for what it panics at.
struct Fragile(Answer);

impl Handler for Fragile {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        assert!(cx.input().search(b"!", 0).is_none(), "meant: {}", thread::current().name().unwrap());
        self.0.on_read(cx);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        self.0.on_event(cx, event);
    }
}

#[test]
fn when_a_callback_lets_a_panic_out_the_others_are_drained_and_run_names_the_worker() {
    // F59
    let _census = Census::begin();
    for shared in [false, true] {
        let runtime = Runtime::builder().workers(2).thread_name("drained").build().unwrap();
        let listener = runtime
            .listen("127.0.0.1:0", move |connection, base| {
                SockRef::from(&connection).set_send_buffer_size(64 * 1024)?;
                let builder = Bufferevent::socket(connection).on_panic(PanicPolicy::Propagate);
                Ok(start(builder, Fragile(Answer(300_000)), shared, base)?)
            })
            .unwrap();
        let (address, mine) = (listener.local_addr().unwrap(), runtime.clone());
        let running = thread::Builder::new().name("drained-0".to_owned()).spawn(move || mine.run()).unwrap();
        let clients: Vec<_> = (0..20).map(|_| client(address)).collect();
        let mut bad = client(address);
        bad.write_all(b"!").unwrap();
        for mut client in clients {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), 299_999, "its answer is sent whole");
        }
        drop(bad);
        let told = running.join().unwrap();
        let Err(runtime::Error::WorkerPanicked { worker, message }) = told else { panic!("{told:?}") };
        assert_eq!(message, format!("meant: drained-{worker}"));
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

/// Echoes, and goes to the next base each time.
struct Hops(Vec<BaseHandle>, usize);

impl Handler for Hops {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        output.append(input).unwrap();
        self.1 += 1;
        // It closes, and stays where it is.
        let _ = cx.set_base(&self.0[self.1 % self.0.len()]);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

#[test]
fn a_drain_does_not_end_while_one_is_on_its_way_to_another_base() {
    // F55, section 7 and protocol 12: one alone keeps it from ending, wherever that is
    let _census = Census::begin();
    for (workers, bases) in [(2, 2), (1, 3), (2, 3), (3, 2)] {
        for shared in [false, true] {
            for spread in [Duration::ZERO, Duration::from_millis(20)] {
                let runtime = Runtime::builder().workers(workers).bases(bases).build().unwrap();
                let mine = runtime.clone();
                let running = thread::spawn(move || mine.run().unwrap());
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let builder = Bufferevent::socket(ours).handler(Hops(runtime.bases(), 0));
                if shared {
                    builder.threadsafe().start(&mut runtime.bases()[0].clone()).unwrap();
                } else {
                    runtime.bases()[0].post(move |base| _ = builder.start(base).unwrap()).unwrap();
                }
                let ball = |peer: &mut UnixStream| {
                    peer.write_all(b"ball").is_ok() && peer.read_exact(&mut [0; 4]).is_ok()
                };
                assert!(ball(&mut theirs));
                let draining = runtime.drain(Drain { spread, ..Drain::default() }).unwrap();
                while ball(&mut theirs) {}
                drop(theirs);
                running.join().unwrap();
                let report = draining.report();
                assert_eq!(report.ended, 1, "{workers} workers, {bases} bases, {spread:?}: {report}");
            }
        }
    }
}

#[test]
fn a_pipe_goes_on_until_both_peers_have_ended() {
    let _census = Census::begin();
    for shared in [false, true] {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let ((mut one, front), (back, mut other)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let builders = [front, back].map(|socket| Bufferevent::socket(socket).handler(NoHandler));
        if shared {
            let [front, back] =
                builders.map(|b| b.threadsafe().start(&mut runtime.bases()[0].clone()).unwrap());
            Pipe::new().join(&front, &back).unwrap();
        } else {
            let join = |base: &mut Base| {
                let [front, back] = builders.map(|builder| builder.start(base).unwrap());
                Pipe::new().join_on(base, front, back).unwrap();
            };
            runtime.bases()[0].post(join).unwrap();
        }
        let mine = runtime.clone();
        let running = thread::spawn(move || mine.run().unwrap());
        // It stands once a byte is through.
        one.write_all(b"x").unwrap();
        other.read_exact(&mut [0]).unwrap();
        let draining = runtime.drain(Drain { grace: Duration::from_secs(600), ..Drain::default() }).unwrap();
        one.write_all(b"question").unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        let mut came = Vec::new();
        other.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"question");
        other.write_all(b"answer").unwrap();
        drop(other);
        came.clear();
        one.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"answer");
        running.join().unwrap();
        let report = draining.report();
        assert_eq!((report.ended, report.clean, report.unsent), (2, 2, 0), "{report}");
    }
}

/// Answers a byte with so many blocks: one, and the next when that is out.
struct Blocks(usize);

impl Blocks {
    fn send_next(&mut self, own: &mut Bufferevent) {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                own.write(&vec![7; 1_000_000]).unwrap();
            }
            None => own.close(),
        }
    }
}

impl Handler for Blocks {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        cx.input().drain(1).unwrap();
        self.send_next(cx);
    }

    fn on_write(&mut self, cx: &mut Context<'_>) {
        self.send_next(cx);
    }

    fn on_drain(&mut self, _: &mut Context<'_>) {}
}

impl UnlockedHandler for Blocks {
    fn on_read(&mut self, own: &Handle) {
        let mut own = own.lock().unwrap();
        own.input().drain(1).unwrap();
        self.send_next(&mut own);
    }

    fn on_write(&mut self, own: &Handle) {
        self.send_next(&mut own.lock().unwrap());
    }

    fn on_drain(&mut self, _: &Handle) {}
}

#[test]
fn what_a_handler_goes_on_with_is_sent_to_the_end_and_clean() {
    // D15: more than the kernel takes, let alone the output
    let _census = Census::begin();
    for how in ["confined", "threadsafe", "unlocked"] {
        let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
        let listener = runtime
            .listen("127.0.0.1:0", move |connection, base| {
                SockRef::from(&connection).set_send_buffer_size(64 * 1024)?;
                let builder = Bufferevent::socket(connection);
                match how {
                    "confined" => drop(builder.handler(Blocks(16)).start(base)?),
                    "threadsafe" => drop(builder.handler(Blocks(16)).threadsafe().start(base)?),
                    _ => drop(builder.threadsafe().unlocked(Blocks(16)).start(base)?),
                }
                Ok(())
            })
            .unwrap();
        let (address, mine) = (listener.local_addr().unwrap(), runtime.clone());
        let running = thread::spawn(move || mine.run().unwrap());
        let clients: Vec<_> = (0..4).map(|_| client(address)).collect();
        let draining = runtime.drain(Drain::default()).unwrap();
        for mut client in clients {
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).unwrap();
            assert_eq!(rest.len(), 15_999_999, "{how}");
        }
        running.join().unwrap();
        let report = draining.report();
        assert_eq!((report.ended, report.clean, report.unsent), (4, 4, 0), "{how}: {report}");
    }
}

/// Says what it has to say, and then that there is more.
struct Waits;

impl Handler for Waits {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        cx.input().drain(1).unwrap();
        cx.write(b"half").unwrap();
    }

    fn on_drain(&mut self, _: &mut Context<'_>) {}
}

#[test]
fn what_a_handler_goes_on_with_beyond_the_grace_is_cut_short_and_not_clean() {
    // D15: it is told no end
    let _census = Census::begin();
    for shared in [false, true] {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        let listener = runtime
            .listen("127.0.0.1:0", move |connection, base| {
                Ok(start(Bufferevent::socket(connection), Waits, shared, base)?)
            })
            .unwrap();
        let (address, mine) = (listener.local_addr().unwrap(), runtime.clone());
        let running = thread::spawn(move || mine.run().unwrap());
        let mut client = client(address);
        client.read_exact(&mut [0; 3]).unwrap();
        let draining =
            runtime.drain(Drain { grace: Duration::from_millis(100), ..Drain::default() }).unwrap();
        let end = client.read(&mut [0]).unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::ConnectionReset);
        running.join().unwrap();
        let report = draining.report();
        assert_eq!((report.ended, report.clean, report.unsent), (1, 0, 0), "{report}");
    }
}

#[test]
fn what_is_not_taken_within_the_grace_is_reported() {
    // F55: the deadline
    let _census = Census::begin();
    let (runtime, address, running) = serve(1, 4_000_000, true);
    let stuck = client(address);
    let draining = runtime.drain(Drain { grace: Duration::from_millis(200), ..Drain::default() }).unwrap();
    running.join().unwrap();
    let report = draining.report();
    assert_eq!((report.ended, report.clean), (1, 0), "{report}");
    assert!(report.unsent > 0, "{report}");
    drop(stuck);
}

#[test]
fn a_second_word_ends_it_now() {
    // F55: the second signal
    let _census = Census::begin();
    let (runtime, address, running) = serve(2, 4_000_000, false);
    let stuck = client(address);
    let draining = runtime.drain(Drain { grace: Duration::from_secs(600), ..Drain::default() }).unwrap();
    runtime.stop();
    running.join().unwrap();
    let report = draining.report();
    assert!(report.ended == 1 && report.clean == 0 && report.unsent > 0, "{report}");
    drop(stuck);
}

#[test]
fn a_second_drain_that_is_at_once_does_not_wait_for_the_spread_of_the_first() {
    let _census = Census::begin();
    let (clock, _stands_still) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    for shared in [false, true] {
        let (ours, _) = UnixStream::pair().unwrap();
        let builder = Bufferevent::socket(ours).enable(Interest::WRITE);
        if shared {
            builder.threadsafe().start(&mut base).unwrap();
        } else {
            builder.start(&mut base).unwrap();
        }
    }
    base.close_all_over(Duration::MAX);
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
    assert_eq!(base.len(), 3, "both, and what asks them");
    base.close_all();
    while base.turn(Some(Duration::ZERO)).unwrap() == Turned::Ran {}
    assert!(base.is_empty());
}

#[test]
fn a_spread_lets_them_go_one_after_the_other() {
    // F55: so that not all come back at once
    let _census = Census::begin();
    let (clock, hand) = Clock::manual();
    let mut base = Base::<Pinned>::with_clock(clock).unwrap();
    let mut peers = Vec::new();
    for number in 0..20 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let builder = Bufferevent::socket(ours).handler(NoHandler);
        if number % 2 == 0 {
            builder.start(&mut base).unwrap();
        } else {
            builder.threadsafe().start(&mut base).unwrap();
        }
        peers.push(theirs);
    }
    base.every(Duration::from_secs(3_600), |_| {});
    base.close_all_over(Duration::from_millis(400));
    peers.iter().for_each(|peer| peer.set_nonblocking(true).unwrap());
    for step in 0..=40 {
        // A turn more, for what a turn has posted.
        for _ in 0..3 {
            base.turn(Some(Duration::ZERO)).unwrap();
        }
        let ended =
            peers.iter_mut().map(|peer| peer.read(&mut [0])).filter(|read| matches!(read, Ok(0))).count();
        assert_eq!(ended, step / 2, "after {step} steps");
        hand.advance(Duration::from_millis(10));
    }
    drop(peers);
    assert_eq!(base.run().unwrap(), Turned::Empty);
}
