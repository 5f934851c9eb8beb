//! One contract over every selector. `Conn` is what a connection must do with one: cache, drain, re-arm.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::*;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Runs a test over every selector.
fn each(test: impl Fn(&Arc<AnySelector>) -> Result) -> Result {
    for (name, selector) in selectors()? {
        test(&Arc::new(selector)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn selectors() -> Result<Vec<(&'static str, AnySelector)>> {
    Ok(vec![
        ("default", AnySelector::new()?),
        ("polling", AnySelector::polling()?),
        ("polling without edges", AnySelector::polling_without_edges()?),
    ])
}

/// A registered socket with its cached readiness.
struct Conn<S: Pollable> {
    registered: Registered<S>,
    token: Token,
    ready: Ready,
}

/// What a drained read ends with.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// More may come, by an edge.
    Open,
    Eof,
    Failed(ErrorKind),
}

impl<S: Pollable> Conn<S>
where
    for<'a> &'a S: Read + Write,
{
    fn new(selector: &Arc<AnySelector>, source: S, token: Token) -> Result<Conn<S>> {
        let registered = Registered::new(selector, source, token).map_err(|(_, error)| error)?;
        Ok(Conn { registered, token, ready: Ready::NONE })
    }

    /// Waits up to `timeout` and takes what was reported; true if it was anything.
    fn turn(&mut self, timeout: Duration) -> Result<bool> {
        let seen = wait(self.registered.selector(), timeout)?;
        let news = seen.get(&self.token).copied().unwrap_or_default();
        assert!(seen.keys().all(|&token| token == self.token));
        self.ready |= news;
        self.rearm()?;
        Ok(!news.is_empty())
    }

    fn rearm(&self) -> Result {
        Ok(self.registered.rearm(self.token, Ready::BOTH - self.ready)?)
    }

    /// Reads as a connection does: until a short read says that it is drained, where it may, else to `WouldBlock`.
    fn drain(&mut self) -> Result<(Vec<u8>, End)> {
        let (mut data, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            match self.registered.source().read(&mut buffer) {
                Ok(0) => return Ok((data, End::Eof)),
                Ok(n) => {
                    data.extend(&buffer[..n]);
                    let drained = n < buffer.len() && self.registered.selector().reports_hangup();
                    if drained && !self.ready.contains(Ready::HANGUP) {
                        return Ok((data, End::Open));
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready = self.ready - Ready::READABLE;
                    self.rearm()?;
                    return Ok((data, End::Open));
                }
                Err(error) => return Ok((data, End::Failed(error.kind()))),
            }
        }
    }

    /// Writes until `WouldBlock`.
    fn fill(&mut self) -> Result<usize> {
        let mut written = 0;
        loop {
            match self.registered.source().write(&[7; 4096]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready = self.ready - Ready::WRITABLE;
                    self.rearm()?;
                    return Ok(written);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// One wait, as a map of what was reported.
fn wait(selector: &AnySelector, timeout: Duration) -> Result<HashMap<Token, Ready>> {
    let mut events = Events::default();
    selector.wait(&mut events, Some(timeout))?;
    assert!(!events.is_full());
    let seen: HashMap<_, _> = events.iter().map(|event| (event.token, event.ready)).collect();
    assert_eq!(seen.len(), events.iter().count(), "one event for each token");
    Ok(seen)
}

/// A non-blocking end, and the peer's blocking one.
fn unix_pair() -> Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

fn tcp_pair() -> Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let theirs = TcpStream::connect(listener.local_addr()?)?;
    let (ours, _) = listener.accept()?;
    ours.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// Long enough for what must happen; nothing waits for it to pass.
const SOON: Duration = Duration::from_secs(10);
/// A look at what is there.
const NOW: Duration = Duration::ZERO;
const TOKEN: Token = Token::new(5, 3);

#[test]
fn end_that_comes_with_data_is_seen_by_the_read_it_follows() -> Result {
    each(|selector| {
        let (ours, mut theirs) = tcp_pair()?;
        theirs.write_all(b"last words")?;
        theirs.shutdown(Shutdown::Write)?;
        // Registered after both have arrived: there is one edge for the two.
        thread::sleep(Duration::from_millis(5));
        let mut conn = Conn::new(selector, ours, TOKEN)?;
        assert!(conn.turn(SOON)?);
        assert_eq!(conn.ready.contains(Ready::HANGUP), selector.reports_hangup());
        assert_eq!(conn.drain()?, (b"last words".to_vec(), End::Eof));
        Ok(())
    })
}

#[test]
fn end_that_comes_after_a_short_read_is_a_new_edge() -> Result {
    each(|selector| {
        let (ours, mut theirs) = tcp_pair()?;
        let mut conn = Conn::new(selector, ours, TOKEN)?;
        theirs.write_all(b"some")?;
        let mut data = Vec::new();
        while data.len() < 4 {
            conn.turn(SOON)?;
            let (more, end) = conn.drain()?;
            assert_eq!(end, End::Open);
            data.extend(more);
        }
        assert!(!conn.turn(NOW)?, "nothing is reported twice");
        theirs.shutdown(Shutdown::Write)?;
        assert!(conn.turn(SOON)?);
        assert_eq!(conn.drain()?, (Vec::new(), End::Eof));
        Ok(())
    })
}

#[test]
fn peer_that_closed_while_we_did_not_read_is_found_by_the_cached_state() -> Result {
    each(|selector| {
        let (ours, mut theirs) = unix_pair()?;
        let mut conn = Conn::new(selector, ours, TOKEN)?;
        theirs.write_all(b"x")?;
        drop(theirs);
        while !conn.ready.contains(Ready::READABLE) {
            assert!(conn.turn(SOON)?);
        }
        assert!(!conn.turn(NOW)?, "reading is suspended: no busy loop");
        assert_eq!(conn.drain()?, (b"x".to_vec(), End::Eof));
        Ok(())
    })
}

#[test]
fn room_after_a_partial_write_is_a_new_edge() -> Result {
    each(|selector| {
        let (ours, theirs) = unix_pair()?;
        let mut conn = Conn::new(selector, ours, TOKEN)?;
        assert!(conn.turn(SOON)?);
        assert_eq!(conn.ready, Ready::WRITABLE, "a new socket is writable");
        let written = conn.fill()?;
        assert!(!conn.turn(NOW)?);
        (&theirs).read_exact(&mut vec![0; written])?;
        assert!(conn.turn(SOON)?);
        assert!(conn.ready.contains(Ready::WRITABLE));
        assert!(conn.fill()? > 0);
        Ok(())
    })
}

#[test]
fn reset_makes_both_directions_ready_and_the_read_fails() -> Result {
    each(|selector| {
        let (ours, theirs) = tcp_pair()?;
        let mut conn = Conn::new(selector, ours, TOKEN)?;
        conn.turn(SOON)?;
        socket2::SockRef::from(&theirs).set_linger(Some(Duration::ZERO))?;
        drop(theirs);
        while !conn.ready.contains(Ready::BOTH | Ready::ERROR) {
            assert!(conn.turn(SOON)?);
        }
        assert_eq!(conn.drain()?, (Vec::new(), End::Failed(ErrorKind::ConnectionReset)));
        Ok(())
    })
}

#[test]
fn refused_connect_is_reported_as_an_error() -> Result {
    each(|selector| {
        let unused = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let refused = socket.connect(&unused.into()).is_err();
        assert!(refused, "it is pending or refused, never done");
        let mut conn = Conn::new(selector, socket, TOKEN)?;
        while !conn.ready.contains(Ready::BOTH) {
            assert!(conn.turn(SOON)?);
        }
        Ok(())
    })
}

#[test]
fn wake_before_a_wait_ends_that_wait_and_no_other() -> Result {
    each(|selector| {
        (0..3).try_for_each(|_| selector.wake())?;
        let mut events = Events::default();
        selector.wait(&mut events, None)?;
        assert!(events.is_empty());
        let (start, pause) = (Instant::now(), Duration::from_millis(5));
        selector.wait(&mut events, Some(pause))?;
        assert!(start.elapsed() >= pause, "the wakes were one");
        Ok(())
    })
}

#[test]
fn wakes_from_another_thread_are_never_lost() -> Result {
    each(|selector| {
        let rounds = 2000;
        let sent = bufferevent_sync::atomic::AtomicU64::new(0);
        let answered = bufferevent_sync::atomic::AtomicU64::new(0);
        let (acquire, release) = (std::sync::atomic::Ordering::Acquire, std::sync::atomic::Ordering::Release);
        thread::scope(|scope| -> Result {
            let waker = scope.spawn(|| {
                for round in 1..=rounds {
                    sent.store(round, release);
                    selector.wake().expect("a wake");
                    // Alternate between waking a sleeper and waking in a burst.
                    while round % 3 == 0 && answered.load(acquire) < round {
                        thread::yield_now();
                    }
                }
            });
            let mut events = Events::default();
            while answered.load(acquire) < rounds {
                let start = Instant::now();
                selector.wait(&mut events, Some(SOON))?;
                assert!(start.elapsed() < SOON, "a wake was lost");
                answered.store(sent.load(acquire), release);
            }
            // Joined by hand, because the thread sanitizer cannot follow the end of a scope.
            waker.join().map_err(|_| "the waking thread failed")?;
            Ok(())
        })
    })
}

#[test]
fn many_descriptors_come_in_batches_each_exactly_once() -> Result {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, raised)?;
    each(|selector| {
        let pairs = (0..1000).map(|_| UnixStream::pair()).collect::<io::Result<Vec<_>>>()?;
        let sockets = pairs.into_iter().flat_map(|(a, b)| [a, b]);
        let mut conns = Vec::new();
        for (index, socket) in sockets.enumerate() {
            conns.push(Conn::new(selector, socket, Token::new(index as u32, 9))?);
        }
        let (mut events, mut seen, mut batches) = (Events::with_capacity(128), vec![0; conns.len()], 0);
        loop {
            selector.wait(&mut events, Some(NOW))?;
            for event in &events {
                assert_eq!((event.token.generation(), event.ready), (9, Ready::WRITABLE));
                seen[event.token.index() as usize] += 1;
                let conn = &mut conns[event.token.index() as usize];
                conn.ready = event.ready;
                conn.rearm()?;
            }
            batches += 1;
            if !events.is_full() {
                break;
            }
        }
        assert!(seen.iter().all(|&times| times == 1));
        assert!(batches >= 2000 / 128);
        assert!(wait(selector, NOW)?.is_empty());
        Ok(())
    })
}

#[test]
fn nested_selector_gives_an_edge_for_each_event_inside() -> Result {
    for outer_kind in 0..selectors()?.len() {
        for (inner_name, inner) in selectors()? {
            let (outer_name, outer) = selectors()?.swap_remove(outer_kind);
            let (outer, inner) = (Arc::new(outer), Arc::new(inner));
            let top = Registered::new(&outer, Arc::clone(&inner), TOKEN).map_err(|(_, error)| error)?;
            let names = format!("{inner_name} in {outer_name}");
            for round in 0..3 {
                assert!(wait(&outer, NOW)?.is_empty(), "{names}: quiet before round {round}");
                inner.wake()?;
                let seen = wait(&outer, SOON)?;
                assert!(
                    seen.get(&TOKEN).is_some_and(|ready| ready.contains(Ready::READABLE)),
                    "{names}: a wake"
                );
                assert!(wait(&inner, NOW)?.is_empty());
                top.rearm(TOKEN, Ready::READABLE)?;
            }
            // A socket inside; the outer edge comes after the inner one was registered, as for a base that is freed.
            let (ours, mut theirs) = unix_pair()?;
            let mut conn = Conn::new(&inner, ours, Token::new(1, 1))?;
            assert!(wait(&outer, SOON)?.contains_key(&TOKEN), "{names}: writable");
            assert!(conn.turn(NOW)?);
            top.rearm(TOKEN, Ready::READABLE)?;
            wait(&outer, NOW)?;
            top.rearm(TOKEN, Ready::READABLE)?;
            theirs.write_all(b"x")?;
            assert!(wait(&outer, SOON)?.contains_key(&TOKEN), "{names}: readable");
            assert!(conn.turn(NOW)?);
            assert_eq!(conn.drain()?, (b"x".to_vec(), End::Open));
            // Unregistered, it is silent, and still works.
            drop(top);
            inner.wake()?;
            assert!(wait(&outer, NOW)?.is_empty(), "{names}: out");
        }
    }
    Ok(())
}

#[test]
fn event_of_a_closed_descriptor_is_told_from_its_successor() -> Result {
    each(|selector| {
        let (old, _peer) = unix_pair()?;
        let old = Conn::new(selector, old, TOKEN)?;
        let mut batch = Events::default();
        selector.wait(&mut batch, Some(SOON))?;
        drop(old);
        let (new, _peer) = unix_pair()?;
        let successor = Token::new(TOKEN.index(), TOKEN.generation() + 1);
        let _new = Conn::new(selector, new, successor)?;
        assert_eq!(batch.iter().map(|event| event.token).collect::<Vec<_>>(), [TOKEN]);
        assert_eq!(wait(selector, SOON)?.into_keys().collect::<Vec<_>>(), [successor]);
        Ok(())
    })
}

#[test]
fn registration_ends_with_its_owner_though_a_duplicate_lives() -> Result {
    each(|selector| {
        let (ours, theirs) = unix_pair()?;
        let duplicate = ours.try_clone()?;
        let conn = Conn::new(selector, ours, TOKEN)?;
        drop(conn.registered.duplicated());
        assert!(wait(selector, NOW)?.is_empty());
        // The duplicate can be registered anew: the descriptor is out.
        let conn = Conn::new(selector, duplicate, TOKEN)?;
        let back = conn.registered.into_source();
        (&theirs).write_all(b"x")?;
        assert!(wait(selector, NOW)?.is_empty());
        assert_eq!((&back).read(&mut [0; 8])?, 1, "it came back open");
        Ok(())
    })
}

#[test]
fn refused_registration_hands_the_source_back() -> Result {
    each(|selector| {
        let (ours, _theirs) = unix_pair()?;
        let (ours, error) = Registered::new(selector, ours, Token(u64::MAX)).expect_err("it is the waker's");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(Conn::new(selector, ours, Token::new(u32::MAX, 0)).is_ok());
        Ok(())
    })
}

#[test]
fn no_wait_ends_before_its_time() -> Result {
    each(|selector| {
        let mut events = Events::default();
        for micros in [0, 1, 300, 999, 1000, 1001, 2500, 20_000] {
            let (start, timeout) = (Instant::now(), Duration::from_micros(micros));
            selector.wait(&mut events, Some(timeout))?;
            assert!(start.elapsed() >= timeout, "{timeout:?} took {:?}", start.elapsed());
        }
        Ok(())
    })
}

#[test]
fn event_ends_a_wait_of_any_length() -> Result {
    each(|selector| {
        for timeout in [Duration::from_micros(900), Duration::from_secs(600), Duration::MAX] {
            let (ours, mut theirs) = unix_pair()?;
            let mut conn = Conn::new(selector, ours, TOKEN)?;
            conn.turn(SOON)?;
            theirs.write_all(b"x")?;
            assert!(conn.turn(timeout)?);
        }
        Ok(())
    })
}

#[test]
fn two_threads_may_wait_at_once() -> Result {
    each(|selector| {
        thread::scope(|scope| {
            let waiters: Vec<_> =
                (0..2).map(|_| scope.spawn(|| wait(selector, SOON).map(drop).is_ok())).collect();
            while !waiters.iter().all(|waiter| waiter.is_finished()) {
                selector.wake()?;
                thread::sleep(Duration::from_millis(1));
            }
            assert!(waiters.into_iter().all(|waiter| waiter.join().is_ok_and(|ok| ok)));
            Ok(())
        })
    })
}

#[test]
fn selectors_are_shared_and_registrations_are_small() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<AnySelector>();
    shared::<Registered<UnixStream>>();
    sent::<Events>();
    assert!(size_of::<Registered<std::os::fd::OwnedFd>>() <= 16);
    assert_eq!(format!("{:?}", Ready::READABLE | Ready::HANGUP), "{READABLE, HANGUP}");
    assert_eq!(!Ready::BOTH, Ready::HANGUP | Ready::ERROR);
}
