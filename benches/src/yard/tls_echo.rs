//! Echo over TLS: what an expert would do with OpenSSL and memory, without a library between.
//!
//! One `recv` into a block of the thread's, as many records out of it as there are, one `send` of what they became. Of the
//! ways to feed OpenSSL by hand this is the cheapest: on a socket of its own it asks for the five bytes of a record's head and
//! then for the rest, and with read-ahead it has to be asked once more whether anything is left.

use std::io::{self, Read, Write};
use std::mem;

use openssl::ssl::{ErrorCode, SslContext, SslStream};
use rustix::event::epoll::EventFlags;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::conn::Conn;
use super::protocol::{Next, Protocol, flush, transient};
use crate::tls;

/// Sends back what it receives, over TLS.
pub(super) struct TlsEcho {
    context: SslContext,
    /// The thread's, lent to one connection at a time.
    memory: Memory,
}

/// What OpenSSL reads from and writes to: empty while the connection is not served.
#[derive(Default)]
pub(super) struct Memory {
    arrived: Box<[u8]>,
    taken: usize,
    end: usize,
    made: Vec<u8>,
}

impl TlsEcho {
    pub(super) fn new(context: SslContext) -> Self {
        let memory = Memory { arrived: vec![0; BLOCK].into_boxed_slice(), ..Memory::default() };
        Self { context, memory }
    }
}

impl Protocol for TlsEcho {
    const INTEREST: EventFlags = EventFlags::IN;
    type State = SslStream<Memory>;

    fn open(&self) -> io::Result<Self::State> {
        Ok(SslStream::new(tls::side(&self.context, true)?, Memory::default())?)
    }

    #[inline]
    fn serve(&mut self, conn: &mut Conn<Self::State>, _: EventFlags, scratch: &mut [u8]) -> Next {
        if conn.rest().is_some() {
            return flush(conn);
        }
        let memory = &mut self.memory;
        match recv(conn.fd(), &mut *memory.arrived, RecvFlags::empty()) {
            Ok((0, _)) => return Next::Close,
            Ok((count, _)) => (memory.taken, memory.end) = (0, count),
            Err(errno) => return transient(errno),
        }
        mem::swap(conn.state().get_mut(), memory);
        let goes_on = echo(conn.state(), scratch);
        mem::swap(conn.state().get_mut(), memory);
        let made = &mut memory.made;
        let sent = if made.is_empty() { Ok(0) } else { send(conn.fd(), made, SendFlags::NOSIGNAL) };
        let next = match sent {
            _ if !goes_on => Next::Close,
            Ok(sent) if sent == made.len() => Next::Same,
            Ok(sent) => conn.wait_to_send(&made[sent..]),
            Err(errno) => match transient(errno) {
                Next::Close => Next::Close,
                _ => conn.wait_to_send(made),
            },
        };
        made.clear();
        next
    }
}

/// Sends back the data of all that has arrived. False if the connection is over: what was made for the peer is sent first.
fn echo(stream: &mut SslStream<Memory>, scratch: &mut [u8]) -> bool {
    loop {
        match stream.ssl_read(scratch) {
            Ok(count) => {
                if stream.ssl_write(&scratch[..count]).is_err() {
                    return false;
                }
            }
            Err(error) if error.code() == ErrorCode::WANT_READ => return true,
            Err(error) => {
                if error.code() == ErrorCode::ZERO_RETURN {
                    // Ours is made in any case.
                    let _ = stream.shutdown();
                }
                return false;
            }
        }
        let memory = stream.get_ref();
        if memory.taken == memory.end && stream.ssl().pending() == 0 {
            return true;
        }
    }
}

impl Read for Memory {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = into.len().min(self.end - self.taken);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        into[..count].copy_from_slice(&self.arrived[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Memory {
    #[inline]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.made.extend_from_slice(from);
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const BLOCK: usize = 64 * 1024;
