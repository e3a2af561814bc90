//! The benchmark itself, small: every part runs to its end, and the table has its rows.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_small_form_measures_everything() {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("table.json");
    let output = Command::new(env!("CARGO_BIN_EXE_ashlar-bench"))
        .args(["--quick", "--all", "--dir"])
        .arg(directory.path())
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let rows = report["rows"].as_array().unwrap();
    for row in rows {
        let what = row["what"].as_str().unwrap();
        assert!(row["measured"]["value"].as_f64().unwrap() > 0.0, "{what}");
        assert!(table.contains(what), "{what} is not in the table");
    }
    let least = [
        ("connect", 13),
        ("kinds", 2),
        ("reorganise", 2),
        ("worst", 36),
        ("sync", 1),
        ("relay", 6),
        ("partition", 1),
        ("rpc", 3),
        ("accept", 1),
        ("sustained", 1),
        ("neighbours", 1),
        ("calls", 3),
        ("memory", 2),
        ("mine", 1),
        ("start", 6),
    ];
    for (part, least) in least {
        let count = rows.iter().filter(|row| row["part"] == part).count();
        assert!(count >= least, "{part}: {count} rows");
    }
    // The databases are gone; the workloads and their chains' beginnings stay for the next run.
    let mut left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left.pop().as_deref(), Some("table.json"));
    assert_eq!(left.len(), 6, "{left:?}");
    for (files, kind) in left.chunks(2).zip(["one-owner", "payments", "policies"]) {
        let stem = format!("ashlar-workload-1-{kind}-");
        assert!(files.iter().all(|file| file.starts_with(&stem)), "{left:?}");
        assert!(files[0].ends_with(".chain") && files[1].ends_with(".genesis.json"), "{left:?}");
    }
}

#[test]
fn the_small_form_draws_every_curve() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_ashlar-bench"))
        .args(["--quick", "--dir"])
        .arg(directory.path())
        .arg("--plots")
        .arg(directory.path())
        .arg("--growth")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["mempool", "relay", "sync", "coins"] {
        let svg = std::fs::read_to_string(directory.path().join(format!("{name}.svg"))).unwrap();
        assert!(svg.contains("<polyline") && svg.trim_end().ends_with("</svg>"), "{name}");
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 4, "the databases are gone");
}
