//! Programs behind functions and tracepoints of security modules (`bpf/module.h`): which of them there are here.

use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};

use crate::event::MODULES;

/// The function or tracepoint of a security module behind which a program stands.
pub(crate) fn function(name: &str) -> Option<&str> {
    MODULES.iter().find_map(|module| name.strip_prefix(module)?.strip_prefix('_'))
}

/// Loads the programs behind functions of these modules. A kernel that lacks a function goes without its program; one that lets
/// nobody stand behind any (EPERM) is not asked again.
pub(crate) fn load(ebpf: &mut Ebpf, modules: &[String], types: &Btf) -> Vec<String> {
    let active = |name: &str| modules.iter().any(|module| name.starts_with(module.as_str()));
    let names: Vec<String> =
        ebpf.programs().map(|(name, _)| name).filter(|name| active(name)).map(str::to_owned).collect();
    let mut loaded = Vec::new();
    for name in names {
        let Some(function) = function(&name) else { continue };
        let result = match ebpf.program_mut(&name) {
            Some(Program::FExit(program)) => program.load(function, types),
            Some(Program::RawTracePoint(program)) => program.load(),
            _ => continue,
        };
        match result {
            Ok(()) => loaded.push(name),
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(nix::libc::EPERM) =>
            {
                break;
            }
            Err(_) => {}
        }
    }
    loaded
}
