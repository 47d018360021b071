//! What children do to themselves between fork and exec, by raw system calls.
#![allow(unsafe_code, reason = "the children prepare themselves with raw system calls")]

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets a command do this between fork and exec: system calls alone, on what was allocated before.
pub(crate) fn prepare(
    command: &mut Command,
    steps: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: as the callers keep to what is said above.
    unsafe { command.pre_exec(steps) };
}

/// seccomp(2) with these `SECCOMP_FILTER_FLAG_…`.
pub(crate) fn install(program: &mut [libc::sock_filter], flags: libc::c_ulong) -> std::io::Result<()> {
    let length = libc::c_ushort::try_from(program.len()).expect("short");
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: `program` points to `length` instructions that live until the call returns.
    match unsafe { libc::syscall(libc::SYS_seccomp, 1, flags, &raw const program) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Makes this thread, and no other, nobody: with the last uid 0 all capabilities go.
pub(crate) fn become_nobody() {
    // SAFETY: three integers; no other thread depends on this one's credentials.
    assert_eq!(unsafe { libc::syscall(libc::SYS_setresuid, 65534, 65534, 65534) }, 0);
}
