//! What kind of world a seed makes.

use std::time::Duration;

use ashlar_consensus::{Genesis, genesis_file::GenesisError};
use ashlar_primitives::{Address, Amount, Lock};
use rand::{RngExt, seq::IndexedRandom};

use crate::{
    faults::{self, Fault, FaultKind, Way},
    node::NodeId,
    random::{Purpose, Random, between, once_in, stream},
    villain::Kind,
};

/// The fewest nodes of a world.
pub const MIN_NODES: usize = 5;
/// The most nodes of a world.
pub const MAX_NODES: usize = 50;
/// The shortest world: two phases, faults and their healing need room.
pub const MIN_MINUTES: u64 = 10;
/// Blocks that are found in a world, on average, unless it is told how long it lasts.
const DEFAULT_BLOCKS: u32 = 320;

/// The first second of every world, by the nodes' wall clocks: 2027-01-15.
pub const EPOCH_SECONDS: u32 = 1_800_000_000;
/// The prefix of addresses.
const ADDRESS_PREFIX: &str = "sim";
/// Coins that each wallet finds in the genesis block.
const ALLOCATIONS_PER_WALLET: usize = 6;
/// The value of each of them.
const ALLOCATION: Amount = Amount::from_grains(1_000 * Amount::ASH.grains());
/// Between healing and the liveness phase, at least: time to dial again, ask and catch up.
const RECOVERY: Duration = Duration::from_secs(60);
/// Blocks that the last miner finds, one each block interval.
pub const SETTLING_BLOCKS: u32 = 7;
/// After the last block nothing happens for so long, so that everything has arrived.
const QUIET: Duration = Duration::from_secs(60);

/// Everything that a seed decides before the first event.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The number that this world comes from.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// The rules of the chain that differ between worlds.
    pub chain: Chain,
    /// How many others each node dials, where there are so many.
    pub outbound: usize,
    /// What links are like when nothing is wrong.
    pub links: LinkQuality,
    /// Who mines, with how much of the hash power.
    pub miners: Vec<Hashpower>,
    /// The nodes at which wallets live; more than one may live at a node.
    pub wallets: Vec<NodeId>,
    /// Average time between two payments of one wallet, but in a rush.
    pub payment_interval: Duration,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Who does not keep the rules.
    pub villains: Vec<VillainPlan>,
    /// A node that joins when the chain has long begun.
    pub late: Option<Late>,
    /// When the phases begin.
    pub timeline: Timeline,
}

/// A chain's own choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Average time between two blocks.
    pub block_interval: Duration,
    /// Seconds; 0: every block has the same difficulty.
    pub difficulty_half_life: u32,
    /// Bytes.
    pub max_block_bytes: u32,
    /// Blocks.
    pub coinbase_maturity: u32,
    /// Blocks.
    pub halving_interval: u32,
}

/// What links are like when nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkQuality {
    /// One-way latency of the shortest link.
    pub least: Duration,
    /// One-way latency of the longest link.
    pub most: Duration,
    /// Average of what chance adds to each message.
    pub jitter: Duration,
    /// Packets lost, of a thousand. A connection sends them again: what is lost is time.
    pub loss_per_mille: u32,
    /// Requests and answers that overtake others, of a thousand: each has a stream of its own.
    pub reorder_per_mille: u32,
    /// Gossip given to a node again that it has heard before, of a thousand: what a full or young
    /// duplicate cache lets through.
    pub repeat_per_mille: u32,
    /// Bytes a second that a node can send, at least.
    pub uplink_least: u64,
    /// Bytes a second that a node can send, at most.
    pub uplink_most: u64,
}

/// A miner's place and strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashpower {
    /// Where it asks for templates.
    pub node: NodeId,
    /// Its hash power, relative to the others'.
    pub weight: u32,
}

/// Somebody who does harm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VillainPlan {
    /// How.
    pub kind: Kind,
    /// Whom it connects to.
    pub victims: Vec<NodeId>,
}

/// A node that comes late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// Which.
    pub node: NodeId,
    /// When.
    pub at: Duration,
}

/// When the phases begin and end, from the beginning of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Villains stop; all faults are over.
    pub truce: Duration,
    /// All miners but one stop, wallets too; the last miner's blocks decide every race.
    pub settle: Duration,
    /// The last miner stops.
    pub quiet: Duration,
    /// All nodes must agree.
    pub end: Duration,
}

impl Scenario {
    /// The world of a seed. `nodes` and `minutes` replace what the seed would choose; they are
    /// taken into [`MIN_NODES`]`..=`[`MAX_NODES`] and to at least [`MIN_MINUTES`].
    pub fn draw(seed: u64, nodes: Option<usize>, minutes: Option<u64>) -> Self {
        let random = &mut stream(seed, Purpose::Scenario);
        // Most promises are between two or three nodes: few of them often, many of them sometimes.
        let drawn_nodes = match random.random_range(0..24) {
            0 => random.random_range(21..=MAX_NODES),
            1..6 => random.random_range(11..=20),
            _ => random.random_range(MIN_NODES..=10),
        };
        let nodes = nodes.unwrap_or(drawn_nodes).clamp(MIN_NODES, MAX_NODES);
        let chain = Chain::draw(random);
        let end = match minutes {
            Some(minutes) => Duration::from_secs(60 * minutes.max(MIN_MINUTES)),
            None => chain.block_interval * DEFAULT_BLOCKS,
        };
        let timeline = Timeline::of(end, chain.block_interval);
        let settle = timeline.settle;
        let max_future = Duration::from_secs(chain.max_future_seconds());
        let mut faults = faults::draw(random, nodes, timeline.truce, max_future);
        let villains = draw_villains(random, nodes, timeline.truce, &mut faults);
        // The node that comes late neither mines nor has a wallet.
        let late = once_in(random, 2).then(|| Late {
            node: NodeId(nodes - 1),
            at: between(random, settle / 4, settle - RECOVERY),
        });
        let resident = nodes - usize::from(late.is_some());

        let wallets: Vec<NodeId> = (0..random.random_range(3..=10))
            .map(|_| NodeId(random.random_range(0..resident)))
            .collect();
        // One payment of all wallets together in a block interval, give or take.
        let per_block = chain.block_interval * u32::try_from(wallets.len()).unwrap_or(1);

        Self {
            seed,
            nodes,
            chain,
            outbound: random.random_range(3..=8),
            links: LinkQuality::draw(random),
            miners: (0..random.random_range(2..=6))
                .map(|_| Hashpower {
                    node: NodeId(random.random_range(0..resident)),
                    weight: random.random_range(1..=10),
                })
                .collect(),
            payment_interval: between(random, per_block / 2, per_block * 2),
            wallets,
            faults,
            villains,
            late,
            timeline,
        }
    }

    /// When a node begins to dial and to listen.
    pub fn start_of(&self, node: NodeId) -> Duration {
        self.late.filter(|late| late.node == node).map_or(Duration::ZERO, |late| late.at)
    }

    /// The genesis of this world, with allocations to these locks.
    pub fn genesis(&self, wallets: &[Lock]) -> Result<Genesis, GenesisError> {
        Genesis::parse(&self.genesis_text(wallets))
    }

    /// Sum of the allocations.
    pub fn allocated(&self) -> Amount {
        let coins = (self.wallets.len() * ALLOCATIONS_PER_WALLET) as u64;
        Amount::from_grains(ALLOCATION.grains() * coins)
    }

    fn genesis_text(&self, wallets: &[Lock]) -> String {
        let Chain {
            block_interval,
            difficulty_half_life,
            max_block_bytes,
            coinbase_maturity,
            halving_interval,
        } = self.chain;
        let interval = block_interval.as_secs();
        // With a moving difficulty there is room below the limit for relief to show itself.
        let max_future = self.chain.max_future_seconds();
        let (bits, relief) = match difficulty_half_life {
            0 => ("207fffff", 0),
            _ => ("200fffff", 2 * max_future + 12 * interval),
        };
        let allocations: Vec<_> = wallets
            .iter()
            .flat_map(|lock| std::iter::repeat_n(lock, ALLOCATIONS_PER_WALLET))
            .map(|lock| {
                let address = Address::new(ADDRESS_PREFIX, *lock)
                    .expect("the prefix is three lower-case letters, the lock has a version");
                format!(r#"{{"address": "{address}", "value": {ALLOCATION}}}"#)
            })
            .collect();
        format!(
            r#"{{"name": "simulated {seed}", "address_prefix": "{ADDRESS_PREFIX}",
            "time": {EPOCH_SECONDS}, "bits": "{bits}", "pow_limit_bits": "207fffff",
            "block_interval": {interval}, "difficulty_half_life": {difficulty_half_life},
            "stall_relief_seconds": {relief}, "max_future_seconds": {max_future},
            "max_block_bytes": {max_block_bytes}, "coinbase_maturity": {coinbase_maturity},
            "initial_subsidy": 500000000, "halving_interval": {halving_interval},
            "message": "", "allocations": [{allocations}]}}"#,
            seed = self.seed,
            allocations = allocations.join(", "),
        )
    }
}

impl Timeline {
    /// Of a world that ends at a time, which is not before [`MIN_MINUTES`].
    pub fn of(end: Duration, block_interval: Duration) -> Self {
        let quiet = end - QUIET;
        let settle = quiet - block_interval * SETTLING_BLOCKS;
        Self { truce: settle - RECOVERY, settle, quiet, end }
    }
}

/// Most worlds have one or more; each knows some nodes.
fn draw_villains(
    random: &mut Random,
    nodes: usize,
    truce: Duration,
    faults: &mut Vec<Fault>,
) -> Vec<VillainPlan> {
    let count = *[0, 1, 1, 2, 3].choose(random).unwrap_or(&1);
    let mut villains = Vec::new();
    for index in 0..count {
        let kind = *Kind::ALL.choose(random).unwrap_or(&Kind::SelfishMiner);
        let known = match kind {
            Kind::EclipseRing => 1,
            _ => random.random_range(2..=nodes),
        };
        let victims = rand::seq::index::sample(random, nodes, known);
        let victims: Vec<NodeId> = victims.into_iter().map(NodeId).collect();
        if let (Kind::EclipseRing, [victim]) = (kind, victims.as_slice()) {
            faults.push(eclipse(random, *victim, nodes + index, truce));
        }
        villains.push(VillainPlan { kind, victims });
    }
    villains
}

/// Nobody but the villain reaches its victim.
fn eclipse(random: &mut Random, victim: NodeId, villain: usize, truce: Duration) -> Fault {
    let mut far = vec![false; villain + 1];
    for place in [victim.0, villain] {
        if let Some(side) = far.get_mut(place) {
            *side = true;
        }
    }
    let from = between(random, truce / 8, truce / 2);
    let until = between(random, from + Duration::from_secs(30), truce);
    let silent = once_in(random, 2);
    Fault { from, until, kind: FaultKind::Cut { far, way: Way::Both, silent } }
}

impl Chain {
    /// How far a header's time may be ahead of a node's clock.
    pub const fn max_future_seconds(&self) -> u64 {
        if self.difficulty_half_life == 0 { 7_200 } else { 60 }
    }

    fn draw(random: &mut Random) -> Self {
        Self {
            block_interval: Duration::from_secs(random.random_range(5..=15)),
            difficulty_half_life: if once_in(random, 2) { 0 } else { 1_800 },
            max_block_bytes: *[10_000, 100_000, 1_000_000].choose(random).unwrap_or(&10_000),
            coinbase_maturity: random.random_range(1..=20),
            halving_interval: random.random_range(20..=200),
        }
    }
}

impl LinkQuality {
    fn draw(random: &mut Random) -> Self {
        let millis = Duration::from_millis;
        let per_mille = |random: &mut Random, most| match once_in(random, 2) {
            true => 0,
            false => random.random_range(1..=most),
        };
        let uplink_least = match once_in(random, 3) {
            true => random.random_range(50_000..=500_000),
            false => 5_000_000,
        };
        Self {
            least: between(random, millis(1), millis(30)),
            most: between(random, millis(40), millis(400)),
            jitter: between(random, millis(1), millis(40)),
            loss_per_mille: per_mille(random, 100),
            reorder_per_mille: per_mille(random, 50),
            repeat_per_mille: per_mille(random, 50),
            uplink_least,
            uplink_most: uplink_least * 20,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_same_seed_is_the_same_world() {
        let text = |seed| format!("{:?}", Scenario::draw(seed, None, None));
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
    }

    #[test]
    fn phases_follow_one_another() {
        for seed in 0..200 {
            let scenario = Scenario::draw(seed, None, Some(MIN_MINUTES));
            let Timeline { settle, quiet, end, .. } = scenario.timeline;
            let ends = scenario.faults.iter().map(|fault| fault.until + RECOVERY);
            assert!(ends.max().is_some_and(|end| end <= settle), "seed {seed}");
            assert!(settle < quiet && quiet < end, "seed {seed}");
            assert!(scenario.late.is_none_or(|late| late.at + RECOVERY <= settle), "seed {seed}");
        }
    }

    #[test]
    fn every_drawn_chain_is_a_genesis() {
        for seed in 0..50 {
            let scenario = Scenario::draw(seed, None, None);
            let locks = vec![Lock { version: Lock::KEY, program: [7; 32] }; scenario.wallets.len()];
            let genesis = scenario.genesis(&locks).unwrap();
            let made = genesis.diff().created.values().map(|coin| coin.output.value);
            assert_eq!(Amount::checked_sum(made), Some(scenario.allocated()), "seed {seed}");
        }
    }
}
