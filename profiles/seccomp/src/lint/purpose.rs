//! Calls that get around what a filter is for.

use std::collections::BTreeMap;

use super::{Class, Finding, Permit, Severity, View};
use crate::arguments;
use crate::constants;
use crate::diagram::Undecided;
use crate::kernel::KernelVersion;
use crate::syscalls;

/// A call, with the constant of one argument where only that is meant.
struct Row {
    syscall: &'static str,
    /// The argument's name and the constant; a flag where the set has flags.
    only: Option<(&'static str, &'static str)>,
    severity: Severity,
    /// Graver before this release.
    graver_before: Option<KernelVersion>,
    why: &'static str,
}

const fn row(syscall: &'static str, severity: Severity, why: &'static str) -> Row {
    Row { syscall, only: None, severity, graver_before: None, why }
}

const fn only(
    syscall: &'static str,
    argument: (&'static str, &'static str),
    severity: Severity,
    why: &'static str,
) -> Row {
    Row { syscall, only: Some(argument), severity, graver_before: None, why }
}

const USER_NAMESPACE: &str = "a new user namespace gives every capability inside of it, and with them kernel code that is otherwise out of reach";
const OTHER_PROCESSES: &str =
    "reads or changes other processes of the container, those that run under another filter among them";
const KERNEL_CODE: &str = "puts code into the kernel, below every filter";
const MOUNTS: &str = "changes what the file system shows, masked paths among it";

#[rustfmt::skip]
static TABLE: [Row; 26] = [
    row("io_uring_setup", Severity::High, "operations that are submitted through the ring are no system calls: no filter sees them"),
    Row { syscall: "ptrace", only: None, severity: Severity::Low, graver_before: Some(KernelVersion { major: 4, minor: 8 }),
          why: "reads or changes other processes of the container; before Linux 4.8 a tracer changes the call after the filter has judged it" },
    row("process_vm_writev", Severity::Low, OTHER_PROCESSES),
    row("pidfd_getfd", Severity::Medium, "takes open files from other processes"),
    row("userfaultfd", Severity::Medium, "holds the kernel inside of a copy from user memory for as long as it likes, which makes races exploitable"),
    row("bpf", Severity::High, "loads programs into the kernel"),
    row("perf_event_open", Severity::Medium, "observes the kernel and other processes, through much code that is seldom needed"),
    row("kexec_load", Severity::High, KERNEL_CODE),
    row("kexec_file_load", Severity::High, KERNEL_CODE),
    row("init_module", Severity::High, KERNEL_CODE),
    row("finit_module", Severity::High, KERNEL_CODE),
    row("open_by_handle_at", Severity::High, "opens files by handle, outside of the container's mounts too"),
    row("iopl", Severity::High, "gives the process the machine's I/O ports"),
    row("ioperm", Severity::High, "gives the process I/O ports of the machine"),
    row("mount", Severity::Medium, MOUNTS),
    row("move_mount", Severity::Medium, MOUNTS),
    row("umount2", Severity::Medium, MOUNTS),
    row("pivot_root", Severity::Medium, MOUNTS),
    row("setns", Severity::Medium, "enters other namespaces, and what is reachable there"),
    row("add_key", Severity::Low, "keyrings are shared with the host's processes of the same user"),
    row("keyctl", Severity::Low, "keyrings are shared with the host's processes of the same user"),
    only("unshare", ("flags", "CLONE_NEWUSER"), Severity::Medium, USER_NAMESPACE),
    only("clone", ("flags", "CLONE_NEWUSER"), Severity::Medium, USER_NAMESPACE),
    row("clone3", Severity::Low, "takes its flags behind a pointer, so that no filter can refuse new namespaces"),
    only("socket", ("family", "AF_VSOCK"), Severity::Medium, "AF_VSOCK belongs to no network namespace: it reaches the hypervisor and its services"),
    only("ioctl", ("cmd", "TIOCSTI"), Severity::Low, "types into the caller's terminal (refused by default since Linux 6.2)"),
];

/// S014.
pub(super) fn defeated(view: &mut View<'_>, kernel: KernelVersion) -> Result<Vec<Finding>, Undecided> {
    let mut found: BTreeMap<usize, (Finding, Vec<&str>)> = BTreeMap::new();
    for arch in view.arches.clone() {
        for (index, row) in TABLE.iter().enumerate() {
            let Some(nr) = syscalls::number(arch, row.syscall) else { continue };
            let mut rest = view.at(arch, nr);
            let mut fixed = None;
            if let Some((name, constant)) = row.only {
                let place =
                    (0u8..).zip(arguments::on(arch, row.syscall)).find(|(_, argument)| argument.name == name);
                let Some((place, argument)) = place else { continue };
                // clone's set has no exclusive values at the flag's place; unshare's neither.
                let Some((set, value)) =
                    argument.set.and_then(|set| Some((set, constants::value(set, constant)?)))
                else {
                    continue;
                };
                let mask = if set.has_flags() { value } else { u64::MAX };
                rest = view.store.given(rest, arch, place, mask, value)?;
                fixed = Some((place, value));
            }
            if view.most(rest) != Permit::Made {
                continue;
            }
            let mut call = view.example_of(rest, arch, nr, |action| Permit::of(action) == Permit::Made);
            if let (Some(call), Some((place, value))) = (&mut call, fixed) {
                call.args[usize::from(place)] |= value;
            }
            let graver = row.graver_before.is_some_and(|release| kernel < release);
            let severity = if graver { Severity::High } else { row.severity };
            let what = row.only.map_or_else(String::new, |(_, constant)| format!(" with {constant}"));
            let message = format!("{}{what} is let through: {}", row.syscall, row.why);
            let pointer = call.and_then(|call| view.pointer(&call));
            let finding = || {
                Finding::new(Class::DefeatsPurpose, severity, message).witness(call.as_ref()).pointer(pointer)
            };
            found.entry(index).or_insert_with(|| (finding(), Vec::new())).1.push(arch.name());
        }
    }
    Ok(found
        .into_values()
        .map(|(finding, arches)| finding.evidence([format!("so on {}", arches.join(", "))]))
        .collect())
}
