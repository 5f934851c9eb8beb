//! TLS of the servers and of those who connect, as the arguments say.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use bufferevent_ssl::{Acceptor, ClientCertificates, Connector, DangerousConnector, Error, Identity, Tls};
use clap::{ArgGroup, Args};

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
    sides().map_err(|why: Error| Failure::of("cannot set up TLS", why))
}

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
    /// Speak TLS with a certificate for localhost that is made now and that nobody trusts
    #[arg(long, group = "identity")]
    self_signed: bool,
    /// Refuse clients without a certificate that one in this file, as PEM, vouches for; needs --tls-cert or --self-signed
    #[arg(long, value_name = "FILE", requires = "identity")]
    tls_client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// What makes a connection a TLS one; `None` without TLS.
    pub(crate) fn acceptor(&self) -> Result<Option<Acceptor>, Failure> {
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Identity::from_pem(&read(certificate)?, &read(key)?).map_err(|why| {
                    useless(format_args!("{} with {}", certificate.display(), key.display()), why)
                })?
            }
            _ if self.self_signed => Identity::self_signed(&OURSELVES)
                .map_err(|why| Failure::of("cannot make a certificate", why))?,
            _ => return Ok(None),
        };
        let mut builder = Acceptor::builder().identity(identity);
        if let Some(file) = &self.tls_client_ca {
            let clients = ClientCertificates::required(&read(file)?);
            builder = builder.client_certificates(clients.map_err(|why| useless(file.display(), why))?);
        }
        builder.build().map(Some).map_err(|why| Failure::of("cannot set up TLS", why))
    }
}

/// Whom one who connects by TLS trusts. Its arguments need that of the group `secured`.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// Trust the certificates in this file, as PEM, and no other [default: those that the system trusts]
    #[arg(long, value_name = "FILE", requires = "secured", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Trust whoever answers: anybody on the way may be that
    #[arg(long, requires = "secured")]
    insecure: bool,
    /// The name that the certificate must be for [default: that of the address]
    #[arg(long, value_name = "NAME", requires = "secured")]
    server_name: Option<String>,
}

impl Trust {
    /// What makes a connection to `address` a TLS one.
    pub(crate) fn secured(&self, address: &str) -> Result<Secured, Failure> {
        let mut builder = Connector::builder();
        if let Some(file) = &self.ca {
            builder = builder.roots_pem(&read(file)?).map_err(|why| useless(file.display(), why))?;
        }
        let connector = builder.build().map_err(|why| Failure::of("cannot set up TLS", why))?;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let secured = match self.insecure {
            true => Secured::Anybody(DangerousConnector::new(connector), name),
            false => Secured::Verified(connector, name),
        };
        // What is wrong with the name is told now.
        secured.connect().map_err(|why| Failure::Usage(why.to_string()))?;
        Ok(secured)
    }
}

/// Makes connections TLS ones.
#[derive(Debug, Clone)]
pub(crate) enum Secured {
    Verified(Connector, String),
    Anybody(DangerousConnector, String),
}

impl Secured {
    pub(crate) fn connect(&self) -> Result<Tls, Error> {
        match self {
            Self::Verified(connector, name) => connector.connect(name),
            Self::Anybody(connector, name) => connector.connect(Some(name)),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|why| Failure::of(format_args!("cannot read {}", file.display()), why))
}

fn useless(file: impl fmt::Display, why: Error) -> Failure {
    Failure::of(format_args!("cannot use {file}"), why)
}
