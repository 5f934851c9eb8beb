//! TLS of the servers and of those who connect, as the arguments say.

mod client;
mod fingerprint;
mod reload;
mod server;

use std::{fmt, fs, path::Path};

use bufferevent::Cause;
use bufferevent_ssl::{Acceptor, Connector, Error, ErrorKind, Identity};

pub(crate) use self::{
    client::{Secured, Trust},
    fingerprint::Fingerprint,
    reload::{Reload, read_again},
    server::ServerTls,
};
use crate::failure::Failure;

/// The names of a certificate that is made for the occasion.
const OURSELVES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Both sides of servers that only this process talks to: a certificate that is made now, and a client that trusts it and no
/// other.
pub(crate) fn among_ourselves() -> Result<(Acceptor, Secured), Failure> {
    let sides = || {
        let identity = Identity::self_signed(&OURSELVES)?;
        let connector = Connector::builder().roots_pem(&identity.certificate_pem()?)?.build()?;
        let acceptor = Acceptor::builder().identity(identity).build()?;
        Ok((acceptor, Secured::Verified(connector, OURSELVES[0].to_owned())))
    };
    sides().map_err(cannot_set_up)
}

fn cannot_set_up(why: Error) -> Failure {
    Failure::of("cannot set up TLS", why)
}

/// Whether a connection has ended without the peer's notice.
pub(crate) fn is_truncation(cause: &Cause) -> bool {
    let Cause::Filter(error) = cause else { return false };
    error.downcast_ref().is_some_and(|error: &Error| error.kind() == ErrorKind::Truncated)
}

/// Who one is, from two files.
fn identity(certificate: &Path, key: &Path) -> Result<Identity, Failure> {
    Identity::from_pem(&read(certificate)?, &read(key)?)
        .map_err(|why| useless(format_args!("{} with {}", certificate.display(), key.display()), why))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|why| Failure::of(format_args!("cannot read {}", file.display()), why))
}

fn useless(file: impl fmt::Display, why: Error) -> Failure {
    Failure::of(format_args!("cannot use {file}"), why)
}
