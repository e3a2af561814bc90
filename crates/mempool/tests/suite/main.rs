//! The mempool over a real chain: policy by policy, and against a slow model that is obvious.

#![allow(clippy::unwrap_used, reason = "tests")]

mod leaving;
mod model;
mod policy;
mod priority;
mod replacement;
mod room;
mod selection;
mod tip;
mod world;
