//! The only unsafe code: what the crate `openssl` does not give, or gives as unsafe.

#![allow(unsafe_code, reason = "calls into OpenSSL; each says why it is sound")]

use std::{
    ffi::{CStr, c_char, c_int, c_long, c_void},
    io::{Read, Write},
    ptr,
};

use foreign_types::{ForeignType, ForeignTypeRef};
use openssl::{
    error::ErrorStack,
    ssl::{ErrorCode, Ssl, SslContextBuilder, SslRef, SslSession, SslStream},
};
use openssl_sys::{self as sys, SSL, SSL_CTRL_MODE, SSL_CTRL_SET_READ_AHEAD, SSL_CTX, SSL_ctrl};

use crate::lookup::{self, Verdict};

type Result<T> = std::result::Result<T, ErrorStack>;

// Of openssl/ssl.h; the sys crate does not have it. The tests below show that it does what it is for.
const SSL_CTRL_CLEAR_MODE: c_int = 78;

unsafe extern "C" {
    fn SSL_free_buffers(ssl: *mut SSL) -> c_int;
    fn SSL_has_pending(ssl: *const SSL) -> c_int;
    fn SSL_rstate_string(ssl: *const SSL) -> *const c_char;
    fn SSL_key_update(ssl: *mut SSL, update: c_int) -> c_int;
    fn SSL_renegotiate(ssl: *mut SSL) -> c_int;
    fn SSL_up_ref(ssl: *mut SSL) -> c_int;
    fn SSL_CTX_set_cert_cb(context: *mut SSL_CTX, callback: Option<CertificateCallback>, data: *mut c_void);
}

/// Sets what the engine relies on, also where the context is the user's own: a call returns after each record that
/// carries no data (AUTO_RETRY off), OpenSSL takes no byte before it needs it (read-ahead off), and a write may move.
pub(crate) fn set_modes(ssl: &mut SslRef) {
    let on = sys::SSL_MODE_ENABLE_PARTIAL_WRITE | sys::SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER;
    control(ssl, SSL_CTRL_MODE, on);
    control(ssl, SSL_CTRL_CLEAR_MODE, sys::SSL_MODE_AUTO_RETRY);
    control(ssl, SSL_CTRL_SET_READ_AHEAD, 0);
}

/// Sets whether OpenSSL gives the memory of its buffers back when they are empty.
pub(crate) fn release_buffers(ssl: &mut SslRef, released: bool) {
    let command = if released { SSL_CTRL_MODE } else { SSL_CTRL_CLEAR_MODE };
    control(ssl, command, sys::SSL_MODE_RELEASE_BUFFERS);
}

/// Frees the buffers, and tells so, unless something of a record is in them. OpenSSL 3.0 makes one to write from when a ticket
/// arrives, and keeps it until something is written.
pub(crate) fn free_buffers<S>(stream: &mut SslStream<S>) -> bool {
    let ssl = stream.ssl().as_ptr();
    // SAFETY: the pointer is that of a live SSL, which nobody else uses as its stream is borrowed mutably. No record is half
    // taken, nor has one begun ("RH"): versions before 3.0.14 would go on reading what they have freed (CVE-2024-4741).
    unsafe {
        SSL_has_pending(ssl) == 0
            && CStr::from_ptr(SSL_rstate_string(ssl)) == c"RH"
            && SSL_free_buffers(ssl) == 1
    }
}

/// Has a KeyUpdate sent with the next write, and one asked for if `ask`.
pub(crate) fn key_update<S>(stream: &mut SslStream<S>, ask: bool) -> Result<()> {
    let ssl = stream.ssl().as_ptr();
    // SAFETY: as in `free_buffers`. SSL_KEY_UPDATE_REQUESTED is 1, SSL_KEY_UPDATE_NOT_REQUESTED 0.
    if unsafe { SSL_key_update(ssl, c_int::from(ask)) } == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Has another handshake begun (TLS 1.2), with the next call.
pub(crate) fn renegotiate<S>(stream: &mut SslStream<S>) -> Result<()> {
    // SAFETY: as in `free_buffers`.
    if unsafe { SSL_renegotiate(stream.ssl().as_ptr()) } == 1 { Ok(()) } else { Err(ErrorStack::get()) }
}

/// Gives an established connection another transport, and the modes above, and drops the transport it has.
pub(crate) fn replace_transport<S, T: Read + Write>(old: SslStream<S>, transport: T) -> Result<SslStream<T>> {
    let pointer = old.ssl().as_ptr();
    // SAFETY: the pointer is that of a live SSL, and the reference that is added is the one that the `Ssl` owns.
    let mut ssl = unsafe {
        SSL_up_ref(pointer);
        Ssl::from_ptr(pointer)
    };
    set_modes(&mut ssl);
    let new = SslStream::new(ssl, transport)?;
    // Not before: the transport that was just freed needs what is freed with `old`. Nothing else was done with `old` meanwhile.
    drop(old);
    Ok(new)
}

/// What stands in the way of a connection whose last call did not go well. The queue of errors must be empty.
pub(crate) fn state_of_failure(ssl: &SslRef) -> ErrorCode {
    // SAFETY: the pointer is that of a live SSL, which is only looked at.
    ErrorCode::from_raw(unsafe { sys::SSL_get_error(ssl.as_ptr(), 0) })
}

type CertificateCallback = extern "C" fn(*mut SSL, *mut c_void) -> c_int;

/// Has [`lookup::verdict`] asked before a connection of `context` needs its certificate.
pub(crate) fn set_certificate_callback(context: &mut SslContextBuilder) {
    // SAFETY: a live context that nobody else uses yet; the callback is a function, and reads no data.
    unsafe { SSL_CTX_set_cert_cb(context.as_ptr(), Some(certificate_callback), ptr::null_mut()) }
}

extern "C" fn certificate_callback(ssl: *mut SSL, _: *mut c_void) -> c_int {
    // SAFETY: OpenSSL calls it, with the live SSL whose handshake it makes, and does nothing else with that meanwhile.
    match lookup::verdict(unsafe { SslRef::from_ptr_mut(ssl) }) {
        Verdict::GoesOn => 1,
        Verdict::Fails => 0,
        Verdict::Waits => -1,
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
    pub(crate) fn resume(&self, ssl: &mut SslRef) -> Result<()> {
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
mod tests;
