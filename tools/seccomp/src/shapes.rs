//! The published JSON forms; `tools/seccomp/schema/` holds their schemas.

use std::collections::BTreeMap;

use plim_seccomp::bpf::Program;
use plim_seccomp::disasm::disassemble;
use plim_seccomp::{Arch, syscalls};
use schemars::JsonSchema;
use serde::Serialize;

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
