//! The one definition of every method: the server implements these traits, the clients are made
//! from them, and `docs/rpc.md`, the OpenRPC document of `rpc.discover` and `help` are their text.
//!
//! Names and meanings are Bitcoin Core's where the thing is the same. Parameters go by position
//! or by name. One trait for each topic; `use ashlar_rpc::prelude::*` brings all of them in.
//!
//! # How to add a method
//!
//! 1. Declare it in the trait of its topic, with a doc comment: what it does; under *Parameters*
//!    one entry for each parameter (`` - `name`: meaning ``); under *Errors* one for each error
//!    beside those that any call may meet (`invalid-parameter`, `overloaded`, `timed-out`,
//!    `stopping`, `internal`, and those of the door); under *Example* its parameters as a JSON
//!    array. There `{tip}`, `{block}`, `{txid}` and the like stand for what is so named in the
//!    example's world (`examples/rpc-doc/world.rs`).
//! 2. Name it in [`crate::scope::scope_of`]: who may call it. It can't be called before.
//! 3. Its own types go to the file of the topic in [`crate::types`], each field described.
//! 4. Implement it in `server/handlers/TOPIC.rs`, which hands it to the room that knows its
//!    subject. What needs the engine is an `ashlar_engine::Call`, which `tests/rpc/fake.rs`
//!    answers too; what needs the driver is a method of `server::Backend`.
//! 5. Call it in `tests/rpc/methods.rs`, and run
//!    `cargo run --release -p ashlar-rpc --example rpc-doc`: it makes the call of the example,
//!    and writes `docs/rpc.md` and `crates/rpc/openrpc.json`. A test finds them out of date.

pub mod addresses;
pub mod chain;
pub mod control;
pub mod mempool;
pub mod mining;
pub mod network;
pub mod subscriptions;
pub mod transactions;

pub use addresses::AddressesClient;
pub use chain::ChainClient;
pub use control::ControlClient;
pub use mempool::MempoolClient;
pub use mining::MiningClient;
pub use network::NetworkClient;
pub use subscriptions::SubscriptionsClient;
pub use transactions::TransactionsClient;

#[cfg(feature = "server")]
pub(crate) use {
    addresses::AddressesServer, chain::ChainServer, control::ControlServer, mempool::MempoolServer,
    mining::MiningServer, network::NetworkServer, subscriptions::SubscriptionsServer,
    transactions::TransactionsServer,
};

/// A client of every topic but subscriptions, as a bound.
pub trait ApiClient:
    AddressesClient
    + ChainClient
    + ControlClient
    + MempoolClient
    + MiningClient
    + NetworkClient
    + TransactionsClient
{
}

impl<C> ApiClient for C where
    C: AddressesClient
        + ChainClient
        + ControlClient
        + MempoolClient
        + MiningClient
        + NetworkClient
        + TransactionsClient
{
}
