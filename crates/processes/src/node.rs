//! A process: how it is started, also under a tracer that strikes, and how it ends.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use ashlar_rpc::RunFile;

use crate::{Rpc, wait_at_most, wait_for};

/// The RPC cookie's file in a data directory.
pub(crate) const COOKIE: &str = ".cookie";
/// Lines at the end of a log that a failure shows.
const LOG_TAIL_LINES: usize = 25;

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub node: PathBuf,
    /// Its data directory.
    pub datadir: PathBuf,
    /// The chain.
    pub genesis: PathBuf,
    /// Where its log is appended: not into a data directory whose disk may fail.
    pub log: PathBuf,
    /// Further flags. Unless they say otherwise, loopback is exempt from bans and counts, and the
    /// profile is the small one.
    pub flags: Vec<String>,
}

impl Launch {
    /// The command line, behind `tracer` where there is one.
    fn command(&self, tracer: &[String]) -> Command {
        let mut command = match tracer.split_first() {
            Some((program, arguments)) => {
                let mut command = Command::new(program);
                command.args(arguments).arg(&self.node);
                command
            }
            None => Command::new(&self.node),
        };
        command
            .arg("run")
            .arg("--datadir")
            .arg(&self.datadir)
            .arg("--genesis")
            .arg(&self.genesis)
            .args(["--listen", "/ip4/127.0.0.1/tcp/0", "--rpc-listen", "127.0.0.1:0"])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if !self.flags.iter().any(|flag| flag == "--exempt-loopback") {
            command.arg("--exempt-loopback");
        }
        if !self.flags.iter().any(|flag| flag == "--profile") {
            command.args(["--profile", "small"]);
        }
        command
    }

    /// Starts the node.
    ///
    /// # Panics
    /// Where the program can't be started: nothing can be tested then.
    pub fn start(&self, tracer: &[String]) -> Process {
        // It may be on a disk that the last fault left read-only: then the node says so.
        drop(fs::remove_file(self.datadir.join("run.json")));
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let log_start = log.metadata().map_or(0, |metadata| metadata.len());
        let child = self.command(tracer).stderr(log).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{} or its tracer: {error}", self.node.display()));
        Process { child, datadir: self.datadir.clone(), log: self.log.clone(), log_start }
    }

    /// Runs another command of the node's program on the data directory, to its end: whether it
    /// ended well, and what it printed.
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.node);
        command.args(arguments).arg("--datadir").arg(&self.datadir);
        command.arg("--genesis").arg(&self.genesis).args(["--profile", "small"]);
        command.stdin(Stdio::null());
        let output = command.output().expect("the node's program");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

/// A running node. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    datadir: PathBuf,
    log: PathBuf,
    /// Length of the log when it was started, in bytes.
    log_start: u64,
}

impl Process {
    /// Waits until the node serves; `None` where it ended before, or never did either.
    pub fn wait_ready(&mut self) -> Option<Rpc> {
        let run_file = self.datadir.join("run.json");
        wait_for(|| {
            if self.has_ended() {
                return Some(None);
            }
            run_file.exists().then(|| Rpc::connect(&self.datadir))
        })?
    }

    /// Whether it ended, by itself or killed.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child's state").is_some()
    }

    /// How it ended, within `patience`.
    pub fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait_at_most(patience, || self.child.try_wait().expect("a child's state"))
    }

    /// Where its data are.
    pub fn datadir(&self) -> &Path {
        &self.datadir
    }

    /// `IP:PORT` of its RPC server, once it is ready.
    pub fn rpc_address(&self) -> Option<String> {
        Some(RunFile::read(&self.datadir).ok()?.rpc)
    }

    /// The process id: the tracer, where there is one, is not its parent.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// A signal by its name (`TERM`, `INT`, `STOP`, …).
    ///
    /// # Panics
    /// Where it can't be sent: the process ended, and was waited for.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "no signal for {}", self.id());
    }

    /// SIGKILL, and the end awaited.
    pub fn kill(&mut self) {
        // An error says that it ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// What it logged since it was started.
    pub fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let start = usize::try_from(self.log_start).unwrap_or(usize::MAX);
        String::from_utf8_lossy(log.get(start..).unwrap_or_default()).into_owned()
    }

    /// The end of it.
    pub fn log_tail(&self) -> String {
        tail(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a text.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

/// SIGKILL to a process that may be gone, and is not this one's child to wait for.
pub fn kill(pid: u32) {
    drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
}
