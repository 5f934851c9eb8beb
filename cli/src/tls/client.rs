//! What one who connects is told of TLS.

use std::path::PathBuf;

use bufferevent_ssl::{Connector, ConnectorBuilder, DangerousConnector, Error, Tls};
use clap::Args;

use super::{Reload, cannot_set_up, identity, read, useless};
use crate::{address::Address, failure::Failure};

/// Whom one who connects by TLS trusts, and who it is. The arguments need the one with the id `secured`.
#[derive(Debug, Clone, Args)]
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
    /// Show this certificate to a server that asks for one; PEM, behind it those that vouch for it; needs --client-key
    #[arg(long, value_name = "FILE", requires_all = ["secured", "client_key"])]
    client_cert: Option<PathBuf>,
    /// The key of that certificate, as PEM, not encrypted; needs --client-cert
    #[arg(long, value_name = "FILE", requires_all = ["secured", "client_cert"])]
    client_key: Option<PathBuf>,
}

impl Trust {
    /// What makes a connection to `address` a TLS one, and what reads its files again, if there are any.
    pub(crate) fn secured(&self, address: &Address) -> Result<(Secured, Option<Reload>), Failure> {
        let connector = self.settings()?.build().map_err(cannot_set_up)?;
        let (args, current) = (self.clone(), connector.clone());
        let reload = Reload::of([&self.ca, &self.client_cert, &self.client_key], move || {
            current.reload(args.settings()?).map_err(cannot_set_up)
        });
        let other = || {
            Failure::Usage(format!("no certificate can be for {address}; --server-name says another name"))
        };
        let name = self.server_name.as_deref().or(address.host()).map(str::to_owned);
        let secured = match self.insecure {
            true => Secured::Anybody(DangerousConnector::new(connector), name),
            false => Secured::Verified(connector, name.ok_or_else(other)?),
        };
        // What is wrong with the name is told now.
        match (secured.connect(), &self.server_name) {
            (Ok(_), _) => Ok((secured, reload)),
            (Err(_), Some(name)) => Err(Failure::Usage(format!(
                "--server-name {name:?}: expected the name of a host, or an address, that a certificate can be for"
            ))),
            (Err(_), None) => Err(other()),
        }
    }

    /// What the arguments ask for, as the files are now.
    fn settings(&self) -> Result<ConnectorBuilder, Failure> {
        let mut builder = Connector::builder();
        if let Some(file) = &self.ca {
            builder = builder.roots_pem(&read(file)?).map_err(|why| useless(file.display(), why))?;
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            builder = builder.identity(identity(certificate, key)?);
        }
        Ok(builder)
    }
}

/// Makes connections TLS ones.
#[derive(Debug, Clone)]
pub(crate) enum Secured {
    Verified(Connector, String),
    /// The name is asked for and not checked.
    Anybody(DangerousConnector, Option<String>),
}

impl Secured {
    pub(crate) fn connect(&self) -> Result<Tls, Error> {
        match self {
            Self::Verified(connector, name) => connector.connect(name),
            Self::Anybody(connector, name) => connector.connect(name.as_deref()),
        }
    }
}
