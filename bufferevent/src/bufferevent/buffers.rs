//! Data in and out.

use bufferevent_evbuffer::Evbuffer;

use super::{Bufferevent, Room};
use crate::{
    error::{Error, Result},
    interest::Interest,
};

impl Bufferevent {
    /// What has been received and not yet taken. Its back is frozen: only the connection adds to it.
    ///
    /// # Libevent
    /// `bufferevent_get_input`.
    #[doc(alias = "bufferevent_get_input")]
    pub fn input(&mut self) -> &mut Evbuffer {
        &mut self.input
    }

    /// What is to be sent. Its front is frozen: only the connection drains it. An addition past the cap is refused whole.
    ///
    /// What is put here is sent at the end of the run. A [range of a file](bufferevent_evbuffer::FileSegment) is read, a
    /// block of 64 KiB at most for each write, when all before it has been sent: by the worker that runs the bufferevent, or
    /// by who drops a guard, and they wait if the system has to read the disk. One that cannot be read, or has become shorter,
    /// is an [`Event::Error`](crate::Event::Error) of the write direction with [`Cause::File`](crate::Cause::File); what is
    /// before it is sent. Its bytes count for the marks at once, for the cap once they are read, so files of any size fit.
    /// # Libevent
    /// `bufferevent_get_output`.
    #[doc(alias = "bufferevent_get_output")]
    pub fn output(&mut self) -> &mut Evbuffer {
        &mut self.output
    }

    /// Both buffers, input first, to move data from one to the other.
    pub fn buffers(&mut self) -> (&mut Evbuffer, &mut Evbuffer) {
        (&mut self.input, &mut self.output)
    }

    /// Appends a copy of `data` to the output.
    ///
    /// With WRITE disabled it waits there. Otherwise it is sent at the end of the run, which may be after this call.
    /// # Errors
    /// [`Error::Closed`] after `close` or `abort`; [`Error::ShutDown`] after `shutdown`; [`Error::Unlinked`] if it is half of a pair
    /// and the other is gone; [`Error::OutputFull`] if it would pass the cap,
    /// [`Error::TooLarge`] if it is more than the cap by itself. Nothing is taken then.
    /// # Libevent
    /// `bufferevent_write`. Differs: reports [`Room::Full`] at the high mark and refuses past the cap.
    #[doc(alias = "bufferevent_write")]
    pub fn write(&mut self, data: &[u8]) -> Result<Room> {
        self.check_room(data.len())?;
        self.output.add(data)?;
        Ok(self.room())
    }

    /// Moves all of `data` to the output, copying nothing. Bytes of files in it do not count for the cap.
    ///
    /// # Errors
    /// As [`Bufferevent::write`]; `data` keeps what it has.
    /// # Libevent
    /// `bufferevent_write_buffer`.
    #[doc(alias = "bufferevent_write_buffer")]
    pub fn write_buffer(&mut self, data: &mut Evbuffer) -> Result<Room> {
        self.check_room(data.len() - data.unloaded())?;
        self.output.append(data)?;
        Ok(self.room())
    }

    /// Takes up to `out.len()` bytes from the input; answers how many, 0 if there are none.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the front of the input is frozen.
    /// # Libevent
    /// `bufferevent_read`.
    #[doc(alias = "bufferevent_read")]
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        Ok(self.input.remove(out)?)
    }

    /// Moves the whole input to the back of `target`, copying nothing.
    ///
    /// # Errors
    /// [`Error::Buffer`] if the front of the input or the back of `target` is frozen, or `target` is full.
    /// # Libevent
    /// `bufferevent_read_buffer`.
    #[doc(alias = "bufferevent_read_buffer")]
    pub fn read_buffer(&mut self, target: &mut Evbuffer) -> Result<()> {
        Ok(target.append(&mut self.input)?)
    }

    /// A refusal counts as full: [`Event::Drained`](crate::Event::Drained) tells when to try again.
    fn check_room(&mut self, more: usize) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Closed);
        }
        if self.shut.asked.contains(Interest::WRITE) {
            return Err(Error::ShutDown);
        }
        if self.is_unlinked() {
            return Err(Error::Unlinked);
        }
        match self.output.limit() {
            Some(cap) if more > cap => Err(Error::TooLarge { more, cap }),
            Some(cap) if more > self.output.room() => {
                self.told.output_full |= !self.output.is_empty();
                Err(Error::OutputFull { more, queued: self.output.len() - self.output.unloaded(), cap })
            }
            _ => Ok(()),
        }
    }

    /// Whether the output has room, and remembers that it was told.
    pub(crate) fn room(&mut self) -> Room {
        if !self.write.high.is_reached(self.output.len()) {
            return Room::Some;
        }
        self.told.output_full = true;
        Room::Full
    }
}
