//! The second part of the demo: three tenants of a site, each with a limit of its own below the one of the site.
//!
//! Every connection wants all it can get, so each tenant gets what it was promised: gold what the others leave of the
//! site's limit, the others as much as their own lets. Whether that was kept is asked of the whole time, from when the
//! groups were made, and not of a moment in it.

mod promise;
mod site;
mod table;

use std::time::Duration;

use bufferevent::Runtime;
use bufferevent_ssl::Acceptor;

use self::{
    promise::{Promise, Reached},
    site::Site,
    table::{Bars, Line, heading},
};
use super::{CONNECT, GRACE, LAST_ANSWERS, screen::Screen};
use crate::{
    address::Resolved,
    args::Mode,
    failure::Failure,
    load::{Engine, Plan},
    tls::Secured,
    units,
};

/// Connections of a tenant at most.
const CONNECTIONS: usize = 8;

/// Bytes of a request: it is done when so much has come.
const REQUEST: usize = 16 * 1024;

const MB: u64 = 1_000_000;

/// The tenants, and the site last.
const PROMISES: [Promise; 4] = [
    Promise { to: "gold", least: 6 * MB, most: 8 * MB },
    Promise { to: "silver", least: 3 * MB, most: 3 * MB },
    Promise { to: "bronze", least: MB, most: MB },
    Promise { to: "site", least: 10 * MB, most: 10 * MB },
];

/// Runs the part, with at most `connections` on `bases`; an error if a promise was not kept.
pub(super) fn run(
    seconds: u64,
    bases: usize,
    connections: usize,
    tls: &(Acceptor, Secured),
) -> Result<(), Failure> {
    run_with(PROMISES, seconds, bases, connections, tls)
}

fn run_with(
    promises: [Promise; 4],
    seconds: u64,
    bases: usize,
    connections: usize,
    (acceptor, secured): &(Acceptor, Secured),
) -> Result<(), Failure> {
    let mut screen = Screen::new();
    let tenants = promises.len() - 1;
    let each = (connections / tenants).clamp(1, CONNECTIONS);
    screen.line("")?;
    let connections = units::counted(each as u64, "connection");
    screen
        .line(format_args!("rate limits: three tenants of a site, {connections} each, on {bases} bases"))?;
    screen.line("what counts are the bytes on the wire, those of TLS itself included")?;
    screen.line("")?;

    let mut site = Site::start(promises, bases, acceptor)?;
    let plan = Plan {
        servers: site.addresses().map(|address| Resolved::Any(vec![address])).collect(),
        mode: Mode::Source,
        connections: each * tenants,
        sizes: vec![REQUEST],
        connect_timeout: CONNECT,
        tls: Some(secured.clone()),
    };
    let engine = Engine::start(Runtime::builder().build().map_err(Failure::runtime)?, plan)?;
    engine.connect()?;
    site.all_stand(engine.received_each());
    engine.begin()?;
    let reached = watch(&mut screen, &site, &engine, Duration::from_secs(seconds))?;
    screen.settle()?;
    screen.line(Bars(&reached))?;

    site.lift()?;
    let interrupted = engine.is_interrupted();
    let ended = engine.finish(LAST_ANSWERS)?;
    site.finish(GRACE)?;
    ended.result()?;
    if interrupted {
        return screen.line("  ended early, before it could be told whether every promise was kept");
    }
    let broken: Vec<String> = reached.iter().filter_map(Reached::broken).collect();
    if broken.is_empty() {
        return screen.line("  every promise was kept");
    }
    Err(Failure::of("a promise was not kept", broken.join("; ")))
}

/// Shows what the tenants get for `duration`; answers what they got since the groups were made.
fn watch(
    screen: &mut Screen,
    site: &Site,
    engine: &Engine,
    duration: Duration,
) -> Result<[Reached; 4], Failure> {
    let mut latest = site.reached(&engine.received_each());
    let mut shown = Ok(());
    let elapsed = engine.wait(duration, |at| {
        if screen.is_due(at) && shown.is_ok() {
            let now = site.reached(&engine.received_each());
            let line = Line::between(&latest, &now, at);
            shown = screen.show(at, heading(&now), line, || Bars(&now).to_string());
            latest = now;
        }
    });
    shown?;
    let reached = site.reached(&engine.received_each());
    if screen.is_due(elapsed) {
        let line = Line::between(&latest, &reached, elapsed);
        screen.show(elapsed, heading(&reached), line, || Bars(&reached).to_string())?;
    }
    Ok(reached)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_was_promised_is_what_the_limits_let() {
        let [gold, silver, bronze, site] = PROMISES;
        assert_eq!(gold.least + silver.least + bronze.least, site.least);
        assert!(PROMISES.iter().all(|promise| promise.least <= promise.most));
        // Who is not held by its own limit gets no less than a third of the site's.
        assert!(silver.most < site.most / 3 && bronze.most < site.most / 3 && gold.most > gold.least);
    }

    #[test]
    fn a_promise_that_no_limit_lets_anybody_keep_is_told_as_broken() {
        let [gold, mut silver, bronze, site] = PROMISES;
        silver.least = 2 * silver.most;
        let tls = crate::tls::among_ourselves().unwrap();
        let result = run_with([gold, silver, bronze, site], 1, 2, 6, &tls);
        let told = match result {
            Err(Failure::Failed(told)) => told,
            other => panic!("{other:?}"),
        };
        assert!(told.starts_with("a promise was not kept: silver got "), "{told}");
    }
}
