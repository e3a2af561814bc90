//! Chaos: random faults and payments on the real processes of a testnet, and whether all promises
//! hold.
//!
//! A run goes in rounds. In a round faults come and go while payments are made; then all is undone,
//! the nodes must come together within [`CONVERGENCE`], and what must hold is looked at: no block
//! that a node told of and no payment that one acknowledged is lost, all nodes on one tip say the
//! same of it, there are as many coins as the rules make, and no process grows.
//!
//! Reading order: `plan` (what is done, decided by a seed), `payer` (payments with a memory),
//! `watch` (what must hold), `log` (what a replay reads), `round` (one round), and this file.

mod log;
mod payer;
mod plan;
mod round;
mod watch;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ashlar_consensus::Genesis;
use ashlar_primitives::Ash;
use ashlar_processes::Rpc;
use ashlar_rpc::types::Text;
use rand::SeedableRng as _;
use rand_chacha::ChaCha12Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::{log::Log, payer::Payer, watch::Watch};
pub use self::{
    log::{Line, LogError, rounds},
    payer::Counts,
    plan::{Fault, Ground, Round, Timed},
    watch::{Breach, Sample},
};
use crate::{
    client::Testnet,
    control::{Given, Overview, Request, Status},
    error::TestnetError,
    file::NodeNumber,
    lines::LineState,
    mining::{Mining, Mode, Share},
};

/// Within this after the last fault is undone all nodes are on one chain.
pub const CONVERGENCE: Duration = Duration::from_secs(60);
/// And within this after that every payment is in a block of every node.
pub const SETTLEMENT: Duration = Duration::from_secs(60);
/// Between two blocks, in milliseconds: short, so that sides of a partition grow apart.
const INTERVAL_MS: u64 = 1_000;
/// Coins that payments are made of; each waits for its block before it is spent again.
const COINS: u64 = 24;
/// What they are made of.
const STAKE: Ash = Ash::whole(100);
/// Between two looks at anything.
const LOOK: Duration = Duration::from_millis(100);
/// Fewest nodes: with fewer no side of a partition has anybody to hear.
const MIN_NODES: usize = 3;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Chaos {
    /// Decides every fault.
    pub seed: u64,
    /// How long faults go on; the round that has begun is finished.
    pub time: Duration,
    /// The rounds of an earlier run, instead of those of the seed and the time.
    pub replay: Option<Vec<Round>>,
    /// Where what happens is written.
    pub log: PathBuf,
}

/// Why there is no verdict, or a bad one.
#[derive(Debug, Error)]
pub enum ChaosError {
    /// A promise was broken.
    #[error("{breach}\nthe log, which `chaos --replay` plays again: {}", log.display())]
    Broken {
        /// Which.
        breach: Breach,
        /// What was done.
        log: PathBuf,
    },
    /// Too small a testnet.
    #[error("chaos wants {MIN_NODES} nodes and a link at least; `add` some")]
    TooSmall,
    /// The keeper refused.
    #[error(transparent)]
    Testnet(#[from] TestnetError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The chain's genesis can't be read.
    #[error("the genesis in {}: {reason}", path.display())]
    Genesis {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The faucet's coins did not come.
    #[error("the faucet's payments are in no block after {} s", SETTLEMENT.as_secs())]
    NoCoins,
}

impl From<ChaosError> for TestnetError {
    fn from(error: ChaosError) -> Self {
        match error {
            ChaosError::Testnet(error) => error,
            error => Self::Chaos(Box::new(error)),
        }
    }
}

impl From<io::Error> for ChaosError {
    fn from(error: io::Error) -> Self {
        Self::Log(error.into())
    }
}

/// Why a part of a run ended early.
#[derive(Debug, Error)]
enum Stop {
    #[error(transparent)]
    Breach(#[from] Breach),
    #[error(transparent)]
    Error(#[from] ChaosError),
}

impl From<TestnetError> for Stop {
    fn from(error: TestnetError) -> Self {
        Self::Error(error.into())
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Error(error.into())
    }
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What decided everything.
    pub seed: u64,
    /// Nodes of the testnet.
    pub nodes: usize,
    /// Rounds that ended well.
    pub rounds: u32,
    /// From the first fault to the last verdict, in seconds.
    pub seconds: u64,
    /// Faults by their names.
    pub faults: BTreeMap<String, u64>,
    /// Payments.
    pub payments: Counts,
    /// Different blocks that nodes told of.
    pub blocks: u64,
    /// The last height on which all agreed.
    pub height: u32,
    /// The longest that nodes took to come together, in milliseconds.
    pub longest_convergence_ms: u64,
    /// What the process held that was never ended: at first and at last.
    pub unbroken: Option<(Sample, Sample)>,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> =
            self.faults.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let Counts { acknowledged, confirmed, refused, sent_again } = self.payments;
        writeln!(
            out,
            "seed {}: {} rounds in {} s on {} nodes, all promises held",
            self.seed, self.rounds, self.seconds, self.nodes
        )?;
        writeln!(out, "faults: {}", faults.join(", "))?;
        writeln!(
            out,
            "payments: {acknowledged} acknowledged, {confirmed} of them confirmed \
            ({sent_again} sent again after their node died, {refused} refused where the coin was \
            unknown)"
        )?;
        writeln!(out, "blocks: {} told of, none lost; height {}", self.blocks, self.height)?;
        let seconds = Duration::from_millis(self.longest_convergence_ms).as_secs_f64();
        writeln!(out, "longest way to one chain: {seconds:.1} s")?;
        if let Some((first, last)) = &self.unbroken {
            let mb = |sample: &Sample| sample.memory_bytes >> 20;
            writeln!(
                out,
                "the node that was never ended: {} MiB and {} descriptors at first, {} MiB \
                and {} at last",
                mb(first),
                first.descriptors,
                mb(last),
                last.descriptors
            )?;
        }
        Ok(())
    }
}

/// A run.
struct Run<'a> {
    net: &'a Testnet,
    chaos: &'a Chaos,
    ground: Ground,
    nodes: BTreeMap<NodeNumber, PathBuf>,
    rpcs: BTreeMap<NodeNumber, Rpc>,
    payer: Payer,
    watch: Watch,
    log: Log,
    start: Instant,
    random: ChaCha12Rng,
    report: Report,
    progress: &'a mut dyn FnMut(&str),
}

/// Plays faults and payments on a testnet that runs, and looks whether all promises hold. Blocks
/// come fast and from all nodes meanwhile; in the end mining is as it was. `progress` hears a line
/// for each thing that is done.
///
/// # Errors
/// [`ChaosError::Broken`] for a broken promise; the others say why there is no verdict.
pub fn run(
    net: &Testnet,
    chaos: &Chaos,
    progress: &mut dyn FnMut(&str),
) -> Result<Report, ChaosError> {
    let overview: Overview = net.ask(&Request::Overview)?;
    let lines: Vec<LineState> = net.ask(&Request::Links)?;
    let nodes: BTreeMap<_, _> =
        overview.nodes.iter().map(|place| (place.node, place.datadir.clone())).collect();
    let links: Vec<_> =
        lines.iter().map(|line| (line.from, line.to)).filter(|(from, to)| from > to).collect();
    if nodes.len() < MIN_NODES || links.is_empty() {
        return Err(ChaosError::TooSmall);
    }
    let genesis = genesis(&overview.folder.join("genesis.json"))?;
    let has_clocks = genesis.params().difficulty_half_life == 0;
    let ground = Ground { nodes: nodes.keys().copied().collect(), links, has_clocks };
    let mut log = Log::create(&chaos.log)?;
    log.write(&Line::Chaos { seed: chaos.seed, ground: ground.clone() })?;
    let shares = ground.nodes.iter().map(|node| Share { node: *node, share: 1 }).collect();
    let mining = Mining {
        mode: Mode::Interval,
        interval_ms: INTERVAL_MS,
        miners: shares,
        ..overview.mining
    };
    let prefix = genesis.params().address_prefix.clone();
    // Keys of no earlier run on this chain.
    let keys = chaos.seed ^ u64::from(overview.height) << 32;
    let mut run = Run {
        net,
        chaos,
        nodes,
        rpcs: BTreeMap::new(),
        payer: Payer::new(keys, genesis.params().chain_id),
        watch: Watch::new(genesis),
        log,
        start: Instant::now(),
        random: ChaCha12Rng::seed_from_u64(!chaos.seed),
        report: Report { seed: chaos.seed, nodes: ground.nodes.len(), ..Report::default() },
        ground,
        progress,
    };
    let outcome = run.all(&mining, &prefix);
    // However it ended, what was asked of the testnet is taken back.
    let restored = net.ask::<Mining>(&Request::Mining { change: Some(overview.mining) });
    let report = run.finish();
    match outcome {
        Ok(()) => {
            restored?;
            run.log.write(&Line::End(report.clone()))?;
            Ok(report)
        }
        Err(Stop::Breach(breach)) => {
            drop(run.tell(&format!("BROKEN: {breach}")));
            Err(ChaosError::Broken { breach, log: chaos.log.clone() })
        }
        Err(Stop::Error(error)) => Err(error),
    }
}

fn genesis(path: &Path) -> Result<Genesis, ChaosError> {
    let wrong = |reason: String| ChaosError::Genesis { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Genesis::parse(&text).map_err(|error| wrong(error.to_string()))
}

impl Run<'_> {
    fn all(&mut self, mining: &Mining, prefix: &str) -> Result<(), Stop> {
        self.fund(mining, prefix)?;
        self.start = Instant::now();
        let mut number = 0;
        loop {
            let round = match &self.chaos.replay {
                Some(rounds) => match rounds.get(number as usize) {
                    Some(round) => round.clone(),
                    None => return Ok(()),
                },
                None if number > 0 && self.start.elapsed() >= self.chaos.time => return Ok(()),
                None => Round::of(self.chaos.seed, number + 1, &self.ground),
            };
            number += 1;
            self.log.write(&Line::Round(round.clone()))?;
            self.play(&round)?;
            self.judge(mining)?;
            self.report.rounds += 1;
        }
    }

    /// Coins to pay with: one from the faucet, split.
    fn fund(&mut self, mining: &Mining, prefix: &str) -> Result<(), Stop> {
        let _: Mining = self.net.ask(&Request::Mining { change: Some(mining.clone()) })?;
        let addresses = self.payer.addresses(1 + COINS, prefix);
        let (whole, parts) = addresses.split_first().expect("one and some more");
        let request = Request::Faucet { address: whole.clone(), amount: Some(Text(STAKE)) };
        let _: Given = self.net.ask(&request)?;
        self.tell(&format!("the faucet paid {STAKE} ASH"))?;
        let deadline = Instant::now() + SETTLEMENT;
        let node = self.ground.nodes[0];
        self.connect(node)?;
        let mut is_split = false;
        loop {
            let rpc = &self.rpcs[&node];
            if is_split {
                let coins = self.payer.collect(rpc, parts).map_err(Breach::mute(node))?;
                if coins == parts.len() {
                    return Ok(());
                }
            } else {
                is_split = self.payer.split(rpc, whole, COINS).map_err(Breach::mute(node))?;
            }
            if Instant::now() > deadline {
                return Err(ChaosError::NoCoins.into());
            }
            thread::sleep(LOOK);
        }
    }

    /// Makes sure of a way to call a node.
    fn connect(&mut self, node: NodeNumber) -> Result<(), Breach> {
        if !self.rpcs.contains_key(&node) {
            let rpc = self.nodes.get(&node).and_then(|datadir| Rpc::connect(datadir));
            self.rpcs.insert(node, rpc.ok_or_else(|| mute(node))?);
        }
        Ok(())
    }

    fn status(&self) -> Result<Status, TestnetError> {
        self.net.ask(&Request::Status)
    }

    /// Says what is done, to the log and to who looks on.
    fn tell(&mut self, what: &str) -> io::Result<()> {
        let elapsed = self.start.elapsed();
        (self.progress)(&format!("{:7.1} s  {what}", elapsed.as_secs_f64()));
        let at_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.log.write(&Line::Event { at_ms, what: what.to_owned() })
    }

    fn finish(&mut self) -> Report {
        let spared = self.ground.nodes.last();
        Report {
            seconds: self.start.elapsed().as_secs(),
            payments: self.payer.counts,
            blocks: self.watch.blocks.len() as u64,
            unbroken: spared.and_then(|node| self.watch.last.get(node)).copied(),
            ..self.report.clone()
        }
    }
}

fn mute(node: NodeNumber) -> Breach {
    Breach::Mute { node, error: "its run.json is not there".to_owned() }
}
