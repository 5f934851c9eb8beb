//! What the server's bases have done at one moment.

use bufferevent::Runtime;

/// One base and the worker whose home it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// Connections that live there now.
    pub(super) connections: u64,
    /// Events its selector reported.
    pub(super) events: u64,
    /// Runs of confined connections.
    pub(super) confined: u64,
    /// Runs of THREADSAFE connections by this worker, stolen ones included.
    pub(super) strands: u64,
    /// Those that it stole from other workers.
    pub(super) steals: u64,
    /// Runs of the base's THREADSAFE connections that others stole from this worker.
    pub(super) helped: u64,
    /// Nanoseconds the worker was awake.
    pub(super) busy_nanos: u64,
}

/// All bases, in order.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) rows: Vec<Row>,
}

impl Sample {
    /// What `runtime` counts, which has as many workers as bases.
    pub(super) fn of(runtime: &Runtime) -> Self {
        let bases = runtime.bases();
        let pairs = bases.iter().zip(runtime.worker_counters());
        let rows = pairs.map(|(base, worker)| {
            let counters = base.counters();
            // The listener lives on base 0.
            let others = usize::from(base.index() == 0);
            Row {
                connections: base.objects().saturating_sub(others) as u64,
                events: counters.events.get(),
                confined: counters.runs.get(),
                strands: worker.runs.get(),
                steals: worker.steals.get(),
                helped: counters.helped.get(),
                busy_nanos: worker.busy_nanos.get(),
            }
        });
        Self { rows: rows.collect() }
    }

    /// What was done since `earlier`.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let rows = self.rows.iter().zip(&earlier.rows).map(|(now, then)| Row {
            connections: now.connections,
            events: now.events.wrapping_sub(then.events),
            confined: now.confined.wrapping_sub(then.confined),
            strands: now.strands.wrapping_sub(then.strands),
            steals: now.steals.wrapping_sub(then.steals),
            helped: now.helped.wrapping_sub(then.helped),
            busy_nanos: now.busy_nanos.wrapping_sub(then.busy_nanos),
        });
        Self { rows: rows.collect() }
    }

    /// All bases together.
    pub(super) fn total(&self) -> Row {
        self.rows.iter().fold(Row::default(), |sum, row| Row {
            connections: sum.connections + row.connections,
            events: sum.events + row.events,
            confined: sum.confined + row.confined,
            strands: sum.strands + row.strands,
            steals: sum.steals + row.steals,
            helped: sum.helped + row.helped,
            busy_nanos: sum.busy_nanos + row.busy_nanos,
        })
    }
}
