//! Exchange of mempools (PROTOCOL.md §12, tags 4 and 5): on new connections, both ways, and with
//! who sent a transaction whose parents are missing. The peer names what it has; we ask for what
//! we lack. A few at one time, those dialled by us first, so that many peers with the same mempool
//! are not asked for the same.

use std::collections::{BTreeSet, VecDeque};

use ashlar_ledger::Store;
use ashlar_primitives::{
    Encode as _, Transaction, Wtxid,
    wire::{self, Request},
};

use crate::{
    Engine,
    input::{Direction, Peer},
    limits::{FULL_TRANSACTIONS_ANSWER_BYTES, MAX_RECONCILES, RECONCILE_INTERVAL_MS},
    offence::Offence,
    requests::Purpose,
};

/// The exchange with one peer.
#[derive(Debug, Default)]
pub(crate) struct PeerReconcile {
    /// One should begin.
    pub(crate) wanted: bool,
    /// A request is out.
    asked: bool,
    began_ms: Option<u64>,
    /// It has them, we lack them; at most 10,000.
    lacking: VecDeque<Wtxid>,
}

impl<S: Store> Engine<S> {
    /// Begins and continues exchanges wherever that is possible now.
    pub(crate) fn schedule_reconciles(&mut self) {
        if !core::mem::take(&mut self.reconcile_dirty) || self.chain.is_syncing() {
            return;
        }
        let now_ms = self.now.monotonic_ms;
        let mut begin = Vec::new();
        let mut go_on = Vec::new();
        let mut running = 0_usize;
        for (peer, state) in self.peers.askable() {
            let reconcile = &state.reconcile;
            let rested = reconcile
                .began_ms
                .is_none_or(|began_ms| now_ms.saturating_sub(began_ms) >= RECONCILE_INTERVAL_MS);
            if reconcile.asked || !reconcile.lacking.is_empty() {
                running = running.saturating_add(1);
                if !reconcile.asked {
                    go_on.push(peer);
                }
            } else if reconcile.wanted && rested {
                begin.push((state.direction != Direction::Outbound, peer));
            }
        }
        begin.sort_unstable();
        for (_, peer) in begin.into_iter().take(MAX_RECONCILES.saturating_sub(running)) {
            if self.ask(peer, Request::Mempool, Purpose::MempoolIds).is_some()
                && let Some(state) = self.peers.get_mut(peer)
            {
                state.reconcile.wanted = false;
                state.reconcile.asked = true;
                state.reconcile.began_ms = Some(now_ms);
            }
        }
        for peer in go_on {
            self.ask_lacking(peer);
        }
    }

    pub(crate) fn on_mempool_ids(&mut self, peer: Peer, wtxids: Vec<Wtxid>) {
        let lacking: VecDeque<Wtxid> =
            wtxids.into_iter().filter(|wtxid| self.lacks(wtxid)).collect();
        if let Some(state) = self.peers.get_mut(peer) {
            state.reconcile.asked = false;
            state.reconcile.lacking = lacking;
        }
        self.reconcile_dirty = true;
    }

    fn lacks(&self, wtxid: &Wtxid) -> bool {
        !self.mempool.contains_wtxid(wtxid)
            && !self.orphans.contains(wtxid)
            && !self.recent.has_transaction(wtxid)
    }

    fn ask_lacking(&mut self, peer: Peer) {
        if !self.has_batch_room(Some(peer)) {
            return;
        }
        let Some(state) = self.peers.get_mut(peer) else { return };
        let mut lacking = core::mem::take(&mut state.reconcile.lacking);
        // Another peer may have brought some of it meanwhile.
        lacking.retain(|wtxid| self.lacks(wtxid));
        let count = lacking.len().min(wire::MAX_TRANSACTION_IDS);
        let wtxids: Vec<Wtxid> = lacking.drain(..count).collect();
        if let Some(state) = self.peers.get_mut(peer) {
            state.reconcile.lacking = lacking;
        }
        if wtxids.is_empty() {
            // Room for the next exchange.
            self.reconcile_dirty = true;
            return;
        }
        let request = Request::Transactions { wtxids: wtxids.clone() };
        let is_asked = self.ask(peer, request, Purpose::Transactions { wtxids }).is_some();
        if let Some(state) = self.peers.get_mut(peer) {
            state.reconcile.asked = is_asked;
        }
    }

    pub(crate) fn on_transactions(
        &mut self,
        peer: Peer,
        wtxids: Vec<Wtxid>,
        transactions: Vec<Transaction>,
    ) {
        self.reconcile_dirty = true;
        let Some(state) = self.peers.get_mut(peer) else { return };
        state.reconcile.asked = false;
        if transactions.len() > wtxids.len() {
            self.penalise(peer, Offence::WrongAnswer);
            return;
        }
        let bytes = transactions.iter().map(Transaction::encoded_len);
        let bytes = bytes.fold(2_usize, usize::saturating_add);
        let was_cut_off = !transactions.is_empty() && bytes >= FULL_TRANSACTIONS_ANSWER_BYTES;
        if was_cut_off {
            // In the order of the question: what is left stands behind what came.
            let rest = wtxids.get(transactions.len()..).unwrap_or_default();
            for wtxid in rest.iter().rev() {
                state.reconcile.lacking.push_front(*wtxid);
            }
        }
        if transactions.is_empty() || !self.has_batch_room(Some(peer)) {
            return;
        }
        let asked: BTreeSet<Wtxid> = wtxids.into_iter().collect();
        self.add_answered(peer, asked, transactions);
    }

    pub(crate) fn on_reconcile_lost(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.reconcile.asked = false;
            state.reconcile.lacking.clear();
        }
    }
}
