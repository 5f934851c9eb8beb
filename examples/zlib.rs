//! A page that is compressed on its way, from a server to a client in the same process.
//!
//! ```text
//! cargo run -p examples --example zlib
//! ```
//!
//! The client asks, and flushes: else its question could wait in the compressor for more. The server answers and closes,
//! which sends all that the compressor has.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    net::{TcpListener, TcpStream},
};

use bufferevent::{
    Base, BaseExt as _, Bufferevent, Context, Event, FlushMode, Handler, Interest, Pinned, Turned,
    evbuffer::Eol,
};
use examples::Zlib;

struct Server;

impl Handler<Pinned> for Server {
    fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
        if let Ok(Some(question)) = cx.input().readln(Eol::Lf) {
            println!("asked for {:?}", String::from_utf8_lossy(&question));
            let answered = cx.write("<p>all the same</p>\n".repeat(50_000).as_bytes());
            println!("answered: {}", answered.is_ok());
            cx.close();
        }
    }

    fn on_event(&mut self, cx: &mut Context<'_, Pinned>, event: Event) {
        if event.is_terminal() {
            cx.close();
        }
    }
}

#[derive(Default)]
struct Client {
    got: usize,
}

impl Handler<Pinned> for Client {
    fn on_read(&mut self, cx: &mut Context<'_, Pinned>) {
        let n = cx.input().len();
        self.got += cx.input().drain(n).unwrap_or(0);
    }

    fn on_event(&mut self, cx: &mut Context<'_, Pinned>, event: Event) {
        match event {
            Event::Eof => {
                let received = cx.underlying().map_or(0, |wire| wire.explain().read.moved);
                println!("got {} bytes, {received} of them over the wire", self.got);
            }
            Event::Error { cause, .. } => println!("failed: {cause}"),
            _ => return,
        }
        cx.close();
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;

    let mut base = Base::<Pinned>::new()?;
    Bufferevent::socket(server).filter(Zlib::new(6)).handler(Server).start(&mut base)?;
    let question = Bufferevent::socket(client).filter(Zlib::new(6)).handler(Client::default());
    let id = question.start(&mut base)?;
    let client = base.bufferevent(id)?;
    client.write(b"the page\n")?;
    client.flush(Interest::WRITE, FlushMode::Flush)?;
    assert_eq!(base.run()?, Turned::Empty);
    Ok(())
}
