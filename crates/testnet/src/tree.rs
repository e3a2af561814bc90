//! `fork-tree`: the blocks of all nodes as one tree, and who is on which tip.
//!
//! A straight run of blocks is one line. What is drawn are the ends: a block where branches part,
//! a block that somebody is on, and the last block of each branch.

use std::collections::{BTreeMap, BTreeSet};

use ashlar_primitives::BlockId;
use ashlar_rpc::{
    Client, ClientError,
    prelude::*,
    types::{ChainTip, HeaderResult},
};
use serde::{Deserialize, Serialize};

use crate::file::NodeNumber;

/// Headers that one tree is drawn from at most: branches that part below are drawn as apart from
/// their lowest block here on.
pub const MAX_TREE_BLOCKS: usize = 20_000;
/// Branches that parted deeper below the lowest tip of a node are left out.
pub const TREE_DEPTH_BLOCKS: u32 = 1_000;
/// Hex digits that stand for a block.
const SHORT_ID_DIGITS: usize = 12;

/// A block, as far as a tree needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Placed {
    height: u32,
    /// `None`: the genesis block, or below what is drawn.
    parent: Option<BlockId>,
}

/// A run of blocks without a fork, and what stands on its last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The height of its first block.
    pub from: u32,
    /// The height of its last block.
    pub to: u32,
    /// The last block's id.
    pub id: BlockIdText,
    /// The nodes whose tip that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeNumber>,
    /// Where nobody is on it and it is the end of a branch, what the nodes say of it, as
    /// `getchaintips` does: `valid-fork`, `invalid` ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The runs that begin on its last block, the longest branch first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Self>,
}

/// A block's id in hex, as people are shown it.
pub type BlockIdText = ashlar_rpc::types::Text<BlockId>;

/// Asks running nodes, each with its number, and puts what they tell together.
///
/// # Errors
/// Where one does not answer.
pub async fn ask(nodes: &[(NodeNumber, Client)]) -> Result<Run, ClientError> {
    let mut told = Told::default();
    let mut all = Vec::new();
    for (number, client) in nodes {
        all.push((*number, client, client.getchaintips().await?));
    }
    // Nobody's chain may end above where another's parts from it.
    let is_active = |tip: &ChainTip| tip.status == "active";
    let best = |tips: &[ChainTip]| tips.iter().find(|tip| is_active(tip)).map(|tip| tip.height);
    let lowest_tip = all.iter().filter_map(|(.., tips)| best(tips)).min().unwrap_or(0);
    let floor = lowest_tip.saturating_sub(TREE_DEPTH_BLOCKS);
    for (number, client, tips) in all {
        for tip in &tips {
            if is_active(tip) {
                told.on.entry(tip.hash.0).or_default().insert(number);
                told.walk(client, tip.hash.0, floor).await?;
            } else if tip.height.saturating_sub(tip.branchlen) >= floor {
                told.ends.entry(tip.hash.0).or_insert_with(|| tip.status.clone());
                told.walk(client, tip.hash.0, floor).await?;
            }
        }
    }
    Ok(told.tree())
}

/// What the nodes told.
#[derive(Clone, Debug, Default)]
struct Told {
    blocks: BTreeMap<BlockId, Placed>,
    /// The nodes on each tip.
    on: BTreeMap<BlockId, BTreeSet<NodeNumber>>,
    ends: BTreeMap<BlockId, String>,
}

impl Told {
    /// Notes the blocks from `id` down to one that is known or as low as `lowest`.
    async fn walk(
        &mut self,
        client: &Client,
        mut id: BlockId,
        lowest: u32,
    ) -> Result<(), ClientError> {
        while !self.blocks.contains_key(&id) && self.blocks.len() < MAX_TREE_BLOCKS {
            let HeaderResult::Detail(header) = client.getblockheader(id.into(), None).await? else {
                break;
            };
            let parent = header.previousblockhash.map(|parent| parent.0);
            let below = parent.filter(|_| header.height > lowest);
            self.blocks.insert(id, Placed { height: header.height, parent });
            let Some(below) = below else { break };
            id = below;
        }
        Ok(())
    }

    /// The runs, from the lowest block that all ends have in common up. Where there is none (they
    /// part below what was looked at) the lowest of each is a branch of its own on the genesis.
    fn tree(&self) -> Run {
        let mut children: BTreeMap<Option<BlockId>, BTreeSet<BlockId>> = BTreeMap::new();
        for (id, block) in &self.blocks {
            let parent = block.parent.filter(|parent| self.blocks.contains_key(parent));
            children.entry(parent).or_default().insert(*id);
        }
        let roots = children.get(&None).cloned().unwrap_or_default();
        let mut runs: Vec<Run> = roots.iter().map(|&id| self.run(id, &children)).collect();
        sort(&mut runs);
        if runs.len() == 1 {
            let mut run = runs.remove(0);
            run.from = 0;
            return run;
        }
        Run {
            from: 0,
            to: 0,
            id: BlockId::ZERO.into(),
            nodes: vec![],
            status: None,
            branches: runs,
        }
    }

    /// The run that begins with a block. Recursion is as deep as forks are nested.
    fn run(&self, first: BlockId, children: &BTreeMap<Option<BlockId>, BTreeSet<BlockId>>) -> Run {
        let height = |id| self.blocks.get(&id).map_or(0, |block| block.height);
        let mut last = first;
        let mut next = children.get(&Some(last));
        while let Some(only) = next.filter(|next| next.len() == 1 && !self.on.contains_key(&last)) {
            last = *only.first().unwrap_or(&last);
            next = children.get(&Some(last));
        }
        let mut branches: Vec<Run> =
            next.into_iter().flatten().map(|&child| self.run(child, children)).collect();
        sort(&mut branches);
        let nodes: Vec<NodeNumber> = self.on.get(&last).into_iter().flatten().copied().collect();
        let status = self.ends.get(&last).filter(|_| nodes.is_empty() && branches.is_empty());
        Run {
            from: height(first),
            to: height(last),
            id: last.into(),
            nodes,
            status: status.cloned(),
            branches,
        }
    }
}

/// The branch that reaches highest first; between equals by id, so that a tree looks the same
/// each time.
fn sort(runs: &mut [Run]) {
    runs.sort_by_key(|run| (core::cmp::Reverse(run.top()), run.id.0));
}

impl Run {
    /// The height of the highest block in it or on it.
    pub fn top(&self) -> u32 {
        self.branches.iter().map(Self::top).max().unwrap_or(self.to)
    }

    /// The tips that nodes are on.
    pub fn tips(&self) -> usize {
        usize::from(!self.nodes.is_empty()) + self.branches.iter().map(Self::tips).sum::<usize>()
    }

    /// For people: a line for each run, branches indented below what they stand on.
    pub fn draw(&self) -> String {
        let mut out = String::new();
        self.draw_on(&mut out, "", "");
        out
    }

    fn draw_on(&self, out: &mut String, before: &str, below: &str) {
        let heights = match (self.from, self.to) {
            (from, to) if from == to => to.to_string(),
            (from, to) => format!("{from} ─ {to}"),
        };
        let id = self.id.0.to_string();
        let id = id.get(..SHORT_ID_DIGITS).unwrap_or(&id);
        *out += &format!("{before}{heights}  {id}");
        match (&self.nodes[..], &self.status) {
            ([], None) => {}
            ([], Some(status)) => {
                *out += &format!("  {status}");
            }
            ([one], _) => {
                *out += &format!("  node {one}");
            }
            (several, _) => {
                let list: Vec<String> = several.iter().map(ToString::to_string).collect();
                *out += &format!("  nodes {}", list.join(" "));
            }
        }
        out.push('\n');
        for (place, branch) in self.branches.iter().enumerate() {
            let is_last = place + 1 == self.branches.len();
            let (fork, along) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            branch.draw_on(out, &format!("{below}{fork}"), &format!("{below}{along}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Block `n` of branch `branch`.
    fn id(branch: u8, n: u32) -> BlockId {
        let mut id = [branch; 32];
        id[..4].copy_from_slice(&n.to_le_bytes());
        BlockId(id)
    }

    fn chain(told: &mut Told, branch: u8, parent: Option<BlockId>, heights: core::ops::Range<u32>) {
        let mut parent = parent;
        for height in heights {
            told.blocks.insert(id(branch, height), Placed { height, parent });
            parent = Some(id(branch, height));
        }
    }

    fn on(told: &mut Told, tip: BlockId, nodes: &[NodeNumber]) {
        told.on.insert(tip, nodes.iter().copied().collect());
    }

    #[test]
    fn one_chain_is_one_line() {
        let mut told = Told::default();
        chain(&mut told, 1, None, 0..10);
        on(&mut told, id(1, 9), &[1, 2, 3]);
        let tree = told.tree();
        assert_eq!((tree.from, tree.to, tree.tips()), (0, 9, 1));
        assert_eq!(tree.draw().lines().count(), 1);
        assert!(tree.draw().ends_with("nodes 1 2 3\n"), "{}", tree.draw());
    }

    #[test]
    fn branches_part_where_they_do_and_the_higher_comes_first() {
        let mut told = Told::default();
        chain(&mut told, 1, None, 0..8);
        chain(&mut told, 2, Some(id(1, 5)), 6..10);
        told.ends.insert(id(2, 9), "valid-fork".to_owned());
        on(&mut told, id(1, 7), &[4]);
        // Behind the others on the same chain.
        on(&mut told, id(1, 3), &[2]);
        let tree = told.tree();
        let lines: Vec<String> = tree.draw().lines().map(str::to_owned).collect();
        let short = |branch, n| id(branch, n).to_string()[..SHORT_ID_DIGITS].to_owned();
        assert_eq!(
            lines,
            [
                format!("0 ─ 3  {}  node 2", short(1, 3)),
                format!("└─ 4 ─ 5  {}", short(1, 5)),
                format!("   ├─ 6 ─ 9  {}  valid-fork", short(2, 9)),
                format!("   └─ 6 ─ 7  {}  node 4", short(1, 7)),
            ]
        );
        assert_eq!(tree.tips(), 2);
    }

    #[test]
    fn chains_without_a_common_block_are_drawn_apart() {
        let mut told = Told::default();
        chain(&mut told, 1, None, 5..8);
        chain(&mut told, 2, None, 5..7);
        on(&mut told, id(1, 7), &[1]);
        on(&mut told, id(2, 6), &[2]);
        let tree = told.tree();
        assert_eq!(tree.branches.len(), 2);
        assert_eq!(tree.top(), 7);
    }
}
