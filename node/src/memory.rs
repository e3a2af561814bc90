//! What memory this process takes, in the words of the system.

use std::fs;

use ashlar_rpc::server::MemoryState;

/// Zero where the system does not say: only Linux does, here.
pub(crate) fn of_process() -> MemoryState {
    fs::read_to_string("/proc/self/status").map(|text| read(&text)).unwrap_or_default()
}

fn read(status: &str) -> MemoryState {
    // "VmRSS:	   12345 kB", where a kB is 1,024 bytes.
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kibibytes.unwrap_or(0).saturating_mul(1024)
    };
    MemoryState { resident_bytes: bytes("VmRSS"), peak_bytes: bytes("VmHWM") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_are_read() {
        let status = "Name:\tashlar\nVmHWM:\t    300 kB\nVmRSS:\t     12 kB\nThreads:\t4\n";
        let read = read(status);
        assert_eq!((read.resident_bytes, read.peak_bytes), (12 * 1024, 300 * 1024));
        assert_eq!(super::read("nothing"), MemoryState::default());
        assert!(of_process().resident_bytes > 0);
    }
}
