//! `docs/policies.md`, as a reader follows it: every command of it in one shell, on real nodes.

use std::{
    env, fs,
    process::{Command, Stdio},
};

use crate::harness::{Net, binaries, repository};

/// The content of the fenced blocks of one kind, in order.
fn blocks<'a>(document: &'a str, kind: &str) -> Vec<&'a str> {
    let opening = format!("\n```{kind}\n");
    let parts = document.split(opening.as_str()).skip(1);
    parts.map(|part| part.split("\n```").next().unwrap()).collect()
}

/// What is shown must come out in this order; `…` stands for anything within a line.
fn assert_shows(output: &str, shown: &[&str]) {
    let mut lines = output.lines();
    for expected in shown.iter().flat_map(|block| block.lines()) {
        let parts: Vec<&str> = expected.split('…').collect();
        let fits = |line: &str| parts.iter().all(|part| line.contains(part));
        assert!(lines.any(fits), "{expected:?} is not shown in its place:\n{output}");
    }
}

#[test]
fn the_two_of_three_and_the_swap_work_as_they_are_written() {
    let document = fs::read_to_string(repository().join("docs/policies.md")).unwrap();
    let commands = blocks(&document, "sh");
    assert!(commands.len() > 10, "the document's commands were found");
    let net = Net::new();
    let script = net.path("policies.sh");
    fs::write(&script, commands.join("\n")).unwrap();
    let path = format!("{}:{}", binaries().display(), env::var("PATH").unwrap());
    // Errors among the rest, in the order of the commands that they are of.
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", "exec 2>&1; . \"$0\""])
        .arg(&script)
        .current_dir(repository())
        .env("PATH", path)
        .env("TMPDIR", net.path(""))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert_shows(&text, &blocks(&document, "text"));
}
