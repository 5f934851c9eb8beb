//! The only unsafe code: what the crate `openssl` does not give, or gives as unsafe.

#![allow(unsafe_code, reason = "calls into OpenSSL; each says why it is sound")]

use std::{
    ffi::{c_int, c_long},
    ptr,
};

use foreign_types::ForeignTypeRef;
use openssl::{
    error::ErrorStack,
    ssl::{SslRef, SslSession, SslStream},
};
use openssl_sys::{self as sys, SSL, SSL_CTRL_MODE, SSL_CTRL_SET_READ_AHEAD, SSL_ctrl};

// Of openssl/ssl.h; the sys crate has neither. The tests below show that they do what they are for.
const SSL_CTRL_CLEAR_MODE: c_int = 78;
const SSL_KEY_UPDATE_NOT_REQUESTED: c_int = 0;
const SSL_KEY_UPDATE_REQUESTED: c_int = 1;

unsafe extern "C" {
    fn SSL_key_update(ssl: *mut SSL, update: c_int) -> c_int;
}

/// Sets what the engine relies on, also where the context is the user's own: a call returns after each record that
/// carries no data (AUTO_RETRY off), OpenSSL takes no byte before it needs it (read-ahead off), and a write may move.
pub(crate) fn set_modes(ssl: &mut SslRef) {
    let on = sys::SSL_MODE_ENABLE_PARTIAL_WRITE | sys::SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
    control(ssl, SSL_CTRL_MODE, on);
    control(ssl, SSL_CTRL_CLEAR_MODE, sys::SSL_MODE_AUTO_RETRY);
    control(ssl, SSL_CTRL_SET_READ_AHEAD, 0);
}

/// Has a KeyUpdate sent with the next write, and one asked for if `ask`.
pub(crate) fn key_update<S>(stream: &mut SslStream<S>, ask: bool) -> Result<(), ErrorStack> {
    let update = if ask { SSL_KEY_UPDATE_REQUESTED } else { SSL_KEY_UPDATE_NOT_REQUESTED };
    // SAFETY: the pointer is that of a live SSL, which nobody else uses as its stream is borrowed mutably.
    if unsafe { SSL_key_update(stream.ssl().as_ptr(), update) } == 1 {
        Ok(())
    } else {
        Err(ErrorStack::get())
    }
}

/// A session, and the context it is of.
#[derive(Clone)]
pub(crate) struct Session {
    session: SslSession,
    /// An address, never followed. It is that of no other context while this lives: the store that this is kept in is owned by
    /// its context.
    context: usize,
}

impl Session {
    /// Notes that `session` was made by `ssl`, and so is of its context.
    pub(crate) fn of(ssl: &SslRef, session: SslSession) -> Self {
        Self { session, context: ssl.ssl_context().as_ptr().addr() }
    }

    /// Has `ssl` resume it; does nothing if that is of another context.
    pub(crate) fn resume(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        if self.context != ssl.ssl_context().as_ptr().addr() {
            return Ok(());
        }
        // SAFETY: the session is of the context of `ssl`, as was just checked.
        unsafe { ssl.set_session(&self.session) }
    }

    pub(crate) fn session(&self) -> &SslSession {
        &self.session
    }
}

fn control(ssl: &mut SslRef, command: c_int, argument: c_long) -> c_long {
    // SAFETY: a live SSL that nobody else uses, as above; the commands of this file read no pointer.
    unsafe { SSL_ctrl(ssl.as_ptr(), command, argument, ptr::null_mut()) }
}

#[cfg(test)]
mod tests {
    use openssl::ssl::{Ssl, SslContext, SslMethod};

    use super::*;

    const SSL_CTRL_GET_READ_AHEAD: c_int = 40;

    fn ssl() -> Ssl {
        let mut builder = SslContext::builder(SslMethod::tls()).unwrap();
        builder.set_mode(openssl::ssl::SslMode::AUTO_RETRY);
        builder.set_read_ahead(true);
        Ssl::new(&builder.build()).unwrap()
    }

    #[test]
    fn the_modes_are_those_the_engine_relies_on() {
        let mut ssl = ssl();
        assert_ne!(control(&mut ssl, SSL_CTRL_MODE, 0) & sys::SSL_MODE_AUTO_RETRY, 0);
        assert_eq!(control(&mut ssl, SSL_CTRL_GET_READ_AHEAD, 0), 1);
        set_modes(&mut ssl);
        let modes = control(&mut ssl, SSL_CTRL_MODE, 0);
        assert_eq!(modes & sys::SSL_MODE_AUTO_RETRY, 0);
        assert_ne!(modes & sys::SSL_MODE_ENABLE_PARTIAL_WRITE, 0);
        assert_ne!(modes & sys::SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER, 0);
        assert_eq!(control(&mut ssl, SSL_CTRL_GET_READ_AHEAD, 0), 0);
    }

    #[test]
    fn a_key_update_is_refused_before_the_handshake_and_says_why() {
        let mut stream = SslStream::new(ssl(), std::io::empty()).unwrap();
        let error = key_update(&mut stream, true).unwrap_err();
        assert!(!error.errors().is_empty());
        assert!(ErrorStack::get().errors().is_empty());
    }
}
