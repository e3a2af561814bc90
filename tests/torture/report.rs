//! What was done, in numbers.

use std::{collections::BTreeMap, fmt, time::Duration};

/// Counts of one kind of torture.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Faults, each with a restart and a comparison after it.
    pub rounds: u32,
    /// Trees of blocks, each on a data directory of its own.
    pub campaigns: u32,
    /// Starts after which everything was compared with the model.
    pub verified: u32,
    /// Checks and exports of the stopped node between two starts.
    pub checked: u32,
    /// Blocks acknowledged.
    pub blocks: usize,
    /// Reorganisations among them, and the deepest.
    pub reorganisations: usize,
    /// Blocks that the deepest took away.
    pub deepest: usize,
    /// What was done, and how often.
    pub deeds: BTreeMap<String, u32>,
    /// The furthest call at which a kind of strike was dealt.
    pub furthest: BTreeMap<String, u32>,
    /// Broken promises.
    pub losses: u32,
    /// Time in all.
    pub time: Duration,
}

impl Tally {
    /// Counts a deed.
    pub fn count(&mut self, deed: impl Into<String>) {
        *self.deeds.entry(deed.into()).or_default() += 1;
    }

    /// Counts a strike at the `nth` call.
    pub fn strike(&mut self, kind: String, nth: u32) {
        let furthest = self.furthest.entry(kind.clone()).or_default();
        *furthest = nth.max(*furthest);
        self.count(kind);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} rounds on {} trees of blocks in {} s: {} restarts verified, {} checks and exports, {} blocks acknowledged, \
             {} reorganisations (up to {} deep), {} losses",
            self.rounds,
            self.campaigns,
            self.time.as_secs(),
            self.verified,
            self.checked,
            self.blocks,
            self.reorganisations,
            self.deepest,
            self.losses,
        )?;
        for (deed, times) in &self.deeds {
            write!(f, "    {times:5} {deed}")?;
            match self.furthest.get(deed) {
                Some(nth) => writeln!(f, " (up to call {nth} of a thread)")?,
                None => writeln!(f)?,
            }
        }
        Ok(())
    }
}
