//! Compares what two sides answer to system calls: profiles and filters alike, exactly, over every call.

use std::collections::BTreeSet;

use plim_model::diff::{Area, Change, DiffFinding, Effect, SeccompDetail, Side, Witness};
use plim_seccomp::diagram::{Diagram, Store, Undecided, condition};
use plim_seccomp::exact::{self, ExactChange};
use plim_seccomp::{Action, Arch, lint, syscalls};

use crate::calls;
use crate::seccomp_side::Meaning;
use crate::wall::Wall;

/// How conditions are put.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct NamesArgs {
    /// Put conditions in the kernel's names of arguments and constants: family == AF_ALG [this is the default]
    #[arg(long, overrides_with = "no_names")]
    names: bool,
    /// Put conditions in numbers: arg0 == 0x26
    #[arg(long, overrides_with = "names")]
    no_names: bool,
}

impl NamesArgs {
    /// Whether names are wanted.
    pub fn wanted(self) -> bool {
        !self.no_names
    }
}

/// What is known about two sides.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Verdicts that differ.
    pub changes: Vec<Change>,
    /// What could not be decided: of which side, and why.
    pub unknown: Vec<(Side, String)>,
    /// What makes a change smaller than it looks.
    pub findings: Vec<DiffFinding>,
}

/// The changes, and what makes them smaller than they look.
type Decided = (Vec<ExactChange>, Vec<DiffFinding>);

/// Compares them. `names`: whether conditions name arguments and constants.
pub fn compare(a: &Meaning, b: &Meaning, names: bool) -> Comparison {
    let mut store = Store::new();
    let mut unknown = Vec::new();
    let mut decide = || -> Result<Decided, (Side, Undecided)> {
        let a = a.exact(&mut store).map_err(|why| (Side::A, why))?;
        let b = b.exact(&mut store).map_err(|why| (Side::B, why))?;
        let changes = match exact::diff(&mut store, a, b, names) {
            Ok(changes) => changes,
            Err(why) => {
                // What cannot be listed can differ all the same, and an example shows it.
                let more = exact::more(&mut store, a, b).ok().flatten();
                let less = || exact::more(&mut store, b, a).ok().flatten().map(ExactChange::turned);
                let changes: Vec<ExactChange> = more.or_else(less).into_iter().collect();
                unknown.push((Side::Both, why.to_string()));
                return Ok((changes, Vec::new()));
            }
        };
        let mut findings = Vec::new();
        for (side, diagram, refuses) in [(Side::A, a, Effect::More), (Side::B, b, Effect::Less)] {
            let refused = changes.iter().filter(|change| change.effect() == refuses);
            let refused: BTreeSet<&str> = refused.map(|change| change.syscall.as_str()).collect();
            if !refused.is_empty() {
                let found = lint::still_made(&mut store, diagram, &refused);
                let found = found.map_err(|why| (side, why))?;
                findings.extend(found.into_iter().filter_map(|found| finding(side, found)));
            }
        }
        Ok((changes, findings))
    };
    match decide() {
        Ok((changes, findings)) => {
            Comparison { changes: changes.into_iter().map(change).collect(), unknown, findings }
        }
        Err((side, why)) => Comparison { unknown: vec![(side, why.to_string())], ..Comparison::default() },
    }
}

fn finding(side: Side, found: lint::Finding) -> Option<DiffFinding> {
    let call = found.witness?;
    Some(DiffFinding {
        side,
        id: found.id.to_owned(),
        message: found.message,
        evidence: found.evidence,
        remedy: found.remedy,
        arch: call.arch,
        syscall: call.syscall?,
        witness: Witness { nr: call.nr, args: call.args, arch_token: None, instruction_pointer: None },
    })
}

/// The architecture of a row for all that neither side names.
pub const OTHERS: &str = "other architectures";

/// A change of one verdict.
pub fn change(change: ExactChange) -> Change {
    let effect = change.effect();
    let ExactChange { arch, syscall, number, when, before, after, witness, .. } = change;
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
pub fn texts(sides: [&Meaning; 2]) -> [String; 2] {
    let mut store = Store::new();
    let diagrams = sides.map(|side| side.exact(&mut store));
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
            let actions = match store.answers(rest) {
                Ok(actions) => actions,
                Err(why) => {
                    text.push_str(&format!("{} {name}: {why}\n", arch.name()));
                    continue;
                }
            };
            for action in actions {
                let when = when(store, rest, arch, name, action);
                text.push_str(&format!("{} {name}{when}: {action}\n", arch.name()));
            }
        }
    }
    text
}

fn when(store: &mut Store, rest: Diagram, arch: Arch, name: &str, action: Action) -> String {
    match store.cases(rest, arch, |other| other == action) {
        Ok(Some(cases)) => {
            condition(&cases, arch, name, true).map_or(String::new(), |when| format!(" when {when}"))
        }
        Ok(None) => " for some arguments".to_owned(),
        Err(why) => format!(" for some arguments, {why}"),
    }
}

/// The picture of the difference.
///
/// # Errors
/// Beyond the store's budget.
pub fn picture(title: &str, remarks: Vec<String>, sides: [&Meaning; 2]) -> Result<Wall, Undecided> {
    let mut store = Store::new();
    let diagrams = [sides[0].exact(&mut store)?, sides[1].exact(&mut store)?];
    let arches = calls::arches_of(&store, &diagrams);
    let a = calls::read(&mut store, diagrams[0], &arches)?;
    let b = calls::read(&mut store, diagrams[1], &arches)?;
    Ok(calls::difference_wall(title, remarks, &a, &b))
}

#[cfg(test)]
mod tests;
