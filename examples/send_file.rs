//! One open file sent to every connection.
//!
//! ```text
//! cargo run -p examples --example send_file -- README.md 127.0.0.1:7000
//! nc 127.0.0.1 7000                                         # in another terminal
//! ```
//!
//! Every `nc` prints a line with the length, then the file; Ctrl-C ends the server. Without arguments the program sends its
//! own executable to three peers of its own, and ends.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, fs::File, io::Read as _, net::TcpStream, thread, time::Duration};

use bufferevent::{BaseExt as _, Bufferevent, Context, Event, Handler, Runtime, evbuffer::FileSegment};

struct Sender;

impl Handler for Sender {
    /// All is sent.
    fn on_write(&mut self, cx: &mut Context<'_>) {
        cx.close();
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        // A file that has become shorter meanwhile is an error of the connections that are sent it, no more.
        if let Event::Error { cause, .. } = event {
            println!("not sent to the end: {cause}");
            cx.close();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next();
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let file = File::open(path.as_ref().map_or(std::env::current_exe()?, Into::into))?;
    let file = FileSegment::new(file, ..)?;
    let len = file.len();

    let runtime = Runtime::builder().build()?;
    let listener = runtime.listen(address, move |connection, base| {
        let id = Bufferevent::socket(connection).handler(Sender).start(base)?;
        let connection = base.bufferevent(id)?;
        connection.write(format!("{len} bytes\n").as_bytes())?;
        // Reads nothing now, and is not bounded by the cap of the output: it is read block by block as it is sent.
        connection.output().add_file_segment(file.clone())?;
        Ok(())
    })?;
    let Some(address) = listener.local_addr() else { return Ok(()) };
    if path.is_some() {
        println!("listening on {address}");
        return Ok(runtime.run()?);
    }

    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };
    let expected = [format!("{len} bytes\n").into_bytes(), std::fs::read(std::env::current_exe()?)?].concat();
    for peer in 1..=3 {
        let mut got = Vec::new();
        TcpStream::connect(address)?.read_to_end(&mut got)?;
        println!("peer {peer} got {}", if got == expected { "all of it" } else { "something else" });
    }
    runtime.shutdown(Duration::from_secs(1))?;
    running.join().map_err(|_| "the runtime panicked")??;
    Ok(())
}
