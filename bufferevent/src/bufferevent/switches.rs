//! Each direction on or off.

use super::{Bufferevent, Phase};
use crate::{
    interest::{Direction, Interest},
    pending::Due,
};

impl Bufferevent {
    /// Switches directions on. Data that waits for it is handled before the run ends; input that was read before
    /// `disable` brings a read callback, since the one that was due may have been dropped.
    ///
    /// `enable(WRITE)` with an empty output brings one write callback as soon as the socket is writable. While a connect
    /// is under way it only sets the switch.
    /// # Libevent
    /// `bufferevent_enable`.
    #[doc(alias = "bufferevent_enable")]
    pub fn enable(&mut self, directions: Interest) {
        if self.is_closing() {
            return;
        }
        let directions = self.unless_shut(directions);
        let reads = directions.contains(Interest::READ) && !self.enabled.contains(Interest::READ);
        self.enabled = self.enabled | directions;
        if self.layer_mut().is_some_and(|layer| layer.start_again(directions)) {
            self.unusual();
        }
        self.restart_timeouts(directions);
        if reads && self.is_readable() {
            self.pending.read(Due::Io);
        }
        if directions.contains(Interest::WRITE) && self.phase == Phase::Open && self.output.is_empty() {
            self.told.announce_writable = true;
            self.unusual();
        }
    }

    /// Reading that was shut down stays off.
    pub(crate) fn unless_shut(&self, directions: Interest) -> Interest {
        directions.difference(self.shut.asked.difference(Interest::WRITE))
    }

    /// Switches directions off: when this returns no read or write callback of them starts any more. What is in the
    /// buffers stays.
    ///
    /// # Libevent
    /// `bufferevent_disable`. Differs: a callback that was scheduled before is dropped.
    #[doc(alias = "bufferevent_disable")]
    pub fn disable(&mut self, directions: Interest) {
        if self.is_closing() {
            // What was written before is sent still (D15), and all that was due is dropped.
            return;
        }
        self.enabled = self.enabled.difference(directions);
        for direction in [Direction::Read, Direction::Write] {
            if directions.contains(direction.into()) {
                self.pending.cancel(direction);
                if let Some(later) = &mut self.later {
                    later.cancel(direction);
                }
            }
        }
        if directions.contains(Interest::WRITE) {
            self.told.announce_writable = false;
        }
    }

    /// The directions that are switched on; WRITE alone at first.
    ///
    /// # Libevent
    /// `bufferevent_get_enabled`.
    #[doc(alias = "bufferevent_get_enabled")]
    pub fn enabled(&self) -> Interest {
        self.enabled
    }
}
