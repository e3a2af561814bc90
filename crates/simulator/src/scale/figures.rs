//! What a net showed, and what it means in numbers.

use std::time::Duration;

use ashlar_primitives::BlockId;

use super::Experiment;

/// A block that was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub id: BlockId,
    /// Its height.
    pub height: u32,
    /// When.
    pub at: Duration,
    /// Fillers in it.
    pub fillers: usize,
    /// For each node, after how many milliseconds it had the block, checked; `None`: never.
    pub delays: Vec<Option<u32>>,
    /// For each node, after how many milliseconds the block was part of its chain.
    pub joined: Vec<Option<u32>>,
}

impl Found {
    /// Milliseconds from its finding to `now`.
    pub fn since(&self, now: Duration) -> u32 {
        u32::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u32::MAX)
    }
}

/// What happened in a net, counted.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Nodes.
    pub nodes: usize,
    /// Events delivered.
    pub events: u64,
    /// Virtual time in all.
    pub lasted: Duration,
    /// Blocks found.
    pub found: usize,
    /// Those that ended in the best chain, in the order of finding.
    pub chain: Vec<Found>,
    /// Nodes that ended at its tip.
    pub at_tip: usize,
    /// Fillers handed in.
    pub fillers: usize,
    /// Fillers that their first node refused.
    pub fillers_refused: usize,
    /// Reorganisations, over all nodes.
    pub reorganisations: u64,
    /// Blocks undone by the deepest of them.
    pub deepest: usize,
    /// Bytes that left all nodes.
    pub sent_bytes: u64,
    /// Times that a node had to ask for transactions of a block.
    pub blocks_incomplete: u64,
    /// Gossip that waited too long for its sender's uplink.
    pub gossip_dropped: u64,
    /// Requests without an answer.
    pub requests_failed: u64,
    /// Honest gossip that was rejected; must be 0.
    pub rejected: u64,
    /// Honest peers that were cut.
    pub peers_cut: u64,
    /// Calls without an answer.
    pub calls_refused: u64,
    /// Jobs that the memo spared.
    pub recalled: u64,
    /// Jobs that were computed and agreed with it.
    pub compared: u64,
}

/// What one experiment says.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Of what.
    pub experiment: Experiment,
    /// Counted.
    pub outcome: Outcome,
    /// Milliseconds from a block's finding to a node's having it, all pairs, in order.
    delays: Vec<u32>,
}

/// Of a share in hundredths; 0 of nothing.
fn percentile(sorted: &[u32], hundredths: usize) -> u32 {
    let place = (sorted.len() * hundredths / 100).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or_default()
}

fn seconds(millis: u32) -> f64 {
    f64::from(millis) / 1_000.0
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

impl Figures {
    /// Of an outcome.
    pub fn new(experiment: Experiment, outcome: Outcome) -> Self {
        let pairs = outcome.chain.iter().flat_map(|found| &found.delays);
        let mut delays: Vec<u32> = pairs.flatten().copied().collect();
        delays.sort_unstable();
        Self { experiment, outcome, delays }
    }

    /// Seconds within which such a share of the nodes, in hundredths, have a block.
    pub fn spread_seconds(&self, hundredths: usize) -> f64 {
        seconds(percentile(&self.delays, hundredths))
    }

    /// Of all pairs of a block and a node, the share that came together within so many seconds.
    pub fn reached(&self, within: f64) -> f64 {
        let reached = self.delays.partition_point(|delay| seconds(*delay) <= within);
        share(reached, self.pairs())
    }

    /// Of all pairs of a block and a node, the share that came together at all.
    pub fn coverage(&self) -> f64 {
        share(self.delays.len(), self.pairs())
    }

    fn pairs(&self) -> usize {
        self.outcome.nodes * self.outcome.chain.len()
    }

    /// Blocks found that did not stay, as a share.
    pub fn stale(&self) -> f64 {
        share(self.outcome.found - self.outcome.chain.len(), self.outcome.found)
    }

    /// The same as it follows from how blocks spread: the chance that while a block is on its way
    /// somebody finds another who has not heard of it, every home mining as fast as any other.
    /// Many more draws stand behind it than behind the count. `None` where the net was cut.
    pub fn stale_expected(&self) -> Option<f64> {
        if self.experiment.cut.is_some() {
            return None;
        }
        let interval = self.experiment.interval.as_secs_f64();
        let missing = |delay: &u32| seconds(*delay);
        let mean = self.delays.iter().map(missing).sum::<f64>() / self.delays.len().max(1) as f64;
        Some(1.0 - (-mean / interval).exp())
    }

    /// Kilobytes that an average home uploads in a second.
    pub fn upload_kilobytes(&self) -> f64 {
        let seconds = self.outcome.lasted.as_secs_f64();
        let each = self.outcome.sent_bytes as f64 / self.outcome.nodes.max(1) as f64;
        if seconds > 0.0 { each / seconds / 1_000.0 } else { 0.0 }
    }

    /// The declared size of a block, on average, in bytes.
    pub fn block_bytes(&self) -> f64 {
        let chain = &self.outcome.chain;
        let fillers: usize = chain.iter().map(|found| found.fillers).sum();
        let each = self.experiment.block_bytes as f64 / super::FILLERS_PER_BLOCK as f64;
        fillers as f64 * each / chain.len().max(1) as f64
    }

    /// Pairs of a block and a node that had to ask for transactions, as a share.
    pub fn incomplete(&self) -> f64 {
        let pairs = self.outcome.nodes * self.outcome.found;
        share(usize::try_from(self.outcome.blocks_incomplete).unwrap_or(usize::MAX), pairs)
    }

    /// After a cut: seconds from its healing until such shares (in hundredths) of the losing side
    /// were on the winning branch. `None` where there was no cut, or nothing to win.
    pub fn recovery_seconds<const N: usize>(&self, hundredths: [usize; N]) -> Option<[f64; N]> {
        let cut = self.experiment.cut?;
        let during = |found: &&Found| (cut.from..cut.until).contains(&found.at);
        let first = self.outcome.chain.iter().find(during)?;
        let healed = u32::try_from((cut.until - first.at).as_millis()).unwrap_or(u32::MAX);
        let mut late: Vec<u32> = first
            .joined
            .iter()
            .map(|delay| delay.unwrap_or(u32::MAX))
            .filter(|delay| *delay >= healed)
            .map(|delay| delay - healed)
            .collect();
        late.sort_unstable();
        (!late.is_empty()).then(|| hundredths.map(|share| seconds(percentile(&late, share))))
    }

    /// How many nodes had to come over after the cut.
    pub fn losing_side(&self) -> usize {
        let Some(cut) = self.experiment.cut else { return 0 };
        let during = |found: &&Found| (cut.from..cut.until).contains(&found.at);
        let Some(first) = self.outcome.chain.iter().find(during) else { return 0 };
        let healed = (cut.until - first.at).as_millis();
        first.joined.iter().filter(|it| it.is_none_or(|it| u128::from(it) >= healed)).count()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::scale::Cut;

    /// Two blocks of four nodes, the second found while the net was cut.
    fn figures() -> Figures {
        let at = Duration::from_secs;
        let found = |at, delays: [Option<u32>; 4]| Found {
            id: BlockId::ZERO,
            height: 1,
            at,
            fillers: 4,
            delays: delays.to_vec(),
            joined: delays.to_vec(),
        };
        let experiment = Experiment {
            cut: Some(Cut { percent: 30, from: at(50), until: at(100) }),
            ..Experiment::of(4, 10, 1_000_000)
        };
        let chain = vec![
            found(at(1), [Some(0), Some(100), Some(200), None]),
            found(at(60), [Some(0), Some(300), Some(41_000), Some(45_000)]),
        ];
        Figures::new(experiment, Outcome { nodes: 4, found: 4, chain, ..Outcome::default() })
    }

    #[test]
    fn shares_and_percentiles() {
        let figures = figures();
        assert_eq!((figures.stale(), figures.coverage()), (0.5, 7.0 / 8.0));
        assert_eq!(figures.spread_seconds(50), 0.2);
        assert_eq!(figures.spread_seconds(99), 45.0);
        assert_eq!(figures.reached(0.25), 4.0 / 8.0);
        assert_eq!(figures.block_bytes(), 1_000_000.0);
    }

    #[test]
    fn recovery_counts_from_healing_and_only_who_lost() {
        let figures = figures();
        assert_eq!(figures.losing_side(), 2);
        assert_eq!(figures.recovery_seconds([0, 99]).unwrap(), [1.0, 5.0]);
    }
}
