//! How deep a block is buried, by work: confirmations are cheap while a chain is relieved
//! (PROTOCOL.md §5).

use ashlar_consensus::{Target, Work, difficulty::normal_target};
use ashlar_ledger::{View, view::StoredHeader};

use super::decoded::stored_header;
use crate::error::RpcError;

/// Over how many of the last blocks an operator is warned of relief.
const WARNING_BLOCKS: u32 = 20;

/// The work from a block of the best chain up to the tip, its own counted, in blocks of normal
/// difficulty as the next block would have it; to the thousandth.
pub(super) fn confirmed_work(view: &View, stored: &StoredHeader) -> f64 {
    let (tip, work_of) =
        (view.tip(), |bits| Target::from_bits(bits).map_or(Work::ZERO, Target::work));
    let above = tip.work.saturating_sub(stored.work);
    in_blocks(
        above.saturating_add(work_of(stored.header.bits)),
        work_of(tip.normal_bits(view.params())),
    )
}

fn in_blocks(work: Work, block: Work) -> f64 {
    // Off by a part in 2^50 at most, far below the thousandth shown.
    let number = |work: Work| {
        work.to_be_bytes().iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))
    };
    let blocks = number(work) / number(block).max(1.0);
    (blocks * 1_000.0).round() / 1_000.0
}

/// Whether stall relief made a block easier than the schedule asks.
pub(super) fn is_relieved(view: &View, stored: &StoredHeader) -> Result<bool, RpcError> {
    if stored.height == 0 {
        return Ok(false);
    }
    let parent = stored_header(view, &stored.header.parent)?;
    Ok(normal_target(view.params(), parent.lag).to_bits() != stored.header.bits)
}

/// What to tell an operator while relief is recent.
pub(super) fn relief_warning(view: &View) -> Result<Option<String>, RpcError> {
    let (mut id, mut relieved) = (view.tip().id, 0_u32);
    for _ in 0..WARNING_BLOCKS {
        let stored = stored_header(view, &id)?;
        if stored.height == 0 {
            break;
        }
        relieved = relieved.saturating_add(is_relieved(view, &stored)?.into());
        id = stored.header.parent;
    }
    Ok((relieved > 0).then(|| {
        format!(
            "{relieved} of the last {WARNING_BLOCKS} blocks were made easier by stall relief: hash \
             power has left, and confirmations are cheap; judge payments by confirmed_work"
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_told_in_blocks_to_the_thousandth() {
        let work = |low: u8, high: u8| {
            let mut bytes = [0; 32];
            (bytes[0], bytes[31]) = (low, high);
            Work::from_le_bytes(bytes)
        };
        assert_eq!(in_blocks(work(7, 0), work(2, 0)), 3.5);
        assert_eq!(in_blocks(work(2, 0), work(3, 0)), 0.667);
        assert_eq!(in_blocks(work(0, 200), work(0, 100)), 2.0);
        assert_eq!(in_blocks(work(0, 0), work(0, 0)), 0.0);
    }
}
