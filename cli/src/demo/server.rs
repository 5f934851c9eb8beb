//! The demo's echo server.

use std::{net::SocketAddr, time::Duration};

use bufferevent::Runtime;
use bufferevent_ssl::Acceptor;
use bufferevent_sync::atomic::{AtomicUsize, Ordering};

use super::sample::Sample;
use crate::{
    failure::Failure,
    running::Running,
    server::{Echo, How, Terms},
};

/// An echo server on a free port of the loopback interface, which speaks TLS.
#[derive(Debug)]
pub(super) struct Server {
    running: Running,
    address: SocketAddr,
}

impl Server {
    /// Serves on `bases` bases, each with a worker of its own: every second connection is THREADSAFE and homed on base
    /// 0, the others are confined to the bases they are accepted for.
    pub(super) fn start(bases: usize, tls: &Acceptor) -> Result<Self, Failure> {
        let runtime = Runtime::builder().workers(bases).bases(bases).build().map_err(Failure::runtime)?;
        let crowded = runtime.bases()[0].clone();
        let accepted = AtomicUsize::new(0);
        let confined = Terms::unlimited(How::Confined { defer: false }, tls.clone());
        let threadsafe = Terms::unlimited(How::Threadsafe { defer: false }, tls.clone());
        let listening = runtime.listen("127.0.0.1:0", move |connection, base| {
            // ORDER: Relaxed; only tells odd from even.
            if accepted.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
                confined.start(Echo::default(), connection, base)
            } else {
                threadsafe.start(Echo::default(), connection, &mut crowded.clone())
            }
        });
        let listener = listening.map_err(|why| Failure::of("cannot listen on 127.0.0.1:0", why))?;
        let address =
            listener.local_addr().ok_or_else(|| Failure::Failed("no loopback address".to_owned()))?;
        Ok(Self { running: Running::start(runtime, "bev-server")?, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the bases and their workers have done so far.
    pub(super) fn sample(&self) -> Sample {
        Sample::of(self.running.runtime())
    }

    pub(super) fn finish(self, grace: Duration) -> Result<(), Failure> {
        self.running.finish(grace)
    }
}
