//! Profiles: under which facts they are resolved, and how two of them are compared.

use std::collections::BTreeSet;

use anyhow::Context;
use plim_model::diff::{Change, Side};
use plim_model::{Capability, CapabilitySet};
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::condition::{Condition, Test};
use plim_seccomp::dialect::Written;
use plim_seccomp::resolve::{Facts, KernelVersion, Resolved, Rule, SkipReason, UnknownNames, resolve};
use plim_seccomp::{Action, Arch, syscalls};

use crate::filters::path;

/// What profiles are resolved for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "What profiles are resolved for")]
pub(crate) struct FactArgs {
    /// Architecture of the machine: x86_64, aarch64, … [default: this machine's]
    #[arg(long, value_name = "ARCH", value_parser = parse_arch)]
    arch: Option<Arch>,
    /// Bounding set: names between commas, "docker" (its 14 defaults), "all" or "none" [default: that of the live
    /// target on the other side, else docker]
    #[arg(long, value_name = "LIST", value_parser = parse_caps)]
    caps: Option<CapabilitySet>,
    /// Kernel release: 6.1 [default: this machine's]
    #[arg(long, value_name = "RELEASE", value_parser = parse_kernel)]
    kernel: Option<KernelVersion>,
    /// Pass over system call names that no architecture has, as engines do, and say which on stderr
    #[arg(long)]
    skip_unknown_names: bool,
}

fn parse_arch(word: &str) -> Result<Arch, String> {
    Arch::from_name(word).or_else(|| Arch::from_scmp_name(word)).ok_or_else(|| {
        let hint = plim_tools_common::nearest::hint(word, Arch::all().map(Arch::name));
        format!("unknown architecture{hint}")
    })
}

fn parse_kernel(word: &str) -> Result<KernelVersion, String> {
    KernelVersion::from_release(word).ok_or_else(|| "expected a kernel release such as 6.1".to_owned())
}

fn parse_caps(word: &str) -> Result<CapabilitySet, String> {
    match word.to_ascii_lowercase().as_str() {
        "docker" => return Ok(CapabilitySet::DOCKER_DEFAULT),
        "all" => return Ok(Capability::known().collect()),
        "none" => return Ok(CapabilitySet::EMPTY),
        _ => {}
    }
    word.split(',')
        .map(|name| {
            Capability::from_name(name).ok_or_else(|| {
                let known: Vec<String> =
                    Capability::known().map(|capability| capability.to_string()).collect();
                let full = format!("CAP_{}", name.to_uppercase().trim_start_matches("CAP_"));
                let hint = plim_tools_common::nearest::hint(&full, known.iter().map(String::as_str));
                format!("unknown capability {name:?}{hint}")
            })
        })
        .collect()
}

impl FactArgs {
    /// The facts, where `live` is the bounding set of a live target on the other side.
    pub(crate) fn facts(&self, live: Option<CapabilitySet>) -> anyhow::Result<Facts> {
        let arch = match self.arch {
            Some(arch) => arch,
            None => Arch::from_name(match std::env::consts::ARCH {
                "x86" => "i386",
                other => other,
            })
            .with_context(|| {
                format!("no system call table for {}; name one with --arch", std::env::consts::ARCH)
            })?,
        };
        let kernel = match self.kernel {
            Some(kernel) => kernel,
            None => running_kernel()?,
        };
        let caps = self.caps.or(live).unwrap_or(CapabilitySet::DOCKER_DEFAULT);
        let mut facts = Facts::new(arch, caps, kernel);
        if self.skip_unknown_names {
            facts.unknown_names = UnknownNames::Skip;
        }
        Ok(facts)
    }
}

fn running_kernel() -> anyhow::Result<KernelVersion> {
    let path = "/proc/sys/kernel/osrelease";
    let release =
        std::fs::read_to_string(path).with_context(|| format!("read {path} (or name one with --kernel)"))?;
    KernelVersion::from_release(&release).with_context(|| {
        format!("{path}: found {release:?}, expected a kernel release; name one with --kernel")
    })
}

/// A profile with a meaning; `None` where it turns seccomp off.
pub(crate) fn resolved(name: &str, written: &Written, facts: &Facts) -> anyhow::Result<Option<Resolved>> {
    resolve(written, facts).with_context(|| name.to_owned())
}

/// Notes on names that have no effect because no architecture has them.
pub(crate) fn skipped_names(name: &str, resolved: Option<&Resolved>) -> Vec<String> {
    resolved
        .into_iter()
        .flat_map(|resolved| &resolved.skipped)
        .filter_map(|skipped| match skipped.why {
            SkipReason::Unknown(nearest) => {
                let hint = nearest.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
                Some(format!("{name}: {}: unknown system call {:?}{hint}", skipped.from, skipped.name))
            }
            SkipReason::NotOnTheseArchitectures => None,
        })
        .collect()
}

/// The filter that a profile becomes: none at all where it turns seccomp off.
pub(crate) fn stack(name: &str, resolved: Option<&Resolved>) -> anyhow::Result<Vec<Program>> {
    resolved
        .map(|resolved| compile(resolved).with_context(|| format!("compile {name}")))
        .transpose()
        .map(|program| program.into_iter().collect())
}

/// Compares two profiles as resolved rules: the verdicts that differ, and what cannot be decided yet.
pub(crate) fn compare(a: &Resolved, b: &Resolved) -> (Vec<Change>, Vec<(Side, String)>) {
    let changes: Vec<Change> = plim_seccomp::diff::diff(a, b)
        .into_iter()
        .map(|c| crate::filters::change(c.arch, &c.syscall, c.number.0, c.when, c.before, c.after))
        .collect();
    // Over masks and several arguments the comparison tries values and may miss one: no difference found is no proof.
    let mut undecided = BTreeSet::new();
    for arch in a.arches.intersection(&b.arches) {
        for (name, number) in syscalls::calls(*arch) {
            let rules = [a.rules_of(*arch, number), b.rules_of(*arch, number)];
            let meaning = |rules: &[Rule]| -> Vec<(Vec<Condition>, Action)> {
                rules.iter().map(|rule| (rule.conditions.clone(), rule.action)).collect()
            };
            let conditions = || rules.iter().flat_map(|rules| rules.iter()).flat_map(|rule| &rule.conditions);
            let arguments: BTreeSet<u8> = conditions().map(|condition| condition.argument).collect();
            let masks = conditions().any(|condition| matches!(condition.test, Test::MaskedEq { .. }));
            let told = || changes.iter().any(|c| c.path == path(*arch, name));
            if (masks || arguments.len() > 1) && meaning(rules[0]) != meaning(rules[1]) && !told() {
                undecided.insert(name);
            }
        }
    }
    let unknown = (!undecided.is_empty()).then(|| {
        let names: Vec<&str> = undecided.into_iter().collect();
        let why = format!(
            "the conditions of {} differ; no difference found by trying values; exactness comes with the decision engine",
            names.join(", ")
        );
        (Side::Both, why)
    });
    (changes, unknown.into_iter().collect())
}
