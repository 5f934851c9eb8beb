//! Lines with a bound: the handler sees whole ones only, and one that is too long ends the connection.
//!
//! ```text
//! cargo run -p examples --example lines                      # or: ... --example lines 127.0.0.1:7000
//! nc 127.0.0.1 7000                                          # in another terminal
//! ```
//!
//! Each line comes back with its number. Without an address the program is its own client, and ends.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use bufferevent::{Bufferevent, Context, Event, Handler, Runtime, evbuffer::Eol};
use examples::Lines;

/// The longest line, in bytes.
const LONGEST: usize = 80;

#[derive(Default)]
struct Numbered {
    lines: u64,
}

impl Handler for Numbered {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        while let Ok(Some(line)) = cx.input().readln(Eol::Crlf) {
            self.lines += 1;
            let answer = format!("{}: {}\n", self.lines, String::from_utf8_lossy(&line));
            if cx.write(answer.as_bytes()).is_err() {
                return cx.close();
            }
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if let Event::Error { cause, .. } = &event {
            let _ = cx.write(format!("goodbye: {cause}\n").as_bytes());
        }
        if event.is_terminal() {
            cx.close();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let runtime = Runtime::builder().build()?;
    let listener = runtime.listen(address.as_deref().unwrap_or("127.0.0.1:0"), |connection, base| {
        Bufferevent::socket(connection)
            .filter(Lines::new(LONGEST))
            .handler(Numbered::default())
            .start(base)?;
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
    for piece in ["one\r\ntw", "o\nthr", "ee\n", &"x".repeat(LONGEST + 1)] {
        client.write_all(piece.as_bytes())?;
    }
    let mut answers = String::new();
    client.read_to_string(&mut answers)?;
    print!("{answers}");
    runtime.shutdown(Duration::from_secs(1))?;
    running.join().map_err(|_| "the runtime panicked")??;
    Ok(())
}
