//! What comments and lists say about models and mutants is true.

#![cfg(loom)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The shipped modules that models drive.
const MODULES: [&str; 5] =
    ["../ratelimit/src", "../runtime/src", "../runtime/src/protocol", "../sync/src/model", "src"];

/// All Rust files in `folder`: (name without extension, text).
fn files(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder)
        .expect("a folder of the repository")
        .map(|entry| entry.expect("readable").path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.file_stem().expect("has one").to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).expect("readable"))
        })
        .collect()
}

/// What follows each `opening` in `text`, up to `closing`.
fn all_between<'a>(text: &'a str, opening: &'a str, closing: char) -> impl Iterator<Item = &'a str> {
    text.split(opening).skip(1).filter_map(move |rest| rest.split(closing).next())
}

fn mutants_listed() -> BTreeSet<String> {
    let tests = files("tests");
    let text = |(_, text): &(String, String)| text.clone();
    let lists = tests.iter().map(text).collect::<String>();
    all_between(&lists, "(\"", '"').map(str::to_owned).collect()
}

#[test]
fn order_comments_name_models_that_exist() {
    let tests = files("tests");
    let models: BTreeSet<_> = tests
        .iter()
        .flat_map(|(file, text)| {
            all_between(text, "#[test]\nfn ", '(').map(move |test| format!("{file}::{test}"))
        })
        .collect();
    let mut named = 0;
    for (file, text) in MODULES.into_iter().flat_map(files) {
        let comments = text.lines().map(str::trim).filter(|line| line.starts_with("// "));
        for word in comments.flat_map(|line| line.split([' ', ',', '.', ')'])) {
            let about_a_model =
                word.split_once("::").is_some_and(|(file, _)| tests.iter().any(|(name, _)| name == file));
            if about_a_model {
                assert!(models.contains(word), "{file}.rs names {word}");
                named += 1;
            }
        }
    }
    assert!(named > 20, "the comments are found");
}

#[test]
fn every_write_and_every_mutant_is_tested() {
    let listed = mutants_listed();
    for (file, text) in MODULES.into_iter().flat_map(files) {
        for site in all_between(&text, "self.word.", ')') {
            let Some(site) = all_between(site, "(\"", '"').next().filter(|_| !site.starts_with("load"))
            else {
                continue;
            };
            let tested = ["torn", "stored"].iter().any(|kind| listed.contains(&format!("{site}:{kind}")));
            assert!(tested, "{file}.rs: no model needs {site} to be a read-modify-write");
        }
        let named =
            all_between(&text, "mutant::is(\"", '"').chain(all_between(&text, "mutant::ordering(\"", '"'));
        for name in named {
            assert!(listed.contains(name), "{file}.rs: no model for {name}");
        }
    }
}
