//! What goes into a block: the ranking from its top, as far as there is room.

use std::collections::BTreeSet;

use ashlar_primitives::Txid;

use crate::{cluster::Rank, entry::Entry, feerate::Feerate, pool::Mempool};

/// A block with less room left than this is as good as full.
pub const FULL_ENOUGH_BYTES: usize = 4_000;

/// Chunks in a row that do not fit, after which a block that is as good as full is left at that.
pub const MAX_MISSES: usize = 1_000;

impl Mempool {
    /// What a miner is paid at each place of the ranking, best first: fee and bytes of a chunk, the
    /// operator's priorities counted.
    pub fn chunk_feerates(&self) -> impl Iterator<Item = Feerate> + '_ {
        self.ranking.iter().map(|rank| rank.rate.0)
    }

    /// All, best feerate first, parents before children.
    pub fn best_first(&self) -> impl Iterator<Item = &Entry> {
        self.ranking.iter().flat_map(|rank| self.chunk(rank))
    }

    /// The best that fits into `max_bytes` of encodings: best feerate first, parents before
    /// children, whole chunks. Where a chunk does not fit, the rest of its cluster is left out with
    /// it, and smaller ones of other clusters fill the room.
    pub fn select(&self, max_bytes: usize) -> Vec<&Entry> {
        let mut selected = Vec::new();
        let mut left_bytes = max_bytes;
        let mut closed = BTreeSet::new();
        let mut misses: usize = 0;
        for rank in &self.ranking {
            if closed.contains(&rank.cluster) {
                continue;
            }
            match self.chunk_bytes(rank).and_then(|bytes| left_bytes.checked_sub(bytes)) {
                Some(left) => {
                    left_bytes = left;
                    misses = 0;
                    selected.extend(self.chunk(rank));
                }
                None => {
                    closed.insert(rank.cluster);
                    misses = misses.saturating_add(1);
                    if misses >= MAX_MISSES && left_bytes < FULL_ENOUGH_BYTES {
                        break;
                    }
                }
            }
        }
        selected
    }

    /// What stands at a place of the ranking, parents first.
    pub(crate) fn chunk_txids(&self, rank: &Rank) -> &[Txid] {
        let cluster = self.clusters.get(&rank.cluster);
        cluster.and_then(|cluster| cluster.chunks.get(rank.place)).map_or(&[], |c| &c.txids)
    }

    fn chunk(&self, rank: &Rank) -> impl Iterator<Item = &Entry> {
        self.chunk_txids(rank).iter().filter_map(|txid| self.get(txid))
    }

    fn chunk_bytes(&self, rank: &Rank) -> Option<usize> {
        usize::try_from(rank.rate.0.size_bytes).ok()
    }
}
