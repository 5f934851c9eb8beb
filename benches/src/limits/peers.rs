//! The other ends of all connections, on one thread: what reads all there is, or writes all that fits.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use bufferevent::runtime::{Clock, Time};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::ClockId;

use super::Way;
use super::members::Members;
use crate::cpu_time::cpu_time;

pub(super) struct Peers {
    set: OwnedFd,
    events: Vec<Event>,
    block: Vec<u8>,
    streams: Vec<TcpStream>,
    /// Bytes that came to each.
    received: Vec<u64>,
    way: Way,
}

/// How things stand at a moment.
pub(super) struct Sample {
    pub(super) at: Time,
    /// Bytes that each member has moved.
    pub(super) moved: Vec<u64>,
    /// That the process has used, without this thread.
    pub(super) cpu: Duration,
}

impl Peers {
    pub(super) fn new(streams: Vec<TcpStream>, way: Way) -> io::Result<Self> {
        let set = epoll::create(CreateFlags::CLOEXEC)?;
        let interest = match way {
            Way::Read => EventFlags::OUT,
            Way::Write => EventFlags::IN,
        };
        for (number, stream) in streams.iter().enumerate() {
            epoll::add(&set, stream, EventData::new_u64(number as u64), interest)?;
        }
        let (events, block) = (Vec::with_capacity(streams.len()), vec![7; BLOCK]);
        Ok(Self { set, events, block, received: vec![0; streams.len()], streams, way })
    }

    /// Does its part until `until`.
    pub(super) fn run_until(&mut self, until: Time, clock: &Clock) -> io::Result<()> {
        loop {
            let left = until.since(clock.now());
            if left.is_zero() {
                return Ok(());
            }
            if self.go_round(left)? < MUCH {
                // Some more will be there then: it is the members that are measured.
                thread::sleep(left.min(PAUSE));
            }
        }
    }

    /// Looks how things stand.
    pub(super) fn look(&mut self, members: &Members) -> io::Result<Sample> {
        let at = members.now();
        if self.way == Way::Write {
            // What has been written has been moved.
            self.go_round(Duration::ZERO)?;
        }
        let moved = match self.way {
            Way::Read => members.read(),
            Way::Write => self.received.clone(),
        };
        let [process, own] = [ClockId::ProcessCPUTime, ClockId::ThreadCPUTime].map(cpu_time);
        Ok(Sample { at, moved, cpu: process.saturating_sub(own) })
    }

    /// Moves what can be on all connections, after waiting for `wait` at most for the first. Answers how many bytes.
    fn go_round(&mut self, wait: Duration) -> io::Result<usize> {
        let Self { set, events, block, streams, received, way } = self;
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        events.clear();
        match epoll::wait(&*set, spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut all = 0;
        for event in events.iter() {
            let number = event.data.u64() as usize;
            let stream = &mut streams[number];
            let moved = match way {
                Way::Read => move_all(|| stream.write(block))?,
                Way::Write => move_all(|| stream.read(block))?,
            };
            received[number] += moved as u64;
            all += moved;
        }
        Ok(all)
    }
}

/// Calls `step` until it would block, but not for ever. Answers how many bytes that moved.
fn move_all(mut step: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let mut moved = 0;
    while moved < MUCH {
        match step() {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => moved += n,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(moved)
}

const BLOCK: usize = 256 * 1024;
/// Bytes after which another round follows at once.
const MUCH: usize = 1 << 20;
const PAUSE: Duration = Duration::from_millis(1);
