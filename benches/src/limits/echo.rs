//! An echo server whose connections are in a group that never binds, or in none: goal 13.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bufferevent::{Bufferevent, Context, Event, Handler, RateLimitGroup, Runtime, TokenBucketConfig};

/// An echo server that listens.
pub struct Echo {
    runtime: Runtime,
    address: SocketAddr,
}

impl Echo {
    /// Listens on `address`.
    ///
    /// * `bases`: as many workers; with more than one, connections are THREADSAFE.
    /// * `limited`: they are in a group with ticks of so long, of which no limit is ever reached.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(address: SocketAddr, bases: usize, limited: Option<Duration>) -> io::Result<Self> {
        let runtime = Runtime::builder().workers(bases).bases(bases).build().map_err(io::Error::other)?;
        let group = limited.map(config).transpose()?.map(|config| RateLimitGroup::new(&config));
        let listening = runtime.listen(address, move |connection, base| {
            let mut bufferevent = Bufferevent::socket(connection);
            if let Some(group) = &group {
                bufferevent = bufferevent.rate_limit_group(group);
            }
            let started = match bases {
                1 => bufferevent.handler(Back).start(base).map(drop),
                _ => bufferevent.threadsafe().handler(Back).start(base).map(drop),
            };
            started.map_err(Into::into)
        });
        let listener = listening.map_err(io::Error::other)?;
        let address = listener.local_addr().ok_or_else(|| io::Error::other("not an IP listener"))?;
        Ok(Self { runtime, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `signal` comes.
    ///
    /// # Errors
    /// The selector fails, or the signal cannot be waited for.
    pub fn run_until(self, signal: i32) -> io::Result<()> {
        let runtime = self.runtime.clone();
        let waits = self.runtime.bases()[0].signal(signal, move |_, _| runtime.stop());
        let _signal = waits.map_err(io::Error::other)?;
        self.runtime.run().map_err(io::Error::other)
    }
}

struct Back;

impl Handler for Back {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        // Refused past the cap: it stays until the output has drained.
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

fn config(tick: Duration) -> io::Result<TokenBucketConfig> {
    TokenBucketConfig::new(RATE, RATE, RATE, RATE, Some(tick)).map_err(io::Error::other)
}

/// Bytes per tick.
const RATE: u64 = 1_000_000_000_000;
