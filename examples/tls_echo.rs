//! The TLS echo server of libevent's manual: what comes in goes out again, encrypted.
//!
//! ```text
//! cargo run -p examples --example tls_echo                          # a throw-away certificate
//! cargo run -p examples --example tls_echo 127.0.0.1:7443 cert.pem key.pem
//! openssl s_client -quiet -connect 127.0.0.1:7443                   # in another terminal
//! ```
//!
//! What you type into `s_client` comes back. Ctrl-C ends the server.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example shows what it does")]

use std::error::Error;

use bufferevent::{Bufferevent, Context, Event, Handler, Runtime};
use bufferevent_ssl::{Acceptor, Identity};

struct Echo;

impl Handler for Echo {
    fn on_read(&mut self, cx: &mut Context<'_>) {
        let (input, output) = cx.buffers();
        // Refused past the cap: it stays until the output has drained.
        let _ = output.append(input);
    }

    fn on_event(&mut self, cx: &mut Context<'_>, event: Event) {
        if let Event::Error { cause, .. } = &event {
            eprintln!("{cause}");
        }
        if event.is_terminal() {
            // What is left is sent, then the notice that it is the end.
            cx.close();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:7443".to_owned());
    let acceptor = match (arguments.next(), arguments.next()) {
        (Some(certificate), Some(key)) => {
            Acceptor::builder().identity(Identity::from_pem_files(certificate, key)?).build()?
        }
        _ => Acceptor::self_signed()?,
    };
    let runtime = Runtime::builder().build()?;
    let listener = runtime.listen(address, move |connection, base| {
        Bufferevent::socket(connection).filter(acceptor.accept()).handler(Echo).start(base)?;
        Ok(())
    })?;
    if let Some(address) = listener.local_addr() {
        println!("listening on {address}");
    }
    Ok(runtime.run()?)
}
