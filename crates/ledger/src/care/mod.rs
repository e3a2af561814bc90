//! Repair and care: what an operator does to a store that no node runs on.
//!
//! [`check()`] reads and tells what is wrong; [`reindex`] makes everything anew from stored bodies;
//! [`export()`] and [`import()`] carry the chain as one file. All of it takes long on a long chain, so
//! all of it reports where it is and asks whether to go on; what was interrupted, by that answer
//! or by a kill, is taken up again by the next call. Nothing here knows terminals, signals or
//! paths.

mod bookmark;
mod check;
mod coins;
mod export;
mod forest;
mod import;
pub mod reindex;
mod replay;
mod scan;
mod shown;

use core::{fmt, ops::ControlFlow};

use ashlar_consensus::{CheckedBlock, Genesis, Params, open_block};
use ashlar_primitives::{Block, BlockId, Decode as _};
use thiserror::Error;

use crate::{
    keys::{self, meta},
    ledger::OpenLedgerError,
    records::{self, SCHEMA},
    store::{Family, Read, StoreError},
};

pub use bookmark::{Bookmark, Misfit};
pub use check::{Bookmarks, Depth, Finding, Keep, MAX_FINDINGS, Remedy, Report, check, check_on};
pub use export::{Exported, export};
pub use import::{ImportError, Imported, import, import_headers};
pub use shown::check_view;

/// What is being done, in the words of a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Blocks into the indexes that are not yet complete.
    IndexBlocks,
    /// Coins into the index by lock.
    IndexCoins,
    /// Header records, as they are stored.
    ReadHeaders,
    /// Bodies, as they are stored.
    ReadBodies,
    /// Bodies out of a table that is damaged, and back.
    CopyBodies,
    /// Headers by the rules, parents before children.
    JudgeHeaders,
    /// The heights of the best chain.
    ReadHeights,
    /// The coin set.
    SumCoins,
    /// Blocks from the tip down, in memory.
    UndoBlocks,
    /// Blocks from genesis up, in memory.
    ReplayBlocks,
    /// Entries of the indexes.
    CountIndexes,
    /// Blocks from where the ledger stands to the best tip.
    ConnectBlocks,
    /// Blocks into a file.
    ExportBlocks,
    /// Headers of a file, before its bodies.
    ImportHeaders,
    /// Blocks of a file.
    ImportBlocks,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IndexBlocks => "indexing blocks",
            Self::IndexCoins => "indexing coins",
            Self::ReadHeaders => "reading headers",
            Self::ReadBodies => "reading bodies",
            Self::CopyBodies => "copying bodies",
            Self::JudgeHeaders => "judging headers",
            Self::ReadHeights => "reading heights",
            Self::SumCoins => "summing coins",
            Self::UndoBlocks => "undoing blocks",
            Self::ReplayBlocks => "replaying blocks",
            Self::CountIndexes => "counting index entries",
            Self::ConnectBlocks => "connecting blocks",
            Self::ExportBlocks => "exporting blocks",
            Self::ImportHeaders => "importing headers",
            Self::ImportBlocks => "importing blocks",
        })
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// In units of the stage (headers, blocks, coins).
    pub done: u64,
    /// As many as are known to be there; 0 where nobody counted.
    pub total: u64,
}

/// Told of progress often; `Break` interrupts, and what was done so far is kept.
pub type Watch<'a> = dyn FnMut(Progress) -> ControlFlow<()> + Send + 'a;

/// Why care ends before its end.
#[derive(Debug, Error)]
pub enum CareError {
    /// Told to stop.
    #[error("interrupted; what was done is kept, and the same command goes on")]
    Interrupted,
    /// Bodies that would be needed were given up.
    #[error(
        "this data directory is pruned and holds blocks from {history_start} on only, so this can't be done; use a node that keeps everything, or remove the data directory and sync again"
    )]
    Pruned {
        /// The lowest block that is kept.
        history_start: u32,
    },
    /// The disk of the chain file refused.
    #[error("can't write the chain file: {0}")]
    File(#[source] std::io::Error),
    /// It is not this chain's or release's store, or it can't be opened.
    #[error(transparent)]
    Open(#[from] OpenLedgerError),
    /// We are broken.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Passes the answer of a [`Watch`] on.
fn go_on(flow: ControlFlow<()>) -> Result<(), CareError> {
    if flow.is_break() { Err(CareError::Interrupted) } else { Ok(()) }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// The lowest block that pruning left; 0 where nothing was pruned.
fn history_start(store: &impl Read) -> Result<u32, StoreError> {
    let value = store.get(Family::Meta, meta::HISTORY_START)?;
    Ok(value.map(|value| records::read_height(&value)).transpose()?.unwrap_or(0))
}

/// Refuses what another release or another chain wrote; what says nothing is taken for ours.
fn check_owner(store: &impl Read, genesis: &Genesis) -> Result<(), OpenLedgerError> {
    if let Some(value) = store.get(Family::Meta, meta::SCHEMA)? {
        let found = records::read_schema(&value)?;
        if found != SCHEMA {
            return Err(OpenLedgerError::OtherSchema { found, known: SCHEMA });
        }
    }
    if let Some(value) = store.get(Family::Meta, meta::CHAIN)? {
        let found = keys::read_block_id(&value)?;
        let expected = genesis.params().chain_id;
        if found != expected {
            return Err(OpenLedgerError::OtherChain { found, expected });
        }
    }
    Ok(())
}

/// A stored body, judged without state at the height that it claims: it belongs to its header.
fn open_stored(params: &Params, id: &BlockId, bytes: &[u8]) -> Result<CheckedBlock, StoreError> {
    let damaged = |what: &dyn fmt::Display| StoreError::corrupt(format_args!("block {id}: {what}"));
    let block = Block::from_bytes(bytes).map_err(|error| damaged(&error))?;
    if block.header.id() != *id {
        return Err(damaged(&"its header is another"));
    }
    let (header, height) = (block.header, block.coinbase.height);
    open_block(params, &header, height, block).map_err(|error| damaged(&error))
}

fn gone_at(height: u32, what: &str) -> StoreError {
    StoreError::corrupt(format_args!("{what} at height {height} is missing"))
}

/// The best chain's block id at a height.
fn id_at(store: &impl Read, height: u32) -> Result<BlockId, StoreError> {
    let id = store.get(Family::Heights, &keys::height(height))?;
    keys::read_block_id(&id.ok_or_else(|| gone_at(height, "the block id"))?)
}

/// The best chain's block at a height from 1 up, judged without state.
fn block_at(
    store: &impl Read,
    params: &Params,
    height: u32,
) -> Result<(BlockId, CheckedBlock), StoreError> {
    let id = id_at(store, height)?;
    let bytes = store.get(Family::Blocks, &keys::block(&id))?;
    let bytes = bytes.ok_or_else(|| gone_at(height, "the body"))?;
    let block = open_stored(params, &id, &bytes)?;
    if block.height() != height {
        return Err(StoreError::corrupt(format_args!("block {id} is not of height {height}")));
    }
    Ok((id, block))
}
