//! Runs the suites and tells the result, as a table or as JSON.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::expect::{Expectations, matches};
use crate::launcher::Engine;
use crate::{Ctx, Test, Weakening, inventory, suites};

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise held.
    Passed,
    /// It did not: why.
    Failed(String),
    /// It could not be tried: why.
    Skipped(String),
}

/// One line of the result.
pub struct Line {
    /// `launcher/promise/name`.
    pub test: String,
    /// In a proof: the weakening that is to make it red.
    pub under: Option<Weakening>,
    /// In a proof that passed: what the test found broken.
    pub found: Option<String>,
    /// What is promised.
    pub says: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// Wall time.
    pub took: Duration,
}

/// How a failure reads when the container never ran.
const NOT_STARTED: [&str; 3] = ["no JSON from the container", "the launcher ended with", ") before saying"];

/// What to run.
pub struct Plan {
    /// Who starts the containers.
    pub engines: Vec<Engine>,
    /// Break this promise in every test.
    pub weakening: Option<Weakening>,
    /// Only tests whose `launcher/promise/name` fits (with `*`) or contains this.
    pub filter: Option<String>,
    /// Instead of the tests, prove them: run each under its weakenings and demand that it fails.
    pub prove: bool,
    /// Which skips are all right; `None` allows all.
    pub expectations: Option<Expectations>,
    /// Where the built programs are.
    pub bin: std::path::PathBuf,
}

impl Plan {
    fn selects(&self, name: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| {
            filter
                .split(',')
                .any(|part| if part.contains('*') { matches(part, name) } else { name.contains(part) })
        })
    }

    /// The tests that the plan selects, by launcher.
    pub fn tests(&self) -> Vec<(Engine, String, &'static Test)> {
        let mut all = Vec::new();
        for engine in &self.engines {
            for suite in suites::ALL {
                for test in suite.tests {
                    let name = format!("{}/{}/{}", engine.name(), suite.promise, test.name);
                    if self.selects(&name) {
                        all.push((*engine, name, test));
                    }
                }
            }
        }
        all
    }

    /// Runs everything, telling each line to `tell` as it comes.
    ///
    /// # Errors
    /// When a context cannot be made.
    pub fn run(&self, tell: &mut dyn FnMut(&Line)) -> Result<Vec<Line>> {
        let mut lines = Vec::new();
        for (engine, name, test) in self.tests() {
            if self.prove {
                if test.red_under.is_empty() {
                    let why = "no weakening makes it red: nothing shows that it tests anything".to_owned();
                    let took = Duration::ZERO;
                    lines.push(Line {
                        test: name.clone(),
                        under: None,
                        found: None,
                        says: test.says,
                        verdict: Verdict::Failed(why),
                        took,
                    });
                    lines.last().into_iter().for_each(&mut *tell);
                }
                for weakening in test.red_under {
                    let ctx = Ctx::new(engine, Some(*weakening), &self.bin)?;
                    let (verdict, took) = attempt(&ctx, test);
                    let found = match &verdict {
                        Verdict::Failed(why) => Some(why.clone()),
                        _ => None,
                    };
                    let verdict = match verdict {
                        // Red for the wrong reason proves nothing: the weakened container must have run.
                        Verdict::Failed(why) if NOT_STARTED.iter().any(|one| why.contains(one)) => {
                            Verdict::Failed(format!("the weakened container did not start: {why}"))
                        }
                        Verdict::Failed(_) => Verdict::Passed,
                        Verdict::Passed => {
                            Verdict::Failed("the promise was broken and the test passed".to_owned())
                        }
                        skipped @ Verdict::Skipped(_) => self.judge(&name, skipped),
                    };
                    inventory::sweep_up();
                    lines.push(Line {
                        test: name.clone(),
                        under: Some(*weakening),
                        found,
                        says: test.says,
                        verdict,
                        took,
                    });
                    lines.last().into_iter().for_each(&mut *tell);
                }
            } else {
                let ctx = Ctx::new(engine, self.weakening, &self.bin)?;
                let (verdict, took) = attempt(&ctx, test);
                let verdict = self.judge(&name, verdict);
                lines.push(Line { test: name, under: None, found: None, says: test.says, verdict, took });
                lines.last().into_iter().for_each(&mut *tell);
            }
        }
        inventory::sweep_up();
        Ok(lines)
    }

    /// A skip that is not expected is a failure.
    fn judge(&self, name: &str, verdict: Verdict) -> Verdict {
        match (verdict, &self.expectations) {
            (Verdict::Skipped(why), Some(expected)) if !expected.allows(name, &why) => Verdict::Failed(
                format!("skipped, and this kind of machine is expected to run it: needs {why}"),
            ),
            (verdict, _) => verdict,
        }
    }
}

fn attempt(ctx: &Ctx, test: &Test) -> (Verdict, Duration) {
    let start = Instant::now();
    let engine = match ctx.engine {
        Engine::Plim => crate::Need::Built("plim-run"),
        Engine::Runc => crate::Need::Program("runc"),
    };
    let needs = [engine, crate::Need::Root, crate::Need::Built("plim-witness")];
    let missing: Vec<String> = needs.iter().chain(test.needs).filter_map(|need| need.missing(ctx)).collect();
    if !missing.is_empty() {
        return (Verdict::Skipped(missing.join(", ")), start.elapsed());
    }
    let verdict = match catch_unwind(AssertUnwindSafe(|| (test.run)(ctx))) {
        Ok(Ok(())) => Verdict::Passed,
        Ok(Err(error)) => Verdict::Failed(format!("{error:#}")),
        Err(_) => Verdict::Failed("the test panicked".to_owned()),
    };
    (verdict, start.elapsed())
}

/// How many passed, failed and were skipped.
pub fn totals(lines: &[Line]) -> (usize, usize, usize) {
    let count = |fits: fn(&Verdict) -> bool| lines.iter().filter(|line| fits(&line.verdict)).count();
    (
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_))),
    )
}

/// One line of the table.
///
/// # Errors
/// When it cannot be written.
pub fn write_line(out: &mut dyn Write, line: &Line) -> std::io::Result<()> {
    let (mark, why) = match &line.verdict {
        Verdict::Passed => ("ok    ", line.found.as_deref().map(first_words).unwrap_or_default()),
        Verdict::Failed(why) => ("FAILED", format!("\n       promise: {}\n       {why}", line.says)),
        Verdict::Skipped(why) => ("skip  ", format!("  (needs {why})")),
    };
    let under = line.under.map(|kind| format!(" under {}", kind.name())).unwrap_or_default();
    writeln!(out, "{mark} {:5} ms  {}{under}{why}", line.took.as_millis(), line.test)
}

/// The beginning of a text, on one line.
fn first_words(text: &str) -> String {
    const MOST: usize = 100;
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!(": {}…", &line[..end]),
        None => format!(": {line}"),
    }
}

/// The whole result as JSON.
pub fn to_json(lines: &[Line]) -> Value {
    let (passed, failed, skipped) = totals(lines);
    let tests: Vec<Value> = lines
        .iter()
        .map(|line| {
            let (result, why) = match &line.verdict {
                Verdict::Passed => ("passed", line.found.as_ref()),
                Verdict::Failed(why) => ("failed", Some(why)),
                Verdict::Skipped(why) => ("skipped", Some(why)),
            };
            let under = line.under.map(Weakening::name);
            json!({"test": line.test, "under": under, "promise": line.says, "result": result, "why": why})
        })
        .collect();
    json!({"format": "1.0", "passed": passed, "failed": failed, "skipped": skipped, "tests": tests})
}

/// One row per test of a proof: which weakenings made it red.
///
/// # Errors
/// When it cannot be written.
pub fn write_proof(out: &mut dyn Write, lines: &[Line]) -> std::io::Result<()> {
    writeln!(out, "\n{:48} seen red under", "test")?;
    let mut rest = lines;
    while let Some(first) = rest.first() {
        let (of_one, others) = rest.split_at(rest.iter().take_while(|line| line.test == first.test).count());
        rest = others;
        let red = of_one.iter().filter(|line| line.verdict == Verdict::Passed);
        let names: Vec<&str> = red.filter_map(|line| line.under).map(Weakening::name).collect();
        let said = match of_one.iter().find(|line| matches!(line.verdict, Verdict::Skipped(_))) {
            _ if !names.is_empty() => names.join(", "),
            Some(Line { verdict: Verdict::Skipped(why), .. }) => format!("not tried (needs {why})"),
            _ => "NOTHING".to_owned(),
        };
        writeln!(out, "{:48} {said}", first.test)?;
    }
    Ok(())
}

/// One row per promise: passed, failed, skipped.
///
/// # Errors
/// When it cannot be written.
pub fn write_summary(out: &mut dyn Write, lines: &[Line]) -> std::io::Result<()> {
    let promise = |line: &Line| line.test.split('/').take(2).collect::<Vec<_>>().join("/");
    let mut names: Vec<String> = lines.iter().map(promise).collect();
    names.dedup();
    writeln!(out, "\n{:32} {:>7} {:>7} {:>7}", "promise", "passed", "failed", "skipped")?;
    for name in names {
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for line in lines.iter().filter(|line| promise(line) == name) {
            match line.verdict {
                Verdict::Passed => passed += 1,
                Verdict::Failed(_) => failed += 1,
                Verdict::Skipped(_) => skipped += 1,
            }
        }
        writeln!(out, "{name:32} {passed:>7} {failed:>7} {skipped:>7}")?;
    }
    let (passed, failed, skipped) = totals(lines);
    writeln!(out, "{passed} passed, {failed} failed, {skipped} skipped")
}
