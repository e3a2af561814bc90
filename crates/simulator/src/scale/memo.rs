//! The results of pure jobs, computed once for the whole net.
//!
//! A job says all that its result depends on, so that the same job of another node has the same
//! result. Every hundredth node takes nothing from here: it computes for itself, and what it finds
//! must be what the others were given.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{
    CheckedBlock, CheckedTransaction, Part,
    signature::{Place, SignatureCheck, VerifiedTransaction},
};
use ashlar_engine::{Job, JobResult};
use ashlar_primitives::{Block, BlockId, Coinbase, Wtxid};
use thiserror::Error;

use crate::random::Random;

/// A node that computed for itself found something else than the memo says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Disagreement {
    /// On a body.
    #[error("block {id}: opening it anew gave another result than before")]
    Block {
        /// Whose.
        id: BlockId,
    },
    /// On signatures.
    #[error("transaction {wtxid}: verifying it anew gave another result than before")]
    Signatures {
        /// Whose.
        wtxid: Wtxid,
    },
}

/// What was found so far. It grows with the blocks and transactions of a world, which are few.
#[derive(Debug, Default)]
pub struct Memo {
    blocks: BTreeMap<BlockId, Arc<CheckedBlock>>,
    /// A wtxid commits to every signature and to everything signed.
    transactions: BTreeMap<Wtxid, VerifiedTransaction>,
    /// Jobs of which everything was known.
    pub recalled: u64,
    /// Jobs computed though everything was known, and found to agree.
    pub compared: u64,
}

type Verdict = Result<VerifiedTransaction, Place>;

impl Memo {
    /// Runs a job: where `is_witness`, wholly; else as far as its result is not known.
    pub fn run(
        &mut self,
        job: Job,
        is_witness: bool,
        random: &mut Random,
    ) -> Result<JobResult, Disagreement> {
        match job {
            Job::OpenBlock { header, ref block, .. } => {
                let known = self.blocks.get(&header.id()).filter(|known| is_body(known, block));
                let known = known.cloned();
                self.open(header.id(), known, job, is_witness, random)
            }
            Job::OpenParts { header, ref coinbase, ref parts, .. } => {
                let known = self.blocks.get(&header.id());
                let known = known.filter(|known| is_made_of(known, coinbase, parts)).cloned();
                self.open(header.id(), known, job, is_witness, random)
            }
            Job::VerifyTransactions { checks } => {
                let ids: Vec<Wtxid> = checks.iter().map(|(wtxid, _)| *wtxid).collect();
                if ids.iter().all(|wtxid| self.knows(wtxid)) {
                    self.count(is_witness);
                }
                let news: Vec<_> = checks
                    .into_iter()
                    .filter(|(wtxid, _)| is_witness || !self.knows(wtxid))
                    .collect();
                let fresh = verify(news, random);
                for (wtxid, verdict) in &fresh {
                    match verdict {
                        Ok(proof) => {
                            self.transactions.entry(*wtxid).or_insert_with(|| proof.clone());
                        }
                        Err(_) if self.knows(wtxid) => {
                            return Err(Disagreement::Signatures { wtxid: *wtxid });
                        }
                        Err(_) => {}
                    }
                }
                let of = |wtxid: &Wtxid| {
                    let recalled = || self.transactions.get(wtxid).cloned().map(Ok);
                    fresh.get(wtxid).cloned().or_else(recalled)
                };
                Ok(JobResult::VerifyTransactions(ids.iter().filter_map(of).collect()))
            }
            Job::VerifyBlock { checks, mut known, terms } => {
                let ids: BTreeSet<Wtxid> = checks.iter().map(|check| check.wtxid).collect();
                let foreseen = ids.iter().find(|_| ids.iter().all(|wtxid| self.knows(wtxid)));
                if foreseen.is_some() {
                    self.count(is_witness);
                }
                match is_witness {
                    true => known.clear(),
                    false => known.extend(ids.iter().filter(|wtxid| self.knows(wtxid))),
                }
                let result = Job::VerifyBlock { checks, known, terms }.run(random);
                match foreseen {
                    Some(wtxid) if matches!(result, JobResult::VerifyBlock(Err(_))) => {
                        Err(Disagreement::Signatures { wtxid: *wtxid })
                    }
                    _ => Ok(result),
                }
            }
            // Once a block, at its finder; or as cheap as to look it up.
            Job::OpenBody { .. } | Job::CheckTransactions { .. } | Job::CheckTemplate { .. } => {
                Ok(job.run(random))
            }
        }
    }

    /// A job that opens a body; `known` is what this very body opened as before.
    fn open(
        &mut self,
        id: BlockId,
        known: Option<Arc<CheckedBlock>>,
        job: Job,
        is_witness: bool,
        random: &mut Random,
    ) -> Result<JobResult, Disagreement> {
        if let Some(known) = &known {
            self.count(is_witness);
            if !is_witness {
                return Ok(JobResult::OpenBlock(Ok(Arc::clone(known))));
            }
        }
        let result = job.run(random);
        match (&result, known) {
            (JobResult::OpenBlock(Ok(opened)), None) => {
                self.blocks.insert(id, Arc::clone(opened));
            }
            (JobResult::OpenBlock(Ok(opened)), Some(known)) if *opened == known => {}
            (_, Some(_)) => return Err(Disagreement::Block { id }),
            (_, None) => {}
        }
        Ok(result)
    }

    const fn count(&mut self, is_witness: bool) {
        match is_witness {
            true => self.compared += 1,
            false => self.recalled += 1,
        }
    }

    fn knows(&self, wtxid: &Wtxid) -> bool {
        self.transactions.contains_key(wtxid)
    }
}

/// Verifies transactions, a verdict for each.
fn verify(
    checks: Vec<(Wtxid, Vec<SignatureCheck>)>,
    random: &mut Random,
) -> BTreeMap<Wtxid, Verdict> {
    let ids: Vec<Wtxid> = checks.iter().map(|(wtxid, _)| *wtxid).collect();
    match (Job::VerifyTransactions { checks }).run(random) {
        JobResult::VerifyTransactions(verdicts) => ids.into_iter().zip(verdicts).collect(),
        // `Job::run` answers in kind.
        _ => BTreeMap::new(),
    }
}

/// Whether a block is what was opened: the same header with the same body.
fn is_body(opened: &CheckedBlock, block: &Block) -> bool {
    let transactions = opened.transactions();
    *opened.header() == block.header
        && *opened.coinbase() == block.coinbase
        && transactions.len() == block.transactions.len()
        && transactions.iter().zip(&block.transactions).all(|(a, b)| a.transaction() == b)
}

fn is_made_of(opened: &CheckedBlock, coinbase: &Coinbase, parts: &[Part]) -> bool {
    let transactions = opened.transactions();
    let is_same = |(known, part): (&Arc<CheckedTransaction>, &Part)| match part {
        Part::Checked(checked) => known == checked,
        Part::Plain(plain) => known.transaction() == plain,
    };
    opened.coinbase() == coinbase
        && transactions.len() == parts.len()
        && transactions.iter().zip(parts).all(is_same)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use ashlar_primitives::{SigHash, keys::SecretKey};

    use super::*;
    use crate::random::{Purpose, stream};

    /// A job about one signature, which is good or not.
    fn job(is_good: bool) -> Job {
        let key = SecretKey::from_bytes(&[7; 32]);
        let (wtxid, digest) = (Wtxid([1; 32]), SigHash([2; 32]));
        let signed = if is_good { digest } else { SigHash([3; 32]) };
        let check = SignatureCheck {
            place: Place { transaction: 0, witness: 0, signature: 0 },
            wtxid,
            key: key.public_key(),
            signature: key.sign(&signed),
            signed: digest.into(),
        };
        Job::VerifyTransactions { checks: vec![(wtxid, vec![check])] }
    }

    fn is_good(result: JobResult) -> bool {
        let JobResult::VerifyTransactions(verdicts) = result else { return false };
        verdicts.len() == 1 && verdicts.iter().all(Result::is_ok)
    }

    #[test]
    fn what_was_computed_once_is_recalled_and_compared() {
        let (mut memo, random) = (Memo::default(), &mut stream(1, Purpose::Jobs));
        for is_witness in [false, false, true] {
            assert!(is_good(memo.run(job(true), is_witness, random).unwrap()));
        }
        assert_eq!((memo.recalled, memo.compared), (1, 1));
    }

    #[test]
    fn what_is_bad_is_not_remembered() {
        let (mut memo, random) = (Memo::default(), &mut stream(1, Purpose::Jobs));
        for is_witness in [false, true, false] {
            assert!(!is_good(memo.run(job(false), is_witness, random).unwrap()));
        }
        assert_eq!((memo.recalled, memo.compared), (0, 0));
    }

    /// The job that the memo can't tell from another: only who computes for itself notices.
    #[test]
    fn a_witness_that_finds_something_else_ends_the_world() {
        let (mut memo, random) = (Memo::default(), &mut stream(1, Purpose::Jobs));
        assert!(is_good(memo.run(job(true), false, random).unwrap()));
        assert!(is_good(memo.run(job(false), false, random).unwrap()));
        let wtxid = Wtxid([1; 32]);
        let found = memo.run(job(false), true, random).unwrap_err();
        assert_eq!(found, Disagreement::Signatures { wtxid });
    }
}
