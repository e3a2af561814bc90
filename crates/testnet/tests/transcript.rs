//! What `docs/testnet.md` shows is what happens: its transcript, run as written.

#![allow(clippy::unwrap_used, reason = "a step that fails is the test's failure")]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Between the output of two commands.
const MARK: &str = "=== next command ===";

/// A command of the transcript, and what it answers.
#[derive(Debug)]
struct Step {
    command: String,
    answer: Vec<String>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// All `console` blocks of a page, in order.
fn transcript(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for line in page.lines() {
        match line {
            "```console" => is_inside = true,
            "```" => is_inside = false,
            _ if !is_inside => {}
            _ => match line.strip_prefix("$ ") {
                Some(command) => {
                    steps.push(Step { command: command.to_owned(), answer: Vec::new() });
                }
                None => steps.last_mut().unwrap().answer.push(line.to_owned()),
            },
        }
    }
    steps
}

/// Whether a text is what a pattern says, in which `…` is anything.
fn is_like(pattern: &str, text: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == text,
        Some((head, tail)) => {
            let Some(rest) = text.strip_prefix(head) else { return false };
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| is_like(tail, &rest[at..]))
        }
    }
}

#[test]
fn the_transcript_is_what_happens() {
    let folder = tempfile::Builder::new().prefix("ashlar-transcript-").tempdir().unwrap();
    let page = std::fs::read_to_string(repository().join("docs/testnet.md")).unwrap();
    let steps = transcript(&page);
    assert!(steps.len() > 15, "{steps:?}");
    let mut script = "set -u\n".to_owned();
    for step in &steps {
        // A command that fails ends it: what comes after would mean nothing.
        script +=
            &format!("{} || {{ echo \"failed: $?\"; exit 1; }}\necho '{MARK}'\n", step.command);
    }
    let binaries = std::env::current_exe().unwrap();
    let binaries = binaries.parent().and_then(Path::parent).unwrap();
    let run = |script: &str| {
        let mut bash = Command::new("bash");
        bash.args(["-c", script]).current_dir(repository());
        bash.env("ASHLAR_TESTNET_DIR", folder.path().join("testnet"));
        bash.env("ASHLAR_BIN_DIR", binaries).env("ASHLAR_SKIP_BUILD", "1");
        bash.output().unwrap()
    };
    let output = run(&script);
    // Where it broke off, nothing stays behind.
    run("scripts/testnet.sh destroy");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let answers: Vec<&str> = said.split(&format!("{MARK}\n")).collect();
    for (step, answer) in steps.iter().zip(&answers) {
        let wanted = step.answer.join("\n");
        assert!(
            is_like(&wanted, answer.trim_end()),
            "$ {}\n--- wanted\n{wanted}\n--- answered\n{answer}\n--- errors\n{errors}",
            step.command
        );
    }
    assert!(output.status.success() && answers.len() == steps.len() + 1, "{said}\n{errors}");
}

#[test]
fn an_ellipsis_is_anything_and_the_rest_is_itself() {
    assert!(is_like("…", "") && is_like("…", "a\nb") && is_like("a…c", "abbc"));
    assert!(is_like("4 nodes are on block …", "4 nodes are on block 3, 00ab"));
    assert!(!is_like("a…c", "abcd") && !is_like("one", "one\ntwo") && !is_like("25 ASH…", "0 ASH"));
}
