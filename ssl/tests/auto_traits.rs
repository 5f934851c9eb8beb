//! Which public types may change or share their thread.

use bufferevent_ssl::{
    Acceptor, AcceptorBuilder, ClientCertificates, Connector, ConnectorBuilder, DangerousConnector, Engine,
    Error, Identity, Tls,
};

fn may_move<T: Send + 'static>() {}

fn may_be_shared<T: Send + Sync + Clone + 'static>() {}

#[test]
fn connections_move_and_what_makes_them_is_shared() {
    may_move::<Engine>();
    may_move::<Tls>();
    may_move::<Error>();
    may_be_shared::<Acceptor>();
    may_be_shared::<AcceptorBuilder>();
    may_be_shared::<Connector>();
    may_be_shared::<ConnectorBuilder>();
    may_be_shared::<DangerousConnector>();
    may_be_shared::<ClientCertificates>();
    may_be_shared::<Identity>();
}
