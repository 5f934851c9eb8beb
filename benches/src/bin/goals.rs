//! The speed goals in one table.
//!
//! ```text
//! goals --bev target/release/bev             # all of them
//! goals --bev target/release/bev --only 1,5  # some
//! goals --self-check                         # the yardstick in place of bev: what is scatter, what is not
//! ```
//!
//! Goals 14 to 19 are read from what `cargo bench` has left beside this program's folder.
#![allow(clippy::print_stdout, reason = "a program's output")]

use std::io::{self, Write as _};
use std::path::PathBuf;

use benches::compare::Bench;
use benches::goals::{KNOWN, Row, Settings, Subject, Verdict, measure, needs_server};
use benches::json;
use clap::Parser;

/// Measures the speed goals against the yardstick.
#[derive(Parser)]
struct Args {
    /// The program to measure; by default the `bev` beside this program.
    #[arg(long)]
    bev: Option<PathBuf>,
    /// Measure the yardstick in its place.
    #[arg(long)]
    self_check: bool,
    /// Goals, by number.
    #[arg(long, value_delimiter = ',', default_values_t = KNOWN)]
    only: Vec<u8>,
    /// Rounds of each experiment.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
    /// Turns of each side in a round.
    #[arg(long, default_value_t = 20)]
    slices: usize,
    /// Requests where calls and instructions are counted.
    #[arg(long, default_value_t = 10_000)]
    requests: u64,
    /// Print JSON in place of a table.
    #[arg(long)]
    json: bool,
    /// Let the servers write on standard error.
    #[arg(long)]
    verbose: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let mut bench = Bench::beside_self()?;
    bench.verbose = args.verbose;
    let settings = args.settings(&bench)?;
    let (mut rows, mut broken) = (Vec::new(), false);
    if args.rounds < 6 {
        eprintln!("fewer than six rounds cannot tell 5 %: take the verdicts as a dry run");
    }
    args.say(HEAD)?;
    for &goal in &args.only {
        if goal == 5 && args.only.contains(&4) {
            continue;
        }
        match measure(&bench, &settings, goal) {
            Ok(measured) if measured.is_empty() => args.say(&format!("{goal:<4}   not measured here"))?,
            Ok(measured) => {
                for row in measured {
                    args.say(&line(&row))?;
                    broken |= matches!(row.verdict(), Verdict::LikelyFail | Verdict::Fail);
                    rows.push(row.to_json());
                }
            }
            Err(error) => {
                broken = true;
                eprintln!("goal {goal}: {error}");
            }
        }
    }
    if args.json {
        println!("{}", json::list(&rows));
    }
    if broken {
        std::process::exit(1);
    }
    Ok(())
}

impl Args {
    fn settings(&self, bench: &Bench) -> io::Result<Settings> {
        let subject = if self.self_check {
            Subject::Yard
        } else {
            let bev = self.bev.clone().unwrap_or_else(|| bench.bin().join("bev"));
            if !bev.exists() && self.only.iter().copied().any(needs_server) {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("there is no {}: build it, or use --bev or --self-check", bev.display()),
                ));
            }
            Subject::Bev(bev.to_string_lossy().into_owned())
        };
        Ok(Settings { subject, rounds: self.rounds, slices: self.slices, requests: self.requests })
    }

    /// Prints `line` at once, unless JSON is wanted.
    fn say(&self, line: &str) -> io::Result<()> {
        if !self.json {
            println!("{line}");
            io::stdout().flush()?;
        }
        Ok(())
    }
}

fn line(row: &Row) -> String {
    let Row { goal, what, measured, bound } = row;
    let spread = if measured.least == measured.greatest {
        String::new()
    } else {
        format!("[{:.3} {:.3}]", measured.low, measured.high)
    };
    format!(
        "{goal:<4} {what:<52} {:>10.3} {spread:<18} {} {:<8.3} {}",
        measured.median,
        bound.sign(),
        bound.limit(),
        row.verdict().name()
    )
}

const HEAD: &str = "goal what                                                   measured [quartiles]        goal        verdict";
