//! The program `bev`: servers, a proxy, load and a demo on bufferevents.

#![forbid(unsafe_code)]

mod address;
mod args;
mod demo;
mod failure;
mod failures;
mod json;
mod limits;
mod load;
mod manual;
mod notices;
mod pattern;
mod proxy;
mod running;
mod server;
mod signals;
mod tls;
mod units;
mod warnings;

use std::process::ExitCode;

use crate::{
    args::{Args, Command, Mode},
    failure::Failure,
};

fn main() -> ExitCode {
    let ended = match Args::read() {
        Ok(Some(args)) => run(args.command),
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Echo(serve) => server::run(Mode::Echo, server::Echo::default, &serve),
        Command::Sink(serve) => server::run(Mode::Sink, || server::Sink, &serve),
        Command::Source(serve) => {
            let source = server::Source::new();
            server::run(Mode::Source, move || source.clone(), &serve)
        }
        Command::Proxy(proxy) => proxy::run(&proxy),
        Command::Load(load) => load::run(&load),
        Command::Demo(demo) => demo::run(&demo),
        Command::Completions(completions) => manual::print_completions(completions.shell),
        Command::Man => manual::print_page(),
    }
}
