//! TLS for bufferevents, by OpenSSL.
//!
//! A [`Tls`] is a filter between a bufferevent and what is below it: a socket, a pair, a filter, or TLS again.
//!
//! ```no_run
//! use bufferevent::{Bufferevent, Callbacks, Event, Runtime};
//! use bufferevent_ssl::{Acceptor, Identity};
//!
//! let acceptor = Acceptor::builder().identity(Identity::from_pem_files("cert.pem", "key.pem")?).build()?;
//! let runtime = Runtime::builder().build()?;
//! runtime.listen("127.0.0.1:7443", move |connection, base| {
//!     let hello = Callbacks::new().on_event(|cx, event| {
//!         if matches!(event, Event::Connected) {
//!             drop(cx.write(b"hello"));
//!         }
//!         // What is written is sent first, then the notice that it is the end.
//!         cx.close();
//!     });
//!     Bufferevent::socket(connection).filter(acceptor.accept()).handler(hello).start(base)?;
//!     Ok(())
//! })?;
//! runtime.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The core is an [`Engine`]: one side of a connection, without any I/O. It takes and gives bytes in buffers, so that the same
//! code serves sockets, pairs, filters and tests, and all system calls are bufferevent's own. An [`Acceptor`] makes those of a
//! server, a [`Connector`] those of a client.
//!
//! ```
//! use bufferevent_ssl::{Acceptor, Connector, Evbuffer, Identity, Progress, runtime::Time};
//!
//! let identity = Identity::self_signed(&["example.org"])?;
//! let connector = Connector::builder().roots_pem(&identity.certificate_pem()?)?.build()?;
//! let acceptor = Acceptor::builder().identity(identity).build()?;
//!
//! let (mut client, mut server) = (connector.engine("example.org")?, acceptor.engine());
//! while client.handshake()? == Progress::Pending || server.handshake()? == Progress::Pending {
//!     server.arrived().append(client.to_send())?;
//!     server.handshake()?;
//!     client.arrived().append(server.to_send())?;
//! }
//!
//! client.send(&mut Evbuffer::from(b"hello"), usize::MAX)?;
//! server.arrived().append(client.to_send())?;
//! let mut data = Evbuffer::new();
//! server.receive(&mut data, usize::MAX, Time::ZERO)?;
//! assert_eq!(data, b"hello");
//! # Ok::<(), bufferevent_ssl::Error>(())
//! ```
//!
//! # What is safe by default
//!
//! | | |
//! |---|---|
//! | versions | TLS 1.2 and 1.3 |
//! | who the server is | its certificate and its name are verified; the way out is a [`DangerousConnector`] |
//! | an end without the peer's notice | an error: [`ErrorKind::Truncated`] |
//! | renegotiation, compression, early data | none |
//! | KeyUpdates, small records, long handshakes | bounded: [`Defaults`] |
//! | errors | the whole stack of OpenSSL, and of nobody else's calls |
//!
//! `unsafe` stands in one file, `ffi.rs`.

#![deny(unsafe_code)]

mod acceptor;
mod alpn;
mod backend;
mod call;
mod caught;
mod connector;
mod defaults;
mod engine;
mod error;
mod ffi;
mod flood;
mod identity;
mod lookup;
mod name;
mod origin;
mod pem;
mod sessions;
mod sni;
mod tls;
mod verify;
mod wire;

pub use bufferevent::{Evbuffer, runtime};
pub use openssl;

pub use self::{
    acceptor::{Acceptor, AcceptorBuilder},
    backend::Backend,
    connector::{Connector, ConnectorBuilder, DangerousConnector},
    defaults::*,
    engine::{Engine, Progress, Received},
    error::{Error, ErrorKind},
    identity::Identity,
    lookup::Answer,
    tls::{CloseMode, Tls},
    verify::ClientCertificates,
};
