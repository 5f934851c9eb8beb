//! What a server is told of TLS.

use std::{fs, path::PathBuf};

use bufferevent_ssl::{Acceptor, AcceptorBuilder, ClientCertificates, Error, Identity};
use clap::{ArgGroup, Args};

use super::{OURSELVES, Reload, cannot_set_up, fingerprint::Fingerprint, identity, read, useless};
use crate::failure::Failure;

/// Whether a server speaks TLS, and as whom.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("identity")))]
pub(crate) struct ServerTls {
    /// Speak TLS; the certificate in this file, as PEM, and behind it those that vouch for it; needs --tls-key
    #[arg(long, value_name = "FILE", group = "identity", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM, not encrypted; needs --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Speak TLS with a certificate for localhost, 127.0.0.1 and ::1 that is made now, for a week; its fingerprint is told in the
    /// second line of output, or in the first with --json
    #[arg(long, group = "identity")]
    self_signed: bool,
    /// Write that certificate to this file, as PEM, in place of what is there: who is given it can trust the server, as `bev load --ca` and `curl --cacert`
    #[arg(long, value_name = "FILE", requires = "self_signed", conflicts_with = "tls_cert")]
    save_cert: Option<PathBuf>,
    /// Refuse clients without a certificate that one in this file, as PEM, vouches for; needs --tls-cert or --self-signed
    #[arg(long, value_name = "FILE", requires = "identity")]
    tls_client_ca: Option<PathBuf>,
    /// Take it for an end like any other if a client's connection ends without TLS's notice: half of what it sent may be taken for all,
    /// and whoever cut it may have wanted that; needs --tls-cert or --self-signed
    #[arg(long, requires = "identity")]
    pub(crate) tls_allow_truncation: bool,
}

/// A server's side of TLS.
#[derive(Debug)]
pub(crate) struct Speaking {
    pub(crate) acceptor: Acceptor,
    /// Of a certificate that nobody knows yet.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// What reads its files again; `None` if there are none.
    pub(crate) reload: Option<Reload>,
}

impl ServerTls {
    /// What makes a connection a TLS one; `None` without TLS.
    pub(crate) fn speaking(&self) -> Result<Option<Speaking>, Failure> {
        let made = self.self_signed.then(self_signed).transpose();
        let made = made.map_err(|why| Failure::of("cannot make a certificate", why))?;
        if made.is_none() && self.tls_cert.is_none() {
            return Ok(None);
        }
        let (identity, fingerprint) = made.unzip();
        if let Some(identity) = &identity {
            self.save(identity)?;
        }
        let acceptor = self.settings(identity.as_ref())?.build().map_err(cannot_set_up)?;
        let (args, current) = (self.clone(), acceptor.clone());
        let reload = Reload::of([&self.tls_cert, &self.tls_key, &self.tls_client_ca], move || {
            current.reload(args.settings(identity.as_ref())?).map_err(cannot_set_up)
        });
        Ok(Some(Speaking { acceptor, fingerprint, reload }))
    }

    /// What the arguments ask for, as the files are now, with the identity that was `made` if one was.
    fn settings(&self, made: Option<&Identity>) -> Result<AcceptorBuilder, Failure> {
        let mut builder = Acceptor::builder();
        if let Some(identity) = made {
            builder = builder.identity(identity.clone());
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.identity(identity(certificate, key)?);
        }
        if let Some(file) = &self.tls_client_ca {
            let clients = ClientCertificates::required(&read(file)?);
            builder = builder.client_certificates(clients.map_err(|why| useless(file.display(), why))?);
        }
        Ok(builder)
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
