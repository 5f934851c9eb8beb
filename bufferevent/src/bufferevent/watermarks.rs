//! Watermarks, caps, and the most that one system call moves.

use super::{Bufferevent, Half};
use crate::{
    bound::saturated,
    defaults::{MAX_SINGLE_READ, MAX_SINGLE_WRITE},
    error::{Error, Result},
    interest::{Direction, Interest},
    pending::Due,
};

impl Bufferevent {
    /// Sets the watermarks of the input.
    ///
    /// * `low`, bytes, default 0: the read callback waits until this much is buffered.
    /// * `high`, bytes, `None` = no limit, the default: at this much reading is suspended.
    ///
    /// Takes effect at once, on data already buffered too. A low mark above the input's cap counts as that.
    /// # Errors
    /// [`Error::InvalidWatermark`] if `high < low`, or is 0; nothing is changed.
    /// # Libevent
    /// `bufferevent_setwatermark(EV_READ)`. Differs: "no limit" is `None`, not 0.
    #[doc(alias = "bufferevent_setwatermark")]
    pub fn set_read_watermark(&mut self, low: usize, high: Option<usize>) -> Result<()> {
        check_marks(low, high)?;
        if high == Some(0) {
            return Err(Error::InvalidWatermark { low, high: 0 });
        }
        let lowered = low < self.read.low;
        (self.read.low, self.read.high) = (low, high.into());
        if lowered && self.enabled.contains(Interest::READ) && self.is_readable() {
            self.pending.read(Due::Io);
        }
        Ok(())
    }

    /// Whether there is input that meets the low mark.
    pub(super) fn is_readable(&self) -> bool {
        self.is_live() && !self.input.is_empty() && self.input.len() >= self.read_low()
    }

    /// Sets the watermarks of the output.
    ///
    /// * `low`, bytes, default 0: the write callback comes when no more than this is left.
    /// * `high`, bytes, `None` = no limit, default 256 KiB: from here on `write` reports [`Room::Full`](crate::Room::Full).
    ///
    /// # Errors
    /// [`Error::InvalidWatermark`] if `high < low`; nothing is changed.
    /// # Libevent
    /// `bufferevent_setwatermark(EV_WRITE)`.
    #[doc(alias = "bufferevent_setwatermark")]
    pub fn set_write_watermark(&mut self, low: usize, high: Option<usize>) -> Result<()> {
        check_marks(low, high)?;
        let reached = low > self.write.low && self.output.len() > self.write.low && self.output.len() <= low;
        (self.write.low, self.write.high) = (low, high.into());
        if reached && self.is_live() {
            self.output_is_low();
        }
        Ok(())
    }

    /// The low and high mark of one direction.
    ///
    /// # Libevent
    /// `bufferevent_getwatermark`.
    #[doc(alias = "bufferevent_getwatermark")]
    pub fn watermark(&self, direction: Direction) -> (usize, Option<usize>) {
        let half = self.half(direction);
        (half.low, half.high.get())
    }

    /// Sets the most output there may be in memory, `None` = no limit; default 4 MiB. More than is there now is kept, and
    /// further writes are refused. Bytes of files that are not read yet do not count.
    pub fn set_output_cap(&mut self, cap: Option<usize>) {
        self.output.set_limit(cap);
    }

    /// Sets the most input there may be, `None` = no limit; default 4 MiB. There reading is suspended and
    /// [`Event::InputFull`](crate::Event::InputFull) told once.
    pub fn set_input_cap(&mut self, cap: Option<usize>) {
        self.input_cap = cap.into();
    }

    /// Sets the most bytes one read takes, and one run reads: 1 to 64 KiB; 0 or more than that means 64 KiB, the
    /// default, of which a run makes up to four.
    ///
    /// # Libevent
    /// `bufferevent_set_max_single_read`, whose default is 16 KiB.
    #[doc(alias = "bufferevent_set_max_single_read")]
    pub fn set_max_single_read(&mut self, bytes: usize) {
        let most = if bytes == 0 { MAX_SINGLE_READ } else { bytes.min(MAX_SINGLE_READ) };
        self.max_single[Direction::Read.index()] = saturated(most);
    }

    /// Sets the most bytes one write sends, and one run writes, less than 4 GiB; 0 means the default, 64 KiB.
    ///
    /// # Libevent
    /// `bufferevent_set_max_single_write`, whose default is 16 KiB.
    #[doc(alias = "bufferevent_set_max_single_write")]
    pub fn set_max_single_write(&mut self, bytes: usize) {
        let most = if bytes == 0 { MAX_SINGLE_WRITE } else { bytes };
        self.max_single[Direction::Write.index()] = saturated(most);
    }

    /// The most bytes one read or write moves.
    ///
    /// # Libevent
    /// `bufferevent_get_max_single_read`, `bufferevent_get_max_single_write`.
    #[doc(alias = "bufferevent_get_max_single_read")]
    #[doc(alias = "bufferevent_get_max_single_write")]
    #[inline]
    pub fn max_single(&self, direction: Direction) -> usize {
        self.max_single[direction.index()] as usize
    }

    /// The low mark of the input, or its cap if that is less: no more will come.
    #[inline]
    pub(crate) fn read_low(&self) -> usize {
        self.input_cap.at_most(self.read.low)
    }

    pub(super) fn half(&self, direction: Direction) -> &Half {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }
}

fn check_marks(low: usize, high: Option<usize>) -> Result<()> {
    match high {
        Some(high) if high < low => Err(Error::InvalidWatermark { low, high }),
        _ => Ok(()),
    }
}
