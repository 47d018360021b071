//! What a container uses now, in one shape for both versions.

use plim_model::parse::cgroup as text;
use plim_model::rlimit::Limit;

use super::CgroupHandle;
use super::handle::{Dir, read_file};

/// Use so far and now. `None` where no hierarchy of the container accounts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Memory now, page cache included, in bytes.
    pub memory_bytes: Option<u64>,
    /// The most memory so far, in bytes. v2: Linux 5.19.
    pub memory_peak_bytes: Option<u64>,
    /// CPU time so far, in microseconds.
    pub cpu_usage_us: Option<u64>,
    /// Periods in which the CPU quota was used up.
    pub cpu_throttled_periods: Option<u64>,
    /// Tasks now.
    pub pids: Option<u64>,
    /// The most tasks allowed here.
    pub pids_max: Option<Limit>,
    /// Processes of this cgroup killed for want of memory; on v2 those of its children too.
    pub oom_kills: Option<u64>,
}

impl CgroupHandle {
    /// Reads them.
    pub fn stats(&self) -> Stats {
        let number = |controller, v1_file, v2_file| {
            self.file(controller, v1_file, v2_file).and_then(|t| text::single(&t).ok())
        };
        let keyed = |controller, v1_file, v2_file, v1_key, v2_key| {
            let dir = self.dir_of(controller)?;
            let (file, key) = if dir.unified { (v2_file, v2_key) } else { (v1_file, v1_key) };
            text::flat_keyed(&read_file(&dir.fd, file).ok()?).ok()?.get(key).copied()
        };
        let cpuacct = || {
            let dir = self.dirs.iter().find(|dir| has(dir, "cpuacct"))?;
            Some(text::single(&read_file(&dir.fd, "cpuacct.usage").ok()?).ok()? / 1000)
        };
        Stats {
            memory_bytes: number("memory", "memory.usage_in_bytes", "memory.current"),
            memory_peak_bytes: number("memory", "memory.max_usage_in_bytes", "memory.peak"),
            cpu_usage_us: cpuacct().or_else(|| keyed("unified", "", "cpu.stat", "", "usage_usec")),
            cpu_throttled_periods: keyed("cpu", "cpu.stat", "cpu.stat", "nr_throttled", "nr_throttled"),
            pids: number("pids", "pids.current", "pids.current"),
            pids_max: self.file("pids", "pids.max", "pids.max").and_then(|t| text::limit(&t).ok()),
            oom_kills: keyed("memory", "memory.oom_control", "memory.events", "oom_kill", "oom_kill"),
        }
    }

    /// Whether the kernel killed a process of the container for want of memory (v1 since Linux 4.13). `None` where
    /// memory is not accounted.
    pub fn oom_killed(&self) -> Option<bool> {
        self.stats().oom_kills.map(|count| count > 0)
    }

    /// The directory that has the controller: v1's, else the v2 one.
    fn dir_of(&self, controller: &str) -> Option<&Dir> {
        self.dirs.iter().find(|dir| has(dir, controller)).or_else(|| self.dirs.iter().find(|dir| dir.unified))
    }

    fn file(&self, controller: &str, v1_file: &str, v2_file: &str) -> Option<String> {
        let dir = self.dir_of(controller)?;
        read_file(&dir.fd, if dir.unified { v2_file } else { v1_file }).ok()
    }
}

fn has(dir: &Dir, controller: &str) -> bool {
    dir.label.split(',').any(|name| name == controller)
}
