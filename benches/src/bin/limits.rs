//! Rate-limit groups on real connections: what they let, how evenly, at what cost. Goals 11 and 12.
//!
//! ```text
//! limits                  # the usual cases, about seven minutes
//! limits --rounds 3       # medians of three runs, each with another phase of the start
//! limits --all            # every case
//! limits one --rate 10000000 --tick 1 --members 1000 --bases 2 --way read
//! limits by-hand --rate 10000000 --tick 1 --members 1000   # what the machine takes for the same pieces
//! limits echo --listen 127.0.0.1:0 --bases 2 --group   # what goal 13 counts the instructions of
//! ```
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::collections::{BTreeMap, btree_map::Entry};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use benches::json::{self, Object};
use benches::limits::{
    Case, Echo, Judged, Way, by_hand, by_hand_in_own_process, in_own_process, is_costly, matrix, run,
};
use clap::{Parser, Subcommand};
use signal_hook::consts::SIGTERM;

/// Measures groups of many cases, each in a process of its own.
#[derive(Parser)]
struct Args {
    /// All cases in place of a quarter of them.
    #[arg(long)]
    all: bool,
    /// Runs of each case.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Measures one case in this process, and prints JSON.
    One(Case),
    /// Sends the traffic of one case without a library, and prints its CPU time for each MB in milliseconds.
    ByHand(Case),
    /// Echoes, with or without a group that never binds.
    Echo {
        /// Address to listen on; port 0 picks a free one.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// Bases, and as many workers.
        #[arg(long, default_value_t = 1)]
        bases: usize,
        /// The connections are in a group.
        #[arg(long)]
        group: bool,
        /// Seconds of its tick.
        #[arg(long, default_value_t = 1)]
        tick: u64,
    },
}

fn main() -> io::Result<ExitCode> {
    let args = Args::parse();
    match args.command {
        Some(Command::One(case)) => println!("{}", run(&case)?.to_json()),
        Some(Command::ByHand(case)) => println!("{:.2}", by_hand(&case)?),
        Some(Command::Echo { listen, bases, group, tick }) => {
            let echo = Echo::bind(listen, bases, group.then(|| Duration::from_secs(tick)))?;
            println!("listening on {}", echo.address());
            io::stdout().flush()?;
            echo.run_until(SIGTERM)?;
        }
        None => return table(&args),
    }
    Ok(ExitCode::SUCCESS)
}

fn table(args: &Args) -> io::Result<ExitCode> {
    let cases = if args.all { matrix::whole() } else { matrix::usual() };
    let (mut free, mut rows, mut missed) = (BTreeMap::new(), Vec::new(), 0);
    if !args.json {
        println!("{HEAD}");
    }
    for case in &cases {
        let kind = (case.members, case.bases, case.way);
        let free = match free.entry(kind) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(in_own_process(&matrix::unlimited(case))?.cpu),
        };
        let by_hand =
            is_costly(case).then(|| by_hand_in_own_process(&matrix::without_library(case))).transpose()?;
        let figures = (0..args.rounds.max(1)).map(|round| in_own_process(&matrix::shifted(case, round)));
        let judged = Judged::new(case, &figures.collect::<io::Result<Vec<_>>>()?, free, by_hand);
        missed += usize::from(!judged.faults().is_empty());
        if args.json {
            rows.push(json(case, &judged));
        } else {
            println!("{}", line(case, &judged));
            io::stdout().flush()?;
        }
    }
    if args.json {
        println!("{}", json::list(&rows));
    } else {
        println!("{missed} of {} cases miss a goal", cases.len());
    }
    Ok(if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(case: &Case, judged: &Judged) -> String {
    let Case { rate, tick, burst, members, bases, way, .. } = *case;
    let Judged { figure, free, by_hand, .. } = judged;
    let by_hand = by_hand.map_or("".to_owned(), |cpu| format!("{cpu:.2}"));
    let (rate, way) = (rate / 1_000_000, name(way));
    let faults = judged.faults();
    let verdict = if faults.is_empty() { "pass".to_owned() } else { format!("FAIL: {}", faults.join(", ")) };
    format!(
        "{rate:>4} {tick:>4} {members:>5} {bases:>3} {burst:>3} {way:<5}  {:>7.4} {:>7.4}  {:>6.4} {:>5.2} {:>5.2}  {:>6.2} {free:>6.2} {by_hand:>7}  {verdict}",
        figure.achieved,
        figure.awake,
        figure.shares.jain,
        figure.shares.least,
        figure.shares.most,
        figure.cpu,
    )
}

fn json(case: &Case, judged: &Judged) -> String {
    let Case { rate, tick, burst, members, bases, way, .. } = *case;
    Object::new()
        .count("rate", rate)
        .count("tick_ms", tick)
        .count("members", members as u64)
        .count("bases", bases as u64)
        .count("burst_ticks", burst)
        .text("way", name(way))
        .raw("figure", &judged.figure.to_json())
        .number("cpu_ms_per_mb_without_group", judged.free)
        .number("cpu_ms_per_mb_by_hand", judged.by_hand.unwrap_or(f64::NAN))
        .text("faults", &judged.faults().join(", "))
        .finish()
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Read => "read",
        Way::Write => "write",
    }
}

const HEAD: &str = "\
                               of what is promised  a member's share    CPU ms / MB
MB/s   ms  memb bas bst way    achieved  awake    Jain least  most   group   none by hand  goals 11 and 12";
