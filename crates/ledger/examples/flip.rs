//! Flips bits in data directories for as long as one likes: `flip [--flips N] [--seed S]`.
//!
//! Each flip is one bit anywhere in a fresh copy of a directory; everything in it is then read,
//! connected upon and undone. Prints what came of them, by kind of file; panics with the flip where
//! an answer was wrong.
#![allow(clippy::unwrap_used, reason = "a tool for developers")]

#[path = "../tests/flips/mod.rs"]
mod flips;

use std::process::ExitCode;

fn number(arguments: &[String], name: &str, default: u64) -> Option<u64> {
    match arguments.iter().position(|argument| argument == name) {
        Some(at) => arguments.get(at + 1)?.parse().ok(),
        None => Some(default),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let flips = number(&arguments, "--flips", 500);
    let seed = number(&arguments, "--seed", 1);
    let (Some(flips), Some(seed)) = (flips, seed) else {
        eprintln!("usage: flip [--flips N] [--seed S]");
        return ExitCode::FAILURE;
    };
    let folder = tempfile::tempdir().unwrap();
    let original = flips::Original::make(folder.path());
    println!("files, each kind as likely as another:");
    for (file, size) in original.files() {
        println!("{size:>10}  {}", file.display());
    }
    let flips = usize::try_from(flips).unwrap();
    let counts = flips::suffer_many(&original, flips, seed);
    println!("{flips} flips, seed {seed}:");
    for ((kind, outcome), count) in counts {
        println!("{count:>10}  {kind}: {outcome}");
    }
    ExitCode::SUCCESS
}
