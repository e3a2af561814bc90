//! The nodes' logs: one as it is, several line by line with the node's number before each.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use crate::file::NodeNumber;

/// Between two looks at logs that are followed.
const LOOK: Duration = Duration::from_millis(200);
/// Of each log's end shown first where it is followed, in bytes.
const TAIL_BYTES: u64 = 4_096;

/// Lines of a log's end that a failure shows.
const TAIL_LINES: usize = 5;

/// The last lines of a log; none where it can't be read.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// A log as far as it was shown.
struct Log {
    path: PathBuf,
    /// What stands before each line; nothing where there is one log.
    label: String,
    shown: u64,
    /// A line that has no end yet.
    begun: Vec<u8>,
}

/// Writes logs out, and goes on with `follow` until nobody reads.
///
/// # Errors
/// Where nobody reads any more.
pub(crate) fn show(
    logs: Vec<(NodeNumber, PathBuf)>,
    follow: bool,
    out: &mut impl io::Write,
) -> io::Result<()> {
    let several = logs.len() > 1;
    let mut logs: Vec<Log> = logs
        .into_iter()
        .map(|(number, path)| Log {
            label: if several { format!("node {number:<3} | ") } else { String::new() },
            shown: if follow { start(&path) } else { 0 },
            path,
            begun: Vec::new(),
        })
        .collect();
    loop {
        for log in &mut logs {
            log.show_more(out)?;
        }
        out.flush()?;
        if !follow {
            return Ok(());
        }
        thread::sleep(LOOK);
    }
}

/// Where the last whole lines begin.
fn start(path: &PathBuf) -> u64 {
    let Ok(mut file) = File::open(path) else { return 0 };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let start = length.saturating_sub(TAIL_BYTES);
    let mut tail = Vec::new();
    if start == 0 || file.seek(SeekFrom::Start(start)).is_err() {
        return 0;
    }
    if file.take(TAIL_BYTES).read_to_end(&mut tail).is_err() {
        return start;
    }
    let line = tail.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    start + line as u64
}

impl Log {
    /// Writes the lines that came since; a log that is shorter than it was began anew.
    fn show_more(&mut self, out: &mut impl io::Write) -> io::Result<()> {
        let Ok(mut file) = File::open(&self.path) else { return Ok(()) };
        if file.metadata().is_ok_and(|metadata| metadata.len() < self.shown) {
            self.shown = 0;
            self.begun.clear();
        }
        file.seek(SeekFrom::Start(self.shown))?;
        let mut buffer = vec![0; 64 * 1_024];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.shown += count as u64;
            self.begun.extend(buffer.iter().take(count));
            while let Some(end) = self.begun.iter().position(|byte| *byte == b'\n') {
                out.write_all(self.label.as_bytes())?;
                let rest = self.begun.split_off(end + 1);
                out.write_all(&self.begun)?;
                self.begun = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_logs_say_whose_each_line_is() {
        let folder = tempfile::tempdir().unwrap();
        let logs: Vec<(NodeNumber, PathBuf)> =
            (1..=2).map(|number| (number, folder.path().join(format!("log{number}")))).collect();
        std::fs::write(&logs[0].1, "one\ntwo\nunfinished").unwrap();
        std::fs::write(&logs[1].1, "three\n").unwrap();
        let mut out = Vec::new();
        show(logs.clone(), false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "node 1   | one\nnode 1   | two\nnode 2   | three\n");
        let mut out = Vec::new();
        show(logs[1..].to_vec(), false, &mut out).unwrap();
        assert_eq!(out, b"three\n");
    }

    #[test]
    fn a_log_that_is_followed_begins_with_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let text: String = (0..1_000).map(|number| format!("line {number}\n")).collect();
        std::fs::write(&path, &text).unwrap();
        let from = usize::try_from(start(&path)).unwrap();
        assert!(text[from..].starts_with("line ") && text.len() - from <= 4_096);
        assert_eq!(start(&folder.path().join("none")), 0);
    }
}
