//! A tool confines itself before it looks at data that others wrote.
//!
//! Files of containers, profiles from the internet and filters of live processes are read by tools that run as root. So a tool
//! opens the place of its result and calls [`ConfineArgs::observe`] before it opens anything else: from there on the kernel holds
//! it to looking. When all is read it calls [`ConfineArgs::enter`], which holds it to memory and the descriptors that it has
//! while it judges and draws. A [`Phase`] is three things:
//!
//! * the **list** ([`calls`]): the system calls that it needs. Any other call fails with ENOSYS, as on a kernel that has no such
//!   call, so that a libc which tries a newer one first falls back to one on the list;
//! * the **alarm**: what no parser ever asks for (a program, a socket, another process, a mount, the kernel's own doors) kills
//!   the process. A call of another architecture kills it too;
//! * the **capabilities** ([`capabilities`]) that it keeps.
//!
//! In no phase is a file opened for writing, made, renamed, linked, changed or deleted, but for the one temporary file of the
//! result, whose two names are pinned ([`plim_observe::pinned`]). What an observer reads with more privileges than that, a
//! helper reads ([`plim_observe::helper`]).

mod calls;
mod capabilities;
#[cfg(test)]
mod tests;

use anyhow::Context;
use plim_observe::{helper, pinned};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, sock_filter};

use crate::exit;
use crate::output::Destination;
use crate::target::TargetName;

const GOES_ON: &str = "confine this process (--no-self-confine goes on without)";

/// The flag that turns it off.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct ConfineArgs {
    /// Do not confine this process while it reads and parses what others wrote (for debuggers and tracers)
    #[arg(long)]
    pub no_self_confine: bool,
}

/// What a tool still does. Each phase allows less than the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Files and live targets are read, in threads.
    Observe,
    /// The same, and a tracer that is loaded is attached.
    Attach,
    /// The events of an attached tracer are read, and what they speak of is looked at: processes and files beneath a root.
    Watch,
    /// Everything was read.
    Judge,
    /// The same, and the work is shared out among threads.
    JudgeInThreads,
}

impl Phase {
    /// Every phase.
    pub const ALL: [Phase; 5] =
        [Phase::Observe, Phase::Attach, Phase::Watch, Phase::Judge, Phase::JudgeInThreads];
}

/// What is read while a tool observes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reads {
    /// Files alone.
    Files,
    /// Live targets too: a helper is started for what a confined process cannot read.
    Targets,
    /// This process among them, as it was before it confined itself.
    Own,
}

impl Reads {
    /// What targets with these names are. A word that is not a name is reported where it is looked at.
    pub fn of<'a>(words: impl IntoIterator<Item = &'a str>) -> Reads {
        let reads = words.into_iter().map(|word| match TargetName::parse(word) {
            Ok(TargetName::File(_) | TargetName::Stdin | TargetName::Preset(_)) | Err(_) => Reads::Files,
            Ok(TargetName::SelfProcess) => Reads::Own,
            Ok(_) => Reads::Targets,
        });
        reads.max().unwrap_or(Reads::Files)
    }

    /// The same where there is a flag for everything that runs.
    pub fn of_all(all: bool, words: &[String]) -> Reads {
        let named = Reads::of(words.iter().map(String::as_str));
        if all { named.max(Reads::Targets) } else { named }
    }
}

impl ConfineArgs {
    /// Holds this process to looking, from before anything that others wrote is opened. Call it before a thread is started.
    ///
    /// # Errors
    /// The kernel refuses; the flag that goes on without is named.
    pub fn observe(self, out: &Destination, reads: Reads) -> anyhow::Result<()> {
        self.begin(Phase::Observe, out, reads)
    }

    /// The same for a tool that has loaded a tracer, which it attaches when it knows the targets.
    ///
    /// # Errors
    /// As [`ConfineArgs::observe`].
    pub fn observe_and_attach(self, out: &Destination) -> anyhow::Result<()> {
        self.begin(Phase::Attach, out, Reads::Targets)
    }

    fn begin(self, phase: Phase, out: &Destination, reads: Reads) -> anyhow::Result<()> {
        if self.no_self_confine {
            return Ok(());
        }
        if reads == Reads::Own {
            helper::start_likeness().context("keep this process as it is").context(GOES_ON)?;
        }
        if reads >= Reads::Targets {
            helper::start(capabilities::prepare_helper).context("start a helper").context(GOES_ON)?;
        }
        pinned::pin(&out.names()).context("pin arguments of system calls").context(GOES_ON)?;
        enter(phase)
    }

    /// What a child that looks calls before it looks; it ends where it cannot be confined.
    pub fn for_children(self) -> Option<fn()> {
        (!self.no_self_confine).then_some(|| {
            let pinned = pinned::pinned().map_or_else(|| pinned::pin(&[]), Ok);
            if pinned.map_err(anyhow::Error::from).and_then(|_| enter(Phase::Observe)).is_err() {
                std::process::exit(exit::USAGE.into());
            }
        })
    }

    /// Confines every thread of this process for good to what the phase does.
    ///
    /// # Errors
    /// The kernel refuses; the flag that goes on without is named.
    pub fn enter(self, phase: Phase) -> anyhow::Result<()> {
        if self.no_self_confine {
            return Ok(());
        }
        if phase != Phase::Watch {
            helper::stop();
        }
        enter(phase)
    }
}

/// Confines every thread of this process for good, and gives up capabilities of the calling one. Sets no_new_privs.
///
/// # Errors
/// The kernel refuses (no seccomp, or a filter that forbids it).
pub fn enter(phase: Phase) -> anyhow::Result<()> {
    capabilities::give_up(phase).context("give up capabilities").context(GOES_ON)?;
    for program in programs(phase)? {
        seccompiler::apply_filter_all_threads(&program).context(GOES_ON)?;
    }
    Ok(())
}

/// The alarm, then the list.
///
/// # Errors
/// An architecture that seccompiler does not know.
pub fn programs(phase: Phase) -> anyhow::Result<[BpfProgram; 2]> {
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|error| anyhow::anyhow!("{error:?}")).context(GOES_ON)?;
    let listed = calls::listed(phase, pinned::pinned())?;
    let alarmed = calls::alarmed(phase, &listed)?;
    let enosys = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    let mut alarm: BpfProgram =
        SeccompFilter::new(alarmed, SeccompAction::Allow, SeccompAction::KillProcess, arch)?.try_into()?;
    if cfg!(target_arch = "x86_64") {
        alarm.splice(0..0, NOT_X32);
    }
    Ok([alarm, SeccompFilter::new(listed, enosys, SeccompAction::Allow, arch)?.try_into()?])
}

/// x32 has the architecture of x86-64 and numbers from 2^30 on: as another architecture, it kills.
const NOT_X32: [sock_filter; 3] = [
    // The call's number (struct seccomp_data), then a jump over the next instruction for a lower one.
    sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
    sock_filter { code: 0x35, jt: 0, jf: 1, k: 0x4000_0000 },
    sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS },
];
