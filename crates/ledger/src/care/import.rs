//! A chain file into the ledger, each block judged as if a peer had sent it.

use core::ops::ControlFlow;
use std::{collections::VecDeque, io, sync::Arc};

use ashlar_consensus::{Params, open_body, signature::Workers};
use ashlar_primitives::{BlockId, Decode as _, Header};
use thiserror::Error;

use super::{CareError, Progress, Stage, Watch, go_on};
use crate::{
    chain_file::{ChainFileError, Reader},
    ledger::Ledger,
    offer::{OpenedAhead, TakenIn, Underway},
    store::{Store, StoreError},
};

/// Blocks and bytes that are read and opened at once. Three times as many are on their way: those
/// that become the chain, those above them, and those that are opened meanwhile.
const CHUNK_BLOCKS: usize = 128;
const CHUNK_BYTES: usize = 8 << 20;

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
///
/// While blocks become the chain, the next ones of the file are opened.
pub fn import<S: Store, R: io::Read>(
    ledger: &mut Ledger<S>,
    file: &mut Reader<R>,
    total_blocks: u32,
    now_seconds: u64,
    workers: &mut impl Workers,
    watch: &mut Watch<'_>,
) -> Result<Imported, ImportError> {
    let mut import = Import {
        ledger,
        workers,
        watch,
        total_blocks,
        underway: Underway::default(),
        imported: Imported::default(),
        taken: VecDeque::new(),
    };
    let read = import.read(file, now_seconds);
    import.underway.abandon(import.ledger);
    if let Err(ImportError::Care(CareError::Interrupted)) = read {
        import.ledger.flush()?;
    }
    read.map(|()| import.imported)
}

/// An import that goes on.
struct Import<'a, 'w, S: Store, W> {
    ledger: &'a mut Ledger<S>,
    workers: &'a mut W,
    watch: &'a mut Watch<'w>,
    total_blocks: u32,
    underway: Underway,
    imported: Imported,
    /// Blocks taken in of which is not yet known what became of them, as the file has them.
    taken: VecDeque<Taken>,
}

/// A block whose header and body are kept.
struct Taken {
    number: u32,
    id: BlockId,
    height: u32,
}

impl<S: Store, W: Workers> Import<'_, '_, S, W> {
    fn read<R: io::Read>(
        &mut self,
        file: &mut Reader<R>,
        now_seconds: u64,
    ) -> Result<(), ImportError> {
        let params = Arc::clone(self.ledger.params());
        let mut chunk = Chunk::read(self.ledger, file)?;
        let mut opened = chunk.open(&params);
        loop {
            // Up to what was taken in before, and no further: while more is known to come, steps
            // end where they are full.
            let live_height = self.ledger.live.header.height;
            let before = self.taken.back().map_or(live_height, |taken| taken.height);
            for (raw, ahead) in chunk.blocks.iter().zip(opened) {
                self.take_in(raw, ahead, now_seconds)?;
            }
            let is_last = chunk.end?.is_break();
            chunk = match is_last {
                true => Chunk::default(),
                false => Chunk::read(self.ledger, file)?,
            };
            opened = self.settle((!is_last).then_some(before), || chunk.open(&params))?;
            if is_last {
                return Ok(());
            }
        }
    }

    fn take_in(
        &mut self,
        raw: &Raw,
        ahead: Option<OpenedAhead>,
        now_seconds: u64,
    ) -> Result<(), ImportError> {
        match self.ledger.take_in(&raw.bytes, now_seconds, ahead)? {
            TakenIn::Known => self.imported.known = self.imported.known.saturating_add(1),
            TakenIn::Stored { id, height } => {
                self.taken.push_back(Taken { number: raw.number, id, height });
            }
            TakenIn::Refused { code } => {
                // A block below it may be the cause, and connects or fails first.
                self.settle(None, || ())?;
                let id = raw.header().map_or(BlockId::ZERO, |header| header.id());
                return Err(ImportError::Refused { number: raw.number, id, code });
            }
        }
        Ok(())
    }

    /// Moves the tip up to a height, or as far as it goes, and asks what became of the blocks up
    /// to there; does something else meanwhile.
    fn settle<T: Send>(
        &mut self,
        reach: Option<u32>,
        beside: impl FnOnce() -> T + Send,
    ) -> Result<T, ImportError> {
        let Self { ledger, workers, watch, underway, .. } = self;
        let (total, mut stop) = (self.total_blocks.into(), ControlFlow::Continue(()));
        let is_there = |ledger: &Ledger<S>| {
            let height = ledger.live.header.height;
            stop = watch(Progress { stage: Stage::ImportBlocks, done: height.into(), total });
            match stop.is_break() || reach.is_some_and(|reach| height >= reach) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let (beside, settled) =
            workers.join(beside, |workers| underway.go(ledger, workers, is_there));
        let is_all = settled?.is_continue();
        go_on(stop)?;
        let is_judged = |taken: &Taken| is_all || reach.is_some_and(|it| taken.height <= it);
        while self.taken.front().is_some_and(is_judged) {
            let Some(Taken { number, id, .. }) = self.taken.pop_front() else { break };
            if let Some(code) = self.ledger.failed_code(&id)? {
                return Err(ImportError::Refused { number, id, code });
            }
            self.imported.new = self.imported.new.saturating_add(1);
        }
        Ok(beside)
    }
}

/// A block as the file has it.
struct Raw {
    /// From 1.
    number: u32,
    bytes: Vec<u8>,
    /// At which it is to be opened; `None` where that is not known, or the body is.
    height: Option<u32>,
}

impl Raw {
    /// Finds its height by its parent's, which is that of the block before it in the file, or known.
    fn place<S: Store>(
        &mut self,
        ledger: &Ledger<S>,
        last: &mut Option<(BlockId, u32)>,
    ) -> Result<(), StoreError> {
        let Some(header) = self.header() else { return Ok(()) };
        let parent_height = match *last {
            Some((id, height)) if id == header.parent => Some(height),
            _ => ledger.header_state(&header.parent)?.map(|state| state.height),
        };
        let id = header.id();
        let height = parent_height.map(|height| height.saturating_add(1));
        *last = height.map(|height| (id, height));
        if !ledger.knows_body(&id)? {
            self.height = height;
        }
        Ok(())
    }

    fn header(&self) -> Option<Header> {
        self.bytes.get(..Header::LEN).and_then(|bytes| Header::from_bytes(bytes).ok())
    }
}

/// Some blocks of a file, and what comes after them: more, the end, or a fault.
struct Chunk {
    blocks: Vec<Raw>,
    end: Result<ControlFlow<()>, ChainFileError>,
}

impl Default for Chunk {
    /// The end.
    fn default() -> Self {
        Self { blocks: Vec::new(), end: Ok(ControlFlow::Break(())) }
    }
}

impl Chunk {
    fn read<S: Store, R: io::Read>(
        ledger: &Ledger<S>,
        file: &mut Reader<R>,
    ) -> Result<Self, StoreError> {
        let mut chunk = Self { blocks: Vec::new(), end: Ok(ControlFlow::Continue(())) };
        let (mut size_bytes, mut last) = (0_usize, None);
        while chunk.blocks.len() < CHUNK_BLOCKS && size_bytes < CHUNK_BYTES {
            match file.next_block() {
                Ok(Some(bytes)) => {
                    size_bytes = size_bytes.saturating_add(bytes.len());
                    let mut raw = Raw { number: file.blocks(), bytes, height: None };
                    raw.place(ledger, &mut last)?;
                    chunk.blocks.push(raw);
                }
                Ok(None) => {
                    chunk.end = Ok(ControlFlow::Break(()));
                    break;
                }
                Err(error) => {
                    chunk.end = Err(error);
                    break;
                }
            }
        }
        Ok(chunk)
    }

    /// Opens the bodies before their headers are judged.
    fn open(&self, params: &Params) -> Vec<Option<OpenedAhead>> {
        let open = |raw: &Raw| {
            let (header, height) = (raw.header()?, raw.height?);
            Some(OpenedAhead { height, opened: open_body(params, &header, height, &raw.bytes) })
        };
        self.blocks.iter().map(open).collect()
    }
}
