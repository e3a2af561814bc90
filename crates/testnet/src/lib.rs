//! Private testnets: several real nodes on one machine, on a chain of their own, with blocks, money
//! and trouble by wish. For people the program `ashlar-testnet` (behind `scripts/testnet.sh`), for
//! tests the type [`Testnet`].
//!
//! It knows a node by its program, its configuration file and its RPC interface alone, and nothing
//! of what is inside. No container, and no right that a user does not have.
//!
//! One *keeper* process for each testnet starts and watches the nodes; every verb is a short-lived
//! client that talks to it over a Unix socket in the testnet's folder. A keeper that was killed can
//! be started again and finds its nodes.
//!
//! Reading order: [`mod@file`] (what a person writes), [`presets`] (its chain), [`wallets`],
//! [`mining`], [`mod@clock`], [`layout`] (what lies where), [`control`] (what client and keeper say to
//! each other), [`keeper`], [`saves`], [`reorg`], [`tree`], [`client`], [`render`], [`cli`]; for
//! trouble [`lines`] and [`chaos`].

pub mod chaos;
pub mod cli;
pub mod client;
pub mod clock;
pub mod control;
pub mod error;
mod fault_verbs;
pub mod file;
pub mod keeper;
pub mod layout;
pub mod lines;
mod logs;
pub mod mining;
pub mod netns;
pub mod presets;
pub mod programs;
mod purse;
pub mod render;
pub mod reorg;
pub mod saves;
mod show;
pub mod tree;
pub mod wallets;
mod workshop;

pub use client::Testnet;
pub use error::TestnetError;
pub use file::{NetworkFile, NodeNumber};
