//! The published JSON forms; `tools/seccomp/schema/` holds their schemas.

mod verified;

use std::collections::BTreeMap;

use plim_model::diff::Change;
use plim_seccomp::bpf::Program;
use plim_seccomp::decompile::Decompiled;
use plim_seccomp::dialect::{Rewritten, Unsaid};
use plim_seccomp::disasm::disassemble;
use plim_seccomp::exact;
use plim_seccomp::resolve::EnosysAbove;
use plim_seccomp::witness::{ActionJson, Witness};
use plim_seccomp::{Arch, syscalls};
use plim_tools_common::calls::{AllCalls, ArchCalls, CallAnswer};
use plim_tools_common::seccomp_diff;
use schemars::JsonSchema;
use serde::Serialize;

pub(crate) use verified::{DeclaredShape, Group, ThreadShape, Verdict, Verified};

/// Version of these forms; a minor bump adds fields, a major bump changes meaning.
pub(crate) const FORMAT: &str = "1.0";

/// `table --format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Table {
    /// [`FORMAT`].
    format: &'static str,
    /// By name.
    syscalls: Vec<TableRow>,
}

/// One call.
#[derive(Debug, Serialize, JsonSchema)]
struct TableRow {
    /// The name.
    name: &'static str,
    /// Its number on each architecture that has it (`x86_64`, `i386`, `x32` with bit 30, `aarch64`, …).
    numbers: BTreeMap<&'static str, u32>,
}

impl Table {
    pub(crate) fn of(names: &[&'static str], arches: &[Arch]) -> Table {
        let numbers = |name: &str| {
            let number = |arch: &Arch| Some((arch.name(), syscalls::number(*arch, name)?.0));
            arches.iter().filter_map(number).collect()
        };
        let syscalls = names.iter().map(|name| TableRow { name, numbers: numbers(name) }).collect();
        Table { format: FORMAT, syscalls }
    }
}

/// `disasm`, `dump` and `compile` with `--format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Filters {
    /// [`FORMAT`].
    format: &'static str,
    /// As it was named.
    target: String,
    /// How a live target's filters were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Oldest first; the kernel runs them newest first.
    filters: Vec<Filter>,
}

/// One filter.
#[derive(Debug, Serialize, JsonSchema)]
struct Filter {
    /// `struct sock_filter` by `struct sock_filter`.
    instructions: Vec<Instruction>,
}

/// One `struct sock_filter`.
#[derive(Debug, Serialize, JsonSchema)]
struct Instruction {
    /// Operation code.
    code: u16,
    /// Jump if true.
    jt: u8,
    /// Jump if false.
    jf: u8,
    /// Operand.
    k: u32,
    /// What it does, for people.
    text: String,
}

impl Filters {
    pub(crate) fn of(target: &str, method: Option<String>, programs: &[Program]) -> Filters {
        Filters {
            format: FORMAT,
            target: target.to_owned(),
            method,
            filters: programs.iter().map(filter).collect(),
        }
    }
}

fn filter(program: &Program) -> Filter {
    let text = disassemble(program);
    let meaning = |line: &str| line.split_once("  ").map_or("", |(_, text)| text).trim().to_owned();
    let instructions = program
        .instructions()
        .iter()
        .zip(text.lines())
        .map(|(i, line)| Instruction {
            code: i.code,
            jt: i.jt,
            jf: i.jf,
            k: i.k,
            text: meaning(line.trim_start()),
        })
        .collect();
    Filter { instructions }
}

/// `subset` and `equal` with `--format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Claim {
    /// [`FORMAT`].
    format: &'static str,
    /// Whether it holds, for every call.
    holds: bool,
    /// A call for which it does not.
    witness: Option<Counterexample>,
}

/// A call that two sides answer differently.
#[derive(Debug, Serialize, JsonSchema)]
struct Counterexample {
    #[serde(flatten)]
    call: Witness,
    /// The first side's answer.
    a: ActionJson,
    /// The second side's answer.
    b: ActionJson,
}

impl Claim {
    pub(crate) fn of(verdict: &exact::Verdict) -> Claim {
        let witness = verdict.witness.map(|exact::Witness { call, a, b }| Counterexample {
            call: Witness::from(&call),
            a: ActionJson(a),
            b: ActionJson(b),
        });
        Claim { format: FORMAT, holds: verdict.holds, witness }
    }
}

/// `show --format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Show {
    /// [`FORMAT`].
    format: &'static str,
    /// As it was named.
    target: String,
    /// The architectures that are treated in a way of their own.
    arches: Vec<ShowArch>,
    /// What calls of every other architecture get.
    elsewhere: Vec<ShowCase>,
    /// Where that is undecided.
    #[serde(skip_serializing_if = "Option::is_none")]
    elsewhere_undecided: Option<ShowUndecided>,
}

/// One architecture.
#[derive(Debug, Serialize, JsonSchema)]
struct ShowArch {
    /// `SCMP_ARCH_X86_64`.
    arch: &'static str,
    /// Every call with a name, by name.
    calls: Vec<ShowCall>,
    /// The other numbers.
    unnamed: Vec<ShowUnnamed>,
}

/// One call.
#[derive(Debug, Serialize, JsonSchema)]
struct ShowCall {
    /// Its name.
    syscall: &'static str,
    /// Its number.
    nr: u32,
    /// One case for an unconditional call, else one for each answer; none where it is undecided.
    cases: Vec<ShowCase>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<ShowUndecided>,
}

/// Numbers without a name that are treated alike.
#[derive(Debug, Serialize, JsonSchema)]
struct ShowUnnamed {
    /// The lowest.
    first: u32,
    /// The highest.
    last: u32,
    /// As for a call with a name.
    cases: Vec<ShowCase>,
    /// As for a call with a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecided: Option<ShowUndecided>,
}

/// What is known of an answer that is undecided.
#[derive(Debug, Serialize, JsonSchema)]
struct ShowUndecided {
    /// Why it is.
    why: String,
    /// The kinds of answers that occur, the strongest first.
    actions: Vec<&'static str>,
}

/// One answer, and when it is given.
#[derive(Debug, Serialize, JsonSchema)]
struct ShowCase {
    /// The condition on the arguments; `null` in a single case for every call, and in one of several where no comparison of single
    /// arguments says it.
    when: Option<String>,
    #[serde(flatten)]
    answer: ActionJson,
}

impl Show {
    pub(crate) fn of(target: &str, all: &AllCalls) -> Show {
        Show {
            format: FORMAT,
            target: target.to_owned(),
            arches: all.arches.iter().map(show_arch).collect(),
            elsewhere: show_cases(&all.elsewhere),
            elsewhere_undecided: show_undecided(&all.elsewhere),
        }
    }
}

fn show_arch(arch: &ArchCalls) -> ShowArch {
    let calls = arch.calls.iter().map(|call| ShowCall {
        syscall: call.name,
        nr: call.number.0,
        cases: show_cases(&call.answer),
        undecided: show_undecided(&call.answer),
    });
    let unnamed = arch.unnamed.iter().map(|unnamed| ShowUnnamed {
        first: unnamed.first,
        last: unnamed.last,
        cases: show_cases(&unnamed.answer),
        undecided: show_undecided(&unnamed.answer),
    });
    ShowArch { arch: arch.arch.scmp_name(), calls: calls.collect(), unnamed: unnamed.collect() }
}

fn show_cases(answer: &CallAnswer) -> Vec<ShowCase> {
    let case = |case: &plim_tools_common::calls::Case| ShowCase {
        when: case.when.clone(),
        answer: ActionJson(case.action),
    };
    answer.cases.iter().map(case).collect()
}

fn show_undecided(answer: &CallAnswer) -> Option<ShowUndecided> {
    let rest = answer.undecided.as_ref()?;
    Some(ShowUndecided {
        why: rest.why.clone(),
        actions: rest.kinds.iter().map(|kind| kind.name()).collect(),
    })
}

/// `convert --format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Conversion {
    /// [`FORMAT`].
    format: &'static str,
    /// The profile in the dialect that was asked for.
    profile: serde_json::Value,
    /// What that dialect cannot say.
    unsaid: Vec<UnsaidShape>,
}

/// One part of a profile that a dialect cannot say.
#[derive(Debug, Serialize, JsonSchema)]
struct UnsaidShape {
    /// JSON pointer into the profile as it was written.
    pointer: String,
    /// `settled` for the facts that were given, `dropped` where no answer depends on it, or `lost`.
    fate: &'static str,
    /// In words.
    what: String,
}

impl Conversion {
    pub(crate) fn of(rewritten: &Rewritten) -> Conversion {
        let unsaid = |unsaid: &Unsaid| UnsaidShape {
            pointer: unsaid.pointer.clone(),
            fate: unsaid.fate.as_str(),
            what: unsaid.what.clone(),
        };
        Conversion {
            format: FORMAT,
            profile: rewritten.json.clone(),
            unsaid: rewritten.unsaid.iter().map(unsaid).collect(),
        }
    }
}

/// `decompile` and `merge` with `--format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WrittenBack {
    /// [`FORMAT`].
    format: &'static str,
    /// Whether the profile is proven to mean the same.
    exact: bool,
    /// The machine that it is for.
    native: &'static str,
    /// Whether it means so with ENOSYS for calls that are newer than the profile, as runc installs it.
    enosys_above: bool,
    /// The profile, in OCI's dialect.
    profile: serde_json::Value,
    /// What it answers otherwise.
    lost: Vec<Change>,
    /// Why, one sentence each.
    reasons: Vec<String>,
}

impl WrittenBack {
    pub(crate) fn of(back: &Decompiled) -> WrittenBack {
        WrittenBack {
            format: FORMAT,
            exact: back.is_exact(),
            native: back.native.scmp_name(),
            enosys_above: back.enosys_above == EnosysAbove::HighestNamed,
            profile: back.profile.clone(),
            lost: back.lost.iter().cloned().map(seccomp_diff::change).collect(),
            reasons: back.reasons.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_SCHEMA=1 cargo test -p plim-seccomp-tool` writes them anew.
    #[test]
    fn committed_schemas_are_current() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
        for (name, schema) in [
            ("table", schemars::schema_for!(Table)),
            ("filters", schemars::schema_for!(Filters)),
            ("claim", schemars::schema_for!(Claim)),
            ("show", schemars::schema_for!(Show)),
            ("convert", schemars::schema_for!(Conversion)),
            ("decompile", schemars::schema_for!(WrittenBack)),
            ("verify", schemars::schema_for!(Verified)),
        ] {
            let path = folder.join(format!("{name}-{FORMAT}.json"));
            let current = serde_json::to_string_pretty(&schema).expect("text") + "\n";
            if std::env::var_os("UPDATE_SCHEMA").is_some() {
                std::fs::create_dir_all(&folder).expect("folder");
                std::fs::write(&path, &current).expect("write the schema");
            }
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == current,
                "{} is not what the code says; run `UPDATE_SCHEMA=1 cargo test -p plim-seccomp-tool`",
                path.display()
            );
        }
    }
}
