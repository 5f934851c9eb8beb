//! Every default limit of TLS, in one table.

use std::fmt;

use bufferevent::HANDSHAKE_TIMEOUT;

/// Bytes that may be taken from the peer before the handshake is over.
pub const HANDSHAKE_BYTES: usize = 64 * 1024;
/// Bytes of data in one record at most: all that TLS allows.
pub const RECORD: usize = 16 * 1024;
/// Bytes of data below which no record is made to fit a limit.
pub const RECORD_MIN: usize = 1024;
/// Bytes of ciphertext that one call takes, up to the end of a record.
pub const BYTES_PER_CALL: usize = 64 * 1024;
/// Records that one call takes.
pub const RECORDS_PER_CALL: usize = 64;
/// Bytes of replies that wait to be sent before no more is taken from the peer, who asks for them.
pub const REPLIES: usize = 64 * 1024;
/// Records without data in a row before the connection is given up.
pub const FLOOD_IN_A_ROW: u32 = 32;
/// Such records at once, with data in between.
pub const FLOOD_BURST: u32 = 64;
/// Such records a second after that.
pub const FLOOD_PER_SECOND: u64 = 10;
/// Sessions that a connector keeps.
pub const SESSIONS: usize = 256;
/// Sessions it keeps of one server.
pub const SESSIONS_PER_SERVER: usize = 2;
/// Tickets that a server gives after a handshake.
pub const TICKETS: usize = 2;
/// Certificates between the peer's and one that is trusted.
pub const VERIFY_DEPTH: u32 = 8;

/// Prints every default limit, one a line.
///
/// ```
/// println!("{}", bufferevent_ssl::Defaults);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Defaults;

impl fmt::Display for Defaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            (
                "TLS: handshake, at most; bytes from the peer",
                format!("{HANDSHAKE_TIMEOUT:?}; {HANDSHAKE_BYTES}"),
            ),
            ("TLS: data in a record, bytes; to fit a limit", format!("{RECORD}; {RECORD_MIN}")),
            ("TLS: per call, bytes; records", format!("{BYTES_PER_CALL}; {RECORDS_PER_CALL}")),
            ("TLS: replies that wait, bytes", REPLIES.to_string()),
            (
                "TLS: records without data, in a row; at once; rate",
                format!("{FLOOD_IN_A_ROW}; {FLOOD_BURST}; {FLOOD_PER_SECOND}/s"),
            ),
            ("TLS: sessions kept; of one server", format!("{SESSIONS}; {SESSIONS_PER_SERVER}")),
            ("TLS: tickets a server gives", TICKETS.to_string()),
            ("TLS: certificates between, at most", VERIFY_DEPTH.to_string()),
        ];
        for (name, value) in rows {
            writeln!(f, "{name:<52}{value}")?;
        }
        Ok(())
    }
}
