//! The ledger: header tree, fork choice, coins, bodies, undo, indexes, reorganisation, views.
//!
//! It must not know peers or mempool policy. Storage is behind [`Store`]; what the rules decide
//! is `ashlar_consensus`'s. Reading order: [`store`] (the boundary to disks), [`tree`] (free of
//! storage), [`ledger`] (one move at a time), [`view`] (what readers see).

pub mod ledger;
pub mod memory;
pub mod records;
#[cfg(feature = "rocksdb")]
pub mod rocks;
pub mod store;
pub mod tree;
pub mod view;

pub use ledger::{BodyStored, HeaderAccepted, HeaderRefusal, Ledger, Move, MovedBlock, Completed, Offered, OpenLedgerError, Published, Settings, WalkedBlock};
pub use memory::MemoryStore;
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksStore};
pub use store::{Batch, Direction, Durability, Family, Read, Store, StoreError};
pub use view::View;
