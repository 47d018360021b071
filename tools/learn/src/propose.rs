//! From what was seen to what is proposed: a pure function.

use std::collections::{BTreeMap, BTreeSet};

use plim_seccomp::Arch;
use plim_trace::cause;

use crate::proposal::{FORMAT, Proposal, Reasoned};
use crate::recording::{CapabilityUse, Recording};
use crate::writable;

mod calls;

use calls::{number, times};

/// How a proposal is made.
#[derive(Clone, Debug)]
pub struct Choices {
    /// Put what arguments were seen into conditions.
    pub arguments: bool,
    /// Add the calls that were not seen and are usual.
    pub usual: bool,
    /// Runtimes that have to be able to start the container (`runc`, `crun`).
    pub runtimes: Vec<String>,
}

impl Default for Choices {
    fn default() -> Choices {
        Choices { arguments: true, usual: false, runtimes: vec!["runc".to_owned(), "crun".to_owned()] }
    }
}

/// Runtimes whose needs are known.
pub const RUNTIMES: [&str; 2] = ["runc", "crun"];

/// Makes a proposal of what was recorded.
pub fn propose(recording: &Recording, choices: &Choices) -> Proposal {
    let files = writable::of(&recording.files);
    let no_new_privileges = recording.privileged_programs.is_empty();
    let (calls, usual) = calls::of(recording, choices, no_new_privileges);
    let (capabilities, dropped) = capabilities(recording);
    Proposal {
        format: FORMAT.to_owned(),
        workload: recording.workload.clone(),
        architectures: architectures(recording),
        calls,
        usual,
        capabilities,
        dropped,
        no_new_privileges,
        privileged_programs: recording.privileged_programs.clone(),
        read_only: files.written.is_empty(),
        tmpfs: files.tmpfs,
        written: files.written,
        devices: devices(recording),
        ports: ports(recording),
        refused: refused(recording),
        limits: limits(recording),
    }
}

fn architectures(recording: &Recording) -> Vec<String> {
    let mut seen: BTreeSet<Arch> = recording
        .calls
        .iter()
        .filter_map(|call| {
            [Arch::X86_64, Arch::X86, Arch::X32].into_iter().find(|arch| arch.name() == call.arch)
        })
        .collect();
    // A runtime of the machine's own architecture starts the container.
    seen.insert(Arch::X86_64);
    seen.into_iter().map(|arch| arch.scmp_name().to_owned()).collect()
}

/// What asks for this capability as a matter of course and takes a no for an answer.
fn is_noise(call: &str, capability: &str, makes_namespaces: bool) -> bool {
    let forks = matches!(call, "clone" | "clone3") && !makes_namespaces;
    capability == "CAP_SYS_ADMIN" && (cause::maps_memory(call) || forks || call == "outside of a call")
}

fn capabilities(recording: &Recording) -> (Vec<Reasoned>, Vec<Reasoned>) {
    let makes_namespaces = recording.calls.iter().any(|call| {
        call.syscall.as_deref() == Some("clone")
            && call.args.first().and_then(|arg| number(&arg.value)).is_some_and(|flags| flags != 0)
    });
    let mut kept: BTreeMap<&str, BTreeMap<&str, u64>> = BTreeMap::new();
    let counted = |one: &&CapabilityUse| one.granted && one.as_itself && one.own_namespace;
    for one in recording.capabilities.iter().filter(counted) {
        for (call, count) in &one.calls {
            if !is_noise(call, &one.capability, makes_namespaces) {
                *kept.entry(&one.capability).or_default().entry(call).or_default() += count;
            }
        }
    }
    if !recording.sees_capabilities {
        let why = "this kernel does not let capabilities be seen: kept as it was".to_owned();
        let all = recording.granted.iter().map(|name| Reasoned { name: name.clone(), evidence: why.clone() });
        return (all.collect(), Vec::new());
    }
    let dropped = recording.granted.iter().filter(|name| !kept.contains_key(name.as_str()));
    let dropped = dropped.map(|name| Reasoned {
        name: name.clone(),
        evidence: "the kernel was not seen to ask for it".to_owned(),
    });
    let dropped = dropped.collect();
    let kept = kept.into_iter().map(|(name, calls)| {
        let calls: Vec<String> =
            calls.iter().map(|(call, count)| format!("{call} ({})", times(*count))).collect();
        Reasoned { name: name.to_owned(), evidence: format!("asked for and given in {}", calls.join(", ")) }
    });
    (kept.collect(), dropped)
}

/// Devices beyond those that every container has (config-linux.md of the OCI runtime specification, "Default Devices").
fn devices(recording: &Recording) -> Vec<Reasoned> {
    let usual = |kind: &str, major: u32, minor: u32| {
        kind == "c" && matches!((major, minor), (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2) | (136..=143, _))
    };
    recording
        .devices
        .iter()
        .filter(|device| !usual(&device.kind, device.major, device.minor))
        .map(|device| Reasoned {
            name: format!("{}:{}", device.path, device.access),
            evidence: format!("opened: {} {}:{}", device.kind, device.major, device.minor),
        })
        .collect()
}

fn ports(recording: &Recording) -> Vec<Reasoned> {
    let mut ports: BTreeMap<String, String> = BTreeMap::new();
    for socket in recording.sockets.iter().filter(|socket| socket.listens && socket.port != 0) {
        let protocol = match socket.r#type.split('|').next() {
            Some("SOCK_STREAM") => "tcp",
            Some("SOCK_DGRAM") => "udp",
            _ => continue,
        };
        ports.insert(format!("{protocol}/{}", socket.port), format!("listened on {}", socket.address));
    }
    ports.into_iter().map(|(name, evidence)| Reasoned { name, evidence }).collect()
}

fn refused(recording: &Recording) -> Vec<Reasoned> {
    let row = |refused: &crate::recording::Refused| {
        let denial = &refused.denial;
        Reasoned {
            name: denial.syscall.clone().unwrap_or_else(|| denial.number.to_string()),
            evidence: format!(
                "{} {}: {}",
                denial.errno.as_deref().unwrap_or("SIGSYS"),
                times(refused.count),
                denial.cause.kind.as_str()
            ),
        }
    };
    recording.refused.iter().map(row).collect()
}

fn limits(recording: &Recording) -> Vec<String> {
    let mut limits = vec![
        "only what was exercised while recording is covered: error paths, rare options and other data may need more".to_owned(),
    ];
    let made = |name: &str| recording.calls.iter().any(|call| call.syscall.as_deref() == Some(name));
    if made("io_uring_setup") {
        limits.push(
            "io_uring was used: what it does on behalf of the workload passes no filter and was not seen"
                .to_owned(),
        );
    }
    if !recording.sees_capabilities {
        limits.push("this kernel does not let capabilities be seen: none was dropped".to_owned());
    }
    if !recording.missed.is_nothing() {
        limits.push(recording.missed.words());
    }
    let nameless: BTreeSet<u32> =
        recording.calls.iter().filter(|call| call.syscall.is_none()).map(|call| call.number).collect();
    if !nameless.is_empty() {
        limits.push(format!("calls without a name cannot be put in a profile: {nameless:?}"));
    }
    if recording.calls.iter().any(|call| call.arch != "x86_64") {
        limits.push(
            "calls of several architectures were made, and a profile's rules hold on all of its architectures".to_owned(),
        );
    }
    limits
}

#[cfg(test)]
#[path = "propose_tests.rs"]
mod tests;
