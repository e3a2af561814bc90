//! Which blocks have signatures that the operator takes for good.

use std::collections::VecDeque;

use ashlar_primitives::BlockId;

use crate::{store::StoreError, tree::Node};

/// A block that the operator named, and those of its ancestors that were asked about: what lies
/// below a block never changes, so its ids are looked up once.
#[derive(Clone, Debug)]
pub(crate) struct Assumed {
    named: BlockId,
    /// Height of the first of `ids`.
    lowest: u32,
    /// Up to the named block.
    ids: VecDeque<BlockId>,
}

impl Assumed {
    pub(crate) const fn new(named: BlockId) -> Self {
        Self { named, lowest: 0, ids: VecDeque::new() }
    }

    /// Whether a block is the named one or an ancestor of it. `false` while the named one is not
    /// known, and where it is remembered as failed.
    pub(crate) fn covers(
        &mut self,
        id: &BlockId,
        height: u32,
        lookup: impl Fn(&BlockId) -> Result<Option<Node>, StoreError>,
    ) -> Result<bool, StoreError> {
        let Some(named) = lookup(&self.named)? else { return Ok(false) };
        if named.failed.is_some() || height > named.state.height {
            return Ok(false);
        }
        if self.ids.is_empty() {
            self.lowest = named.state.height;
            self.ids.push_front(self.named);
        }
        while self.lowest > height
            && let Some(front) = self.ids.front()
        {
            let parent = lookup(front)?.map(|node| node.header.parent);
            let lost = || StoreError::corrupt(format_args!("the header {front} is missing"));
            self.ids.push_front(parent.ok_or_else(lost)?);
            self.lowest = self.lowest.saturating_sub(1);
        }
        // The chain climbs: what it has passed is not asked for again, or looked up again.
        while self.lowest < height {
            self.ids.pop_front();
            self.lowest = self.lowest.saturating_add(1);
        }
        Ok(self.ids.front() == Some(id))
    }
}

#[cfg(test)]
mod tests {
    use ashlar_consensus::{HeaderState, RecentTimes, Work};
    use ashlar_primitives::{Header, MerkleRoot};

    use super::*;

    /// A chain 0..=9 named by height, and a branch 13..=19 from 2 on.
    fn lookup(id: &BlockId) -> Option<Node> {
        let name = id.0[0];
        let parent = match name {
            13 => 2,
            0..=9 | 14..=19 => name.wrapping_sub(1),
            _ => return None,
        };
        let header = Header {
            version: 0,
            parent: BlockId([parent; 32]),
            merkle_root: MerkleRoot::ZERO,
            time: 0,
            bits: 0,
            nonce: 0,
        };
        let state = HeaderState {
            id: *id,
            height: u32::from(name % 10),
            times: RecentTimes::EMPTY,
            work: Work::from_le_bytes([0; 32]),
            clock: 0,
            lag: 0,
        };
        Some(Node { header, state, has_body: false, arrival: 0, failed: None })
    }

    #[test]
    fn the_named_block_and_its_ancestors_are_covered_and_nothing_else() {
        let mut assumed = Assumed::new(BlockId([17; 32]));
        let mut covers = |name: u8| {
            let id = BlockId([name; 32]);
            assumed.covers(&id, u32::from(name % 10), |id| Ok(lookup(id))).unwrap()
        };
        for name in [1, 2, 13, 14, 17, 13, 1] {
            assert!(covers(name), "{name}");
        }
        for name in [3, 7, 8, 18, 19, 4, 3] {
            assert!(!covers(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_or_failed_block_covers_nothing() {
        let id = BlockId([1; 32]);
        let mut unknown = Assumed::new(BlockId([99; 32]));
        assert!(!unknown.covers(&id, 1, |id| Ok(lookup(id))).unwrap());
        let mut failed = Assumed::new(BlockId([5; 32]));
        let fails =
            |id: &BlockId| Ok(lookup(id).map(|node| Node { failed: Some("bad-coinbase"), ..node }));
        assert!(!failed.covers(&id, 1, fails).unwrap());
    }
}
