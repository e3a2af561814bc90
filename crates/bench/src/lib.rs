//! How fast the node's rooms are, beside what this machine can do at best: measured in the same
//! run, so that what is read is a ratio.
//!
//! Never a part of the node. It drives the ledger as the node does and knows nothing that a
//! driver does not know; code here may panic where a valid chain is refused, for then there is
//! nothing to measure.
//!
//! Reading order: [`report`] is the table; [`maker`] and [`payments`] make chains from a seed;
//! [`drive`] moves a ledger along them. Each part of the table is one module, listed in
//! [`parts::PARTS`]: [`connect`], [`kinds`], [`reorganise`], [`worst`] (its blocks are made in [`shapes`]);
//! [`bounds`] is what they are measured against. [`accept`], [`sustained`], [`sync`], [`relay`],
//! [`partition`], [`calls`], [`mod@rpc`] and [`memory`] measure real nodes, started by [`nodes`] and
//! called over [`http`] where the caller's own time would count; [`purse`] is what they are paid
//! from. [`start`] and [`mine`] are a node's start and its mining threads.
//!
//! [`growth`] draws how costs grow ([`plot`]); [`count`] goes single paths for a tool that counts
//! instructions.

pub mod accept;
pub mod bounds;
pub mod calls;
pub mod connect;
pub mod copy;
pub mod count;
pub mod drive;
pub mod growth;
pub mod http;
pub mod kinds;
pub mod maker;
pub mod memory;
pub mod mine;
pub mod nodes;
pub mod partition;
pub mod parts;
pub mod payments;
pub mod plot;
pub mod purse;
pub mod relay;
pub mod reorganise;
pub mod report;
pub mod rpc;
pub mod shapes;
pub mod start;
pub mod sustained;
pub mod sync;
pub mod timing;
mod workload;
pub mod worst;

/// Why a benchmark can't go on: always for the person who runs it.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
