//! Direct epoll: one system call for a wait, none for a close, and hang-ups told apart.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::{Event, Events, Ready, Register, Selector, Token};

/// An epoll instance with an eventfd inside.
///
/// The eventfd is edge-triggered and never read: each write to it is a new edge, reported to one waiter, and edges that
/// nobody took yet are one.
#[derive(Debug)]
pub(super) struct EpollSelector {
    epoll: OwnedFd,
    waker: OwnedFd,
}

impl EpollSelector {
    pub(super) fn new() -> io::Result<EpollSelector> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let waker = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &waker, data(Token::WAKER), EventFlags::IN | EventFlags::ET)?;
        Ok(EpollSelector { epoll, waker })
    }

    /// Waits to the nanosecond, also on kernels before 5.11, which have no `epoll_pwait2`.
    ///
    /// Plain `epoll_wait` counts milliseconds. So it waits for the whole ones, and what is left, less than one, is
    /// waited for by `ppoll` on the epoll itself. An event in the whole milliseconds costs one system call.
    fn wait_precisely(&self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        // 1. The whole milliseconds.
        let start = Instant::now();
        let whole = Duration::from_millis(timeout.as_millis().min(MAX_MILLIS) as u64);
        if !whole.is_zero() && self.collect(events, Some(whole))? == Ended::Early {
            return Ok(());
        }
        // 2. The rest, unless the first wait overslept it. It is more than one only after MAX_MILLIS.
        let rest = timeout.saturating_sub(start.elapsed());
        if rest.is_zero() || rest >= Duration::from_millis(1) {
            return Ok(());
        }
        let rest = timespec(rest);
        match poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(&rest)) {
            // 3. Something came: collect it.
            Ok(1..) => self.collect(events, Some(Duration::ZERO)).map(drop),
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// One `epoll_wait`. `timeout` is in whole milliseconds.
    #[inline]
    fn collect(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<Ended> {
        let timeout = timeout.map(timespec);
        // On the stack, because rustix's event is not `Send` and a base is.
        let mut raw = [const { MaybeUninit::uninit() }; MAX_BATCH];
        let room = &mut raw[..events.capacity().min(MAX_BATCH)];
        match epoll::wait(&self.epoll, room, timeout.as_ref()) {
            Ok(([], _)) => Ok(Ended::ByTimeout),
            Ok((taken, rest)) => {
                events.fill(rest.is_empty(), taken.iter().map(event));
                Ok(Ended::Early)
            }
            Err(Errno::INTR) => Ok(Ended::Early),
            Err(error) => Err(error.into()),
        }
    }
}

impl Selector for EpollSelector {
    #[inline]
    fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.clear();
        match timeout {
            None | Some(Duration::ZERO) => self.collect(events, timeout).map(drop),
            Some(timeout) => self.wait_precisely(events, timeout),
        }
    }

    fn wake(&self) -> io::Result<()> {
        loop {
            return match rustix::io::write(&self.waker, &1u64.to_ne_bytes()) {
                // The counter is full after 2^64 - 2 wakes; it never is.
                Ok(_) | Err(Errno::AGAIN) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => Err(error.into()),
            };
        }
    }

    fn reports_hangup(&self) -> bool {
        true
    }

    fn needs_rearm(&self) -> bool {
        false
    }
}

impl Register for EpollSelector {
    fn add(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, data(token), EDGES)?)
    }

    fn rearm(&self, _: BorrowedFd<'_>, _: Token, _: Ready) -> io::Result<()> {
        Ok(())
    }

    fn refresh(&self, fd: BorrowedFd<'_>, token: Token) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, data(token), EDGES)?)
    }

    fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    fn forget(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for EpollSelector {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// What a raw event says.
#[inline]
fn event(raw: &epoll::Event) -> Event {
    let (flags, data) = (raw.flags, raw.data);
    let ready = Ready::READABLE.when(flags.contains(EventFlags::IN))
        | Ready::WRITABLE.when(flags.contains(EventFlags::OUT))
        | match flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR) {
            true => ended(flags),
            false => Ready::NONE,
        };
    Event { token: Token(data.u64()), ready }
}

#[cold]
fn ended(flags: EventFlags) -> Ready {
    (Ready::HANGUP | Ready::READABLE).when(flags.contains(EventFlags::RDHUP))
        | (Ready::HANGUP | Ready::BOTH).when(flags.contains(EventFlags::HUP))
        | (Ready::ERROR | Ready::BOTH).when(flags.contains(EventFlags::ERR))
}

/// How one wait ended.
#[derive(PartialEq, Eq)]
enum Ended {
    ByTimeout,
    /// By events or by a signal.
    Early,
}

fn data(token: Token) -> EventData {
    EventData::new_u64(token.0)
}

#[inline]
fn timespec(duration: Duration) -> Timespec {
    // In range: at most MAX_MILLIS.
    Timespec { tv_sec: duration.as_secs() as _, tv_nsec: duration.subsec_nanos() as _ }
}

/// What is asked of every descriptor.
const EDGES: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);

/// What `epoll_wait` takes at most, 24 days; a longer wait returns then, empty.
const MAX_MILLIS: u128 = i32::MAX as u128;

/// Events taken by one system call at most.
const MAX_BATCH: usize = 1024;
