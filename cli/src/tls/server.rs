//! What a server is told of TLS.

use std::{fs, path::PathBuf};

use bufferevent_ssl::{Acceptor, ClientCertificates, Error, Identity};
use clap::{ArgGroup, Args};

use super::{OURSELVES, fingerprint::Fingerprint, identity, read, useless};
use crate::failure::Failure;

/// Whether a server speaks TLS, and as whom.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("identity")))]
pub(crate) struct ServerTls {
    /// Speak TLS; the certificate in this file, as PEM, and behind it those that vouch for it; needs --tls-key
    #[arg(long, value_name = "FILE", group = "identity", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM, not encrypted; needs --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate for localhost, 127.0.0.1 and ::1 that is made now, for a week; its fingerprint is told in the
    /// second line of output
    #[arg(long, group = "identity")]
    self_signed: bool,
    /// Write that certificate to this file, as PEM, in place of what is there: who is given it can trust the server, as `bev load --ca` and `curl --cacert`
    #[arg(long, value_name = "FILE", requires = "self_signed", conflicts_with = "tls_cert")]
    save_cert: Option<PathBuf>,
    /// Refuse clients without a certificate that one in this file, as PEM, vouches for; needs --tls-cert or --self-signed
    #[arg(long, value_name = "FILE", requires = "identity")]
    tls_client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// What makes a connection a TLS one, and the fingerprint of a certificate that nobody knows yet; `None` without TLS.
    pub(crate) fn speaking(&self) -> Result<Option<(Acceptor, Option<Fingerprint>)>, Failure> {
        let (identity, fingerprint) = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => (identity(certificate, key)?, None),
            _ if self.self_signed => {
                let (identity, fingerprint) =
                    self_signed().map_err(|why| Failure::of("cannot make a certificate", why))?;
                self.save(&identity)?;
                (identity, Some(fingerprint))
            }
            _ => return Ok(None),
        };
        let mut builder = Acceptor::builder().identity(identity);
        if let Some(file) = &self.tls_client_ca {
            let clients = ClientCertificates::required(&read(file)?);
            builder = builder.client_certificates(clients.map_err(|why| useless(file.display(), why))?);
        }
        let acceptor = builder.build().map_err(|why| Failure::of("cannot set up TLS", why))?;
        Ok(Some((acceptor, fingerprint)))
    }

    fn save(&self, identity: &Identity) -> Result<(), Failure> {
        let Some(file) = &self.save_cert else { return Ok(()) };
        let pem = identity.certificate_pem().map_err(|why| Failure::of("cannot make a certificate", why))?;
        fs::write(file, pem).map_err(|why| Failure::of(format_args!("cannot write {}", file.display()), why))
    }
}

fn self_signed() -> Result<(Identity, Fingerprint), Error> {
    let identity = Identity::self_signed(&OURSELVES)?;
    let fingerprint = Fingerprint::of(&identity)?;
    Ok((identity, fingerprint))
}
