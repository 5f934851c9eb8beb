//! Who one is: a certificate, those that vouch for it, and its key.

use std::{fs, path::Path};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    ssl::{SslContextBuilder, SslRef},
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

use crate::{Error, pem};

/// A certificate with its key, and the chain of those that vouch for it. Cheap to clone.
#[derive(Clone)]
pub struct Identity {
    certificate: X509,
    chain: Vec<X509>,
    key: PKey<Private>,
}

impl Identity {
    /// Reads it from PEM: the certificate first, then those that vouch for it, each by the next; and the key, which is not
    /// encrypted.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if there is no certificate, or if the key is not its key: it
    /// says which of the two is missing, damaged, or encrypted.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let mut chain = pem::certificates(chain)?;
        let key = pem::private_key(key)?;
        let certificate = chain.remove(0);
        if !certificate.public_key()?.public_eq(&key) {
            return Err(Error::configuration("the key is not that of the certificate"));
        }
        Ok(Self { certificate, chain, key })
    }

    /// Reads it from files, as [`from_pem`](Self::from_pem). They may be one file.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if one cannot be read, and those of [`from_pem`](Self::from_pem).
    pub fn from_pem_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        let (chain, key) = (chain.as_ref(), key.as_ref());
        let named = |error: Error| error.of_file(&format!("{}, {}", chain.display(), key.display()));
        Self::from_pem(&read(chain)?, &read(key)?).map_err(named)
    }

    /// Makes one that vouches for itself, for `names` (or addresses) and a week: for tests, and for trying things out. No client
    /// trusts it that was not told to.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if a name is none that fits into a certificate.
    pub fn self_signed(names: &[&str]) -> Result<Self, Error> {
        let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
        let certificate = self_signed(names, &key)?;
        Ok(Self { certificate, chain: Vec::new(), key })
    }

    /// The certificate as PEM, without the chain: what who trusts it is given.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if OpenSSL cannot write it.
    pub fn certificate_pem(&self) -> Result<Vec<u8>, Error> {
        Ok(self.certificate.to_pem()?)
    }

    /// The key as PEM, not encrypted.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if OpenSSL cannot write it.
    pub fn key_pem(&self) -> Result<Vec<u8>, Error> {
        Ok(self.key.private_key_to_pem_pkcs8()?)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &PKey<Private> {
        &self.key
    }

    /// The certificate.
    #[must_use]
    pub fn certificate(&self) -> &X509 {
        &self.certificate
    }

    /// Has all connections of a context use it.
    pub(crate) fn install(&self, context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
        context.set_certificate(&self.certificate)?;
        context.set_private_key(&self.key)?;
        self.chain.iter().try_for_each(|certificate| context.add_extra_chain_cert(certificate.clone()))
    }

    /// Has one connection use it, in place of that of its context.
    pub(crate) fn install_on(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_certificate(&self.certificate)?;
        ssl.set_private_key(&self.key)?;
        self.chain.iter().try_for_each(|certificate| ssl.add_chain_cert(certificate.clone()))
    }
}

/// Reads a file; an error names it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::from(source).detailed(path.display().to_string()))
}

fn self_signed(names: &[&str], key: &PKey<Private>) -> Result<X509, Error> {
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match name.parse::<std::net::IpAddr>() {
            Ok(address) => alternatives.ip(&address.to_string()),
            Err(_) => alternatives.dns(name),
        };
    }
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    // Two of one subject could not both be trusted: who looks for the one would find the other.
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, "bufferevent, self-signed")?;
    subject.append_entry_by_nid(Nid::SERIALNUMBER, &serial.to_hex_str()?)?;
    let subject = subject.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(7)?)?;
    let context = builder.x509v3_context(None, None);
    let (alternatives, constraints) =
        (alternatives.build(&context)?, BasicConstraints::new().critical().ca().build()?);
    builder.append_extension(alternatives)?;
    builder.append_extension(constraints)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
