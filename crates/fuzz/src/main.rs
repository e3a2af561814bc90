//! The seeded driver as a command, for machines without libFuzzer: `scripts/fuzz.sh` falls back
//! to it.
//!
//! `ashlar-fuzz list | seeds | run TARGET [--seconds N] [--seed N] | once TARGET FILE…`

#![allow(clippy::unwrap_used, reason = "a tool for developers")]

use std::{env, fs, path::Path, process::ExitCode, time::Duration};

use ashlar_fuzz::{
    TARGETS, Target,
    driver::{Until, run},
    seeds,
};

/// Where inputs that failed go, as libFuzzer's do: from the repository's root.
const ARTIFACTS: &str = "fuzz/artifacts";

const USAGE: &str =
    "ashlar-fuzz list | seeds | run TARGET [--seconds N] [--seed N] | once TARGET FILE...";

fn find(name: &str) -> Result<&'static Target, String> {
    ashlar_fuzz::find(name).ok_or_else(|| format!("no target {name}; `ashlar-fuzz list` names all"))
}

fn option(arguments: &[String], name: &str, default: u64) -> Result<u64, String> {
    let Some(place) = arguments.iter().position(|argument| argument == name) else {
        return Ok(default);
    };
    let value = arguments.get(place + 1).and_then(|value| value.parse().ok());
    value.ok_or_else(|| format!("{name} needs a number"))
}

fn command(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [list] if list == "list" => {
            for target in TARGETS {
                println!("{}", target.name);
            }
            Ok(())
        }
        [write] if write == "seeds" => {
            TARGETS.iter().for_each(seeds::write);
            Ok(())
        }
        [once, name, files @ ..] if once == "once" => {
            let target = find(name)?;
            for file in files {
                let input = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
                (target.run)(&input);
                println!("{name}: {file} is fine");
            }
            Ok(())
        }
        [go, name, options @ ..] if go == "run" => {
            let target = find(name)?;
            let seconds = option(options, "--seconds", 60)?;
            let seed = option(options, "--seed", 1)?;
            let until = Until::Elapsed(Duration::from_secs(seconds));
            match run(target, seed, until) {
                Ok(summary) => {
                    println!(
                        "{name}: seed {seed}, {} of the corpus, {} executions in {} s",
                        summary.corpus,
                        summary.executions,
                        summary.elapsed.as_secs()
                    );
                    Ok(())
                }
                Err(crash) => {
                    let folder = Path::new(ARTIFACTS).join(name);
                    let file = folder.join(format!("crash-seed-{seed}"));
                    let written =
                        fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &crash.input));
                    written.map_err(|error| format!("{}: {error}", file.display()))?;
                    Err(format!("{name}: {}; the input is in {}", crash.message, file.display()))
                }
            }
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match command(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
