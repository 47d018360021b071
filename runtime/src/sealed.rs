//! Every process of ours executes a file that nothing can write: so no container ever gets the host's `plim-run` by way of
//! `/proc/PID/exe` (the class of CVE-2019-5736), whatever it makes of its image, its command and its neighbours.
//!
//! The program executes itself anew, once, from
//! 1. a **read-only clone of its own mount**, which is in no mount namespace (open_tree(2), Linux 5.2; mount_setattr(2), Linux
//!    5.12; CAP_SYS_ADMIN). Opening it for writing is EROFS, for good: the clone is unmounted the moment the descriptor
//!    closes, and neither mount(2) nor mount_setattr(2) touches a mount that is in no namespace (EINVAL). It costs one execve(2).
//!    Without CAP_SYS_ADMIN a short-lived process makes it in a user namespace.
//! 2. else, or when the container can open files by handle, a **sealed copy in memory** (memfd_create(2)), which costs a copy
//!    of the program.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, IntoRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::fexecve;
use plim_model::{Capability, NamespaceKind};

use crate::config::ContainerConfig;
use crate::error::{During, Result, RuntimeError};
use crate::sys::{self, Forked};

const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// MFD_EXEC (Linux 6.3): asked for because vm.memfd_noexec may make "not executable" the default.
const EXECUTABLE: MFdFlags = MFdFlags::from_bits_retain(0x10);

/// Why this process's executable cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seal {
    /// It is on a read-only mount that is in no namespace.
    Mount,
    /// It is sealed memory.
    Memory,
}

/// Call this early in `main` of a program that runs containers, after [`crate::init_entry`] and before any thread: executes the
/// program anew from a file that nothing can write. Does nothing when that is so already, and when it cannot be done:
/// then [`crate::create`] says why and refuses.
pub fn seal() {
    // Executed by descriptor already: a second time would change nothing.
    if own_seal().is_none()
        && !sys::executed_by_descriptor()
        && let Ok(file) =
            read_only_clone(OWN_EXECUTABLE).or_else(unprivileged_clone).or_else(|_| copy(OWN_EXECUTABLE))
    {
        execute(&file);
    }
    name_process();
}

/// As [`seal`], for the container that is about to be made: when its command can open files by handle
/// (open_by_handle_at(2)), it could read the host's file system by way of a descriptor of our executable, read-only as the
/// mount is. Then the executable is a copy in memory.
pub fn seal_for(config: &ContainerConfig) {
    if wants_memory(config)
        && own_seal() == Some(Seal::Mount)
        && let Ok(file) = copy(OWN_EXECUTABLE)
    {
        execute(&file);
    }
}

/// Executes `program` sealed, with this process's arguments but for the first, and its environment. Returns when that
/// cannot be done; executing it as it is costs the program an execve(2) of its own.
pub fn execute_sealed(program: &Path, arguments: &[std::ffi::OsString]) {
    if let Ok(file) = read_only_clone(program) {
        execute_as(&file, program.as_os_str(), arguments.iter().cloned());
    }
}

/// Refuses to make a container while this process's executable could be written or, as far as that matters, used.
pub(crate) fn require(config: &ContainerConfig) -> Result<()> {
    match own_seal() {
        Some(Seal::Memory) => Ok(()),
        Some(Seal::Mount) if !wants_memory(config) => Ok(()),
        found => {
            // What stood in the way is what stands in it now.
            copy(OWN_EXECUTABLE)?;
            let found = if found.is_some() { "on a read-only mount" } else { "the host's file" };
            Err(RuntimeError::refused(
                "run a container",
                format!(
                    "this process's executable is {found}, and executing a sealed copy of it in memory failed"
                ),
            ))
        }
    }
}

/// This process's executable, sealed as it is, for a process that stays in the container.
pub(crate) fn own_executable() -> Result<OwnedFd> {
    open(OWN_EXECUTABLE, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .during(|| format!("open {OWN_EXECUTABLE}"))
}

/// Whether this process's executable is sealed.
pub(crate) fn is_sealed() -> bool {
    own_seal().is_some()
}

/// A capability of the host's user namespace is meant: in one of its own, the container opens nothing by handle.
fn wants_memory(config: &ContainerConfig) -> bool {
    !config.namespaces.contains_key(&NamespaceKind::User)
        && Capability::from_name("DAC_READ_SEARCH")
            .is_none_or(|by_handle| config.process.capabilities.bounding.contains(by_handle))
}

fn own_seal() -> Option<Seal> {
    let link = std::fs::read_link(OWN_EXECUTABLE).ok()?;
    if link == Path::new("/") {
        // A mount of one file that is in no namespace has no other path (d_path in the kernel).
        let read_only = fstatvfs(own_executable().ok()?).ok()?.flags().contains(FsFlags::ST_RDONLY);
        return read_only.then_some(Seal::Mount);
    }
    if !link.as_os_str().as_bytes().starts_with(b"/memfd:") {
        return None;
    }
    let file = File::open(OWN_EXECUTABLE).ok()?;
    let found = SealFlag::from_bits_retain(fcntl(&file, FcntlArg::F_GET_SEALS).ok()?);
    found.contains(seals()).then_some(Seal::Memory)
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

fn read_only_clone(program: impl AsRef<Path>) -> Result<OwnedFd> {
    let program = program.as_ref();
    let doing = || format!("clone the mount of {} read-only", program.display());
    let mount = sys::clone_mount_at(program).during(doing)?;
    const RDONLY: u64 = 0x1; // MOUNT_ATTR_RDONLY
    sys::mount_setattr(mount.as_fd(), false, RDONLY, 0, 0).during(doing)?;
    Ok(mount)
}

/// The clone of a caller without CAP_SYS_ADMIN, when `error` says that it is missing. A process that shares this one's
/// descriptors makes it in user and mount namespaces of its own and ends.
fn unprivileged_clone(error: RuntimeError) -> Result<OwnedFd> {
    const SHARED_DESCRIPTORS: u64 = 0x400; // CLONE_FILES
    const FAILED: u8 = 255;
    if !matches!(error, RuntimeError::System { errno: libc::EPERM, .. }) {
        return Err(error);
    }
    let doing = || "clone the mount of the executable in a user namespace";
    // By its path: the link in /proc leads to the mount in the caller's namespace.
    let path = std::fs::read_link(OWN_EXECUTABLE).during(doing)?;
    let flags = SHARED_DESCRIPTORS | flag(NamespaceKind::User) | flag(NamespaceKind::Mnt);
    match sys::clone3(flags, libc::SIGCHLD, None).during(doing)? {
        Forked::Child => {
            let clone = read_only_clone(&path).ok().and_then(|mount| u8::try_from(mount.into_raw_fd()).ok());
            sys::exit_now(clone.unwrap_or(FAILED).into())
        }
        Forked::Parent((pid, _)) => match waitpid(pid, None).during(doing)? {
            WaitStatus::Exited(_, number) if number < i32::from(FAILED) => {
                let mount = sys::own(number);
                let same = fstat(&mount).during(doing)?;
                let own = stat(OWN_EXECUTABLE).during(doing)?;
                if (same.st_dev, same.st_ino) == (own.st_dev, own.st_ino) {
                    return Ok(mount);
                }
                Err(RuntimeError::refused(doing(), format!("{} is another file now", path.display())))
            }
            _ => Err(error),
        },
    }
}

fn flag(kind: NamespaceKind) -> u64 {
    u64::from(crate::namespaces::flag(kind).bits().cast_unsigned())
}

fn copy(program: &str) -> Result<OwnedFd> {
    let doing = || format!("copy {program} into sealed memory (vm.memfd_noexec must be below 2)");
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let memory = match memfd_create("plim-run", flags | EXECUTABLE) {
        Err(Errno::EINVAL) => memfd_create("plim-run", flags),
        other => other,
    }
    .during(doing)?;
    let mut copy = File::from(memory);
    let mut program = File::open(program).during(doing)?;
    std::io::copy(&mut program, &mut copy).during(doing)?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals())).during(doing)?;
    Ok(copy.into())
}

/// Becomes `file`, with this process's own arguments. Returns when that fails.
fn execute(file: &OwnedFd) {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "plim-run".into());
    execute_as(file, &name, arguments);
}

fn execute_as(file: &OwnedFd, name: &OsStr, arguments: impl Iterator<Item = std::ffi::OsString>) {
    let c_string = |bytes: Vec<u8>| CString::new(bytes).ok();
    let arguments = std::iter::once(name.to_owned()).chain(arguments);
    let arguments: Option<Vec<CString>> = arguments.map(|argument| c_string(argument.into_vec())).collect();
    let environment: Option<Vec<CString>> = std::env::vars_os()
        .map(|(key, value)| c_string([key.as_bytes(), b"=", value.as_bytes()].concat()))
        .collect();
    if let (Some(arguments), Some(environment)) = (arguments, environment) {
        let Err(_) = fexecve(file.as_fd(), &arguments, &environment);
    }
}

/// The kernel names a process that was executed by descriptor after the descriptor's number (before Linux 6.14).
fn name_process() {
    let name = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default();
    if let Ok(name) = CString::new(name.as_bytes()) {
        let _ = nix::sys::prctl::set_name(&name);
    }
}
