//! The ledger's moves. One owner drives it; signatures can be away between two calls.
//!
//! ```text
//! accept_header → store_body → next_move ─┬─ Idle
//!                                         ├─ Progress            (a block disconnected, a step written; call again)
//!                                         └─ Verify(WalkedBlock) → signatures → complete → next_move …
//! ```

use std::sync::Arc;

use ashlar_consensus::{BlockError, CheckedBlock, Genesis, HeaderError, HeaderState, Params, SignatureCheck, Verified};
use ashlar_consensus::signature::Place;
use ashlar_primitives::{BlockId, Header};
use thiserror::Error;

use crate::{store::{Store, StoreError}, view::View};

/// What the operator chooses.
#[derive(Clone, Debug)]
pub struct Settings { pub transaction_index: bool, pub lock_index: bool, /* step limits with defaults 32 MiB, 2 s … */ }

/// Why a ledger can't be opened.
#[derive(Debug, Error)]
pub enum OpenLedgerError {
    #[error("this data directory holds the chain {found}, not {expected}; choose another directory, or the genesis file that made this one")]
    OtherChain { found: BlockId, expected: BlockId },
    #[error("the stored data has schema {found}, this program knows {known}; use the release that wrote it, or sync anew")]
    OtherSchema { found: u32, known: u32 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A header that is in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderAccepted { New, Known }

/// A header that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HeaderRefusal {
    /// Breaks a rule. `InvalidParent` ids are remembered as failed (§8), others are not kept.
    #[error(transparent)]
    Rule(#[from] HeaderError),
    #[error("unknown parent")]
    UnknownParent,
    #[error("too far in the future")]
    TooNew,
    /// Remembered as failed with this code.
    #[error("known to be invalid: {code}")]
    Failed { code: &'static str },
}

impl HeaderRefusal { pub fn code(&self) -> &'static str { todo!() } }

/// What storing a body meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyStored { /// Kept; `next_move` may now have something to do.
    New, /// Was kept already.
    Known, /// Not kept: its header is not in the tree, or it is remembered as failed.
    Unwanted }

/// What to do next towards the best chain.
#[derive(Debug)]
pub enum Move { Idle, Progress, Verify(WalkedBlock) }

/// A block that was walked, its signatures to verify. While one is out, the live state stands still.
#[derive(Debug)]
pub struct WalkedBlock { /* id, checks, walked … private */ }

impl WalkedBlock {
    pub fn id(&self) -> BlockId { todo!() }
    pub fn height(&self) -> u32 { todo!() }
    pub fn checks(&self) -> &[SignatureCheck] { todo!() }
    /// Takes the checks away (to a job).
    pub fn take_checks(&mut self) -> Vec<SignatureCheck> { todo!() }
}

/// What `complete` made of a walked block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completed { Connected, Invalid(BlockError), /// Judged for nothing: the operator took the block away meanwhile.
    Dropped }

/// The published tip moved.
#[derive(Clone, Debug)]
pub struct Published {
    pub view: Arc<View>,
    /// From the old tip down.
    pub disconnected: Vec<MovedBlock>,
    /// Up to the new tip.
    pub connected: Vec<MovedBlock>,
}

/// A block that left or joined the published chain. Ids are always told, bodies only while those
/// of one `Published` stay below a byte bound; read the others with `Ledger::block`.
#[derive(Clone, Debug)]
pub struct MovedBlock { pub id: BlockId, pub height: u32, pub body: Option<Arc<CheckedBlock>> }

/// The ledger over a store.
#[derive(Debug)]
pub struct Ledger<S: Store> { store: Arc<S> /* … */ }

impl<S: Store> Ledger<S> {
    pub fn open(store: Arc<S>, genesis: &Genesis, settings: Settings) -> Result<Self, OpenLedgerError> { todo!() }
    pub fn params(&self) -> &Arc<Params> { todo!() }
    /// The published view: what readers, peers and miners are told.
    pub fn view(&self) -> Arc<View> { todo!() }

    // --- headers
    /// Group 1 of §8 in order, `unknown-parent` and `time-too-new` included.
    pub fn accept_header(&mut self, header: &Header, now_seconds: u64) -> Result<Result<HeaderAccepted, HeaderRefusal>, StoreError> { todo!() }
    /// A header state on any branch in memory or on disk.
    pub fn header_state(&self, id: &BlockId) -> Result<Option<HeaderState>, StoreError> { todo!() }
    pub fn header(&self, id: &BlockId) -> Result<Option<Header>, StoreError> { todo!() }
    /// The code with which an id is remembered as failed.
    pub fn failed_code(&self, id: &BlockId) -> Result<Option<&'static str>, StoreError> { todo!() }
    /// The header with the most work that is not failed: where sync wants to go.
    pub fn best_header(&self) -> HeaderState { todo!() }
    /// Ids without body on the way from the published chain to `best_header`, lowest first.
    pub fn wanted_bodies(&self, limit: usize) -> Result<Vec<(u32, BlockId)>, StoreError> { todo!() }
    /// Newest first, at most 64, towards genesis: of the branch ending in `from`.
    pub fn locator(&self, from: &BlockId) -> Result<Vec<BlockId>, StoreError> { todo!() }
    /// Whether `id` is `ancestor` or above it.
    pub fn is_descendant(&self, id: &BlockId, ancestor: &BlockId) -> Result<bool, StoreError> { todo!() }

    // --- bodies
    /// A stored block on any branch, opened again; `None` where there is no body (and for genesis).
    pub fn block(&self, id: &BlockId) -> Result<Option<Arc<CheckedBlock>>, StoreError> { todo!() }
    pub fn has_body(&self, id: &BlockId) -> Result<bool, StoreError> { todo!() }
    /// Keeps a body whose header is in the tree.
    pub fn store_body(&mut self, block: Arc<CheckedBlock>) -> Result<BodyStored, StoreError> { todo!() }
    /// Group 2 found that the block itself is wrong: remembered, with all its descendants.
    pub fn mark_invalid(&mut self, id: &BlockId, error: &BlockError) -> Result<(), StoreError> { todo!() }

    // --- moving the tip; `now_ms` is monotonic and only bounds the length of a step
    pub fn next_move(&mut self, now_ms: u64) -> Result<Move, StoreError> { todo!() }
    /// `signatures`: what became of the walk's checks.
    pub fn complete(&mut self, walked: WalkedBlock, signatures: Result<Verified, Place>, now_ms: u64) -> Result<Completed, StoreError> { todo!() }
    /// When `next_move` must be called again though nothing happened, on the clock of `now_ms`:
    /// a step is open that is to be written by then.
    pub fn next_wakeup(&self) -> Option<u64> { todo!() }
    /// What became visible since the last call: at most one.
    pub fn take_published(&mut self) -> Option<Published> { todo!() }
    /// Writes and syncs everything that is not yet on disk.
    pub fn flush(&mut self) -> Result<(), StoreError> { todo!() }

    // --- operator
    pub fn invalidate(&mut self, id: &BlockId) -> Result<(), StoreError> { todo!() }
    pub fn reconsider(&mut self, id: &BlockId) -> Result<(), StoreError> { todo!() }

    /// All of the above for a driver without jobs: bytes in, verdict of §8 out, tip moved as far
    /// as it goes. Used by the vectors, the command-line import and tests.
    pub fn offer(&mut self, bytes: &[u8], now_seconds: u64, rng: &mut (impl rand::CryptoRng + ?Sized)) -> Result<Offered, StoreError> { todo!() }
}

/// The verdict on an offered block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offered { Accepted, Side, Known, Refused { code: &'static str } }
