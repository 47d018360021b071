//! The device programs of a v2 cgroup, asked of the kernel by bpf(2), and what they mean together with v1's list.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use plim_model::Observed;

use super::chain::Directory;
use super::device_program::{Instruction, MAX_INSTRUCTIONS};
use super::device_rules::{EVERYTHING, rules as rules_of};
use crate::helper::{self, Request};
use crate::sys;
use crate::why::refusal;

/// `BPF_PROG_TYPE_CGROUP_DEVICE` (linux/bpf.h).
const DEVICE_PROGRAM: u32 = 15;
/// Most programs of a cgroup and its ancestors; the kernel takes 64 at each.
const MAX_PROGRAMS: usize = 1024;
/// systemd and engines exchange programs while they run; a second look finds the new ones.
const ATTEMPTS: usize = 3;

/// Instructions of one program, 8 bytes each.
type Raw = Vec<[u8; 8]>;

const ASK: &str = "ask for the device programs of the target's cgroup";
const READ: &str = "read a device program of the target's cgroup";

/// The programs that are run when a process in this cgroup opens or makes a device node: its own and its ancestors'.
/// All have to allow.
///
/// A kernel without CONFIG_CGROUP_BPF has no such programs, but its EINVAL is not to be told from that of a filter on the
/// reader, so it is unknown, not absent.
pub(super) fn programs(directory: &Directory) -> Observed<Vec<Vec<Instruction>>> {
    let cgroup = match directory.open() {
        Ok(cgroup) => cgroup,
        Err(errno) => return Observed::Unknown(refusal("open the target's cgroup", errno, None)),
    };
    let read = helper::ask(&Request::Devices(cgroup.as_raw_fd()));
    let read = read.unwrap_or_else(|| Ok(raw_programs(cgroup.as_fd())));
    read.unwrap_or_else(Observed::Unknown).map(|programs: Vec<Raw>| {
        programs.into_iter().map(|raw| raw.into_iter().map(Instruction::from_bytes).collect()).collect()
    })
}

/// As the kernel tells them.
pub(crate) fn raw_programs(cgroup: BorrowedFd<'_>) -> Observed<Vec<Raw>> {
    for _ in 0..ATTEMPTS {
        let ids = match sys::device_program_ids(cgroup, MAX_PROGRAMS) {
            Ok(ids) => ids,
            Err(errno @ (Errno::EINVAL | Errno::ENOSYS)) => {
                return Observed::Unknown(format!("{}; needs CONFIG_CGROUP_BPF", refusal(ASK, errno, None)));
            }
            Err(Errno::ENOSPC) => {
                return Observed::Unknown(format!("{ASK}: more than the {MAX_PROGRAMS} that are read"));
            }
            Err(errno) => {
                let needs = "the initial user namespace's CAP_NET_ADMIN";
                return Observed::Unknown(refusal(ASK, errno, Some(needs)));
            }
        };
        // The copies of one program that is attached at several levels say the same.
        let mut different = ids.clone();
        different.sort_unstable();
        different.dedup();
        match different.into_iter().map(program).collect::<Result<Option<Vec<_>>, String>>() {
            Ok(Some(programs)) => return Observed::Present(programs),
            Ok(None) => {}
            Err(why) => return Observed::Unknown(why),
        }
    }
    Observed::Unknown(format!("{READ}: they are being exchanged"))
}

/// One program; `None` when it is gone.
fn program(id: u32) -> Result<Option<Raw>, String> {
    let needs = Some("the initial user namespace's CAP_SYS_ADMIN");
    let opened = match sys::bpf_program_open(id) {
        Ok(opened) => opened,
        Err(Errno::ENOENT) => return Ok(None),
        Err(errno) => return Err(refusal(READ, errno, needs)),
    };
    let program = match sys::bpf_program_info(opened.as_fd(), MAX_INSTRUCTIONS) {
        Ok(program) => program,
        Err(Errno::E2BIG) => {
            return Err(format!("{READ}: it has more than {MAX_INSTRUCTIONS} instructions"));
        }
        Err(errno) => return Err(refusal(READ, errno, needs)),
    };
    if program.kind != DEVICE_PROGRAM {
        return Err(format!("{READ}: found program type {}, expected {DEVICE_PROGRAM}", program.kind));
    }
    let Some(instructions) = program.instructions else {
        return Err(format!(
            "{READ}: the kernel holds its instructions back; needs CAP_SYS_ADMIN or CAP_BPF in the initial user \
             namespace, and where net.core.bpf_jit_harden is set also CAP_SYSLOG and kernel.kptr_restrict below 2"
        ));
    };
    Ok(Some(instructions))
}

/// v1's list and v2's programs hold both (security/device_cgroup.c, `devcgroup_check_permission`).
///
/// On hybrid machines v1's list is what engines and systemd set. It is told as it is where the programs cannot be asked
/// for, which needs more privileges than reading the list; and where there are programs that refuse something, neither
/// tells all.
pub(super) fn rules(
    v1: Observed<Vec<String>>,
    programs: Observed<Vec<Vec<Instruction>>>,
) -> Observed<Vec<String>> {
    let from_programs = |programs: &[Vec<Instruction>]| match rules_of(programs) {
        Ok(rules) => Observed::Present(rules),
        Err(error) => Observed::Unknown(format!("{READ}: {error}")),
    };
    match (v1, programs) {
        (Observed::Absent, programs) => programs.and_then(|programs| from_programs(&programs)),
        (Observed::Present(list), Observed::Present(programs)) => match from_programs(&programs) {
            Observed::Present(rules) if rules == [EVERYTHING] => Observed::Present(list),
            Observed::Unknown(why) => Observed::Unknown(why),
            _ => Observed::Unknown("v1's device rules and a v2 device program both hold".to_owned()),
        },
        (v1, _) => v1,
    }
}

#[cfg(test)]
mod tests;
