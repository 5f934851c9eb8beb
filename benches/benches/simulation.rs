//! libevent's simulation of rate limits (`test/test-ratelim.c`), ours beside what the system's libevent reaches.
//!
//! Guards against limits that let through more, less or other shares than libevent's do, or that cost more. Each case of
//! libevent's own test is a row; each side runs it in a process of its own, one after the other. A minute in all;
//! `cargo bench --bench simulation -- --seconds 2` is shorter, `... -- con` takes the rows whose name has that word. Without a C
//! compiler or the library (its package; no headers are needed) libevent's column says `absent`.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::env;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use benches::libevent::Libevent;
use benches::simulation::{Case, Figure, Judged, LIBEVENT, Row, rows, run, run_theirs};
use clap::Parser;

#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    /// Rows whose name has this.
    filter: Option<String>,
    /// Of each side in each row: from 1 to 600.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Cargo says so of `cargo bench`; without it, two ticks of each row show that it runs.
    #[arg(long, hide = true)]
    bench: bool,
    /// A second of each.
    #[arg(long)]
    quick: bool,
    /// Of criterion's, for those benches that are run along with this one.
    #[arg(long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    warm_up_time: Option<f64>,
    #[arg(long, hide = true)]
    measurement_time: Option<f64>,
    #[command(subcommand)]
    command: Option<Own>,
}

#[derive(clap::Subcommand)]
enum Own {
    /// Runs one case in this process, and prints JSON.
    #[command(name = "ours", hide = true)]
    Ours(Case),
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    if let Some(Own::Ours(case)) = args.command {
        println!("{}", run(&case)?.to_json());
        return Ok(());
    }
    let ticks = match (args.bench, args.quick) {
        (false, _) => 2,
        (true, true) => 10,
        (true, false) => 10 * args.seconds,
    };
    let libevent = Libevent::build("simulation", LIBEVENT, Path::new(env!("CARGO_TARGET_TMPDIR")));
    let version = libevent.as_ref().map_or("", |libevent| &libevent.version);
    let [ours, theirs] = ["bufferevent".to_owned(), format!("libevent {version}")];
    println!("{:42}  {:>10}  {ours:<38}  {theirs}", "", "promised");
    println!("{:42}  {:>10}  {FIGURES}  {FIGURES}", "libevent's test-ratelim -n 30 -t 100", "B/s");
    for row in rows(ticks) {
        if args.filter.as_ref().is_none_or(|filter| row.name.contains(filter.as_str())) {
            line(&row, libevent.as_ref().ok())?;
        }
    }
    println!("* outside what libevent's own test allows");
    if let Err(why) = libevent {
        println!("libevent is absent: {why}");
    }
    Ok(())
}

fn line(row: &Row, libevent: Option<&Libevent>) -> io::Result<()> {
    let ours = Figure::of(Command::new(env::current_exe()?).arg("ours").args(row.case.to_args()))?;
    print!("{:16}  {:24}  {:>10.0}", row.name, row.arguments, row.case.promised());
    print!("  {}", side(row, &ours));
    io::stdout().flush()?;
    match libevent {
        Some(libevent) => println!("  {}", side(row, &run_theirs(libevent, &row.case)?)),
        None => println!("  absent"),
    }
    Ok(())
}

fn side(row: &Row, figure: &Figure) -> String {
    let Judged { total, deviation, jain, cpu, is_within } = Judged::new(row, figure);
    let mark = if is_within { ' ' } else { '*' };
    format!("{total:>10.0}{mark} {deviation:>8.1} {jain:>7.4} {cpu:>9.2}")
}

const FIGURES: &str = "      B/s    stddev    Jain CPU ms/MB";
