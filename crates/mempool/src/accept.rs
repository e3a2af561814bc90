//! The door: consensus first, then policy in the order of PROTOCOL.md §13, and only then a change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ashlar_consensus::{
    CheckedTransaction, SignatureCheck, TxError, judge_transaction, signature::VerifiedTransaction,
};
use ashlar_primitives::{Amount, Coin, OutPoint, Txid, Wtxid};

use crate::{
    cluster::{self, ClusterId, Member, Ordered, Rank},
    entry::{self, Entry},
    error::{PolicyError, Refusal},
    feerate::Feerate,
    leaving::Leaving,
    limits::INCREMENTAL_FEERATE,
    pool::Mempool,
    priority::weighed,
    tip::Tip,
};

/// What accepting did.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Of what came in.
    pub wtxid: Wtxid,
    /// What it pays.
    pub fee: Amount,
    /// Its [`Entry::sequence`].
    pub sequence: u64,
    /// The coins that it spends, in input order.
    pub spent: Vec<Coin>,
    /// What it replaced, then what was pushed out for room; each with its descendants, parents
    /// first.
    pub removed: Vec<Arc<CheckedTransaction>>,
}

/// A transaction that the pool would take, if its signatures verify.
#[derive(Clone, Debug)]
pub struct Examined {
    /// What it pays.
    pub fee: Amount,
    /// All that must still verify (`ashlar_consensus::verify_transactions`).
    pub checks: Vec<SignatureCheck>,
}

/// A change that was thought through to its end: carrying it out can't fail.
struct Plan {
    judged: Examined,
    /// What it spends.
    spent: Vec<Coin>,
    /// What it replaces.
    replaced: BTreeSet<Txid>,
    /// Clusters that it changes.
    touched: BTreeSet<ClusterId>,
    /// What becomes of them, the newcomer in one.
    ordered: Vec<Ordered>,
    /// What then goes for room, and the best feerate among it.
    pushed_out: BTreeSet<Txid>,
    pushed_out_rate: Option<Feerate>,
}

impl Mempool {
    /// Everything but signatures, and without change; the fee. See [`Mempool::examine`].
    ///
    /// # Errors
    /// The first rule that fails: of consensus in the order of §8, then of policy in that of §13.
    pub fn test(
        &self,
        tip: &Tip,
        transaction: &CheckedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        confirmed: bool,
        now_ms: u64,
    ) -> Result<Amount, Refusal> {
        self.examine(tip, transaction, chain, confirmed, now_ms).map(|examined| examined.fee)
    }

    /// Everything but signatures, and without change; with what is to be verified.
    ///
    /// `chain` holds the coins found for [`Mempool::chain_inputs`]. `confirmed`: an output of it is
    /// an unspent coin, or the index knows it. Of a confirmed transaction the inputs are spent, so
    /// that `tx-missing-input` would only say the same less clearly: it is `tx-already-confirmed`.
    ///
    /// # Errors
    /// The first rule that fails: of consensus in the order of §8, then of policy in that of §13.
    pub fn examine(
        &self,
        tip: &Tip,
        transaction: &CheckedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        confirmed: bool,
        now_ms: u64,
    ) -> Result<Examined, Refusal> {
        self.plan(tip, transaction, chain, confirmed, now_ms).map(|plan| plan.judged)
    }

    /// [`Mempool::examine`], then in. All or nothing: a refusal changes nothing.
    ///
    /// # Errors
    /// The first rule that fails: of consensus in the order of §8, then of policy in that of §13.
    ///
    /// # Panics
    /// Where `verified` is another transaction's: a fault of the caller's program.
    pub fn accept(
        &mut self,
        tip: &Tip,
        transaction: Arc<CheckedTransaction>,
        verified: &VerifiedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        confirmed: bool,
        now_ms: u64,
    ) -> Result<Accepted, Refusal> {
        let (wtxid, txid) = (transaction.wtxid(), transaction.txid());
        assert_eq!(verified.wtxid(), wtxid, "the proof belongs to another transaction");
        let plan = self.plan(tip, &transaction, chain, confirmed, now_ms)?;
        let fee = plan.judged.fee;
        let sequence = self.next_sequence();
        let mut removed = self.forget(&plan.replaced, Leaving::Replaced);
        self.insert(Entry {
            transaction,
            fee,
            delta_grains: self.priority(&txid),
            entered_ms: now_ms,
            waited_ms: 0,
            expires_ms: now_ms.saturating_add(self.limits.expiry_ms),
            sequence,
            ancestor_count: 1,
            descendant_count: 1,
            cluster: sequence,
            judged_height: tip.next_height,
        });
        self.regroup(&plan.touched, plan.ordered);
        removed.extend(self.take_out(&plan.pushed_out, Leaving::PushedOut));
        if let Some(rate) = plan.pushed_out_rate {
            self.floor.raise(rate, now_ms);
        }
        Ok(Accepted { wtxid, fee, sequence, spent: plan.spent, removed })
    }

    fn plan(
        &self,
        tip: &Tip,
        transaction: &CheckedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        confirmed: bool,
        now_ms: u64,
    ) -> Result<Plan, Refusal> {
        let coins = self.resolve(tip, transaction, chain, &BTreeMap::new());
        let judged = judge_transaction(&self.params, tip.next_height, transaction, &coins)
            .map_err(|error| match error {
                TxError::MissingInput { .. } if confirmed => PolicyError::AlreadyConfirmed.into(),
                error => Refusal::Invalid(error),
            })?;
        let judged = Examined { fee: judged.fee, checks: judged.checks };
        let txid = transaction.txid();
        let fee = weighed(judged.fee, self.priority(&txid));
        self.check_alone(transaction, fee, confirmed, now_ms)?;
        let replaced = self.replaced_by(transaction, fee).map_err(PolicyError::Conflict)?;
        let newcomer = Member {
            txid,
            sequence: self.next_sequence(),
            rate: Feerate::new(fee, u64::from(transaction.size_bytes())),
            inputs: &transaction.transaction().inputs,
        };
        let (touched, ordered) = self.join(transaction, newcomer, &replaced)?;
        let mut plan = Plan {
            judged,
            spent: coins.into_iter().flatten().collect(),
            replaced,
            touched,
            ordered,
            pushed_out: BTreeSet::new(),
            pushed_out_rate: None,
        };
        self.make_room(transaction, newcomer, &mut plan)?;
        Ok(plan)
    }

    /// The policies that look at nothing but the transaction, its fee and the floor.
    fn check_alone(
        &self,
        transaction: &CheckedTransaction,
        fee: Amount,
        confirmed: bool,
        now_ms: u64,
    ) -> Result<(), PolicyError> {
        if self.entries.contains_key(&transaction.txid()) {
            return Err(PolicyError::AlreadyKnown);
        }
        if confirmed {
            return Err(PolicyError::AlreadyConfirmed);
        }
        let (size_bytes, max_bytes) = (transaction.size_bytes(), self.limits.max_relay_bytes);
        if size_bytes > max_bytes {
            return Err(PolicyError::NotRelayable { size_bytes, max_bytes });
        }
        let fee = fee.grains();
        let required = self.limits.min_feerate.fee_for(u64::from(size_bytes));
        if fee < required {
            return Err(PolicyError::FeeTooLow { fee, required });
        }
        let required = self.floor.at(now_ms).fee_for(u64::from(size_bytes));
        if fee < required {
            return Err(PolicyError::MempoolFull { required });
        }
        Ok(())
    }

    /// The clusters that the newcomer and what it replaces change, and what becomes of them.
    fn join(
        &self,
        transaction: &CheckedTransaction,
        newcomer: Member<'_>,
        replaced: &BTreeSet<Txid>,
    ) -> Result<(BTreeSet<ClusterId>, Vec<Ordered>), PolicyError> {
        let max_transactions = self.limits.max_cluster_transactions;
        let max_bytes = self.limits.max_cluster_bytes;
        let too_large = PolicyError::ClusterTooLarge { max_transactions, max_bytes };
        let mut kin = self.parents(transaction);
        // None but while a reorganisation is carried through: a parent comes back to its children.
        kin.extend(self.children(&newcomer.txid));
        // Without this look first, a thousand inputs could make us walk a thousand clusters.
        if kin.len() >= max_transactions {
            return Err(too_large);
        }
        let mut touched = self.clusters_of(&kin);
        touched.extend(self.clusters_of(replaced));
        let survivors = touched.iter().flat_map(|id| self.survivors(*id, replaced));
        let groups = cluster::components(survivors.chain([newcomer]).collect());
        for group in &groups {
            let bytes = group.iter().fold(0_u64, |sum, m| sum.saturating_add(m.rate.size_bytes));
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            if group.len() > max_transactions || bytes > max_bytes {
                return Err(too_large);
            }
        }
        Ok((touched, groups.iter().map(|group| cluster::order(group)).collect()))
    }

    /// What has to go so that all fits: the worst chunks, as they will be with the newcomer in.
    /// Where it would be among them, it is refused instead. Judged last, since it depends on
    /// everything that the newcomer changes.
    fn make_room(
        &self,
        transaction: &CheckedTransaction,
        newcomer: Member<'_>,
        plan: &mut Plan,
    ) -> Result<(), PolicyError> {
        let own_bytes = entry::memory_bytes(transaction);
        let bytes_of = |txid: &Txid| self.get(txid).map_or(own_bytes, Entry::memory_bytes);
        let sum = |txids: &mut dyn Iterator<Item = &Txid>| {
            txids.map(bytes_of).fold(0, usize::saturating_add)
        };
        let mut needed_bytes = self
            .memory_bytes()
            .saturating_add(own_bytes)
            .saturating_sub(sum(&mut plan.replaced.iter()));
        if needed_bytes <= self.limits.max_bytes {
            return Ok(());
        }
        let changed: BTreeMap<Rank, &[Txid]> = plan
            .ordered
            .iter()
            .flat_map(|ordered| ordered.cluster.ranks(ordered.id).zip(&ordered.cluster.chunks))
            .map(|(rank, chunk)| (rank, chunk.txids.as_slice()))
            .collect();
        let unchanged = self.ranking.iter().rev().filter(|r| !plan.touched.contains(&r.cluster));
        let mut unchanged = unchanged.peekable();
        let mut changed = changed.into_iter().rev().peekable();
        while needed_bytes > self.limits.max_bytes {
            // The later in the ranking, the worse.
            let from_changed =
                changed.next_if(|(rank, _)| unchanged.peek().is_none_or(|other| rank > *other));
            let (rank, txids) = match from_changed {
                Some(worst) => worst,
                None => match unchanged.next() {
                    Some(rank) => (*rank, self.chunk_txids(rank)),
                    None => break,
                },
            };
            if txids.contains(&newcomer.txid) {
                let rate = rank.rate.0;
                let own = newcomer.rate.size_bytes;
                let above = INCREMENTAL_FEERATE.fee_for(own);
                let required = rate.max(newcomer.rate).fee_for(own).saturating_add(above);
                return Err(PolicyError::MempoolFull { required });
            }
            needed_bytes = needed_bytes.saturating_sub(sum(&mut txids.iter()));
            plan.pushed_out.extend(txids);
            plan.pushed_out_rate = Some(rank.rate.0);
        }
        Ok(())
    }
}
