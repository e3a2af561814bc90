//! What is done to a node, and in which order.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// How many numbers of database files after the newest one a run may reach.
const NEXT_FILES: u64 = 150;

/// Digits of a database file's number, at least.
const NUMBER_DIGITS: usize = 6;

/// A system call on files of the data directory, under each of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// For people.
    pub name: &'static str,
    /// For the tracer; `?` before those that not every machine has.
    names: &'static str,
}

const fn call(name: &'static str, names: &'static str) -> Call {
    Call { name, names }
}

const WRITE: Call = call("write", "write,pwrite64,writev,pwritev");
const FDATASYNC: Call = call("fdatasync", "fdatasync");
const FSYNC: Call = call("fsync", "fsync,sync_file_range");
const RENAME: Call = call("rename", "?rename,?renameat,renameat2");
const UNLINK: Call = call("unlink", "?unlink,unlinkat");
const TRUNCATE: Call = call("ftruncate", "ftruncate,fallocate");
const OPEN: Call = call("openat", "?open,openat");
const MAKE: Call = call("mkdir", "?mkdir,mkdirat");
const READ: Call = call("read", "read,pread64");

/// Where a node is killed.
const KILL_AT: [Call; 7] = [WRITE, FDATASYNC, FSYNC, RENAME, UNLINK, TRUNCATE, OPEN];

/// Which error each call is given.
const ERRORS: [(Call, &str); 15] = [
    (WRITE, "ENOSPC"),
    (FDATASYNC, "EIO"),
    (READ, "EIO"),
    (OPEN, "ENOSPC"),
    (WRITE, "EIO"),
    (FSYNC, "EIO"),
    (RENAME, "ENOSPC"),
    (FDATASYNC, "ENOSPC"),
    (OPEN, "EIO"),
    (TRUNCATE, "ENOSPC"),
    (RENAME, "EIO"),
    (UNLINK, "EIO"),
    (MAKE, "ENOSPC"),
    (TRUNCATE, "EIO"),
    (FSYNC, "ENOSPC"),
];

/// A blow at the node through its system calls.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// Where.
    pub call: Call,
    /// At which of a thread's calls.
    pub nth: u32,
    /// The error given instead of the call; `None`: the process is killed.
    pub error: Option<&'static str>,
    /// Whether every later call fails too.
    pub lasts: bool,
}

impl Strike {
    /// For people and for the summary.
    pub fn kind(&self) -> String {
        match self.error {
            None => format!("kill at {}", self.call.name),
            Some(error) => format!("{error} from {}", self.call.name),
        }
    }

    /// The command before the node's own. What the tracer did is written to `trace`. The node
    /// stays the child of whoever starts this, and ends as it would alone.
    pub fn tracer(&self, datadir: &Path, trace: &Path) -> Vec<String> {
        let Self { call, nth, error, lasts } = self;
        let from = if *lasts { "+" } else { "" };
        let deed = error.map_or_else(|| "signal=KILL".to_owned(), |error| format!("error={error}"));
        let names = call.names;
        let mut command: Vec<String> =
            ["strace", "-D", "-f", "-qq", "-e", "signal=none", "-o"].map(str::to_owned).to_vec();
        command.push(trace.display().to_string());
        if error.is_some() {
            // Stops at these calls alone, which is faster; a signal would be lost on this way.
            command.push("--seccomp-bpf".to_owned());
        }
        command.extend(["-e".to_owned(), format!("trace={names}")]);
        command.extend(["-e".to_owned(), format!("inject={names}:{deed}:when={nth}{from}")]);
        for path in touched(datadir) {
            command.extend(["-P".to_owned(), path.display().to_string()]);
        }
        command
    }

    /// Whether the tracer gave an error, by what it wrote.
    pub fn was_given(trace: &Path) -> bool {
        fs::read_to_string(trace).is_ok_and(|text| text.contains("(INJECTED)"))
    }
}

/// Why system calls can't be struck on this machine.
pub fn missing_tracer() -> Option<&'static str> {
    let works = Command::new("strace")
        .args(["-D", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    (!works).then_some("strace is missing, or may not trace here")
}

/// The files that a run of a node on this data directory may touch: sockets and wake-ups of
/// threads are written with the same calls, and are no disk.
fn touched(datadir: &Path) -> Vec<PathBuf> {
    let mut paths = vec![datadir.to_owned()];
    let mut newest = 0;
    let mut folders = vec![datadir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let digits: String = name.chars().filter(char::is_ascii_digit).collect();
            // Longer numbers are times.
            if digits.len() <= NUMBER_DIGITS {
                newest = newest.max(digits.parse().unwrap_or(0));
            }
            if path.is_dir() {
                folders.push(path.clone());
            }
            paths.push(path.with_extension("tmp"));
            paths.push(path);
        }
    }
    let ledger = datadir.join("ledger");
    for name in ["run.json", "run.tmp", ".cookie", "node.key", "genesis.json", "genesis.tmp"] {
        paths.push(datadir.join(name));
    }
    paths.extend(["", "CURRENT", "LOG", "LOCK", "IDENTITY", "ashlar.lock"].map(|n| ledger.join(n)));
    for number in newest..newest + NEXT_FILES {
        for name in [
            format!("{number:06}.log"),
            format!("{number:06}.sst"),
            format!("{number:06}.blob"),
            format!("{number:06}.dbtmp"),
            format!("MANIFEST-{number:06}"),
            format!("OPTIONS-{number:06}"),
            format!("OPTIONS-{number:06}.dbtmp"),
        ] {
            paths.push(ledger.join(name));
        }
    }
    paths.sort();
    paths.dedup();
    paths
}

/// One kind of strike, later and later in the node's life.
#[derive(Clone, Copy, Debug)]
struct Ladder {
    call: Call,
    error: Option<&'static str>,
    nth: u32,
    /// How many calls a run is known to make.
    reach: u32,
    /// Whether a run ended before the strike came: from then on its moment is drawn.
    is_climbed: bool,
}

/// Which strike comes next: each kind in turn, each at growing numbers of calls, and where a run
/// has no more calls, at numbers drawn below.
#[derive(Debug)]
pub struct Strikes {
    ladders: Vec<Ladder>,
    turn: usize,
    random: StdRng,
}

impl Strikes {
    /// Kills.
    pub fn kills(seed: u64) -> Self {
        Self::new(seed, KILL_AT.iter().map(|call| (*call, None)))
    }

    /// Errors.
    pub fn errors(seed: u64) -> Self {
        Self::new(seed, ERRORS.iter().map(|(call, error)| (*call, Some(*error))))
    }

    fn new(seed: u64, kinds: impl Iterator<Item = (Call, Option<&'static str>)>) -> Self {
        let ladder = |(call, error)| Ladder { call, error, nth: 1, reach: 1, is_climbed: false };
        let random = StdRng::seed_from_u64(seed);
        Self { ladders: kinds.map(ladder).collect(), turn: 0, random }
    }

    /// The next one; `lasts` alternates by chance.
    pub fn draw(&mut self) -> Strike {
        let Ladder { call, error, nth, .. } = self.ladders[self.turn];
        let lasts = error.is_some() && self.random.random_range(0..2) == 0;
        Strike { call, nth, error, lasts }
    }

    /// Whether it was dealt before the run ended.
    pub fn done(&mut self, was_dealt: bool) {
        let ladder = &mut self.ladders[self.turn];
        if was_dealt {
            ladder.reach = ladder.reach.max(ladder.nth);
        } else {
            ladder.is_climbed = true;
        }
        ladder.nth = if ladder.is_climbed {
            self.random.random_range(1..=ladder.reach)
        } else {
            // Steps grow, so that a few dozen rounds pass through a whole life.
            ladder.nth + 1 + ladder.nth / 6
        };
        self.turn = (self.turn + 1) % self.ladders.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ladders_climb_until_a_run_ends_and_are_drawn_from_then_on() {
        let mut strikes = Strikes::kills(1);
        let kinds = KILL_AT.len();
        let mut seen: Vec<u32> = Vec::new();
        for round in 0..kinds * 40 {
            let strike = strikes.draw();
            if round % kinds == 0 {
                seen.push(strike.nth);
            }
            // A run makes 20 calls of each kind.
            strikes.done(strike.nth <= 20);
        }
        let first_over = seen.iter().position(|nth| *nth > 20).unwrap();
        assert!(seen[..=first_over].is_sorted() && seen[0] == 1);
        assert!(seen[first_over + 1..].iter().all(|nth| *nth <= 20));
    }
}
