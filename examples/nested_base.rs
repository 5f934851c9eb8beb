//! A base inside a loop of the program's own, here a plain `poll(2)`: an echo server beside something that the program
//! waits for itself.
//!
//! ```text
//! cargo run -p examples --example nested_base
//! ```
//!
//! The program's loop waits for a pipe of its own and for the base's one descriptor. When that is readable it turns the
//! base, with a timeout of zero, and waits again. It prints what came over the pipe, what the echo answered, and a timer's
//! three ticks, and ends after both.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::{fd::AsFd, unix::net::UnixStream},
    thread,
    time::Duration,
};

use bufferevent::{Base, Bufferevent, Callbacks, Context, Event, Listener, Pinned, Turned, What};
use rustix::event::{PollFd, PollFlags, poll};

/// Echoes until the peer ends its side.
fn serve(base: &mut Base<Pinned>) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = Listener::bind("127.0.0.1:0")?.start(base, |connection, base: &mut Base<Pinned>| {
        let echo = Callbacks::new()
            .on_read(|cx: &mut Context<'_, Pinned>| {
                let (input, output) = cx.buffers();
                let _stays_if_refused = output.append(input);
            })
            .on_event(|cx, event: Event| {
                if event.is_terminal() {
                    cx.close();
                }
            });
        Bufferevent::socket(connection).handler(echo).start(base)?;
        Ok(())
    })?;
    Ok(listener.local_addr().ok_or("no address")?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut base = Base::<Pinned>::new()?;
    let address = serve(&mut base)?;
    let mut ticks = 0;
    base.user_event(What::NONE.timeout(Duration::from_millis(50)), move |event, base| {
        ticks += 1;
        println!("tick {ticks}");
        if ticks == 3 {
            base.cancel(event.id());
            base.exit();
        }
    });
    // From now on its descriptor is readable whenever a turn would find something to do, timers included.
    base.nest()?;

    let (mut ours, mut theirs) = UnixStream::pair()?;
    let client = thread::spawn(move || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"through the base")?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        theirs.write_all(answer.as_bytes())
    });

    let (mut ours_open, mut ticking) = (true, true);
    while ours_open || ticking {
        let (base_ready, ours_ready) = {
            let base_fd = base.as_fd();
            let mut polled = [PollFd::new(&base_fd, PollFlags::IN), PollFd::new(&ours, PollFlags::IN)];
            // Without the pipe once that has ended.
            let waited = if ours_open { 2 } else { 1 };
            poll(&mut polled[..waited], None)?;
            (!polled[0].revents().is_empty(), !polled[1].revents().is_empty())
        };
        if ours_ready {
            let mut text = [0; 64];
            let n = ours.read(&mut text)?;
            if n > 0 {
                println!("the pipe says: {}", String::from_utf8_lossy(&text[..n]));
            }
            ours_open = n > 0;
        }
        if base_ready && base.turn(Some(Duration::ZERO))? == Turned::Exited {
            ticking = false;
        }
    }
    client.join().map_err(|_| "the client panicked")??;
    println!("the loop is over");
    Ok(())
}
