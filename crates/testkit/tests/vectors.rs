//! The repository's vectors all pass, and the runner fails where it should.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fs,
    path::{Path, PathBuf},
};

use ashlar_testkit::vectors::{self, Report};
use serde_json::{Value, json};

fn repository_vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

#[test]
fn every_vector_passes() {
    let report = vectors::run(&repository_vectors()).unwrap();
    assert!(report.is_success(), "{report}");
    let ran: Vec<_> = report.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(ran, vectors::file_names().collect::<Vec<_>>());
}

/// Runs `merkle.json` of the repository with a change.
fn run_changed(change: impl FnOnce(&mut Value)) -> Report {
    let mut file: Value =
        serde_json::from_slice(&fs::read(repository_vectors().join("merkle.json")).unwrap())
            .unwrap();
    change(&mut file);
    run_files(&[("merkle.json", &file.to_string())])
}

fn run_files(files: &[(&str, &str)]) -> Report {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    vectors::run(folder.path()).unwrap()
}

#[test]
fn whatever_is_not_understood_fails() {
    assert!(run_changed(|_| {}).is_success());
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 8] = [
        ("another answer", |file| {
            let leaf = file["cases"][0]["leaves"][0].take();
            let (last, digit) = (leaf.as_str().unwrap(), "0123456789abcdef");
            let flipped = digit.chars().find(|digit| !last.ends_with(*digit)).unwrap();
            file["cases"][0]["leaves"][0] = json!(format!("{}{flipped}", &last[..63]));
        }),
        ("a field too many", |file| file["cases"][1]["note"] = json!("")),
        ("a field too few", |file| {
            file["cases"][1].as_object_mut().unwrap().remove("root");
        }),
        ("no name", |file| {
            file["cases"][1].as_object_mut().unwrap().remove("name");
        }),
        ("the same name twice", |file| {
            file["cases"][1]["name"] = file["cases"][0]["name"].clone();
        }),
        ("hex in upper case", |file| {
            let root = file["cases"][0]["root"].as_str().unwrap().to_uppercase();
            file["cases"][0]["root"] = json!(root);
        }),
        ("something beside the cases", |file| file["more"] = json!([])),
        ("no cases", |file| file["cases"] = json!([])),
    ];
    for (what, change) in changes {
        let report = run_changed(change);
        assert_eq!(report.failed(), 1, "{what}: {report}");
        assert!(!report.is_success());
    }
}

#[test]
fn unknown_files_and_types_fail_and_an_empty_folder_too() {
    assert!(!run_files(&[]).is_success());
    assert!(!run_files(&[("README.md", "")]).is_success());
    let merkle = fs::read_to_string(repository_vectors().join("merkle.json")).unwrap();
    let beside = |name, content| run_files(&[("merkle.json", merkle.as_str()), (name, content)]);
    assert!(beside("README.md", "").is_success());
    assert_eq!(beside("notes.txt", "").failed(), 1);
    assert_eq!(beside("merkle2.json", &merkle).failed(), 1);
    assert_eq!(beside("keys.json", "not JSON").failed(), 1);
    let unknown = r#"{"description": "", "cases": [{"name": "a", "type": "b", "hex": ""}]}"#;
    let report = beside("keys.json", unknown);
    assert_eq!(report.failed(), 1);
    assert!(report.to_string().contains("unknown variant `b`"), "{report}");
    assert!(report.to_string().ends_with("36 passed, 1 failed"), "{report}");
}
