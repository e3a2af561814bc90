//! Real `ashlar-node` processes: started, watched, called and ended, for whatever tests or
//! measures whole nodes; and the lines between them, of which testnets are made, too. Never part of
//! a node or a wallet.
//!
//! It knows a node by its command line, its `run.json`, RPC and peers' port alone, and nothing of
//! what is inside. Every wait is a bounded poll of a condition.
//!
//! Reading order: [`node`] (a process and how it is started), [`rpc`] (calls to it), [`tips`]
//! (when each of several nodes moved its tip), [`relay`] (lines between them, as bad as wanted).

pub mod node;
pub mod relay;
pub mod rpc;
pub mod tips;

use std::{
    env,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

pub use node::{Launch, Process};
pub use relay::{Link, Relay, Shape};
pub use rpc::Rpc;
pub use tips::{TipMoved, Tips};

/// Longest that a node may take to start, to stop, or to reach a tip.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(3);

/// Polls until there is a value or patience ends.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    wait_at_most(PATIENCE, &mut look)
}

/// The same with another patience.
pub fn wait_at_most<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(value) = look() {
            return Some(value);
        }
        if Instant::now() > deadline {
            return None;
        }
        thread::sleep(POLL);
    }
}

/// A program of the profile that the calling one was built in: beside it, or above it where tests
/// are.
///
/// # Errors
/// What to do where it is not there.
pub fn binary(name: &str) -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let places = own.ancestors().skip(1).take(2);
    let found = places.map(|folder| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| {
        let command = "cargo build --release --workspace --bins";
        format!("{name} is not beside {}; run `{command}` first", own.display())
    })
}
