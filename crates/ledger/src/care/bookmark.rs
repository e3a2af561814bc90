//! Where an interrupted check goes on.
//!
//! A check reads a store and writes nothing to it, so how far it has come is kept by whoever calls
//! it, as a few kilobytes beside the store. The parts that are quick (headers, heights) are done
//! again each time; those that read every body, coin or block go on after the last one.

use ashlar_consensus::UtxoAccumulator;
use sha2::{Digest as _, Sha256};

use super::check::{Depth, Finding, Report};
use crate::records::{BookmarkRecord, Totals};

/// How the bytes of a bookmark begin; the layout is another with another last byte.
const MAGIC: [u8; 13] = *b"ASHLARCHECK\n\x01";

/// Length of the SHA-256 at the end.
const SUM_BYTES: usize = 32;

/// The parts of a check in the order in which they are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Headers, tips, heights: done again by each check.
    Headers,
    /// All stored bodies, for themselves.
    Bodies,
    /// All coins.
    Coins,
    /// Blocks undone or replayed.
    Blocks,
}

impl Part {
    const ALL: [Self; 4] = [Self::Headers, Self::Bodies, Self::Coins, Self::Blocks];
}

/// How far a check has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bookmark {
    pub(super) depth: Depth,
    pub(super) version: u64,
    pub(super) part: Part,
    /// The last key that is done, where a part goes through a family; empty before the first.
    pub(super) last: Vec<u8>,
    /// The block that was undone or replayed last; 0 before the first.
    pub(super) height: u32,
    /// Of the coins that were summed so far; else of those after (or before) that block.
    pub(super) utxo: UtxoAccumulator,
    /// The same, counted.
    pub(super) totals: Totals,
    /// Entries that the replayed blocks make in the transaction index and in the history of locks.
    pub(super) rows: (u64, u64),
    /// What the parts after the first found so far.
    pub(super) report: Report,
}

/// Why a check begins anew although one was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// It was no check as deep as this one.
    #[error("the check that was interrupted was of another depth")]
    Depth,
    /// A node ran meanwhile, or a reindex, or an import.
    #[error("the ledger was written to since the check was interrupted")]
    Version,
}

impl Bookmark {
    pub(super) fn new(depth: Depth, version: u64) -> Self {
        Self {
            depth,
            version,
            part: Part::Headers,
            last: Vec::new(),
            height: 0,
            utxo: UtxoAccumulator::empty(),
            totals: Totals::default(),
            rows: (0, 0),
            report: Report::default(),
        }
    }

    /// Begins a part at its beginning, or stays where it is in it; `false` where it is done.
    pub(super) fn enter(&mut self, part: Part) -> bool {
        if self.part < part {
            let report = std::mem::take(&mut self.report);
            *self = Self { part, report, ..Self::new(self.depth, self.version) };
        }
        self.part == part
    }

    /// Whether a check of this depth, of the store as it is at this version, can go on from here.
    ///
    /// # Errors
    /// Why not.
    pub fn fits(&self, depth: Depth, version: u64) -> Result<(), Misfit> {
        match (self.depth == depth, self.version == version) {
            (false, _) => Err(Misfit::Depth),
            (true, false) => Err(Misfit::Version),
            (true, true) => Ok(()),
        }
    }

    /// What [`Bookmark::from_bytes`] reads.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = BookmarkRecord {
            blocks: match self.depth {
                Depth::Blocks(blocks) => Some(blocks),
                Depth::Full => None,
            },
            version: self.version,
            part: self.part as u8,
            last: self.last.clone(),
            height: self.height,
            utxo: self.utxo.clone(),
            totals: self.totals,
            rows: self.rows,
            counted: (self.report.coins, self.report.blocks, self.report.unlisted),
            findings: self.report.findings.iter().map(|finding| finding.what.clone()).collect(),
            remedies: self.report.findings.iter().map(|finding| finding.remedy as u8).collect(),
        };
        let mut bytes = [MAGIC.as_slice(), &record.to_value()].concat();
        bytes.extend(Sha256::digest(&bytes));
        bytes
    }

    /// `None` where these bytes are no bookmark of this release, or not all of one: then a check
    /// begins anew.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (content, sum) = bytes.split_at_checked(bytes.len().checked_sub(SUM_BYTES)?)?;
        if Sha256::digest(content).as_slice() != sum {
            return None;
        }
        let record = BookmarkRecord::from_value(content.strip_prefix(&MAGIC)?).ok()?;
        let remedies = record.remedies.iter().map(|remedy| super::Remedy::from_number(*remedy));
        let findings = record.findings.into_iter().zip(remedies);
        let findings = findings.map(|(what, remedy)| Some(Finding { what, remedy: remedy? }));
        let (coins, blocks, unlisted) = record.counted;
        Some(Self {
            depth: record.blocks.map_or(Depth::Full, Depth::Blocks),
            version: record.version,
            part: Part::ALL.into_iter().find(|part| *part as u8 == record.part)?,
            last: record.last,
            height: record.height,
            utxo: record.utxo,
            totals: record.totals,
            rows: record.rows,
            report: Report {
                coins,
                blocks,
                unlisted,
                findings: findings.collect::<Option<_>>()?,
                ..Report::default()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::care::Remedy;

    fn bookmark(depth: Depth, part: Part) -> Bookmark {
        let finding = |remedy| Finding { what: "a coin".to_owned(), remedy };
        let findings = vec![finding(Remedy::Resync), finding(Remedy::Reindex)];
        Bookmark {
            part,
            last: vec![1, 2, 3],
            height: 4,
            totals: Totals { coins: 5, ..Totals::default() },
            rows: (6, 7),
            report: Report { coins: 8, blocks: 9, unlisted: 10, findings, ..Report::default() },
            ..Bookmark::new(depth, 11)
        }
    }

    #[test]
    fn what_was_kept_is_read_and_damage_is_no_bookmark() {
        for depth in [Depth::Full, Depth::Blocks(0), Depth::Blocks(u32::MAX)] {
            for part in Part::ALL {
                let kept = bookmark(depth, part);
                assert_eq!(Bookmark::from_bytes(&kept.to_bytes()), Some(kept));
            }
        }
        let bytes = bookmark(Depth::Full, Part::Coins).to_bytes();
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert_eq!(Bookmark::from_bytes(&damaged), None, "byte {place}");
            assert_eq!(Bookmark::from_bytes(&bytes[..place]), None, "cut at {place}");
        }
    }

    #[test]
    fn a_part_begins_once_and_only_the_same_check_goes_on() {
        let mut kept = bookmark(Depth::Full, Part::Coins);
        assert!(!kept.enter(Part::Bodies) && kept.enter(Part::Coins));
        assert_eq!(kept, bookmark(Depth::Full, Part::Coins));
        assert!(kept.enter(Part::Blocks));
        assert_eq!((kept.height, kept.last.len(), kept.report.findings.len()), (0, 0, 2));
        assert_eq!(kept.fits(Depth::Full, 11), Ok(()));
        assert_eq!(kept.fits(Depth::Full, 12), Err(Misfit::Version));
        assert_eq!(kept.fits(Depth::Blocks(5), 12), Err(Misfit::Depth));
    }
}
