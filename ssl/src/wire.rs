//! What OpenSSL reads from and writes to: buffers of ours, never a socket.
//!
//! A connection owns its buffers. OpenSSL's object has a [`Wire`], which leads to those that are [lent](Owned::lend) on this thread for the
//! call that is under way.

use std::{cell::Cell, io, mem::ManuallyDrop};

use bufferevent::{
    Evbuffer,
    evbuffer::{self, transport::Transport as _},
};

/// What every connection has for a transport. Reads what has arrived, appends what is to be sent, and never refuses to.
///
/// So a write never has to be repeated, and the only thing that OpenSSL can lack is more input. Nothing in here panics.
#[derive(Debug)]
pub(crate) struct Wire;

/// The two directions of the wire.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// What has arrived from the peer.
    pub(crate) arrived: Evbuffer,
    /// What is to be sent to it.
    pub(crate) to_send: Evbuffer,
    /// Bytes that the call may still read.
    allowance: usize,
    /// Whether there was nothing when it was asked last: the only proof that nothing is left to be taken.
    starved: bool,
    /// Why one of them did not do what the call asked of it.
    refusal: Option<evbuffer::Error>,
}

/// The buffers of one connection. It has none where both would be empty, as they are while it is idle.
#[derive(Debug, Default)]
pub(crate) struct Owned(Option<Box<Buffers>>);

/// How many bytes are where.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Levels {
    pub(crate) arrived: usize,
    pub(crate) to_send: usize,
}

thread_local! {
    /// Those of the call that is under way: of the innermost, as a callback may make calls for another connection. They have an owner,
    /// and nothing is to be dropped here: so it lasts as long as the thread, whose end may close connections.
    static CURRENT: Cell<ManuallyDrop<Option<Box<Buffers>>>> = const { Cell::new(ManuallyDrop::new(None)) };

    /// Empty buffers that no connection has: one pair for each thread.
    static SPARE: Cell<Option<Box<Buffers>>> = const { Cell::new(None) };
}

impl Owned {
    /// The buffers, of the thread's if it has none.
    #[inline]
    pub(crate) fn buffers(&mut self) -> &mut Buffers {
        self.0.get_or_insert_with(|| SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default())
    }

    /// Gives the buffers to the thread if they are empty, and nobody has done anything to them that would be of this connection.
    #[inline]
    pub(crate) fn rest(&mut self) {
        let are_as_new =
            |buffers: &mut Box<Buffers>| buffers.arrived.is_as_new() && buffers.to_send.is_as_new();
        if let Some(buffers) = self.0.take_if(are_as_new) {
            // A thread that ends takes none.
            let _ = SPARE.try_with(|spare| spare.set(Some(buffers)));
        }
    }

    #[inline]
    pub(crate) fn levels(&self) -> Levels {
        let levels = |has: &Buffers| Levels { arrived: has.arrived.len(), to_send: has.to_send.len() };
        self.0.as_deref().map_or_else(Levels::default, levels)
    }

    /// Whether OpenSSL has asked for more than there was.
    pub(crate) fn is_starved(&self) -> bool {
        self.0.as_ref().is_some_and(|buffers| buffers.starved)
    }

    /// Why one of them did not do what the last call asked of it: frozen by who has them, or no memory.
    pub(crate) fn take_refusal(&mut self) -> Option<evbuffer::Error> {
        self.0.as_mut().and_then(|buffers| buffers.refusal.take())
    }

    /// Lends them to [`Wire`] for what `operation` calls on this thread, which may read `allowance` bytes.
    #[inline]
    pub(crate) fn lend<R>(&mut self, allowance: usize, operation: impl FnOnce() -> R) -> R {
        let buffers = self.buffers();
        (buffers.allowance, buffers.starved, buffers.refusal) = (allowance, false, None);
        let outer = replace_current(self.0.take());
        let _lent = Lent { owner: self, outer };
        operation()
    }
}

impl Buffers {
    #[cold]
    fn refuse(&mut self, why: evbuffer::Error) -> io::Error {
        self.refusal = Some(why);
        io::ErrorKind::BrokenPipe.into()
    }
}

/// Takes the buffers back, also from a call that unwinds.
struct Lent<'a> {
    owner: &'a mut Owned,
    outer: Option<Box<Buffers>>,
}

impl Drop for Lent<'_> {
    #[inline]
    fn drop(&mut self) {
        self.owner.0 = replace_current(self.outer.take());
    }
}

/// Those of the call that is under way, while something is done with them, which may call an observer: that may make calls itself, and
/// panic.
struct Current(Option<Box<Buffers>>);

impl Current {
    #[inline]
    fn take() -> Self {
        Self(replace_current(None))
    }

    fn buffers(&mut self) -> io::Result<&mut Buffers> {
        self.0.as_deref_mut().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Current {
    #[inline]
    fn drop(&mut self) {
        replace_current(self.0.take());
    }
}

impl io::Read for Wire {
    #[inline]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut current = Current::take();
        let buffers = current.buffers()?;
        buffers.starved = buffers.arrived.is_empty();
        let most = into.len().min(buffers.allowance);
        if buffers.starved || most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = buffers.arrived.remove(&mut into[..most]).map_err(|refusal| buffers.refuse(refusal))?;
        buffers.allowance -= n;
        Ok(n)
    }
}

impl io::Write for Wire {
    /// Fails only where there is no memory, or where who has the buffer froze it: that breaks the connection.
    #[inline]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut current = Current::take();
        let buffers = current.buffers()?;
        buffers.to_send.add(from).map_err(|refusal| buffers.refuse(refusal))?;
        Ok(from.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[inline]
fn replace_current(buffers: Option<Box<Buffers>>) -> Option<Box<Buffers>> {
    ManuallyDrop::into_inner(CURRENT.replace(ManuallyDrop::new(buffers)))
}

#[cfg(test)]
mod tests {
    use std::{
        io::{ErrorKind, Read, Write},
        panic::{AssertUnwindSafe, catch_unwind},
    };

    use bufferevent::evbuffer::End;

    use super::*;

    #[test]
    fn it_starves_only_when_nothing_has_arrived() {
        let mut owned = Owned::default();
        owned.buffers().arrived.add(b"abc").unwrap();
        let mut read = || owned.lend(usize::MAX, || Wire.read(&mut [0; 8]).map_err(|error| error.kind()));
        assert_eq!((read(), read()), (Ok(3), Err(ErrorKind::WouldBlock)));
        assert!(owned.is_starved());
    }

    #[test]
    fn what_is_read_is_bounded_by_the_allowance() {
        let mut owned = Owned::default();
        owned.buffers().arrived.add(b"abc").unwrap();
        owned.lend(2, || {
            assert_eq!(Wire.read(&mut [0; 8]).unwrap(), 2);
            assert_eq!(Wire.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        });
        assert!(!owned.is_starved(), "there is more, it may not be read");
        assert_eq!(owned.levels().arrived, 1);
    }

    #[test]
    fn what_is_written_is_taken_whole() {
        let mut owned = Owned::default();
        owned.lend(0, || (0..100).for_each(|_| assert_eq!(Wire.write(&[7; 20_000]).unwrap(), 20_000)));
        assert_eq!(owned.levels().to_send, 2_000_000);
    }

    #[test]
    fn a_refusal_is_of_one_call() {
        let mut owned = Owned::default();
        owned.buffers().to_send.freeze(End::Back);
        owned.lend(0, || Wire.write(b"refused").unwrap_err());
        owned.buffers().to_send.unfreeze(End::Back);
        owned.lend(0, || Wire.write(b"taken").unwrap());
        assert_eq!(owned.take_refusal(), None, "OpenSSL may go on where it was refused something");
    }

    #[test]
    fn it_leads_to_the_buffers_of_the_innermost_call_also_after_a_panic() {
        let (mut one, mut other) = (Owned::default(), Owned::default());
        let mut inner = || other.lend(0, || Wire.write_all(b"inner").map(|()| panic!("in a call")));
        one.lend(0, || {
            Wire.write_all(b"outer").unwrap();
            let unwound = catch_unwind(AssertUnwindSafe(&mut inner));
            assert!(unwound.is_err());
            Wire.write_all(b", again").unwrap();
        });
        assert_eq!(one.buffers().to_send, b"outer, again");
        assert_eq!(other.buffers().to_send, b"inner");
        assert_eq!(Wire.write(b"nobody's").unwrap_err().kind(), ErrorKind::NotConnected);
    }

    #[test]
    fn an_observer_may_make_calls_itself_and_panic() {
        let mut owned = Owned::default();
        let _observer = owned.buffers().to_send.observe(|_, _| {
            let mut other = Owned::default();
            other.lend(0, || Wire.write_all(b"of its own").unwrap());
            assert_eq!(other.buffers().to_send, b"of its own");
            panic!("it may");
        });
        let unwound = owned.lend(0, || catch_unwind(|| Wire.write(b"data")));
        assert!(unwound.is_err());
        assert_eq!(owned.buffers().to_send, b"data");
    }

    #[test]
    fn empty_buffers_are_the_threads_and_others_are_its_own() {
        let (mut one, mut other) = (Owned::default(), Owned::default());
        let buffers: *const Buffers = one.buffers();
        one.rest();
        assert!(one.0.is_none());
        assert!(std::ptr::eq(other.buffers(), buffers));
        other.buffers().to_send.add(b"kept").unwrap();
        other.rest();
        assert_eq!(other.levels().to_send, 4);
        assert!(one.buffers().to_send.is_empty());
    }

    #[test]
    fn what_somebody_has_capped_frozen_or_observed_is_lent_to_no_other() {
        let spoils: [fn(&mut Buffers); 3] = [
            |buffers| buffers.to_send.set_limit(Some(3)),
            |buffers| buffers.to_send.freeze(End::Back),
            |buffers| {
                let _observer = buffers.arrived.observe(|_, _| panic!("it is of another connection"));
            },
        ];
        for spoil in spoils {
            let (mut one, mut other) = (Owned::default(), Owned::default());
            spoil(one.buffers());
            one.rest();
            other.lend(0, || Wire.write_all(b"more than three").unwrap());
            other.buffers().arrived.add(b"arrived").unwrap();
        }
    }
}
