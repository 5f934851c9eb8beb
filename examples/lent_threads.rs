//! Embedding: the program lends threads of its own to the runtime, which makes none.
//!
//! ```text
//! cargo run -p examples --example lent_threads
//! ```
//!
//! Three threads of the program's pool become workers. Each connection is answered with the name of the thread that ran
//! it, then the runtime shuts down and the pool has its threads back.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use bufferevent::{Bufferevent, Callbacks, Context, Runtime};

/// Answers each message with the name of the thread that runs the callback.
fn answer(cx: &mut Context<'_>) {
    let message = cx.input().to_vec();
    let thread = thread::current();
    let text = format!("{} got {:?}", thread.name().unwrap_or("?"), String::from_utf8_lossy(&message));
    let room = cx.write(text.as_bytes());
    if room.is_ok() {
        // What was written is sent before the connection ends.
        cx.close();
    }
}

fn ask(address: SocketAddr, message: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(message.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::builder().workers(3).build()?;
    let listener = runtime.listen("127.0.0.1:0", |connection, base| {
        Bufferevent::socket(connection).handler(Callbacks::new().on_read(answer)).start(base)?;
        Ok(())
    })?;
    let address = listener.local_addr().ok_or("no address")?;

    let mut pool = Vec::new();
    while let Ok(worker) = runtime.worker() {
        let name = format!("pool-{}", worker.index());
        pool.push(thread::Builder::new().name(name).spawn(move || worker.run())?);
    }
    println!("lent {} threads", pool.len());

    for message in ["one", "two", "three", "four"] {
        println!("{}", ask(address, message)?);
    }

    runtime.shutdown(Duration::from_secs(1))?;
    for thread in pool {
        thread.join().map_err(|_| "a worker panicked")??;
    }
    println!("all threads are back");
    Ok(())
}
