//! An echo server: what comes in goes out again.
//!
//! ```text
//! cargo run -p examples --example echo                      # or: ... --example echo 127.0.0.1:7777
//! nc 127.0.0.1 7000                                         # in another terminal
//! ```
//!
//! What you type into `nc` comes back. Ctrl-C ends the server.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use bufferevent::{Bufferevent, Context, Event, Handler, Runtime};

struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        // Moves segments, copies nothing. Refused past the cap: it stays until the output has drained.
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

fn main() -> bufferevent::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7000".to_owned());
    let runtime = Runtime::builder().build()?; // workers = bases = cores
    let listener = runtime.listen(address, |connection, base| {
        Bufferevent::socket(connection).handler(Echo).start(base)?;
        Ok(())
    })?;
    if let Some(address) = listener.local_addr() {
        println!("listening on {address}");
    }
    Ok(runtime.run()?)
}
