//! Runs test vectors: `vectors DIR` prints a line for each file of `DIR` and ends with
//! `N passed, N failed`. Exit code 1 where anything failed or nothing was checked, 2 where the
//! folder can't be read.

use std::{env, path::Path, process::ExitCode};

use ashlar_testkit::vectors;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [folder] = arguments.as_slice() else {
        eprintln!("usage: vectors DIR, a folder of vector files such as tests/vectors");
        return ExitCode::from(2);
    };
    match vectors::run(Path::new(folder)) {
        Ok(report) => {
            println!("{report}");
            if report.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("can't list {}: {error}", Path::new(folder).display());
            ExitCode::from(2)
        }
    }
}
