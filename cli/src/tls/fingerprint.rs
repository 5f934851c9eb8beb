//! The fingerprint of a certificate, by which people tell it from others.

use std::fmt;

use bufferevent_ssl::{
    Identity,
    openssl::{error::ErrorStack, hash::MessageDigest},
};

/// The SHA-256 of a certificate, in the form of `openssl x509 -fingerprint -sha256`.
#[derive(Debug, Clone)]
pub(crate) struct Fingerprint(Vec<u8>);

impl Fingerprint {
    pub(super) fn of(identity: &Identity) -> Result<Self, ErrorStack> {
        Ok(Self(identity.certificate().digest(MessageDigest::sha256())?.to_vec()))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "";
        for byte in &self.0 {
            write!(f, "{before}{byte:02X}")?;
            before = ":";
        }
        Ok(())
    }
}
