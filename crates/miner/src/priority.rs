//! Priorities of threads: whoever answers people and peers goes before whoever computes.
//!
//! On Linux niceness belongs to a thread, and lowering one's own is always allowed.

use rustix::process::setpriority_process;

/// Of workers that the node waits for.
const WORKER_NICENESS: i32 = 10;
/// The lowest there is.
const MINER_NICENESS: i32 = 19;

/// Puts the calling thread behind those that answer people and peers, yet before miners: for
/// workers, say of a thread pool.
pub fn lower_thread_priority() {
    be_nice(WORKER_NICENESS);
}

/// Puts the calling thread behind everything.
pub(crate) fn lowest_thread_priority() {
    be_nice(MINER_NICENESS);
}

fn be_nice(niceness: i32) {
    // Fails only where the thread is nicer already (or the system knows no niceness): then it
    // stays as it is, which is as good.
    setpriority_process(None, niceness).ok();
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rustix::process::getpriority_process;

    use super::*;

    #[test]
    fn niceness_is_the_calling_threads_alone() {
        let niceness = || getpriority_process(None).unwrap();
        let before = niceness();
        let worker = thread::spawn(move || {
            lower_thread_priority();
            let worker = niceness();
            lowest_thread_priority();
            (worker, niceness())
        });
        assert_eq!(worker.join().unwrap(), (before.max(WORKER_NICENESS), MINER_NICENESS));
        assert_eq!(niceness(), before);
    }
}
