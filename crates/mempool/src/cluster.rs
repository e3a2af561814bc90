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
    // Most hang together with no other.
    match members.len() {
        0 => return Vec::new(),
        1 => return vec![members],
        _ => {}
    }
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
    if let [only] = members {
        let kin = Kin { txid: only.txid, ancestor_count: 1, descendant_count: 1 };
        let chunk = Chunk { rate: only.rate, txids: vec![only.txid] };
        let cluster = Cluster { chunks: vec![chunk] };
        return Ordered { id: only.sequence, cluster, kin: vec![kin] };
    }
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

#[cfg(test)]
mod tests {
    use ashlar_primitives::Amount;

    use super::*;

    /// Fee, size, and the places of the parents.
    type Sketch = (u64, u64, Vec<usize>);

    fn txid(place: usize) -> Txid {
        Txid([u8::try_from(place).unwrap(); 32])
    }

    fn rate(fee: u64, size_bytes: u64) -> Feerate {
        Feerate::new(Amount::from_grains(fee), size_bytes)
    }

    fn ordered(sketch: &[Sketch]) -> Ordered {
        let inputs: Vec<Vec<OutPoint>> = sketch
            .iter()
            .map(|(_, _, parents)| {
                parents.iter().map(|place| OutPoint { txid: txid(*place), index: 0 }).collect()
            })
            .collect();
        let members: Vec<Member<'_>> = sketch
            .iter()
            .zip(&inputs)
            .enumerate()
            .map(|(place, ((fee, size, _), inputs))| Member {
                txid: txid(place),
                sequence: place as u64 + 10,
                rate: rate(*fee, *size),
                inputs,
            })
            .collect();
        order(&members)
    }

    /// Places, chunk by chunk.
    fn chunks(sketch: &[Sketch]) -> Vec<Vec<usize>> {
        let cluster = ordered(sketch).cluster;
        let places = |chunk: &Chunk| chunk.txids.iter().map(|id| usize::from(id.0[0])).collect();
        cluster.chunks.iter().map(places).collect()
    }

    #[test]
    fn a_list_falls_into_chunks() {
        let falling: Vec<Sketch> = vec![(30, 1, vec![]), (20, 1, vec![0]), (10, 1, vec![1])];
        assert_eq!(chunks(&falling), [vec![0], vec![1], vec![2]]);
        let rising: Vec<Sketch> = vec![(10, 1, vec![]), (20, 1, vec![0]), (30, 1, vec![1])];
        assert_eq!(chunks(&rising), [vec![0, 1, 2]]);
        let equal: Vec<Sketch> = vec![(10, 1, vec![]), (10, 1, vec![0])];
        assert_eq!(chunks(&equal), [vec![0], vec![1]], "equals need not wait for one another");
    }

    #[test]
    fn children_that_only_together_lift_a_parent() {
        let fan: Vec<Sketch> =
            vec![(0, 10, vec![]), (50, 10, vec![0]), (50, 10, vec![0]), (1, 10, vec![0])];
        assert_eq!(chunks(&fan), [vec![0, 1, 2], vec![3]]);
    }

    #[test]
    fn the_better_of_two_parents_goes_alone() {
        let link: Vec<Sketch> = vec![(1, 10, vec![]), (90, 10, vec![]), (40, 10, vec![0, 1])];
        assert_eq!(chunks(&link), [vec![1], vec![0, 2]]);
    }

    #[test]
    fn ids_and_kin() {
        let diamond: Vec<Sketch> =
            vec![(1, 1, vec![]), (1, 1, vec![0]), (1, 1, vec![0]), (1, 1, vec![1, 2])];
        let ordered = ordered(&diamond);
        assert_eq!(ordered.id, 10, "the lowest sequence");
        let kin: Vec<_> =
            ordered.kin.iter().map(|kin| (kin.ancestor_count, kin.descendant_count)).collect();
        assert_eq!(kin, [(1, 4), (2, 2), (2, 2), (4, 1)]);
    }

    #[test]
    fn a_chain_of_sixty_four_that_came_in_backwards() {
        let chain: Vec<Sketch> = (0..64_usize)
            .map(|place| (1, 1, if place < 63 { vec![place + 1] } else { vec![] }))
            .collect();
        let places: Vec<usize> = chunks(&chain).concat();
        assert_eq!(places, (0..64).rev().collect::<Vec<_>>());
        assert_eq!(ordered(&chain).kin[0].ancestor_count, 64);
    }

    #[test]
    fn components_are_what_hangs_together() {
        let input = |place| [OutPoint { txid: txid(place), index: 3 }];
        let inputs = [input(9), input(0), input(9), input(2), input(8)];
        let members: Vec<Member<'_>> = inputs
            .iter()
            .enumerate()
            .map(|(place, inputs)| Member {
                txid: txid(place),
                sequence: 100 - place as u64,
                rate: rate(1, 1),
                inputs,
            })
            .collect();
        let groups: Vec<Vec<u64>> = components(members)
            .iter()
            .map(|group| group.iter().map(|member| member.sequence).collect())
            .collect();
        // Spending from the same stranger ties nothing together; order of entry within a group.
        assert_eq!(groups, [vec![99, 100], vec![97, 98], vec![96]]);
    }

    /// Small random clusters against all that could be done.
    #[test]
    fn near_the_best_that_can_be() {
        use rand::{RngExt, SeedableRng, rngs::StdRng};
        let mut rng = StdRng::seed_from_u64(1);
        let (mut best_firsts, rounds) = (0, 2_000);
        for _ in 0..rounds {
            let count = rng.random_range(1..=8_usize);
            let sketch: Vec<Sketch> = (0..count)
                .map(|place| {
                    let parents = (0..place).filter(|_| rng.random_bool(0.35)).collect();
                    (rng.random_range(0..100), rng.random_range(1..20), parents)
                })
                .collect();
            let cluster = ordered(&sketch).cluster;
            let mut placed = 0_u32;
            for (n, chunk) in cluster.chunks.iter().enumerate() {
                let mut sum = rate(0, 0);
                for id in &chunk.txids {
                    let place = usize::from(id.0[0]);
                    let (fee, size, parents) = &sketch[place];
                    assert!(parents.iter().all(|parent| placed & (1 << parent) != 0));
                    assert_eq!(placed & (1 << place), 0);
                    placed |= 1 << place;
                    sum = sum.with(rate(*fee, *size));
                }
                assert_eq!((sum.fee, sum.size_bytes), (chunk.rate.fee, chunk.rate.size_bytes));
                assert!(n == 0 || cluster.chunks[n - 1].rate >= chunk.rate);
            }
            assert_eq!(placed.count_ones() as usize, count);
            let closed = |set: u32| {
                (0..count)
                    .filter(|place| set & (1 << place) != 0)
                    .all(|place| sketch[place].2.iter().all(|parent| set & (1 << parent) != 0))
            };
            let total = |set: u32| {
                (0..count)
                    .filter(|place| set & (1 << place) != 0)
                    .fold(rate(0, 0), |sum, place| sum.with(rate(sketch[place].0, sketch[place].1)))
            };
            let best = (1..1 << count).filter(|set| closed(*set)).map(total).max().unwrap();
            assert!(cluster.chunks[0].rate <= best);
            best_firsts += u32::from(cluster.chunks[0].rate == best);
        }
        assert!(best_firsts * 100 >= rounds * 95, "{best_firsts} of {rounds}");
    }
}
