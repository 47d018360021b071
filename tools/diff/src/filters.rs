//! Compares what two sides answer to system calls: profiles and filters alike, exactly, over every call.

use std::collections::BTreeSet;

use plim_model::diff::{Area, Change, SeccompDetail, Witness};
use plim_seccomp::bpf::Program;
use plim_seccomp::diagram::{Diagram, Store, Undecided, condition};
use plim_seccomp::exact::{self, ExactChange};
use plim_seccomp::resolve::Resolved;
use plim_seccomp::{Action, Arch, syscalls};

/// What a side answers by.
#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    /// The rules of a profile.
    Rules(Box<Resolved>),
    /// Installed filters, oldest first; none at all where seccomp is off.
    Stack(Vec<Program>),
}

impl Meaning {
    fn diagram(&self, store: &mut Store) -> Result<Diagram, Undecided> {
        match self {
            Meaning::Rules(resolved) => store.of_resolved(resolved),
            Meaning::Stack(programs) => store.of_stack(programs),
        }
    }
}

/// What is known about two sides.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Verdicts that differ.
    pub(crate) changes: Vec<Change>,
    /// What could not be decided, each a sentence.
    pub(crate) unknown: Vec<String>,
}

/// Compares them.
pub(crate) fn compare(a: &Meaning, b: &Meaning) -> Comparison {
    let mut store = Store::new();
    let mut changes = || -> Result<Vec<ExactChange>, (&str, Undecided)> {
        let a = a.diagram(&mut store).map_err(|why| ("the filter of A", why))?;
        let b = b.diagram(&mut store).map_err(|why| ("the filter of B", why))?;
        exact::diff(&mut store, a, b, true).map_err(|why| ("the difference", why))
    };
    match changes() {
        Ok(changes) => Comparison { changes: changes.into_iter().map(change).collect(), unknown: Vec::new() },
        Err((what, why)) => Comparison { changes: Vec::new(), unknown: vec![format!("{what}: {why}")] },
    }
}

/// The architecture of a row for all that neither side names.
pub(crate) const OTHERS: &str = "other architectures";

/// A change of one verdict.
pub(crate) fn change(change: ExactChange) -> Change {
    let effect = change.effect();
    let ExactChange { arch, syscall, number, when, before, after, witness } = change;
    let path = match arch {
        Some(arch) => format!("/seccomp/{}/{}", arch.scmp_name(), plim_model::json::escape(&syscall)),
        None => "/seccomp/other_architectures".to_owned(),
    };
    let witness = Witness {
        nr: witness.nr,
        args: witness.args.map(|value| format!("{value:#x}")),
        arch_token: arch.is_none().then_some(witness.arch),
        instruction_pointer: (witness.ip != 0).then(|| format!("{:#x}", witness.ip)),
    };
    Change {
        area: Area::Seccomp,
        path,
        before: before.to_json(),
        after: after.to_json(),
        effect,
        seccomp: Some(SeccompDetail {
            arch: arch.map_or(OTHERS, Arch::scmp_name).to_owned(),
            syscall,
            number,
            when,
            witness: Some(witness),
        }),
    }
}

/// The verdicts on every named call of the architectures that either side treats in a way of its own, as lines for people.
pub(crate) fn texts(sides: [&Meaning; 2]) -> [String; 2] {
    let mut store = Store::new();
    let diagrams = sides.map(|side| side.diagram(&mut store));
    let mut tokens: BTreeSet<u32> =
        diagrams.iter().flatten().flat_map(|diagram| store.arches(*diagram)).collect();
    if tokens.is_empty() {
        tokens = [Arch::X86_64, Arch::X86].map(Arch::audit_token).into();
    }
    diagrams.map(|diagram| match diagram {
        Ok(diagram) => text(&mut store, diagram, &tokens),
        Err(why) => format!("not known: {why}\n"),
    })
}

fn text(store: &mut Store, diagram: Diagram, tokens: &BTreeSet<u32>) -> String {
    let mut text = String::new();
    for arch in Arch::all().filter(|arch| tokens.contains(&arch.audit_token())) {
        for (name, number) in syscalls::calls(arch) {
            let rest = store.at(diagram, arch.audit_token(), Some(number.0));
            for action in store.verdicts(rest) {
                let when = when(store, rest, arch, name, action);
                text.push_str(&format!("{} {name}{when}: {action}\n", arch.name()));
            }
        }
    }
    text
}

fn when(store: &mut Store, rest: Diagram, arch: Arch, name: &str, action: Action) -> String {
    match store.cases(rest, arch, |other| other == action) {
        Some(cases) => {
            condition(&cases, arch, name, true).map_or(String::new(), |when| format!(" when {when}"))
        }
        None => " for some arguments".to_owned(),
    }
}

#[cfg(test)]
mod tests;
