//! A timer descriptor inside a base's selector, for those who wait for the selector's descriptor from outside.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::{
    clock::Time,
    error::Result,
    selector::{AnySelector, Ready, Registered, Token},
};

/// Makes the selector readable when the time comes. Never read: it is registered edge-triggered.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: Registered<OwnedFd>,
    set: Option<Time>,
}

/// A slot that no base reaches; its events wake, and that is all they are for.
pub(super) const TOKEN: Token = Token::new(u32::MAX, 0);

impl Alarm {
    pub(super) fn new(selector: &Arc<AnySelector>) -> Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let timer = Registered::new(selector, timer, TOKEN).map_err(|(_, error)| error)?;
        Ok(Self { timer, set: None })
    }

    /// Rings at `deadline`, or not at all. A system call only if that changed, or if the deadline has passed: the ring for
    /// it may have been for an earlier timer of the same tick.
    pub(super) fn set(&mut self, deadline: Option<Time>, now: Time) -> io::Result<()> {
        if self.set == deadline && deadline.is_none_or(|at| at > now) {
            return Ok(());
        }
        self.set = deadline;
        let left = deadline.map_or(0, |at| at.since(now).as_nanos().max(1) as u64);
        let it_value = Timespec { tv_sec: (left / 1_000_000_000) as _, tv_nsec: (left % 1_000_000_000) as _ };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            self.timer.source(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval, it_value },
        )?;
        self.timer.rearm(TOKEN, Ready::READABLE)
    }
}
