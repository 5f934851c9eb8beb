//! Connecting by name: to one that is known, of whose addresses the first is refused, and to one that is not known.
//!
//! ```text
//! cargo run -p examples --example connect_by_name                      # names that the example itself knows
//! cargo run -p examples --example connect_by_name -- localhost 7000    # a name that the system knows
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    error::Error,
    net::{SocketAddr, TcpListener},
};

use bufferevent::{
    Base, Bufferevent, Callbacks, Event, LookupError, Pinned, Query, Resolver, ResolverExt, Turned,
};

/// Any function that blocks will do: it runs on the resolver's threads.
fn look_up(query: &Query) -> Result<Vec<SocketAddr>, LookupError> {
    match query.name() {
        // Nobody listens at the first.
        "service" => Ok([9, 1].map(|host| SocketAddr::from(([127, 0, 0, host], 0))).to_vec()),
        _ => Err(LookupError::NotFound),
    }
}

/// Connects, tells how that ended, and closes.
fn connect(base: &mut Base<Pinned>, host: &str, port: u16) -> bufferevent::Result<()> {
    let name = host.to_owned();
    let handler = Callbacks::<Pinned>::new().on_event(move |cx, event| {
        match event {
            Event::Connected => match cx.peer_addr() {
                Ok(address) => println!("{name}: connected to {:?}", address.as_socket()),
                Err(error) => println!("{name}: connected, and gone: {error}"),
            },
            Event::Error { cause, .. } => println!("{name}: {cause}"),
            _ => {}
        }
        cx.close();
    });
    Bufferevent::connect_host(host, port).handler(handler).start(base)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut base = Base::<Pinned>::new()?;
    let mut arguments = std::env::args().skip(1);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    match (arguments.next(), arguments.next()) {
        (Some(host), Some(port)) => connect(&mut base, &host, port.parse()?)?,
        _ => {
            base.set_resolver(Resolver::builder().function(look_up).build());
            let port = listener.local_addr()?.port();
            connect(&mut base, "service", port)?;
            connect(&mut base, "nowhere", port)?;
        }
    }
    // Nothing blocks, and a connection that is closed is gone: it ends when both are.
    assert_eq!(base.run()?, Turned::Empty);
    Ok(())
}
