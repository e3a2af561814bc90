//! Style and architecture as a test, so that nobody needs a tool to keep them: arrows between
//! crates point down, files stay readable, rule codes stand in code and tests, nothing is left
//! half-done.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Which crates of the project each may name, in `[dependencies]`. A crate that is not listed
/// fails the test: drawing its arrows is part of adding it.
const ARROWS: &[(&str, &[&str])] = &[
    ("ashlar-primitives", &[]),
    ("ashlar-consensus", &["ashlar-primitives"]),
    ("ashlar-ledger", &["ashlar-primitives", "ashlar-consensus"]),
    ("ashlar-mempool", &["ashlar-primitives", "ashlar-consensus"]),
    (
        "ashlar-engine",
        &["ashlar-primitives", "ashlar-consensus", "ashlar-ledger", "ashlar-mempool"],
    ),
    ("ashlar-network", &["ashlar-primitives", "ashlar-engine"]),
    ("ashlar-sha256d", &[]),
    ("ashlar-miner", &["ashlar-primitives", "ashlar-sha256d"]),
    (
        "ashlar-rpc",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-ledger",
            "ashlar-mempool",
            "ashlar-engine",
            "ashlar-miner",
        ],
    ),
    ("ashlar-testkit", &["ashlar-primitives", "ashlar-consensus", "ashlar-ledger"]),
    (
        "ashlar-fuzz",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-ledger",
            "ashlar-mempool",
            "ashlar-engine",
            "ashlar-testkit",
        ],
    ),
    (
        "ashlar-simulator",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-ledger",
            "ashlar-mempool",
            "ashlar-engine",
            "ashlar-testkit",
        ],
    ),
    ("ashlar-processes", &["ashlar-primitives", "ashlar-rpc"]),
    (
        "ashlar-testnet",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-miner",
            "ashlar-processes",
            "ashlar-rpc",
        ],
    ),
    (
        "ashlar-bench",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-ledger",
            "ashlar-mempool",
            "ashlar-processes",
            "ashlar-rpc",
            "ashlar-sha256d",
            "ashlar-testkit",
        ],
    ),
    (
        "ashlar-node",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-ledger",
            "ashlar-mempool",
            "ashlar-engine",
            "ashlar-network",
            "ashlar-miner",
            "ashlar-rpc",
        ],
    ),
    ("ashlar-wallet", &["ashlar-primitives", "ashlar-consensus", "ashlar-rpc"]),
    (
        "ashlar-e2e",
        &[
            "ashlar-primitives",
            "ashlar-consensus",
            "ashlar-processes",
            "ashlar-rpc",
            "ashlar-testkit",
        ],
    ),
    ("ashlar-hostile", &["ashlar-primitives"]),
];

/// What the wallet must never pull in, by any path.
const NOT_IN_WALLET: &[&str] =
    &["ashlar-ledger", "ashlar-engine", "ashlar-network", "rocksdb", "libp2p"];

/// Lines of a file before its tests.
const FILE_BUDGET_LINES: usize = 650;
/// Files over the budget, each with its own budget and the reason.
const LARGER_FILES: &[(&str, usize, &str)] = &[];
/// Lines of code in `crates/consensus/src`: neither blank nor comment, before tests, and without
/// [`NOT_A_RULE`].
const CONSENSUS_BUDGET_LINES: usize = 1_500;
/// Files that hold no rule of consensus: how `genesis.json` is written, how hashing is saved, and how
/// work is cut for several cores.
const NOT_A_RULE: &[&str] = &[
    "crates/consensus/src/genesis_file.rs",
    "crates/consensus/src/parts.rs",
    "crates/consensus/src/workers.rs",
];

/// Marks of unfinished work, split so that this file does not hold them.
const UNFINISHED: &[&str] = &[
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ign", "ore"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>());
    let mut paths = paths.unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    paths.sort();
    paths
}

fn members() -> Vec<PathBuf> {
    let mut members =
        ["node", "wallet", "tests", "tests/hostile"].map(|member| root().join(member)).to_vec();
    members.extend(entries(&root().join("crates")));
    members
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in entries(directory) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_rust_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for member in members() {
        rust_files(&member, &mut files);
    }
    // a member may stand in another's folder
    files.sort();
    files.dedup();
    files
}

fn name_of(path: &Path) -> String {
    path.strip_prefix(root()).expect("a file of the repository").display().to_string()
}

/// Code before the tests of a file; nothing for a file that is all tests.
fn code_of(path: &Path, text: &str) -> String {
    let name = name_of(path);
    if name.contains("/tests/") || name.starts_with("tests/") || name.ends_with("tests.rs") {
        return String::new();
    }
    text.lines()
        .take_while(|line| line.trim() != "#[cfg(test)]")
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn arrows_between_crates_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for member in members() {
        let manifest: toml::Table = read(&member.join("Cargo.toml")).parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let allowed = allowed.get(name).unwrap_or_else(|| {
            panic!("{name} has no arrows in tidy.rs: which crates may it name?")
        });
        let Some(dependencies) = manifest.get("dependencies") else { continue };
        for dependency in dependencies.as_table().unwrap().keys() {
            assert!(
                !dependency.starts_with("ashlar-") || allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency} (docs/architecture.md)"
            );
        }
    }
}

#[test]
fn the_wallet_knows_nodes_by_rpc_alone() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "ashlar-wallet", "-e", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<&str> =
        tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains("ashlar-rpc"), "the tree is not the wallet's:\n{tree}");
    for unwanted in NOT_IN_WALLET {
        assert!(!crates.contains(unwanted), "the wallet pulls in {unwanted}");
    }
}

#[test]
fn files_stay_within_their_budget() {
    let mut over = Vec::new();
    for path in all_rust_files() {
        let name = name_of(&path);
        let text = read(&path);
        let lines = match code_of(&path, &text) {
            code if code.is_empty() => text.lines().count(),
            code => code.lines().count(),
        };
        let budget = LARGER_FILES
            .iter()
            .find(|(file, _, _)| *file == name)
            .map_or(FILE_BUDGET_LINES, |(_, budget, _)| *budget);
        if lines > budget {
            over.push(format!("{name}: {lines} lines, budget {budget}"));
        }
    }
    assert!(over.is_empty(), "redraw the room, or give a reason in tidy.rs:\n{}", over.join("\n"));
    for (file, _, reason) in LARGER_FILES {
        assert!(root().join(file).exists() && !reason.is_empty(), "{file} needs no larger budget");
    }
}

#[test]
fn the_rules_can_be_read_in_an_evening() {
    let mut files = Vec::new();
    rust_files(&root().join("crates/consensus/src"), &mut files);
    let before = files.len();
    files.retain(|path| !NOT_A_RULE.contains(&name_of(path).as_str()));
    assert_eq!(files.len() + NOT_A_RULE.len(), before, "{NOT_A_RULE:?}: one was not found");
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines: usize =
        files.iter().map(|path| code_of(path, &read(path)).lines().filter(is_code).count()).sum();
    assert!(lines > 500, "the rules were not found");
    assert!(lines <= CONSENSUS_BUDGET_LINES, "consensus has {lines} lines of code");
}

#[test]
fn nothing_is_left_half_done() {
    let mut found = Vec::new();
    for path in all_rust_files() {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            for mark in UNFINISHED {
                if line.contains(mark) {
                    found.push(format!("{}:{}: {}", name_of(&path), number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn what_the_compiler_cannot_prove_has_one_home() {
    // The workspace's lint denies it where nobody lifts the lint by name. (Split, so that this
    // file does not hold the name.)
    let lifted = concat!("unsafe", "_code");
    let home = "crates/sha256d/src/";
    let lifting: Vec<String> = all_rust_files()
        .iter()
        .filter(|path| read(path).contains(lifted))
        .map(|path| name_of(path))
        .collect();
    assert!(!lifting.is_empty(), "{home} was not found");
    assert!(lifting.iter().all(|file| file.starts_with(home)), "{lifting:?}");
    for member in members() {
        let manifest = read(&member.join("Cargo.toml"));
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} is not linted",
            member.display()
        );
    }
}

/// The codes of PROTOCOL.md §8 and §13: what stands in backticks and is made of small words
/// joined by hyphens.
fn codes_of_the_protocol() -> BTreeSet<String> {
    let text = read(&root().join("docs/protocol.md"));
    let section = |number: &str| {
        let start = text.find(&format!("\n## {number}. ")).expect("the section is there");
        let rest = &text[start + 4..];
        rest[..rest.find("\n## ").unwrap_or(rest.len())].to_owned()
    };
    let is_code = |text: &str| {
        (text.contains('-') || text == "malformed" || text == "known")
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    [section("8"), section("13")]
        .iter()
        .flat_map(|section| {
            section.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|text| is_code(text))
        .collect()
}

#[test]
fn every_code_stands_in_the_code_and_in_a_test() {
    let codes = codes_of_the_protocol();
    assert!(codes.len() >= 30, "too few codes found: {codes:?}");
    let (mut code, mut tests) = (String::new(), String::new());
    for path in all_rust_files() {
        let text = read(&path);
        let before = code_of(&path, &text);
        tests.push_str(&text[before.len().min(text.len())..]);
        code.push_str(&before);
    }
    for path in entries(&root().join("tests/vectors")) {
        if path.extension().is_some_and(|extension| extension == "json") {
            tests.push_str(&read(&path));
        }
    }
    for wanted in codes {
        let quoted = format!("\"{wanted}\"");
        assert!(code.contains(&quoted), "no code reports {wanted}");
        assert!(tests.contains(&quoted), "no test expects {wanted}");
    }
}
