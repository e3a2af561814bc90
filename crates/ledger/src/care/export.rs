//! The best chain into a file.

use std::io::Write;

use ashlar_consensus::Genesis;
use ashlar_primitives::BlockId;

use super::{CareError, Progress, Stage, Watch, block_at, check_owner, go_on, history_start};
use crate::{
    chain_file::Writer,
    headers::read_record,
    keys::meta,
    ledger::OpenLedgerError,
    records::StateRecord,
    store::{Family, Read, StoreError},
};

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Blocks, from height 1 up.
    pub blocks: u32,
    /// The last of them; genesis where there is none.
    pub tip: BlockId,
}

/// Writes the best chain from height 1 up ([`crate::chain_file`]), each body compared with its
/// header first. Changes nothing in the store.
///
/// # Errors
/// [`CareError::Pruned`]; [`StoreError::Corrupt`] where a body is damaged;
/// [`CareError::Interrupted`], after which the file has no end; [`CareError::Write`].
pub fn export(
    store: &impl Read,
    genesis: &Genesis,
    out: impl Write,
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
    let mut writer = Writer::new(out, &genesis.params().chain_id).map_err(CareError::Write)?;
    for height in 1..=blocks {
        let (_, block) = block_at(store, genesis.params(), height)?;
        writer.push(&block.to_bytes()).map_err(CareError::Write)?;
        let (done, total) = (height.into(), blocks.into());
        go_on(watch(Progress { stage: Stage::ExportBlocks, done, total }))?;
    }
    writer.finish().map_err(CareError::Write)?;
    Ok(Exported { blocks, tip })
}
