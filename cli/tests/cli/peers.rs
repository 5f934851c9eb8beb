//! Who is on either side of a proxy: over TCP, or over TLS by OpenSSL itself, with blocking calls.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

use bufferevent_ssl::Connector;
use bufferevent_ssl::openssl::ssl::{
    ShutdownState, Ssl, SslAcceptor, SslConnector, SslContext, SslFiletype, SslMethod, SslStream, SslVersion,
};
use rustix::net::sockopt::set_socket_linger;

use crate::{
    proxy::before_us,
    support::{Server, bounded},
    tls::Files,
};

/// What a proxy speaks to each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Speaks {
    pub(crate) tls_to_client: bool,
    pub(crate) tls_to_upstream: bool,
}

impl Speaks {
    pub(crate) const ALL: [Self; 4] = [
        Self { tls_to_client: false, tls_to_upstream: false },
        Self { tls_to_client: true, tls_to_upstream: false },
        Self { tls_to_client: false, tls_to_upstream: true },
        Self { tls_to_client: true, tls_to_upstream: true },
    ];
}

impl std::fmt::Display for Speaks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let side = |tls| if tls { "TLS" } else { "plain" };
        write!(f, "{} in, {} out", side(self.tls_to_client), side(self.tls_to_upstream))
    }
}

/// A proxy to a server that the test plays.
pub(crate) struct Between {
    pub(crate) proxy: Server,
    pub(crate) listener: TcpListener,
    files: Files,
    speaks: Speaks,
}

impl Between {
    pub(crate) fn start(test: &str, speaks: Speaks, args: &[&str]) -> Self {
        let files = Files::of(test);
        let mut all = args.to_vec();
        if speaks.tls_to_client {
            all.extend(files.as_server());
        }
        if speaks.tls_to_upstream {
            all.extend(["--upstream-tls", "--ca", &files.certificate]);
        }
        let (proxy, listener) = before_us(&all);
        Self { proxy, listener, files, speaks }
    }

    /// Both ends of a connection through the proxy: the client, and the server.
    pub(crate) fn connect(&self) -> (Peer, Peer) {
        let client = self.proxy.connect();
        let server = || bounded(self.listener.accept().unwrap().0);
        // The proxy may connect before it has shaken hands, or after: both sides are there at once.
        std::thread::scope(|scope| {
            let server = scope.spawn(|| match self.speaks.tls_to_upstream {
                true => Peer::Tls(shake(&self.acceptor(), server(), |ssl, stream| ssl.accept(stream))),
                false => Peer::Plain(server()),
            });
            let client = match self.speaks.tls_to_client {
                true => Peer::Tls(shake(&self.connector(), client, |ssl, stream| ssl.connect(stream))),
                false => Peer::Plain(client),
            };
            (client, server.join().unwrap())
        })
    }

    /// Makes clients that need no socket.
    pub(crate) fn connector_of_ours(&self) -> Connector {
        let roots = fs::read(&self.files.certificate).unwrap();
        Connector::builder().roots_pem(&roots).unwrap().build().unwrap()
    }

    fn acceptor(&self) -> SslContext {
        let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
        acceptor.set_certificate_chain_file(&self.files.certificate).unwrap();
        acceptor.set_private_key_file(&self.files.key, SslFiletype::PEM).unwrap();
        acceptor.build().into_context()
    }

    fn connector(&self) -> SslContext {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_ca_file(&self.files.certificate).unwrap();
        connector.set_min_proto_version(Some(SslVersion::TLS1_2)).unwrap();
        connector.build().into_context()
    }
}

fn shake<E: std::fmt::Debug>(
    context: &SslContext,
    stream: TcpStream,
    shake: impl FnOnce(Ssl, TcpStream) -> Result<SslStream<TcpStream>, E>,
) -> SslStream<TcpStream> {
    shake(Ssl::new(context).unwrap(), stream).unwrap()
}

/// One end of a connection through a proxy.
pub(crate) enum Peer {
    Plain(TcpStream),
    Tls(SslStream<TcpStream>),
}

impl Peer {
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Ends its side as one does who has said everything.
    pub(crate) fn end(&mut self) {
        if let Self::Tls(stream) = self {
            stream.shutdown().unwrap();
        }
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Ends its side as if it were cut off: without the notice of TLS.
    pub(crate) fn truncate(&self) {
        self.socket().shutdown(Shutdown::Write).unwrap();
    }

    /// Crashes.
    pub(crate) fn reset(self) {
        set_socket_linger(self.socket(), Some(Duration::ZERO)).unwrap();
        // OpenSSL would say that it ends, if it were dropped with the connection.
        if let Self::Tls(mut stream) = self {
            stream.set_shutdown(ShutdownState::SENT | ShutdownState::RECEIVED);
        }
    }

    /// Reads all that comes; whether its end is one: over TLS it takes the notice, and a reset is none.
    pub(crate) fn read_out(&mut self) -> (Vec<u8>, bool) {
        let mut came = Vec::new();
        let read = self.read_to_end(&mut came);
        let is_end = match self {
            Self::Plain(_) => true,
            Self::Tls(stream) => stream.get_shutdown().contains(ShutdownState::RECEIVED),
        };
        (came, read.is_ok() && is_end)
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buf),
            Self::Tls(stream) => stream.read(buf),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buf),
            Self::Tls(stream) => stream.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
