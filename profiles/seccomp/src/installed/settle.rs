//! What an engine hands to its runtime: OCI's `linux.seccomp`, in which nothing depends on machine or container any more.

use std::sync::Arc;

use super::engine::{Engine, Keys, Runtime};
use super::known::knows_arch;
use super::note::{Change, Note};
use super::vintage::Vintage;
use crate::action::Action;
use crate::arch::Arch;
use crate::dialect::{Architectures, FilterFlag, Written, WrittenRule};
use crate::errno::Errno;
use crate::error::ProfileError;
use crate::resolve::{self, Facts};

/// What the runtime reads.
#[derive(Debug)]
pub(super) struct Settled<'w> {
    pub(super) default: Action,
    /// As listed, without the machine's own where that is not listed.
    pub(super) listed: Vec<Arch>,
    pub(super) flags: Vec<FilterFlag>,
    pub(super) rules: Vec<SettledRule<'w>>,
}

#[derive(Debug)]
pub(super) struct SettledRule<'w> {
    pub(super) entry: &'w WrittenRule,
    pub(super) action: Action,
}

/// `None` means that seccomp is off.
pub(super) fn settle<'w>(
    written: &'w Written,
    facts: &Facts,
    engine: Engine,
    runtime: Runtime,
    vintage: Vintage,
    notes: &mut Vec<Note>,
) -> Result<Option<Settled<'w>>, ProfileError> {
    let (Some(named), Some(numbered)) = (written.default_action, written.default_by_number) else {
        return Ok(None);
    };
    let keys = engine.reads();
    let whole: Arc<str> = "".into();
    let mut note = |pointer: &Arc<str>, what: Change| notes.push(Note { pointer: Arc::clone(pointer), what });
    let mut default = if keys.error_names() { named } else { numbered };
    if default != named {
        note(&whole, Change::ErrorNameIgnored { written: named, installed: default });
    }
    if engine == Engine::Docker20_10 {
        let plain = plain(default);
        if plain != default {
            note(&whole, Change::KeyIgnored("defaultErrnoRet"));
            default = plain;
        }
        if written.listener_path.is_some() {
            note(&whole, Change::KeyIgnored("listenerPath"));
        }
    }
    let mut rules = Vec::new();
    for entry in &written.rules {
        let pointer = &entry.pointer;
        if keys.conditions() {
            let kernel_counts = keys.min_kernel(written.dialect);
            if !kernel_counts && (entry.includes.min_kernel.is_some() || entry.excludes.min_kernel.is_some())
            {
                note(pointer, Change::KeyIgnored("minKernel"));
            }
            if !resolve::applies(entry, kernel_counts, engine.names_host(facts.arch), facts) {
                note(pointer, Change::DoesNotApply);
                continue;
            }
        } else {
            for (key, scope) in [("includes", &entry.includes), ("excludes", &entry.excludes)] {
                if *scope != Default::default() {
                    note(pointer, Change::KeyIgnored(key));
                }
            }
            if entry.name_alone {
                note(pointer, Change::KeyIgnored("name"));
                continue;
            }
        }
        let action = if keys.error_names() { entry.action } else { entry.action_by_number };
        if action != entry.action {
            note(pointer, Change::ErrorNameIgnored { written: entry.action, installed: action });
        }
        rules.push(SettledRule { entry, action });
    }
    let listed = listed(written, facts, engine, keys, &mut |what| note(&whole, what));
    check_arches(written, facts, &listed, runtime, vintage)?;
    let flags = flags(written, engine, runtime, &mut |what| note(&whole, what))?;
    Ok(Some(Settled { default, listed, flags, rules }))
}

/// The action with the number that stands where none is given.
fn plain(action: Action) -> Action {
    match action {
        Action::Errno(_) => Action::Errno(Errno::EPERM),
        Action::Trace(_) => Action::Trace(Errno::EPERM.number()),
        other => other,
    }
}

fn listed(
    written: &Written,
    facts: &Facts,
    engine: Engine,
    keys: Keys,
    note: &mut dyn FnMut(Change),
) -> Vec<Arch> {
    match &written.architectures {
        Architectures::Native => Vec::new(),
        Architectures::List(list) => list.clone(),
        Architectures::Map(_) if keys == Keys::Oci => {
            note(Change::KeyIgnored("archMap"));
            Vec::new()
        }
        Architectures::Map(map) => {
            // containers/common looks its map up for these alone.
            let podman = [
                Arch::X86_64,
                Arch::Aarch64,
                Arch::Mips64,
                Arch::Mips64n32,
                Arch::Mipsel64,
                Arch::Mipsel64n32,
                Arch::S390x,
            ];
            let looked_up = match keys {
                Keys::Podman => podman.contains(&facts.arch),
                _ => engine.names_host(facts.arch),
            };
            let entry = map.iter().find(|(arch, _)| looked_up && *arch == facts.arch);
            entry.map_or_else(Vec::new, |(arch, companions)| {
                std::iter::once(*arch).chain(companions.iter().copied()).collect()
            })
        }
    }
}

/// What the runtime, or libseccomp, refuses to add to a filter.
fn check_arches(
    written: &Written,
    facts: &Facts,
    listed: &[Arch],
    runtime: Runtime,
    vintage: Vintage,
) -> Result<(), ProfileError> {
    let refuse = |arch: Arch, found: String, expected: String| {
        let place = if matches!(written.architectures, Architectures::Map(_)) {
            "/archMap"
        } else {
            "/architectures"
        };
        let nearest = None;
        let _ = arch;
        Err(ProfileError::Value { pointer: place.to_owned(), found, expected, nearest })
    };
    for arch in listed.iter().copied().chain([facts.arch]) {
        if !knows_arch(vintage, arch) {
            let expected = format!("an architecture that libseccomp {vintage} knows");
            return refuse(arch, arch.to_string(), expected);
        }
        if listed.contains(&arch) && !runtime.accepts(arch) {
            return refuse(arch, arch.to_string(), "an architecture that the runtime knows".to_owned());
        }
        if arch.is_big_endian() != facts.arch.is_big_endian() {
            let found = format!("{arch} for a machine of {}", facts.arch);
            let expected = "architectures of the machine's byte order, which one filter can tell apart";
            return refuse(arch, found, expected.to_owned());
        }
    }
    Ok(())
}

fn flags(
    written: &Written,
    engine: Engine,
    runtime: Runtime,
    note: &mut dyn FnMut(Change),
) -> Result<Vec<FilterFlag>, ProfileError> {
    let none = Vec::new();
    let handed = if engine == Engine::Docker20_10 { &none } else { &written.flags };
    let given = runtime.flags(handed).map_err(|expected| ProfileError::Value {
        pointer: "/flags".to_owned(),
        found: handed.iter().map(|flag| flag.name()).collect::<Vec<_>>().join(", "),
        expected: expected.to_owned(),
        nearest: None,
    })?;
    for flag in written.flags.iter().filter(|flag| !given.contains(flag)) {
        note(Change::FlagDropped(*flag));
    }
    for flag in given.iter().filter(|flag| !written.flags.contains(flag)) {
        note(Change::FlagAdded(*flag));
    }
    Ok(given)
}
