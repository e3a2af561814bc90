//! CPU mining: kernels, threads, work distribution. It must not know how a block is validated.

use std::sync::Arc;

use ashlar_primitives::Header;

/// A header to find a nonce for.
#[derive(Clone, Debug)]
pub struct Work {
    /// Comes back with a found header, so that the driver knows the block.
    pub id: u64,
    pub header: Header,
    /// Little-endian number as bytes, highest first: ids at or below are found.
    pub target: [u8; 32],
}

/// A header that meets its target.
#[derive(Clone, Debug)]
pub struct Found { pub work: u64, pub header: Header }

/// Mining threads, at the lowest priority, never in the rayon pool.
#[derive(Debug)]
pub struct Miner { /* … */ }

impl Miner {
    /// `on_found` is called from a mining thread and must not block.
    pub fn start(threads: usize, on_found: impl Fn(Found) + Send + Sync + 'static) -> Self { todo!() }
    /// Replaces what is worked on; `None` pauses.
    pub fn set_work(&self, work: Option<Work>) { todo!() }
    /// Hashes per second over the last seconds.
    pub fn hash_rate(&self) -> u64 { todo!() }
    /// Stops and joins the threads.
    pub fn stop(self) { todo!() }
}

/// Searches on this thread: for `generatetoaddress` on trivial targets. Tries at most `max_tries`
/// nonces (and rolled versions).
pub fn search(header: Header, target: &[u8; 32], max_tries: u64) -> Option<Header> { todo!() }
