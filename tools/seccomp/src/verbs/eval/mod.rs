//! `eval`: the verdict on calls, JSON line by JSON line.

mod call;
mod decide;
mod lines;
mod short;

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;
use plim_tools_common::confine::{ConfineArgs, Phase, Reads};
use plim_tools_common::exit;
use plim_tools_common::facts::FactArgs;
use plim_tools_common::output::Destination;
use plim_tools_common::seccomp_side;

use call::Reader;
use decide::Decider;
use lines::Lines;

/// Say what a profile or filter answers to calls: JSON lines in, JSON lines out
///
/// In: {"arch":"x86_64","nr":41,"args":[2,"0x80001",0]}, or "syscall":"socket" for the number; missing arguments are 0;
/// numbers of x32 carry bit 30. Out, one line for each: {"action":"SCMP_ACT_ERRNO","errno":1}. Empty lines are passed over.
#[derive(Parser)]
pub(crate) struct Args {
    /// A profile, a filter or a live target
    target: String,
    /// Where the calls are read from; - is stdin
    #[arg(long, value_name = "FILE", default_value = "-")]
    calls: PathBuf,
    /// Write the answers to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    facts: FactArgs,
    #[command(flatten)]
    confine: ConfineArgs,
}

/// Bytes of answers that are held back.
const BUFFER: usize = 1 << 18;

pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let stdin = args.calls.as_os_str() == "-";
    ensure!(!stdin || args.target != "-", "both the target and the calls are -, but stdin can be read once");
    let mut out = match &args.output {
        Some(path) => Destination::file(path)?,
        None => Destination::stdout(),
    };
    args.confine.observe(&out, Reads::of([args.target.as_str()]))?;
    let gathered = seccomp_side::gather(&args.target)?;
    let facts = args.facts.gather_reading()?;
    let (what, calls): (String, Box<dyn std::io::Read>) = match stdin {
        true => ("stdin".to_owned(), Box::new(std::io::stdin())),
        false => {
            let what = args.calls.display().to_string();
            let file = File::open(&args.calls).with_context(|| format!("read {what}"))?;
            (what, Box::new(file))
        }
    };
    args.confine.enter(Phase::Judge)?;

    let side = gathered.side()?;
    let reading = facts.reading(side.bounding);
    let meaning = side.meaning(&reading)?;
    crate::notes(&meaning.notes(&side.name))?;
    let mut decider = Decider::new(meaning.programs(reading.facts.arch)?);
    let result = answer(Lines::new(calls), &mut decider, &mut out).with_context(|| what);
    if result.is_ok() {
        out.finish()?;
    }
    result.map(|()| exit::CLEAN)
}

/// Answers every line. When one is wrong, the answers to those before it are written first.
fn answer(
    mut lines: Lines<impl std::io::Read>,
    decider: &mut Decider,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut reader = Reader::default();
    let mut answers = Vec::with_capacity(BUFFER + 256);
    let result = loop {
        let (number, line) = match lines.next() {
            Ok(Some(found)) => found,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match reader.read(line) {
            Ok(None) => {}
            Ok(Some(call)) => answers.extend_from_slice(decider.answer(&call)),
            Err(error) => break Err(error.context(format!("line {number}"))),
        }
        // A person who types calls wants the answer before the next one; a pipe gives many at once.
        if answers.len() >= BUFFER || lines.nothing_left_to_scan() {
            out.write_all(&answers).context("write the answers")?;
            answers.clear();
        }
    };
    out.write_all(&answers).and_then(|()| out.flush()).context("write the answers")?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use plim_seccomp::bpf::{Insn, Program, code::*};

    /// Allows what has an even first argument on x86-64, refuses socket there, kills foreign architectures.
    fn program() -> Program {
        let jump = |k, jt, jf| Insn { code: JMP_JEQ_K, jt, jf, k };
        Program::from_instructions(vec![
            Insn::stmt(LD_W_ABS, 4),
            jump(0xc000_003e, 0, 6),
            Insn::stmt(LD_W_ABS, 0),
            jump(41, 3, 0),
            Insn::stmt(LD_W_ABS, 16),
            Insn { code: JMP_JSET_K, jt: 1, jf: 0, k: 1 },
            Insn::stmt(RET_K, 0x7fff_0000),
            Insn::stmt(RET_K, 0x0005_0001),
            Insn::stmt(RET_K, 0),
        ])
        .expect("a good filter")
    }

    fn answers(calls: &str) -> (String, anyhow::Result<()>) {
        let mut out = Vec::new();
        let mut decider = Decider::new(vec![program()]);
        let result = answer(Lines::new(calls.as_bytes()), &mut decider, &mut out);
        (String::from_utf8(out).expect("ASCII"), result)
    }

    #[test]
    fn one_line_for_each() {
        let (text, result) = answers(
            r#"{"arch":"x86_64","nr":41}
{"arch":"x86_64","syscall":"read","args":[2]}

{"syscall":"read","args":["0x3"],"arch":"x86_64"}
{"arch":"aarch64","nr":1}
{"arch":"x86_64","syscall":"read","args":[4]}"#,
        );
        result.expect("all good");
        let (allow, eperm) = (r#"{"action":"SCMP_ACT_ALLOW"}"#, r#"{"action":"SCMP_ACT_ERRNO","errno":1}"#);
        let kill = r#"{"action":"SCMP_ACT_KILL_THREAD"}"#;
        assert_eq!(text, format!("{eperm}\n{allow}\n{eperm}\n{kill}\n{allow}\n"));
    }

    #[test]
    fn a_wrong_line_is_named_after_the_answers_before_it() {
        let (text, result) = answers("{\"arch\":\"x86_64\",\"nr\":0}\n{\"arch\":\"x86_64\",\"nr\":-1}\n");
        assert_eq!(text, "{\"action\":\"SCMP_ACT_ALLOW\"}\n");
        let error = format!("{:#}", result.expect_err("refused"));
        assert_eq!(error, "line 2: /nr: found -1, expected a whole number from 0 to 4294967295");
    }
}
