//! What can be typed. Every verb prints for people, or with `--json` one JSON document: its answer
//! (see [`crate::control`]), or, with exit code 1, `{"error": {"code", "message", "hint"}}`.

mod state;

use std::{
    env, io,
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use ashlar_primitives::Ash;
use clap::{Parser, Subcommand};
use serde::Serialize;
use serde_json::json;

use self::state::StateVerb;
use crate::{
    client::Testnet,
    control::{Mined, Overview, Request},
    error::{Refusal, TestnetError},
    fault_verbs::{self, ChaosArguments, FaultVerb},
    file::{DEFAULT_NODES, NetworkFile, NodeNumber, Profile},
    keeper,
    layout::{Layout, remove_folder},
    logs,
    mining::{Mining, MiningError, Mode, Share},
    programs::Programs,
    render, show,
    wallets::{FAUCET, KnownWallet, PASSWORD},
};

/// Where a testnet is unless something else is said.
const DEFAULT_FOLDER: &str = ".testnet";
/// Between two tables of `status --watch`.
const WATCH: Duration = Duration::from_secs(1);

/// Private testnets of real nodes.
#[derive(Debug, Parser)]
#[command(name = "ashlar-testnet", version, about, max_term_width = 100)]
struct Arguments {
    /// The testnet's folder.
    #[arg(long, global = true, env = "ASHLAR_TESTNET_DIR", value_name = "DIR", default_value = DEFAULT_FOLDER)]
    dir: PathBuf,
    /// Another testnet beside it: its folder's name gets `-NAME` behind it.
    #[arg(long, global = true, env = "ASHLAR_TESTNET_NAME", value_name = "NAME")]
    name: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Start the testnet, made first where there is none, and return when all nodes agree.
    Up {
        /// How many nodes: 3 at first; later, more of them.
        #[arg(short, long)]
        nodes: Option<NodeNumber>,
        /// The network file to make it from.
        file: Option<PathBuf>,
        /// With root, when it is made: a network namespace and an address of its own for each node
        /// (in a network file: `netns = true`).
        #[arg(long, conflicts_with = "file")]
        netns: bool,
        /// How much memory each node takes, when it is made: small unless said otherwise.
        #[arg(long, conflicts_with = "file")]
        profile: Option<Profile>,
    },
    /// A line for each node.
    Status {
        /// Again every second.
        #[arg(short, long)]
        watch: bool,
    },
    /// What there is and where: the banner of `up`.
    Info,
    /// Logs of nodes.
    Logs {
        /// Which; all unless given.
        nodes: Vec<NodeNumber>,
        /// Follow them.
        #[arg(short, long)]
        follow: bool,
    },
    /// Add nodes, linked to the first and the last.
    Add {
        /// How many.
        #[arg(short, long, default_value_t = 1)]
        nodes: NodeNumber,
    },
    /// Stop a node and delete it.
    Remove {
        /// Which.
        node: NodeNumber,
    },
    /// Start a node.
    Start {
        /// Which.
        node: NodeNumber,
    },
    /// Stop a node cleanly.
    Stop {
        /// Which.
        node: NodeNumber,
    },
    /// Kill a node, as `kill -9` does.
    Kill {
        /// Which.
        node: NodeNumber,
    },
    /// Let a node stand still, its connections open.
    Pause {
        /// Which.
        node: NodeNumber,
    },
    /// Let a node go on.
    Resume {
        /// Which.
        node: NodeNumber,
    },
    /// Find blocks now.
    Mine {
        /// How many.
        #[arg(default_value_t = 1)]
        blocks: u32,
        /// On which node; the first that runs unless given.
        #[arg(long)]
        node: Option<NodeNumber>,
    },
    /// Who finds blocks, and when; without a mode, show it.
    #[command(subcommand_negates_reqs = true)]
    Mining {
        #[command(subcommand)]
        mode: Option<MiningVerb>,
    },
    /// Pay an address from the faucet.
    Faucet {
        /// Whom.
        address: String,
        /// How much, in ASH; 10 unless the network file says otherwise.
        amount: Option<Ash>,
    },
    /// Write a folder for each node of a network file whose nodes have hosts.
    Render {
        /// The network file.
        file: PathBuf,
        /// Where the folders go.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Call a JSON-RPC method of a node.
    Cli {
        /// Which.
        node: NodeNumber,
        /// The method, then its parameters.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        call: Vec<String>,
    },
    /// `ashlar-wallet` with a wallet of this testnet.
    Wallet {
        /// Its name; one that is new begins with `create`.
        #[arg(short, long, default_value = FAUCET)]
        wallet: String,
        /// The node that it asks; the first unless given.
        #[arg(short, long)]
        node: Option<NodeNumber>,
        /// What to do, in ashlar-wallet's own words.
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    #[command(flatten)]
    State(StateVerb),
    #[command(flatten)]
    Fault(FaultVerb),
    /// Wait until all nodes that run are on one tip.
    Wait,
    /// Random faults and payments, and whether all promises hold.
    Chaos(ChaosArguments),
    /// Stop all nodes and the keeper; the chain and the wallets stay.
    Down,
    /// `down`, and delete everything.
    Destroy,
    /// Be the keeper of the testnet in --dir: started by `up`.
    #[command(hide = true)]
    Keep,
}

#[derive(Debug, Subcommand)]
enum MiningVerb {
    /// A block every so many seconds.
    Interval {
        /// Such as 2 or 0.5.
        #[arg(value_parser = seconds)]
        seconds: u64,
        /// Who: NODE=PART.
        miners: Vec<Share>,
    },
    /// A block as soon as a transaction waits.
    OnTransaction {
        /// Who: NODE=PART.
        miners: Vec<Share>,
    },
    /// Real proof of work, split between nodes by weight.
    Hashrate {
        /// Who: NODE=PART.
        #[arg(required = true)]
        miners: Vec<Share>,
        /// How much of one core, in percent.
        #[arg(long, default_value_t = 10)]
        cpu: u8,
    },
    /// Only when asked for with `mine`.
    Manual,
}

impl MiningVerb {
    /// What holds then, where `now` held before.
    fn change(self, now: Mining) -> Mining {
        let keep = |miners: Vec<Share>| if miners.is_empty() { now.miners.clone() } else { miners };
        match self {
            Self::Interval { seconds: interval_ms, miners } => {
                Mining { mode: Mode::Interval, interval_ms, miners: keep(miners), ..now }
            }
            Self::OnTransaction { miners } => {
                Mining { mode: Mode::OnTransaction, miners: keep(miners), ..now }
            }
            Self::Hashrate { miners, cpu } => {
                Mining { mode: Mode::Hashrate, miners, cpu_percent: cpu, ..now }
            }
            Self::Manual => Mining { mode: Mode::Manual, ..now },
        }
    }
}

/// Seconds with up to three decimals, as milliseconds.
fn seconds(text: &str) -> Result<u64, MiningError> {
    let wrong = MiningError::Interval { interval_ms: 0 };
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 3 || !is_number(whole) || !is_number(decimals) {
        return Err(wrong);
    }
    format!("{whole}{decimals:0<3}").parse().map_err(|_| wrong)
}

/// The whole program.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match dispatch(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let refusal = Refusal::from(&error);
            if json {
                println!("{}", json!({ "error": refusal }));
            } else {
                eprintln!("error: {}", refusal.message);
                if let Some(hint) = refusal.hint {
                    eprintln!("hint: {hint}");
                }
            }
            ExitCode::FAILURE
        }
    }
}

/// Where an answer goes.
pub(crate) struct Out {
    pub(crate) json: bool,
}

impl Out {
    /// Prints an answer, for people by `words`.
    pub(crate) fn say<T: Serialize>(&self, answer: &T, words: impl FnOnce(&T) -> String) {
        let text = if self.json {
            serde_json::to_string_pretty(answer).unwrap_or_default() + "\n"
        } else {
            words(answer)
        };
        // Nobody reads any more: nothing to say, and no reason to fail.
        drop(io::stdout().lock().write_all(text.as_bytes()));
    }

    /// A verb that has nothing to tell.
    fn done(&self) {
        self.say(&json!({}), |_| String::new());
    }
}

fn dispatch(arguments: Arguments) -> Result<(), TestnetError> {
    let out = Out { json: arguments.json };
    let layout = Layout::at(&folder(&arguments))?;
    let there = || Testnet::at(layout.folder());
    match arguments.verb {
        Verb::Keep => {
            let log = tracing_subscriber::fmt().with_ansi(false).with_writer(io::stderr);
            log.init();
            keeper::keep(layout.folder())
        }
        Verb::Up { nodes, file, netns, profile } => {
            if netns || profile.is_some() {
                make_as_told(&layout, nodes, netns, profile)?;
            }
            let net = Testnet::make(layout, file.as_deref(), nodes)?;
            out.say(&net.up(nodes)?, show::banner);
            Ok(())
        }
        Verb::Info => {
            out.say(&there()?.overview()?, show::banner);
            Ok(())
        }
        Verb::Status { watch } => status(&layout, &out, watch),
        Verb::Logs { nodes, follow } => show_logs(&layout, &nodes, follow),
        Verb::Add { nodes } => {
            let overview: Overview = there()?.ask(&Request::Add { nodes })?;
            out.say(&overview, show::banner);
            Ok(())
        }
        Verb::Remove { node } => tell(&there()?, &out, &Request::Remove { node }),
        Verb::Start { node } => tell(&there()?, &out, &Request::Start { node }),
        Verb::Stop { node } => tell(&there()?, &out, &Request::Stop { node }),
        Verb::Kill { node } => tell(&there()?, &out, &Request::Kill { node }),
        Verb::Pause { node } => tell(&there()?, &out, &Request::Pause { node }),
        Verb::Resume { node } => tell(&there()?, &out, &Request::Resume { node }),
        Verb::Mine { blocks, node } => {
            out.say(&there()?.mine(blocks, node)?, mined);
            Ok(())
        }
        Verb::Mining { mode } => {
            let net = there()?;
            let mut mining: Mining = net.ask(&Request::Mining { change: None })?;
            if let Some(mode) = mode {
                mining = net.set_mining(mode.change(mining))?;
            }
            out.say(&mining, |mining| format!("{mining}\n"));
            Ok(())
        }
        Verb::Faucet { address, amount } => {
            let given = there()?.faucet(&address, amount)?;
            out.say(&given, |given| format!("{}\n", given.txid));
            Ok(())
        }
        Verb::Render { file, out: folder } => {
            out.say(&render::render(&file, &folder)?, show::rendered);
            Ok(())
        }
        Verb::Cli { node, call } => {
            let mut command = Command::new(Programs::find()?.node);
            command.arg("rpc").arg("--datadir").arg(datadir(&layout, node)?).args(call);
            Err(become_program(command))
        }
        Verb::Wallet { wallet, node, command } => {
            use_wallet(&layout, &wallet, node, &command, &out)
        }
        Verb::State(verb) => state::dispatch(verb, &layout, &out),
        Verb::Fault(verb) => fault_verbs::run(verb, &there()?, &out),
        Verb::Wait => {
            let net = there()?;
            net.wait_for_one_tip()?;
            out.say(&net.status()?, fault_verbs::one_tip);
            Ok(())
        }
        Verb::Chaos(chaos) => fault_verbs::chaos(chaos, &there()?, &out),
        Verb::Down => down(&layout, &out),
        Verb::Destroy => {
            down(&layout, &out)?;
            remove_folder(layout.folder()).map_err(TestnetError::disk(layout.folder()))
        }
    }
}

/// Makes the testnet that options describe; one that is there must have been made so.
fn make_as_told(
    layout: &Layout,
    nodes: Option<NodeNumber>,
    netns: bool,
    profile: Option<Profile>,
) -> Result<(), TestnetError> {
    if layout.exists() {
        let kept = NetworkFile::read(&layout.network_file())?;
        let is_so = (kept.netns || !netns) && profile.is_none_or(|wanted| wanted == kept.profile);
        let folder = layout.folder().to_owned();
        return if is_so { Ok(()) } else { Err(TestnetError::OtherFile { folder }) };
    }
    let (nodes, profile) = (nodes.unwrap_or(DEFAULT_NODES), profile.unwrap_or_default());
    let file = NetworkFile { netns, profile, ..NetworkFile::of(nodes)? };
    let name = profile.name();
    let text = format!("nodes = {nodes}\nprofile = \"{name}\"\nnetns = {netns}\n");
    layout.make(&file, &text, layout.folder())
}

fn folder(arguments: &Arguments) -> PathBuf {
    match &arguments.name {
        None => arguments.dir.clone(),
        Some(name) => {
            let mut folder = arguments.dir.clone().into_os_string();
            folder.push("-");
            folder.push(name);
            folder.into()
        }
    }
}

/// A verb that answers nothing.
fn tell(net: &Testnet, out: &Out, request: &Request) -> Result<(), TestnetError> {
    net.ask::<()>(request)?;
    out.done();
    Ok(())
}

fn mined(mined: &Mined) -> String {
    mined.blocks.iter().map(|id| format!("{id}\n")).collect()
}

fn status(layout: &Layout, out: &Out, watch: bool) -> Result<(), TestnetError> {
    let state = layout.load()?;
    loop {
        match Testnet::at(layout.folder()).and_then(|net| net.status()) {
            Ok(status) => {
                if watch && !out.json {
                    // Home, and nothing below.
                    print!("\x1b[H\x1b[2J");
                }
                out.say(&status, show::status);
            }
            // What is down has a state, too.
            Err(TestnetError::NotRunning { .. }) if !watch => {
                out.say(&keeper::standing(layout, &state), show::status);
            }
            Err(error) => return Err(error),
        }
        if !watch {
            return Ok(());
        }
        thread::sleep(WATCH);
    }
}

fn show_logs(layout: &Layout, nodes: &[NodeNumber], follow: bool) -> Result<(), TestnetError> {
    let state = layout.load()?;
    let wanted: Vec<NodeNumber> = match nodes {
        [] => state.nodes.keys().copied().collect(),
        nodes => nodes.to_vec(),
    };
    for number in &wanted {
        datadir(layout, *number)?;
    }
    let logs = wanted.into_iter().map(|number| (number, layout.log(number))).collect();
    // It ends when nobody reads any more.
    drop(logs::show(logs, follow, &mut io::stdout().lock()));
    Ok(())
}

fn datadir(layout: &Layout, number: NodeNumber) -> Result<PathBuf, TestnetError> {
    let state = layout.load()?;
    match state.nodes.contains_key(&number) {
        true => Ok(layout.node(number)),
        false => {
            Err(TestnetError::NoSuchNode { number, nodes: state.nodes.keys().copied().collect() })
        }
    }
}

fn use_wallet(
    layout: &Layout,
    name: &str,
    node: Option<NodeNumber>,
    arguments: &[String],
    out: &Out,
) -> Result<(), TestnetError> {
    let first = layout.load()?.nodes.first_key_value().map_or(1, |(number, _)| *number);
    let programs = Programs::find()?;
    let makes = |argument: &String| matches!(&**argument, "create" | "restore");
    let is_made = arguments.iter().any(makes);
    if !is_made && layout.known_wallets()?.contains(name) {
        let prefix = layout.chain()?.params.address_prefix;
        let known = KnownWallet::of(name, &prefix);
        known.make(&programs, &layout.wallet(name), &layout.genesis())?;
    }
    let mut command = Command::new(&programs.wallet);
    command.env(
        "ASHLAR_WALLET_PASSWORD",
        env::var("ASHLAR_WALLET_PASSWORD").unwrap_or_else(|_| PASSWORD.to_owned()),
    );
    command.arg("--wallet").arg(layout.wallet(name));
    command.arg("--datadir").arg(datadir(layout, node.unwrap_or(first))?);
    if out.json {
        command.arg("--json");
    }
    command.args(arguments);
    // A testnet's wallet holds nothing worth a slow password.
    if is_made && !arguments.iter().any(|a| a == "--light-kdf") {
        command.arg("--light-kdf");
    }
    Err(become_program(command))
}

/// Runs a program in this one's place; what comes back is why it can't.
fn become_program(mut command: Command) -> TestnetError {
    let error = command.exec();
    TestnetError::Program { program: Path::new(command.get_program()).to_owned(), error }
}

/// Stops what runs; where nothing runs there is nothing to do.
fn down(layout: &Layout, out: &Out) -> Result<(), TestnetError> {
    match Testnet::at(layout.folder()) {
        Ok(net) => net.down()?,
        Err(TestnetError::NoTestnet { .. }) => {}
        // Nodes of a keeper that was killed: another one takes them over, and stops them.
        Err(TestnetError::NotRunning { .. }) => {
            let state = layout.load()?;
            let standing = keeper::standing(layout, &state);
            if standing.nodes.iter().any(|node| node.pid.is_some()) {
                Testnet::make(layout.clone(), None, None)?.down()?;
            }
            keeper::clear(layout)?;
        }
        Err(error) => return Err(error),
    }
    out.done();
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_up_is_told_holds_for_what_is_made_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(&folder.path().join("net")).unwrap();
        make_as_told(&layout, Some(2), false, Some(Profile::Default)).unwrap();
        let file = NetworkFile::read(&layout.network_file()).unwrap();
        assert_eq!((file.count(), file.profile, file.netns), (2, Profile::Default, false));
        make_as_told(&layout, Some(9), false, Some(Profile::Default)).unwrap();
        for (netns, profile) in [(true, None), (false, Some(Profile::Small))] {
            let refused = make_as_told(&layout, None, netns, profile).unwrap_err();
            assert_eq!(refused.code(), "other-file");
        }
    }

    #[test]
    fn seconds_are_read_to_the_millisecond() {
        assert_eq!(
            ["2", "0.5", "1.25", "0.001"].map(seconds),
            [Ok(2_000), Ok(500), Ok(1_250), Ok(1)]
        );
        for wrong in ["", ".5", "-1", "1e3", "0.0001"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
