//! PROTOCOL.md once more: slow, obvious, and written from that page alone.
//!
//! The node's own rules are fast: incremental sums, prefetched coins, batched signatures, undo
//! records. Here is the same protocol with nothing of that, as a second opinion. Every block keeps
//! the whole state after it, so nothing is ever undone; numbers are as large as they like; the best
//! chain is looked for among all blocks each time. It shares with the node the types and encodings
//! of `ashlar_primitives`, its hashes, and the check of one signature. Of `ashlar_consensus` it
//! takes a genesis and that check, and no rule.
//!
//! Reading order: this file is a node (§8: what is remembered, which chain is best); [`header`],
//! [`body`] and [`state`] are the three groups of rules in the order of §8; [`witness`] is §2 and
//! the end of §3; [`difficulty`] is §5.

pub mod body;
pub mod difficulty;
pub mod header;
pub mod state;
pub mod witness;

use std::collections::BTreeMap;

use ashlar_consensus::{Genesis, Params};
use ashlar_primitives::{Block, BlockId, Coin, Commitment, Decode as _, Encode as _, Header};
use ashlar_primitives::{OutPoint, hash::double_sha256};
use imbl::OrdMap;
use num_bigint::BigUint;

use self::{header::Link, state::State};

/// A code of PROTOCOL.md §8, or [`INVALIDATED`].
pub type Code = &'static str;

/// With which the operator's choice against a block is remembered. No code of the protocol.
pub const INVALIDATED: Code = "invalidated";

/// What became of a block that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// On the best chain now.
    Accepted,
    /// Kept; the best chain is another.
    Side,
    /// Was kept already; nothing changed.
    Known,
}

/// A header whose own rules hold, and what is known of its block.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What a child's header is judged by.
    pub link: Link,
    /// Once it came, where it belongs to the header and keeps the rules of group 2.
    pub body: Option<Block>,
    /// The place in the order in which blocks became whole: themselves and all ancestors with body.
    pub whole: Option<u64>,
    /// After the block, once it was judged and found valid.
    pub state: Option<State>,
    /// The code with which the block is remembered as failed.
    pub failed: Option<Code>,
}

/// A node without network, disk or haste.
#[derive(Clone, Debug)]
pub struct Model {
    params: Params,
    blocks: BTreeMap<BlockId, Entry>,
    tip: BlockId,
    became_whole: u64,
}

/// `H(header)` (§4).
pub fn block_id(header: &Header) -> BlockId {
    BlockId(double_sha256(&header.to_bytes()))
}

/// What a child of a failed block fails with. What the operator took away is nobody's fault.
fn inherited(parent: Code) -> Code {
    if parent == INVALIDATED { INVALIDATED } else { "invalid-parent" }
}

impl Model {
    /// A node that knows the genesis block alone (§7: valid by definition).
    pub fn new(genesis: &Genesis) -> Self {
        let (params, block) = (genesis.params().clone(), genesis.block().clone());
        let tip = block_id(&block.header);
        let entry = Entry {
            link: Link::genesis(&params, &block),
            state: Some(State::genesis(&block)),
            body: Some(block),
            whole: Some(0),
            failed: None,
        };
        Self { params, blocks: BTreeMap::from([(tip, entry)]), tip, became_whole: 0 }
    }

    /// The chain's.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    // --- what came

    /// Judges a block in the order of §8 and moves the tip as far as it goes. What says nothing
    /// about the id leaves no trace.
    ///
    /// # Errors
    /// The code of the first rule that is broken, or the one remembered for this id.
    pub fn judge(&mut self, bytes: &[u8], now_seconds: u64) -> Result<Judged, Code> {
        let taken = self.take_block(bytes, now_seconds)?;
        self.settle();
        let id = block_id(&taken.header);
        match self.blocks[&id].failed {
            Some(code) => Err(code),
            None if taken.was_known => Ok(Judged::Known),
            None if self.is_on_best_chain(&id) => Ok(Judged::Accepted),
            None => Ok(Judged::Side),
        }
    }

    /// A header on its own (§12 tag 1): group 1. Keeps it where its rules hold.
    ///
    /// # Errors
    /// As [`Model::judge`].
    pub fn take_header(&mut self, header: &Header, now_seconds: u64) -> Result<(), Code> {
        let id = block_id(header);
        if !self.blocks.contains_key(&id) {
            let link = self.judge_header(header, now_seconds)?;
            self.insert(link, None);
        }
        self.blocks[&id].failed.map_or(Ok(()), Err)
    }

    /// Groups 1 and 2. Keeps the block where they hold; [`Model::settle`] judges its state.
    ///
    /// # Errors
    /// As [`Model::judge`].
    pub fn take_block(&mut self, bytes: &[u8], now_seconds: u64) -> Result<Taken, Code> {
        let Some(Ok(header)) = bytes.get(..80).map(Header::from_bytes) else {
            return Err("malformed");
        };
        let id = block_id(&header);
        let known = self.blocks.get(&id);
        if let Some(code) = known.and_then(|entry| entry.failed) {
            return Err(code);
        }
        if known.is_some_and(|entry| entry.body.is_some()) {
            return Ok(Taken { header, was_known: true });
        }
        let link = match known {
            Some(entry) => entry.link.clone(),
            None => self.judge_header(&header, now_seconds)?,
        };
        let block = body::decode(&self.params, bytes)?;
        let rules = body::check(link.height, &block);
        // From here on the body belongs to the header: whatever it breaks is the id's own fault.
        self.blocks.entry(id).or_insert(Entry::of_header(link, None));
        if let Err(code) = rules {
            self.fail(&id, code);
            return Err(code);
        }
        self.change(&id).body = Some(block);
        self.notice_whole(&id);
        Ok(Taken { header, was_known: false })
    }

    /// Group 1 in order, the parent included. Under a failed parent the header is remembered as
    /// failed where its own rules hold.
    fn judge_header(&mut self, header: &Header, now_seconds: u64) -> Result<Link, Code> {
        header::check_version(header)?;
        let parent = self.blocks.get(&header.parent).ok_or("unknown-parent")?;
        let times = self.times_before(&header.parent);
        let judged = header::check(&self.params, &parent.link, times, header, now_seconds);
        let Some(code) = parent.failed.map(inherited) else { return judged };
        if let Ok(link) = judged {
            self.insert(link, Some(code));
        }
        Err(code)
    }

    /// The times of a block and of up to ten before it.
    fn times_before(&self, parent: &BlockId) -> Vec<u32> {
        self.path_down(parent).take(11).map(|(_, entry)| entry.link.header.time).collect()
    }

    // --- the tree

    fn insert(&mut self, link: Link, failed: Option<Code>) {
        self.blocks.insert(block_id(&link.header), Entry::of_header(link, failed));
    }

    fn change(&mut self, id: &BlockId) -> &mut Entry {
        self.blocks.get_mut(id).expect("a block of the tree")
    }

    /// A block and its ancestors, down to genesis.
    pub fn path_down<'a>(
        &'a self,
        id: &BlockId,
    ) -> impl Iterator<Item = (BlockId, &'a Entry)> + use<'a> {
        let at = |id: &BlockId| self.blocks.get(id).map(|entry| (*id, entry));
        std::iter::successors(at(id), move |(_, entry)| at(&entry.link.header.parent))
    }

    /// Those whose parent is `id`, by id.
    pub fn children(&self, id: &BlockId) -> Vec<BlockId> {
        let is_child = |entry: &Entry| entry.link.header.parent == *id;
        self.blocks.iter().filter(|(_, entry)| is_child(entry)).map(|(child, _)| *child).collect()
    }

    /// Marks a block that came as whole where its parent is, and then what waited for it. Of blocks
    /// that become whole at one moment the protocol names no first; here it is depth first,
    /// the higher id first, as in the ledger.
    fn notice_whole(&mut self, id: &BlockId) {
        let entry = &self.blocks[id];
        let parent_is_whole =
            self.blocks.get(&entry.link.header.parent).is_some_and(|parent| parent.whole.is_some());
        if parent_is_whole && entry.body.is_some() && entry.whole.is_none() {
            self.became_whole += 1;
            self.change(id).whole = Some(self.became_whole);
            for child in self.children(id).iter().rev() {
                self.notice_whole(child);
            }
        }
    }

    /// Remembers a block as failed, and what descends from it. What failed before keeps its code.
    fn fail(&mut self, id: &BlockId, code: Code) {
        let entry = self.change(id);
        if entry.failed.is_none() {
            entry.failed = Some(code);
            for child in self.children(id) {
                self.fail(&child, inherited(code));
            }
        }
    }

    /// Moves to the best chain (§5): valid, most work, between equals the one that was whole first.
    /// A block is judged with state when its branch would become the best, not before (§8).
    pub fn settle(&mut self) {
        loop {
            let ready = self.blocks.iter().filter_map(|(id, entry)| {
                let whole = entry.whole.filter(|_| entry.failed.is_none())?;
                Some((entry.link.work.clone(), std::cmp::Reverse(whole), *id))
            });
            let (_, _, best) = ready.max().expect("genesis never fails");
            if self.judge_branch(&best) {
                self.tip = best;
                return;
            }
        }
    }

    /// Judges what was not yet judged of a branch, lowest first. `false` where a block fails.
    fn judge_branch(&mut self, tip: &BlockId) -> bool {
        let unjudged = self.path_down(tip).take_while(|(_, entry)| entry.state.is_none());
        let mut unjudged: Vec<BlockId> = unjudged.map(|(id, _)| id).collect();
        unjudged.reverse();
        for id in unjudged {
            let Entry { link, body, .. } = &self.blocks[&id];
            let parent = self.blocks[&link.header.parent].state.as_ref();
            let parent = parent.expect("judged before its child");
            let block = body.as_ref().expect("a whole branch");
            match parent.apply(&self.params, link.height, block) {
                Ok(state) => self.change(&id).state = Some(state),
                Err(code) => {
                    self.fail(&id, code);
                    return false;
                }
            }
        }
        true
    }

    /// Judges the branch that ends in a block, though it may not be the best. `None`: a body is
    /// missing on it, or the block is not known.
    ///
    /// # Errors
    /// The code with which the block is remembered as failed, now or before.
    pub fn judge_alone(&mut self, id: &BlockId) -> Option<Result<&State, Code>> {
        let entry = self.blocks.get(id)?;
        if entry.failed.is_none() && entry.state.is_none() {
            entry.whole?;
            self.judge_branch(id);
        }
        let entry = &self.blocks[id];
        match (entry.failed, &entry.state) {
            (Some(code), _) => Some(Err(code)),
            (None, state) => state.as_ref().map(Ok),
        }
    }

    // --- the operator

    /// Takes a block and what descends from it out of the choice. Call [`Model::settle`] then.
    /// Leaves genesis and unknown ids alone.
    pub fn invalidate(&mut self, id: &BlockId) {
        if self.blocks.get(id).is_some_and(|entry| entry.link.height > 0) {
            self.fail(id, INVALIDATED);
        }
    }

    /// Forgets every failure of the lowest failed ancestor of a block (or itself) and of what
    /// descends from that. Call [`Model::settle`] then.
    pub fn reconsider(&mut self, id: &BlockId) {
        let failed = self.path_down(id).take_while(|(_, entry)| entry.failed.is_some());
        if let Some((lowest, _)) = failed.last() {
            self.forgive(&lowest);
        }
    }

    fn forgive(&mut self, id: &BlockId) {
        self.change(id).failed = None;
        for child in self.children(id) {
            self.forgive(&child);
        }
    }

    // --- questions

    /// The tip of the best chain.
    pub const fn best(&self) -> BlockId {
        self.tip
    }

    /// What is known of an id.
    pub fn entry(&self, id: &BlockId) -> Option<&Entry> {
        self.blocks.get(id)
    }

    /// Every header whose own rules hold.
    pub fn entries(&self) -> impl Iterator<Item = (&BlockId, &Entry)> {
        self.blocks.iter()
    }

    /// Whether a block is the tip or below it.
    pub fn is_on_best_chain(&self, id: &BlockId) -> bool {
        self.path_down(&self.tip).any(|(on_it, _)| on_it == *id)
    }

    /// The best chain from genesis to the tip.
    pub fn best_chain(&self) -> Vec<(BlockId, &Entry)> {
        let mut chain: Vec<_> = self.path_down(&self.tip).collect();
        chain.reverse();
        chain
    }

    /// The state after a block.
    ///
    /// # Panics
    /// Like all below: where the block was not judged and found valid.
    pub fn state(&self, id: &BlockId) -> &State {
        self.blocks[id].state.as_ref().expect("a block that was judged and is valid")
    }

    /// The unspent coins after a block.
    pub fn coins(&self, id: &BlockId) -> &OrdMap<OutPoint, Coin> {
        &self.state(id).coins
    }

    /// The commitment to the coins after a block (§6): what a child's coinbase must carry.
    pub fn commitment(&self, id: &BlockId) -> Commitment {
        self.state(id).commitment()
    }

    /// The sum of all coins after a block, in grains.
    pub fn supply(&self, id: &BlockId) -> u128 {
        self.coins(id).values().map(|coin| u128::from(coin.output.value.grains())).sum()
    }

    /// What the coinbases up to a block ever claimed, in grains, allocations not counted.
    pub fn claimed(&self, id: &BlockId) -> u128 {
        self.state(id).claimed
    }

    /// The work of the chain that ends in a block, the genesis block's included.
    pub fn work(&self, id: &BlockId) -> &BigUint {
        &self.blocks[id].link.work
    }
}

/// A block that passed groups 1 and 2.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// Its header.
    pub header: Header,
    /// Whether its body was here before.
    pub was_known: bool,
}

impl Entry {
    const fn of_header(link: Link, failed: Option<Code>) -> Self {
        Self { link, body: None, whole: None, state: None, failed }
    }
}
