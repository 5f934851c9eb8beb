//! From ciphertext to data.

use bufferevent::{Evbuffer, runtime::Time};

use super::{Engine, State, saturated};
use crate::{
    BYTES_PER_CALL, Error, ErrorKind, RECORD, RECORDS_PER_CALL, REPLIES, call::Reply, ffi, wire::Levels,
};

/// What a call of [`Engine::receive`] brought.
#[must_use]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes of data that were appended.
    pub bytes: usize,
    /// Whether it stopped at a limit: there may be more, of which no new byte will tell.
    pub leftover: bool,
    /// Whether the peer has said that it sends no more. What arrives after that is dropped.
    pub ended: bool,
}

impl Engine {
    /// Appends the data of what has arrived to `into`: at most `limit` bytes, as much as there is room for, and that of
    /// [`BYTES_PER_CALL`] bytes and [`RECORDS_PER_CALL`] records.
    ///
    /// * `now`, by any clock that does not step back: records without data are allowed at a rate.
    ///
    /// It may make replies, which are in [`to_send`](Self::to_send); while [`REPLIES`] bytes of them are there, nothing is taken.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`], [`Alert`](ErrorKind::Alert), [`Panicked`](ErrorKind::Panicked) or
    /// [`Flood`](ErrorKind::Flood), once: then [`Broken`](ErrorKind::Broken). What was appended before stands.
    /// [`ErrorKind::NotOpen`] before the handshake is over; [`ErrorKind::Io`] if `into` is frozen.
    pub fn receive(&mut self, into: &mut Evbuffer, limit: usize, now: Time) -> Result<Received, Error> {
        match self.state {
            State::Open | State::Closed => {}
            State::Idle | State::Handshaking => return Err(Error::new(ErrorKind::NotOpen)),
            State::Broken => return Err(Error::new(ErrorKind::Broken)),
        }
        let mut received = Received::default();
        let mut records = 0;
        let mut levels = self.wire.levels();
        let arrived = levels.arrived;
        self.replies = self.replies.min(saturated(levels.to_send));
        while !self.ended && self.may_have_more(levels) {
            let room = RECORD.min(limit - received.bytes).min(into.room());
            let fed = records == RECORDS_PER_CALL || arrived - levels.arrived >= BYTES_PER_CALL;
            if room == 0 || fed || self.replies as usize >= REPLIES {
                received.leftover = true;
                break;
            }
            records += 1;
            let (reply, after) = self.receive_record(into, room, levels)?;
            levels = after;
            match reply {
                Reply::Done(n) => {
                    received.bytes += n;
                    self.flood.data();
                }
                Reply::Starved | Reply::Waits => break,
                Reply::NoData if self.flood.allows(now) => {}
                Reply::NoData => return Err(self.broken(ErrorKind::Flood)),
                Reply::Ended => self.ended = true,
            }
        }
        received.ended = self.ended;
        if received.ended {
            self.arrived().drain(usize::MAX)?;
        }
        Ok(received)
    }

    /// Appends at most `room` bytes, of one record. Tells what is on the wire after it, if this is what was there before.
    fn receive_record(
        &mut self,
        into: &mut Evbuffer,
        room: usize,
        before: Levels,
    ) -> Result<(Reply<usize>, Levels), Error> {
        // No data is longer than its ciphertext: an echo of 64 bytes needs no block of 16 KiB.
        let most = before.arrived.saturating_add(self.held.into()).clamp(1, room);
        let mut space = into.reserve_contiguous(most)?;
        let reply = self.call(|stream| {
            let space = space.as_mut_slice();
            let room = room.min(space.len());
            stream.ssl_read(&mut space[..room])
        })?;
        let after = self.wire.levels();
        let taken = u16::try_from(before.arrived - after.arrived).unwrap_or(u16::MAX);
        self.held = self.held.saturating_add(taken);
        self.replies += saturated(after.to_send - before.to_send);
        match reply {
            Reply::Done(n) => {
                space.commit(n)?;
                if self.pending() == 0 {
                    self.held = 0;
                }
            }
            Reply::Starved => self.unproven = false,
            // Only a handshake does.
            Reply::Waits => {}
            Reply::NoData => {
                self.held = 0;
                if let Some(stream) = &mut self.stream {
                    ffi::free_buffers(stream);
                }
            }
            Reply::Ended => self.held = 0,
        }
        Ok((reply, after))
    }

    /// Whether OpenSSL could give anything: it has data, or there is something for it to take.
    fn may_have_more(&self, levels: Levels) -> bool {
        self.unproven || levels.arrived > 0 || self.held > 0 && self.pending() > 0
    }
}
