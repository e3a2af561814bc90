//! What callers may look at while the engine does not need it.
//!
//! To walk a block at the size limit, or to write it, takes the ledger, and nothing else, for up to
//! a second. For so long the engine lays on the desk what callers ask about: its mempool (moved,
//! not copied) and how things stood. And while it waits for something to do its mempool lies there
//! too, since to wake it takes longer than most questions. A question that this answers is answered
//! on the caller's own thread, by the same functions and to the same effect as if it had come just
//! before.

use std::sync::{Arc, PoisonError, RwLock};

use ashlar_ledger::{Ledger, Store, StoreError};
use ashlar_mempool::Mempool;
use ashlar_primitives::BlockId;

use crate::{
    Answer, Call, Engine,
    call::{AnswerBody, MAX_CALL_ENTRIES, PeerInfo, SyncStatus},
    fees::FeePicture,
    mempool_calls::Waiting,
    time::Time,
};

/// Shared by the engine and whoever passes calls on to it.
#[derive(Debug, Default)]
pub struct Desk(RwLock<Option<Laid>>);

/// What lies there.
#[derive(Debug)]
struct Laid {
    tip: BlockId,
    height: u32,
    now: Time,
    mempool: Mempool,
    orphans: usize,
    /// `None`: the engine rests, and is asked itself about all but the mempool.
    busy: Option<Busy>,
}

/// How the rest stood when a long move began.
#[derive(Debug)]
struct Busy {
    max_block_bytes: u32,
    fees: FeePicture,
    peers: Vec<PeerInfo>,
    sync: SyncStatus,
}

impl Desk {
    /// The answer to a question, where the engine is busy and this one can be answered without it.
    /// Never waits for the engine, but for it to put something down or take it up.
    pub fn answer(&self, call: &Call) -> Option<Answer> {
        let laid = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let laid = laid.as_ref()?;
        let body = laid.answer(call)?;
        Some(Answer { tip: laid.tip, height: laid.height, body })
    }

    fn put(&self, laid: Option<Laid>) -> Option<Laid> {
        let mut place = self.0.write().unwrap_or_else(PoisonError::into_inner);
        core::mem::replace(&mut place, laid)
    }
}

impl Laid {
    fn answer(&self, call: &Call) -> Option<AnswerBody> {
        let waiting = Waiting { mempool: &self.mempool, orphans: self.orphans, now: self.now };
        Some(match call {
            Call::MempoolInfo => AnswerBody::MempoolInfo(waiting.info()),
            Call::MempoolPage { after, limit } => {
                AnswerBody::MempoolPage(waiting.page(*after, *limit))
            }
            Call::MempoolTransaction(txid) => {
                AnswerBody::MempoolTransaction(waiting.transaction(txid))
            }
            Call::MempoolKin(txid) => AnswerBody::MempoolKin(waiting.kin(txid)),
            Call::MempoolSpenders(outpoints) if outpoints.len() <= MAX_CALL_ENTRIES => {
                AnswerBody::MempoolSpenders(waiting.spenders(outpoints))
            }
            Call::Priorities => AnswerBody::Priorities(self.mempool.priorities().clone()),
            other => return self.busy.as_ref()?.answer(other, &waiting),
        })
    }
}

impl Busy {
    fn answer(&self, call: &Call, waiting: &Waiting<'_>) -> Option<AnswerBody> {
        Some(match call {
            Call::EstimateFee { target_blocks } => {
                let floor = waiting.floor_per_kb();
                AnswerBody::Fee(self.fees.estimate(*target_blocks, self.max_block_bytes, floor))
            }
            Call::Peers => AnswerBody::Peers(self.peers.clone()),
            Call::SyncStatus => AnswerBody::Sync(self.sync.clone()),
            _ => return None,
        })
    }
}

impl<S: Store> Engine<S> {
    /// The desk on which this engine lays things from now on. One that nobody asked for lays
    /// nothing.
    pub fn desk(&mut self) -> Arc<Desk> {
        self.desk.get_or_insert_default().clone()
    }

    /// A move of the ledger that may take long, with everything else on the desk meanwhile.
    pub(crate) fn aside<T>(
        &mut self,
        long: impl FnOnce(&mut Ledger<S>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.desk.is_none() {
            return long(&mut self.ledger);
        }
        self.refresh_fee_picture();
        let busy = Busy {
            max_block_bytes: self.params.max_block_bytes,
            fees: self.fee_picture.clone(),
            peers: self.peer_infos()?,
            sync: self.sync_status()?,
        };
        self.lay(Some(busy));
        let outcome = long(&mut self.ledger);
        self.take_up();
        outcome
    }

    /// For a driver that has carried out all outputs and will now wait for an input: until then
    /// callers may look at the mempool without waking anybody.
    pub fn rest(&mut self) {
        if self.started && !self.chain.is_following() {
            self.lay(None);
        }
    }

    fn lay(&mut self, busy: Option<Busy>) {
        let Some(desk) = self.desk.clone() else { return };
        let nothing = Mempool::new(self.params.clone(), self.settings.mempool.clone());
        let tip = self.view.tip();
        desk.put(Some(Laid {
            tip: tip.id,
            height: tip.height,
            now: self.now,
            orphans: self.orphans.len(),
            busy,
            mempool: core::mem::replace(&mut self.mempool, nothing),
        }));
    }

    /// What lies on the desk is the engine's again.
    pub(crate) fn take_up(&mut self) {
        let laid = self.desk.as_ref().and_then(|desk| desk.put(None));
        if let Some(laid) = laid {
            self.mempool = laid.mempool;
        }
    }
}
