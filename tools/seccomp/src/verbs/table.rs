//! `table`: numbers of system calls over all architectures.

use anyhow::Context;
use clap::Parser;
use plim_seccomp::{Arch, syscalls};
use plim_tools_common::args::{Format, Output};
use plim_tools_common::{exit, nearest, table::Table};

use crate::shapes;

/// Print system call numbers by name, over all architectures
#[derive(Parser)]
pub(crate) struct Args {
    /// Names, or numbers (which are looked up on the architectures of --arch) [default: every call]
    #[arg(value_name = "CALL")]
    calls: Vec<String>,
    /// Columns, between commas; "all" for every architecture [default: the common ones; JSON has all]
    #[arg(long, value_name = "ARCHES", value_delimiter = ',')]
    arch: Vec<String>,
    #[command(flatten)]
    output: Output<Format>,
}

/// The columns that most readers look for.
const COMMON: [Arch; 8] =
    [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm, Arch::Riscv64, Arch::S390x, Arch::Ppc64le];

/// Needs no confinement: it reads nothing but its own command line.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let arches = match (args.arch.as_slice(), args.output.format) {
        ([], Format::Table) => COMMON.to_vec(),
        ([], Format::Json) => Arch::all().collect(),
        (words, _) if words == ["all"] => Arch::all().collect(),
        (words, _) => words.iter().map(|word| arch(word)).collect::<anyhow::Result<_>>()?,
    };
    let names = names(&args.calls, &arches)?;
    match args.output.format {
        Format::Json => args.output.emit_json(&shapes::Table::of(&names, &arches))?,
        Format::Table => {
            let headings: Vec<&str> =
                std::iter::once("SYSCALL").chain(arches.iter().map(|arch| arch.name())).collect();
            let mut table = Table::with_columns(args.output.style(), &headings);
            for name in &names {
                let number =
                    |arch: &Arch| syscalls::number(*arch, name).map_or("-".to_owned(), |nr| nr.to_string());
                table.cells(std::iter::once((*name).to_owned()).chain(arches.iter().map(number)));
            }
            args.output.emit(table.render().as_bytes())?;
        }
    }
    Ok(exit::CLEAN)
}

fn arch(word: &str) -> anyhow::Result<Arch> {
    Arch::from_name(word).with_context(|| {
        let hint = nearest::hint(word, Arch::all().map(Arch::name));
        format!("--arch: unknown architecture {word:?}{hint}")
    })
}

/// The calls that were asked for, sorted by name.
fn names(asked: &[String], arches: &[Arch]) -> anyhow::Result<Vec<&'static str>> {
    let mut all: Vec<&'static str> = arches.iter().flat_map(|arch| syscalls::names(*arch)).collect();
    all.sort_unstable();
    all.dedup();
    if asked.is_empty() {
        return Ok(all);
    }
    let mut found = Vec::new();
    for word in asked {
        let by_number = |number: u32| {
            let named = |arch: &Arch| {
                syscalls::calls(*arch).filter(move |(_, nr)| nr.0 == number).map(|(name, _)| name)
            };
            arches.iter().flat_map(named).collect::<Vec<_>>()
        };
        let here = match word.parse::<u32>() {
            Ok(number) => by_number(number),
            Err(_) => all.iter().copied().filter(|name| name == word).collect(),
        };
        if here.is_empty() {
            let known = if syscalls::is_known(word) { " on these architectures" } else { "" };
            let hint = nearest::hint(word, all.iter().copied());
            anyhow::bail!("no system call {word:?}{known}{hint}");
        }
        found.extend(here);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
