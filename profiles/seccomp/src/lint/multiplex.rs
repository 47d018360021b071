//! `socketcall` and `ipc`: one number for many calls, whose arguments lie behind a pointer where no filter sees them.

use std::collections::BTreeSet;

use super::rules::some;
use super::{Class, Finding, Permit, Severity, View};
use crate::action::Action;
use crate::arch::Arch;
use crate::constants::ConstantSet;
use crate::diagram::{Diagram, Store, Undecided};
use crate::interpret::SeccompData;
use crate::syscalls;

/// The direct call of an operation: `SYS_SOCKET` is `socket`, `SHMGET` is `shmget`. Some have a successor only.
fn direct(arch: Arch, operation: &str) -> Option<&'static str> {
    let name = operation.strip_prefix("SYS_").unwrap_or(operation).to_lowercase();
    let name = match name.as_str() {
        "accept" if syscalls::number(arch, "accept").is_none() => "accept4",
        "send" if syscalls::number(arch, "send").is_none() => "sendto",
        "recv" if syscalls::number(arch, "recv").is_none() => "recvfrom",
        "semop" if syscalls::number(arch, "semop").is_none() => "semtimedop_time64",
        "semtimedop" if syscalls::number(arch, "semtimedop").is_none() => "semtimedop_time64",
        other => other,
    };
    syscalls::name(arch, syscalls::number(arch, name)?)
}

/// S002.
pub(super) fn companions(view: &mut View<'_>) -> Result<Vec<Finding>, Undecided> {
    Ok(by_operations(view)?.into_iter().map(|(_, finding)| finding).collect())
}

/// The findings of S002 that speak of one of `calls`, for whoever refuses these: they can still be made. `store` is as it was before.
///
/// # Errors
/// [`Undecided`] when the budget does not suffice.
pub fn still_made(
    store: &mut Store,
    diagram: Diagram,
    calls: &BTreeSet<&str>,
) -> Result<Vec<Finding>, Undecided> {
    let mut view = View::new(std::mem::take(store), diagram, Arch::X86_64, None);
    let found = by_operations(&mut view);
    *store = view.store;
    let speaks = |operations: &[&str]| operations.iter().any(|name| calls.contains(name));
    Ok(found?.into_iter().filter(|(operations, _)| speaks(operations)).map(|(_, finding)| finding).collect())
}

/// Each finding with the calls that are refused and made all the same.
type ByOperations = Vec<(Vec<&'static str>, Finding)>;

fn by_operations(view: &mut View<'_>) -> Result<ByOperations, Undecided> {
    let mut findings = Vec::new();
    for arch in view.arches.clone() {
        for (multiplexer, set) in [("socketcall", ConstantSet::SocketCall), ("ipc", ConstantSet::IpcCall)] {
            findings.extend(companion(view, arch, multiplexer, set)?);
        }
    }
    Ok(findings)
}

fn companion(
    view: &mut View<'_>,
    arch: Arch,
    multiplexer: &'static str,
    set: ConstantSet,
) -> Result<Option<(Vec<&'static str>, Finding)>, Undecided> {
    let Some(nr) = syscalls::number(arch, multiplexer) else { return Ok(None) };
    let all = view.at(arch, nr);
    if view.most(all) == Permit::Refused {
        return Ok(None);
    }
    let mut evidence = Vec::new();
    let mut operations = Vec::new();
    let mut example: Option<SeccompData> = None;
    for (value, operation) in set.constants() {
        let Some((name, refused)) =
            direct(arch, operation).and_then(|name| Some((name, view.of(arch, name)?)))
        else {
            continue;
        };
        let through = view.store.given(all, arch, 0, u64::MAX, value)?;
        if view.most(through) <= view.least(refused) {
            continue;
        }
        let how = if view.most(refused) == Permit::Refused {
            "is refused"
        } else {
            "is refused for some of its arguments"
        };
        evidence.push(format!("{operation} ({value}) is let through; {name} itself {how}"));
        operations.push(name);
        if example.is_none() {
            example =
                view.example_of(through, arch, nr, |action: Action| Permit::of(action) == view.most(through));
            if let Some(call) = &mut example {
                call.args[0] = value;
            }
        }
    }
    if operations.is_empty() {
        return Ok(None);
    }
    let message =
        format!("{multiplexer} on {} still does what is refused as {}", arch.name(), some(&operations));
    let pointer = example.and_then(|call| view.pointer(&call));
    let finding = Finding::new(Class::Multiplexer, Severity::High, message)
        .evidence(evidence)
        .witness(example.as_ref())
        .pointer(pointer);
    Ok(Some((operations, finding)))
}
