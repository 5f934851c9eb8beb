//! T12: the corpus of the fuzz targets, replayed as it is and with each byte changed in turn.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../fuzz/drive.rs"]
mod drive;

use std::{fs, path::PathBuf};

use bufferevent_ssl::{openssl::ssl::SslVersion, runtime::Census};

/// Inputs that were kept for a target, with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    let mut inputs: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}

fn folder(target: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target)
}

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 3] =
    [("server", drive::server), ("client", drive::client), ("conversation", drive::conversation)];

#[test]
fn recorded_conversations_do_no_harm() {
    let _census = Census::begin();
    for (name, target) in TARGETS {
        for (_, input) in corpus(name) {
            target(&input);
        }
    }
}

#[test]
fn nor_do_they_with_a_byte_changed_or_cut_short() {
    let _census = Census::begin();
    // One way each to change every byte: the fuzzer finds the others.
    for (name, target) in &TARGETS[..2] {
        for (_, input) in corpus(name) {
            for at in (0..input.len()).step_by(7) {
                let mut changed = input.clone();
                changed[at] ^= 1 << (at % 8);
                target(&changed);
                target(&input[..at]);
            }
        }
    }
}

/// Writes the corpus anew: `cargo test -p bufferevent-ssl --test recordings -- --ignored`.
#[test]
#[ignore = "writes files"]
fn record() {
    let _census = Census::begin();
    for (version, name) in [(SslVersion::TLS1_2, "tls12"), (SslVersion::TLS1_3, "tls13")] {
        let [server, client] = drive::record(version);
        // Each hears what the other has said.
        for (target, said) in [("server", client), ("client", server)] {
            fs::create_dir_all(folder(target)).unwrap();
            fs::write(folder(target).join(name), said).unwrap();
        }
    }
    fs::create_dir_all(folder("conversation")).unwrap();
    for (name, input) in [
        ("whole", &[0, 255][..]),
        ("flip", &[0, 0, 0, 0, 80, 1]),
        ("remove", &[1, 0, 1, 0, 5, 9]),
        ("insert", &[0, 1, 2, 0, 0, 23]),
        ("repeat", &[1, 1, 3, 0, 0, 60]),
        ("cut", &[1, 2, 4, 1, 0, 0]),
        ("several", &[0, 2, 0, 0, 9, 4, 3, 0, 40, 30, 1, 1, 1, 1]),
    ] {
        fs::write(folder("conversation").join(name), input).unwrap();
    }
}
