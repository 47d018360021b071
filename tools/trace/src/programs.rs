//! The programs by their names: where each stands, how it is loaded and attached.

use std::collections::HashMap;
use std::thread::ScopedJoinHandle;

use aya::programs::{Program, ProgramError};
use aya::{Btf, BtfError, Ebpf};

use crate::error::{TracerError, step};
use crate::modules;
use crate::tracer::Scope;

/// Where a program is attached.
fn place(name: &str) -> &str {
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

pub(crate) fn load(ebpf: &mut Ebpf, name: &str, types: &Btf) -> Result<(), ProgramError> {
    let program = ebpf.program_mut(name).ok_or(ProgramError::UnexpectedProgramType)?;
    load_program(program, name, types)
}

fn load_program(program: &mut Program, name: &str, types: &Btf) -> Result<(), ProgramError> {
    match program {
        Program::RawTracePoint(program) => program.load(),
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
    types: &Btf,
) -> Result<Vec<&'static str>, TracerError> {
    let mut names = scope.programs();
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

pub(crate) fn attach(ebpf: &mut Ebpf, name: &str) -> Result<(), TracerError> {
    let attached = match ebpf.program_mut(name) {
        Some(Program::RawTracePoint(program)) => program.attach(place(name)).map(drop),
        Some(Program::BtfTracePoint(program)) => program.attach().map(drop),
        Some(Program::FExit(program)) => program.attach().map(drop),
        _ => return Err(no_program(name)),
    };
    attached.map_err(step(format!("attach {name} (to {})", place(name))))
}
