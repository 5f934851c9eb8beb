//! A proxy whose one side is compressed: plain to its clients, zlib to its server.
//!
//! ```text
//! cargo run -p examples --example compressed_proxy
//! cargo run -p examples --example compressed_proxy -- 127.0.0.1:7000 127.0.0.1:7001            # plain in, zlib out
//! cargo run -p examples --example compressed_proxy -- 127.0.0.1:7001 127.0.0.1:7002 unpack     # zlib in, plain out
//! ```
//!
//! The two together are a compressed line. Without addresses the program is its own client and server, and ends.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bufferevent::{Bufferevent, ListenerHandle, NoHandler, Pipe, Runtime};
use examples::Zlib;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};

/// Which side of the proxy is compressed.
#[derive(Clone, Copy, PartialEq)]
enum Packed {
    Front,
    Back,
}

/// Joins each connection to one to `server`. What is sent is flushed at once: a proxy does not know when somebody waits.
fn proxy(
    runtime: &Runtime,
    address: &str,
    server: SocketAddr,
    packed: Packed,
) -> bufferevent::Result<ListenerHandle> {
    Ok(runtime.listen(address, move |connection, base| {
        let (mut front, mut back) = (Bufferevent::socket(connection), Bufferevent::connect(server));
        match packed {
            Packed::Front => front = front.filter(Zlib::new(6).flushing()),
            Packed::Back => back = back.filter(Zlib::new(6).flushing()),
        }
        let front = front.handler(NoHandler).start(base)?;
        let back = back.handler(NoHandler).start(base)?;
        Ok(Pipe::new().join_on(base, front, back)?)
    })?)
}

/// Answers what it is sent, in upper case.
fn serve(listener: &TcpListener) -> std::io::Result<()> {
    let (stream, _) = listener.accept()?;
    let mut text = String::new();
    ZlibDecoder::new(&stream).read_to_string(&mut text)?;
    println!("the server inflated {} bytes", text.len());
    let mut answer = ZlibEncoder::new(&stream, Compression::default());
    answer.write_all(text.to_uppercase().as_bytes())?;
    answer.finish()?;
    stream.shutdown(Shutdown::Write)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = Runtime::builder().build()?;
    if let [from, to, side @ ..] = &arguments[..] {
        let packed = if side.is_empty() { Packed::Back } else { Packed::Front };
        proxy(&runtime, from, to.parse()?, packed)?;
        return Ok(runtime.run()?);
    }

    let server = TcpListener::bind("127.0.0.1:0")?;
    let listener = proxy(&runtime, "127.0.0.1:0", server.local_addr()?, Packed::Back)?;
    let serving = thread::spawn(move || serve(&server));
    let running = {
        let runtime = runtime.clone();
        thread::spawn(move || runtime.run())
    };
    let text = "all the same, again and again; ".repeat(10_000);
    let mut client = TcpStream::connect(listener.local_addr().ok_or("no address")?)?;
    client.write_all(text.as_bytes())?;
    client.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    serving.join().map_err(|_| "the server panicked")??;
    println!(
        "the client got {} bytes, {}",
        answer.len(),
        if answer == text.to_uppercase() { "all right" } else { "wrong" }
    );
    runtime.shutdown(Duration::from_secs(1))?;
    running.join().map_err(|_| "the runtime panicked")??;
    Ok(())
}
