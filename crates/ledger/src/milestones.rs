//! Short cuts down long branches, so that an ancestor is found in a few dozen reads however far
//! below it lies.
//!
//! A *milestone* is a block whose height is a multiple of [`SPACING_BLOCKS`]. Beside its header
//! two ancestors are kept: the milestone before it, and one that lies the further below the rounder
//! its own number is (the lowest set bit of that number cleared), as in a Fenwick tree. What lies
//! below a block never changes, so that a row once written is right for ever. Where one is missing,
//! as in data directories of earlier releases, the way goes from parent to parent: slower, the same.

use ashlar_primitives::BlockId;

use crate::{
    keys,
    store::{Family, Read, StoreError},
};

/// Blocks from one milestone to the next.
pub(crate) const SPACING_BLOCKS: u32 = 64;

/// A block by its id, and the height that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) id: BlockId,
    pub(crate) height: u32,
}

/// The ancestors that are kept beside a milestone's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortCuts {
    /// At [`far_height`].
    pub(crate) far: BlockId,
    /// The milestone before.
    pub(crate) before: BlockId,
}

impl ShortCuts {
    pub(crate) fn to_value(self) -> Vec<u8> {
        [self.far.0, self.before.0].concat()
    }

    fn from_value(value: &[u8]) -> Result<Self, StoreError> {
        let (far, before) = value.split_at_checked(32).unwrap_or((value, &[]));
        Ok(Self { far: keys::read_block_id(far)?, before: keys::read_block_id(before)? })
    }
}

/// Whether blocks of this height have short cuts: the genesis block has nowhere to go.
pub(crate) const fn is_milestone(height: u32) -> bool {
    height > 0 && height.is_multiple_of(SPACING_BLOCKS)
}

/// The height of the milestone before one.
pub(crate) const fn height_before(height: u32) -> u32 {
    height.saturating_sub(SPACING_BLOCKS)
}

/// The height to which a milestone's far short cut leads.
pub(crate) const fn far_height(height: u32) -> u32 {
    // The spacing is a power of two, so that the lowest bit of the number is that of the height.
    height & height.saturating_sub(1)
}

/// The short cuts of a block, where it is a milestone and they are stored.
pub(crate) fn read(
    store: &(impl Read + ?Sized),
    place: Place,
) -> Result<Option<ShortCuts>, StoreError> {
    if !is_milestone(place.height) {
        return Ok(None);
    }
    let value = store.get(Family::Meta, &keys::milestone(&place.id))?;
    value.map(|value| ShortCuts::from_value(&value)).transpose()
}

/// One step down from a block that is not the genesis block: to the lowest of its short cuts that
/// `may` be taken, else to its parent, whatever `may` says of that.
pub(crate) fn lower(
    at: Place,
    cuts: Option<ShortCuts>,
    parent: impl FnOnce() -> Result<BlockId, StoreError>,
    mut may: impl FnMut(Place) -> Result<bool, StoreError>,
) -> Result<Place, StoreError> {
    if let Some(ShortCuts { far, before }) = cuts {
        let far = Place { id: far, height: far_height(at.height) };
        let before = Place { id: before, height: height_before(at.height) };
        for place in [far, before] {
            if may(place)? {
                return Ok(place);
            }
        }
    }
    let height = at.height.checked_sub(1).ok_or_else(|| {
        StoreError::corrupt(format_args!("the way down from block {} has no end", at.id))
    })?;
    Ok(Place { id: parent()?, height })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_cuts_lead_to_rounder_milestones() {
        assert_eq!([64, 128, 192, 320].map(far_height), [0, 0, 128, 256]);
        assert_eq!([64, 128, 192, 320].map(height_before), [0, 64, 128, 256]);
        assert!(!is_milestone(0) && is_milestone(64) && !is_milestone(65));
    }

    /// From any height to any other below in about two logarithms and two spacings.
    #[test]
    fn any_ancestor_is_a_few_steps_away() {
        let name = |height: u32| {
            let mut id = BlockId::ZERO;
            id.0[..4].copy_from_slice(&height.to_be_bytes());
            id
        };
        for (from, to) in [(1_000_000, 0), (1_000_000, 1), (999_999, 37), (640_001, 639_997)] {
            let (mut at, mut steps) = (Place { id: name(from), height: from }, 0);
            while at.height > to {
                let cuts = is_milestone(at.height).then(|| ShortCuts {
                    far: name(far_height(at.height)),
                    before: name(height_before(at.height)),
                });
                let parent = || Ok(name(at.height - 1));
                at = lower(at, cuts, parent, |place| Ok(place.height >= to)).unwrap();
                assert_eq!(at.id, name(at.height));
                steps += 1;
            }
            assert_eq!(at.height, to);
            assert!(steps < 2 * SPACING_BLOCKS + 64, "{from} to {to}: {steps} steps");
        }
    }

    #[test]
    fn short_cuts_are_read_back() {
        let cuts = ShortCuts { far: BlockId([1; 32]), before: BlockId([2; 32]) };
        assert_eq!(ShortCuts::from_value(&cuts.to_value()).unwrap(), cuts);
        for length in [0, 31, 32, 63] {
            assert!(ShortCuts::from_value(&cuts.to_value()[..length]).is_err());
        }
    }
}
