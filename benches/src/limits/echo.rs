//! An echo server whose connections are in a group that never binds, or in none: goal 13.

use std::io;
use std::net::SocketAddr;

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
    /// * `limited`: they are in a group of which no limit is ever reached.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn bind(address: SocketAddr, bases: usize, limited: bool) -> io::Result<Self> {
        let runtime = Runtime::builder().workers(bases).bases(bases).build().map_err(io::Error::other)?;
        let group = RateLimitGroup::new(&config()?);
        let listening = runtime.listen(address, move |connection, base| {
            let mut bufferevent = Bufferevent::socket(connection);
            if limited {
                bufferevent = bufferevent.rate_limit_group(&group);
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

/// A terabyte per second, in ticks of the default length.
fn config() -> io::Result<TokenBucketConfig> {
    TokenBucketConfig::new(RATE, RATE, RATE, RATE, None).map_err(io::Error::other)
}

/// Bytes per tick.
const RATE: u64 = 1_000_000_000_000;
