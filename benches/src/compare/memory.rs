//! Resident memory per idle connection after one echo.

use std::io;
use std::time::Duration;

use super::process::memory;
use super::program::{Listening, Ready};
use super::{Bench, Load, Server};
use crate::Mode;
use crate::drive::Limit;
use crate::json::Object;

/// What an idle connection costs, in KiB.
#[derive(Clone, Debug)]
pub struct Usage {
    /// The server's name.
    pub name: String,
    /// Resident memory per connection.
    pub rss: f64,
    /// The process's share of it per connection.
    pub pss: f64,
}

/// Measures what `connections` connections cost that have each echoed `size` bytes and then stay idle.
///
/// The server has served a few connections before, so that what it allocates once is not counted. Kernel memory is
/// not counted either.
pub fn measure(
    bench: &Bench,
    server: &Server,
    tls: bool,
    connections: usize,
    size: usize,
) -> io::Result<Usage> {
    let listening = Listening::start(bench, server, Mode::Echo, &[])?;
    Ready::start(bench, &listening, &idle(tls, FIRST, size))?.close()?;
    let before = memory(listening.pid())?;
    let client = Ready::start(bench, &listening, &idle(tls, connections, size))?;
    let after = memory(listening.pid())?;
    client.close()?;
    listening.stop()?;
    let each = connections as f64;
    Ok(Usage {
        name: server.name.clone(),
        rss: (after.rss - before.rss) / each,
        pss: (after.pss - before.pss) / each,
    })
}

impl Usage {
    /// Returns the usage as a JSON object.
    pub fn to_json(&self) -> String {
        Object::new()
            .text("name", &self.name)
            .number("rss_kib_per_connection", self.rss)
            .number("pss_kib_per_connection", self.pss)
            .finish()
    }
}

/// Connections that echo once while warming up, and are then left alone.
fn idle(tls: bool, connections: usize, size: usize) -> Load {
    Load { mode: Mode::Echo, tls, connections, size, limit: Limit::Requests(0), warmup: Duration::ZERO }
}

const FIRST: usize = 64;
