//! What a bufferevent under a limit holds, as its runs tell it.

use super::Member;
use crate::{
    bufferevent::{Bufferevent, Phase},
    interest::Direction,
};

impl Bufferevent {
    /// Whether it waits until its limit has memory.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(|member| member.is_held_back(self.held_bytes()))
    }

    /// What the buffers hold in memory.
    fn held_bytes(&self) -> usize {
        self.input.len() + self.output.len() - self.output.unloaded()
    }

    #[cold]
    pub(crate) fn waits_for_memory(&mut self) -> bool {
        let held = self.held_bytes();
        let (Some(member), Some(home)) = (&mut self.memory, &self.home) else { return false };
        member.waits(held, home)
    }

    #[inline]
    pub(crate) fn has_memory_to_count(&self) -> bool {
        let to_count = |member: &Member| !member.is_counted(self.held_bytes());
        self.memory.as_ref().is_some_and(|member| self.phase == Phase::Ended || to_count(member))
    }

    /// Tells the limit what is held now. What has ended is no member any more. True: it is to end.
    #[cold]
    pub(crate) fn count_memory(&mut self) -> bool {
        let [read, written] = Direction::ALL.map(|direction| self.moved(direction));
        let (held, moved) = (self.held_bytes(), read.wrapping_add(written));
        let (Some(member), Some(home)) = (&mut self.memory, &self.home) else { return false };
        let ends = member.count(held, moved, home);
        if self.phase == Phase::Ended {
            self.memory = None;
            return false;
        }
        ends
    }
}
