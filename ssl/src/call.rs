//! The one way into OpenSSL.
//!
//! OpenSSL keeps a queue of errors for each thread, and looks there first to tell what has become of a call: one entry that
//! somebody else left turns "no data yet" into a fatal error. So a call for a handshake drains the queue, calls, has the result
//! told at once on the same thread, and drains again; nothing else runs in between. One of an established connection drains only
//! if it did not go well, and then asks the connection itself what it lacks, which knows whether it has failed. What went well is
//! told so without the queue, and where data moved nothing of ours is left there.

use openssl::{
    error::ErrorStack,
    ssl::{self, ErrorCode, SslRef, SslStream, SslVerifyMode},
    x509::X509VerifyResult,
};
use openssl_sys::SSL_ERROR_WANT_X509_LOOKUP;

use crate::{
    Error, ErrorKind, caught, ffi,
    wire::{self, Wire},
};

/// What has become of a call that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<T> {
    /// It gave this.
    Done(T),
    /// More must arrive first.
    Starved,
    /// It took a record that carries no data, or all that it was allowed to.
    NoData,
    /// The application must answer first.
    Waits,
    /// The peer has said that it sends no more.
    Ended,
}

/// Calls into OpenSSL over `stream`, with the buffers of its connection, of which it may read `allowance` bytes. Counts in `stale` what
/// others had left in the queue.
#[inline]
pub(crate) fn call<T>(
    stream: &mut SslStream<Wire>,
    buffers: &mut wire::Owned,
    allowance: usize,
    stale: &mut u16,
    operation: impl FnOnce(&mut SslStream<Wire>) -> Result<T, ssl::Error>,
) -> Result<Reply<T>, Error> {
    let shaking = !stream.ssl().is_init_finished();
    if shaking {
        count(stale, &ErrorStack::get());
    }
    let result = buffers.lend(allowance, || operation(stream));
    let panic = caught::take();
    let error = match result {
        Ok(value) if panic.is_none() => {
            if shaking {
                drop(ErrorStack::get());
            }
            return Ok(Reply::Done(value));
        }
        Ok(_) => None,
        Err(error) => Some(error),
    };
    let rest = ErrorStack::get();
    if let Some(message) = panic {
        return Err(Error::panicked(message));
    }
    if let Some(refusal) = buffers.take_refusal() {
        return Err(refusal.into());
    }
    let Some(error) = error else { return Err(Error::new(ErrorKind::Library)) };
    let code = if shaking { error.code() } else { ffi::state_of_failure(stream.ssl()) };
    let reply = match code {
        ErrorCode::WANT_READ if buffers.is_starved() => Reply::Starved,
        ErrorCode::WANT_READ => Reply::NoData,
        // After a fatal error, also one that the peer tells, it is as before the handshake.
        ErrorCode::ZERO_RETURN if shaking || stream.ssl().is_init_finished() => Reply::Ended,
        code if code.as_raw() == SSL_ERROR_WANT_X509_LOOKUP => Reply::Waits,
        _ => return Err(failure(stream.ssl(), shaking, error, rest)),
    };
    if !shaking {
        count(stale, error.ssl_error().unwrap_or(&rest));
    }
    Ok(reply)
}

/// Calls into OpenSSL where there is no stream yet.
pub(crate) fn prepare<T>(
    stale: &mut u16,
    operation: impl FnOnce() -> Result<T, ErrorStack>,
) -> Result<T, Error> {
    count(stale, &ErrorStack::get());
    operation().map_err(|stack| Error::with_stack(ErrorKind::Library, stack))
}

fn count(stale: &mut u16, of_others: &ErrorStack) {
    let found = of_others.errors().len();
    *stale = stale.saturating_add(u16::try_from(found).unwrap_or(u16::MAX));
}

/// What a failed call is to the user. The stack is OpenSSL's whole queue (T-20).
fn failure(ssl: &SslRef, shaking: bool, error: ssl::Error, rest: ErrorStack) -> Error {
    let code = error.code();
    let stack = error.ssl_error().cloned().unwrap_or(rest);
    let kind = match code {
        ErrorCode::SSL if Error::alert_in(&stack).is_some() => ErrorKind::Alert,
        ErrorCode::SSL if shaking && is_refused(ssl) => ErrorKind::Certificate,
        ErrorCode::SSL if shaking => ErrorKind::Handshake,
        ErrorCode::SSL => ErrorKind::Protocol,
        // The wire never ends, and what it refuses was told, so OpenSSL wants nothing but more input.
        _ => ErrorKind::Impossible,
    };
    let error = Error::with_stack(kind, stack);
    if kind == ErrorKind::Certificate { error.about_certificate(ssl.verify_result()) } else { error }
}

/// Whether the certificate of the peer is no good, and matters.
fn is_refused(ssl: &SslRef) -> bool {
    ssl.verify_mode() != SslVerifyMode::NONE && ssl.verify_result() != X509VerifyResult::OK
}
