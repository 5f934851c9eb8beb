//! `Tls` over another library: frames without any secret, to show that nothing of OpenSSL is asked of a backend.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{fmt, net::Shutdown, os::unix::net::UnixStream, sync::Arc, task::Waker};

use bufferevent::{
    BaseExt as _, Bufferevent, Builder, Context, Event, Handler, Interest, Pinned,
    runtime::Time,
    testing::{Census, ManualBase},
};
use bufferevent_ssl::{Backend, Evbuffer, Progress, Received, Tls};
use bufferevent_sync::Mutex;

const HELLO: u8 = b'H';
const DATA: u8 = b'D';
const END: u8 = b'E';

/// The client says HELLO, the server answers by it; data has its length before it; END is the notice.
#[derive(Default)]
struct Plain {
    server: bool,
    state: State,
    arrived: Evbuffer,
    to_send: Evbuffer,
    /// Bytes of a frame that was begun.
    left: usize,
    ended: bool,
    /// A server waits until it is told to go on.
    gate: Option<Arc<Mutex<Gate>>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Idle,
    Greeted,
    Open,
    Closed,
}

#[derive(Default)]
struct Gate {
    open: bool,
    waker: Option<Waker>,
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    Protocol(u8),
    Truncated,
    NotOpen,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "plain: {self:?}")
    }
}

impl std::error::Error for Fault {}

impl Plain {
    fn new(server: bool) -> Self {
        Self { server, ..Self::default() }
    }

    fn next(&mut self) -> Option<u8> {
        self.arrived.take_bytes(1).ok()?.first().copied()
    }
}

impl Backend for Plain {
    type Error = Fault;

    fn is_open(&self) -> bool {
        self.state == State::Open
    }

    fn waits_for_peer(&self) -> bool {
        self.server && self.state == State::Idle
    }

    fn restart(&mut self) {
        *self = Self { gate: self.gate.take(), ..Self::new(self.server) };
    }

    fn holds(&self) -> Interest {
        if self.arrived.is_empty() { Interest::NONE } else { Interest::READ }
    }

    fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer) {
        (&mut self.arrived, &mut self.to_send)
    }

    fn handshake(&mut self) -> Result<Progress, Fault> {
        if self.gate.as_ref().is_some_and(|gate| !gate.lock().open) {
            return Ok(Progress::Waiting);
        }
        if self.state == State::Idle {
            self.to_send.add(&[HELLO]).unwrap();
            self.state = State::Greeted;
        }
        match self.next() {
            None => Ok(Progress::Pending),
            Some(HELLO) => {
                self.state = State::Open;
                Ok(Progress::Done)
            }
            Some(other) => Err(Fault::Protocol(other)),
        }
    }

    fn wake_when_answered(&self, waker: &Waker) {
        match &self.gate {
            Some(gate) => gate.lock().waker = Some(waker.clone()),
            None => waker.wake_by_ref(),
        }
    }

    fn receive(&mut self, into: &mut Evbuffer, limit: usize, _: Time) -> Result<Received, Fault> {
        let mut received = Received::default();
        while !self.ended && !self.arrived.is_empty() {
            if self.left == 0 {
                match self.arrived.chunks().next().and_then(|chunk| chunk.first()) {
                    Some(&DATA) if self.arrived.len() < 3 => break,
                    Some(&DATA) => {
                        let head = self.arrived.take_bytes(3).unwrap();
                        self.left = usize::from(u16::from_be_bytes([head[1], head[2]]));
                    }
                    Some(&END) => self.ended = true,
                    other => return Err(Fault::Protocol(other.copied().unwrap_or_default())),
                }
                continue;
            }
            let room = limit.saturating_sub(received.bytes).min(into.room());
            if room == 0 {
                received.leftover = true;
                break;
            }
            let moved = self.arrived.move_to(into, self.left.min(room)).unwrap();
            self.left -= moved;
            received.bytes += moved;
        }
        received.ended = self.ended;
        Ok(received)
    }

    fn send(&mut self, from: &mut Evbuffer, limit: usize) -> Result<usize, Fault> {
        if self.state != State::Open {
            return Err(Fault::NotOpen);
        }
        let n = from.len().min(limit.max(1)).min(1_000);
        self.to_send.add(&[DATA, (n >> 8) as u8, n as u8]).unwrap();
        Ok(from.move_to(&mut self.to_send, n).unwrap())
    }

    fn notify(&mut self) -> Result<(), Fault> {
        if self.state == State::Open {
            self.state = State::Closed;
            self.to_send.add(&[END]).unwrap();
        }
        Ok(())
    }

    fn end_of_arrivals(&mut self) -> Result<(), Fault> {
        if self.ended { Ok(()) } else { Err(Fault::Truncated) }
    }
}

/// What is told of one side.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Handler<Pinned> for Told {
    fn on_event(&mut self, _: &mut Context<'_, Pinned>, event: Event) {
        self.0.lock().push(format!("{event:?}"));
    }
}

fn start(base: &mut ManualBase, builder: Builder, plain: Plain, told: &Told) -> bufferevent::Id {
    let builder = builder.filter(Tls::new(plain)).handler(told.clone());
    builder.configure(|one| one.enable(Interest::BOTH)).start(base).unwrap()
}

#[test]
fn another_library_shakes_hands_carries_data_and_ends() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = UnixStream::pair().unwrap();
    let (server_told, client_told) = (Told::default(), Told::default());
    let server = start(&mut base, Bufferevent::socket(one), Plain::new(true), &server_told);
    let client = start(&mut base, Bufferevent::socket(other), Plain::new(false), &client_told);
    let data: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
    for (id, close) in [(client, false), (server, true)] {
        let one = base.bufferevent(id).unwrap();
        one.write(&data).unwrap();
        assert!(one.filter_mut::<Tls<Plain>>().is_some() && one.filter_mut::<Tls>().is_none());
        if close {
            base.settle().unwrap();
            base.bufferevent(id).unwrap().close();
        }
    }
    base.settle().unwrap();
    assert_eq!(*base.bufferevent(client).unwrap().input(), data);
    assert_eq!(*client_told.0.lock(), ["Connected", "Eof"]);
    assert_eq!(server_told.0.lock()[0], "Connected");
}

#[test]
fn its_errors_and_a_cut_are_told_as_they_are() {
    let _census = Census::begin();
    for (bytes, says) in [(&b"HX"[..], "Protocol(88)"), (b"HD\0\x05abc", "Truncated"), (b"Q", "Protocol(81)")]
    {
        let mut base = ManualBase::new().unwrap();
        let (one, mut peer) = UnixStream::pair().unwrap();
        let told = Told::default();
        start(&mut base, Bufferevent::socket(one), Plain::new(true), &told);
        std::io::Write::write_all(&mut peer, bytes).unwrap();
        base.settle().unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        base.settle().unwrap();
        let told = told.0.lock();
        let last = told.last().unwrap();
        assert!(last.contains("Error") && last.contains(says), "{told:?}");
    }
}

#[test]
fn it_may_wait_for_the_application_and_be_taken_out() {
    let _census = Census::begin();
    let mut base = ManualBase::new().unwrap();
    let (one, other) = Bufferevent::pair();
    let told = Told::default();
    let gate = Arc::new(Mutex::new(Gate::default()));
    let plain = Plain { gate: Some(gate.clone()), ..Plain::new(true) };
    let server = start(&mut base, one, plain, &told);
    start(&mut base, other, Plain::new(false), &told);
    base.settle().unwrap();
    assert!(told.0.lock().is_empty());
    let waker = {
        let mut gate = gate.lock();
        gate.open = true;
        gate.waker.take().unwrap()
    };
    waker.wake();
    base.settle().unwrap();
    assert_eq!(*told.0.lock(), ["Connected", "Connected"]);
    let tls = base.bufferevent(server).unwrap().filter_mut::<Tls<Plain>>().unwrap();
    assert!(tls.take().is_some_and(|plain| plain.is_open()) && tls.engine().is_none());
}
