//! CPU mining: headers that meet a target, found by threads that disturb nobody.
//!
//! It must not know how a block is validated, or what is in one: a header and a target come in, a
//! header goes out (PROTOCOL.md §4, §5). Who makes blocks and submits them is the driver.
//!
//! Reading order: `space.rs` says which headers are tried (the crate `ashlar-sha256d` tries them);
//! `threads.rs` shares the space among threads and replaces work at once; `meter.rs` tells how fast
//! it goes.

mod meter;
mod priority;
mod space;
mod threads;

pub use priority::lower_thread_priority;
pub use space::{SPACE, search};
pub use threads::{BATCH, Found, Miner, Work};

/// How this processor tries nonces, such as `AVX-512`: for logs.
pub fn kernel() -> &'static str {
    ashlar_sha256d::Kernel::fastest().name()
}
