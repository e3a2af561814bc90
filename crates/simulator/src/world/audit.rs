//! What is looked at again and again, outside the nodes and by their own answers.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use ashlar_engine::{
    Call, Table,
    call::{AnswerBody, MAX_CALL_ENTRIES, MempoolEntry},
};
use ashlar_primitives::BlockId;

use super::{AUDIT_INTERVAL, Event, World};
use crate::{invariants::Violation, judge::Judge, node::NodeId, people::Errand};

/// Bodies on their way that a node may wait for (the download's window).
const MAX_BODIES_IN_FLIGHT: usize = 1_024;
/// Blocks of the download that one peer may owe, and such as it announced and are incomplete
///.
const MAX_BLOCKS_OF_PEER: usize = 16 + 4;
/// Transactions whose parents are missing.
const MAX_ORPHANS: usize = 100;

/// A mark stays once it is made. So only what is new is looked at each time, and all there is
/// each time after so many, before a disk is wiped, and at the end.
const WHOLE_LOOK_EACH: u32 = 60;
/// What is new, in blocks below the highest.
const RECENT_HEIGHTS: u32 = 20;

/// What a tip must be compared with.
struct Rivals {
    /// The tip and all below it.
    chain: BTreeSet<BlockId>,
    /// Every block with more work.
    better: Vec<BlockId>,
}

impl Rivals {
    /// `None`: nobody made this tip.
    fn of(judge: &Judge, tip: &BlockId) -> Option<Self> {
        let work = &judge.entry(tip)?.link.work;
        let better = judge.model().entries().filter(|(_, it)| it.link.work > *work);
        Some(Self {
            better: better.map(|(id, _)| *id).collect(),
            chain: judge.model().path_down(tip).map(|(id, _)| id).collect(),
        })
    }
}

impl World {
    /// Looks at every node, and asks each for its tables.
    pub(super) fn audit(&mut self) -> Result<(), Violation> {
        self.queue.push(self.now + AUDIT_INTERVAL, Event::Audit);
        self.audits += 1;
        let is_whole = self.audits.is_multiple_of(WHOLE_LOOK_EACH);
        let newest = self.judge.model().entries().map(|(_, entry)| entry.link.height).max();
        let since = if is_whole { 0 } else { newest.unwrap_or(0).saturating_sub(RECENT_HEIGHTS) };
        let mut rivals = BTreeMap::new();
        for index in 0..self.nodes.len() {
            let node = NodeId(index);
            self.look_at_tables(node)?;
            self.look_for_better(node, &mut rivals)?;
            self.look_at_marks(node, since)?;
            let page = Call::MempoolPage { after: None, limit: MAX_CALL_ENTRIES };
            for call in [page, Call::MempoolInfo, Call::SyncStatus, Call::Peers] {
                self.queue.push(self.now, Event::Call { node, errand: Errand::Audit, call });
            }
        }
        Ok(())
    }

    /// Nothing that peers or callers can fill holds more than it may.
    fn look_at_tables(&mut self, node: NodeId) -> Result<(), Violation> {
        let tables = self.node(node).tables();
        match tables.into_iter().find(|table| table.found > table.bound) {
            Some(Table { what, found, bound }) => {
                Err(Violation::OutOfBounds { node, what, found, bound })
            }
            None => Ok(()),
        }
    }

    /// A node is on the best valid chain of those that it has whole, or gets there until it is
    /// looked at again. `rivals` is kept for other nodes with the same tip.
    fn look_for_better(
        &mut self,
        node: NodeId,
        rivals: &mut BTreeMap<BlockId, Rivals>,
    ) -> Result<(), Violation> {
        let Some(ledger) = self.nodes.get(node.0).and_then(crate::node::Node::ledger) else {
            return Ok(());
        };
        let tip = ledger.view().tip().id;
        let store = |error| Violation::Store { node, error };
        let Rivals { chain, better } = match rivals.entry(tip) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let of_tip = Rivals::of(&self.judge, &tip);
                place.insert(of_tip.ok_or(Violation::InvalidChain {
                    node,
                    id: tip,
                    model: None,
                })?)
            }
        };
        let mut found = None;
        for id in better {
            let mut is_whole = true;
            let branch = self.judge.model().path_down(id).map(|(id, _)| id);
            for id in branch.take_while(|id| !chain.contains(id)) {
                if !ledger.has_body(&id).map_err(store)? {
                    is_whole = false;
                    break;
                }
            }
            if is_whole && matches!(self.judge.verdict(id), Some(Ok(()))) {
                found = Some(*id);
                break;
            }
        }
        match found {
            Some(better) if self.suspects.get(&node) == Some(&tip) => {
                Err(Violation::BelowBestChain { node, better, tip })
            }
            Some(_) => {
                self.suspects.insert(node, tip);
                Ok(())
            }
            None => {
                self.suspects.remove(&node);
                Ok(())
            }
        }
    }

    /// What a node remembers as failed, from a height on, has failed.
    pub(super) fn look_at_marks(&mut self, node: NodeId, since: u32) -> Result<(), Violation> {
        let Some(ledger) = self.nodes.get(node.0).and_then(crate::node::Node::ledger) else {
            return Ok(());
        };
        let mut marked = Vec::new();
        let entries = self.judge.model().entries();
        for (id, _) in entries.filter(|(_, entry)| entry.link.height >= since) {
            let code = ledger.failed_code(id).map_err(|error| Violation::Store { node, error })?;
            marked.extend(code.map(|code| (*id, code)));
        }
        marked.into_iter().try_for_each(|(id, code)| self.block_marked(node, id, code))
    }

    /// A node calls a block invalid: so does the model, for the same reason.
    pub(super) fn block_marked(
        &mut self,
        node: NodeId,
        id: BlockId,
        code: &'static str,
    ) -> Result<(), Violation> {
        match self.judge.verdict(&id) {
            Some(Err(model)) if model == code => {
                self.tally.codes.insert(code);
                Ok(())
            }
            other => {
                let model = other.and_then(Result::err);
                Err(Violation::OtherVerdict { node, id, code, model })
            }
        }
    }

    /// What a node says of its own tables.
    pub(super) fn audited(
        &mut self,
        node: NodeId,
        tip: BlockId,
        body: &AnswerBody,
    ) -> Result<(), Violation> {
        let limits = self.node(node).mempool_limits().clone();
        let bounds: Vec<(&'static str, usize, usize)> = match body {
            AnswerBody::MempoolPage(entries) => return self.mempool_holds(node, tip, entries),
            AnswerBody::MempoolInfo(info) => vec![
                ("bytes of mempool", info.memory_bytes, limits.max_bytes),
                ("orphans", info.orphans, MAX_ORPHANS),
            ],
            AnswerBody::Sync(status) => {
                vec![("bodies in flight", status.blocks_in_flight, MAX_BODIES_IN_FLIGHT)]
            }
            AnswerBody::Peers(peers) => peers
                .iter()
                .map(|peer| ("blocks asked of one peer", peer.in_flight.blocks, MAX_BLOCKS_OF_PEER))
                .collect(),
            _ => return Err(Violation::OtherReply { node }),
        };
        match bounds.into_iter().find(|(_, found, bound)| found > bound) {
            Some((what, found, bound)) => Err(Violation::OutOfBounds { node, what, found, bound }),
            None => Ok(()),
        }
    }

    /// Every input of a waiting transaction is a coin of the tip or made by another that waits,
    /// and no two spend one.
    fn mempool_holds(
        &mut self,
        node: NodeId,
        tip: BlockId,
        entries: &[MempoolEntry],
    ) -> Result<(), Violation> {
        let view = self.node(node).view().filter(|view| view.tip().id == tip);
        let Some(view) = view else { return Ok(()) };
        let transactions = entries.iter().map(|entry| &entry.transaction);
        let made: BTreeMap<_, _> =
            transactions.clone().map(|it| (it.txid(), it.transaction().outputs.len())).collect();
        let mut spent = BTreeSet::new();
        for transaction in transactions {
            let txid = transaction.txid();
            let fail = |fault| Violation::Mempool { node, txid, fault };
            for input in &transaction.transaction().inputs {
                if !spent.insert(*input) {
                    return Err(fail("spends what another one there spends"));
                }
                let waits = made.get(&input.txid).is_some_and(|it| usize::from(input.index) < *it);
                let coin = view.coin(input).map_err(|error| Violation::Store { node, error })?;
                if !waits && coin.is_none() {
                    return Err(fail("spends what is not there"));
                }
            }
        }
        Ok(())
    }
}
