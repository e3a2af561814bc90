//! The best chain into a file.

use std::{
    fs::File,
    io::{self, BufReader, BufWriter, Seek as _, SeekFrom},
};

use ashlar_consensus::{Genesis, Params};
use ashlar_primitives::BlockId;

use super::{
    CareError, Progress, Stage, Watch, block_at, check_owner, go_on, history_start, id_at,
    open_stored,
};
use crate::{
    chain_file::{ChainFileError, Place, Reader, Writer},
    headers::read_record,
    keys::meta,
    ledger::OpenLedgerError,
    records::StateRecord,
    store::{Family, Read, StoreError},
};

/// Bytes of the file that are read or written at once.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Blocks, from height 1 up.
    pub blocks: u32,
    /// Of these, what the file held already.
    pub kept: u32,
    /// The last of them; genesis where there is none.
    pub tip: BlockId,
}

/// Writes the best chain from height 1 up ([`crate::chain_file`]), each body compared with its
/// header first. Changes nothing in the store.
///
/// `file` is open for reading and writing, and empty or what an interrupted export left: blocks
/// at its beginning that are whole and on the best chain still are kept, and anything else gives
/// way. On success the file is synced.
///
/// # Errors
/// [`CareError::Pruned`]; [`StoreError::Corrupt`] where a body is damaged;
/// [`CareError::Interrupted`]; [`CareError::File`]. After each of them the file has no end, and
/// another export goes on with it.
pub fn export(
    store: &impl Read,
    genesis: &Genesis,
    file: &File,
    watch: &mut Watch<'_>,
) -> Result<Exported, CareError> {
    check_owner(store, genesis)?;
    let history_start = history_start(store)?;
    if history_start > 0 {
        return Err(CareError::Pruned { history_start });
    }
    let state = store.get(Family::Meta, meta::STATE)?;
    let Some(state) = state else { return Err(OpenLedgerError::Reindexing.into()) };
    let tip = StateRecord::from_value(&state)?.tip;
    let lost = || StoreError::corrupt(format_args!("the header of the tip {tip} is missing"));
    let blocks = read_record(store, &tip)?.ok_or_else(lost)?.height;
    let params = genesis.params();

    let place = keep_good(store, params, file, blocks, watch)?;
    let kept = place.as_ref().map_or(0, Place::blocks);
    let mut writer = begin(file, &params.chain_id, place).map_err(CareError::File)?;
    for height in kept.saturating_add(1)..=blocks {
        let (_, block) = block_at(store, params, height)?;
        writer.push(&block.to_bytes()).map_err(CareError::File)?;
        if let Err(interrupted) = tell(watch, height, blocks) {
            writer.flush().map_err(CareError::File)?;
            return Err(interrupted);
        }
    }
    writer.finish().and_then(|_| file.sync_all()).map_err(CareError::File)?;
    Ok(Exported { blocks, kept, tip })
}

fn tell(watch: &mut Watch<'_>, height: u32, blocks: u32) -> Result<(), CareError> {
    let (done, total) = (height.into(), blocks.into());
    go_on(watch(Progress { stage: Stage::ExportBlocks, done, total }))
}

/// Where the part of `file` ends that need not be written again; `None`: nowhere. Each block there
/// is judged as a stored one is: a power cut may have left anything.
fn keep_good(
    store: &impl Read,
    params: &Params,
    mut file: &File,
    blocks: u32,
    watch: &mut Watch<'_>,
) -> Result<Option<Place>, CareError> {
    file.seek(SeekFrom::Start(0)).map_err(CareError::File)?;
    let buffered = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
    let Some(mut reader) = good(Reader::new(buffered, &params.chain_id, params.max_block_bytes))?
    else {
        return Ok(None);
    };
    let mut place = reader.place().clone();
    for height in 1..=blocks {
        let Some(Some(bytes)) = good(reader.next_block())? else { break };
        match open_stored(params, &id_at(store, height)?, &bytes) {
            Ok(block) if block.height() == height => {}
            _ => break,
        }
        place = reader.place().clone();
        tell(watch, height, blocks)?;
    }
    Ok(Some(place))
}

/// What is wrong with the content is no error; `None` then.
fn good<T>(read: Result<T, ChainFileError>) -> Result<Option<T>, CareError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(ChainFileError::Io(error)) => Err(CareError::File(error)),
        Err(_) => Ok(None),
    }
}

/// A writer that stands at `place`, with nothing behind it.
fn begin<'a>(
    mut file: &'a File,
    chain_id: &BlockId,
    place: Option<Place>,
) -> io::Result<Writer<BufWriter<&'a File>>> {
    let bytes = place.as_ref().map_or(0, Place::bytes);
    file.set_len(bytes)?;
    file.seek(SeekFrom::Start(bytes))?;
    let out = BufWriter::with_capacity(FILE_BUFFER_BYTES, file);
    match place {
        Some(place) => Ok(Writer::going_on(out, place)),
        None => Writer::new(out, chain_id),
    }
}
