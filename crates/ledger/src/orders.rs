//! What an operator decides about the chain: to take a block away or give it back, and whether a
//! deep reorganisation is made.
//!
//! The *hold* ([`crate::Settings::reorg_hold`]) is no rule of the protocol. A node that holds a
//! branch back stays on a chain with less work than others follow, until its operator answers:
//! it is a choice between two risks, and can split a net.

use ashlar_consensus::Work;
use ashlar_primitives::BlockId;

use crate::{
    ledger::Ledger,
    records::{HELD, INVALIDATED},
    store::{Store, StoreError},
};

/// A branch with more work than the published chain, which the operator has not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldBranch {
    /// Its end, as far as this node knows it.
    pub tip: BlockId,
    /// The height of that.
    pub height: u32,
    /// Blocks of the published chain that would be disconnected.
    pub depth: u32,
}

impl<S: Store> Ledger<S> {
    /// Takes a block and its descendants out of the choice, as if it had failed, with the code
    /// `invalidated`; on disk when this returns. `next_move` then leads away from it. An unknown
    /// id, the genesis block and what [`Ledger::pruned_below`] names are left alone.
    pub fn invalidate(&mut self, id: &BlockId) -> Result<(), StoreError> {
        if self.pruned_below(id)?.is_some() {
            return Ok(());
        }
        let Some(node) = self.headers.node(id)? else { return Ok(()) };
        let Some(parent) = self.headers.node(&node.header.parent)? else { return Ok(()) };
        // Branches with less work than the chain may be the best of what is left.
        self.load_above(parent.state.height, parent.state.work)?;
        self.fail(id, INVALIDATED)?;
        self.commit()
    }

    /// Forgets that a block or one of its ancestors failed, whatever the reason: the lowest of
    /// them and all its descendants are judged again when they matter. On disk when this returns.
    pub fn reconsider(&mut self, id: &BlockId) -> Result<(), StoreError> {
        self.give_back(id).map(drop)
    }

    /// The lowest of the failed ones that were forgiven.
    fn give_back(&mut self, id: &BlockId) -> Result<Option<BlockId>, StoreError> {
        let mut lowest = None;
        let mut at = *id;
        while let Some(node) = self.headers.node(&at)?
            && node.failed.is_some()
        {
            lowest = Some((at, node.state.height));
            at = node.header.parent;
        }
        let Some((lowest, height)) = lowest else { return Ok(None) };
        self.load_above(height, self.live.header.work)?;
        self.headers.forgive(&lowest)?;
        self.look_ahead()?;
        self.commit()?;
        Ok(Some(lowest))
    }

    /// Brings into memory all that may descend from a block of this height, and what has more work.
    fn load_above(&mut self, height: u32, work: Work) -> Result<(), StoreError> {
        self.commit()?;
        self.headers.load_above(&self.live.header, height, work, u32::MAX)
    }

    // --- the hold

    /// Asked before a block is disconnected, on the way to the best whole branch: whether that
    /// branch waits for the operator, because it leaves the published chain too deep. It is then
    /// out of the choice, with the code `held`.
    pub(crate) fn hold_back(&mut self, fork_height: u32) -> Result<bool, StoreError> {
        let Some(most) = self.settings.reorg_hold else { return Ok(false) };
        let Some(first) = self.route.first() else { return Ok(false) };
        let published = &self.published.tip;
        // Above this height nothing is left of the published chain: whatever the way, it is as
        // deep as what was decided before. Also the way back, where the new branch was invalid.
        let left = self.moved.disconnected.last().map(|lowest| lowest.height.saturating_sub(1));
        let is_decided = left.is_some_and(|left| fork_height >= left);
        // A crash interrupted a move that had begun: nobody is left in its middle.
        let is_interrupted = self.told > published.work;
        let is_shallow = published.height.saturating_sub(fork_height) <= most;
        let is_accepted = self.route.iter().any(|id| Some(*id) == self.accepted);
        if is_shallow || is_decided || is_interrupted || is_accepted {
            return Ok(false);
        }
        if self.failed_code(&published.id)?.is_some() {
            // The operator took the published chain away: there is nothing to stay at.
            return Ok(false);
        }
        self.fail(&first, HELD)?;
        self.commit()?;
        self.refresh();
        self.has_held = true;
        Ok(true)
    }

    /// Whether a branch was held back since the last call.
    pub fn take_held(&mut self) -> bool {
        std::mem::take(&mut self.has_held)
    }

    /// The held branch with the most work, where it has more than the published chain.
    pub fn held_branch(&self) -> Result<Option<HeldBranch>, StoreError> {
        let published = &self.published.tip;
        let Some(tip) = self.headers.tree.best_held() else { return Ok(None) };
        let (tip, height, work) = (tip.state.id, tip.state.height, tip.state.work);
        if work <= published.work {
            return Ok(None);
        }
        let mut at = (tip, height);
        while let Some(node) = self.headers.node(&at.0)?
            && node.failed.is_some()
        {
            at = (node.header.parent, node.state.height.saturating_sub(1));
        }
        Ok(Some(HeldBranch { tip, height, depth: published.height.saturating_sub(at.1) }))
    }

    /// Lets the chain go over to a branch that is held, which `id` is any block of; `false` where
    /// it is of none. `next_move` then leads there, where it has the most work. That it is not
    /// held again lasts as long as this ledger is open, or until it is connected.
    pub fn accept_held(&mut self, id: &BlockId) -> Result<bool, StoreError> {
        if self.failed_code(id)? != Some(HELD) {
            return Ok(false);
        }
        self.accepted = self.give_back(id)?;
        Ok(true)
    }
}
