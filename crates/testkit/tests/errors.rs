//! Every message with which a node or one of its commands may end stands in docs/operations.md,
//! word by word, with what to do about it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Where such errors are defined: files, and folders with all their files.
const PLACES: [&str; 10] = [
    "node/src",
    "crates/ledger/src/ledger.rs",
    "crates/ledger/src/store.rs",
    "crates/ledger/src/chain_file.rs",
    "crates/ledger/src/care/mod.rs",
    "crates/network/src/error.rs",
    "crates/rpc/src/run_file.rs",
    "crates/rpc/src/client.rs",
    "crates/rpc/src/client/way.rs",
    "crates/consensus/src/genesis_file.rs",
];
/// Defined there, and no end of anything.
const OTHERS: [&str; 5] = [
    // Why a header is refused: a peer's business.
    "unknown parent",
    "too far in the future",
    "known to be invalid: …",
    // Of the store of tests.
    "… is not possible on a store in memory",
    // The node's own words, in rpc.md.
    "……",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() {
        return vec![place.to_owned()];
    }
    let entries = fs::read_dir(place).unwrap_or_else(|error| panic!("{place:?}: {error}"));
    let paths = entries.map(|entry| entry.expect("a directory is listed").path());
    paths.flat_map(|path| sources(&path)).collect()
}

/// The texts of `#[error("…")]` in a source, what is filled in shown as `…`.
fn messages(source: &str) -> Vec<String> {
    let attributes = source.split("#[error(").skip(1);
    attributes.filter_map(|rest| Some(shown(rest.trim_start().strip_prefix('"')?))).collect()
}

/// A string literal from behind its first quote up to its last.
fn shown(literal: &str) -> String {
    let mut text = String::new();
    let mut characters = literal.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                // The literal goes on in the next line.
                Some('\n') => while characters.next_if(|next| next.is_whitespace()).is_some() {},
                Some(escaped) => text.push(escaped),
                None => break,
            },
            '{' if characters.next_if_eq(&'{').is_some() => text.push('{'),
            '{' => {
                while characters.next().is_some_and(|next| next != '}') {}
                text.push('…');
            }
            other => text.push(other),
        }
    }
    text
}

#[test]
fn each_error_of_the_node_stands_in_the_operators_guide() {
    let guide = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let rows: BTreeSet<&str> =
        guide.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next()).collect();
    let sources: Vec<_> = PLACES.iter().flat_map(|place| sources(&root().join(place))).collect();
    let mut found = BTreeSet::new();
    for path in sources.iter().filter(|path| path.extension().is_some_and(|e| e == "rs")) {
        found.extend(messages(&fs::read_to_string(path).unwrap()));
    }
    let start = fs::read_to_string(root().join("crates/rpc/src/server/mod.rs")).unwrap();
    found.extend(messages(&start));
    assert!(found.len() > 90, "{}", found.len());
    let is_told = |message: &&String| !OTHERS.contains(&message.as_str());
    let missing: Vec<_> =
        found.iter().filter(is_told).filter(|text| !rows.contains(text.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/operations.md: {missing:#?}");
    for other in OTHERS {
        assert!(found.contains(other), "{other} is no error any more");
    }
}
