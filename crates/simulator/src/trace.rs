//! What happened, in order: the fingerprint of a run, and its last lines for whoever must
//! understand a failure.

use std::{collections::VecDeque, fmt, time::Duration};

use ashlar_primitives::BlockId;
use sha2::{Digest, Sha256};

use crate::node::NodeId;

/// How many entries are kept for the account of a failure.
const RECENT_ENTRIES: usize = 60;

/// Of these there are so many that they would hide the rest.
const DULL: [&str; 4] = ["tick", "audit", "status", "asked for status"];

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A connection, request, call or job.
    Number(u64),
    /// A gossip message, by the id of its data.
    Message([u8; 32]),
    /// A block.
    Block(BlockId),
}

impl Subject {
    fn feed(&self, digest: &mut Sha256) {
        let (tag, bytes): (u8, &[u8]) = match self {
            Self::Number(number) => (0, &number.to_le_bytes()),
            Self::Message(id) => (1, id),
            Self::Block(id) => (2, id.as_bytes()),
        };
        digest.update([tag]);
        digest.update(bytes);
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "#{number}"),
            Self::Message(id) => id.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}")),
            // The zeros of an id's proof of work say nothing: its other end tells blocks apart.
            Self::Block(id) => {
                id.as_bytes().iter().take(6).rev().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, from the beginning of the world.
    pub at: Duration,
    /// To whom; `None`: to the world.
    pub node: Option<NodeId>,
    /// What kind of thing.
    pub kind: &'static str,
    /// Which one.
    pub subject: Subject,
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.at.as_secs(), self.at.subsec_micros());
        write!(f, "{seconds:>6}.{micros:06}  ")?;
        match self.node {
            Some(node) => write!(f, "{node:<5}")?,
            None => write!(f, "world")?,
        }
        write!(f, "  {:<22}{}", self.kind, self.subject)
    }
}

/// Everything that happened, as a hash; the latest of it, as text.
#[derive(Debug, Default)]
pub struct Trace {
    digest: Sha256,
    count: u64,
    recent: VecDeque<Entry>,
    printing: bool,
}

impl Trace {
    /// Empty; with `printing`, each entry is written to standard output as it happens.
    pub fn new(printing: bool) -> Self {
        Self { printing, ..Self::default() }
    }

    /// Adds an entry.
    pub fn record(&mut self, entry: Entry) {
        if self.printing {
            println!("{entry}");
        }
        let micros = u64::try_from(entry.at.as_micros()).unwrap_or(u64::MAX);
        self.digest.update(micros.to_le_bytes());
        let node = entry.node.map_or(u64::MAX, |node| node.0 as u64);
        self.digest.update(node.to_le_bytes());
        // No kind holds a zero byte, so that it ends where the subject begins.
        self.digest.update(entry.kind.as_bytes());
        self.digest.update([0]);
        entry.subject.feed(&mut self.digest);
        self.count += 1;
        if DULL.contains(&entry.kind) {
            return;
        }
        if self.recent.len() == RECENT_ENTRIES {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
    }

    /// How many entries there were.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// SHA-256 over every entry so far.
    pub fn hash(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// The latest entries, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = &Entry> {
        self.recent.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &'static str, number: u64) -> Entry {
        let subject = Subject::Number(number);
        Entry { at: Duration::from_millis(1_500), node: Some(NodeId(3)), kind, subject }
    }

    fn hash_of(entries: &[Entry]) -> [u8; 32] {
        let mut trace = Trace::new(false);
        entries.iter().for_each(|entry| trace.record(*entry));
        trace.hash()
    }

    #[test]
    fn every_field_and_the_order_count() {
        let base = entry("tick", 1);
        let others = [
            Entry { at: Duration::from_millis(1_501), ..base },
            Entry { node: None, ..base },
            Entry { node: Some(NodeId(4)), ..base },
            entry("tock", 1),
            entry("tick", 2),
            Entry { subject: Subject::Block(BlockId::ZERO), ..base },
            Entry { subject: Subject::Message([0; 32]), ..base },
        ];
        for other in others {
            assert_ne!(hash_of(&[base]), hash_of(&[other]), "{other}");
            assert_ne!(hash_of(&[base, other]), hash_of(&[other, base]), "{other}");
        }
        assert_eq!(hash_of(&[base]), hash_of(&[base]));
    }

    #[test]
    fn only_the_latest_are_kept() {
        let mut trace = Trace::new(false);
        (0..100).for_each(|number| trace.record(entry("found", number)));
        trace.record(entry("tick", 0));
        assert_eq!(trace.count(), 101);
        assert_eq!(trace.recent().count(), RECENT_ENTRIES);
        assert_eq!(trace.recent().last(), Some(&entry("found", 99)));
    }
}
