//! `explain`: what decides a call.

use anyhow::Context;
use clap::Parser;
use plim_seccomp::Arch;
use plim_seccomp::explain::{
    ChangeKind, DecidedBy, ExplainError, Explanation, Outcome, Question, QuestionError, explain_filter,
    explain_installed, explain_profile,
};
use plim_seccomp::installed::Engine;
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::seccomp_side::{self, Content};

/// Say what a call gets, which rule or instruction decides, and what would change it
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    target: String,
    /// The call, by name or number
    syscall: String,
    /// Arguments that are known: family=AF_INET, flags=O_RDWR|O_CREAT, arg1=0x5412; the others stay open
    #[arg(value_name = "ARG=VALUE")]
    arguments: Vec<String>,
    /// Architecture of the call, such as i386 on an x86_64 machine [default: the machine's]
    #[arg(long, value_name = "ARCH", value_parser = parse_arch)]
    call_arch: Option<Arch>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

fn parse_arch(word: &str) -> Result<Arch, String> {
    Arch::from_name(word).ok_or_else(|| {
        let hint = plim_tools_common::nearest::hint(word, Arch::all().map(Arch::name));
        format!("unknown architecture{hint}")
    })
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather_reading()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let reading = facts.reading(side.bounding);
    let mut question = Question::of_call(args.call_arch.unwrap_or(reading.facts.arch), &args.syscall)
        .map_err(with_call_arch)?;
    for argument in &args.arguments {
        question = question.with(argument)?;
    }
    let explanation = match &side.content {
        Content::Profile(written) if reading.engine == Engine::Written => {
            let answer = explain_profile(written, &reading.facts, &question);
            explained(answer, || side.name.clone())?
        }
        Content::Profile(written) => {
            let (facts, engine) = (&reading.facts, reading.engine);
            let answer = explain_installed(written, facts, engine, reading.libseccomp, &question);
            explained(answer, || format!("{} as {engine} installs it", side.name))?
        }
        _ => {
            let programs = side.meaning(&reading)?.programs(reading.facts.arch)?;
            explain_filter(&programs, &question)
                .with_context(|| side.name.clone())
                .or_status(exit::UNOBSERVABLE)?
        }
    };
    match args.output.format {
        Format::Json => out.emit_json(&explanation)?,
        Format::Table => out.emit(draw(&explanation, style).as_bytes())?,
    }
    Ok(exit::CLEAN)
}

/// What is beyond the budget is not known; a profile without a meaning is bad input.
fn explained(
    answer: Result<Explanation, ExplainError>,
    what: impl Fn() -> String,
) -> anyhow::Result<Explanation> {
    match answer {
        Err(ExplainError::Undecided(why)) => {
            let unknown: anyhow::Result<Explanation> = Err(why).with_context(what);
            Ok(unknown.or_status(exit::UNOBSERVABLE)?)
        }
        other => other.with_context(what),
    }
}

/// How to ask for a call that another architecture has.
fn with_call_arch(error: QuestionError) -> anyhow::Error {
    match &error {
        QuestionError::Call { elsewhere: Some(arch), .. } => {
            anyhow::anyhow!("{error}: add --call-arch {arch}")
        }
        _ => error.into(),
    }
}

fn draw(explanation: &Explanation, style: Style) -> String {
    let asked = &explanation.call;
    let call = asked.syscall.clone().unwrap_or_else(|| format!("number {}", asked.nr));
    let known: Vec<String> = asked
        .args
        .iter()
        .enumerate()
        .filter_map(|(index, value)| Some(format!("arg{index}={}", value.as_ref()?)))
        .collect();
    let mut text =
        format!("{} ({}) on {} {}", call, asked.nr, asked.arch, known.join(" ")).trim_end().to_owned();
    text.push('\n');
    for outcome in &explanation.outcomes {
        text.push_str(&one(outcome, style));
    }
    for note in &explanation.notes {
        text.push_str(&format!("note: {}\n", plim_tools_common::escape(note)));
    }
    text
}

fn one(outcome: &Outcome, style: Style) -> String {
    let escape = plim_tools_common::escape;
    let action = outcome.action.0;
    let tone = if action.makes_the_call() { Tone::Good } else { Tone::Bad };
    let when = outcome.when.as_ref().map_or(String::new(), |when| format!(" when {}", escape(when)));
    let mut text = format!("{}{when}\n", style.paint(tone, &action.to_string()));
    let mut line = |what: &str, words: &str| text.push_str(&format!("  {what}: {}\n", escape(words)));
    match &outcome.decided_by {
        DecidedBy::Rule { pointer, comment } => {
            let why = comment.as_ref().map_or(String::new(), |why| format!(" ({why})"));
            line("decided by", &format!("{pointer}{why}"));
        }
        DecidedBy::DefaultAction { pointer } => line("decided by", &format!("{pointer}, no rule applies")),
        DecidedBy::EnosysAbove { highest, name } => {
            let name = name.as_ref().map_or(String::new(), |name| format!(" ({name})"));
            line("decided by", &format!("its number, above {highest}{name}, the highest that is named"));
        }
        DecidedBy::ForeignArchitecture { arches } => {
            line("decided by", &format!("its architecture, which is none of {}", arches.join(", ")));
        }
        DecidedBy::Joined { pointers } => {
            let rules = pointers.join(", ");
            line(
                "decided by",
                &format!("libseccomp, which joins {rules} so that it does; no rule holds by itself"),
            );
        }
        DecidedBy::Filter { filter, path } => {
            line("decided by", &format!("filter {filter}, in {} instructions", path.len()));
            for step in path {
                line(&format!("{:4}", step.instruction), &step.text);
            }
        }
        DecidedBy::Nothing => line("decided by", "nothing: seccomp is off"),
    }
    if outcome.when.is_some() {
        line("for example", &outcome.witness.to_string());
    }
    for change in &outcome.changes {
        // The others name their place.
        let place = match (change.kind, &change.pointer) {
            (ChangeKind::Capabilities | ChangeKind::Kernel, Some(pointer)) => format!(" ({pointer})"),
            _ => String::new(),
        };
        line("would change it", &format!("{}{place}: then {}", change.what, change.then.0));
    }
    if let Some(advice) = &outcome.errno_advice {
        let harm = match (advice.is_enosys, advice.breaks) {
            (true, _) => "callers fall back",
            (false, true) => "callers wait for ENOSYS and break",
            (false, false) => "callers wait for ENOSYS",
        };
        line("error", &format!("{harm}: {}", advice.behaviour));
    }
    text
}
