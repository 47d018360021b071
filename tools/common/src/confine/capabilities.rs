//! The capabilities that each phase keeps.

use std::collections::HashSet;

use caps::{CapSet, Capability};

use super::Phase;

/// What looking at a target takes: what lies behind its memory (/proc/PID/root, /proc/PID/ns), its files, its mapped files.
const LOOKING: [Capability; 3] =
    [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH, Capability::CAP_CHECKPOINT_RESTORE];

/// What the helper's requests take: filters by ptrace and by BPF, namespaces, device programs, an engine's socket of another user.
const HELPER: [Capability; 8] = [
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_SYSLOG,
];

/// Gives up what the phase does not need.
///
/// # Errors
/// The kernel refuses.
pub(super) fn give_up(phase: Phase) -> anyhow::Result<()> {
    let holds = |capability| caps::has_cap(None, CapSet::Effective, capability);
    match phase {
        // The kernel lets a process without CAP_SYS_PTRACE look at those that have no more than it has itself.
        Phase::Observe if !holds(Capability::CAP_SYS_PTRACE)? => {
            keep(&caps::read(None, CapSet::Permitted)?.into_iter().collect::<Vec<_>>())
        }
        Phase::Observe => keep(&LOOKING),
        Phase::Attach => keep(&[&LOOKING[..], &[Capability::CAP_BPF, Capability::CAP_PERFMON]].concat()),
        // Before Linux 5.19 bpf(2) asks for CAP_BPF for every command.
        Phase::Watch => keep(&[&LOOKING[..], &[Capability::CAP_BPF]].concat()),
        Phase::Judge | Phase::JudgeInThreads => keep(&[]),
    }
}

/// Gives up what the helper does not need.
pub(super) fn prepare_helper() {
    // With more than it needs it still takes no other request.
    let _ = keep(&HELPER);
}

/// Of those that this thread has.
fn keep(wanted: &[Capability]) -> anyhow::Result<()> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let kept: HashSet<Capability> = permitted.iter().copied().filter(|own| wanted.contains(own)).collect();
    // The first phase empties it; later ones may not call prctl(2) for it.
    if permitted.contains(&Capability::CAP_SETPCAP) && !caps::read(None, CapSet::Bounding)?.is_empty() {
        // Without CAP_SETPCAP it stays, and gives nothing: no program is executed and privileges are not gained.
        caps::clear(None, CapSet::Bounding)?;
    }
    caps::set(None, CapSet::Inheritable, &HashSet::new())?;
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)?;
    Ok(())
}
