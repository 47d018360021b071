//! Controllers of v2 (Documentation/admin-guide/cgroup-v2.rst).

use plim_model::Observed;
use plim_model::cgroup::{Cpu, Io, Memory};
use plim_model::parse::cgroup::{cpu_max, io_max, io_weight, limit, single};
use plim_model::rlimit::Limit;

use super::Chain;
use super::chain::{effective, smallest};
use super::files::millicpus;

/// Memory.
pub(super) fn memory(chain: &Chain) -> Memory {
    let own = chain.own();
    let levels = chain.levels("memory.max", limit);
    let swap = chain.levels("memory.swap.max", limit);
    Memory {
        max_bytes: levels[0].max.clone(),
        effective_max_bytes: effective(&levels),
        swap_max_bytes: swap[0].max.clone(),
        // No level has the file: swap is not accounted, or not built in.
        effective_swap_max_bytes: match swap.iter().all(|level| level.max == Observed::Absent) {
            true => Observed::Absent,
            false => smallest(swap.iter().map(|level| &level.max)),
        },
        low_bytes: own.file("memory.low", limit),
        high_bytes: own.file("memory.high", limit),
        current_bytes: own.file("memory.current", single),
        levels,
    }
}

/// CPU time.
pub(super) fn cpu(chain: &Chain) -> Cpu {
    let own = chain.own();
    let max = own.file("cpu.max", cpu_max);
    Cpu {
        quota_us: max.as_ref().map(|max| max.quota_us),
        period_us: max.map(|max| max.period_us),
        effective_millicpus: millicpus(chain, |directory| {
            let max = directory.file("cpu.max", cpu_max);
            (max.as_ref().map(|max| max.quota_us), max.map(|max| max.period_us))
        }),
        weight: own.file("cpu.weight", single),
        levels: chain.levels("cpu.max", |text| cpu_max(text).map(|max| max.quota_us)),
        ..Cpu::default()
    }
}

/// CPU placement. An empty list is inherited: nothing is declared here. Where the controller is not enabled for the
/// cgroup, the nearest ancestor with the file tells what is in effect.
pub(super) fn cpuset(chain: &Chain, cpu: &mut Cpu) {
    let declared = |name| match chain.own().words(name) {
        Observed::Present(list) if list.is_empty() => Observed::Absent,
        found => found,
    };
    cpu.cpuset_cpus = declared("cpuset.cpus");
    cpu.cpuset_mems = declared("cpuset.mems");
    cpu.effective_cpuset_cpus = chain
        .directories()
        .iter()
        .map(|directory| directory.words("cpuset.cpus.effective"))
        .find(|list| *list != Observed::Absent)
        .unwrap_or(Observed::Absent);
}

/// Block I/O.
pub(super) fn io(chain: &Chain) -> Observed<Io> {
    let own = chain.own();
    let devices = match own.file("io.max", io_max) {
        Observed::Present(devices) => devices,
        Observed::Absent => Default::default(),
        Observed::Unknown(why) => return Observed::Unknown(why),
    };
    // A line whose four limits are all `max` declares nothing.
    let devices = devices
        .into_iter()
        .filter(|(_, limits)| {
            [
                limits.read_bytes_per_second,
                limits.write_bytes_per_second,
                limits.read_operations_per_second,
                limits.write_operations_per_second,
            ]
            .iter()
            .any(|limit| *limit != Limit::Max)
        })
        .collect();
    let weight = match own.file("io.weight", io_weight) {
        Observed::Absent => own.file("io.bfq.weight", io_weight),
        found => found,
    };
    Observed::Present(Io { weight, devices })
}
