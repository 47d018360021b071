//! `lint`: weaknesses and mistakes, each with a witness and a remedy.

use clap::Parser;
use plim_seccomp::installed::Engine;
use plim_seccomp::lint::{Finding, Report, Severity, lint_filter, lint_installed, lint_profile};
use plim_tools_common::args::{Format, Output};
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::{Style, Tone};
use plim_tools_common::seccomp_side::{self, Content};

/// Look for weaknesses and mistakes, each with evidence, a call that is treated so, and a remedy
///
/// Whatever looks at the meaning is decided exactly, over all calls. The classes (PLIM-S001, …) are described in
/// profiles/seccomp/src/lint/README.md.
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    target: String,
    /// Exit with 1 on findings of this severity or worse
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = severity())]
    fail_on: Severity,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    output: Output<Format>,
    #[command(flatten)]
    confine: ConfineArgs,
}

fn severity() -> impl clap::builder::TypedValueParser<Value = Severity> {
    use clap::builder::TypedValueParser;
    clap::builder::PossibleValuesParser::new(Severity::ALL.map(Severity::name)).try_map(|word| {
        Severity::ALL.into_iter().find(|severity| severity.name() == word).ok_or("unknown severity")
    })
}

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let (out, style) = (args.output.destination()?, args.output.style());
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather()?;
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let reading = facts.reading(side.bounding);
    let report = match &side.content {
        Content::Profile(written) if reading.engine != Engine::Written => {
            lint_installed(written, &reading.facts, reading.engine, reading.libseccomp)
        }
        Content::Profile(written) => match facts.engine() {
            Some(engine) => lint_installed(written, &reading.facts, engine, reading.libseccomp),
            None => lint_profile(written, &reading.facts, facts.libseccomp()),
        },
        Content::Stack(programs) => lint_filter(programs, reading.facts.arch, reading.facts.kernel),
        Content::Unknown(why) => {
            let unknown: anyhow::Result<Report> =
                Err(anyhow::anyhow!("{why}").context(format!("filters of {}", side.name)));
            unknown.or_status(exit::UNOBSERVABLE)?
        }
    };
    match args.output.format {
        Format::Json => out.emit_json(&report)?,
        Format::Table => out.emit(draw(&report, style).as_bytes())?,
    }
    let undecided: Vec<String> = report.undecided.iter().map(|why| format!("{}: {why}", side.name)).collect();
    crate::notes(&undecided)?;
    let failing = report.findings.iter().filter(|finding| finding.severity >= args.fail_on).count();
    if !args.output.quiet {
        crate::notes(&[summary(&report)])?;
    }
    Ok(match (failing, report.undecided.is_empty()) {
        (1.., _) => exit::DIFFERENT,
        (0, false) => exit::UNOBSERVABLE,
        (0, true) => exit::CLEAN,
    })
}

fn summary(report: &Report) -> String {
    let count = |severity: &Severity| report.findings.iter().filter(|f| f.severity == *severity).count();
    let counts: Vec<String> = Severity::ALL
        .iter()
        .rev()
        .filter(|severity| count(severity) > 0)
        .map(|severity| format!("{} {severity}", count(severity)))
        .collect();
    match (counts.is_empty(), report.undecided.is_empty()) {
        (true, true) => "nothing found".to_owned(),
        (true, false) => "nothing found; not everything is known".to_owned(),
        (false, _) => counts.join(", "),
    }
}

/// Findings as paragraphs: what is wrong, where, what shows it, what to do.
fn draw(report: &Report, style: Style) -> String {
    report.findings.iter().map(|finding| paragraph(finding, style)).collect::<Vec<_>>().join("\n")
}

fn paragraph(finding: &Finding, style: Style) -> String {
    let tone = match finding.severity {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium => Tone::Warn,
        Severity::Low => Tone::Dim,
    };
    let escape = plim_tools_common::escape;
    let severity = style.paint(tone, finding.severity.name());
    let mut text = format!("{} {severity}: {}\n", finding.id, escape(&finding.message));
    let mut line = |what: &str, words: &str| text.push_str(&format!("  {what}: {}\n", escape(words)));
    if let Some(pointer) = &finding.pointer {
        line("where", pointer);
    }
    for fact in &finding.evidence {
        line("seen", fact);
    }
    if let Some(witness) = &finding.witness {
        line("call", &witness.to_string());
    }
    line("remedy", &finding.remedy);
    text
}
