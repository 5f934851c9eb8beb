//! What the documents name is there: C names, calls, tests.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const CRATES: [&str; 6] = ["sync", "evbuffer", "ratelimit", "runtime", "bufferevent", "ssl"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources in a folder of each of the crates.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| root().join(name).join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder}");
    found
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// The cells of each row of the tables in `text`, without the heads.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &&str| line.starts_with("|-");
    let is_row = |at: usize| {
        lines[at].starts_with('|') && !is_rule(&lines[at]) && !lines.get(at + 1).is_some_and(is_rule)
    };
    let cells = |line: &str| {
        let line = line.trim().trim_start_matches('|').trim_end_matches('|');
        // A bar inside of code is none of the table's.
        let mut cells = vec![String::new()];
        let mut in_code = false;
        for character in line.chars() {
            in_code ^= character == '`';
            match character {
                '|' if !in_code => cells.push(String::new()),
                _ => cells.last_mut().unwrap().push(character),
            }
        }
        cells.iter().map(|cell| cell.trim().to_owned()).collect()
    };
    (0..lines.len()).filter(|at| is_row(*at)).map(|at| cells(lines[at])).collect()
}

/// What stands between backticks.
fn spans(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The rows of the index: C names, what they are here.
fn index() -> Vec<(Vec<String>, String)> {
    let page = document("migrating-from-libevent.md");
    let (_, index) = page.split_once("\n## Index\n").unwrap();
    let rows: Vec<_> = rows(index)
        .into_iter()
        .map(|cells| (spans(&cells[0]).iter().map(|name| (*name).to_owned()).collect(), cells[1].clone()))
        .collect();
    assert!(rows.len() > 100, "{}", rows.len());
    rows
}

/// Every C name that the rustdoc finds.
fn aliases() -> BTreeSet<String> {
    let of = |text: &str| -> Vec<String> {
        let pieces = text.split("#[doc(alias = \"").skip(1);
        pieces.map(|piece| piece.split('"').next().unwrap().to_owned()).collect()
    };
    sources("src").iter().flat_map(|(_, text)| of(text)).collect()
}

/// `Type::item` for every function, constant, variant and field that is named in an `impl`, a `trait`, an `enum` or a
/// `struct` at the margin, and the names of the types and functions there.
fn items() -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    for (_, text) in sources("src") {
        let mut owner = String::new();
        for line in text.lines() {
            if let Some(name) = owner_of(line) {
                items.insert(name.to_owned());
                owner = name.to_owned();
            } else if let Some(item) = line.strip_prefix("    ").and_then(item_of) {
                items.insert(format!("{owner}::{item}"));
            }
        }
    }
    items
}

/// The name of what a line at the margin begins: of an `impl` the type's.
fn owner_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let (keyword, rest) = line.split_at(line.find([' ', '<'])?);
    match keyword {
        "impl" => {
            let rest = skip_generics(rest).trim_start();
            Some(word(rest.split_once(" for ").map_or(rest, |(_, of)| of)))
        }
        "struct" | "enum" | "trait" | "type" | "fn" => Some(word(rest.trim_start())),
        _ => None,
    }
}

/// `rest` without the `<..>` that it may begin with.
fn skip_generics(rest: &str) -> &str {
    let mut depth = 0;
    for (at, character) in rest.char_indices() {
        match character {
            '<' => depth += 1,
            '>' if !rest[..at].ends_with('-') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return rest[at..].trim_start_matches('>');
        }
    }
    rest
}

/// The name of the item that a line begins, one level in.
fn item_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("const ").unwrap_or(line);
    let name = word(line.strip_prefix("fn ").unwrap_or(line));
    (!name.is_empty()).then_some(name)
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Whether a row is about something that is not here, now or for ever.
fn is_absent(here: &str) -> bool {
    here.starts_with("later") || here.starts_with("none")
}

#[test]
fn every_c_name_that_the_rustdoc_finds_is_in_the_index() {
    let named: BTreeSet<String> = index().into_iter().flat_map(|(names, _)| names).collect();
    let missing: Vec<String> = aliases().difference(&named).cloned().collect();
    assert!(missing.is_empty(), "no row in docs/migrating-from-libevent.md for {missing:?}");
}

#[test]
fn what_the_index_says_is_here_is_found_by_its_c_name() {
    let aliases = aliases();
    let present = index().into_iter().filter(|(_, here)| !is_absent(here)).flat_map(|(names, _)| names);
    let missing: Vec<String> = present.filter(|name| !aliases.contains(name)).collect();
    assert!(missing.is_empty(), "no #[doc(alias)] for {missing:?}");
}

#[test]
fn what_the_index_says_is_not_here_has_no_alias() {
    let aliases = aliases();
    let absent = index().into_iter().filter(|(_, here)| is_absent(here)).flat_map(|(names, _)| names);
    let found: Vec<String> = absent.filter(|name| aliases.contains(name)).collect();
    assert!(found.is_empty(), "in docs/migrating-from-libevent.md these are there now: {found:?}");
}

#[test]
fn no_c_name_is_in_the_index_twice() {
    let mut seen = BTreeSet::new();
    let twice: Vec<String> =
        index().into_iter().flat_map(|(names, _)| names).filter(|name| !seen.insert(name.clone())).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn every_call_that_the_documents_name_exists() {
    let items = items();
    let mut missing = BTreeSet::new();
    let texts = index().into_iter().map(|(_, here)| here);
    let calls = rows(&document("calls.md")).into_iter().map(|cells| cells[0].clone());
    for text in texts.chain(calls) {
        for span in spans(&text).into_iter().filter(|span| span.starts_with(char::is_uppercase)) {
            if !items.contains(span) && !is_foreign(span) {
                missing.insert(span.to_owned());
            }
        }
    }
    assert!(missing.is_empty(), "no such item: {missing:?}");
}

/// Of std or `bytes`, or an answer.
fn is_foreign(span: &str) -> bool {
    matches!(span, "Bytes" | "IoSlice" | "Result" | "WouldDeadlock" | "AlreadyConnected") || !is_path(span)
}

fn is_path(span: &str) -> bool {
    span.split("::").all(|part| !part.is_empty() && word(part) == part)
}

#[test]
fn every_source_has_its_line_in_the_code_map() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, map) = text.split_once("\n## Code map\n").unwrap();
    let words: BTreeSet<&str> = map.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    // A folder in the map stands for the files in it.
    let is_named = |path: &PathBuf| {
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        let of_folder = folder.is_some_and(|folder| map.contains(&format!("`{folder}/*`")));
        of_folder || path.file_stem().and_then(|stem| stem.to_str()).is_some_and(|stem| words.contains(stem))
    };
    let missing: Vec<PathBuf> =
        sources("src").into_iter().map(|(path, _)| path).filter(|path| !is_named(path)).collect();
    assert!(missing.is_empty(), "no line in ARCHITECTURE.md for {missing:?}");
}

#[test]
fn every_test_that_the_documents_name_exists() {
    let tests: Vec<(PathBuf, String)> =
        sources("tests").into_iter().chain(sources("src")).chain(others()).collect();
    let named: Vec<String> = ["deviations.md", "calls.md"]
        .iter()
        .flat_map(|name| rows(&document(name)))
        .filter_map(|cells| cells.last().cloned())
        .flat_map(|cell| spans(&cell).into_iter().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert!(named.len() > 100, "{}", named.len());
    let missing: BTreeSet<&String> = named.iter().filter(|name| !is_test(name, &tests)).collect();
    assert!(missing.is_empty(), "no such test: {missing:?}");
}

/// The tests of what nobody imports.
fn others() -> Vec<(PathBuf, String)> {
    let files = |folder: &str| fs::read_dir(root().join(folder)).into_iter().flatten();
    let paths = files("cli/tests/cli").chain(files("examples/tests")).chain(files("loom-tests/tests"));
    let paths = paths.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    paths.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// `file.rs`, `module::*`, `module::name` or `name`.
fn is_test(name: &str, tests: &[(PathBuf, String)]) -> bool {
    if name.ends_with(".rs") {
        return tests.iter().any(|(path, _)| path.ends_with(name));
    }
    let name = name.rsplit(": ").next().unwrap_or(name);
    let (module, function) = name.rsplit_once("::").unwrap_or(("", name));
    let module = module.rsplit("::").next().unwrap_or(module);
    let is_of = |path: &Path| {
        module.is_empty() || path.with_extension("").components().any(|part| part.as_os_str() == module)
    };
    let call = match function.strip_suffix('*') {
        Some(beginning) => format!("fn {beginning}"),
        None => format!("fn {function}("),
    };
    tests.iter().any(|(path, text)| is_of(path) && text.contains(&call))
}
