//! What peers ask of us (PROTOCOL.md §12, tags 0 to 5). Everything is answered at once, from the
//! published view, the mempool and the blocks of the last minutes.

use ashlar_ledger::{Store, StoreError};
use ashlar_primitives::{
    Block, BlockId, Encode as _, Transaction, Wtxid,
    wire::{self, Answer, Request},
};

use crate::{
    Engine,
    input::{Direction, InboundId, Peer},
    limits::MEMPOOL_ANSWER_INTERVAL_MS,
    offence::Offence,
    output::Output,
};

impl<S: Store> Engine<S> {
    pub(crate) fn on_request(
        &mut self,
        inbound: InboundId,
        peer: Peer,
        request: Request,
    ) -> Result<(), StoreError> {
        let now_ms = self.now.monotonic_ms;
        let offence = match self.peers.get_mut(peer) {
            None => {
                self.out.push(Output::Answer(inbound, None));
                return Ok(());
            }
            Some(state) => {
                state.seen_ms = now_ms;
                let is_early = state.claim.is_none() && !matches!(request, Request::Status(_));
                if !state.requests.try_take(1, now_ms) {
                    Some(Offence::TooManyRequests)
                } else {
                    is_early.then_some(Offence::RequestBeforeStatus)
                }
            }
        };
        if let Some(offence) = offence {
            self.out.push(Output::Answer(inbound, None));
            self.penalise(peer, offence);
            return Ok(());
        }
        let answer = match request {
            Request::Status(status) => {
                let own = Answer::Status(self.own_status());
                self.out.push(Output::Answer(inbound, Some(own)));
                let is_first = self.peers.get(peer).is_some_and(|state| state.claim.is_none());
                self.on_status(peer, status, false)?;
                let listens =
                    self.peers.get(peer).is_some_and(|s| s.direction == Direction::Inbound);
                if is_first && listens {
                    self.ask_status(peer);
                }
                return Ok(());
            }
            Request::Headers { locator, stop } => {
                let headers =
                    self.view.headers_after(&locator, stop.as_ref(), wire::MAX_HEADERS)?;
                Some(Answer::Headers(headers))
            }
            Request::Blocks { ids } => Some(Answer::Blocks(self.serve_blocks(&ids)?)),
            Request::BlockTransactions { id, indexes } => {
                self.serve_block_transactions(&id, &indexes)?.map(Answer::BlockTransactions)
            }
            Request::Mempool => self.serve_mempool(peer).map(Answer::Mempool),
            Request::Transactions { wtxids } => {
                Some(Answer::Transactions(self.serve_transactions(&wtxids)))
            }
        };
        self.out.push(Output::Answer(inbound, answer));
        Ok(())
    }

    /// A block of any branch, also one that is passed on but not yet connected.
    fn known_block(&self, id: &BlockId) -> Result<Option<Block>, StoreError> {
        if let Some(block) = self.recent.block(id) {
            return Ok(Some(block.to_block()));
        }
        // The view's copy is only decoded; what came after the view was made is opened again.
        match self.view.block(id)? {
            Some(block) => Ok(Some(block)),
            None => Ok(self.ledger.block(id)?.map(|block| block.to_block())),
        }
    }

    /// A prefix of what was asked, at most 8 MiB unless the first is larger.
    fn serve_blocks(&self, ids: &[BlockId]) -> Result<Vec<Block>, StoreError> {
        let mut size_bytes = size_of::<u16>();
        let mut blocks = Vec::new();
        for id in ids.iter().take(wire::MAX_BLOCK_IDS) {
            let Some(block) = self.known_block(id)? else { break };
            size_bytes = size_bytes.saturating_add(block.encoded_len());
            if size_bytes > wire::MAX_ANSWER_BYTES && !blocks.is_empty() {
                break;
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// All that were asked, in order; none where the block is unknown or deep; `None` (refused)
    /// where an index is beyond the block or more was asked than anyone needs.
    fn serve_block_transactions(
        &self,
        id: &BlockId,
        indexes: &[u32],
    ) -> Result<Option<Vec<Transaction>>, StoreError> {
        if indexes.len() > wire::MAX_BLOCK_TRANSACTION_INDEXES {
            return Ok(None);
        }
        let Some(state) = self.ledger.header_state(id)? else { return Ok(Some(Vec::new())) };
        let lowest = self.view.tip().height.saturating_sub(wire::MAX_BLOCK_TRANSACTIONS_DEPTH);
        if state.height < lowest {
            return Ok(Some(Vec::new()));
        }
        let Some(block) = self.known_block(id)? else { return Ok(Some(Vec::new())) };
        // However large: a part of one block and its count may always be answered.
        Ok(indexes
            .iter()
            .map(|&index| block.transactions.get(usize::try_from(index).ok()?).cloned())
            .collect())
    }

    /// Best feerate first. Refused where it was answered a moment ago.
    fn serve_mempool(&mut self, peer: Peer) -> Option<Vec<Wtxid>> {
        let now_ms = self.now.monotonic_ms;
        let state = self.peers.get_mut(peer)?;
        let too_soon = state.mempool_answered_ms.is_some_and(|answered_ms| {
            now_ms.saturating_sub(answered_ms) < MEMPOOL_ANSWER_INTERVAL_MS
        });
        if too_soon {
            return None;
        }
        state.mempool_answered_ms = Some(now_ms);
        let best = self.mempool.best_first().take(wire::MAX_MEMPOOL_IDS);
        Some(best.map(|entry| entry.transaction.wtxid()).collect())
    }

    /// Those that are here, up to 1 MiB with their count.
    fn serve_transactions(&self, wtxids: &[Wtxid]) -> Vec<Transaction> {
        let mut size_bytes = size_of::<u16>();
        let mut found = Vec::new();
        for wtxid in wtxids.iter().take(wire::MAX_TRANSACTION_IDS) {
            let Some(entry) = self.mempool.get_by_wtxid(wtxid) else { continue };
            let transaction = entry.transaction.transaction();
            size_bytes = size_bytes.saturating_add(transaction.encoded_len());
            if size_bytes > wire::MAX_TRANSACTIONS_BYTES {
                break;
            }
            found.push(transaction.clone());
        }
        found
    }
}
