//! The ledger: header tree, fork choice, coins, bodies, undo, indexes, reorganisation, views.
//!
//! It must not know peers or mempool policy. Storage is behind [`Store`]; what the rules decide
//! is `ashlar_consensus`'s.
//!
//! Reading order: [`store`] is the boundary to disks, [`tree`] the choice between branches, free
//! of storage; [`ledger`] is driven one move at a time (`moves` holds those that shift the tip, a
//! `step` what they change until it is committed, `layered` how that is read meanwhile); [`view`]
//! is what readers see. `keys` and [`records`] say how everything lies on disk.

mod ahead;
mod assumed;
mod bodies;
#[cfg(feature = "canaries")]
pub mod canary;
pub mod care;
pub mod chain_file;
mod frozen;
mod fuse;
mod headers;
mod index;
mod keys;
mod layered;
pub mod ledger;
#[cfg(feature = "rocksdb")]
mod log_files;
#[cfg(feature = "rocksdb")]
mod log_sync;
#[cfg(feature = "rocksdb")]
mod marker;
pub mod memory;
mod milestones;
mod moved;
mod moves;
mod offer;
mod open;
mod orders;
mod prune;
pub mod records;
#[cfg(feature = "rocksdb")]
pub mod rocks;
mod route;
mod step;
pub mod store;
pub mod stored;
pub mod tree;
pub mod view;
mod wanted;

pub use ledger::{
    BodyStored, Completed, HeaderAccepted, HeaderRefusal, Ledger, Move, OpenLedgerError,
    OpenWarning, Settings, WalkedBlock,
};
pub use memory::MemoryStore;
pub use moved::{MovedBlock, Published};
pub use moves::CATCHING_UP_BLOCKS;
pub use offer::Offered;
pub use open::stored_chain;
pub use orders::HeldBranch;
pub use prune::History;
#[cfg(feature = "rocksdb")]
pub use rocks::{RocksOptions, RocksReader, RocksStore};
pub use store::{Announced, Batch, Direction, Durability, Family, Marker, Read, Store, StoreError};
pub use stored::Stored;
pub use view::View;
