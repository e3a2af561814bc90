//! The server on a real port, over a node without network or engine: see [`fake`].

#![allow(clippy::unwrap_used, reason = "tests")]

mod chain;
mod dialects;
mod doc;
mod doors;
mod fake;
#[path = "../../examples/rpc-doc/generator/mod.rs"]
mod generator;
mod hostile;
mod limits;
mod methods;
mod raw_socket;
mod running;
mod streams;
mod subscriptions;
mod tls;
mod tokens;
mod waiting;
mod websocket;
