//! Judging: every rule on every target, then what is ignored, then the count.

mod behaviour;
mod check;
mod context;
mod escape;
pub(crate) mod ignores;
mod memo;
pub(crate) mod syscall;
mod verify;

use std::collections::BTreeMap;

use plim_model::{Observed, Snapshot};
use plim_seccomp::bpf::Program;
use plim_seccomp::dialect::Written;
use plim_seccomp::installed::{Engine, Vintage};
use plim_seccomp::resolve::Facts;

pub use behaviour::{Growth, growth};
pub(crate) use escape::ways_out;

use crate::declared::{Form, Workload};
use crate::finding::{Finding, Findings, NotApplicable, Outcome, Where};
use crate::rules::{Date, PolicySet, Rule, Scope, Source};

/// Something that is judged.
#[derive(Debug, Default)]
pub struct Subject {
    /// As a person names it.
    pub name: String,
    /// Where it is written.
    pub place: Option<Where>,
    /// What the kernel says, of a live target or a saved snapshot.
    pub snapshot: Option<Box<Snapshot>>,
    /// Its published JSON form.
    pub snapshot_json: serde_json::Value,
    /// The installed filters, oldest first.
    pub filters: Observed<Vec<Program>>,
    /// What was asked for: of a file, or by the engine of a live target.
    pub workload: Option<Workload>,
    /// Why what the engine of a live target was asked for is not known, where it is not.
    pub workload_unknown: Option<String>,
    /// The seccomp profile that the engine was given (`linux.seccomp`); absent where it was given none.
    pub declared_seccomp: Observed<Box<Written>>,
}

impl Subject {
    /// A live target or a saved snapshot. A snapshot holds digests of filters; `filters` are the programs.
    pub fn of_snapshot(name: &str, snapshot: Snapshot, filters: Observed<Vec<Program>>) -> Subject {
        Subject {
            name: name.to_owned(),
            place: None,
            snapshot_json: snapshot.to_json(),
            snapshot: Some(Box::new(snapshot)),
            filters,
            workload: None,
            workload_unknown: None,
            declared_seccomp: Observed::Unknown("the engine's own configuration was not read".to_owned()),
        }
    }

    /// The filters of a snapshot that was saved: known only where there are none.
    pub fn saved_filters(snapshot: &Snapshot) -> Observed<Vec<Program>> {
        match &snapshot.seccomp.filters {
            Observed::Present(filters) if filters.is_empty() => Observed::Present(Vec::new()),
            Observed::Present(_) => {
                Observed::Unknown("a saved snapshot holds digests of filters, not their programs".to_owned())
            }
            Observed::Absent => Observed::Present(Vec::new()),
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        }
    }

    /// The facts that its declaration leaves to a variable, and why.
    pub fn undecided(&self) -> impl Iterator<Item = (&str, &str)> {
        let containers = self.workload.iter().flat_map(|workload| &workload.containers);
        containers.flat_map(|container| &container.undecided).map(|(path, why)| (path.as_str(), why.as_str()))
    }

    /// A declaration of `file`.
    pub fn of_workload(workload: Workload, file: Option<&str>) -> Subject {
        Subject {
            name: workload.target_name(),
            place: file.map(|file| Where { file: file.to_owned(), line: workload.at.line }),
            workload: Some(workload),
            ..Subject::default()
        }
    }
}

/// What judging depends on besides targets and rules.
pub struct Options<'s> {
    /// The day by which ignores expire.
    pub today: Date,
    /// The machine that profiles are resolved for; the capabilities are each target's own.
    pub facts: Facts,
    /// As who installs them profiles are read; without one as they are written, and `verify_installed` tries all that there are.
    pub engine: Option<Engine>,
    /// The libseccomp that it is built with.
    pub libseccomp: Option<Vintage>,
    /// Where profiles that rules and declarations name are read.
    pub source: &'s (dyn Source + Sync),
    /// How many threads judge.
    pub threads: usize,
}

/// What came of one rule on one target, before ignores.
struct Judged {
    outcome: Outcome,
    message: String,
    evidence: Vec<String>,
}

/// Judges every target by every rule; all rules are finished whatever the others say.
pub fn judge<'a>(set: &'a PolicySet, subjects: &'a [Subject], options: &'a Options<'a>) -> Findings {
    judge_with(set, subjects, options, Vec::new())
}

/// The same with findings that were made before, as those of a lock file: ignores cover them too.
pub fn judge_with<'a>(
    set: &'a PolicySet,
    subjects: &'a [Subject],
    options: &'a Options<'a>,
    more: Vec<Finding>,
) -> Findings {
    let sections = context::sections(&set.rules);
    let meanings = behaviour::Meanings::new(options);
    let threads = options.threads.clamp(1, subjects.len().max(1));
    let share = subjects.len().div_ceil(threads).max(1);
    let one = |subjects: &'a [Subject]| -> (Vec<Finding>, Vec<NotApplicable>) {
        // Millions of findings are not moved while they are found.
        let mut findings = Vec::with_capacity(subjects.len() * set.rules.len());
        let mut not_applicable = Vec::new();
        for subject in subjects {
            self::subject(set, subject, &sections, &meanings, &mut findings, &mut not_applicable);
        }
        (findings, not_applicable)
    };
    let parts: Vec<_> = if threads == 1 {
        vec![one(subjects)]
    } else {
        std::thread::scope(|scope| {
            let workers: Vec<_> =
                subjects.chunks(share).map(|chunk| scope.spawn(move || one(chunk))).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    };
    let mut parts = parts.into_iter();
    let (mut findings, mut not_applicable) = parts.next().unwrap_or_default();
    for (more, elsewhere) in parts {
        findings.extend(more);
        not_applicable.extend(elsewhere);
    }
    findings.extend(more);
    ignores::apply(set, &mut findings, options.today);
    Findings::new(subjects.len(), findings, not_applicable)
}

fn subject<'a>(
    set: &'a PolicySet,
    subject: &'a Subject,
    sections: &context::Sections,
    meanings: &behaviour::Meanings<'a>,
    findings: &mut Vec<Finding>,
    not_applicable: &mut Vec<NotApplicable>,
) {
    let prepared = context::Prepared::of(subject, sections);
    let mut elsewhere: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for rule in set.rules.iter().filter(|rule| in_scope(&rule.on, subject)) {
        match check::rule(rule, subject, &prepared, meanings) {
            Ok(judged) => findings.push(finding(rule, subject, judged)),
            Err(why) => elsewhere.entry(why).or_default().push(rule.id.clone()),
        }
    }
    for (why, mut rules) in elsewhere {
        rules.sort();
        not_applicable.push(NotApplicable { target: subject.name.clone(), why, rules });
    }
}

fn finding(rule: &Rule, subject: &Subject, judged: Judged) -> Finding {
    Finding {
        rule: rule.id.clone(),
        title: rule.title.clone(),
        severity: rule.severity,
        target: subject.name.clone(),
        outcome: judged.outcome,
        message: judged.message,
        evidence: judged.evidence,
        remedy: rule.remedy.clone(),
        place: subject.place.clone(),
    }
}

fn in_scope(scope: &Scope, subject: &Subject) -> bool {
    let workload = subject.workload.as_ref();
    let info = subject.snapshot.as_ref().map(|snapshot| &snapshot.target);
    let any = |globs: &[crate::rules::Glob], texts: &[&str]| {
        globs.is_empty() || texts.iter().any(|text| globs.iter().any(|glob| glob.matches(text)))
    };
    let form = workload.map_or("", |workload| workload.form.as_str());
    let kinds = if info.is_some() { ["live", form] } else { [form, form] };
    let kind =
        scope.kinds.is_empty() || kinds.iter().any(|kind| scope.kinds.iter().any(|known| known == kind));
    let mut images: Vec<&str> = workload
        .iter()
        .flat_map(|workload| &workload.containers)
        .filter_map(|c| c.image.as_deref())
        .collect();
    images.extend(info.and_then(|info| info.image.as_deref()));
    let mut names: Vec<&str> = vec![&subject.name];
    names.extend(workload.map(|workload| workload.name.as_str()));
    names.extend(info.and_then(|info| info.name.as_deref()));
    let engine = info.map_or("", |info| info.engine.as_str());
    let namespace = workload.and_then(|workload| workload.namespace.as_deref()).unwrap_or("");
    let labels = scope.labels.iter().all(|(key, glob)| {
        workload.and_then(|workload| workload.labels.get(key)).is_some_and(|value| glob.matches(value))
    });
    // Whichever image it is: the rule may be meant for it.
    let any_image = workload
        .iter()
        .flat_map(|workload| &workload.containers)
        .any(|container| container.undecided.contains_key("image"));
    kind && labels
        && any(&scope.engines, &[engine])
        && (any_image || any(&scope.images, &images))
        && any(&scope.names, &names)
        && any(&scope.namespaces, &[namespace])
}

/// Why a workload is nothing for rules about Linux.
fn not_linux(workload: &Workload) -> Option<String> {
    (workload.os != "linux").then(|| format!("asks for {}; the rules are about Linux", workload.os))
}

impl Form {
    /// How a declaration of this form is called in messages.
    fn words(self) -> &'static str {
        match self {
            Form::Kubernetes => "a manifest",
            Form::Compose => "a Compose file",
            Form::DockerRun => "a command line",
            Form::Docker => "the engine's configuration",
            Form::Oci => "an OCI configuration",
            Form::Image => "an image's configuration",
        }
    }
}
