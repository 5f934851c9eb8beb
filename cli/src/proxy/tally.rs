//! What went through a proxy, for people and for machines.

use bufferevent::{Drained, Piped};
use bufferevent_sync::SharedCounter;

use crate::{server::farewell, units};

/// What went through a proxy so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    clients: SharedCounter,
    to_upstream: SharedCounter,
    to_clients: SharedCounter,
    /// Failures of the upstream, of which each ended a client's connection.
    failures: SharedCounter,
}

impl Tally {
    pub(super) fn accepted(&self) {
        self.clients.add(1);
    }

    pub(super) fn passed(&self, piped: &Piped) {
        self.to_upstream.add(piped.forth);
        self.to_clients.add(piped.back);
    }

    pub(super) fn failed(&self) {
        self.failures.add(1);
    }

    /// One flat object on one line. What is drained are connections to both sides.
    pub(super) fn json(&self, upstream: &str, drained: &Drained) -> String {
        let Self { clients, to_upstream, to_clients, failures } = self;
        let Drained { ended, clean, unsent, .. } = drained;
        let counts = [
            ("clients", clients.get()),
            ("to_upstream", to_upstream.get()),
            ("to_clients", to_clients.get()),
            ("upstream_failures", failures.get()),
            ("drained", *ended),
            ("drained_clean", *clean),
            ("unsent", *unsent),
        ];
        let counts = counts.map(|(name, count)| format!(",\"{name}\":{count}")).concat();
        format!("{{\"upstream\":{upstream:?}{counts}}}")
    }

    pub(super) fn text(&self, upstream: &str, drained: Drained) -> String {
        let Self { clients, to_upstream, to_clients, failures } = self;
        format!(
            "{}\n  passed on  {} to {upstream} and {} back, of {}; {}",
            farewell(drained),
            units::bytes(to_upstream.get()),
            units::bytes(to_clients.get()),
            units::counted(clients.get(), "client"),
            units::counted(failures.get(), "upstream failure"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_through_is_told_in_both_forms() {
        let tally = Tally::default();
        tally.accepted();
        tally.failed();
        tally.to_upstream.add(1_500);
        let drained = Drained::default();
        assert_eq!(
            tally.json("[::1]:7", &drained),
            "{\"upstream\":\"[::1]:7\",\"clients\":1,\"to_upstream\":1500,\"to_clients\":0,\"upstream_failures\":1,\
             \"drained\":0,\"drained_clean\":0,\"unsent\":0}"
        );
        assert_eq!(
            tally.text("[::1]:7", drained),
            "no connection was open\n  passed on  1.50 kB to [::1]:7 and 0 B back, of 1 client; 1 upstream failure"
        );
    }
}
