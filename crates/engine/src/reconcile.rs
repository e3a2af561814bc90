//! Exchange of mempools (PROTOCOL.md §12, tags 4 and 5): on new outbound connections, and with
//! who sent a transaction whose parents are missing. The peer names what it has; we ask for what
//! we lack.

use std::collections::{BTreeSet, VecDeque};

use ashlar_ledger::Store;
use ashlar_primitives::{
    Encode as _, Transaction, Wtxid,
    wire::{self, Request},
};

use crate::{
    Engine,
    input::Peer,
    limits::{FULL_TRANSACTIONS_ANSWER_BYTES, RECONCILE_INTERVAL_MS},
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
        for (peer, state) in self.peers.askable() {
            let reconcile = &state.reconcile;
            let rested = reconcile
                .began_ms
                .is_none_or(|began_ms| now_ms.saturating_sub(began_ms) >= RECONCILE_INTERVAL_MS);
            if reconcile.asked {
                continue;
            }
            if !reconcile.lacking.is_empty() {
                go_on.push(peer);
            } else if reconcile.wanted && rested {
                begin.push(peer);
            }
        }
        for peer in begin {
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
        let lacking: VecDeque<Wtxid> = wtxids
            .into_iter()
            .filter(|wtxid| {
                self.mempool.get_by_wtxid(wtxid).is_none()
                    && !self.orphans.contains(wtxid)
                    && !self.recent.has_transaction(wtxid)
            })
            .collect();
        if let Some(state) = self.peers.get_mut(peer) {
            state.reconcile.asked = false;
            state.reconcile.lacking = lacking;
        }
        self.reconcile_dirty = true;
    }

    fn ask_lacking(&mut self, peer: Peer) {
        if !self.has_batch_room(Some(peer)) {
            return;
        }
        let Some(state) = self.peers.get_mut(peer) else { return };
        let count = state.reconcile.lacking.len().min(wire::MAX_TRANSACTION_IDS);
        let wtxids: Vec<Wtxid> = state.reconcile.lacking.drain(..count).collect();
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
