//! A chain file into the ledger, each block judged as if a peer had sent it.

use core::ops::ControlFlow;
use std::io;

use ashlar_consensus::{open_body, signature::Workers};
use ashlar_primitives::{BlockId, Decode as _, Header};
use thiserror::Error;

use super::{CareError, Progress, Stage, Watch, go_on};
use crate::{
    chain_file::{ChainFileError, Reader},
    ledger::Ledger,
    offer::{OpenedAhead, TakenIn},
    store::{Store, StoreError},
};

/// Blocks and bytes that are taken in before the tip moves: what is synced at once.
const WINDOW_BLOCKS: usize = 512;
const WINDOW_BYTES: usize = 16 << 20;

/// Blocks and bytes that are read and opened at once, before they are taken in.
const AHEAD_BLOCKS: usize = 64;
const AHEAD_BYTES: usize = 8 << 20;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Blocks that were not here before.
    pub new: u32,
    /// Blocks that were.
    pub known: u32,
}

/// Why an import ends before its end. Blocks before the fault are kept.
#[derive(Debug, Error)]
pub enum ImportError {
    /// What is to read is no good.
    #[error(transparent)]
    File(#[from] ChainFileError),
    /// A block breaks a rule, or can't be judged now (`time-too-new`, `unknown-parent`).
    #[error("block number {number} of the chain file, {id}, is refused: {code}")]
    Refused {
        /// From 1.
        number: u32,
        /// As its header says; zero where it has none.
        id: BlockId,
        /// Of PROTOCOL.md §8, or `invalidated`.
        code: &'static str,
    },
    /// Without its header nobody can tell which blocks lie below it.
    #[error("the block {id} up to which signatures are assumed good is not in the chain file")]
    AssumedNotThere {
        /// [`crate::Settings::assume_valid`].
        id: BlockId,
    },
    /// Interrupted, or we are broken.
    #[error(transparent)]
    Care(#[from] CareError),
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Care(error.into())
    }
}

/// Takes in the headers of a file up to the block that [`crate::Settings::assume_valid`] names:
/// to be called with a reader of its own before [`import`], where that is set.
pub fn import_headers<S: Store, R: io::Read>(
    ledger: &mut Ledger<S>,
    file: &mut Reader<R>,
    total_blocks: u32,
    now_seconds: u64,
    watch: &mut Watch<'_>,
) -> Result<(), ImportError> {
    let Some(named) = ledger.settings.assume_valid else { return Ok(()) };
    while ledger.header_state(&named)?.is_none() {
        let not_there = ImportError::AssumedNotThere { id: named };
        let bytes = file.next_block()?.ok_or(not_there)?;
        let number = file.blocks();
        let refused = |id, code| ImportError::Refused { number, id, code };
        let header = bytes.get(..Header::LEN).map(Header::from_bytes);
        let Some(Ok(header)) = header else { return Err(refused(BlockId::ZERO, "malformed")) };
        if let Err(refusal) = ledger.accept_header(&header, now_seconds)? {
            return Err(refused(header.id(), refusal.code()));
        }
        let (done, total) = (number.into(), total_blocks.into());
        go_on(watch(Progress { stage: Stage::ImportHeaders, done, total }))?;
    }
    Ok(())
}

/// Reads a whole chain file. What is known already is passed over, so that an interrupted import
/// goes on. `total_blocks` is for progress alone; `workers` are `verify_signatures`'.
pub fn import<S: Store, R: io::Read>(
    ledger: &mut Ledger<S>,
    file: &mut Reader<R>,
    total_blocks: u32,
    now_seconds: u64,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Imported, ImportError> {
    let mut imported = Imported::default();
    let mut window = Window::default();
    // What an interrupted import took in and did not connect.
    window.settle(ledger, &mut imported, total_blocks, workers, watch)?;
    loop {
        let (chunk, end) = read_ahead(file);
        let opened = open_ahead(ledger, &chunk, workers)?;
        for (Raw { number, bytes }, ahead) in chunk.into_iter().zip(opened) {
            match ledger.take_in(&bytes, now_seconds, ahead)? {
                TakenIn::Known => imported.known = imported.known.saturating_add(1),
                TakenIn::Stored(id) => window.push(number, id, bytes.len()),
                TakenIn::Refused { code } => {
                    // A block below it may be the cause, and connects or fails first.
                    window.settle(ledger, &mut imported, total_blocks, workers, watch)?;
                    let id = header_of(&bytes).map_or(BlockId::ZERO, |header| header.id());
                    return Err(ImportError::Refused { number, id, code });
                }
            }
            if window.is_full() {
                window.settle(ledger, &mut imported, total_blocks, workers, watch)?;
            } else if window.blocks.is_empty() {
                let (done, total) = (number.into(), total_blocks.into());
                go_on(watch(Progress { stage: Stage::ImportBlocks, done, total }))?;
            }
        }
        if end?.is_break() {
            break;
        }
    }
    window.settle(ledger, &mut imported, total_blocks, workers, watch)?;
    Ok(imported)
}

/// A block as the file has it.
struct Raw {
    /// From 1.
    number: u32,
    bytes: Vec<u8>,
}

/// The next blocks of a file, and what comes after them: more, the end, or a fault.
fn read_ahead<R: io::Read>(
    file: &mut Reader<R>,
) -> (Vec<Raw>, Result<ControlFlow<()>, ChainFileError>) {
    let (mut chunk, mut size_bytes) = (Vec::new(), 0_usize);
    while chunk.len() < AHEAD_BLOCKS && size_bytes < AHEAD_BYTES {
        match file.next_block() {
            Ok(Some(bytes)) => {
                size_bytes = size_bytes.saturating_add(bytes.len());
                chunk.push(Raw { number: file.blocks(), bytes });
            }
            Ok(None) => return (chunk, Ok(ControlFlow::Break(()))),
            Err(error) => return (chunk, Err(error)),
        }
    }
    (chunk, Ok(ControlFlow::Continue(())))
}

fn header_of(bytes: &[u8]) -> Option<Header> {
    bytes.get(..Header::LEN).and_then(|bytes| Header::from_bytes(bytes).ok())
}

/// Opens bodies before their headers are judged, all workers at once, each at the height that the
/// chain gives it; `None` where that is not known, or the body is.
fn open_ahead<S: Store>(
    ledger: &Ledger<S>,
    chunk: &[Raw],
    workers: &mut impl Workers,
) -> Result<Vec<Option<OpenedAhead>>, StoreError> {
    let mut places: Vec<Option<(Header, u32)>> = Vec::with_capacity(chunk.len());
    let mut last = None;
    for raw in chunk {
        let Some(header) = header_of(&raw.bytes) else {
            places.push(None);
            continue;
        };
        let parent_height = match last {
            Some((id, height)) if id == header.parent => Some(height),
            _ => ledger.header_state(&header.parent)?.map(|state| state.height),
        };
        let id = header.id();
        let height = parent_height.map(|height| height.saturating_add(1));
        last = height.map(|height| (id, height));
        let is_known = ledger.knows_body(&id)?;
        places.push(height.filter(|_| !is_known).map(|height| (header, height)));
    }
    let params = ledger.params();
    Ok(workers.share(chunk.len(), |number, _| {
        let (header, height) = (*places.get(number)?)?;
        let opened = open_body(params, &header, height, &chunk.get(number)?.bytes);
        Some(OpenedAhead { height, opened })
    }))
}

/// Blocks that were taken in since the tip moved last.
#[derive(Default)]
struct Window {
    blocks: Vec<(u32, BlockId)>,
    bytes: usize,
}

impl Window {
    fn push(&mut self, number: u32, id: BlockId, bytes: usize) {
        self.blocks.push((number, id));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    const fn is_full(&self) -> bool {
        self.blocks.len() >= WINDOW_BLOCKS || self.bytes >= WINDOW_BYTES
    }

    /// Moves the tip as far as it goes and asks what became of the blocks.
    fn settle<S: Store>(
        &mut self,
        ledger: &mut Ledger<S>,
        imported: &mut Imported,
        total_blocks: u32,
        workers: &mut impl Workers,
        watch: &mut Watch<'_>,
    ) -> Result<(), ImportError> {
        let flow = ledger.settle_watched(workers, &mut |height| {
            let (done, total) = (height.into(), total_blocks.into());
            watch(Progress { stage: Stage::ImportBlocks, done, total })
        })?;
        if flow.is_break() {
            ledger.flush()?;
        }
        go_on(flow)?;
        for (number, id) in std::mem::take(&mut self.blocks) {
            if let Some(code) = ledger.failed_code(&id)? {
                return Err(ImportError::Refused { number, id, code });
            }
            imported.new = imported.new.saturating_add(1);
        }
        self.bytes = 0;
        Ok(())
    }
}
