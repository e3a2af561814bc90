//! The log of a run: a line of JSON for each thing that was decided, done and found. What was
//! decided is all that a replay needs.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    Report,
    plan::{Ground, Round},
};

/// Longest log that is replayed, in lines.
const MAX_LINES: usize = 1_000_000;

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// How it began.
    Chaos {
        /// What decides everything.
        seed: u64,
        /// What could be chosen from.
        ground: Ground,
    },
    /// What was decided.
    Round(Round),
    /// What happened.
    Event {
        /// When, in milliseconds from the start.
        at_ms: u64,
        /// In words.
        what: String,
    },
    /// How it ended.
    End(Report),
}

/// Why a log can't be replayed.
#[derive(Debug, Error)]
pub enum LogError {
    /// It can't be read or written.
    #[error("the log: {0}")]
    Io(#[from] io::Error),
    /// A line is none of a log.
    #[error("line {line} is no line of such a log: {error}")]
    Line {
        /// Which.
        line: usize,
        /// Why.
        error: serde_json::Error,
    },
    /// It holds no round, or too much.
    #[error("the log holds no round to replay")]
    Empty,
}

/// Writes one.
#[derive(Debug)]
pub(super) struct Log(File);

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        File::create(path).map(Self)
    }

    pub(super) fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.0.write_all(&text)
    }
}

/// The rounds of a log, in order.
///
/// # Errors
/// Where it is none, or has none.
pub fn rounds(path: &Path) -> Result<Vec<Round>, LogError> {
    let mut rounds = Vec::new();
    for (number, line) in BufReader::new(File::open(path)?).lines().take(MAX_LINES).enumerate() {
        let line = serde_json::from_str(&line?);
        match line.map_err(|error| LogError::Line { line: number + 1, error })? {
            Line::Round(round) => rounds.push(round),
            Line::Chaos { .. } | Line::Event { .. } | Line::End(_) => {}
        }
    }
    if rounds.is_empty() { Err(LogError::Empty) } else { Ok(rounds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_reads_the_rounds_that_a_run_wrote() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let ground = Ground { nodes: vec![1, 2, 3], links: vec![(2, 1), (3, 2)], has_clocks: true };
        let made: Vec<_> = (1..=5).map(|number| Round::of(3, number, &ground)).collect();
        let mut log = Log::create(&path).unwrap();
        log.write(&Line::Chaos { seed: 3, ground }).unwrap();
        for round in &made {
            log.write(&Line::Round(round.clone())).unwrap();
            log.write(&Line::Event { at_ms: 1, what: "kill of node 1".to_owned() }).unwrap();
        }
        assert_eq!(rounds(&path).unwrap(), made);
        std::fs::write(&path, "{\"event\":{\"at_ms\":1,\"what\":\"x\"}}\n").unwrap();
        assert!(matches!(rounds(&path), Err(LogError::Empty)));
        std::fs::write(&path, "{\"round\":{}}\n").unwrap();
        assert!(matches!(rounds(&path), Err(LogError::Line { line: 1, .. })));
    }
}
