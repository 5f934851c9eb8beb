//! Flushes through a filter.

use super::{FlushMode, layer::Calling};
use crate::{
    bufferevent::Bufferevent,
    defaults::FINISH_CALLS,
    interest::{Direction, Interest},
};

impl Bufferevent {
    /// Gives the filter what is to be sent, then flushes what is `below`. True: something moved.
    pub(crate) fn flush_down(&mut self, mode: FlushMode, below: FlushMode) -> bool {
        let mut moved = false;
        for call in 0..FINISH_CALLS {
            let Some(mode) = self.flush_mode(Direction::Write, call, mode) else { break };
            let Some((lend, mode)) = self.loaded(self.to_send().len, mode) else { break };
            let cap = self.layer().map_or(0, |layer| layer.lower.output.room());
            let calling = Calling { mode, lend, limit: cap, usual: cap, room: cap, now: self.time() };
            let Some(bytes) = self.call_output(&calling, 0) else { break };
            moved |= bytes.consumed + bytes.produced > 0;
        }
        moved |= self.flush_below(Interest::WRITE, below);
        self.look_below();
        moved
    }

    /// Flushes down as long as something moves, but not one for ever that takes nothing of the output and gives and gives.
    pub(super) fn flush_all(&mut self, mode: FlushMode) {
        let mut idle = 0;
        while idle < FINISH_CALLS {
            let written = self.moved(Direction::Write);
            if !self.flush_down(mode, FlushMode::Normal) {
                break;
            }
            idle = if self.moved(Direction::Write) == written { idle + 1 } else { 0 };
        }
    }

    /// Flushes what is below, then gives the filter what has arrived. True: something moved.
    pub(crate) fn flush_up(&mut self, mode: FlushMode) -> bool {
        let mut moved = self.flush_below(Interest::READ, mode);
        for call in 0..FINISH_CALLS {
            let Some(mode) = self.flush_mode(Direction::Read, call, mode) else { break };
            let cap = self.input_cap.room(self.input.len());
            let now = self.time();
            let calling = Calling { mode, lend: usize::MAX, limit: cap, usual: cap, room: cap, now };
            let Some(bytes) = self.call_input(&calling, 0) else { break };
            moved |= bytes.consumed + bytes.produced > 0;
        }
        self.look_below();
        moved
    }

    /// How the filter is to be called again, when it was so often.
    fn flush_mode(&self, direction: Direction, calls: u32, mode: FlushMode) -> Option<FlushMode> {
        let layer = self.layer().filter(|_| self.enabled.contains(direction.into()))?;
        let (side, supply, cap) = match direction {
            Direction::Read => (&layer.incoming, layer.arrived(), self.input_cap.room(self.input.len())),
            Direction::Write => (&layer.outgoing, self.to_send(), layer.lower.output.room()),
        };
        if cap == 0 || !layer.is_sound() || layer.greets() || side.has_ended() {
            return None;
        }
        if direction == Direction::Read && side.due(supply, cap) == Some(FlushMode::Finished) {
            // All has arrived: what it keeps is the rest.
            return Some(FlushMode::Finished);
        }
        (side.goes_on(supply, cap) || calls == 0 && mode != FlushMode::Normal).then_some(mode)
    }

    fn flush_below(&mut self, direction: Interest, mode: FlushMode) -> bool {
        let moved = self.layer_mut().is_some_and(|layer| layer.lower.flush_open(direction, mode));
        self.hear_from_below();
        moved
    }
}
