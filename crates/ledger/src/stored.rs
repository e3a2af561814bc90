//! Every kind of stored key and value, read and written again.
//!
//! For whoever doubts what a disk gave back (fuzzing, tests of damage), so that the functions
//! behind it stay the ledger's own.

use ashlar_primitives::{Encode as _, Lock};

use crate::{
    keys,
    records::{self, HeaderRecord, HistoryRecord, IndexRecord, StateRecord, TransactionRecord},
    store::StoreError,
};

/// What stored bytes are meant to be ([`crate::Family`] says where each lies).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A header and what the tree knows of it.
    Header,
    /// The coins that a block spent.
    Undo,
    /// Tip, accumulator, counters.
    State,
    /// Which indexes are complete.
    Indexes,
    /// The schema number.
    Schema,
    /// Where a transaction was confirmed.
    Transaction,
    /// What a transaction did to a lock.
    History,
    /// A coin.
    Coin,
    /// A block id, as key or value.
    BlockId,
    /// The key of a coin.
    CoinKey,
    /// A height, as key.
    HeightKey,
    /// Height and position in the key of a history entry, behind its lock.
    HistoryPlace,
}

impl Stored {
    /// Every kind.
    pub const ALL: [Self; 12] = [
        Self::Header,
        Self::Undo,
        Self::State,
        Self::Indexes,
        Self::Schema,
        Self::Transaction,
        Self::History,
        Self::Coin,
        Self::BlockId,
        Self::CoinKey,
        Self::HeightKey,
        Self::HistoryPlace,
    ];

    /// Reads the bytes as this kind and writes what was read: the same bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where they are nothing that the ledger wrote.
    pub fn rewrite(self, bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
        Ok(match self {
            Self::Header => HeaderRecord::from_value(bytes)?.to_value(),
            Self::Undo => records::undo_value(&records::read_undo(bytes)?),
            Self::State => StateRecord::from_value(bytes)?.to_value(),
            Self::Indexes => IndexRecord::from_value(bytes)?.to_value(),
            Self::Schema => records::schema_value(records::read_schema(bytes)?),
            Self::Transaction => TransactionRecord::from_value(bytes)?.to_value(),
            Self::History => HistoryRecord::from_value(bytes)?.to_value(),
            Self::Coin => records::read_coin(bytes)?.to_bytes(),
            Self::BlockId => keys::block(&keys::read_block_id(bytes)?),
            Self::CoinKey => keys::coin(&keys::read_coin(bytes)?),
            Self::HeightKey => keys::height(keys::read_height(bytes)?),
            Self::HistoryPlace => {
                let (height, position) = keys::read_history_place(bytes)?;
                let lock = Lock { version: Lock::KEY, program: [0; 32] };
                keys::lock_history(&lock, height, position).split_off(Lock::LEN)
            }
        })
    }
}
