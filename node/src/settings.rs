//! `ashlar-node config check | show`: what a node would run with, and where each value comes from.
//!
//! What `show` prints is itself a configuration file that gives the same node.

use std::{fmt, fs, path::PathBuf};

use ashlar_consensus::Genesis;
use clap::{ArgMatches, CommandFactory as _, Subcommand, ValueEnum, parser::ValueSource};
use thiserror::Error;

use crate::{
    Arguments, Failure,
    config::{Config, RunArguments},
    datadir::KEY_FILE,
    logging, run,
    size::ByteSize,
    tokens,
};

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Try everything of the configuration that can be tried without starting.
    Check(Box<RunArguments>),
    /// Print every key with its value and where that comes from, as a configuration file.
    Show(Box<RunArguments>),
}

#[derive(Debug, Error)]
#[error("a node would not start with this configuration: {}", problems.join("; "))]
struct Unusable {
    problems: Vec<String>,
}

/// Carries out `config check` or `config show`; `matches` are those of that command.
pub(crate) fn run(command: &ConfigCommand, matches: &ArgMatches) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(arguments) => {
            let config = Config::load(arguments)?;
            let problems = problems(&config);
            if !problems.is_empty() {
                return Err(Unusable { problems }.into());
            }
            println!("a node can start with this configuration");
        }
        ConfigCommand::Show(arguments) => print!("{}", show(arguments, matches)?),
    }
    Ok(())
}

/// Everything that a start would refuse, as far as it shows without starting.
pub(crate) fn problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    if let Err(reason) = logging::parse(&config.log) {
        problems.push(format!("the log filter {:?} can't be used: {reason}", config.log));
    }
    match run::load_genesis(config) {
        Ok((genesis, _)) => problems.extend(against_chain(config, &genesis)),
        Err(error) => problems.push(error.to_string()),
    }
    problems
}

/// What does not fit the chain, and what the network refuses.
fn against_chain(config: &Config, genesis: &Genesis) -> Vec<String> {
    let params = genesis.params();
    let key_file = config.datadir.join(KEY_FILE);
    let network = run::network_config(config, key_file, params).problems();
    let chain = run::check_chain(config, params).err();
    let chain = chain.map(|error| error.to_string());
    chain.into_iter().chain(network.iter().map(ToString::to_string)).collect()
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Flag(String),
    Environment(String),
    File(PathBuf),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One key.
struct Setting {
    /// In the file; those of a table with its name and a dot.
    key: &'static str,
    /// Of `run`'s arguments.
    argument: &'static str,
    /// As TOML; `None`: nothing, which no text stands for.
    value: Option<String>,
}

/// A text, or a list of them, as TOML: JSON writes both so that TOML reads the same.
fn quoted(value: impl serde::Serialize) -> Option<String> {
    serde_json::to_string(&value).ok()
}

fn size(size: ByteSize) -> Option<String> {
    let shown = size.to_string();
    // What is shown in a larger unit may be rounded.
    quoted(if shown.parse() == Ok(size) { shown } else { format!("{}B", size.0) })
}

fn name(value: &impl ValueEnum) -> Option<String> {
    value.to_possible_value().and_then(|value| quoted(value.get_name()))
}

/// Every key. A new field of [`Config`] does not compile before it stands here.
fn settings(config: &Config) -> Vec<Setting> {
    let Config {
        datadir: _,
        genesis,
        listen,
        peers,
        connects_only,
        allow_peers,
        network_secret,
        external_addresses,
        exempt_loopback,
        discovery,
        dns_seeds,
        mdns,
        rpc_listen,
        rpc_allow_hosts,
        rpc_allow_origins,
        rpc_tls,
        rpc_tokens,
        ready_peers,
        ready_tip_age_seconds,
        mine,
        mine_threads,
        transaction_index,
        lock_index,
        prune,
        min_free,
        minimum_work,
        assume_valid,
        reorg_alarm,
        reorg_hold,
        profile,
        dev_clock,
        log,
        log_format,
    } = config;
    let plain = |value: &dyn fmt::Display| Some(value.to_string());
    let of = |key, value| Setting { key, argument: key, value };
    let dials = if *connects_only { "connect" } else { "peers" };
    let off = || quoted("off");
    vec![
        of("genesis", genesis.as_ref().and_then(quoted)),
        of("listen", quoted(listen)),
        of(dials, quoted(peers)),
        of("allow_peers", quoted(allow_peers)),
        of("network_secret", network_secret.as_ref().and_then(quoted)),
        of("external_addresses", quoted(external_addresses)),
        of("exempt_loopback", plain(exempt_loopback)),
        of("discovery", plain(discovery)),
        of("dns_seeds", quoted(dns_seeds)),
        of("mdns", plain(mdns)),
        of("rpc_listen", quoted(rpc_listen)),
        of("rpc_allow_hosts", quoted(rpc_allow_hosts)),
        of("rpc_allow_origins", quoted(rpc_allow_origins)),
        of("rpc_tls_certificate", rpc_tls.as_ref().and_then(|files| quoted(&files.certificate))),
        of("rpc_tls_key", rpc_tls.as_ref().and_then(|files| quoted(&files.key))),
        of("rpc_tokens", Some(tokens::inline(rpc_tokens))),
        of("ready_peers", ready_peers.as_ref().and_then(|peers| plain(peers))),
        of("ready_tip_age_seconds", plain(ready_tip_age_seconds)),
        of("mine", mine.as_ref().and_then(quoted)),
        of("mine_threads", plain(mine_threads)),
        of("transaction_index", plain(transaction_index)),
        of("lock_index", plain(lock_index)),
        of("prune", prune.0.map_or_else(off, size)),
        of("min_free", size(*min_free)),
        of("minimum_work", quoted(minimum_work.to_string())),
        of("assume_valid", quoted(assume_valid.to_string())),
        of("profile", name(profile)),
        of("dev_clock", plain(dev_clock)),
        of("log", quoted(log)),
        of("log_format", name(log_format)),
        Setting { key: "reorg.alarm", argument: "reorg_alarm", value: plain(reorg_alarm) },
        Setting {
            key: "reorg.hold",
            argument: "reorg_hold",
            value: reorg_hold.0.map_or_else(off, |depth| plain(&depth)),
        },
    ]
}

/// What `config show` prints.
fn show(arguments: &RunArguments, matches: &ArgMatches) -> Result<String, Failure> {
    let config = Config::load(arguments)?;
    let file = Config::file(arguments);
    let table: toml::Table = match &file {
        Some(path) => toml::from_str(&fs::read_to_string(path)?)?,
        None => toml::Table::new(),
    };
    let in_file = |key: &str| match key.split_once('.') {
        Some((name, key)) => {
            table.get(name).and_then(toml::Value::as_table).is_some_and(|t| t.contains_key(key))
        }
        None => table.contains_key(key),
    };
    let command = Arguments::command();
    let run = command.find_subcommand("run").map(|run| run.get_arguments());
    let known: Vec<_> = run.into_iter().flatten().collect();
    let source = |setting: &Setting| {
        let argument = known.iter().find(|argument| argument.get_id() == setting.argument);
        // Tokens are in the file alone, and no argument has their name.
        let told = argument.and_then(|_| matches.value_source(setting.argument));
        match (told, argument, &file) {
            (Some(ValueSource::CommandLine), Some(argument), _) => {
                Source::Flag(argument.get_long().unwrap_or(setting.argument).to_owned())
            }
            (Some(ValueSource::EnvVariable), Some(argument), _) => {
                let name = argument.get_env().unwrap_or_default();
                Source::Environment(name.to_string_lossy().into_owned())
            }
            (.., Some(path)) if in_file(setting.key) => Source::File(path.clone()),
            _ => Source::Default,
        }
    };
    let mut text = format!("# data directory: {}\n", config.datadir.display());
    text.push_str(&match &file {
        Some(path) => format!("# configuration file: {}\n", path.display()),
        None => "# configuration file: none\n".to_owned(),
    });
    let mut table = "";
    for setting in settings(&config) {
        let key = match setting.key.split_once('.') {
            Some((name, key)) => {
                if name != table {
                    text.push_str(&format!("\n[{name}]\n"));
                    table = name;
                }
                key
            }
            None => setting.key,
        };
        let line = match &setting.value {
            Some(value) => format!("{key} = {value}"),
            None => format!("# {key} ="),
        };
        text.push_str(&format!("{line:<50} # {}\n", source(&setting)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;
    use crate::{Command, config, datadir::GENESIS_FILE};

    /// `config show` with these flags in a data directory with this file; what it prints.
    fn shown(file: &str, flags: &[&str]) -> (tempfile::TempDir, String) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(config::CONFIG_FILE), file).unwrap();
        let datadir = directory.path().to_str().unwrap();
        let words = ["ashlar-node", "config", "show", "--datadir", datadir];
        let matches = Arguments::command().get_matches_from(words.iter().chain(flags));
        let leaf = crate::innermost(&matches);
        let Command::Config(ConfigCommand::Show(arguments)) =
            Arguments::from_arg_matches(&matches).unwrap().command
        else {
            panic!("another command");
        };
        let text = show(&arguments, leaf).unwrap();
        (directory, text)
    }

    #[test]
    fn every_value_tells_where_it_comes_from() {
        let (_directory, text) = shown(
            "mdns = true\nmine_threads = 3\n[reorg]\nhold = 100\n",
            &["--mine-threads", "2", "--peer", "/ip4/192.0.2.1/tcp/1"],
        );
        for (line, source) in [
            ("mine_threads = 2", "flag --mine-threads"),
            ("peers = [\"/ip4/192.0.2.1/tcp/1\"]", "flag --peer"),
            ("mdns = true", "file "),
            ("hold = 100", "file "),
            ("alarm = 6", "default"),
            ("min_free = \"1 GiB\"", "default"),
            ("# mine =", "default"),
        ] {
            let found = text.lines().find(|found| found.starts_with(line));
            let found = found.unwrap_or_else(|| panic!("{line} in\n{text}"));
            assert!(found.contains(&format!("# {source}")), "{found}");
        }
    }

    #[test]
    fn what_is_shown_is_a_file_that_gives_the_same_node() {
        for (file, flags) in [
            ("", &["--prune", "1234567", "--log", "info,ashlar_network=debug"][..]),
            (
                "rpc_tls_key = \"a b\"\n[[rpc_tokens]]\nname = \"a\"\nscopes = [\"mine\", \"read\"]\n\
                 hash = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"\n",
                &["--rpc-tls-certificate", "c"],
            ),
            (
                "connect = [\"/ip4/192.0.2.1/tcp/1\"]\nprofile = \"small\"\n[reorg]\nalarm = 9\n",
                &[],
            ),
        ] {
            let (directory, text) = shown(file, flags);
            let (again, second) = shown(&text, &[]);
            let plain = |text: &str| {
                let lines = text.lines().filter(|line| !line.starts_with("# "));
                let lines =
                    lines.map(|line| line.rsplit_once(" # ").map_or(line, |(line, _)| line));
                lines.map(|line| format!("{}\n", line.trim_end())).collect::<String>()
            };
            assert_eq!(plain(&text), plain(&second));
            drop((directory, again));
        }
    }

    #[test]
    fn a_check_names_every_problem_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let arguments = |text: &str| {
            fs::write(directory.path().join(config::CONFIG_FILE), text).unwrap();
            RunArguments::of(directory.path())
        };
        let bad = "log = \"ashlar_network=loud\"\nmine = \"nobody\"\nlisten = [\"0.0.0.0:9333\"]\n\
                   peers = [\"/ip4/192.0.2.1\"]\nallow_peers = [\"me\"]\n\
                   network_secret = \"/nowhere\"\n";
        let config = Config::load(&arguments(bad)).unwrap();
        let found = problems(&config).join("\n");
        assert!(found.contains("log filter") && found.contains("no genesis"), "{found}");
        let genesis = include_str!("../../genesis.json");
        fs::write(directory.path().join(GENESIS_FILE), genesis).unwrap();
        let found = problems(&config).join("\n");
        for word in ["nobody", "0.0.0.0:9333", "/ip4/192.0.2.1", "\"me\"", "/nowhere"] {
            assert!(found.contains(word), "{word} in {found}");
        }
        let config = Config::load(&arguments("")).unwrap();
        assert_eq!(problems(&config), [""; 0]);
    }
}
