//! What a run reached, and what it must reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ashlar_primitives::{Block, Policy, Transaction, Witness};

use crate::model::Code;

/// Every code of PROTOCOL.md §8.
pub const CODES: [Code; 30] = [
    "known",
    "bad-version",
    "unknown-parent",
    "invalid-parent",
    "time-too-old",
    "time-too-new",
    "bad-difficulty",
    "high-hash",
    "malformed",
    "block-too-large",
    "bad-merkle-root",
    "bad-coinbase",
    "tx-malformed",
    "tx-no-inputs",
    "tx-no-outputs",
    "tx-too-large",
    "tx-duplicate-input",
    "tx-bad-value",
    "tx-bad-lock-version",
    "tx-memo-too-long",
    "bad-utxo-commitment",
    "tx-not-yet-valid",
    "tx-missing-input",
    "tx-immature-coinbase",
    "tx-bad-input-sum",
    "tx-overspends",
    "tx-bad-witness",
    "tx-bad-signature",
    "coinbase-overpays",
    "invalidated",
];

/// Every kind of policy (§2).
pub const KINDS: [&str; 6] = ["opaque", "key", "hash", "after", "older", "threshold"];

/// Counts of one or many chains.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Chains that came to their end.
    pub chains: u64,
    /// Those whose ledger stood on a disk.
    pub on_disk: u64,
    /// Valid blocks in the trees.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Blocks with more than one child.
    pub forks: u64,
    /// Times that the published tip left more than one block behind.
    pub reorganisations: u64,
    /// The deepest of them, of each chain the deepest and of those the least.
    pub least_deepest: u32,
    /// The deepest of all.
    pub deepest: u32,
    /// Stopped and started again.
    pub restarts: u64,
    /// Blocks that an operator took away or gave back.
    pub operator: u64,
    /// Times that all of the state was compared.
    pub comparisons: u64,
    /// Blocks, headers and transactions judged by both, by verdict.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Nodes of policies in witnesses of valid blocks, by kind.
    pub kinds: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// One more verdict.
    pub fn verdict(&mut self, verdict: &'static str) {
        *self.verdicts.entry(verdict).or_default() += 1;
    }

    /// Counts what stands in a valid block.
    pub fn block(&mut self, block: &Block) {
        self.blocks += 1;
        for Transaction { witnesses, .. } in &block.transactions {
            self.transactions += 1;
            for witness in witnesses {
                if let Witness::Policy { policy, .. } = witness {
                    self.policy(policy);
                }
            }
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let kind = match policy {
            Policy::Opaque(_) => "opaque",
            Policy::Key(_) => "key",
            Policy::Hash(_) => "hash",
            Policy::After(_) => "after",
            Policy::Older(_) => "older",
            Policy::Threshold { children, .. } => {
                children.iter().for_each(|child| self.policy(child));
                "threshold"
            }
        };
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.least_deepest = match self.chains {
            0 => other.least_deepest,
            _ => self.least_deepest.min(other.least_deepest),
        };
        self.deepest = self.deepest.max(other.deepest);
        for (sum, part) in [
            (&mut self.chains, other.chains),
            (&mut self.on_disk, other.on_disk),
            (&mut self.blocks, other.blocks),
            (&mut self.transactions, other.transactions),
            (&mut self.forks, other.forks),
            (&mut self.reorganisations, other.reorganisations),
            (&mut self.restarts, other.restarts),
            (&mut self.operator, other.operator),
            (&mut self.comparisons, other.comparisons),
        ] {
            *sum += part;
        }
        for (sums, parts) in
            [(&mut self.verdicts, &other.verdicts), (&mut self.kinds, &other.kinds)]
        {
            for (name, count) in parts {
                *sums.entry(name).or_default() += count;
            }
        }
    }

    /// Codes and kinds that were not reached.
    pub fn missing(&self) -> BTreeSet<&'static str> {
        let codes = CODES.into_iter().filter(|code| !self.verdicts.contains_key(code));
        let kinds = KINDS.into_iter().filter(|kind| !self.kinds.contains_key(kind));
        codes.chain(kinds).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} chains ({} on disk), {} valid blocks, {} transactions, {} forks",
            self.chains, self.on_disk, self.blocks, self.transactions, self.forks
        )?;
        writeln!(
            f,
            "{} reorganisations, at least one {} deep in each chain, the deepest {}",
            self.reorganisations, self.least_deepest, self.deepest
        )?;
        writeln!(
            f,
            "{} restarts, {} choices of the operator, state compared {} times",
            self.restarts, self.operator, self.comparisons
        )?;
        for (title, counts) in [("verdicts", &self.verdicts), ("policies", &self.kinds)] {
            write!(f, "{title}:")?;
            for (name, count) in counts {
                write!(f, " {name} {count}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
