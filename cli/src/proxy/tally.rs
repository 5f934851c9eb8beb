//! What went through a proxy, for people and for machines.

use bufferevent::{Drained, Piped};
use bufferevent_sync::SharedCounter;

use crate::{failures::Failures, server::farewell, units};

/// What went through a proxy so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    clients: SharedCounter,
    /// Bytes that were taken of clients for the upstream, and the other way. Whether the other's system took them is another
    /// question.
    from_clients: SharedCounter,
    from_upstream: SharedCounter,
    /// Ended since nothing came from either side, and since they had lasted as long as they may.
    idle: SharedCounter,
    outlived: SharedCounter,
    /// Of clients that had all, the end of the upstream too, and left without the notice of TLS. It is no failure.
    without_notice: SharedCounter,
    /// Of either side; each ended a connection of the other.
    pub(super) client_failures: Failures,
    pub(super) upstream_failures: Failures,
}

impl Tally {
    pub(super) fn accepted(&self) {
        self.clients.add(1);
    }

    pub(super) fn idle(&self) {
        self.idle.add(1);
    }

    pub(super) fn outlived(&self) {
        self.outlived.add(1);
    }

    pub(super) fn left(&self) {
        self.without_notice.add(1);
    }

    pub(super) fn passed(&self, piped: &Piped) {
        self.from_clients.add(piped.forth);
        self.from_upstream.add(piped.back);
    }

    /// One flat object on one line. What is drained are connections to both sides.
    pub(super) fn json(&self, upstream: &str, drained: &Drained) -> String {
        let Drained { ended, clean, unsent, .. } = drained;
        let counts = [
            ("clients", self.clients.get()),
            ("from_clients", self.from_clients.get()),
            ("from_upstream", self.from_upstream.get()),
            ("idle", self.idle.get()),
            ("outlived", self.outlived.get()),
            ("without_notice", self.without_notice.get()),
            ("client_failures", self.client_failures.count()),
            ("upstream_failures", self.upstream_failures.count()),
            ("drained", *ended),
            ("drained_clean", *clean),
            ("unsent", *unsent),
        ];
        let counts = counts.map(|(name, count)| format!(",\"{name}\":{count}")).concat();
        format!("{{\"upstream\":{upstream:?}{counts}}}")
    }

    pub(super) fn text(&self, upstream: &str, drained: Drained) -> String {
        let mut text = format!(
            "{}\n  read  {} from {}, {} from {upstream}; {}, {}",
            farewell(drained),
            units::bytes(self.from_clients.get()),
            units::counted(self.clients.get(), "client"),
            units::bytes(self.from_upstream.get()),
            units::counted(self.client_failures.count(), "client failure"),
            units::counted(self.upstream_failures.count(), "upstream failure"),
        );
        let others = [
            ("idle", &self.idle),
            ("at the end of their lifetime", &self.outlived),
            ("gone without TLS's notice once they had all", &self.without_notice),
        ];
        for (why, count) in others.map(|(why, count)| (why, count.get())) {
            if count > 0 {
                text += &format!("; {} {why}", units::count(count));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_through_is_told_in_both_forms() {
        let tally = Tally::default();
        tally.accepted();
        tally.idle();
        tally.upstream_failures.tell("upstream", "of a test");
        tally.from_clients.add(1_500);
        let drained = Drained::default();
        assert_eq!(
            tally.json("[::1]:7", &drained),
            "{\"upstream\":\"[::1]:7\",\"clients\":1,\"from_clients\":1500,\"from_upstream\":0,\"idle\":1,\
             \"outlived\":0,\"without_notice\":0,\"client_failures\":0,\"upstream_failures\":1,\"drained\":0,\"drained_clean\":0,\"unsent\":0}"
        );
        assert_eq!(
            tally.text("[::1]:7", drained),
            "no connection was open\n  read  1.50 kB from 1 client, 0 B from [::1]:7; 0 client failures, 1 upstream failure; 1 idle"
        );
    }
}
