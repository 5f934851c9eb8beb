//! What went through a proxy, for people and for machines.

use bufferevent::Piped;
use bufferevent_sync::SharedCounter;

use crate::{
    failures::Failures,
    json::Object,
    server::{Outcome, farewell},
    units,
};

/// What went through a proxy so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
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

    /// What all that came to. What is drained are connections to both sides.
    pub(super) fn json(&self, upstream: &str, outcome: &Outcome) -> String {
        let own = Object::default()
            .text("mode", "proxy")
            .text("upstream", upstream)
            .count("from_clients_bytes", self.from_clients.get())
            .count("from_upstream_bytes", self.from_upstream.get())
            .count("idle", self.idle.get())
            .count("outlived", self.outlived.get())
            .count("without_notice", self.without_notice.get())
            .count("client_failures", self.client_failures.count())
            .count("upstream_failures", self.upstream_failures.count());
        outcome.json(own).finish()
    }

    pub(super) fn text(&self, upstream: &str, outcome: &Outcome) -> String {
        let mut text = format!(
            "{}\n  read  {} from {}, {} from {upstream}; {}, {}",
            farewell(&outcome.drained),
            units::bytes(self.from_clients.get()),
            units::counted(outcome.clients, "client"),
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
        text + &outcome.flows()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_through_is_told_in_both_forms() {
        let (tally, mut outcome) = (Tally::default(), Outcome::default());
        outcome.clients = 1;
        tally.idle();
        tally.upstream_failures.tell("upstream", "of a test");
        tally.from_clients.add(1_500);
        let json = tally.json("[::1]:7", &outcome);
        let begin = "{\"mode\":\"proxy\",\"upstream\":\"[::1]:7\",\"from_clients_bytes\":1500,\"from_upstream_bytes\":0,\
                     \"idle\":1,\"outlived\":0,\"without_notice\":0,\"client_failures\":0,\"upstream_failures\":1,\
                     \"clients\":1,\"seconds\":0.000,\"tls_handshakes_failed\":0,";
        assert!(json.starts_with(begin), "{json}");
        assert_eq!(
            tally.text("[::1]:7", &outcome),
            "no connection was open\n  read  1.50 kB from 1 client, 0 B from [::1]:7; 0 client failures, 1 upstream failure; 1 idle"
        );
    }
}
