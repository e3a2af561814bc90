//! The node's mind: a state machine whose only IO is the store handed in.
//!
//! `(now, Input) → Outputs`, one entry point, bounded work in each call. No tokio, libp2p,
//! RocksDB type, wall clock or entropy in here: the same code runs in `ashlar-node` and, by the
//! thousand, in `crates/simulator`.

pub mod call;
pub mod input;
pub mod job;
pub mod output;
pub mod time;

pub use call::{Answer, Call, CallError, CallId};
pub use input::{GossipData, Input, Peer, PeerConnected, Direction, RequestFailure, RequestId, InboundId, Ticket};
pub use job::{Job, JobId, JobResult};
pub use output::{Event, Offence, Output, Outputs, Verdict};
pub use time::Time;

use std::sync::Arc;
use ashlar_consensus::Genesis;
use ashlar_ledger::{Ledger, Store, StoreError};

/// What the operator chooses.
#[derive(Clone, Debug)]
pub struct Settings { pub mempool: ashlar_mempool::Limits, /// Shown to peers: `ashlar/0.1.0`.
    pub agent: String, /// Below this a header branch is not stored.
    pub minimum_work: ashlar_consensus::Work }

/// One node.
#[derive(Debug)]
pub struct Engine<S: Store> { ledger: Ledger<S> }

impl<S: Store> Engine<S> {
    /// `seed` feeds the engine's own generator (salts, choices of peers), nothing cryptographic.
    pub fn new(ledger: Ledger<S>, settings: Settings, seed: u64) -> Self { todo!() }
    /// The only entry point. `Err`: *we* are broken; the driver stops the node with the message.
    pub fn handle(&mut self, now: Time, input: Input, out: &mut Outputs) -> Result<(), StoreError> { todo!() }
    /// When to send `Tick`, on the monotonic clock; `None`: not until something else happens.
    pub fn next_wakeup(&self) -> Option<u64> { todo!() }
    /// Writes what is not yet on disk: the last call before the node stops.
    pub fn close(&mut self) -> Result<(), StoreError> { todo!() }
    pub fn ledger(&self) -> &Ledger<S> { &self.ledger }
}
