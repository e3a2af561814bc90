//! Compact block relay (PROTOCOL.md §12): rebuilt, checked by groups 1 and 2 of §8, passed on,
//! and only then connected.
//!
//! ```text
//! gossip → header rules → rebuild ─┬─ complete ────────────────────┐
//!                                  ├─ ask what is missing (tag 3) ─┼─ open (job) → keep → verdict
//!                                  └─ fetch it whole (tag 2) ──────┘
//! ```
//!
//! What was in the mempool is taken over with its ids. Whether the parts are the block is seen when
//! they are opened, by their merkle root; where they are not, it is fetched whole.
//!
//! Every ticket gets one verdict: at the end of this road, where the road ends early, or at its
//! deadline. A block whose ticket ran out still arrives; the download fetches what this road
//! loses.

use std::{collections::BTreeMap, sync::Arc};

use ashlar_consensus::{
    CheckedBlock, CheckedTransaction, HeaderState, OpenError, Part, check_header,
};
use ashlar_ledger::{HeaderRefusal, Store, StoreError};
use ashlar_primitives::{
    Block, BlockId, Header, Transaction,
    compact::{CompactBlock, Partial},
    wire::{self, Request},
};
use rand::Rng as _;

use crate::{
    Engine,
    input::{GossipData, Peer, Ticket},
    job::Job,
    jobs::JobPurpose,
    limits::{MAX_PENDING_BLOCKS, MAX_PENDING_BLOCKS_PER_PEER, PREFILL_BYTES, RELAY_DEPTH},
    offence::{Judgement, Offence, gossiped_header, unopened_block},
    output::{Output, Verdict},
    requests::Purpose,
    timers::Timer,
};

/// An announced block on its way.
#[derive(Debug)]
pub(crate) struct PendingBlock {
    compact: Arc<CompactBlock>,
    source: Peer,
    height: u32,
    ticket: Option<Ticket>,
    stage: Stage,
}

/// What it waits for.
#[derive(Debug)]
enum Stage {
    /// What is missing here, from the source.
    Missing(Box<Partial<Part>>),
    /// All of it, from the source.
    Whole,
    /// The job that opens it.
    Opening,
}

/// The announced blocks on their way.
#[derive(Debug, Default)]
pub(crate) struct BlockRelay {
    pub(crate) pending: BTreeMap<BlockId, PendingBlock>,
}

impl BlockRelay {
    pub(crate) fn is_pending(&self, id: &BlockId) -> bool {
        self.pending.contains_key(id)
    }
}

/// Whether a compact block is what a sender that has `block` would say of it.
fn tells(compact: &CompactBlock, block: &Block) -> bool {
    let prefill: Vec<u32> = compact.prefilled.iter().map(|(index, _)| *index).collect();
    let count = block.transactions.len();
    let in_range =
        prefill.last().is_none_or(|&last| usize::try_from(last).is_ok_and(|i| i < count));
    let is_bare = compact.short_ids.is_empty() && prefill.is_empty();
    if is_bare || compact.transaction_count() != count || !in_range {
        return is_bare && *compact == CompactBlock::announcement(block, compact.salt);
    }
    *compact == CompactBlock::build(block, compact.salt, &prefill)
}

impl<S: Store> Engine<S> {
    pub(crate) fn verdict(&mut self, ticket: Ticket, verdict: Verdict) {
        self.out.push(Output::Verdict(ticket, verdict));
    }

    /// A compact block came by gossip.
    pub(crate) fn on_gossiped_block(
        &mut self,
        ticket: Ticket,
        compact: Arc<CompactBlock>,
    ) -> Result<(), StoreError> {
        let source = ticket.source;
        let id = compact.header.id();
        let state = match self.judge_gossiped(source, id, &compact.header)? {
            Ok(state) => state,
            Err(Judgement { verdict, offence }) => {
                self.verdict(ticket, verdict);
                if let Some(offence) = offence {
                    self.penalise(source, offence);
                }
                return Ok(());
            }
        };
        let deadline_ms = ticket.deadline_ms;
        let pending = PendingBlock {
            compact: compact.clone(),
            source,
            height: state.height,
            ticket: Some(ticket),
            stage: Stage::Opening,
        };
        self.blocks.pending.insert(id, pending);
        if let Some(peer) = self.peers.get_mut(source) {
            peer.pending_blocks = peer.pending_blocks.saturating_add(1);
        }
        self.timers.set(Timer::BlockTicket(id), deadline_ms);
        match self.match_known(&compact) {
            Some(partial) if partial.missing().is_empty() => self.complete(id, partial, &[]),
            Some(partial) => self.ask_missing(id, partial),
            None => self.ask_whole(id),
        }
        Ok(())
    }

    /// Group 1 of §8, and whether the block is wanted here and now. `Err` is the verdict.
    fn judge_gossiped(
        &mut self,
        source: Peer,
        id: BlockId,
        header: &Header,
    ) -> Result<Result<HeaderState, Judgement>, StoreError> {
        const IGNORED: Result<HeaderState, Judgement> = Err(Judgement::IGNORE);
        if !self.peers.is_known(source) || self.ledger.failed_code(&id)?.is_some() {
            return Ok(IGNORED);
        }
        if self.ledger.knows_body(&id)? {
            self.note_available(source, id);
            return Ok(IGNORED);
        }
        let Some(parent) = self.ledger.header_state(&header.parent)? else {
            self.ask_headers(source)?;
            return Ok(IGNORED);
        };
        let state = match self.ledger.header_state(&id)? {
            Some(known) => known,
            None => {
                // Nothing below the bar is stored; a broken rule is named by the ledger.
                let next = check_header(&parent, &self.params, header);
                if next.is_ok_and(|next| next.work < self.work_bar()) {
                    return Ok(IGNORED);
                }
                if let Err(refusal) = self.ledger.accept_header(header, self.now.unix_seconds())? {
                    if matches!(refusal, HeaderRefusal::TooNew) {
                        self.note_too_new(source, header);
                    }
                    return Ok(Err(gossiped_header(&refusal)));
                }
                self.note_best_header();
                self.update_syncing()?;
                let Some(state) = self.ledger.header_state(&id)? else { return Ok(IGNORED) };
                state
            }
        };
        self.note_available(source, id);
        let crowded = self.blocks.pending.len() >= MAX_PENDING_BLOCKS
            || self
                .peers
                .get(source)
                .is_none_or(|peer| peer.pending_blocks >= MAX_PENDING_BLOCKS_PER_PEER);
        let wanted = !self.chain.is_syncing()
            && !crowded
            && !self.blocks.is_pending(&id)
            && self.has_relay_work(&state)?;
        Ok(if wanted { Ok(state) } else { IGNORED })
    }

    /// Whether a block that is here, and passes groups 1 and 2 of §8, is for the net to know.
    pub(crate) fn may_relay(&self, id: &BlockId) -> Result<bool, StoreError> {
        match self.ledger.header_state(id)? {
            Some(state) if !self.chain.is_syncing() => self.has_relay_work(&state),
            _ => Ok(false),
        }
    }

    /// Whether a branch has at least the work of the best chain's sixth-last block.
    fn has_relay_work(&self, state: &HeaderState) -> Result<bool, StoreError> {
        let height = self.view.tip().height.saturating_sub(RELAY_DEPTH);
        let Some(id) = self.view.block_id_at(height)? else { return Ok(false) };
        let sixth_last = self.ledger.header_state(&id)?;
        Ok(sixth_last.is_some_and(|sixth_last| state.work >= sixth_last.work))
    }

    /// Finds a block's transactions among everything at hand. `None`: it must be fetched whole.
    fn match_known(&self, compact: &CompactBlock) -> Option<Partial<Part>> {
        let mut known: Vec<&Arc<CheckedTransaction>> = Vec::new();
        known.extend(self.mempool.iter().map(|entry| &entry.transaction));
        known.extend(self.orphans.iter());
        known.extend(self.recent.transactions());
        known.extend(self.transactions.on_their_way());
        if compact.header.parent != self.view.tip().id {
            // A block beside the tip holds much of what recent blocks hold.
            known.extend(self.recent.block_transactions());
        }
        compact.match_known(known.into_iter().map(|known| (known.wtxid(), known)))
    }

    /// All is there: to be opened.
    fn complete(&mut self, id: BlockId, partial: Partial<Part>, received: &[Transaction]) {
        let Some((coinbase, parts)) = partial.fill(received.iter().cloned()) else {
            return self.ask_whole(id);
        };
        let Some(pending) = self.blocks.pending.get_mut(&id) else { return };
        pending.stage = Stage::Opening;
        let (header, height) = (pending.compact.header, pending.height);
        let params = self.params.clone();
        let job = Job::OpenParts { params, header, height, coinbase, parts };
        self.start_job(JobPurpose::OpenRebuilt { id }, job);
    }

    /// What was put together was opened, or is not the block: then nobody is to blame yet.
    pub(crate) fn on_rebuilt_opened(
        &mut self,
        id: BlockId,
        result: Result<Arc<CheckedBlock>, OpenError>,
    ) -> Result<(), StoreError> {
        if let Err(OpenError::Body(_)) = result {
            self.ask_whole(id);
            return Ok(());
        }
        self.on_gossiped_opened(id, result)
    }

    fn open_pending(&mut self, id: BlockId, block: Block) {
        let Some(pending) = self.blocks.pending.get_mut(&id) else { return };
        pending.stage = Stage::Opening;
        let job = Job::OpenBlock {
            params: self.params.clone(),
            header: pending.compact.header,
            height: pending.height,
            block,
        };
        self.start_job(JobPurpose::OpenGossiped { id }, job);
    }

    fn ask_missing(&mut self, id: BlockId, partial: Partial<Part>) {
        let Some(pending) = self.blocks.pending.get_mut(&id) else { return };
        let request = Request::BlockTransactions { id, indexes: partial.missing() };
        pending.stage = Stage::Missing(Box::new(partial));
        let source = pending.source;
        if self.ask(source, request, Purpose::BlockTransactions { id }).is_none() {
            self.give_up_block(id);
        }
    }

    fn ask_whole(&mut self, id: BlockId) {
        let Some(pending) = self.blocks.pending.get_mut(&id) else { return };
        pending.stage = Stage::Whole;
        let source = pending.source;
        let request = Request::Blocks { ids: vec![id] };
        if self.ask(source, request, Purpose::WholeBlock { id }).is_none() {
            self.give_up_block(id);
        }
    }

    /// What the compact block lacked. Whatever does not fit: the whole block, and nobody is
    /// blamed yet.
    pub(crate) fn on_block_transactions(&mut self, id: BlockId, received: &[Transaction]) {
        let Some(pending) = self.blocks.pending.get_mut(&id) else { return };
        match core::mem::replace(&mut pending.stage, Stage::Opening) {
            Stage::Missing(partial) => self.complete(id, *partial, received),
            other => pending.stage = other,
        }
    }

    /// The whole block, because its compact form could not be rebuilt.
    pub(crate) fn on_whole_block(&mut self, id: BlockId, mut blocks: Vec<Block>) {
        let Some(pending) = self.blocks.pending.get(&id) else { return };
        let source = pending.source;
        let block = match (blocks.pop(), blocks.is_empty()) {
            (Some(block), true) if block.header.id() == id => block,
            (None, _) => {
                // It said that it has this block by passing it on.
                self.give_up_block(id);
                self.penalise(source, Offence::WithheldBlock);
                return;
            }
            _ => {
                self.end_pending(id, Judgement::IGNORE);
                self.penalise(source, Offence::WrongAnswer);
                return;
            }
        };
        if tells(&pending.compact, &block) {
            self.open_pending(id, block);
        } else {
            // Junk around a header: a sender that rebuilt it before passing it on had seen that.
            self.end_pending(id, Judgement::reject(Offence::InvalidCompact));
        }
    }

    /// A gossiped block was opened, or not.
    pub(crate) fn on_gossiped_opened(
        &mut self,
        id: BlockId,
        result: Result<Arc<CheckedBlock>, OpenError>,
    ) -> Result<(), StoreError> {
        let block = match result {
            Ok(block) => block,
            Err(error) => {
                // The sender pays with the verdict; what is left is the block.
                self.end_pending(id, Judgement::reject(unopened_block(&error)));
                return self.blame_body(id, None, &error);
            }
        };
        let is_new = self.keep_body(block)?;
        if is_new && let Some(pending) = self.blocks.pending.get(&id) {
            self.peers.note_block(pending.source, self.now.monotonic_ms);
        }
        if is_new && self.may_relay(&id)? {
            self.recent.note_relayed(id);
            self.peers.block_gossip_ms = self.now.monotonic_ms;
            self.chain.say_first();
            self.end_pending(id, Judgement { verdict: Verdict::Accept, offence: None });
        } else {
            self.end_pending(id, Judgement::IGNORE);
        }
        Ok(())
    }

    /// The source does not deliver: the download fetches the body from whoever else has it.
    pub(crate) fn give_up_block(&mut self, id: BlockId) {
        if let Some(pending) = self.blocks.pending.get(&id) {
            self.pause_download(pending.source);
        }
        self.end_pending(id, Judgement::IGNORE);
    }

    fn end_pending(&mut self, id: BlockId, judgement: Judgement) {
        let Some(pending) = self.blocks.pending.remove(&id) else { return };
        self.timers.clear(Timer::BlockTicket(id));
        self.download.stale = true;
        self.download.dirty = true;
        if let Some(peer) = self.peers.get_mut(pending.source) {
            peer.pending_blocks = peer.pending_blocks.saturating_sub(1);
        }
        if let Some(ticket) = pending.ticket {
            self.verdict(ticket, judgement.verdict);
        }
        if let Some(offence) = judgement.offence {
            self.penalise(pending.source, offence);
        }
    }

    /// A verdict would come too late.
    pub(crate) fn on_block_ticket_timer(&mut self, id: BlockId) {
        let ticket = self.blocks.pending.get_mut(&id).and_then(|pending| pending.ticket.take());
        if let Some(ticket) = ticket {
            self.verdict(ticket, Verdict::Ignore);
        }
    }

    /// Tells the net of a block that entered it here. `unknown` are the indexes of transactions
    /// that were not in our mempool, so that peers can't have them.
    pub(crate) fn announce(&mut self, block: &CheckedBlock, unknown: &[u32]) {
        let id = block.id();
        let mut budget = PREFILL_BYTES;
        let prefill: Vec<u32> = unknown
            .iter()
            .copied()
            .take_while(|&index| {
                let bytes = usize::try_from(index)
                    .ok()
                    .and_then(|index| block.transactions().get(index))
                    .and_then(|transaction| usize::try_from(transaction.size_bytes()).ok())
                    .and_then(|bytes| budget.checked_sub(bytes));
                budget = bytes.unwrap_or(0);
                bytes.is_some()
            })
            .collect();
        let salt = self.rng.next_u64();
        let bare = CompactBlock::bare(*block.header(), block.coinbase().clone(), salt);
        let transactions = block.transactions().iter();
        let transactions = transactions.map(|checked| (checked.wtxid(), checked.transaction()));
        let mut compact = bare.clone().with(transactions, &prefill);
        if wire::encode_announcement(&compact).len() > wire::MAX_COMPACT_BYTES {
            compact = bare;
        }
        self.recent.note_relayed(id);
        self.peers.block_gossip_ms = self.now.monotonic_ms;
        self.out.push(Output::Publish(GossipData::Block(Arc::new(compact))));
        self.chain.say_first();
    }
}
