//! A THREADSAFE bufferevent used from another thread through its `Handle`.
//!
//! ```text
//! cargo run -p examples --example handle
//! ```
//!
//! A thread that is no worker writes two lines at once under the lock, one without waiting, and closes. The peer, a
//! plain socket, prints what it gets: three lines in order, then the end.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{BufRead, BufReader},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bufferevent::{Bufferevent, Handle, Runtime};

/// Runs on a thread of the program's own.
fn write_and_close(connection: &Handle) -> bufferevent::Result<()> {
    // Several operations as one: no callback runs and nobody else writes between them.
    let mut locked = connection.lock()?;
    locked.write(b"first, under the lock\n")?;
    locked.write(b"second, under the same lock\n")?;
    drop(locked);
    // Never waits: if the connection is busy on a worker, this goes to its mailbox.
    connection.write(b"third, without waiting\n")?;
    // Graceful: what was written is sent first.
    let left = connection.close_and_wait()?;
    println!("closed, {} bytes unsent", left.unsent);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let runtime = Runtime::builder().workers(2).build()?;
    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };

    let peer = TcpStream::connect(listener.local_addr()?)?;
    let (accepted, _) = listener.accept()?;
    let connection = Bufferevent::socket(accepted).threadsafe().start(&mut runtime.bases()[0])?;

    let writer = thread::spawn(move || write_and_close(&connection));
    for line in BufReader::new(peer).lines() {
        println!("peer got: {}", line?);
    }
    writer.join().map_err(|_| "the writer panicked")??;

    runtime.shutdown(Duration::from_secs(1))?;
    running.join().map_err(|_| "the runtime panicked")??;
    Ok(())
}
