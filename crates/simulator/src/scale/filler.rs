//! Filler transactions with a declared size.
//!
//! A block of a megabyte holds thousands of transactions, and ten thousand nodes that each hold
//! and judge all of them are more than two cores carry. A *filler* is a real transaction that
//! stands for many of the usual size: on the way, and in the time that jobs take, it counts as all
//! of them. What it can't stand for is told in docs/simulation.md.

use std::time::Duration;

use ashlar_engine::{GossipData, Job};
use ashlar_primitives::{Encode as _, compact::ShortId, wire};

use crate::mesh::GossipMessage;

/// Of a usual transaction, with one input and two outputs.
pub const TRANSACTION_BYTES: u64 = 194;
/// Of one index in a request.
const INDEX_BYTES: u64 = 4;
/// What frames, encryption, TCP and IP add to a message.
const OVERHEAD_BYTES: u64 = 120;
/// On one core of a small machine, in batches.
const PER_SIGNATURE: Duration = Duration::from_micros(25);
/// Hashing and the rules without signatures, on the same.
const PER_TRANSACTION: Duration = Duration::from_micros(4);
/// Of every job.
const JOB: Duration = Duration::from_micros(50);

/// How many usual transactions a filler stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight(pub u64);

impl Weight {
    /// What `real` bytes with so many fillers in them count as, where one is `each` long.
    fn declared(self, real: usize, fillers: usize, each: u64) -> u64 {
        let added = (self.0.saturating_sub(1)) * each * fillers as u64;
        real as u64 + added + OVERHEAD_BYTES
    }

    /// A transaction's fillers are all but the first of what it stands for.
    fn with_transactions(self, real: usize, fillers: usize) -> u64 {
        self.declared(real, fillers, TRANSACTION_BYTES)
    }

    /// Bytes of gossip on the way.
    pub fn gossip(self, message: &GossipMessage) -> u64 {
        match &message.data {
            GossipData::Block(compact) => {
                let told = self.declared(0, compact.short_ids.len(), ShortId::LEN as u64);
                told + self.with_transactions(message.size_bytes, compact.prefilled.len())
                    - OVERHEAD_BYTES
            }
            GossipData::Transactions(batch) => {
                self.with_transactions(message.size_bytes, batch.len())
            }
        }
    }

    /// Bytes of a request on the way.
    pub fn request(self, request: &wire::Request) -> u64 {
        let indexes = match request {
            wire::Request::BlockTransactions { indexes, .. } => indexes.len(),
            _ => 0,
        };
        self.declared(request.encoded_len(), indexes, INDEX_BYTES)
    }

    /// Bytes of an answer on the way.
    pub fn answer(self, answer: Option<&wire::Answer>) -> u64 {
        let Some(answer) = answer else { return OVERHEAD_BYTES };
        let fillers = match answer {
            wire::Answer::Blocks(blocks) => {
                blocks.iter().map(|block| block.transactions.len()).sum()
            }
            wire::Answer::BlockTransactions(them) | wire::Answer::Transactions(them) => them.len(),
            wire::Answer::Status(_) | wire::Answer::Headers(_) | wire::Answer::Mempool(_) => 0,
        };
        self.with_transactions(answer.encoded_len(), fillers)
    }

    /// How long a job takes on one core.
    pub fn job(self, job: &Job) -> Duration {
        let times = |cost: Duration, fillers: usize| {
            let count = (fillers as u64).saturating_mul(self.0);
            cost * u32::try_from(count).unwrap_or(u32::MAX)
        };
        JOB + match job {
            Job::OpenBlock { block, .. } => times(PER_TRANSACTION, block.transactions.len()),
            Job::OpenParts { parts, .. } | Job::CheckTemplate { parts, .. } => {
                times(PER_TRANSACTION, parts.len())
            }
            // The finder has it all before it finds it.
            Job::OpenBody { .. } => Duration::ZERO,
            Job::VerifyBlock { checks, known, .. } => {
                let new = checks.iter().filter(|check| !known.contains(&check.wtxid)).count();
                times(PER_SIGNATURE, new)
            }
            Job::VerifyTransactions { checks } => {
                times(PER_SIGNATURE, checks.iter().map(|(_, checks)| checks.len()).sum())
            }
            Job::CheckTransactions { transactions } => times(PER_TRANSACTION, transactions.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filler_counts_as_what_it_stands_for() {
        let answer = wire::Answer::Transactions(Vec::new());
        let empty = Weight(1_000).answer(Some(&answer));
        assert_eq!(empty, answer.encoded_len() as u64 + OVERHEAD_BYTES);
        let request = |indexes| wire::Request::BlockTransactions {
            id: ashlar_primitives::BlockId::ZERO,
            indexes,
        };
        let more = Weight(1_000).request(&request(vec![0, 1]));
        let less = Weight(1_000).request(&request(vec![0]));
        assert_eq!(more - less, 1_000 * INDEX_BYTES);
        let batch = Job::CheckTransactions { transactions: Vec::new() };
        assert_eq!(Weight(9).job(&batch), JOB);
    }
}
