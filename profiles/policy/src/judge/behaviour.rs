//! Seccomp by meaning: stacks of filters against profiles and against each other, exactly.

use std::sync::Arc;

use plim_model::{CapabilitySet, Observed};
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::{compile, from_diagram};
use plim_seccomp::diagram::{Diagram, Store, Undecided};
use plim_seccomp::dialect::{self, Written};
use plim_seccomp::exact::{self, ExactChange, Permits};
use plim_seccomp::installed::{Engine, install};
use plim_seccomp::resolve::{Facts, UnknownNames, resolve};
use plim_seccomp::{Action, Arch, presets};

use super::check::Answer;
use super::memo::Memo;
use super::{Options, Subject, syscall, verify};
use crate::declared::Container;
use crate::rules::{Call, Relation};

/// One class of calls of which more is permitted than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    change: ExactChange,
    /// Why this one stands for all: there may be others, which cannot be listed.
    alone: Option<String>,
}

impl Growth {
    /// The architecture's name, or what stands for all that are not named.
    pub fn arch(&self) -> &'static str {
        self.change.arch.map_or("other architectures", Arch::name)
    }

    /// `x86_64 socket when family == AF_ALG: SCMP_ACT_ALLOW`, with the call that shows it.
    pub fn text(&self) -> String {
        let when = self.change.when.as_ref().map_or_else(String::new, |when| format!(" when {when}"));
        format!(
            "{} {}{when}: {}{}",
            self.arch(),
            self.change.syscall,
            words(self.change.after),
            self.witness()
        )
    }

    /// The same with the answer before.
    pub fn grown(&self) -> String {
        format!("{}, was {}", self.text(), words(self.change.before))
    }

    fn witness(&self) -> String {
        if self.change.when.is_none() {
            return String::new();
        }
        let argument =
            |argument: &u64| if *argument < 10 { argument.to_string() } else { format!("{argument:#x}") };
        let mut arguments: Vec<String> = self.change.witness.args.iter().map(argument).collect();
        while arguments.len() > 1 && arguments.last().is_some_and(|last| last == "0") {
            arguments.pop();
        }
        format!(" (for example {}({}))", self.change.syscall, arguments.join(", "))
    }
}

fn words(action: Action) -> String {
    match action.to_json()["errno"].as_str() {
        Some(errno) => format!("{} {errno}", action.name()),
        None => action.name().to_owned(),
    }
}

/// Calls of which `after` permits more than `before`, by architecture and name; empty where it permits no more.
///
/// # Errors
/// Why it cannot be decided (filters beyond the engine's budget).
pub fn growth(before: &[Program], after: &[Program]) -> Result<Vec<Growth>, String> {
    if before == after {
        return Ok(Vec::new());
    }
    let mut store = Store::new();
    let mut decide = || {
        let (old, new) = (store.of_stack(before)?, store.of_stack(after)?);
        grown(&mut store, old, new)
    };
    decide().map_err(|undecided| undecided.to_string())
}

/// The same of two diagrams.
pub(super) fn grown(store: &mut Store, before: Diagram, after: Diagram) -> Result<Vec<Growth>, Undecided> {
    // Whether there is any is decided for filters whose answers are too many for a list.
    let Some(example) = exact::more(store, before, after)? else { return Ok(Vec::new()) };
    let more = |change: &ExactChange| !Permits::of(change.after).at_most(Permits::of(change.before));
    Ok(match exact::diff(store, before, after, true) {
        Ok(changes) => {
            changes.into_iter().filter(more).map(|change| Growth { change, alone: None }).collect()
        }
        Err(why) => vec![Growth { change: example, alone: Some(why.to_string()) }],
    })
}

/// A stack of filters, oldest first.
pub(super) type Stack = Arc<[Program]>;

/// The filters of something that runs.
pub(super) fn of_live(subject: &Subject) -> Result<Stack, String> {
    match &subject.filters {
        Observed::Present(programs) => Ok(programs.as_slice().into()),
        Observed::Absent => Ok(Stack::default()),
        Observed::Unknown(why) => Err(why.clone()),
    }
}

/// For whom a profile is resolved.
pub(super) fn facts(caps: Option<CapabilitySet>, options: &Options<'_>) -> Facts {
    let mut facts = options.facts;
    facts.caps = caps.unwrap_or(CapabilitySet::DOCKER_DEFAULT);
    // Judging is not linting: a name that no kernel has permits nothing.
    facts.unknown_names = UnknownNames::Skip;
    facts
}

/// A profile, by what tells it from others in one run.
#[derive(PartialEq, Eq, Hash)]
enum Profile<'a> {
    Preset(&'a str),
    /// The path under which it was read.
    File(String),
    Given(&'a Written),
}

/// What a stack of filters is asked.
#[derive(PartialEq, Eq, Hash)]
enum Question<'a> {
    Against(Relation, &'a str, &'a str, Option<CapabilitySet>),
    Calls(&'a [Call], &'a [Call]),
    /// Whether it is what this engine makes of a profile.
    Installed(Option<&'a Written>, &'a str, Option<CapabilitySet>),
}

/// The meaning of profiles and filters. Most targets of a run share theirs, so that each is worked out once.
pub(super) struct Meanings<'a> {
    pub(super) options: &'a Options<'a>,
    profiles: Memo<(Profile<'a>, Option<CapabilitySet>), Result<Stack, String>>,
    answers: Memo<(Stack, Question<'a>), Answer>,
}

impl<'a> Meanings<'a> {
    pub(super) fn new(options: &'a Options<'a>) -> Meanings<'a> {
        Meanings { options, profiles: Memo::default(), answers: Memo::default() }
    }

    /// The filter that a declared container will get.
    pub(super) fn of_container(
        &self,
        container: &'a Container,
        subject: &'a Subject,
    ) -> Result<Stack, String> {
        if let Some(why) = container.why_undecided(&["seccomp", "privileged", "capabilities"]) {
            return Err(why.to_owned());
        }
        let caps = super::check::caps_of(container);
        match container.seccomp.as_deref() {
            Some("unconfined") => Ok(Stack::default()),
            Some("default") => self.named("preset:docker-default", None, caps),
            Some("profile") => match (&subject.declared_seccomp, container.seccomp_profile.as_deref()) {
                (Observed::Present(written), _) => self
                    .profiles
                    .get((Profile::Given(written), caps), || self.compiled(written, caps))
                    .map_err(|error| format!("the profile: {error}")),
                (_, Some(path)) if path != "inline" => {
                    self.named(path, subject.place.as_ref().map(|place| place.file.as_str()), caps)
                }
                _ => Err("its seccomp profile is not at hand".to_owned()),
            },
            Some("unset") => {
                Err("no seccompProfile: whether there is one is up to the node's seccompDefault".to_owned())
            }
            _ => Err("does not decide about seccomp".to_owned()),
        }
    }

    /// A stack against a profile, which a rule of a file names.
    pub(super) fn against(
        &self,
        stack: &Stack,
        relation: Relation,
        (name, file): (&'a str, &'a str),
        caps: Option<CapabilitySet>,
    ) -> Answer {
        self.answers.get((stack.clone(), Question::Against(relation, name, file, caps)), || {
            let decide = || -> Result<Vec<String>, String> {
                let reference = self.named(name, Some(file), caps)?;
                let mut facts = told(&growth(&reference, stack)?, &format!("more than {name}"));
                if relation == Relation::Equals {
                    facts.extend(told(&growth(stack, &reference)?, &format!("less than {name}")));
                }
                Ok(facts)
            };
            Answer::of(decide())
        })
    }

    /// Calls that a stack must deny, and calls that it must allow.
    pub(super) fn calls(&self, stack: &Stack, must_deny: &'a [Call], must_allow: &'a [Call]) -> Answer {
        self.answers.get((stack.clone(), Question::Calls(must_deny, must_allow)), || {
            Answer::of(syscall::check(stack, must_deny, must_allow, self.options))
        })
    }

    /// The installed filters against what the engine was asked for.
    pub(super) fn installed(&self, subject: &'a Subject) -> Answer {
        let stack = match of_live(subject) {
            Ok(stack) => stack,
            Err(why) => return Answer::Unknown(why),
        };
        let asked = match &subject.declared_seccomp {
            Observed::Present(written) => Some(written.as_ref()),
            Observed::Absent => None,
            Observed::Unknown(why) => return Answer::Unknown(why.clone()),
        };
        let snapshot = subject.snapshot.as_ref();
        let caps = snapshot.and_then(|s| s.capabilities.present()).map(|sets| sets.bounding);
        let engine = snapshot.map_or("", |snapshot| snapshot.target.engine.as_str());
        self.answers.get((stack.clone(), Question::Installed(asked, engine, caps)), || {
            Answer::of(verify::verify(&stack, asked, engine, caps, self.options))
        })
    }

    /// A profile by the name that a rule or a declaration gives it.
    fn named(&self, name: &'a str, from: Option<&str>, caps: Option<CapabilitySet>) -> Result<Stack, String> {
        let fail = |why: String| format!("{name}: {why}");
        let parsed = |text: &str| dialect::parse(text.as_bytes()).map_err(|error| error.to_string());
        if let Some(preset) = name.strip_prefix("preset:") {
            let text = presets::get(preset).ok_or_else(|| format!("unknown preset {preset:?}"))?;
            let work = || self.compiled(&parsed(text)?, caps);
            return self.profiles.get((Profile::Preset(preset), caps), work).map_err(fail);
        }
        let (text, path) = self.options.source.text(name, from).map_err(fail)?;
        let work = || self.compiled(&parsed(&text)?, caps);
        self.profiles.get((Profile::File(path), caps), work).map_err(fail)
    }

    fn compiled(&self, written: &Written, caps: Option<CapabilitySet>) -> Result<Stack, String> {
        let facts = facts(caps, self.options);
        let decide = || -> Result<Option<Program>, Box<dyn std::error::Error>> {
            let engine = self.options.engine.unwrap_or(Engine::Written);
            if engine == Engine::Written {
                return Ok(resolve(written, &facts)?.map(|resolved| compile(&resolved)).transpose()?);
            }
            let vintage = self.options.libseccomp.unwrap_or_default();
            let installed = install(written, &facts, engine, vintage)?;
            if !installed.confines() {
                return Ok(None);
            }
            let mut store = Store::new();
            let diagram = store.of_installed(&installed)?;
            Ok(Some(from_diagram(&mut store, diagram, Some(facts.arch))?))
        };
        Ok(decide().map_err(|error| error.to_string())?.into_iter().collect())
    }
}

/// The most calls that one finding names.
const SHOWN: usize = 20;

pub(super) fn told(growth: &[Growth], how: &str) -> Vec<String> {
    if growth.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![match &growth[0].alone {
        None => format!("permits {how}: {} calls", growth.len()),
        Some(why) => format!("permits {how}: one call at least ({why})"),
    }];
    lines.extend(growth.iter().take(SHOWN).map(Growth::text));
    if growth.len() > SHOWN {
        lines.push(format!("and {} more", growth.len() - SHOWN));
    }
    lines
}
