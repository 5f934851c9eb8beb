//! Stacks on several workers: what deadlocks libevent's THREADSAFE filters comes to an end here.

use std::{
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use bufferevent::{
    Bufferevent, Context, Event, Filter, FilterFn, Handle, Handler, Runtime, UnlockedHandler, testing::Census,
};
use bufferevent_sync::Mutex;

const BYTES: usize = 400_000;

/// Writes what it reads to the other.
struct Relay {
    other: Arc<Mutex<Option<Handle>>>,
}

impl Relay {
    fn pass(&self, data: Vec<u8>) {
        let other = self.other.lock().clone();
        let other = other.expect("both are started before anything runs");
        for piece in data.chunks(1_000) {
            while other.write(piece).is_err() {
                thread::yield_now();
            }
        }
    }

    fn end(&self) {
        if let Some(other) = self.other.lock().take() {
            other.close();
        }
    }
}

fn take(bufferevent: &mut Bufferevent) -> Vec<u8> {
    let data = bufferevent.input().to_vec();
    bufferevent.input().drain(usize::MAX).unwrap();
    data
}

impl Handler for Relay {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let data = take(cx);
        self.pass(data);
    }

    fn on_event(&mut self, _: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            self.end();
        }
    }
}

impl UnlockedHandler for Relay {
    fn on_read(&mut self, bufferevent: &Handle) {
        let Ok(mut guard) = bufferevent.lock() else { return };
        let data = take(&mut guard);
        drop(guard);
        self.pass(data);
    }

    fn on_event(&mut self, _: &Handle, event: Event) {
        if event.is_terminal() {
            self.end();
        }
    }
}

fn passing() -> impl Filter {
    FilterFn::new().on_input(|call| call.pass()).on_output(|call| call.pass())
}

/// F-19 (no filter runs inside of a write, and no write waits for a loop): each callback of one writes to the other, on two workers, through two filters each, while a third thread
/// locks both, and all bytes pass both ways.
fn two_that_write_to_each_other(unlocked: bool) {
    let runtime = Runtime::builder().workers(2).bases(2).build().unwrap();
    let others: [Arc<Mutex<Option<Handle>>>; 2] = Default::default();
    let mut peers = Vec::new();
    let handles: Vec<Handle> = (0..2)
        .map(|at| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            peers.push(theirs);
            let relay = Relay { other: Arc::clone(&others[1 - at]) };
            let builder = Bufferevent::socket(ours)
                .filter(passing())
                .filter(passing())
                .caps(Some(1 << 22), None)
                .threadsafe();
            let base = &mut runtime.bases()[at].clone();
            match unlocked {
                true => builder.unlocked(relay).start(base).unwrap(),
                false => builder.handler(relay).start(base).unwrap(),
            }
        })
        .collect();
    for (other, handle) in others.iter().zip(&handles) {
        *other.lock() = Some(handle.clone());
    }
    let running = thread::spawn({
        let runtime = runtime.clone();
        move || runtime.run()
    });
    let ends: Vec<_> = peers
        .into_iter()
        .enumerate()
        .map(|(at, mut peer)| {
            let mut writer = peer.try_clone().unwrap();
            let sends = thread::spawn(move || writer.write_all(&vec![at as u8; BYTES]).unwrap());
            let receives = thread::spawn(move || {
                let mut got = vec![9; BYTES];
                peer.read_exact(&mut got).unwrap();
                (got, peer)
            });
            (sends, receives)
        })
        .collect();
    while !ends.iter().all(|(_, receives)| receives.is_finished()) {
        let (one, other) = bufferevent::lock_both(&handles[0], &handles[1]).unwrap();
        assert!(!one.is_closing() && !other.is_closing());
        drop((one, other));
        thread::yield_now();
    }
    let mut peers = Vec::new();
    for (at, (sends, receives)) in ends.into_iter().enumerate() {
        sends.join().unwrap();
        let (got, peer) = receives.join().unwrap();
        assert!(got == vec![1 - at as u8; BYTES]);
        peers.push(peer);
    }
    drop(peers);
    handles.iter().for_each(|handle| drop(handle.close_and_wait().unwrap()));
    runtime.stop();
    running.join().unwrap().unwrap();
}

#[test]
fn two_stacks_that_write_to_each_other_from_two_threads_finish() {
    let _census = Census::begin();
    two_that_write_to_each_other(false);
}

#[test]
fn two_stacks_that_write_to_each_other_from_unlocked_callbacks_finish() {
    let _census = Census::begin();
    two_that_write_to_each_other(true);
}
