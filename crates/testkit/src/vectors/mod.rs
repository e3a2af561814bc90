//! The runner of test vectors: every file of a folder, case by case (`tests/vectors/README.md`).
//!
//! It trusts nothing to be absent: a file that it doesn't know, a case `type`, a field too many
//! or too few, a name that stands twice and an empty file are failures, so that no case can be
//! passed over in silence. One module a file; each has a type `Case` that serde reads strictly
//! (`deny_unknown_fields`) and a `Check` of it. Where a new file is added, `FILES` gets a
//! line.

mod address;
mod chain;
mod chains;
mod compact;
mod difficulty;
mod encoding;
mod genesis;
mod json;
mod keys;
mod merkle;
mod policy;
mod policy_evaluation;
mod pow;
mod sighash;
mod signature;
mod subsidy;
mod transactions;
mod utxo;
mod wire;

use std::{
    collections::BTreeSet,
    fmt::{self, Debug, Display},
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Every file of vectors that there is, and what checks its cases.
const FILES: [(&str, Checker); 16] = [
    ("address.json", check_file::<address::Case>),
    ("chains.json", check_file::<chains::Case>),
    ("compact.json", check_file::<compact::Case>),
    ("difficulty.json", check_file::<difficulty::Case>),
    ("encoding.json", check_file::<encoding::Case>),
    ("genesis.json", check_file::<genesis::Case>),
    ("keys.json", check_file::<keys::Case>),
    ("merkle.json", check_file::<merkle::Case>),
    ("policy.json", check_file::<policy::Case>),
    ("pow.json", check_file::<pow::Case>),
    ("sighash.json", check_file::<sighash::Case>),
    ("signature.json", check_file::<signature::Case>),
    ("subsidy.json", check_file::<subsidy::Case>),
    ("transactions.json", check_file::<transactions::Case>),
    ("utxo.json", check_file::<utxo::Case>),
    ("wire.json", check_file::<wire::Case>),
];

/// The one file that a folder of vectors may hold beside them.
const README: &str = "README.md";

type Checker = fn(&str) -> Outcome;

/// A case of one file, its `name` already taken out.
trait Check: DeserializeOwned {
    /// Runs the case.
    fn check(&self) -> Verdict;
}

/// What a case comes to.
type Verdict = Result<(), Failure>;

/// Why a case failed, for people. Not an error that a program could handle: any error turns
/// into one by `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure(String);

impl Failure {
    fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }

    /// A failure unless the two are equal.
    fn unless_equal<T: PartialEq + Debug>(what: &str, got: &T, expected: &T) -> Verdict {
        Self::unless(got == expected, || format!("{what}: got {got:?}, expected {expected:?}"))
    }

    /// A failure unless `holds`.
    fn unless<R: Display>(holds: bool, reason: impl FnOnce() -> R) -> Verdict {
        if holds { Ok(()) } else { Err(Self::new(reason())) }
    }

    /// A failure where there is a value: the input should have been refused.
    fn unless_refused<T: Debug, E>(result: Result<T, E>) -> Verdict {
        match result {
            Ok(value) => Err(Self::new(format_args!("should be refused, but is {value:?}"))),
            Err(_) => Ok(()),
        }
    }

    /// The reason, cut to a length that fits a log.
    fn shortened(self) -> Self {
        const MAX_REASON_CHARS: usize = 600;
        Self(self.0.chars().take(MAX_REASON_CHARS).collect())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(error)
    }
}

/// How the cases of one file went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How many cases passed.
    pub passed: usize,
    /// The cases that failed, by name, in the order of the file. The name is empty where the
    /// failure is the file's own.
    pub failed: Vec<(String, Failure)>,
}

impl Outcome {
    fn of_file(failure: impl Into<Failure>) -> Self {
        Self { passed: 0, failed: vec![(String::new(), failure.into())] }
    }

    fn add(&mut self, name: &str, verdict: Verdict) {
        match verdict {
            Ok(()) => self.passed += 1,
            Err(failure) => self.failed.push((name.to_owned(), failure.shortened())),
        }
    }
}

/// How the files of a folder went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every file found, in order of name.
    pub files: Vec<(String, Outcome)>,
}

impl Report {
    /// How many cases passed.
    pub fn passed(&self) -> usize {
        self.files.iter().map(|(_, outcome)| outcome.passed).sum()
    }

    /// How many cases and files failed.
    pub fn failed(&self) -> usize {
        self.files.iter().map(|(_, outcome)| outcome.failed.len()).sum()
    }

    /// Whether something was checked and nothing failed.
    pub fn is_success(&self) -> bool {
        self.passed() > 0 && self.failed() == 0
    }
}

impl Display for Report {
    /// A line for each file, below it one for each failure; at the end `N passed, N failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (file, outcome) in &self.files {
            writeln!(f, "{file}: {} passed, {} failed", outcome.passed, outcome.failed.len())?;
            for (name, failure) in &outcome.failed {
                let name = if name.is_empty() { "(the file)" } else { name };
                writeln!(f, "    {name}: {failure}")?;
            }
        }
        write!(f, "{} passed, {} failed", self.passed(), self.failed())
    }
}

/// Names of all files that the runner knows.
pub fn file_names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// Runs every file of a folder. The folder may lack files, but not hold others.
///
/// # Errors
/// Where the folder itself can't be listed. A file that can't be read is a failure in the
/// report.
pub fn run(folder: &Path) -> io::Result<Report> {
    let mut names = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    names.retain(|name| name != README);
    let files = names.into_iter().map(|name| {
        let outcome = match FILES.iter().find(|(known, _)| *known == name) {
            None => Outcome::of_file(Failure::new("no vectors are known by this name")),
            Some((_, check)) => match fs::read_to_string(folder.join(&name)) {
                Ok(text) => check(&text),
                Err(error) => Outcome::of_file(error),
            },
        };
        (name, outcome)
    });
    Ok(Report { files: files.collect() })
}

/// What every file of vectors is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VectorFile {
    #[expect(dead_code, reason = "for people, but it must be there")]
    description: String,
    cases: Vec<Map<String, Value>>,
}

fn check_file<C: Check>(text: &str) -> Outcome {
    let file: VectorFile = match serde_json::from_str(text) {
        Ok(file) => file,
        Err(error) => return Outcome::of_file(error),
    };
    if file.cases.is_empty() {
        return Outcome::of_file(Failure::new("there are no cases"));
    }
    let mut outcome = Outcome::default();
    let mut names = BTreeSet::new();
    for mut case in file.cases {
        let Some(Value::String(name)) = case.remove("name") else {
            outcome.add("", Err(Failure::new("a case has no name")));
            continue;
        };
        if names.insert(name.clone()) {
            outcome.add(&name, check_case::<C>(case));
        } else {
            outcome.add(&name, Err(Failure::new("another case has the same name")));
        }
    }
    outcome
}

/// A panic is the failure of one case, not the end of the run.
fn check_case<C: Check>(case: Map<String, Value>) -> Verdict {
    let run = || C::deserialize(Value::Object(case))?.check();
    panic::catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Failure::new("a panic (its message is above)")))
}
