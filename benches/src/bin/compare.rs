//! Servers against each other.
//!
//! ```text
//! compare cpu          --mode echo --connections 64 --rounds 8
//! compare memory       --connections 5000
//! compare syscalls     --connections 1
//! compare instructions --requests 20000
//! compare instructions --tls --mode churn --requests 500
//! compare cpu --server 'yard={bin}/yard echo --listen {addr}' --server 'other=./other --listen {addr}'
//! ```
//!
//! The first server is the base of all ratios. Without `--server` it is the yardstick, and the other is `bev` if that
//! stands beside this program, else the yardstick again: the scatter then shown is the machine's.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use benches::Mode;
use benches::compare::cpu::{self, Series};
use benches::compare::{Bench, Load, Server, instructions, instructions::Within, memory, syscalls};
use benches::drive::Limit;
use benches::json;
use clap::{Parser, ValueEnum};

/// Runs servers against each other and prints ratios to the first.
#[derive(Parser)]
struct Args {
    /// What to measure.
    #[arg(default_value = "cpu")]
    what: What,
    /// A server, as `name=command with {addr}`; `{mode}` and `{bin}` are filled in too. The first is the base.
    #[arg(long = "server")]
    servers: Vec<String>,
    /// What the servers do.
    #[arg(long, default_value = "echo")]
    mode: Mode,
    /// Over TLS.
    #[arg(long)]
    tls: bool,
    /// Connections at a time.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of a request, or of a block of a stream.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Times that everything is started afresh (cpu).
    #[arg(long, default_value_t = 6)]
    rounds: usize,
    /// Turns of each server in a round (cpu).
    #[arg(long, default_value_t = 20)]
    slices: usize,
    /// Seconds of load in a slice (cpu); ten latencies at least should fit in.
    #[arg(long, default_value_t = 0.1)]
    duration: f64,
    /// Requests in a slice, in place of a duration; 1,000 by default under churn. Where calls or instructions are
    /// counted: requests in all, 10,000 by default.
    #[arg(long)]
    requests: Option<u64>,
    /// Seconds of load before measuring (cpu).
    #[arg(long, default_value_t = 0.2)]
    warmup: f64,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
    /// Let the servers write on standard error.
    #[arg(long)]
    verbose: bool,
}

/// What to measure.
#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// CPU time per operation and latency.
    Cpu,
    /// Resident memory per idle connection.
    Memory,
    /// System calls per operation.
    Syscalls,
    /// User instructions per operation.
    Instructions,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut bench = Bench::beside_self()?;
    bench.verbose = args.verbose;
    let servers = args.servers(&bench)?;
    match args.what {
        What::Cpu => args.cpu(&bench, &servers),
        What::Memory => args.memory(&bench, &servers),
        What::Syscalls => args.syscalls(&bench, &servers),
        What::Instructions => args.instructions(&bench, &servers),
    }
}

impl Args {
    fn servers(&self, bench: &Bench) -> io::Result<Vec<Server>> {
        if !self.servers.is_empty() {
            return self.servers.iter().map(|text| Server::parse(text)).collect();
        }
        let (of_yard, of_bev) = if self.tls { (" --tls", " --self-signed") } else { ("", "") };
        let yard = Server::parse(&format!("yard={{bin}}/yard {{mode}} --listen {{addr}}{of_yard}"))?;
        let bev = Server::parse(&format!(
            "bev={{bin}}/bev {{mode}} --workers 1 --bases 1 --listen {{addr}} --idle none --memory none{of_bev}"
        ))?;
        let other = if bench.bin().join("bev").exists() {
            bev
        } else {
            Server { name: "yard again".to_owned(), ..yard.clone() }
        };
        Ok(vec![yard, other])
    }

    fn load(&self) -> io::Result<Load> {
        let seconds = |value| Duration::try_from_secs_f64(value).map_err(io::Error::other);
        let requests = self.requests.or((self.mode == Mode::Churn).then_some(CHURNED));
        Ok(Load {
            mode: self.mode,
            tls: self.tls,
            connections: self.connections,
            size: self.size,
            limit: match requests {
                Some(requests) => Limit::Requests(requests),
                None => Limit::Time(seconds(self.duration)?),
            },
            warmup: seconds(self.warmup)?,
        })
    }

    fn cpu(&self, bench: &Bench, servers: &[Server]) -> io::Result<()> {
        let load = self.load()?;
        let talk = io::stderr().is_terminal();
        let all = cpu::measure(bench, servers, &load, self.rounds, self.slices, |step| {
            if talk {
                eprintln!("{step}");
            }
        })?;
        let Some(base) = all.first() else { return Ok(()) };
        if self.json {
            let rows: Vec<String> = all.iter().map(|series| series.to_json(base)).collect();
            println!("{}", json::list(&rows));
            return Ok(());
        }
        println!(
            "{} {} connections of {} bytes, {} rounds of {} slices: medians, [quartiles] of the ratios to {}",
            self.connections, self.mode, self.size, self.rounds, self.slices, base.name
        );
        println!("{HEAD}");
        for series in &all {
            println!("{}", cpu_row(series, base));
        }
        Ok(())
    }

    fn memory(&self, bench: &Bench, servers: &[Server]) -> io::Result<()> {
        let measure = |server| memory::measure(bench, server, self.tls, self.connections, self.size);
        let all = servers.iter().map(measure).collect::<io::Result<Vec<_>>>()?;
        if self.json {
            let rows: Vec<String> = all.iter().map(memory::Usage::to_json).collect();
            println!("{}", json::list(&rows));
            return Ok(());
        }
        println!(
            "{:<24} {:>12} {:>12}   KiB per idle connection, {} of them",
            "server", "RSS", "PSS", self.connections
        );
        for usage in &all {
            println!("{:<24} {:>12.3} {:>12.3}", usage.name, usage.rss, usage.pss);
        }
        Ok(())
    }

    fn syscalls(&self, bench: &Bench, servers: &[Server]) -> io::Result<()> {
        let (load, requests) = (self.load()?, self.requests.unwrap_or(COUNTED));
        let mut rows = Vec::new();
        for server in servers {
            let calls = syscalls::measure(bench, server, &load, requests)?;
            let Some(calls) = calls else { return Err(io::Error::other("there is no strace")) };
            if self.json {
                rows.push(calls.to_json());
            } else {
                println!("{:<24} {:>8.3} per operation: {}", calls.name, calls.total(), calls.listing());
            }
        }
        if self.json {
            println!("{}", json::list(&rows));
        }
        Ok(())
    }

    fn instructions(&self, bench: &Bench, servers: &[Server]) -> io::Result<()> {
        let (load, requests) = (self.load()?, self.requests.unwrap_or(COUNTED));
        let mut rows = Vec::new();
        for server in servers {
            let count = instructions::measure(bench, server, &load, requests, Within::All)?;
            let Some(count) = count else { return Err(io::Error::other("there is no valgrind")) };
            if self.json {
                rows.push(count.to_json());
            } else {
                println!("{:<24} {:>10.1} user instructions per operation", count.name, count.each);
            }
        }
        if self.json {
            println!("{}", json::list(&rows));
        }
        Ok(())
    }
}

fn cpu_row(series: &Series, base: &Series) -> String {
    let cpu = series.ratio(base, |run| run.server_cpu);
    let total = series.ratio(base, |run| run.total_cpu);
    let tail = series.ratio(base, |run| run.p99);
    format!(
        "{:<16} {:>9.0} {:>8.2} {:>6.3} [{:.3} {:.3}] {:>6.3} [{:.3} {:.3}] {:>9.1} {:>9.1} {:>7.2} {:>6.2} [{:.2} {:.2}] {:>4}",
        series.name,
        series.spread(|run| run.rate).median,
        series.spread(|run| run.server_cpu).median / 1e3,
        cpu.median,
        cpu.low,
        cpu.high,
        total.median,
        total.low,
        total.high,
        series.spread(|run| run.p50).median / 1e3,
        series.spread(|run| run.p99).median / 1e3,
        series.spread(|run| run.p99 / run.p50).median,
        tail.median,
        tail.low,
        tail.high,
        series.errors(),
    )
}

const HEAD: &str = "server                ops/s   CPU us  ratio               total ratio                p50 us    p99 us \
                    p99/p50   p99 ratio      errors";
const COUNTED: u64 = 10_000;
const CHURNED: u64 = 1_000;
