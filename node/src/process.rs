//! What the system says of this process, by the names that Prometheus's client libraries have
//! agreed on: `process_…`; and the files that it may open.

use std::{fs, sync::atomic::AtomicU64, time::SystemTime};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};
use rustix::{
    param::{clock_ticks_per_second, page_size},
    process::{Resource, Rlimit, getrlimit, setrlimit},
};

/// Fields of `/proc/self/stat` behind the name in brackets (proc(5)): time in user and in kernel
/// mode, and pages in memory.
const USER_TICKS: usize = 11;
const KERNEL_TICKS: usize = 12;
const RESIDENT_PAGES: usize = 21;

/// Files and sockets that a node asks the system for: the database's, and one for each connection,
/// fit many times over.
const OPEN_FILES: u64 = 65_536;

/// Raises the number of files that this process may open, which shells and services often leave
/// at 1,024, as far as the system lets it. Where it does not, the node runs with what there is.
pub(crate) fn allow_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, wanted, "can't raise the number of files that may be open");
        }
    }
}

/// Read at each scrape; what the system does not tell keeps its last value.
pub(crate) struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    resident_memory_bytes: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
}

impl Process {
    /// Registers them; the process's start is taken for now.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let process = registry.sub_registry_with_prefix("process");
        let start: Gauge<f64, AtomicU64> = Gauge::default();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(now.as_secs_f64());
        process.register("start_time_seconds", "When it was started, seconds since 1970", start);
        let own = Self {
            cpu_seconds: Counter::default(),
            resident_memory_bytes: Gauge::default(),
            open_fds: Gauge::default(),
            max_fds: Gauge::default(),
        };
        process.register("cpu_seconds", "Time on all cores together", own.cpu_seconds.clone());
        process.register(
            "resident_memory_bytes",
            "Memory that it holds",
            own.resident_memory_bytes.clone(),
        );
        process.register("open_fds", "Files and sockets that it has open", own.open_fds.clone());
        process.register("max_fds", "Files and sockets that it may have open", own.max_fds.clone());
        own
    }

    /// Looks.
    pub(crate) fn read(&self) {
        if let Ok(stat) = fs::read_to_string("/proc/self/stat")
            && let Some((_, fields)) = stat.rsplit_once(") ")
        {
            let fields: Vec<&str> = fields.split(' ').collect();
            let field = |index: usize| fields.get(index)?.parse::<u32>().ok();
            if let (Some(user), Some(kernel)) = (field(USER_TICKS), field(KERNEL_TICKS)) {
                let ticks = f64::from(user) + f64::from(kernel);
                let per_second = u32::try_from(clock_ticks_per_second()).unwrap_or(100);
                let seconds = ticks / f64::from(per_second);
                self.cpu_seconds.inc_by((seconds - self.cpu_seconds.get()).max(0.0));
            }
            if let Some(pages) = field(RESIDENT_PAGES) {
                let bytes = u64::from(pages).saturating_mul(page_size() as u64);
                self.resident_memory_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            self.open_fds.set(i64::try_from(open.count()).unwrap_or(i64::MAX));
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            self.max_fds.set(i64::try_from(most).unwrap_or(i64::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_open_files_is_raised() {
        allow_open_files();
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.unwrap_or(u64::MAX);
        assert!(limit.current.is_none_or(|current| current >= most.min(OPEN_FILES)), "{limit:?}");
    }

    #[test]
    fn the_system_tells_of_this_process() {
        let mut registry = Registry::default();
        let process = Process::new(&mut registry);
        process.read();
        let before = process.cpu_seconds.get();
        assert!(process.resident_memory_bytes.get() > 1 << 20);
        assert!(process.open_fds.get() > 2 && process.max_fds.get() >= process.open_fds.get());
        // Half a second of work is fifty ticks.
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while process.cpu_seconds.get() <= before && start.elapsed().as_secs() < 30 {
            sum = (0..1_000_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
            process.read();
        }
        assert!(process.cpu_seconds.get() > before, "{sum}");
    }
}
