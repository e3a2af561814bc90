//! Every target for a moment, the same inputs on every run; and no target is known to one place
//! only.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ashlar_fuzz::{
    MAX_LEN, TARGETS,
    driver::{Until, corpus, corpus_directory, run},
};

/// What the corpora may weigh together: they are kept in the repository.
const MAX_CORPUS_BYTES: usize = 300_000;

const SEED: u64 = 1;

fn fuzz_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

#[test]
fn every_target_for_a_moment() {
    let mut total = 0;
    for target in TARGETS {
        match run(target, SEED, Until::Executions(target.ci_executions)) {
            Ok(summary) => {
                total += summary.executions;
                println!(
                    "{:16} {:3} of the corpus, {:6} executions, {:5} ms",
                    target.name,
                    summary.corpus,
                    summary.executions,
                    summary.elapsed.as_millis()
                );
            }
            Err(crash) => {
                let input: String = crash.input.iter().map(|byte| format!("{byte:02x}")).collect();
                panic!("{}: {}; the input is {input}", target.name, crash.message);
            }
        }
    }
    println!("{total} executions in all");
}

#[test]
fn every_target_has_a_row_a_binary_and_a_corpus() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(listed.len(), TARGETS.len(), "two targets of one name");
    assert_eq!(names(&fuzz_directory().join("fuzz_targets")), listed);
    assert_eq!(names(&fuzz_directory().join("corpus")), listed);
    let table = fs::read_to_string(fuzz_directory().join("README.md")).unwrap();
    let manifest = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap();
    let mut corpus_bytes = 0;
    for target in TARGETS {
        let name = target.name;
        assert!(table.contains(&format!("| `{name}` |")), "{name} has no row in fuzz/README.md");
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is not built");
        let binary = fuzz_directory().join("fuzz_targets").join(format!("{name}.rs"));
        let text = fs::read_to_string(binary).unwrap();
        assert!(text.contains(&format!("\"{name}\"")), "{name}.rs runs something else");
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} is empty", corpus_directory(target).display());
        assert!(corpus.iter().all(|input| input.len() <= MAX_LEN), "{name}: too long");
        corpus_bytes += corpus.iter().map(Vec::len).sum::<usize>();
    }
    assert!(corpus_bytes <= MAX_CORPUS_BYTES, "{corpus_bytes} bytes of corpus");
}
