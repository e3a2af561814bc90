//! A node's process, held by a descriptor of the system (pidfd_open(2)): its number may be another
//! program's by the time it is used, its descriptor never is. So a keeper can hold nodes that
//! another keeper started as well as its own.

use std::{
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::io::unix::AsyncFd;

/// Fields of `/proc/PID/stat` behind the name in brackets (proc(5)): state, time in user and in
/// kernel mode, time of the start, pages in memory.
const STATE: usize = 0;
const USER_TICKS: usize = 11;
const KERNEL_TICKS: usize = 12;
const START_TICKS: usize = 19;
const RESIDENT_PAGES: usize = 21;

/// A process that was started, by this keeper or by an earlier one.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pid: u32,
    descriptor: Arc<AsyncFd<OwnedFd>>,
    /// To be reaped, where it is this keeper's own.
    child: Arc<Mutex<Option<Child>>>,
}

/// What the system says of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// When it was started, in ticks since the system was: with its number, its identity.
    pub(crate) start_ticks: u64,
    /// Whether it stands still.
    pub(crate) is_paused: bool,
    /// Whether it has ended and waits to be reaped.
    pub(crate) is_dead: bool,
    /// The memory that it holds, in bytes.
    pub(crate) memory_bytes: u64,
    /// The time on a processor that it has had, in milliseconds.
    pub(crate) cpu_ms: u64,
}

impl Vitals {
    /// Of a process; `None` where there is none.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let ticks = number(USER_TICKS)? + number(KERNEL_TICKS)?;
        let state = *fields.get(STATE)?;
        Some(Self {
            start_ticks: number(START_TICKS)?,
            is_paused: state == "T",
            is_dead: matches!(state, "Z" | "X"),
            memory_bytes: number(RESIDENT_PAGES)? * rustix::param::page_size() as u64,
            cpu_ms: ticks * 1_000 / rustix::param::clock_ticks_per_second().max(1),
        })
    }
}

impl Process {
    /// Starts a program in a group of its own, so that no key pressed in a terminal reaches it,
    /// and notes it in `note` for a later keeper.
    pub(crate) fn start(command: &mut Command, log: &Path, note: &Path) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut child = command.spawn()?;
        let pid = child.id();
        let held = Self::hold(pid).and_then(|process| {
            let start = Vitals::of(pid).map_or(0, |vitals| vitals.start_ticks);
            fs::write(note, format!("{pid} {start}\n"))?;
            Ok(process)
        });
        if held.is_err() {
            // Nobody would ever find it again.
            drop(child.kill().and_then(|()| child.wait()));
        }
        let process = held?;
        *process.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        Ok(process)
    }

    /// The process that `note` tells of, where it is still the same one.
    pub(crate) fn find(note: &Path) -> Option<Self> {
        // First held, then looked at again: from then on the number is nobody else's.
        let process = Self::hold(left_over(note)?).ok()?;
        left_over(note).map(|_| process)
    }

    fn hold(pid: u32) -> io::Result<Self> {
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let number = number.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let descriptor = pidfd_open(number, PidfdFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "an OwnedFd is one open descriptor for life, which is all that the unsafe \
                      function in its place asks for"
        )]
        let descriptor = AsyncFd::with_interest(descriptor, tokio::io::Interest::READABLE)?;
        Ok(Self { pid, descriptor: Arc::new(descriptor), child: Arc::default() })
    }

    /// Its number.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends it a signal; nothing happens where it has ended.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Err(error) = pidfd_send_signal(self.descriptor.get_ref(), signal) {
            tracing::debug!(pid = self.pid, ?signal, %error, "not sent");
        }
    }

    /// Waits until it has ended; how, where the system tells this keeper.
    pub(crate) async fn ended(&self) -> Option<String> {
        // It stays readable: whoever waits later hears of it at once.
        drop(self.descriptor.readable().await);
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let status = child.as_mut()?.wait().ok()?;
        Some(status.to_string())
    }

    /// What the system says of it.
    pub(crate) fn vitals(&self) -> Option<Vitals> {
        Vitals::of(self.pid)
    }
}

/// The number of the process that `note` tells of, while it runs.
pub(super) fn left_over(note: &Path) -> Option<u32> {
    let text = fs::read_to_string(note).ok()?;
    let (pid, start) = text.trim().split_once(' ')?;
    let (pid, start): (u32, u64) = (pid.parse().ok()?, start.parse().ok()?);
    let vitals = Vitals::of(pid)?;
    (vitals.start_ticks == start && !vitals.is_dead).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_process_is_found_again_until_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (log, note) = (folder.path().join("log"), folder.path().join("pid"));
        let mut command = Command::new("sleep");
        let process = Process::start(command.arg("1000"), &log, &note).unwrap();
        let found = Process::find(&note).unwrap();
        assert_eq!(found.pid(), process.pid());
        // Another process that got the number would have another start.
        let other = folder.path().join("other");
        fs::write(&other, format!("{} 1\n", process.pid())).unwrap();
        assert!(Process::find(&other).is_none());
        process.signal(Signal::STOP);
        let stands = async {
            while !found.vitals().unwrap().is_paused {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), stands).await.unwrap();
        found.signal(Signal::KILL);
        let status = tokio::time::timeout(Duration::from_secs(60), process.ended()).await.unwrap();
        assert!(status.unwrap().contains("signal: 9"));
        assert!(found.ended().await.is_none(), "not its child");
        assert!(Process::find(&note).is_none());
    }
}
