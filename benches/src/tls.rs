//! TLS of the yardstick and of the load client, by OpenSSL alone.
//!
//! The server's settings are those of our crate `ssl`: TLS 1.2 and 1.3, the profile `mozilla_intermediate_v5`, a P-256
//! certificate signed by itself, two tickets, no cache of sessions, no renegotiation; OpenSSL's buffers are released while
//! they are empty. The client believes every server, and resumes nothing.

use std::io;

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    Ssl, SslAcceptor, SslContext, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVersion,
};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};

/// Makes what the connections of a server share.
pub(crate) fn server() -> io::Result<SslContext> {
    Ok(server_context()?)
}

/// Makes what the connections of a client share.
pub(crate) fn client() -> io::Result<SslContext> {
    Ok(client_context()?)
}

/// Makes one side of a connection: the server's `accepts`.
pub(crate) fn side(context: &SslContext, accepts: bool) -> io::Result<Ssl> {
    let mut ssl = Ssl::new(context)?;
    if accepts {
        ssl.set_accept_state()
    } else {
        ssl.set_connect_state()
    }
    Ok(ssl)
}

fn server_context() -> Result<SslContext, ErrorStack> {
    let key = PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?)?)?;
    let mut context = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_options(SslOptions::NO_RENEGOTIATION | SslOptions::NO_COMPRESSION);
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_num_tickets(2)?;
    context.set_certificate(&*certificate(&key)?)?;
    context.set_private_key(&key)?;
    Ok(context.build().into_context())
}

fn client_context() -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_mode(SslMode::ENABLE_PARTIAL_WRITE | SslMode::ACCEPT_MOVING_WRITE_BUFFER);
    // One call a reply, where that is one record.
    context.set_read_ahead(true);
    Ok(context.build())
}

fn certificate(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::ONE, false)?;
    let mut subject = X509NameBuilder::new()?;
    subject.append_entry_by_nid(Nid::COMMONNAME, "a yardstick")?;
    let subject = subject.build();
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(7)?)?;
    let names = SubjectAlternativeName::new().dns("localhost").build(&builder.x509v3_context(None, None))?;
    builder.append_extension(names)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
