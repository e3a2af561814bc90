//! Keys of the store, made by hand: big-endian where order matters.
//!
//! | family | key | value |
//! | --- | --- | --- |
//! | headers | block id | [`crate::records`] |
//! | blocks | block id | the block, protocol encoding |
//! | undo | block id | [`crate::records`] |
//! | coins | txid ‖ index u16 BE | the coin, protocol encoding |
//! | heights | height u32 BE | block id |
//! | tips | block id | empty |
//! | transactions | txid | [`crate::records`] |
//! | lock_coins | lock ‖ txid ‖ index u16 BE | empty: the coin itself is in `coins` |
//! | lock_history | lock ‖ height u32 BE ‖ position u32 BE | [`crate::records`] |
//! | meta | a name | [`crate::records`] |
//! | meta | `milestone/` ‖ block id | two block ids (`milestones.rs`) |

use std::ops::Bound;

use ashlar_primitives::{BlockId, Encode, Lock, OutPoint, Txid};

use crate::store::StoreError;

/// Names in [`crate::store::Family::Meta`].
pub(crate) mod meta {
    /// Which layout this store has.
    pub(crate) const SCHEMA: &[u8] = b"schema";
    /// The chain's id.
    pub(crate) const CHAIN: &[u8] = b"chain";
    /// Tip, accumulator, counters.
    pub(crate) const STATE: &[u8] = b"state";
    /// Which indexes are complete.
    pub(crate) const INDEXES: &[u8] = b"indexes";
    /// What a reindex is doing; absent while none is.
    pub(crate) const REINDEX: &[u8] = b"reindex";
    /// How far the build of the others has come; absent while none is built.
    pub(crate) const INDEX_BUILD: &[u8] = b"index_build";
    /// The height from which on the chain's bodies are kept; absent: nothing was ever pruned.
    pub(crate) const HISTORY_START: &[u8] = b"history_start";
    /// Bytes of all stored bodies; absent in stores that never counted.
    pub(crate) const BODY_BYTES: &[u8] = b"body_bytes";
    /// Bytes of all stored undo records; absent in stores that never counted.
    pub(crate) const UNDO_BYTES: &[u8] = b"undo_bytes";
    /// Before the id of a milestone.
    pub(crate) const MILESTONE: &[u8] = b"milestone/";
}

/// headers, blocks, undo, tips.
pub(crate) fn block(id: &BlockId) -> Vec<u8> {
    id.0.to_vec()
}

/// meta, of a milestone.
pub(crate) fn milestone(id: &BlockId) -> Vec<u8> {
    [meta::MILESTONE, &id.0].concat()
}

/// The id that [`block`] made a key of, or that a `heights` value is.
pub(crate) fn read_block_id(bytes: &[u8]) -> Result<BlockId, StoreError> {
    let id = bytes.try_into().map_err(|_| StoreError::corrupt("a block id is not 32 bytes"))?;
    Ok(BlockId(id))
}

/// coins. The index is big-endian so that the coins of one transaction lie in order.
pub(crate) fn coin(outpoint: &OutPoint) -> Vec<u8> {
    let mut key = Vec::with_capacity(OutPoint::LEN);
    key.extend_from_slice(&outpoint.txid.0);
    key.extend_from_slice(&outpoint.index.to_be_bytes());
    key
}

/// The inverse of [`coin`].
pub(crate) fn read_coin(key: &[u8]) -> Result<OutPoint, StoreError> {
    let (txid, index) = key
        .split_first_chunk::<32>()
        .and_then(|(txid, index)| Some((*txid, <[u8; 2]>::try_from(index).ok()?)))
        .ok_or_else(|| StoreError::corrupt("the key of a coin is not 34 bytes"))?;
    Ok(OutPoint { txid: Txid(txid), index: u16::from_be_bytes(index) })
}

/// heights.
pub(crate) fn height(height: u32) -> Vec<u8> {
    height.to_be_bytes().to_vec()
}

/// The inverse of [`height`].
pub(crate) fn read_height(key: &[u8]) -> Result<u32, StoreError> {
    let height = key.try_into().map_err(|_| StoreError::corrupt("a height is not 4 bytes"))?;
    Ok(u32::from_be_bytes(height))
}

/// transactions.
pub(crate) fn transaction(txid: &Txid) -> Vec<u8> {
    txid.0.to_vec()
}

/// lock_coins.
pub(crate) fn lock_coin(lock: &Lock, outpoint: &OutPoint) -> Vec<u8> {
    let mut key = lock.to_bytes();
    key.extend(coin(outpoint));
    key
}

/// lock_history: `position` 0 is the coinbase, the transactions follow from 1.
pub(crate) fn lock_history(lock: &Lock, height: u32, position: u32) -> Vec<u8> {
    let mut key = lock.to_bytes();
    key.extend_from_slice(&height.to_be_bytes());
    key.extend_from_slice(&position.to_be_bytes());
    key
}

/// Height and position of a [`lock_history`] key without its lock.
pub(crate) fn read_history_place(suffix: &[u8]) -> Result<(u32, u32), StoreError> {
    let (height, position) = suffix
        .split_first_chunk::<4>()
        .and_then(|(height, position)| Some((*height, <[u8; 4]>::try_from(position).ok()?)))
        .ok_or_else(|| StoreError::corrupt("the key of a history entry is not 41 bytes"))?;
    Ok((u32::from_be_bytes(height), u32::from_be_bytes(position)))
}

/// The end of the range of all keys that start with `prefix`.
pub(crate) fn prefix_end(prefix: &[u8]) -> Bound<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Bound::Excluded(end);
        }
    }
    Bound::Unbounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_sort_by_number() {
        let outpoint = |index| OutPoint { txid: Txid([7; 32]), index };
        assert_eq!(read_coin(&coin(&outpoint(258))).unwrap(), outpoint(258));
        assert!(coin(&outpoint(255)) < coin(&outpoint(256)));
        assert_eq!(read_height(&height(0x0102_0304)).unwrap(), 0x0102_0304);
        assert!(height(255) < height(256));
        let lock = Lock { version: 1, program: [9; 32] };
        let entry = lock_history(&lock, 300, 5);
        assert_eq!(read_history_place(&entry[Lock::LEN..]).unwrap(), (300, 5));
        assert!(entry < lock_history(&lock, 300, 256) && entry < lock_history(&lock, 301, 0));
        assert!(read_coin(&[0; 33]).is_err() && read_height(&[0; 5]).is_err());
    }

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(&[1, 2]), Bound::Excluded(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 255, 255]), Bound::Excluded(vec![2]));
        assert_eq!(prefix_end(&[255]), Bound::Unbounded);
    }
}
