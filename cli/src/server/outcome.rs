//! What a server came to.

use std::{sync::Arc, time::Duration};

use bufferevent::{ConnectionLimit, Drained};

use super::{Rates, Terms, ending::farewell};
use crate::{args::Serve, failures::Failures, json::Object, units};

/// What a server came to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Connections that were accepted.
    pub(crate) clients: u64,
    /// For how long it served.
    pub(super) lasted: Duration,
    /// How the connections ended that were open at the signal.
    pub(crate) drained: Drained,
    pub(super) limits: Limits,
    pub(super) rates: Option<Rates>,
    pub(super) handshakes: Option<Arc<Failures>>,
}

/// The limits that were in force, but for those of rates.
#[derive(Debug, Default)]
pub(super) struct Limits {
    connections: usize,
    memory: Option<usize>,
    idle: Option<Duration>,
    lifetime: Option<Duration>,
}

impl Limits {
    pub(super) fn of(serve: &Serve, connections: &ConnectionLimit, terms: &Terms) -> Self {
        let asked = serve.max_connections.map_or(usize::MAX, |most| most as usize);
        Self {
            connections: connections.limit().min(asked),
            memory: terms.memory.as_ref().map(|memory| memory.limit()),
            idle: terms.limits.idle,
            lifetime: terms.limits.lifetime,
        }
    }
}

impl Outcome {
    /// What all servers tell machines, behind what this one does.
    pub(crate) fn json(&self, own: Object) -> Object {
        let Self { limits, drained, .. } = self;
        let object = own
            .count("clients", self.clients)
            .seconds("seconds", self.lasted)
            .count("tls_handshakes_failed", self.handshakes.as_ref().map_or(0, |failed| failed.count()))
            .count("max_connections", limits.connections as u64)
            .count("memory_bytes", limits.memory.map(|bytes| bytes as u64))
            .seconds("idle_seconds", limits.idle)
            .seconds("lifetime_seconds", limits.lifetime);
        Rates::json(self.rates.as_ref(), object)
            .count("drained", drained.ended)
            .count("drained_clean", drained.clean)
            .count("unsent_bytes", drained.unsent)
    }

    /// The same for people, of a server that does no more than answer.
    pub(super) fn text(&self) -> String {
        let failed = self.handshakes.as_ref().map(|failed| units::counted(failed.count(), "handshake"));
        let failed = failed.map(|failed| format!("; {failed} failed")).unwrap_or_default();
        format!("{}{failed}{}", farewell(&self.drained), self.flows())
    }

    /// What moved within limits of rates, as lines of their own.
    pub(crate) fn flows(&self) -> String {
        self.rates.as_ref().map(|rates| rates.report().to_string()).unwrap_or_default()
    }
}
