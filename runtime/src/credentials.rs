//! Who the command is and what it may do: ids, capabilities, no_new_privs, and the seccomp filter.
//!
//! # The order, and why
//! 1. **Bounding set**: dropping needs CAP_SETPCAP (capabilities(7)), which goes with step 3.
//! 2. **Groups, then user** with `PR_SET_KEEPCAPS`: setgroups(2) and setgid(2) need CAP_SETGID, which a change of the
//!    user id away from 0 would take; keepcaps lets the permitted set survive it.
//! 3. **Inheritable, effective, permitted, ambient**: a capability can be ambient only while it is permitted and
//!    inheritable, and a change of user id clears the ambient set, so it comes last.
//! 4. **`PR_SET_PDEATHSIG` again**: a change of credentials clears it (prctl(2)).
//! 5. **no_new_privs**, when asked.
//! 6. **The filter, last of all**: after it only execve(2) is called, so a filter can forbid everything else.
//!    seccomp(2) wants no_new_privs or CAP_SYS_ADMIN. runc loads the filter *before* it drops capabilities when
//!    no_new_privs is off, and so every filter has to allow what runc calls afterwards (capset, setgroups, …). Here
//!    CAP_SYS_ADMIN stays permitted and effective until execve instead, which computes the sets anew: the new permitted
//!    set is made of inheritable, bounding, ambient and the file's own sets and **never of the old permitted or
//!    effective set** (capabilities(7), "Transformation of capabilities during execve()"). The bounding set, dropped in
//!    step 1, has no CAP_SYS_ADMIN unless it was asked for; so the command never sees it.

use std::collections::HashSet;

use caps::CapSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use plim_model::{Capability, CapabilitySet, CapabilitySets};

use crate::config::{Process, Seccomp};
use crate::error::{During, Result, RuntimeError};
use crate::sys;

/// The number of CAP_SYS_ADMIN (include/uapi/linux/capability.h).
const SYS_ADMIN: u8 = 21;

/// Steps 1 to 4, for the calling, single-threaded process.
///
/// `group_changes` is false in a user namespace whose setgroups(2) is denied; `filter_follows` keeps CAP_SYS_ADMIN for
/// [`confine`] when no_new_privs is off.
pub(crate) fn assume(process: &Process, filter_follows: bool, group_changes: bool) -> Result<()> {
    let wanted = process.capabilities;
    drop_bounding(wanted.bounding)?;
    change_ids(process, group_changes)?;
    let mut now = wanted;
    if filter_follows && !process.no_new_privileges {
        let admin: CapabilitySet = Capability::from_number(SYS_ADMIN).into_iter().collect();
        now.effective = now.effective.union(admin);
        now.permitted = now.permitted.union(admin);
    }
    set_capabilities(&now)?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).during(|| "set the parent-death signal")
}

/// Steps 5 and 6. Only execve(2) may follow.
pub(crate) fn confine(process: &Process, seccomp: Option<&Filter>) -> Result<()> {
    if process.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().during(|| "set no_new_privs")?;
    }
    if let Some(filter) = seccomp {
        sys::load_filter(&filter.program, filter.flags).during(|| {
            format!(
                "install the seccomp filter ({} instructions, flags {:#x})",
                filter.program.len(),
                filter.flags
            )
        })?;
    }
    Ok(())
}

/// A filter in the kernel's form, converted before the child is made.
#[derive(Debug)]
pub(crate) struct Filter {
    program: Vec<libc::sock_filter>,
    flags: u64,
}

impl Filter {
    /// Converts, and refuses flags that a filter without a listener does not take (seccomp(2)).
    pub(crate) fn new(seccomp: &Seccomp) -> Result<Filter> {
        const TSYNC: u64 = 1 << 0;
        const LOG: u64 = 1 << 1;
        const SPEC_ALLOW: u64 = 1 << 2;
        if seccomp.flags & !(TSYNC | LOG | SPEC_ALLOW) != 0 {
            return Err(RuntimeError::refused(
                "install the seccomp filter",
                format!("flags {:#x}, expected only TSYNC, LOG and SPEC_ALLOW (0x7)", seccomp.flags),
            ));
        }
        let program = seccomp
            .program
            .instructions()
            .iter()
            .map(|insn| libc::sock_filter { code: insn.code, jt: insn.jt, jf: insn.jf, k: insn.k })
            .collect();
        // TSYNC is for other threads; the process has one.
        Ok(Filter { program, flags: seccomp.flags & !TSYNC })
    }

    /// As bytes for the channel; the inverse of [`Filter::from_wire`].
    pub(crate) fn to_wire(&self) -> Vec<u8> {
        let mut wire = self.flags.to_le_bytes().to_vec();
        for insn in &self.program {
            wire.extend_from_slice(&insn.code.to_le_bytes());
            wire.extend_from_slice(&[insn.jt, insn.jf]);
            wire.extend_from_slice(&insn.k.to_le_bytes());
        }
        wire
    }

    /// `None` when the bytes are not the form of [`Filter::to_wire`].
    pub(crate) fn from_wire(wire: &[u8]) -> Option<Filter> {
        let (flags, program) = wire.split_first_chunk::<8>()?;
        let (insns, []) = program.as_chunks::<8>() else { return None };
        let program = insns
            .iter()
            .map(|[c0, c1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
                code: u16::from_le_bytes([*c0, *c1]),
                jt: *jt,
                jf: *jf,
                k: u32::from_le_bytes([*k0, *k1, *k2, *k3]),
            })
            .collect();
        Some(Filter { program, flags: u64::from_le_bytes(*flags) })
    }
}

/// Refuses sets that the kernel would not grant, naming the capabilities. `held` is what the launcher can pass on;
/// `None` in a new user namespace, where everything is held.
pub(crate) fn check(wanted: &CapabilitySets, held: Option<CapabilitySet>) -> Result<()> {
    let refuse = |why: String| Err(RuntimeError::refused("set the container's capabilities", why));
    if let Some(held) = held {
        let missing = wanted
            .bounding
            .union(wanted.permitted)
            .union(wanted.effective)
            .union(wanted.inheritable)
            .difference(held);
        if !missing.is_empty() {
            return refuse(format!("the caller does not hold {}", missing.names().join(", ")));
        }
    }
    for (set, name, within, within_name) in [
        (wanted.effective, "effective", wanted.permitted, "permitted"),
        (
            wanted.ambient,
            "ambient",
            wanted.permitted.intersection(wanted.inheritable),
            "both permitted and inheritable",
        ),
        (wanted.inheritable, "inheritable", wanted.bounding.union(wanted.permitted), "bounding or permitted"),
    ] {
        let outside = set.difference(within);
        if !outside.is_empty() {
            return refuse(format!("{} is {name} but not {within_name}", outside.names().join(", ")));
        }
    }
    Ok(())
}

/// What this process can pass on to a container: permitted and bounding.
///
/// # Errors
/// The kernel does not tell (capget(2), `PR_CAPBSET_READ`).
pub fn held() -> Result<CapabilitySet> {
    let read = |which| -> Result<CapabilitySet> {
        let read = caps::read(None, which).map_err(|error| {
            RuntimeError::refused(format!("read the {which:?} capabilities"), error.to_string())
        })?;
        Ok(read.into_iter().filter_map(|known| Capability::from_number(known.index())).collect())
    };
    Ok(read(CapSet::Permitted)?.intersection(read(CapSet::Bounding)?))
}

fn drop_bounding(keep: CapabilitySet) -> Result<()> {
    for capability in caps::all() {
        let Some(known) = Capability::from_number(capability.index()) else { continue };
        if keep.contains(known) {
            continue;
        }
        match caps::drop(None, CapSet::Bounding, capability) {
            Ok(()) => {}
            // A capability that the running kernel does not know is in no set (prctl(2): EINVAL).
            Err(_) if caps::has_cap(None, CapSet::Bounding, capability).is_err() => {}
            Err(error) => {
                return Err(RuntimeError::refused(
                    format!("drop {known} from the bounding set"),
                    error.to_string(),
                ));
            }
        }
    }
    Ok(())
}

fn change_ids(process: &Process, group_changes: bool) -> Result<()> {
    let user = &process.user;
    nix::sys::prctl::set_keepcaps(true).during(|| "keep capabilities over the change of user id")?;
    if group_changes {
        let groups: Vec<Gid> = user.additional_gids.iter().copied().map(Gid::from_raw).collect();
        setgroups(&groups).during(|| format!("set the supplementary groups {:?}", user.additional_gids))?;
    } else if user.additional_gids.iter().any(|gid| *gid != user.gid) {
        return Err(RuntimeError::refused(
            format!("set the supplementary groups {:?}", user.additional_gids),
            "setgroups(2) is denied in a user namespace made without privilege",
        ));
    }
    let gid = Gid::from_raw(user.gid);
    setresgid(gid, gid, gid).during(|| format!("change to group {}", user.gid))?;
    let uid = Uid::from_raw(user.uid);
    setresuid(uid, uid, uid).during(|| format!("change to user {}", user.uid))?;
    nix::sys::prctl::set_keepcaps(false).during(|| "let go of capabilities kept over the change of user id")
}

fn set_capabilities(sets: &CapabilitySets) -> Result<()> {
    let sets = [
        (CapSet::Inheritable, "inheritable", sets.inheritable),
        (CapSet::Effective, "effective", sets.effective),
        (CapSet::Permitted, "permitted", sets.permitted),
        (CapSet::Ambient, "ambient", sets.ambient),
    ];
    for (kind, name, set) in sets {
        let wanted: HashSet<caps::Capability> =
            caps::all().into_iter().filter(|cap| set.bits() & cap.bitmask() != 0).collect();
        let unknown = set.bits() & !wanted.iter().fold(0, |bits, cap| bits | cap.bitmask());
        if unknown != 0 {
            return Err(RuntimeError::refused(
                format!("set the {name} capabilities"),
                format!("{} has no name here", CapabilitySet::from_bits(unknown).names().join(", ")),
            ));
        }
        // `caps::set` would lower every other ambient capability by a call of its own.
        let result = match kind {
            CapSet::Ambient => caps::clear(None, kind)
                .and_then(|()| wanted.iter().try_for_each(|capability| caps::raise(None, kind, *capability))),
            _ => caps::set(None, kind, &wanted),
        };
        result.map_err(|error| {
            RuntimeError::refused(
                format!("set the {name} capabilities to [{}]", set.names().join(", ")),
                error.to_string(),
            )
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> CapabilitySet {
        names.iter().filter_map(|name| Capability::from_name(name)).collect()
    }

    #[test]
    fn sets_that_the_kernel_refuses_are_named() {
        let all = set(&["NET_RAW", "CHOWN"]);
        let good =
            CapabilitySets { effective: all, permitted: all, bounding: all, ..CapabilitySets::default() };
        check(&good, Some(all)).unwrap();
        check(&good, None).unwrap();
        let error = check(&good, Some(set(&["CHOWN"]))).unwrap_err().to_string();
        assert!(error.ends_with("does not hold CAP_NET_RAW"), "{error}");
        let error = check(&CapabilitySets { ambient: all, ..good }, None).unwrap_err().to_string();
        assert!(error.contains("CAP_NET_RAW is ambient but not"), "{error}");
        let error = check(&CapabilitySets { effective: all, ..CapabilitySets::default() }, None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("effective but not permitted"), "{error}");
    }
}
