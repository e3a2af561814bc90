//! Reorganisations that an operator should hear of: deep ones, and those that wait for an answer.
//!
//! How deep is deep is the operator's choice ([`crate::Settings::reorg_alarm`]); whether such
//! a one is made without asking is the ledger's ([`ashlar_ledger::Settings::reorg_hold`]).

use ashlar_ledger::{HeldBranch, MovedBlock, Store, StoreError};
use ashlar_primitives::BlockId;

use crate::{
    Engine,
    call::{CallError, CallId, ReorganisationCounts, Warning},
    input::Peer,
    limits::{DEEP_REORG_WARNING_MS, MAX_ORDERS},
    output::Notice,
};

/// What happened since the start.
#[derive(Debug)]
pub(crate) struct Reorganisations {
    counts: ReorganisationCounts,
    /// The last deep one, and when it was.
    last_deep: Option<(u64, Warning)>,
    /// A branch may be held that nobody was told of: also right after the start.
    untold: bool,
}

impl Default for Reorganisations {
    fn default() -> Self {
        Self { counts: ReorganisationCounts::default(), last_deep: None, untold: true }
    }
}

impl<S: Store> Engine<S> {
    /// The published tip moved: counts and tells a reorganisation. Whether it is deeper than the
    /// alarm. `disconnected` goes from the old tip down: the view before may be a start's, which
    /// finished what a crash interrupted, and then is the new one already.
    pub(crate) fn note_reorganised(&mut self, disconnected: &[MovedBlock]) -> bool {
        let Some(old_tip) = disconnected.first().map(|moved| moved.id) else { return false };
        let depth = u32::try_from(disconnected.len()).unwrap_or(u32::MAX);
        let is_deep = depth > self.settings.reorg_alarm;
        let new_tip = self.view.tip().id;
        let counts = &mut self.reorganisations.counts;
        counts.count = counts.count.saturating_add(1);
        counts.deepest = counts.deepest.max(depth);
        if is_deep {
            counts.alarms = counts.alarms.saturating_add(1);
            let unix_seconds = self.now.unix_seconds();
            let warning = Warning::DeepReorganisation { depth, old_tip, new_tip, unix_seconds };
            self.reorganisations.last_deep = Some((self.now.monotonic_ms, warning));
        }
        self.notice(Notice::Reorganised { depth, old_tip, new_tip, is_deep });
        is_deep
    }

    /// Tells the operator of a branch that waits for an answer.
    pub(crate) fn follow_hold(&mut self) -> Result<(), StoreError> {
        let is_new = self.ledger.take_held();
        if is_new {
            let counts = &mut self.reorganisations.counts;
            counts.held = counts.held.saturating_add(1);
            // Where the chain should go is another place now.
            self.note_best_header();
        }
        if (is_new || core::mem::take(&mut self.reorganisations.untold))
            && let Some(held) = self.ledger.held_branch()?
        {
            let tip = self.view.tip();
            self.notice(Notice::ReorganisationHeld { held, tip: tip.id, height: tip.height });
        }
        Ok(())
    }

    pub(crate) const fn reorganisation_counts(&self) -> ReorganisationCounts {
        self.reorganisations.counts
    }

    /// What an operator should know now.
    pub(crate) fn warnings(&self) -> Result<Vec<Warning>, StoreError> {
        let now_ms = self.now.monotonic_ms;
        let is_fresh = |at_ms: u64| now_ms.saturating_sub(at_ms) < DEEP_REORG_WARNING_MS;
        let deep = self.reorganisations.last_deep.as_ref();
        let deep = deep.filter(|(at_ms, _)| is_fresh(*at_ms)).map(|(_, warning)| warning.clone());
        let held = self.ledger.held_branch()?.map(|held| {
            let tip = self.view.tip();
            let HeldBranch { tip: held_tip, height: held_height, depth } = held;
            Warning::ReorganisationHeld {
                tip: tip.id,
                height: tip.height,
                held_tip,
                held_height,
                depth,
            }
        });
        Ok(held.into_iter().chain(deep).chain(self.lack_warning()).collect())
    }

    /// The operator lets the chain go over to a branch that is held; answered when the tip stands
    /// still.
    pub(crate) fn accept_reorganisation(
        &mut self,
        call: CallId,
        block: BlockId,
    ) -> Result<(), StoreError> {
        if self.ledger.header_state(&block)?.is_none() {
            self.refuse(call, CallError::NotFound);
        } else if self.calls.orders.len() >= MAX_ORDERS {
            self.refuse(call, CallError::Overloaded);
        } else if self.ledger.accept_held(&block)? {
            self.note_best_header();
            self.calls.orders.push(call);
            // Who has what of it, and more of its headers.
            let peers: Vec<Peer> = self.peers.askable().map(|(peer, _)| peer).collect();
            for peer in peers {
                self.believe_again(peer);
                self.ask_status(peer);
            }
        } else {
            self.refuse(call, CallError::NotHeld { block });
        }
        Ok(())
    }
}
