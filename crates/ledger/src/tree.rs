//! The header tree and fork choice, free of storage.
//!
//! A [`Node`] is a header whose own rules hold. Two questions are asked of the tree: which whole
//! and unfailed branch has the most work ([`Tree::best_ready`], where the chain goes), and which
//! unfailed header has ([`Tree::best_header`], where synchronisation goes). Both are answered by
//! ordered sets that every change keeps up, never by a search.
//!
//! The tree may hold only a part of what is stored: a node's parent or some of its descendants
//! can be absent, and come back by [`Tree::insert`] in any order. The caller says what it needs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use ashlar_consensus::{HeaderState, Work};
use ashlar_primitives::{BlockId, Header};

use crate::records::{HELD, HeaderRecord, is_operators};

/// A header whose own rules hold, and what became of its block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// As mined.
    pub header: Header,
    /// What judging a child needs.
    pub state: HeaderState,
    /// Whether the body is stored.
    pub has_body: bool,
    /// Counts blocks in the order in which they and all their ancestors were whole; 0: not yet.
    /// Between equals in work the lower one is the best chain (PROTOCOL.md §5), also after a
    /// restart: it is stored.
    pub arrival: u64,
    /// The code with which the block is remembered as failed (§8).
    pub failed: Option<&'static str>,
}

impl Node {
    /// Whether this block and all its ancestors are here, or were before they were pruned.
    pub const fn is_whole(&self) -> bool {
        self.arrival > 0
    }

    /// Whether the body is stored, or was until it was pruned.
    pub const fn knows_body(&self) -> bool {
        self.has_body || self.is_whole()
    }

    /// What is stored of it.
    pub(crate) const fn to_record(&self) -> HeaderRecord {
        HeaderRecord {
            header: self.header,
            height: self.state.height,
            work: self.state.work,
            clock: self.state.clock,
            lag: self.state.lag,
            has_body: self.has_body,
            arrival: self.arrival,
            failed: self.failed,
        }
    }
}

/// The code that the children of a failed block inherit: `invalid-parent`, except that what the
/// operator took away is nobody's fault.
pub fn inherited_code(parent: &'static str) -> &'static str {
    if is_operators(parent) { parent } else { "invalid-parent" }
}

/// Ordered so that the greatest is the best: most work, then the earliest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    work: Work,
    order: Reverse<u64>,
    id: BlockId,
}

/// A node and its place in the order in which headers came.
#[derive(Clone, Debug)]
struct Entry {
    node: Node,
    seen: u64,
}

impl Entry {
    fn header_rank(&self) -> Rank {
        let state = &self.node.state;
        let work = state.work;
        #[cfg(feature = "canaries")]
        let work = crate::canary::counted(work, state.height);
        Rank { work, order: Reverse(self.seen), id: state.id }
    }

    fn block_rank(&self) -> Rank {
        let state = &self.node.state;
        let work = state.work;
        #[cfg(feature = "canaries")]
        let work = crate::canary::counted(work, state.height);
        Rank { work, order: Reverse(self.node.arrival), id: state.id }
    }
}

/// Headers by id, with the best of them at hand.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<BlockId, Entry>,
    /// (parent, child) for every node here, whether the parent is here or not.
    children: BTreeSet<(BlockId, BlockId)>,
    /// Every unfailed node.
    headers: BTreeSet<Rank>,
    /// Every unfailed node that is whole.
    ready: BTreeSet<Rank>,
    /// Every node that waits for the operator.
    held: BTreeSet<Rank>,
    last_seen: u64,
    last_arrival: u64,
}

impl Tree {
    /// The node of an id, where it is in memory.
    pub fn get(&self, id: &BlockId) -> Option<&Node> {
        self.entries.get(id).map(|entry| &entry.node)
    }

    /// How many nodes are in memory.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no node is in memory.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts a node in; one with the same id is replaced.
    pub fn insert(&mut self, node: Node) {
        let id = node.state.id;
        self.remove(&id);
        self.children.insert((node.header.parent, id));
        self.last_seen = self.last_seen.saturating_add(1);
        self.last_arrival = self.last_arrival.max(node.arrival);
        let entry = Entry { node, seen: self.last_seen };
        self.rank(&entry);
        self.entries.insert(id, entry);
    }

    /// Takes a node out of memory.
    pub fn remove(&mut self, id: &BlockId) {
        if let Some(entry) = self.entries.remove(id) {
            self.children.remove(&(entry.node.header.parent, *id));
            self.unrank(&entry);
        }
    }

    fn rank(&mut self, entry: &Entry) {
        if entry.node.failed.is_none() {
            self.headers.insert(entry.header_rank());
            if entry.node.is_whole() {
                self.ready.insert(entry.block_rank());
            }
        } else if entry.node.failed == Some(HELD) {
            self.held.insert(entry.header_rank());
        }
    }

    fn unrank(&mut self, entry: &Entry) {
        self.headers.remove(&entry.header_rank());
        self.ready.remove(&entry.block_rank());
        self.held.remove(&entry.header_rank());
    }

    /// Changes a node and keeps the order up.
    fn change(&mut self, id: &BlockId, change: impl FnOnce(&mut Node)) {
        if let Some(mut entry) = self.entries.remove(id) {
            self.unrank(&entry);
            change(&mut entry.node);
            self.rank(&entry);
            self.entries.insert(*id, entry);
        }
    }

    /// The best whole, unfailed branch: most work, then the one that was whole first.
    pub fn best_ready(&self) -> Option<&Node> {
        self.ready.last().and_then(|rank| self.get(&rank.id))
    }

    /// The unfailed header with the most work; where a whole branch has as much, that one.
    pub fn best_header(&self) -> Option<&Node> {
        let header = self.headers.last()?;
        match self.ready.last() {
            Some(ready) if ready.work >= header.work => self.get(&ready.id),
            _ => self.get(&header.id),
        }
    }

    /// The header with the most work of those that wait for the operator.
    pub(crate) fn best_held(&self) -> Option<&Node> {
        self.held.last().and_then(|rank| self.get(&rank.id))
    }

    /// The children of a block that are in memory, by id.
    pub fn children(&self, id: &BlockId) -> impl Iterator<Item = BlockId> + '_ {
        self.children
            .range((*id, BlockId::ZERO)..=(*id, BlockId([0xff; 32])))
            .map(|(_, child)| *child)
    }

    /// `id` and every descendant in memory that can be reached through nodes in memory for which
    /// `enter` holds, parents before children.
    fn subtree(&self, id: &BlockId, enter: impl Fn(&Node) -> bool) -> Vec<BlockId> {
        let mut found = Vec::new();
        let mut waiting = vec![*id];
        while let Some(id) = waiting.pop() {
            if self.get(&id).is_some_and(&enter) {
                found.push(id);
                waiting.extend(self.children(&id));
            }
        }
        found
    }

    /// A body was stored. `parent_is_whole` is asked of the caller because the parent may not be
    /// in memory. Returns the nodes that changed: the block, and where it closed a gap its
    /// descendants that now are whole.
    pub fn receive_body(&mut self, id: &BlockId, parent_is_whole: bool) -> Vec<BlockId> {
        self.change(id, |node| node.has_body = true);
        if !parent_is_whole {
            return vec![*id];
        }
        let whole = self.subtree(id, |node| node.has_body && !node.is_whole());
        for id in &whole {
            self.last_arrival = self.last_arrival.saturating_add(1);
            let arrival = self.last_arrival;
            self.change(id, |node| node.arrival = arrival);
        }
        whole
    }

    /// A body was deleted. The block stays as whole as it was: the chain has passed it.
    pub(crate) fn drop_body(&mut self, id: &BlockId) {
        self.change(id, |node| node.has_body = false);
    }

    /// A branch matters again after bodies of it were deleted, `id` the lowest of these: it and
    /// its descendants in memory are no longer whole. Returns the nodes that changed.
    pub(crate) fn reopen(&mut self, id: &BlockId) -> Vec<BlockId> {
        let reopened = self.subtree(id, Node::is_whole);
        for id in &reopened {
            self.change(id, |node| node.arrival = 0);
        }
        reopened
    }

    /// Remembers a block as failed, and its descendants in memory with it. Returns the nodes
    /// that changed. What failed before keeps its code.
    pub fn fail(&mut self, id: &BlockId, code: &'static str) -> Vec<BlockId> {
        let failed = self.subtree(id, |node| node.failed.is_none());
        for descendant in &failed {
            let code = if descendant == id { code } else { inherited_code(code) };
            self.change(descendant, |node| node.failed = Some(code));
        }
        failed
    }

    /// Forgets that a block and its descendants in memory failed. Returns the nodes that changed.
    pub fn forgive(&mut self, id: &BlockId) -> Vec<BlockId> {
        let forgiven = self.subtree(id, |node| node.failed.is_some());
        for id in &forgiven {
            self.change(id, |node| node.failed = None);
        }
        forgiven
    }

    /// Takes out of memory what lies below the height `floor`, except the branches that go on
    /// above it or have more work than `live`, the tip of the present chain: those stay, down to
    /// that chain, but for heights in `middle`, where only ends of branches (or of what has not failed
    /// of them) and blocks stay whose bodies are known. What leaves must be stored.
    pub fn prune(&mut self, live: &BlockId, floor: u32, middle: Range<u32>) {
        let Some(live_work) = self.get(live).map(|node| node.state.work) else { return };
        let below = |node: &Node| node.state.height < floor;
        let low_live: BTreeSet<BlockId> =
            self.path_down(live).filter(|node| below(node)).map(|node| node.state.id).collect();
        let mut kept = BTreeSet::new();
        for entry in self.entries.values() {
            let node = &entry.node;
            let is_leaf = self.children(&node.state.id).next().is_none();
            if is_leaf && (!below(node) || node.state.work > live_work) {
                let branch = self
                    .path_down(&node.state.id)
                    .map(|node| node.state.id)
                    .take_while(|id| !low_live.contains(id) && !kept.contains(id));
                kept.extend(branch.collect::<Vec<_>>());
            }
        }
        let is_passed = |node: &Node| {
            let mut children = self.children(&node.state.id).filter_map(|child| self.get(&child));
            middle.contains(&node.state.height)
                && !node.knows_body()
                && children.any(|child| node.failed.is_some() || child.failed.is_none())
        };
        let gone: Vec<BlockId> = self
            .entries
            .values()
            .map(|entry| &entry.node)
            .filter(|node| is_passed(node) || below(node) && !kept.contains(&node.state.id))
            .map(|node| node.state.id)
            .collect();
        for id in gone {
            self.remove(&id);
        }
    }

    /// A node and its ancestors, as far as they are in memory.
    fn path_down(&self, id: &BlockId) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.get(id), |node| self.get(&node.header.parent))
    }
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::RecentTimes;
    use ashlar_primitives::MerkleRoot;

    use super::*;
    use crate::records::INVALIDATED;

    /// A node named by one byte, with so much work in all.
    fn node(name: u8, parent: u8, height: u32, work: u8) -> Node {
        let mut bytes = [0; 32];
        bytes[0] = work;
        Node {
            header: Header {
                version: 0,
                parent: id(parent),
                merkle_root: MerkleRoot::ZERO,
                time: 0,
                bits: 0,
                nonce: 0,
            },
            state: HeaderState {
                id: id(name),
                height,
                times: RecentTimes::EMPTY,
                work: Work::from_le_bytes(bytes),
                clock: 0,
                lag: 0,
            },
            has_body: false,
            arrival: 0,
            failed: None,
        }
    }

    fn id(name: u8) -> BlockId {
        BlockId([name; 32])
    }

    fn best(tree: &Tree) -> (u8, u8) {
        let name = |node: Option<&Node>| node.map_or(0, |node| node.state.id.0[0]);
        (name(tree.best_ready()), name(tree.best_header()))
    }

    /// Genesis 1; a branch 2-3-4; a branch 12-13 from genesis.
    fn fork() -> Tree {
        let mut tree = Tree::default();
        tree.insert(Node { has_body: true, arrival: 1, ..node(1, 0, 0, 1) });
        for new in [node(2, 1, 1, 2), node(3, 2, 2, 3), node(4, 3, 3, 4)] {
            tree.insert(new);
        }
        for new in [node(12, 1, 1, 2), node(13, 12, 2, 3)] {
            tree.insert(new);
        }
        tree
    }

    #[test]
    fn a_gap_is_closed_in_order() {
        let mut tree = fork();
        assert_eq!(best(&tree), (1, 4));
        assert_eq!(tree.receive_body(&id(3), false), [id(3)]);
        assert_eq!(tree.receive_body(&id(4), false), [id(4)]);
        assert_eq!(best(&tree), (1, 4));
        assert_eq!(tree.receive_body(&id(2), true), [id(2), id(3), id(4)]);
        assert_eq!(best(&tree), (4, 4));
        assert_eq!(tree.get(&id(4)).unwrap().arrival, 4);
    }

    #[test]
    fn equals_are_told_apart_by_arrival_of_the_whole_branch() {
        let mut tree = fork();
        tree.receive_body(&id(3), false);
        tree.receive_body(&id(12), true);
        tree.receive_body(&id(13), true);
        assert_eq!(best(&tree), (13, 4));
        // The body of 3 came before that of 13, but its branch was whole only now.
        tree.receive_body(&id(2), true);
        assert_eq!(best(&tree), (13, 4));
        tree.fail(&id(4), "tx-overspends");
        assert_eq!(best(&tree), (13, 13));
    }

    #[test]
    fn failure_is_inherited_and_forgiven() {
        let mut tree = fork();
        for name in [2, 3, 4, 12, 13] {
            tree.receive_body(&id(name), true);
        }
        tree.fail(&id(4), "bad-coinbase");
        tree.fail(&id(3), "tx-overspends");
        let code = |tree: &Tree, name| tree.get(&id(name)).unwrap().failed;
        assert_eq!(code(&tree, 3), Some("tx-overspends"));
        assert_eq!(code(&tree, 4), Some("bad-coinbase"));
        assert_eq!(best(&tree), (13, 13));
        assert_eq!(tree.fail(&id(2), INVALIDATED), [id(2)]);
        tree.forgive(&id(2));
        assert_eq!(best(&tree), (4, 4));
        tree.fail(&id(2), INVALIDATED);
        assert_eq!(code(&tree, 4), Some(INVALIDATED));
    }

    #[test]
    fn pruning_keeps_what_can_matter() {
        let mut tree = Tree::default();
        tree.insert(Node { has_body: true, arrival: 1, ..node(1, 0, 0, 1) });
        for name in 2..=20 {
            tree.insert(node(name, name - 1, u32::from(name) - 1, name));
            tree.receive_body(&id(name), true);
        }
        // A light old branch, one that goes on above the floor, and a short one with more work.
        tree.insert(node(50, 2, 2, 3));
        tree.insert(node(60, 3, 3, 4));
        for name in 61..=68 {
            tree.insert(node(name, name - 1, u32::from(name) - 57, 5));
        }
        tree.insert(node(80, 4, 4, 99));
        tree.prune(&id(20), 10, 0..0);
        let has = |name| tree.get(&id(name)).is_some();
        assert!(!has(1) && !has(10) && has(11) && has(20));
        assert!(!has(50) && has(60) && has(68) && has(80));
        assert_eq!(best(&tree), (20, 80));
        assert_eq!(tree.len(), 20);
    }

    #[test]
    fn pruning_takes_the_middle_out_of_headers_far_ahead() {
        let mut tree = Tree::default();
        tree.insert(Node { has_body: true, arrival: 1, ..node(1, 0, 0, 1) });
        for name in 2..=40 {
            tree.insert(node(name, name - 1, u32::from(name) - 1, name));
        }
        tree.insert(node(90, 20, 20, 21));
        tree.receive_body(&id(2), true);
        tree.receive_body(&id(18), false);
        tree.prune(&id(2), 0, 10..30);
        // What is near on either side, what has a body, and the ends of branches.
        let kept: Vec<u8> = (1..=40).filter(|name| tree.get(&id(*name)).is_some()).collect();
        let expected: Vec<u8> = (1..=10).chain([18]).chain(31..=40).collect();
        assert_eq!(kept, expected);
        assert!(tree.get(&id(90)).is_some());
        assert_eq!(best(&tree), (2, 40));
        // What fails below does not reach over the gap by itself.
        assert_eq!(tree.fail(&id(9), "bad-coinbase"), [id(9), id(10)]);
        assert_eq!(best(&tree), (2, 40));
    }
}
