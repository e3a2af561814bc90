//! Clusters: waiting transactions that hang together, in the order in which a block takes them.
//!
//! The order is the classic one of miners: again and again the transaction whose package, itself
//! with all ancestors not yet placed, has the highest feerate; the package goes next. The list is
//! then cut into *chunks*: a package that is better than the chunk before it joins that chunk, so
//! that a child which pays for its parent lifts it. Feerates of chunks never rise along the list,
//! hence any number of chunks from its front is the best that a block of that size can take from
//! this cluster, up to the greediness of the choice (a package is always one child's: two children
//! that only together lift a parent are seen when the chunks are cut).
//!
//! All is bounded by 64 transactions: a set of them is the bits of one integer.

use core::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use ashlar_primitives::{OutPoint, Txid};

use crate::{feerate::Feerate, limits::MAX_CLUSTER_TRANSACTIONS};

/// The lowest sequence in a cluster: unique, and older clusters are lower.
pub(crate) type ClusterId = u64;

/// What the order needs to know of a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) txid: Txid,
    pub(crate) sequence: u64,
    pub(crate) rate: Feerate,
    pub(crate) inputs: &'a [OutPoint],
}

/// Transactions that are best taken together, parents first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Of all of it.
    pub(crate) rate: Feerate,
    pub(crate) txids: Vec<Txid>,
}

/// Chunks in the order in which they are best confirmed; feerates never rise along it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) chunks: Vec<Chunk>,
}

/// A chunk's place among all chunks of the pool: best feerate first, then older clusters, then the
/// order within a cluster. So whoever follows the ranking meets parents before children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub(crate) rate: Reverse<Feerate>,
    pub(crate) cluster: ClusterId,
    pub(crate) place: usize,
}

/// A cluster that was just put in order, with what its members' entries want to know.
#[derive(Clone, Debug)]
pub(crate) struct Ordered {
    pub(crate) id: ClusterId,
    pub(crate) cluster: Cluster,
    pub(crate) kin: Vec<Kin>,
}

/// How many relatives a transaction has, itself counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kin {
    pub(crate) txid: Txid,
    pub(crate) ancestor_count: usize,
    pub(crate) descendant_count: usize,
}

impl Cluster {
    pub(crate) fn txids(&self) -> impl Iterator<Item = Txid> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.txids.iter().copied())
    }

    /// Best first.
    pub(crate) fn ranks(&self, id: ClusterId) -> impl Iterator<Item = Rank> + '_ {
        self.chunks.iter().enumerate().map(move |(place, chunk)| Rank {
            rate: Reverse(chunk.rate),
            cluster: id,
            place,
        })
    }
}

/// Splits transactions into those that hang together, each group in order of entry.
pub(crate) fn components(members: Vec<Member<'_>>) -> Vec<Vec<Member<'_>>> {
    let mut unplaced: BTreeMap<Txid, Member<'_>> =
        members.into_iter().map(|member| (member.txid, member)).collect();
    let mut neighbours: BTreeMap<Txid, BTreeSet<Txid>> = BTreeMap::new();
    for member in unplaced.values() {
        for parent in member.inputs.iter().map(|input| input.txid) {
            if unplaced.contains_key(&parent) {
                neighbours.entry(member.txid).or_default().insert(parent);
                neighbours.entry(parent).or_default().insert(member.txid);
            }
        }
    }
    let mut groups = Vec::new();
    while let Some((first, member)) = unplaced.pop_first() {
        let mut group = vec![member];
        let mut open = vec![first];
        while let Some(txid) = open.pop() {
            for neighbour in neighbours.remove(&txid).into_iter().flatten() {
                if let Some(member) = unplaced.remove(&neighbour) {
                    group.push(member);
                    open.push(neighbour);
                }
            }
        }
        group.sort_by_key(|member| member.sequence);
        groups.push(group);
    }
    groups
}

/// One member at work: sets are bits, one for each member.
struct Node {
    txid: Txid,
    bit: u64,
    own: Feerate,
    /// Itself and all that it needs.
    ancestors: u64,
    /// The feerate of those of `ancestors` that are not yet placed.
    package: Feerate,
}

/// Puts the members of one component, at most 64, in order.
pub(crate) fn order(members: &[Member<'_>]) -> Ordered {
    debug_assert!(members.len() <= MAX_CLUSTER_TRANSACTIONS, "the policy bounds clusters");
    let nodes = nodes(members);
    let kin = nodes
        .iter()
        .map(|node| Kin {
            txid: node.txid,
            ancestor_count: nodes.iter().filter(|other| node.ancestors & other.bit != 0).count(),
            descendant_count: nodes.iter().filter(|other| other.ancestors & node.bit != 0).count(),
        })
        .collect();
    Ordered {
        id: members.iter().map(|member| member.sequence).min().unwrap_or_default(),
        cluster: Cluster { chunks: cut(best_first(nodes)) },
        kin,
    }
}

fn nodes(members: &[Member<'_>]) -> Vec<Node> {
    let bits: BTreeMap<Txid, u64> = (0..u64::BITS)
        .filter_map(|place| 1_u64.checked_shl(place))
        .zip(members)
        .map(|(bit, member)| (member.txid, bit))
        .collect();
    let bit_of = |txid: &Txid| bits.get(txid).copied().unwrap_or(0);
    let mut nodes: Vec<Node> = members
        .iter()
        .map(|member| {
            let bit = bit_of(&member.txid);
            let parents = member.inputs.iter().fold(0, |set, input| set | bit_of(&input.txid));
            let ancestors = bit | parents;
            Node { txid: member.txid, bit, own: member.rate, ancestors, package: member.rate }
        })
        .collect();
    // Ancestors of ancestors, until nothing is added. Each round doubles the reach: 7 at most.
    loop {
        let known: Vec<(u64, u64)> = nodes.iter().map(|node| (node.bit, node.ancestors)).collect();
        let mut grown = false;
        for node in &mut nodes {
            let reach = known
                .iter()
                .filter(|(bit, _)| node.ancestors & bit != 0)
                .fold(node.ancestors, |set, (_, ancestors)| set | ancestors);
            grown |= reach != node.ancestors;
            node.ancestors = reach;
        }
        if !grown {
            break;
        }
    }
    let own: Vec<(u64, Feerate)> = nodes.iter().map(|node| (node.bit, node.own)).collect();
    for node in &mut nodes {
        node.package = own
            .iter()
            .filter(|(bit, _)| node.ancestors & bit & !node.bit != 0)
            .fold(node.own, |package, (_, rate)| package.with(*rate));
    }
    nodes
}

/// Best packages first; within one, and between equals, what came in first where ancestry lets it.
fn best_first(mut unplaced: Vec<Node>) -> Vec<(Txid, Feerate)> {
    let mut placed = Vec::with_capacity(unplaced.len());
    // `max_by_key` prefers the last of equals, hence from the back.
    while let Some(best) = unplaced.iter().rev().max_by_key(|node| node.package) {
        let package = best.ancestors;
        let (mut taken, mut rest): (Vec<Node>, Vec<Node>) =
            unplaced.into_iter().partition(|node| package & node.bit != 0);
        for node in &mut rest {
            node.package = taken
                .iter()
                .filter(|gone| node.ancestors & gone.bit != 0)
                .fold(node.package, |left, gone| left.without(gone.own));
        }
        // An ancestor has fewer ancestors than its descendants.
        taken.sort_by_key(|node| node.ancestors.count_ones());
        placed.extend(taken.into_iter().map(|node| (node.txid, node.own)));
        unplaced = rest;
    }
    placed
}

/// Cuts a list into chunks of feerates that never rise.
fn cut(list: Vec<(Txid, Feerate)>) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = Vec::new();
    for (txid, rate) in list {
        let mut last = Chunk { rate, txids: vec![txid] };
        while let Some(mut better) = chunks.pop_if(|before| before.rate < last.rate) {
            better.rate = better.rate.with(last.rate);
            better.txids.append(&mut last.txids);
            last = better;
        }
        chunks.push(last);
    }
    chunks
}
