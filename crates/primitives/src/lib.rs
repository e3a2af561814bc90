//! The types of the Ashlar protocol and their one encoding.
//!
//! This crate holds what every other crate talks about: ids, amounts, transactions, blocks,
//! locks and policies, addresses, keys, and the messages of PROTOCOL.md §12. It must not know
//! rules, storage, async or clocks: whether a transaction is *valid* is none of its business,
//! only whether bytes are *one* (§1).
//!
//! Read [`codec`] first (one reader, two traits), then [`hash`], [`transaction`] and [`block`];
//! the rest are leaves.

#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::float_arithmetic,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic
    )
)]

pub mod address;
pub mod amount;
pub mod block;
pub mod codec;
pub mod coin;
pub mod coins;
pub mod compact;
pub mod hash;
pub mod keyed;
pub mod keys;
pub mod lock;
pub mod merkle;
pub mod policy;
pub mod sources;
pub mod transaction;
pub mod wire;

pub use address::{Address, AddressError};
pub use amount::{Amount, Ash, AshError};
pub use block::{Block, Coinbase, Header};
pub use codec::{Decode, DecodeError, Encode};
pub use coin::Coin;
pub use coins::CoinList;
pub use hash::{
    BlockId, CoinbaseId, Commitment, MerkleRoot, PolicyId, PublicKey, SigHash, Signature, Txid,
    Wtxid,
};
pub use keyed::{KeyedMap, KeyedSet};
pub use lock::Lock;
pub use policy::Policy;
pub use sources::{Source, Sources};
pub use transaction::{OutPoint, Output, Transaction, Witness};
