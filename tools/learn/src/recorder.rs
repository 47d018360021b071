//! The programs in the kernel: loaded for one container, attached, and read when it has done its work.

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::{Btf, Ebpf, EbpfLoader};
use plim_seccomp::{Arch, arguments, syscalls, telling};
use plim_trace::programs::{self, Probes};
use plim_trace::tracer::{TracerError, step};

use crate::changes;
use crate::event::Event;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/record.o"));

/// Where i386's rows begin in the maps `telling` and `changes`.
const ROWS: u32 = 1024;
/// In the order of attaching: the calls come last.
const TRACEPOINTS: [&str; 3] = ["executed", "sys_exit", "sys_enter"];

/// The programs for one container. Dropping it detaches them.
pub(crate) struct Recorder {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    calls: HashMap<MapData, [u8; 24], u64>,
    capabilities: HashMap<MapData, [u8; 16], u64>,
    lost: PerCpuArray<MapData, u64>,
    probe: Option<&'static str>,
    tracepoints: [&'static str; 3],
    attached: Vec<&'static str>,
}

/// One counted call.
pub(crate) struct Call {
    pub(crate) number: u32,
    pub(crate) flags: u32,
    pub(crate) args: [u64; 2],
    pub(crate) count: u64,
}

/// One counted question for a capability.
pub(crate) struct Asked {
    pub(crate) number: i32,
    pub(crate) flags: u32,
    pub(crate) user_namespace: u32,
    pub(crate) capability: u32,
    pub(crate) count: u64,
}

impl Recorder {
    /// Loads the programs for the container whose pid namespace has this inode and lies this deep (the first is 0).
    ///
    /// # Errors
    /// What the kernel lacks, or what the verifier said.
    pub(crate) fn load(pid_namespace: u32, level: u32) -> Result<Recorder, TracerError> {
        Recorder::load_at(Probes::exact().unwrap_or(Probes::Raw), pid_namespace, level)
    }

    fn load_at(probes: Probes, pid_namespace: u32, level: u32) -> Result<Recorder, TracerError> {
        // Without BTF the loader would leave the offsets of the machine that compiled the programs in them.
        let btf = Btf::from_sys_fs().map_err(|error| {
            TracerError::Kernel(format!("it has no BTF (CONFIG_DEBUG_INFO_BTF): {error}"))
        })?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("target_inode", &pid_namespace, true)
            .override_global("target_level", &level, true)
            .load(OBJECT)
            .map_err(step("make the maps"))?;
        let tracepoints = TRACEPOINTS.map(|name| probes.program(name));
        for name in tracepoints {
            programs::load(&mut ebpf, name, &btf).map_err(step(format!("load {name}")))?;
        }
        let probe = [probes.program("capable"), "capable_exit"]
            .into_iter()
            .find(|name| programs::load(&mut ebpf, name, &btf).is_ok());
        fill(&mut ebpf)?;
        Ok(Recorder {
            ring: RingBuf::try_from(map(&mut ebpf, "ring")?).map_err(step("open the map ring"))?,
            calls: HashMap::try_from(map(&mut ebpf, "calls")?).map_err(step("open the map calls"))?,
            capabilities: HashMap::try_from(map(&mut ebpf, "capabilities")?)
                .map_err(step("open the map capabilities"))?,
            lost: PerCpuArray::try_from(map(&mut ebpf, "lost")?).map_err(step("open the map lost"))?,
            ebpf,
            probe,
            tracepoints,
            attached: Vec::new(),
        })
    }

    /// Whether the kernel lets capabilities be seen.
    pub(crate) fn sees_capabilities(&self) -> bool {
        self.probe.is_some()
    }

    /// Attaches the programs.
    ///
    /// # Errors
    /// The kernel refuses; what was attached is detached again.
    pub(crate) fn attach(&mut self) -> Result<(), TracerError> {
        for name in self.probe.into_iter().chain(self.tracepoints) {
            if let Err(error) = programs::attach(&mut self.ebpf, name) {
                self.detach();
                return Err(error);
            }
            self.attached.push(name);
        }
        Ok(())
    }

    /// Detaches the programs; what they told can still be read.
    pub(crate) fn detach(&mut self) {
        while let Some(name) = self.attached.pop() {
            programs::detach(&mut self.ebpf, name);
        }
    }

    /// The next event; `None` when there is none now, `Some(None)` for a record of another size.
    pub(crate) fn next(&mut self) -> Option<Option<Event>> {
        self.ring.next().map(|record| Event::parse(&record))
    }

    /// Calls by number and telling arguments.
    ///
    /// # Errors
    /// The table cannot be read: a part of it would pass for the whole.
    pub(crate) fn calls(&self) -> Result<Vec<Call>, TracerError> {
        let call = |(key, count): ([u8; 24], u64)| Call {
            number: u32_at(&key, 0),
            flags: u32_at(&key, 4),
            args: [u64_at(&key, 8), u64_at(&key, 16)],
            count,
        };
        self.calls.iter().map(|row| row.map(call).map_err(step("read the map calls"))).collect()
    }

    /// Capabilities by call.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(crate) fn capabilities(&self) -> Result<Vec<Asked>, TracerError> {
        let asked = |(key, count): ([u8; 16], u64)| Asked {
            number: u32_at(&key, 0).cast_signed(),
            flags: u32_at(&key, 4),
            user_namespace: u32_at(&key, 8),
            capability: u32_at(&key, 12),
            count,
        };
        self.capabilities
            .iter()
            .map(|row| row.map(asked).map_err(step("read the map capabilities")))
            .collect()
    }

    /// How many runs of the programs the kernel skipped; while they are attached.
    pub(crate) fn skipped_runs(&self) -> u64 {
        self.attached.iter().map(|name| programs::skipped_runs(&self.ebpf, name)).sum()
    }

    /// What found no room in the maps, and in the ring.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub(crate) fn lost(&self) -> Result<[u64; 2], TracerError> {
        let lost =
            |row| self.lost.get(&row, 0).map(|counts| counts.iter().sum()).map_err(step("read the map lost"));
        Ok([lost(0)?, lost(1)?])
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.detach();
    }
}

fn map(ebpf: &mut Ebpf, name: &str) -> Result<aya::maps::Map, TracerError> {
    ebpf.take_map(name).ok_or_else(|| TracerError::Kernel(format!("the object has no map {name}")))
}

fn u32_at(key: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(key[at..at + 4].try_into().unwrap_or_default())
}

fn u64_at(key: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(key[at..at + 8].try_into().unwrap_or_default())
}

/// Tells the programs which arguments count, and which calls change something.
fn fill(ebpf: &mut Ebpf) -> Result<(), TracerError> {
    let mut telling_rows =
        Array::<_, [u64; 3]>::try_from(map(ebpf, "telling")?).map_err(step("open the map telling"))?;
    let mut changes_rows =
        Array::<_, [u8; 8]>::try_from(map(ebpf, "changes")?).map_err(step("open the map changes"))?;
    for (arch, first) in [(Arch::X86_64, 0), (Arch::X86, ROWS)] {
        let row = |name: &str| {
            syscalls::number(arch, name).map(|nr| nr.0).filter(|nr| *nr < ROWS).map(|nr| first + nr)
        };
        for (name, told) in telling::calls() {
            let Some(row) = row(name) else { continue };
            let place = |at: usize| told.get(at).map_or(0, |one| u64::from(one.index) + 1);
            let mask = |at: usize| told.get(at).map_or(0, |one| one.how.mask());
            // struct telling: two words of 32 bits, then the masks.
            let words = [place(0) | place(1) << 32, mask(0), mask(1)];
            telling_rows.set(row, words, 0).map_err(step("fill the map telling"))?;
        }
        for change in &changes::TABLE {
            let Some(row) = row(change.syscall) else { continue };
            changes_rows.set(row, change.row(), 0).map_err(step("fill the map changes"))?;
        }
    }
    Ok(())
}

/// The name of an argument.
pub(crate) fn argument_name(arch: Arch, syscall: &str, index: u8) -> String {
    arguments::argument(arch, syscall, index)
        .map_or_else(|| format!("arg{index}"), |argument| argument.name.to_string())
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
