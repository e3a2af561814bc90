//! The table: `what | measured | bound or peer | ratio`, for people and as JSON.

use std::{fmt, fs};

use serde::Serialize;

use crate::plot::Plot;

/// A measured value in its unit.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// How many.
    pub value: f64,
    /// Of what, such as `payments/s`.
    pub unit: &'static str,
}

impl Figure {
    /// A value in a unit.
    pub const fn new(value: f64, unit: &'static str) -> Self {
        Self { value, unit }
    }
}

impl fmt::Display for Figure {
    /// Whole where that says enough, with digits behind the point where it would say too little.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.value.abs() {
            value if value >= 1_000.0 => 0,
            value if value >= 10.0 => 1,
            _ => 3,
        };
        write!(f, "{} {}", grouped(&format!("{:.digits$}", self.value)), self.unit)
    }
}

/// Thousands apart.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_once('.').map_or((number, None), |(w, r)| (w, Some(r)));
    let mut text = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place) % 3 == 0 && text != "-" {
            text.push(',');
        }
        text.push(digit);
    }
    rest.map_or(text.clone(), |rest| format!("{text}.{rest}"))
}

/// What a row is measured against: a bound of this machine, a peer, or the same work at half size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// What it is.
    pub what: String,
    /// Measured in the same run, or a fixed bound.
    pub figure: Figure,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The part of the benchmark.
    pub part: &'static str,
    /// The path measured.
    pub what: String,
    /// What came of it.
    pub measured: Figure,
    /// The same in another unit, for people.
    pub note: Option<String>,
    /// What it is held against.
    pub peer: Option<Peer>,
    /// Measured over peer.
    pub ratio: Option<f64>,
    /// The ratio over which the benchmark fails.
    pub at_most: Option<f64>,
    /// The ratio under which the benchmark fails.
    pub at_least: Option<f64>,
}

impl Row {
    /// A row without peer.
    pub fn new(part: &'static str, what: impl Into<String>, measured: Figure) -> Self {
        let what = what.into();
        Self {
            part,
            what,
            measured,
            note: None,
            peer: None,
            ratio: None,
            at_most: None,
            at_least: None,
        }
    }

    /// The same with a remark beside the measured value.
    #[must_use]
    pub fn note(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }

    /// The same against a peer in the same unit.
    #[must_use]
    pub fn against(self, what: impl Into<String>, figure: Figure) -> Self {
        let ratio = Some(self.measured.value / figure.value);
        Self { peer: Some(Peer { what: what.into(), figure }), ratio, ..self }
    }

    /// The same where the ratio is the median of several, each of one round.
    #[must_use]
    pub fn against_paired(self, what: impl Into<String>, figure: Figure, ratio: f64) -> Self {
        Self { ratio: Some(ratio), ..self.against(what, figure) }
    }

    /// The same, a failure where the ratio is larger.
    #[must_use]
    pub fn at_most(self, limit: f64) -> Self {
        Self { at_most: Some(limit), ..self }
    }

    /// The same, a failure where the ratio is smaller.
    #[must_use]
    pub fn at_least(self, limit: f64) -> Self {
        Self { at_least: Some(limit), ..self }
    }

    /// How the ratio misses its target, where it does.
    pub fn miss(&self) -> Option<&'static str> {
        let ratio = self.ratio?;
        if self.at_most.is_some_and(|limit| ratio > limit) {
            Some("over")
        } else if self.at_least.is_some_and(|limit| ratio < limit) {
            Some("under")
        } else {
            None
        }
    }
}

/// Where this ran: without it no figure says anything.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// As the system names it.
    pub processor: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Processes that wanted to run over the last minute, when the benchmark began: over a
    /// fraction of the cores, the figures are of a shared machine.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn here() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned());
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { processor, cores, load }
    }
}

/// All that a run found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where.
    pub machine: Machine,
    /// From what.
    pub seed: u64,
    /// Whether it was the small form, whose figures say nothing.
    pub is_quick: bool,
    /// In the order of measuring.
    pub rows: Vec<Row>,
    /// Curves, of parts that draw them.
    pub plots: Vec<Plot>,
}

impl Report {
    /// Takes a row in, and tells it on stderr: a benchmark of minutes shows that it lives.
    pub fn push(&mut self, row: Row) {
        eprintln!("  {}: {}", row.what, row.measured);
        self.rows.push(row);
    }

    /// The rows that miss their target, each with how.
    pub fn failures(&self) -> impl Iterator<Item = (&Row, &'static str)> {
        self.rows.iter().filter_map(|row| Some((row, row.miss()?)))
    }
}

impl fmt::Display for Report {
    /// A table in Markdown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, cores, load } = &self.machine;
        writeln!(f, "{processor}, {cores} cores, load {load} at the start, seed {}\n", self.seed)?;
        let mut cells: Vec<[String; 4]> = Vec::new();
        for row in &self.rows {
            let note = row.note.as_ref().map_or(String::new(), |note| format!(" ({note})"));
            let peer = row.peer.as_ref();
            let ratio = row.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
            let most = row.at_most.map_or(String::new(), |limit| format!(" (≤ {limit})"));
            let least = row.at_least.map_or(String::new(), |limit| format!(" (≥ {limit})"));
            let miss = row.miss().map_or(String::new(), |how| format!(" **{how}**"));
            cells.push([
                row.what.clone(),
                format!("{}{note}", row.measured),
                peer.map_or(String::new(), |peer| format!("{}: {}", peer.what, peer.figure)),
                format!("{ratio}{most}{least}{miss}"),
            ]);
        }
        let head = ["what", "measured", "bound or peer of the same run", "ratio"];
        let width = |column: usize| {
            let cells = cells.iter().map(|row| row[column].chars().count());
            cells.chain([head[column].chars().count()]).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2), width(3)];
        let mut line = |cells: [&str; 4]| {
            let [a, b, c, d] = cells;
            let [w, x, y, z] = widths;
            writeln!(f, "| {a:w$} | {b:x$} | {c:y$} | {d:z$} |")
        };
        line(head)?;
        line(["---"; 4])?;
        cells.iter().try_for_each(|row| line([&row[0], &row[1], &row[2], &row[3]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_at_a_glance() {
        let shown = |value| Figure::new(value, "x").to_string();
        assert_eq!(shown(1_234_567.8), "1,234,568 x");
        assert_eq!(shown(999.96), "1,000.0 x");
        assert_eq!(shown(12.34), "12.3 x");
        assert_eq!(shown(0.123_4), "0.123 x");
    }

    #[test]
    fn a_row_that_misses_its_target_is_named() {
        let row = |ratio| {
            Row::new("p", format!("at {ratio}"), Figure::new(ratio, "s"))
                .against("one", Figure::new(1.0, "s"))
        };
        let machine = Machine { processor: String::new(), cores: 1, load: 0.0 };
        let rows = vec![
            row(2.5).at_most(2.6),
            row(2.7).at_most(2.6),
            row(0.5).at_least(0.6),
            row(0.7).at_least(0.6),
        ];
        let report = Report { machine, seed: 1, is_quick: false, rows, plots: Vec::new() };
        let named: Vec<_> = report.failures().map(|(row, how)| (row.what.as_str(), how)).collect();
        assert_eq!(named, [("at 2.7", "over"), ("at 0.5", "under")]);
        let table = report.to_string();
        assert_eq!(table.matches("**over**").count(), 1);
        assert_eq!(table.matches("**under**").count(), 1);
    }
}
