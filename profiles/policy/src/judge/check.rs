//! One rule on one target.

use plim_model::{CapabilitySet, Observed};

use super::behaviour::{self, Meanings};
use super::context::Prepared;
use super::{Judged, Subject, escape, not_linux};
use crate::declared::Container;
use crate::finding::Outcome;
use crate::pss::Verdict;
use crate::rules::{Check, Rule};

/// What came of one check.
#[derive(Clone)]
pub(super) enum Answer {
    Holds,
    Broken(Vec<String>),
    Unknown(String),
}

impl Answer {
    /// Of the facts that break it, or why they are not known.
    pub(super) fn of(facts: Result<Vec<String>, String>) -> Answer {
        match facts {
            Ok(facts) if facts.is_empty() => Answer::Holds,
            Ok(facts) => Answer::Broken(facts),
            Err(why) => Answer::Unknown(why),
        }
    }

    /// The same of one container among several.
    fn named(self, of: &str) -> Answer {
        match self {
            Answer::Holds => Answer::Holds,
            Answer::Broken(facts) => {
                Answer::Broken(facts.into_iter().map(|fact| format!("{of}{fact}")).collect())
            }
            Answer::Unknown(why) => Answer::Unknown(format!("{of}{why}")),
        }
    }
}

/// Judges, or says why the rule has no meaning for the target.
pub(super) fn rule<'a>(
    rule: &'a Rule,
    subject: &'a Subject,
    prepared: &Prepared,
    meanings: &Meanings<'a>,
) -> Result<Judged, String> {
    let mut answers = Vec::new();
    let live = subject.snapshot.is_some() && !rule.live.is_empty();
    if live {
        for check in &rule.live {
            answers.push(live_check(rule, check, subject, prepared, meanings));
        }
    } else if let Some(workload) = &subject.workload {
        if rule.declared.is_empty() {
            return Err(format!(
                "is about what the kernel says of something that runs, not {}",
                workload.form.words()
            ));
        }
        for check in &rule.declared {
            declared_check(rule, check, subject, prepared, meanings, &mut answers)?;
        }
    } else if let Some(why) = &subject.workload_unknown {
        answers.push(Answer::Unknown(format!("what the engine was asked for: {why}")));
    } else {
        return Err("is about what was asked of an engine, which a snapshot does not say".to_owned());
    }
    Ok(join(rule, answers))
}

/// A failure is definite whatever else is unknown; an unknown keeps a pass open.
fn join(rule: &Rule, answers: Vec<Answer>) -> Judged {
    let (mut evidence, mut unknown) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Answer::Holds => {}
            Answer::Broken(facts) => evidence.extend(facts),
            Answer::Unknown(why) => unknown.push(why),
        }
    }
    if !evidence.is_empty() {
        let message = format!("{}: does not hold", rule.title);
        evidence.dedup();
        Judged { outcome: Outcome::Fail, message, evidence }
    } else if !unknown.is_empty() {
        unknown.dedup();
        let message = format!("{}: cannot be told", rule.title);
        Judged { outcome: Outcome::NotObservable, message, evidence: unknown }
    } else {
        Judged { outcome: Outcome::Pass, message: format!("{}: holds", rule.title), evidence }
    }
}

fn live_check<'a>(
    rule: &'a Rule,
    check: &'a Check,
    subject: &'a Subject,
    prepared: &Prepared,
    meanings: &Meanings<'a>,
) -> Answer {
    let Some(snapshot) = &subject.snapshot else { return Answer::Unknown("there is no snapshot".to_owned()) };
    match check {
        Check::Assert(expression) => {
            let Some((context, unknown)) = &prepared.live else {
                return Answer::Unknown("there is no snapshot".to_owned());
            };
            if subject.workload.is_none() && (expression.names("container") || expression.names("workload")) {
                let why = subject.workload_unknown.as_deref().unwrap_or("it was not read");
                return Answer::Unknown(format!("what the engine was asked for: {why}"));
            }
            match expression.evaluate(context, unknown, prepared.largest) {
                crate::rules::Evaluated::Known(true) => Answer::Holds,
                crate::rules::Evaluated::Known(false) => {
                    Answer::Broken(expression.facts(&subject.snapshot_json, context, prepared.largest))
                }
                crate::rules::Evaluated::Unknown(why) => Answer::Unknown(why),
            }
        }
        Check::Capabilities { at_most } => match &snapshot.capabilities {
            Observed::Present(sets) => {
                let held = sets.bounding.union(sets.permitted).union(sets.inheritable).union(sets.ambient);
                too_many(&held.names(), at_most, "")
            }
            Observed::Absent => Answer::Unknown("the kernel says nothing of capabilities".to_owned()),
            Observed::Unknown(why) => Answer::Unknown(why.clone()),
        },
        Check::Seccomp { relation, profile } => {
            let caps = snapshot.capabilities.present().map(|sets| sets.bounding);
            match behaviour::of_live(subject) {
                Ok(stack) => meanings.against(&stack, *relation, (profile, &rule.file), caps),
                Err(why) => Answer::Unknown(why),
            }
        }
        Check::Syscall { must_deny, must_allow } => match behaviour::of_live(subject) {
            Ok(stack) => meanings.calls(&stack, must_deny, must_allow),
            Err(why) => Answer::Unknown(why),
        },
        Check::VerifyInstalled => meanings.installed(subject),
        Check::NoEscapePaths => escape::live(snapshot),
        Check::PodSecurity { .. } => Answer::Unknown("a manifest's control on a live target".to_owned()),
    }
}

fn too_many(held: &[String], at_most: &std::collections::BTreeSet<String>, of: &str) -> Answer {
    let more: Vec<&str> = held.iter().filter(|name| !at_most.contains(*name)).map(String::as_str).collect();
    if more.is_empty() {
        Answer::Holds
    } else {
        Answer::Broken(vec![format!("{of}holds {}", more.join(", "))])
    }
}

fn declared_check<'a>(
    rule: &'a Rule,
    check: &'a Check,
    subject: &'a Subject,
    prepared: &Prepared,
    meanings: &Meanings<'a>,
    answers: &mut Vec<Answer>,
) -> Result<(), String> {
    let Some(workload) = &subject.workload else { return Ok(()) };
    if let Check::PodSecurity { control, level, version } = check {
        let Some(pod) = &workload.pod else {
            return Err(format!("is about Kubernetes' pods, not {}", workload.form.words()));
        };
        if !control.applies(*level, *version) {
            return Err(format!(
                "version {version} of the standard has no such control, or a stricter one for it"
            ));
        }
        match control.judge(*version, pod) {
            Verdict::Kept => answers.push(Answer::Holds),
            Verdict::Broken(facts) => answers.push(Answer::Broken(facts)),
            Verdict::NotLinux => return Err(format!("asks for {}; the rule is about Linux", workload.os)),
        }
        return Ok(());
    }
    if let Some(why) = not_linux(workload) {
        return Err(why);
    }
    let many = workload.containers.len() > 1;
    for (index, container) in workload.containers.iter().enumerate() {
        let of = if many { format!("container {}: ", container.name) } else { String::new() };
        answers.push(match check {
            Check::Assert(expression) => {
                let Some((json, context)) = prepared.containers.get(index) else { continue };
                match expression.evaluate(context, &undecided_facts(container), prepared.largest) {
                    crate::rules::Evaluated::Known(true) => Answer::Holds,
                    crate::rules::Evaluated::Known(false) => {
                        let facts =
                            expression.container_facts(&prepared.workload, json, context, prepared.largest);
                        Answer::Broken(facts.into_iter().map(|fact| format!("{of}{fact}")).collect())
                    }
                    crate::rules::Evaluated::Unknown(why) if container.undecided.is_empty() => {
                        let form = workload.form.words();
                        Answer::Unknown(format!("{of}{why} ({form} may not decide it)"))
                    }
                    crate::rules::Evaluated::Unknown(why) => Answer::Unknown(format!("{of}{why}")),
                }
            }
            Check::Capabilities { at_most } => match &container.capabilities {
                Some(held) => too_many(held, at_most, &of),
                None => match container.why_undecided(&["capabilities", "privileged"]) {
                    Some(why) => Answer::Unknown(format!("{of}{why}")),
                    None => undecided(&of, workload.form.words(), "capabilities"),
                },
            },
            Check::Seccomp { relation, profile } => match meanings.of_container(container, subject) {
                Ok(stack) => {
                    meanings.against(&stack, *relation, (profile, &rule.file), caps_of(container)).named(&of)
                }
                Err(why) => Answer::Unknown(format!("{of}{why}")),
            },
            Check::Syscall { must_deny, must_allow } => match meanings.of_container(container, subject) {
                Ok(stack) => meanings.calls(&stack, must_deny, must_allow).named(&of),
                Err(why) => Answer::Unknown(format!("{of}{why}")),
            },
            Check::NoEscapePaths => escape::declared(container, &of),
            Check::VerifyInstalled => Answer::Unknown("only what runs can be verified".to_owned()),
            Check::PodSecurity { .. } => continue,
        });
    }
    if workload.containers.is_empty() {
        answers.push(Answer::Unknown("no container in it".to_owned()));
    }
    Ok(())
}

/// What the text of a declaration leaves to a variable, as expressions see it.
fn undecided_facts(container: &Container) -> super::context::Unknown {
    let facts = container.undecided.iter().map(|(path, why)| {
        let segments = std::iter::once("container").chain(path.split('.')).map(str::to_owned);
        (segments.collect(), why.clone())
    });
    facts.collect()
}

fn undecided(of: &str, form: &str, what: &str) -> Answer {
    Answer::Unknown(format!("{of}{form} does not decide its {what}"))
}

pub(super) fn caps_of(container: &Container) -> Option<CapabilitySet> {
    let names = container.capabilities.as_ref()?;
    Some(names.iter().filter_map(|name| plim_model::Capability::from_name(name)).collect())
}
