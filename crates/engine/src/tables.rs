//! How full every bounded table is, for whoever watches an engine from outside.

use ashlar_ledger::Store;

use crate::{
    Engine,
    limits::{
        MAX_BATCHES, MAX_BATCHES_PER_PEER, MAX_LEADERS, MAX_ORDERS, MAX_ORPHAN_BYTES, MAX_ORPHANS,
        MAX_OUTGOING_BYTES, MAX_PEERS, MAX_PENDING_BLOCKS, MAX_PENDING_BLOCKS_PER_PEER,
        MAX_REQUESTS, MAX_SUBMISSIONS, MAX_TEMPLATE_WAITERS, MAX_WALKS, RECENT_BLOCKS,
        RECENT_TRANSACTION_BYTES, RELAYED_IDS, WINDOW_BLOCKS,
    },
};

/// A table, a list or a count that peers or callers can fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// What is in it.
    pub what: &'static str,
    /// How much of it now; where each peer has one, in the fullest.
    pub found: usize,
    /// How much there may be.
    pub bound: usize,
}

impl<S: Store> Engine<S> {
    /// Every table of this engine that has a bound in its `limits` (docs/threats.md, "Bounds"): not
    /// what other crates bound, nor what is bounded by time or by the rules.
    pub fn tables(&self) -> Vec<Table> {
        let peers = self.peers.all.values();
        let batches = peers.clone().map(|peer| peer.batches).max();
        let pending = peers.map(|peer| peer.pending_blocks).max();
        let (orphans, orphan_bytes) = (self.orphans.len(), self.orphans.bytes);
        let (recent, outgoing) = (&self.recent, self.gathered.bytes);
        let (download, calls) = (&self.download, &self.calls);
        [
            ("peers", self.peers.all.len(), MAX_PEERS),
            ("requests", self.requests.limited, MAX_REQUESTS),
            ("header leaders", self.headers.leaders.len(), MAX_LEADERS),
            ("low-work walks", self.walks(), MAX_WALKS),
            ("bodies to fetch", download.queue.len(), WINDOW_BLOCKS),
            ("bodies in flight", download.in_flight.len(), WINDOW_BLOCKS),
            ("announced blocks that wait", self.blocks.pending.len(), MAX_PENDING_BLOCKS),
            ("such blocks of one peer", pending.unwrap_or(0), MAX_PENDING_BLOCKS_PER_PEER),
            ("batches being judged", self.transactions.batches.len(), MAX_BATCHES),
            ("such batches of one peer", batches.unwrap_or(0), MAX_BATCHES_PER_PEER),
            ("bytes to publish", outgoing, MAX_OUTGOING_BYTES),
            ("orphans", orphans, MAX_ORPHANS),
            ("bytes of orphans", orphan_bytes, MAX_ORPHAN_BYTES),
            ("recent blocks", recent.blocks.len(), RECENT_BLOCKS),
            ("bytes of recent transactions", recent.transaction_bytes, RECENT_TRANSACTION_BYTES),
            ("relayed ids", recent.relayed.len(), RELAYED_IDS),
            ("calls for a template", self.templates.waiters.len(), MAX_TEMPLATE_WAITERS),
            ("submitted blocks", calls.submissions.len(), MAX_SUBMISSIONS),
            ("orders", calls.orders.len(), MAX_ORDERS),
        ]
        .map(|(what, found, bound)| Table { what, found, bound })
        .to_vec()
    }
}
