//! The programs in the kernel: loaded, told what to look at, attached and detached in the order that keeps them exact.

use std::os::fd::AsFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plim_model::Capability;
use plim_model::parse::status;
use plim_observe::bpf::{self, LoadError};

pub use crate::error::{TracerError, step};
use crate::programs::{self, NoTracefs, Probes, attach, load, load_scope};
use crate::{modules, strings};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/trace.o"));

/// Slots in the map `targets`.
pub const MOST_TARGETS: u32 = 1024;
/// Places in the programs' `settings`.
const GENERATION: usize = 0;
const HOST: usize = 1;
const CGROUPS: usize = 2;
const FILTERS_ALONE: usize = 3;
const ATTACHED_BOOT_NS: usize = 4;
const SETTINGS: usize = 5;
/// By what the processes of a target are told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The inode of its pid namespace: whatever lives there or in one below.
    PidNamespace(u32),
    /// A cgroup, for a target that shares the host's pid namespace: whatever is in it or below.
    Cgroup {
        /// Its inode, which is its id in the kernel.
        id: u64,
        /// In the unified hierarchy; else in that of `pids`. The same for every target.
        unified: bool,
    },
}

/// How refused capabilities are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapabilityProbe {
    /// The tracepoint of Linux 6.18.
    Tracepoint,
    /// fexit on cap_capable().
    Fexit,
    /// Not at all: a refusal for want of a capability is `unknown`.
    None,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every refusal, by the tracepoints that each call of each process passes.
    Everything,
    /// What filters refuse, and nothing else: by a program behind the kernel's own question to them (fexit on
    /// `__secure_computing`, or what it has become), which calls of processes without a filter never come to.
    Filters,
}

impl Scope {
    /// The programs, in the order in which they are attached: what ends a call last, so that no end is seen whose
    /// beginning, capabilities or signal were not.
    pub(crate) fn programs(self) -> Vec<&'static str> {
        match self {
            Scope::Everything => vec!["signal_generate", "ended", "executed", "sys_enter", "sys_exit"],
            Scope::Filters => vec!["signal_generate", "ended", "executed", "refused"],
        }
    }
}

/// The programs, loaded. Dropping it detaches them.
pub struct Tracer {
    ebpf: Ebpf,
    scope: Scope,
    programs: Vec<&'static str>,
    attached: Vec<String>,
    /// What would keep the kernel from skipping its programs, where it may.
    remedy: Option<&'static str>,
    ring: RingBuf<MapData>,
    namespaces: HashMap<MapData, u32, u32>,
    cgroups: HashMap<MapData, u64, u32>,
    targets: Array<MapData, [u32; 2]>,
    settings: Array<MapData, [u64; SETTINGS]>,
    values: [u64; SETTINGS],
    lost: PerCpuArray<MapData, u64>,
    slots: u32,
    capabilities: CapabilityProbe,
    /// Programs behind hooks of security modules: those that the kernel took.
    hooks: Vec<String>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("attached", &self.attached).field("slots", &self.slots).finish()
    }
}

/// What was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Events for which the ring had no room.
    pub lost: u64,
    /// Program runs that the kernel skipped because one was running on the processor; those of security modules are left out, as
    /// they cost a reason and no refusal.
    pub skipped_runs: u64,
    /// What would have kept it from that.
    pub remedy: Option<&'static str>,
    /// Refusals whose file was not looked at: its file system did not answer, or is one that may not.
    pub unlooked: u64,
    /// [`Scope::Filters`]: refusals for other reasons were not looked at.
    pub filters_alone: bool,
}

impl Missed {
    /// What is to be said of it, a sentence each; none when all that was looked at was seen.
    pub fn words(&self) -> Vec<String> {
        let lost = format!("{} events were lost: they came faster than they could be read", self.lost);
        let skipped = format!(
            "the kernel skipped {} runs of the tracer's programs: a refusal may be missing{}",
            self.skipped_runs,
            self.remedy.map(|remedy| format!("; they are not interrupted {remedy}")).unwrap_or_default()
        );
        let unlooked = format!(
            "{} refusals were judged without the file they are about, which could not be looked at",
            self.unlooked
        );
        [(self.lost, lost), (self.skipped_runs, skipped), (self.unlooked, unlooked)]
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(_, words)| words)
            .collect()
    }
}

impl Tracer {
    /// Loads the programs; nothing is attached yet. `modules` are the security modules of the kernel.
    ///
    /// # Errors
    /// The privilege or kernel feature that is missing, or what the verifier said.
    pub fn load(scope: Scope, modules: &[String]) -> Result<Tracer, TracerError> {
        Tracer::load_at(Probes::exact(), scope, modules)
    }

    fn load_at(
        exact: Result<Probes, NoTracefs>,
        scope: Scope,
        modules: &[String],
    ) -> Result<Tracer, TracerError> {
        may_trace()?;
        let remedy = match (scope, exact) {
            // It stands behind a function, which has no probe of perf's.
            (Scope::Filters, Ok(Probes::Perf)) => Some("without --light"),
            (Scope::Filters, Err(_)) => {
                Some("without --light where tracefs can be read at /sys/kernel/tracing")
            }
            (Scope::Everything, Err(_)) => Some("where tracefs can be read at /sys/kernel/tracing"),
            (_, Ok(_)) => None,
        };
        let probes = exact.unwrap_or(Probes::Raw);
        let boot_ns = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME)
            .map_or(0, |time| u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX));
        let loaded = bpf::load(OBJECT, |mut ebpf, types| {
            let programs = load_scope(&mut ebpf, scope, probes, types)?;
            let mut attached = Vec::new();
            let capable = probes.program("capable");
            // Nothing is told before there is a target: attached at once, as only that shows whether the kernel has it.
            let capabilities = if scope == Scope::Filters {
                CapabilityProbe::None
            } else if load(&mut ebpf, capable, types).is_ok() && attach(&mut ebpf, capable).is_ok() {
                attached.push(capable.to_owned());
                CapabilityProbe::Tracepoint
            } else if load(&mut ebpf, "capable_exit", types).is_ok() {
                CapabilityProbe::Fexit
            } else {
                CapabilityProbe::None
            };
            let hooks = match scope {
                Scope::Everything => modules::load(&mut ebpf, modules, types),
                Scope::Filters => Vec::new(),
            };
            Ok((ebpf, programs, attached, capabilities, hooks))
        });
        let (mut ebpf, programs, attached, capabilities, hooks) = loaded.map_err(|error| match error {
            LoadError::NoTypes(why) => {
                TracerError::Kernel(format!("it has no BTF (CONFIG_DEBUG_INFO_BTF): {why}"))
            }
            LoadError::Maps(error) => step("make the maps (needs Linux 5.15)")(error),
        })??;
        let map = |ebpf: &mut Ebpf, name: &str| {
            ebpf.take_map(name).ok_or_else(|| TracerError::Kernel(format!("the object has no map {name}")))
        };
        let mut strings =
            Array::<_, u32>::try_from(map(&mut ebpf, "strings")?).map_err(step("open the map strings"))?;
        for (row, places) in strings::rows() {
            strings.set(row, places, 0).map_err(step("fill the map strings"))?;
        }
        let mut settings = Array::try_from(map(&mut ebpf, ".data")?).map_err(step("open the settings"))?;
        let mut values = [0; SETTINGS];
        values[FILTERS_ALONE] = u64::from(scope == Scope::Filters);
        values[ATTACHED_BOOT_NS] = boot_ns;
        settings.set(0, values, 0).map_err(step("write the settings"))?;
        Ok(Tracer {
            scope,
            programs,
            ring: RingBuf::try_from(map(&mut ebpf, "ring")?).map_err(step("open the map ring"))?,
            namespaces: HashMap::try_from(map(&mut ebpf, "namespaces")?)
                .map_err(step("open the map namespaces"))?,
            cgroups: HashMap::try_from(map(&mut ebpf, "cgroups")?).map_err(step("open the map cgroups"))?,
            targets: Array::try_from(map(&mut ebpf, "targets")?).map_err(step("open the map targets"))?,
            settings,
            values,
            lost: PerCpuArray::try_from(map(&mut ebpf, "lost")?).map_err(step("open the map lost"))?,
            ebpf,
            attached,
            remedy,
            slots: 0,
            capabilities,
            hooks,
        })
    }

    /// What is looked at.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// How refused capabilities are seen.
    pub fn capabilities(&self) -> CapabilityProbe {
        self.capabilities
    }

    /// Adds a target. With `armed` its calls count at once, else from its next execve on. Returns its slot.
    ///
    /// # Errors
    /// [`TracerError::TooMany`], or the kernel refuses.
    pub fn add(&mut self, identity: Identity, armed: bool) -> Result<u32, TracerError> {
        const STEP: &str = "name a target to the programs";
        let slot = self.slots;
        if slot >= MOST_TARGETS {
            return Err(TracerError::TooMany);
        }
        self.targets.set(slot, [u32::from(armed), 0], 0).map_err(step(STEP))?;
        match identity {
            Identity::PidNamespace(inode) => {
                self.namespaces.insert(inode, slot, 0).map_err(step(STEP))?;
            }
            Identity::Cgroup { id, unified } => {
                self.cgroups.insert(id, slot, 0).map_err(step(STEP))?;
                self.values[CGROUPS] = if unified { 1 } else { 2 };
            }
        }
        if !matches!(identity, Identity::PidNamespace(inode) if inode != FIRST_PID_NAMESPACE) {
            self.values[HOST] = 1;
        }
        self.values[GENERATION] += 1;
        self.settings.set(0, self.values, 0).map_err(step(STEP))?;
        self.slots += 1;
        Ok(slot)
    }

    /// Attaches the programs.
    ///
    /// # Errors
    /// The kernel refuses; what was attached is detached again.
    pub fn attach(&mut self) -> Result<(), TracerError> {
        // Without one of these a refusal is unknown.
        self.hooks.retain(|hook| attach(&mut self.ebpf, hook).is_ok());
        self.attached.extend(self.hooks.iter().cloned());
        let capable = (self.capabilities == CapabilityProbe::Fexit).then_some("capable_exit");
        for name in capable.into_iter().chain(self.programs.iter().copied()) {
            if let Err(error) = attach(&mut self.ebpf, name) {
                self.detach();
                return Err(error);
            }
            self.attached.push(name.to_owned());
        }
        Ok(())
    }

    /// Detaches the programs in the opposite order. What they told before can still be read.
    pub fn detach(&mut self) {
        while let Some(name) = self.attached.pop() {
            programs::detach(&mut self.ebpf, &name);
        }
    }

    /// Waits for events, `timeout` at most.
    pub fn wait(&self, timeout: Duration) {
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.ring.as_fd(), PollFlags::POLLIN)];
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout);
    }

    /// Hands the next record ([`crate::event::Event::parse`] reads it) to `read`; `None` when there is none now.
    pub fn next_record<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.ring.next().map(|record| read(&record))
    }

    /// What was not seen so far. Skipped runs are counted while the programs are attached.
    pub fn missed(&self) -> Missed {
        let lost = self.lost.get(&0, 0).map(|counts| counts.iter().sum()).unwrap_or_default();
        // What a program of a security module does not see costs no refusal: its reason is unknown then, and says which module it may be.
        let attached = self.attached.iter().filter(|name| !self.hooks.contains(name));
        let skipped_runs = attached.map(|name| programs::skipped_runs(&self.ebpf, name)).sum();
        Missed {
            lost,
            skipped_runs,
            unlooked: 0,
            remedy: self.remedy,
            filters_alone: self.scope == Scope::Filters,
        }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.detach();
    }
}

/// `PROC_PID_INIT_INO` (include/linux/proc_ns.h).
pub const FIRST_PID_NAMESPACE: u32 = 4_026_531_836;
/// `PROC_USER_INIT_INO`.
pub const FIRST_USER_NAMESPACE: u32 = 4_026_531_837;

/// Whether this process may trace: its capabilities, and that it lives in the first pid namespace.
///
/// # Errors
/// What is missing.
pub fn may_trace() -> Result<(), TracerError> {
    let own =
        std::fs::read_to_string("/proc/thread-self/status").map_err(step("read /proc/thread-self/status"))?;
    let own = status::parse(&own).map_err(step("read /proc/thread-self/status"))?.capabilities.effective;
    let lacks = |name: &&str| !Capability::from_name(name).is_some_and(|capability| own.contains(capability));
    let missing: Vec<&str> = ["CAP_BPF", "CAP_PERFMON"].into_iter().filter(lacks).collect();
    if !missing.is_empty() && lacks(&"CAP_SYS_ADMIN") {
        return Err(TracerError::Privilege(missing.join(" and ")));
    }
    let link = std::fs::read_link("/proc/self/ns/pid").map_err(step("readlink /proc/self/ns/pid"))?;
    let link = link.to_string_lossy().into_owned();
    if link == format!("pid:[{FIRST_PID_NAMESPACE}]") { Ok(()) } else { Err(TracerError::PidNamespace(link)) }
}

#[cfg(test)]
#[path = "tracer_tests.rs"]
mod tests;
