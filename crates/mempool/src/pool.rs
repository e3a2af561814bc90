//! What is kept, and the two moves that everything else is made of: put in, take out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use ashlar_consensus::{CheckedTransaction, Params};
use ashlar_primitives::{Amount, Coin, OutPoint, Output, Txid, Wtxid};

use crate::{
    cluster::{self, Cluster, ClusterId, Member, Ordered, Rank},
    entry::Entry,
    feerate::Feerate,
    floor::Floor,
    leaving::{Departure, Leaving},
    limits::{BLOCK_OVERHEAD_BYTES, Limits, MAX_CLUSTER_TRANSACTIONS},
    tip::Tip,
};

/// Unconfirmed transactions that could all be confirmed together on the present tip.
#[derive(Debug)]
pub struct Mempool {
    pub(crate) params: Arc<Params>,
    pub(crate) limits: Limits,
    pub(crate) entries: BTreeMap<Txid, Entry>,
    /// Looked up for each transaction of a block that somebody waits for, and never walked.
    by_wtxid: HashMap<Wtxid, Txid>,
    pub(crate) by_sequence: BTreeMap<u64, Txid>,
    /// By the last moment of each, see [`Entry::expires_ms`].
    pub(crate) by_expiry: BTreeSet<(u64, Txid)>,
    /// Who spends an outpoint: no two do. Also the edges from parent to child.
    pub(crate) spenders: BTreeMap<OutPoint, Txid>,
    pub(crate) clusters: BTreeMap<ClusterId, Cluster>,
    /// All chunks of all clusters, best first.
    pub(crate) ranking: BTreeSet<Rank>,
    /// Of transactions that wait, and of others.
    pub(crate) priorities: BTreeMap<Txid, i64>,
    size_bytes: usize,
    memory_bytes: usize,
    total_fee: Amount,
    pub(crate) floor: Floor,
    sequence: u64,
    pub(crate) departures: Vec<Departure>,
}

impl Mempool {
    /// An empty pool. Of `limits`, the two on clusters are cut to what this crate and the chain's
    /// blocks can hold.
    pub fn new(params: Arc<Params>, limits: Limits) -> Self {
        let block_bytes = usize::try_from(params.max_block_bytes).unwrap_or(usize::MAX);
        let limits = Limits {
            max_cluster_transactions: limits.max_cluster_transactions.min(MAX_CLUSTER_TRANSACTIONS),
            max_cluster_bytes: limits
                .max_cluster_bytes
                .min(block_bytes.saturating_sub(BLOCK_OVERHEAD_BYTES)),
            ..limits
        };
        Self {
            params,
            limits,
            entries: BTreeMap::new(),
            by_wtxid: HashMap::new(),
            by_sequence: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            spenders: BTreeMap::new(),
            clusters: BTreeMap::new(),
            ranking: BTreeSet::new(),
            priorities: BTreeMap::new(),
            size_bytes: 0,
            memory_bytes: 0,
            total_fee: Amount::ZERO,
            floor: Floor::default(),
            sequence: 0,
            departures: Vec::new(),
        }
    }

    /// The limits in force.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The inputs that no waiting transaction makes, in input order: look them up in the ledger
    /// and pass what was found.
    pub fn chain_inputs(&self, transaction: &CheckedTransaction) -> Vec<OutPoint> {
        let inputs = transaction.transaction().inputs.iter();
        inputs.filter(|input| !self.entries.contains_key(&input.txid)).copied().collect()
    }

    /// The coins that `transaction` names, in input order: the pool's own outputs, as coins of the
    /// next block's height, then those of `extra`, then `chain`.
    ///
    /// `extra` holds outputs of transactions that stand before it in the same batch. A coin that a
    /// waiting transaction spends is still found: whether it may be spent anew is policy.
    pub fn resolve(
        &self,
        tip: &Tip,
        transaction: &CheckedTransaction,
        chain: &BTreeMap<OutPoint, Coin>,
        extra: &BTreeMap<OutPoint, Output>,
    ) -> Vec<Option<Coin>> {
        let unconfirmed =
            |output: &Output| Coin { output: *output, height: tip.next_height, is_coinbase: false };
        let find = |input: &OutPoint| match self.entries.get(&input.txid) {
            Some(parent) => {
                let outputs = &parent.transaction.transaction().outputs;
                outputs.get(usize::from(input.index)).map(unconfirmed)
            }
            None => extra.get(input).map(unconfirmed).or_else(|| chain.get(input).copied()),
        };
        transaction.transaction().inputs.iter().map(find).collect()
    }

    /// By txid.
    pub fn get(&self, txid: &Txid) -> Option<&Entry> {
        self.entries.get(txid)
    }

    /// By wtxid: with exactly these witnesses.
    pub fn get_by_wtxid(&self, wtxid: &Wtxid) -> Option<&Entry> {
        self.get(self.by_wtxid.get(wtxid)?)
    }

    /// Whether it waits, with exactly these witnesses.
    pub fn contains_wtxid(&self, wtxid: &Wtxid) -> bool {
        self.by_wtxid.contains_key(wtxid)
    }

    /// Who spends this outpoint.
    pub fn spender(&self, outpoint: &OutPoint) -> Option<&Entry> {
        self.get(self.spenders.get(outpoint)?)
    }

    /// All, in order of txid: for rebuilding compact blocks.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// In order of entry, those after this sequence: for pages that miss nothing.
    pub fn entered_after(&self, sequence: u64) -> impl Iterator<Item = &Entry> {
        let later = sequence.checked_add(1).map(|first| self.by_sequence.range(first..));
        later.into_iter().flatten().filter_map(|(_, txid)| self.get(txid))
    }

    /// The waiting transactions that `transaction` spends from directly, each once, in order of txid.
    pub fn parents(&self, transaction: &CheckedTransaction) -> BTreeSet<Txid> {
        let makers = transaction.transaction().inputs.iter().map(|input| input.txid);
        makers.filter(|maker| self.entries.contains_key(maker)).collect()
    }

    /// The waiting transactions that spend from `txid` directly, once for each output spent.
    pub fn children(&self, txid: &Txid) -> impl Iterator<Item = Txid> {
        let output = |index| OutPoint { txid: *txid, index };
        self.spenders.range(output(0)..=output(u16::MAX)).map(|(_, child)| *child)
    }

    /// The waiting transactions that `txid` spends from, directly or not, parents first, itself not
    /// among them. At most a cluster.
    pub fn ancestors(&self, txid: &Txid) -> Vec<&Entry> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&Entry> = self.get(txid).into_iter().collect();
        while let Some(entry) = open.pop() {
            let new = self.parents(&entry.transaction).into_iter().filter(|t| found.insert(*t));
            open.extend(new.filter_map(|parent| self.get(&parent)));
        }
        self.parents_first(&found)
    }

    /// The waiting transactions that spend from `txid`, directly or not, parents first, itself not
    /// among them. At most a cluster.
    pub fn descendants(&self, txid: &Txid) -> Vec<&Entry> {
        let mut found = self.with_descendants([*txid]);
        found.remove(txid);
        self.parents_first(&found)
    }

    fn parents_first(&self, txids: &BTreeSet<Txid>) -> Vec<&Entry> {
        let mut entries: Vec<&Entry> = txids.iter().filter_map(|txid| self.get(txid)).collect();
        entries.sort_by_key(|entry| entry.order());
        entries
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Sum of the encodings.
    pub const fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Heap bytes in use, which [`Limits::max_bytes`] bounds: estimated from the sizes of the types,
    /// places in maps included.
    pub const fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Sum of all fees.
    pub const fn total_fee(&self) -> Amount {
        self.total_fee
    }

    /// Rises with every change, and with nothing else: whoever saw this number saw all.
    pub const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// What left since this was last asked, in order, and why. Whoever keeps a pool asks after each
    /// step: it is kept until then.
    pub fn take_departures(&mut self) -> Vec<Departure> {
        core::mem::take(&mut self.departures)
    }

    /// The least feerate that is taken now: the setting, or the rolling floor above it.
    pub fn min_feerate(&self, now_ms: u64) -> Feerate {
        self.limits.min_feerate.max(self.floor.at(now_ms))
    }

    /// Removes one and its descendants. Returns what left, parents first.
    pub fn remove(&mut self, txid: &Txid) -> Vec<Arc<CheckedTransaction>> {
        let gone = self.with_descendants([*txid]);
        self.take_out(&gone, Leaving::Refused)
    }

    /// Those that wait among `txids`, and everything that spends from them.
    pub(crate) fn with_descendants(&self, txids: impl IntoIterator<Item = Txid>) -> BTreeSet<Txid> {
        // A cluster bounds what each of them brings along.
        self.bounded_descendants(txids, usize::MAX).unwrap_or_default()
    }

    /// The same, `None` where they are more than `max`.
    pub(crate) fn bounded_descendants(
        &self,
        txids: impl IntoIterator<Item = Txid>,
        max: usize,
    ) -> Option<BTreeSet<Txid>> {
        let mut found = BTreeSet::new();
        let mut open: Vec<Txid> =
            txids.into_iter().filter(|txid| self.entries.contains_key(txid)).collect();
        while let Some(txid) = open.pop() {
            if found.insert(txid) {
                if found.len() > max {
                    return None;
                }
                open.extend(self.children(&txid));
            }
        }
        Some(found)
    }

    /// The clusters that these stand in.
    pub(crate) fn clusters_of<'a>(
        &self,
        txids: impl IntoIterator<Item = &'a Txid>,
    ) -> BTreeSet<ClusterId> {
        txids.into_iter().filter_map(|txid| self.get(txid)).map(|entry| entry.cluster).collect()
    }

    /// What is left of a cluster without `gone`.
    pub(crate) fn survivors(&self, id: ClusterId, gone: &BTreeSet<Txid>) -> Vec<Member<'_>> {
        let txids = self.clusters.get(&id).into_iter().flat_map(Cluster::txids);
        let entries =
            txids.filter(|txid| !gone.contains(txid)).filter_map(|t| self.entries.get(&t));
        entries.map(Entry::member).collect()
    }

    /// Takes out exactly these, whose descendants the caller included unless they live on.
    /// Returns them, parents first.
    pub(crate) fn take_out(
        &mut self,
        gone: &BTreeSet<Txid>,
        why: Leaving,
    ) -> Vec<Arc<CheckedTransaction>> {
        let touched = self.clusters_of(gone);
        let ordered: Vec<Ordered> = touched
            .iter()
            .flat_map(|id| cluster::components(self.survivors(*id, gone)))
            .map(|members| cluster::order(&members))
            .collect();
        let removed = self.forget(gone, why);
        self.regroup(&touched, ordered);
        removed
    }

    /// Puts one in, beside clusters that [`Mempool::regroup`] is then told of.
    pub(crate) fn insert(&mut self, entry: Entry) {
        let txid = entry.transaction.txid();
        self.sequence = entry.sequence;
        self.size_bytes = self.size_bytes.saturating_add(size_of(&entry));
        self.memory_bytes = self.memory_bytes.saturating_add(entry.memory_bytes());
        self.total_fee = plus(self.total_fee, entry.fee);
        self.by_wtxid.insert(entry.transaction.wtxid(), txid);
        self.by_sequence.insert(entry.sequence, txid);
        self.by_expiry.insert((entry.expires_ms, txid));
        for input in &entry.transaction.transaction().inputs {
            self.spenders.insert(*input, txid);
        }
        self.entries.insert(txid, entry);
    }

    /// Takes these out of every map but the clusters. Returns them, parents first.
    pub(crate) fn forget(
        &mut self,
        gone: &BTreeSet<Txid>,
        why: Leaving,
    ) -> Vec<Arc<CheckedTransaction>> {
        let mut entries: Vec<Entry> =
            gone.iter().filter_map(|txid| self.entries.remove(txid)).collect();
        if !entries.is_empty() {
            self.note_change();
        }
        for entry in &entries {
            self.size_bytes = self.size_bytes.saturating_sub(size_of(entry));
            self.memory_bytes = self.memory_bytes.saturating_sub(entry.memory_bytes());
            self.total_fee = self.total_fee.checked_sub(entry.fee).unwrap_or_default();
            self.by_wtxid.remove(&entry.transaction.wtxid());
            self.by_sequence.remove(&entry.sequence);
            self.by_expiry.remove(&(entry.expires_ms, entry.transaction.txid()));
            for input in &entry.transaction.transaction().inputs {
                self.spenders.remove(input);
            }
        }
        entries.sort_by_key(Entry::order);
        for Entry { transaction, sequence, .. } in &entries {
            self.departures.push(Departure {
                transaction: Arc::clone(transaction),
                sequence: *sequence,
                why,
            });
        }
        entries.into_iter().map(|entry| entry.transaction).collect()
    }

    /// Replaces the clusters `old` by `new`, which hold the same entries less what was forgotten,
    /// plus what was inserted.
    pub(crate) fn regroup(&mut self, old: &BTreeSet<ClusterId>, new: Vec<Ordered>) {
        for id in old {
            let cluster = self.clusters.remove(id);
            for rank in cluster.iter().flat_map(|cluster| cluster.ranks(*id)) {
                self.ranking.remove(&rank);
            }
        }
        for Ordered { id, cluster, kin } in new {
            for kin in kin {
                if let Some(entry) = self.entries.get_mut(&kin.txid) {
                    entry.cluster = id;
                    entry.ancestor_count = kin.ancestor_count;
                    entry.descendant_count = kin.descendant_count;
                }
            }
            self.ranking.extend(cluster.ranks(id));
            self.clusters.insert(id, cluster);
        }
    }

    /// See [`Mempool::sequence`].
    pub(crate) const fn note_change(&mut self) {
        self.sequence = self.next_sequence();
    }

    pub(crate) const fn next_sequence(&self) -> u64 {
        self.sequence.saturating_add(1)
    }
}

fn size_of(entry: &Entry) -> usize {
    usize::try_from(entry.transaction.size_bytes()).unwrap_or(usize::MAX)
}

/// Fees come out of coins that exist, and so sum to at most `MAX_MONEY`.
fn plus(sum: Amount, fee: Amount) -> Amount {
    Amount::from_grains(sum.grains().saturating_add(fee.grains()))
}
