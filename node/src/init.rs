//! `ashlar-node init`: a data directory with its genesis and a configuration to edit.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use ashlar_consensus::{Genesis, genesis_file::restamp};
use clap::Args;
use thiserror::Error;

use crate::{
    Failure,
    clock::machine_unix_ms,
    config::{self, CONFIG_FILE},
    datadir::{self, GENESIS_FILE},
};

/// The chain that is used where none is named.
const DEFAULT_GENESIS: &str = include_str!("../../genesis.json");

/// A second for a genesis.
#[derive(Clone, Copy, Debug)]
enum GenesisTime {
    Now,
    At(u32),
}

impl FromStr for GenesisTime {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            _ => text.parse().map(Self::At).map_err(|_| "`now`, or seconds since 1970"),
        }
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct InitArguments {
    /// The data directory to prepare.
    #[arg(long, env = "ASHLAR_DATADIR", value_name = "DIR")]
    datadir: PathBuf,
    /// The genesis file to start from [default: the project's own].
    #[arg(long, env = "ASHLAR_GENESIS", value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// Stamp the genesis with another time, `now` or seconds since 1970: a chain of its own.
    #[arg(long, value_name = "TIME")]
    genesis_time: Option<GenesisTime>,
}

#[derive(Debug, Error)]
enum InitError {
    #[error("{path} exists already; remove it first, or choose another --datadir")]
    Exists { path: PathBuf },
    #[error("can't read {path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("the machine's clock is out of range for a genesis")]
    Clock,
}

/// Writes `genesis.json` and `ashlar.toml`; never over existing ones.
pub(crate) fn init(arguments: &InitArguments) -> Result<(), Failure> {
    let text = match &arguments.genesis {
        None => DEFAULT_GENESIS.to_owned(),
        Some(path) => fs::read_to_string(path)
            .map_err(|error| InitError::Unreadable { path: path.clone(), error })?,
    };
    let text = match arguments.genesis_time {
        None => text,
        Some(GenesisTime::At(time)) => restamp(&text, time)?,
        Some(GenesisTime::Now) => {
            let now = u32::try_from(machine_unix_ms() / 1000).map_err(|_| InitError::Clock)?;
            restamp(&text, now)?
        }
    };
    let genesis = Genesis::parse(&text)?;
    datadir::make(&arguments.datadir)?;
    write_new(&arguments.datadir.join(GENESIS_FILE), &text)?;
    let config = arguments.datadir.join(CONFIG_FILE);
    if !config.exists() {
        write_new(&config, &config::sample())?;
    }
    println!("chain     {} ({})", genesis.params().name, genesis.params().chain_id);
    println!("genesis   {}", arguments.datadir.join(GENESIS_FILE).display());
    println!("config    {}", config.display());
    println!("next      ashlar-node run --datadir {}", arguments.datadir.display());
    Ok(())
}

fn write_new(path: &Path, content: &str) -> Result<(), Failure> {
    if path.exists() {
        return Err(InitError::Exists { path: path.to_owned() }.into());
    }
    Ok(datadir::write_atomically(path, content.as_bytes())?)
}
