//! The programs in the kernel: loaded, told what to look at, attached and detached in the order that keeps them exact.

use std::os::fd::AsFd;
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, RingBuf};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use plim_model::Capability;
use plim_model::parse::status;
use plim_observe::bpf::{self, LoadError};

pub use crate::error::{TracerError, step};
use crate::programs::{self, NoTracefs, Probes, attach, load, load_scope};
use crate::{modules, rings, strings};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/trace.o"));

/// Slots in the map `targets`.
pub const MOST_TARGETS: u32 = 1024;
/// What the ring adds to each record.
const RECORD_HEADER: u64 = 8;
/// The programs learn that records have been dealt with once they take as much of the ring as this: a sixty-fourth of it.
const SETTLED_BYTES: u64 = 256 << 10;
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
            Scope::Everything => {
                vec![rings::PROGRAM, "signal_generate", "ended", "executed", "sys_enter", "sys_exit"]
            }
            Scope::Filters => vec![rings::PROGRAM, "signal_generate", "ended", "executed", "refused"],
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
    targets: Array<MapData, [u64; 4]>,
    taken: Array<MapData, u64>,
    settings: Array<MapData, [u64; SETTINGS]>,
    values: [u64; SETTINGS],
    slots: u32,
    /// Bytes of records that have been dealt with, by slot, and at the end of all; and of how many the programs do not know yet.
    settled: Vec<u64>,
    unsettled: u64,
    capabilities: CapabilityProbe,
    /// The kernel has io_uring, and does not show what is submitted to it.
    rings_hidden: bool,
    /// Programs behind hooks of security modules: those that the kernel took.
    hooks: Vec<String>,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("attached", &self.attached).field("slots", &self.slots).finish()
    }
}

/// What is counted of one target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events for which there was no room.
    pub lost: u64,
    /// Operations that it submitted to an io_uring.
    pub ring_operations: u64,
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
            taken: Array::try_from(map(&mut ebpf, "taken")?).map_err(step("open the map taken"))?,
            settings,
            values,
            ebpf,
            attached,
            remedy,
            slots: 0,
            settled: vec![0; MOST_TARGETS as usize + 1],
            unsettled: 0,
            capabilities,
            rings_hidden: false,
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
        // struct target: of the first word the low half is `armed`.
        self.targets.set(slot, [u64::from(armed), 0, 0, 0], 0).map_err(step(STEP))?;
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
            if rings::is_program(name) {
                self.rings_hidden = !rings::attach(&mut self.ebpf, name);
            } else if let Err(error) = attach(&mut self.ebpf, name) {
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

    /// A record of this length of a target has been dealt with: the room that it took is free.
    ///
    /// # Errors
    /// The programs cannot be told, and would count everything as lost soon.
    pub fn settle(&mut self, slot: u32, length: usize) -> Result<(), TracerError> {
        let bytes = u64::try_from(length).unwrap_or_default() + RECORD_HEADER;
        let Some(own) = self.settled.get_mut(usize::try_from(slot).unwrap_or(usize::MAX)) else {
            return Ok(());
        };
        *own += bytes;
        self.unsettled += bytes;
        if self.unsettled < SETTLED_BYTES {
            return Ok(());
        }
        const STEP: &str = "free the room of records in the ring";
        self.settled[MOST_TARGETS as usize] += self.unsettled;
        self.unsettled = 0;
        let slots = (0..self.slots).chain([MOST_TARGETS]);
        for (slot, bytes) in slots.map(|slot| (slot, self.settled[slot as usize])) {
            self.taken.set(slot, bytes, 0).map_err(step(STEP))?;
        }
        Ok(())
    }

    /// What was counted of each target so far, by slot.
    ///
    /// # Errors
    /// The counts cannot be read.
    pub fn counts(&self) -> Result<Vec<Counts>, TracerError> {
        let read = |slot| {
            let [_, _, lost, ring_operations] =
                self.targets.get(&slot, 0).map_err(step("read what was counted of a target"))?;
            Ok(Counts { lost, ring_operations })
        };
        (0..self.slots).map(read).collect()
    }

    /// How many runs of the programs the kernel skipped because one was running on the processor; while they are attached. What a
    /// program of a security module does not see costs no refusal: its reason is unknown then, and says which module it may be.
    pub fn skipped_runs(&self) -> u64 {
        let attached = self.attached.iter().filter(|name| !self.hooks.contains(name));
        attached.map(|name| programs::skipped_runs(&self.ebpf, name)).sum()
    }

    /// What would have kept the kernel from skipping runs, where it may.
    pub fn remedy(&self) -> Option<&'static str> {
        self.remedy
    }

    /// Whether the kernel has io_uring, and does not show what is submitted to it.
    pub fn hides_rings(&self) -> bool {
        self.rings_hidden
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
