//! Programs by their names: where each stands, how it is loaded, attached and detached. Those of `plim learn` are called alike.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::thread::ScopedJoinHandle;

use aya::programs::{Program, ProgramError};
use aya::{Btf, BtfError, Ebpf};
use plim_seccomp::resolve::KernelVersion;

use crate::error::{TracerError, step};
use crate::modules;
use crate::tracer::Scope;

/// Programs that are there twice: at a raw tracepoint and at perf's probe of it, of which this is the system.
const TWICE: [(&str, &str, &str); 6] = [
    ("capable", "capable_perf", "capability"),
    ("ended", "ended_perf", "sched"),
    ("executed", "executed_perf", "sched"),
    ("rings", "rings_perf", "io_uring"),
    ("sys_enter", "sys_enter_perf", "raw_syscalls"),
    ("sys_exit", "sys_exit_perf", "raw_syscalls"),
];

/// By what programs stand at tracepoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// Raw ones: the cheapest.
    Raw,
    /// Perf's, around which preemption is off.
    Perf,
}

/// tracefs is not mounted where everybody looks for it, or cannot be read there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTracefs;

impl Probes {
    /// The cheapest that are exact on this kernel. Since Linux 7.0 (include/linux/tracepoint.h) a program at a raw tracepoint can be
    /// preempted, and is skipped for others then.
    ///
    /// # Errors
    /// These are perf's, and cannot be had: they need tracefs.
    pub fn exact() -> Result<Probes, NoTracefs> {
        let release = nix::sys::utsname::uname().ok();
        let version = release.and_then(|names| KernelVersion::from_release(names.release().to_str()?));
        if version.is_some_and(|version| version < KernelVersion { major: 7, minor: 0 }) {
            return Ok(Probes::Raw);
        }
        let has_events = |at| Path::new(at).join("events/raw_syscalls/sys_enter/id").exists();
        let mounted = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"].into_iter().any(has_events);
        if mounted { Ok(Probes::Perf) } else { Err(NoTracefs) }
    }

    /// The program that does what the one with this name does.
    pub fn program(self, name: &'static str) -> &'static str {
        match (self, TWICE.iter().find(|(raw, ..)| *raw == name)) {
            (Probes::Perf, Some((_, perf, _))) => perf,
            _ => name,
        }
    }
}

/// Where a program is attached.
fn place(name: &str) -> &str {
    let name = name.strip_suffix("_perf").unwrap_or(name);
    match name {
        "ended" => "sched_process_exit",
        "executed" => "sched_process_exec",
        "refused" => "__secure_computing",
        "not_permitted" => "__seccomp_permit_syscall",
        "capable" | "capable_exit" => "cap_capable",
        other => modules::function(other).unwrap_or(other),
    }
}

fn no_program(name: &str) -> TracerError {
    TracerError::Kernel(format!("the object has no program {name}"))
}

/// Loads a program; nothing is attached yet.
///
/// # Errors
/// The kernel refuses it, or has not the function or tracepoint.
pub fn load(ebpf: &mut Ebpf, name: &str, types: &Btf) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
    load_program(program, name, types)
}

fn load_program(program: &mut Program, name: &str, types: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::RawTracePoint(program) => program.load(),
        Program::TracePoint(program) => program.load(),
        Program::BtfTracePoint(program) => program.load(place(name), types),
        Program::FExit(program) => program.load(place(name), types),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Loads the programs of a scope at the same time: the verifier of a privileged program takes no lock. Returns their names: where
/// the kernel has not the function behind which one stands, that of the program which has its place.
pub(crate) fn load_scope(
    ebpf: &mut Ebpf,
    scope: Scope,
    probes: Probes,
    types: &Btf,
) -> Result<Vec<&'static str>, TracerError> {
    let mut names: Vec<_> = scope.programs().into_iter().map(|name| probes.program(name)).collect();
    let mut results: HashMap<&str, Result<(), ProgramError>> = std::thread::scope(|threads| {
        let mut loading = Vec::new();
        for (name, program) in ebpf.programs_mut() {
            if let Some(&name) = names.iter().find(|wanted| **wanted == name) {
                loading.push((name, threads.spawn(move || load_program(program, name, types))));
            }
        }
        let finished = |thread: ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        loading.into_iter().map(|(name, thread)| (name, finished(thread))).collect()
    });
    // The last one first: it is what kernels refuse.
    for name in names.iter_mut().rev() {
        let mut result = results.remove(name).unwrap_or(Err(ProgramError::UnexpectedProgramType));
        let unknown = matches!(result, Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })));
        if *name == "refused" && unknown {
            *name = "not_permitted";
            result = load(ebpf, name, types);
        }
        result.map_err(step(format!("load {name} (of {})", place(name))))?;
    }
    Ok(names)
}

/// Attaches a program that was loaded.
///
/// # Errors
/// The kernel refuses.
pub fn attach(ebpf: &mut Ebpf, name: &str) -> Result<(), TracerError> {
    attach_at(ebpf, name, place(name))
}

/// Attaches a program that was loaded to a tracepoint by its name; to more than one, where it is called for each.
pub(crate) fn attach_at(ebpf: &mut Ebpf, name: &str, place: &str) -> Result<(), TracerError> {
    let attached = match ebpf.program_mut(name) {
        Some(Program::RawTracePoint(program)) => program.attach(place).map(drop),
        Some(Program::TracePoint(program)) => {
            let system = TWICE.iter().find(|(_, perf, _)| *perf == name).map_or("", |(.., system)| system);
            program.attach(system, place).map(drop)
        }
        Some(Program::BtfTracePoint(program)) => program.attach().map(drop),
        Some(Program::FExit(program)) => program.attach().map(drop),
        _ => return Err(no_program(name)),
    };
    attached.map_err(step(format!("attach {name} (to {place})")))
}

/// Detaches a program. One that is not loaded stays as it is.
pub fn detach(ebpf: &mut Ebpf, name: &str) {
    // Unloading drops the link, which is what detaches; a program that is not loaded has none.
    match ebpf.program_mut(name) {
        Some(Program::RawTracePoint(program)) => drop(program.unload()),
        Some(Program::TracePoint(program)) => drop(program.unload()),
        Some(Program::BtfTracePoint(program)) => drop(program.unload()),
        Some(Program::FExit(program)) => drop(program.unload()),
        _ => {}
    }
}

/// How many runs of a program the kernel skipped because one was running on the processor (bpf(2) fdinfo, `recursion_misses`).
pub fn skipped_runs(ebpf: &Ebpf, name: &str) -> u64 {
    let fd = match ebpf.program(name) {
        Some(Program::RawTracePoint(program)) => program.fd().ok(),
        Some(Program::TracePoint(program)) => program.fd().ok(),
        Some(Program::BtfTracePoint(program)) => program.fd().ok(),
        Some(Program::FExit(program)) => program.fd().ok(),
        _ => None,
    };
    let Some(fd) = fd else { return 0 };
    let path = format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd());
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or_default()
}
