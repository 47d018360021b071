//! Controllers of v1 (Documentation/admin-guide/cgroup-v1/), told in v2's meaning.

use std::collections::BTreeMap;

use plim_model::Observed;
use plim_model::cgroup::{Cpu, Io, IoLimits, Memory};
use plim_model::parse::cgroup::{NO_IO_LIMITS, io_weight, limit, single, throttle};
use plim_model::rlimit::Limit;

use super::Chain;
use super::chain::{effective, smallest};
use super::files::millicpus;

/// Memory. An ancestor with `memory.use_hierarchy` 0 (possible before Linux 5.11) does not count its children: the
/// chain ends below it.
///
/// v1 limits memory and swap **together** (`memory.memsw.limit_in_bytes`), so the swap in effect is the smallest sum
/// less the smallest memory limit; a parent whose two limits are equal still lets a child with a smaller memory limit
/// swap the difference.
pub(super) fn memory(chain: &Chain) -> Memory {
    let counted = 1 + chain.directories()[1..]
        .iter()
        .take_while(|above| above.words("memory.use_hierarchy").present().is_none_or(|word| word != "0"))
        .count();
    let chain = chain.cut(counted);
    let levels = chain.levels("memory.limit_in_bytes", limit);
    let sums = chain.levels("memory.memsw.limit_in_bytes", limit);
    let effective_max_bytes = effective(&levels);
    let effective_swap_max_bytes = match &sums[0].max {
        // Swap accounting is off (swapaccount=0).
        Observed::Absent => Observed::Absent,
        _ => swap(smallest(sums.iter().map(|level| &level.max)), &effective_max_bytes),
    };
    Memory {
        max_bytes: levels[0].max.clone(),
        effective_max_bytes,
        swap_max_bytes: swap(sums[0].max.clone(), &levels[0].max),
        effective_swap_max_bytes,
        low_bytes: Observed::Absent,
        high_bytes: Observed::Absent,
        current_bytes: chain.own().file("memory.usage_in_bytes", single),
        levels,
    }
}

fn swap(sum: Observed<Limit>, memory: &Observed<Limit>) -> Observed<Limit> {
    sum.and_then(|sum| match sum {
        Limit::Max => Observed::Present(Limit::Max),
        Limit::Of(sum) => memory.clone().map(|memory| match memory {
            Limit::Of(memory) => Limit::Of(sum.saturating_sub(memory)),
            // Only where the two files were read at different moments: the kernel keeps memory at or below the sum.
            Limit::Max => Limit::Of(0),
        }),
    })
}

/// CPU time.
pub(super) fn cpu(chain: &Chain) -> Cpu {
    let own = chain.own();
    let levels = chain.levels("cpu.cfs_quota_us", limit);
    Cpu {
        quota_us: levels[0].max.clone(),
        period_us: own.file("cpu.cfs_period_us", single),
        effective_millicpus: millicpus(chain, |directory| {
            (directory.file("cpu.cfs_quota_us", limit), directory.file("cpu.cfs_period_us", single))
        }),
        shares: own.file("cpu.shares", single),
        levels,
        ..Cpu::default()
    }
}

/// CPU placement. `cpuset.effective_cpus` takes hotplug and `cpuset_v2_mode` into account.
pub(super) fn cpuset(chain: &Chain, cpu: &mut Cpu) {
    let own = chain.own();
    cpu.cpuset_cpus = own.words("cpuset.cpus");
    cpu.cpuset_mems = own.words("cpuset.mems");
    cpu.effective_cpuset_cpus = match own.words("cpuset.effective_cpus") {
        // Before Linux 3.17, or `noprefix`: the children's lists are subsets of their parents' on v1.
        Observed::Absent => cpu.cpuset_cpus.clone(),
        found => found,
    };
}

/// Block I/O.
pub(super) fn io(chain: &Chain) -> Observed<Io> {
    let own = chain.own();
    let mut devices: BTreeMap<String, IoLimits> = BTreeMap::new();
    type Field = fn(&mut IoLimits) -> &mut Limit;
    let files: [(&str, Field); 4] = [
        ("blkio.throttle.read_bps_device", |limits| &mut limits.read_bytes_per_second),
        ("blkio.throttle.write_bps_device", |limits| &mut limits.write_bytes_per_second),
        ("blkio.throttle.read_iops_device", |limits| &mut limits.read_operations_per_second),
        ("blkio.throttle.write_iops_device", |limits| &mut limits.write_operations_per_second),
    ];
    for (name, field) in files {
        match own.file(name, throttle) {
            Observed::Present(limits) => {
                for (device, value) in limits {
                    *field(devices.entry(device).or_insert(NO_IO_LIMITS)) = Limit::Of(value);
                }
            }
            Observed::Absent => {}
            Observed::Unknown(why) => return Observed::Unknown(why),
        }
    }
    let weight = match own.file("blkio.weight", io_weight) {
        // From Linux 5.0 the weight belongs to the BFQ scheduler.
        Observed::Absent => own.file("blkio.bfq.weight", io_weight),
        found => found,
    };
    Observed::Present(Io { weight, devices })
}

/// `devices.list`, sorted.
pub(super) fn device_rules(chain: &Chain) -> Observed<Vec<String>> {
    chain.own().words("devices.list").map(|text| {
        let mut rules: Vec<String> =
            text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
        rules.sort();
        rules
    })
}
