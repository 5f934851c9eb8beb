//! An echo server that shows what passes, and how much.
//!
//! ```text
//! cargo run -p examples --example tap                       # or: ... --example tap 127.0.0.1:7000
//! nc 127.0.0.1 7000                                         # in another terminal
//! ```
//!
//! Without an address the program is its own client, and ends. A tap can be put under other filters as well, to see what
//! they make of it: `.filter(tap).filter(Zlib::new(6))`.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use bufferevent::{Bufferevent, Context, Direction, Event, Handler, Runtime};
use examples::{Passed, Tap};

struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        // Refused past the cap: it stays until the output has drained.
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

fn show(passed: Passed) {
    let arrow = match passed.direction {
        Direction::Read => "<",
        Direction::Write => ">",
    };
    let text = String::from_utf8_lossy(&passed.bytes.to_vec()).into_owned();
    println!("{arrow} {text:?}, {} bytes so far", passed.total);
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let runtime = Runtime::builder().build()?;
    let listener = runtime.listen(address.as_deref().unwrap_or("127.0.0.1:0"), |connection, base| {
        Bufferevent::socket(connection).filter(Tap::new(show)).handler(Echo).start(base)?;
        Ok(())
    })?;
    if address.is_some() {
        return Ok(runtime.run()?);
    }

    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };
    let mut client = TcpStream::connect(listener.local_addr().ok_or("no address")?)?;
    for word in ["hello", "again"] {
        client.write_all(word.as_bytes())?;
        client.read_exact(&mut [0; 5])?;
    }
    client.shutdown(Shutdown::Write)?;
    client.read_to_end(&mut Vec::new())?;
    runtime.shutdown(Duration::from_secs(1))?;
    running.join().map_err(|_| "the runtime panicked")??;
    Ok(())
}
