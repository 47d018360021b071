//! `show`: what is answered to every call.

use std::collections::BTreeMap;

use clap::{Parser, ValueEnum};
use plim_seccomp::Action;
use plim_seccomp::diagram::Store;
use plim_tools_common::args::Output;
use plim_tools_common::calls::{self, AllCalls, ArchCalls, CallAnswer};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::table::{Cell, Table};
use plim_tools_common::{seccomp_side, wall};

use crate::shapes;

/// Show what is answered to every call: allowed, refused with which error, or decided by arguments and how
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    target: String,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// Every call with every case, versioned.
    Json,
    /// The syscall wall as a page: one cell for each call, coloured by the answer, hatched where arguments decide.
    Html,
    /// The syscall wall as a picture.
    Svg,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let meaning = side.meaning(&facts.reading(side.bounding))?;
    if !args.output.quiet {
        crate::notes(&meaning.notes(&side.name))?;
    }
    let mut store = Store::new();
    let diagram = meaning.diagram(&mut store, &side.name)?;
    let arches = calls::arches_of(&store, &[diagram]);
    let all = calls::read(&mut store, diagram, &arches).or_status(exit::UNOBSERVABLE)?;
    let picture = || calls::wall(&side.name, Vec::new(), &all);
    match args.output.format {
        Format::Json => out.emit_json(&shapes::Show::of(&side.name, &all))?,
        Format::Table => out.emit(table(&all, style).as_bytes())?,
        Format::Html => out.emit(wall::html(&picture()).as_bytes())?,
        Format::Svg => out.emit(wall::svg(&picture()).as_bytes())?,
    }
    let undecided = all.undecided();
    if undecided > 0 {
        crate::notes(&[format!("{}: {undecided} answers are undecided", side.name)])?;
        return Ok(exit::UNOBSERVABLE);
    }
    Ok(exit::CLEAN)
}

fn table(all: &AllCalls, style: Style) -> String {
    let mut text = String::new();
    for arch in &all.arches {
        text.push_str(&block(arch, style));
        text.push('\n');
    }
    for line in all.elsewhere.lines() {
        text.push_str(&format!("every other architecture: {line}\n"));
    }
    text
}

/// One architecture: a row for each answer with the calls that always get it, then a row for each case of the others.
fn block(arch: &ArchCalls, style: Style) -> String {
    let name = style.paint(Tone::Strong, arch.arch.name());
    if let Some(action) = arch.one_for_all() {
        return format!("{name}: every number: {action}\n");
    }
    let mut always: BTreeMap<Action, Vec<&str>> = BTreeMap::new();
    let mut undecided: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut depends = Vec::new();
    for call in &arch.calls {
        match (call.answer.unconditional(), &call.answer.undecided) {
            (None, Some(rest)) => undecided.entry(rest.line()).or_default().push(call.name.to_owned()),
            (Some(action), _) => always.entry(action).or_default().push(call.name),
            (None, None) => depends.push((call.name.to_owned(), &call.answer)),
        }
    }
    let counts = [
        (
            always.iter().filter(|(action, _)| action.makes_the_call()).map(|(_, calls)| calls.len()).sum(),
            "allowed",
        ),
        (
            always.iter().filter(|(action, _)| !action.makes_the_call()).map(|(_, calls)| calls.len()).sum(),
            "refused",
        ),
        (depends.len(), "decided by arguments"),
        (undecided.values().map(Vec::len).sum(), "undecided"),
    ];
    let counts: Vec<String> = counts
        .iter()
        .filter(|(count, what)| *count > 0 || *what != "undecided")
        .map(|(count, what): &(usize, &str)| format!("{count} {what}"))
        .collect();
    let mut table = Table::new(style, ["ANSWER", "CALLS", "WHEN"]);
    // What lets most happen comes first, as in the picture.
    for (action, calls) in always.iter().rev() {
        table.row([answer(*action), Cell::lines(folded(calls, style)), Cell::new("")]);
    }
    for unnamed in &arch.unnamed {
        let numbers = format!("(numbers without a name, {})", calls::range(unnamed.first, unnamed.last));
        match (unnamed.answer.unconditional(), &unnamed.answer.undecided) {
            (None, Some(rest)) => undecided.entry(rest.line()).or_default().push(numbers),
            (Some(action), _) => {
                table.row([answer(action), Cell::new(numbers), Cell::new("")]);
            }
            (None, None) => depends.push((numbers, &unnamed.answer)),
        }
    }
    for (why, calls) in &undecided {
        let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
        let answer = Cell::new("undecided").tone(Tone::Warn);
        table.row([answer, Cell::lines(folded(&calls, style)), Cell::new(why)]);
    }
    for (name, conditional) in depends {
        cases(&mut table, &name, conditional);
    }
    format!("{name}: {} calls: {}\n{}", arch.calls.len(), counts.join(", "), table.render())
}

fn cases(table: &mut Table, name: &str, conditional: &CallAnswer) {
    let last = conditional.cases.len() - 1;
    for (index, case) in conditional.cases.iter().enumerate() {
        let when = match &case.when {
            _ if index == last => "otherwise",
            Some(when) => when,
            None => "more than single arguments are compared",
        };
        table.row([answer(case.action), Cell::new(name), Cell::new(when)]);
    }
}

fn answer(action: Action) -> Cell {
    let tone = match action {
        Action::Allow | Action::Log => Tone::Good,
        Action::Notify | Action::Trace(_) => Tone::Warn,
        Action::Errno(_) | Action::Trap | Action::KillThread | Action::KillProcess => Tone::Bad,
    };
    Cell::new(action.to_string()).tone(tone)
}

/// Names in lines of readable length; a terminal folds its cells itself.
fn folded(names: &[&str], style: Style) -> Vec<String> {
    const WIDTH: usize = 100;
    if style.width.is_some() {
        return vec![names.join(" ")];
    }
    let mut lines = vec![String::new()];
    for name in names {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(name),
            Some(line) if line.len() + 1 + name.len() <= WIDTH => {
                line.push(' ');
                line.push_str(name);
            }
            _ => lines.push((*name).to_owned()),
        }
    }
    lines
}
