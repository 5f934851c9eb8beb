//! The echo server of the crate page, over every way to run it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::net::UnixStream,
    thread,
    time::Duration,
};

use bufferevent::{
    Base, Bufferevent, Context, Event, Handle, Handler, Pinned, Runtime, Turned, UnlockedHandler,
    testing::Census,
};

#[derive(Clone)]
struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

impl Handler<Pinned> for Echo {
    fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
        let (input, output) = cx.buffers();
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_, Pinned>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

impl UnlockedHandler for Echo {
    fn on_read(&mut self, bufferevent: &Handle) {
        if let Ok(mut guard) = bufferevent.lock() {
            let (input, output) = guard.buffers();
            let _ = output.append(input);
        }
    }

    fn on_event(&mut self, bufferevent: &Handle, event: Event) {
        if event.is_terminal() {
            bufferevent.close();
        }
    }
}

#[test]
fn one_base_driven_by_hand_echoes_and_runs_empty() {
    let _census = Census::begin();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let mut base = Base::<Pinned>::new().unwrap();
    Bufferevent::socket(ours).handler(Echo).start(&mut base).unwrap();
    theirs.write_all(b"hello").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    assert_eq!(base.run().unwrap(), Turned::Empty);
    let mut back = String::new();
    theirs.read_to_string(&mut back).unwrap();
    assert_eq!(back, "hello");
}

fn talk(address: std::net::SocketAddr, seed: u8) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    for size in [1, 64, 1_000, 20_000, 200_000] {
        let sent: Vec<u8> = (0..size).map(|i| (i as u8).wrapping_mul(seed)).collect();
        let mut back = vec![0; size];
        thread::scope(|scope| {
            let mut writer = stream.try_clone().unwrap();
            let sent = &sent;
            let written = scope.spawn(move || writer.write_all(sent).unwrap());
            stream.read_exact(&mut back).unwrap();
            written.join().unwrap();
        });
        assert_eq!(back, sent);
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "the end is echoed too");
}

fn serve(runtime: Runtime, kind: usize) {
    let listener = runtime
        .listen("127.0.0.1:0", move |connection, base| {
            let builder = Bufferevent::socket(connection);
            match kind {
                0 => drop(builder.handler(Echo).start(base)?),
                1 => drop(builder.handler(Echo).deferred().start(base)?),
                2 => drop(builder.handler(Echo).threadsafe().start(base)?),
                3 => drop(builder.handler(Echo).threadsafe().deferred().start(base)?),
                _ => drop(builder.threadsafe().unlocked(Echo).start(base)?),
            }
            Ok(())
        })
        .unwrap();
    let address = listener.local_addr().unwrap();
    thread::scope(|scope| {
        let running = scope.spawn(|| runtime.run().unwrap());
        let clients: Vec<_> = (1..=6).map(|seed| scope.spawn(move || talk(address, seed))).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        runtime.shutdown(Duration::from_secs(10)).unwrap();
        running.join().unwrap();
    });
    assert_eq!(runtime.bases().iter().map(|base| base.objects()).sum::<usize>(), 0);
}

#[test]
fn every_option_set_echoes_on_every_shape_of_runtime() {
    let _census = Census::begin();
    for (workers, bases) in [(1, 1), (2, 2), (2, 1), (2, 4)] {
        for kind in 0..5 {
            serve(Runtime::builder().workers(workers).bases(bases).build().unwrap(), kind);
        }
    }
}
