//! Which blocks have signatures that the operator takes for good.

use std::collections::VecDeque;

use ashlar_primitives::BlockId;

use crate::{
    headers::{Headers, NEAR_BLOCKS},
    milestones::Place,
    store::{Store, StoreError},
};

/// A block that the operator named, and some thousands of its ancestors from the one on that was
/// asked about last: what lies below a block never changes, so they are looked up once.
#[derive(Clone, Debug)]
pub(crate) struct Assumed {
    named: BlockId,
    /// Height of the first of `ids`.
    lowest: u32,
    ids: VecDeque<BlockId>,
}

impl Assumed {
    pub(crate) const fn new(named: BlockId) -> Self {
        Self { named, lowest: 0, ids: VecDeque::new() }
    }

    /// Whether a block is the named one or an ancestor of it. `false` while the named one is not
    /// known, and where it is remembered as failed.
    pub(crate) fn covers<S: Store>(
        &mut self,
        place: Place,
        headers: &Headers<S>,
    ) -> Result<bool, StoreError> {
        let Place { id, height } = place;
        let Some(named) = headers.node(&self.named)? else { return Ok(false) };
        if named.failed.is_some() || height > named.state.height {
            return Ok(false);
        }
        if height == 0 {
            // What has no parent lies below every other.
            return Ok(true);
        }
        // The chain climbs: what it has passed is not asked for again, or looked up again.
        while self.lowest < height && self.ids.pop_front().is_some() {
            self.lowest = self.lowest.saturating_add(1);
        }
        if self.lowest != height || self.ids.is_empty() {
            let end = Place { id: self.named, height: named.state.height };
            let way = headers.way(end, height.saturating_sub(1), NEAR_BLOCKS)?;
            self.ids = way.into_iter().map(|(place, _)| place.id).collect();
            self.lowest = height;
        }
        Ok(self.ids.front() == Some(&id))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ashlar_consensus::{HeaderState, RecentTimes, Work};
    use ashlar_primitives::{Header, MerkleRoot};

    use super::*;
    use crate::{MemoryStore, tree::Node};

    /// A chain 0..=9 named by height, and a branch 13..=19 from 2 on.
    fn headers() -> Headers<MemoryStore> {
        let mut headers = Headers::new(Arc::new(MemoryStore::new()));
        for name in (0..=9).chain(13..=19) {
            let parent = if name == 13 { 2 } else { u8::wrapping_sub(name, 1) };
            let header = Header {
                version: 0,
                parent: BlockId([parent; 32]),
                merkle_root: MerkleRoot::ZERO,
                time: 0,
                bits: 0,
                nonce: 0,
            };
            let state = HeaderState {
                id: BlockId([name; 32]),
                height: u32::from(name % 10),
                times: RecentTimes::EMPTY,
                work: Work::from_le_bytes([0; 32]),
                clock: 0,
                lag: 0,
            };
            let node = Node { header, state, has_body: false, arrival: 0, failed: None };
            headers.insert(node).unwrap();
        }
        headers
    }

    fn place(name: u8) -> Place {
        Place { id: BlockId([name; 32]), height: u32::from(name % 10) }
    }

    #[test]
    fn the_named_block_and_its_ancestors_are_covered_and_nothing_else() {
        let headers = headers();
        let mut assumed = Assumed::new(BlockId([17; 32]));
        let mut covers = |name: u8| assumed.covers(place(name), &headers).unwrap();
        for name in [0, 1, 2, 13, 14, 17, 13, 1] {
            assert!(covers(name), "{name}");
        }
        for name in [3, 7, 8, 18, 19, 4, 3] {
            assert!(!covers(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_or_failed_block_covers_nothing() {
        let mut headers = headers();
        let mut unknown = Assumed::new(BlockId([99; 32]));
        assert!(!unknown.covers(place(1), &headers).unwrap());
        let mut failed = Assumed::new(BlockId([5; 32]));
        assert!(failed.covers(place(1), &headers).unwrap());
        headers.fail(&BlockId([5; 32]), "bad-coinbase").unwrap();
        assert!(!failed.covers(place(1), &headers).unwrap());
    }
}
