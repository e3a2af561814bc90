//! The server on a real port, over a node without network or engine: see [`fake`].

#![allow(clippy::unwrap_used, reason = "tests")]

mod doc;
mod doors;
mod fake;
mod limits;
mod methods;
mod subscriptions;
mod waiting;
