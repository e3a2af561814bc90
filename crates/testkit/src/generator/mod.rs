//! Random chains that drive the slow model and a ledger side by side.
//!
//! A chain is a number under a seed, and the same on every run. Its blocks are valid or wrong in
//! one place, on many branches, and come in whatever order: headers first, bodies late, parents
//! after children, twice, changed on the way, before their time. Now and then an operator takes a
//! block away or gives it back, and the ledger is stopped and started with other settings. After
//! each step both must say the same ([`pair`]).
//!
//! Reading order: [`story`] is what happens; [`world`] and [`wallet`] write blocks, [`spoil`] makes
//! them wrong; [`tally`] says what a run must reach.

pub mod pair;
pub mod spoil;
pub mod story;
pub mod tally;
pub mod wallet;
pub mod world;

use std::{
    fmt,
    panic::{self, AssertUnwindSafe},
};

use ashlar_ledger::{MemoryStore, Store};
use rand::SeedableRng as _;

pub use self::{pair::Open, tally::Tally};

/// Of everything here. It is cryptographic because the batch verifier asks for one that is.
pub type Random = rand_chacha::ChaCha8Rng;

/// A chain on which model and ledger differ, or one of them panicked.
#[derive(Clone, Debug)]
pub struct Disagreement {
    /// Of the run.
    pub seed: u64,
    /// Its number.
    pub chain: u64,
    /// What happened up to there.
    pub story: Vec<String>,
    /// Who said what.
    pub difference: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.story {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "{}", self.difference)?;
        write!(
            f,
            "replay: cargo run --release -p ashlar-testkit --example model -- --seed {} --chain {}",
            self.seed, self.chain
        )
    }
}

/// The generator of one chain of a seed.
fn random(seed: u64, chain: u64) -> Random {
    let mut random = Random::seed_from_u64(seed);
    random.set_stream(chain);
    random
}

/// Lives through one chain with a ledger over the store that `open` opens.
///
/// # Errors
/// The first difference between model and ledger.
pub fn run_on<S: Store>(
    seed: u64,
    chain: u64,
    open: &mut Open<'_, S>,
) -> Result<Tally, Box<Disagreement>> {
    let mut told = Vec::new();
    let life = AssertUnwindSafe(|| story::live(random(seed, chain), open, &mut told));
    let end = panic::catch_unwind(life)
        .unwrap_or_else(|_| Err("a panic (its message is above)".to_owned()));
    end.map_err(|difference| Box::new(Disagreement { seed, chain, story: told, difference }))
}

/// [`run_on`] a store in memory.
///
/// # Errors
/// The first difference between model and ledger.
pub fn run(seed: u64, chain: u64) -> Result<Tally, Box<Disagreement>> {
    let store = std::sync::Arc::new(MemoryStore::new());
    run_on(seed, chain, &mut || Ok(std::sync::Arc::clone(&store)))
}
