//! Seccomp by meaning: stacks of filters against profiles and against each other, exactly.

use plim_model::{CapabilitySet, Observed};
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::compile;
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::dialect::{self, Written};
use plim_seccomp::interpret::SeccompData;
use plim_seccomp::resolve::{Facts, UnknownNames, resolve};
use plim_seccomp::{Action, Arch, presets, syscalls};

use super::check::Answer;
use super::{Options, Subject};
use crate::declared::Container;
use crate::rules::Relation;

/// How much an action lets through: refused, up to somebody else, made.
fn permits(action: Action) -> u8 {
    match action {
        Action::Notify | Action::Trace(_) => 1,
        action if action.makes_the_call() => 2,
        _ => 0,
    }
}

/// One system call of which more is permitted than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Architecture as OCI names it, or the token in hex.
    pub arch: String,
    /// The call's name, or its number.
    pub syscall: String,
    /// Whether only some arguments make the difference.
    pub some_arguments: bool,
    /// The answer to the witness before.
    pub before: Action,
    /// And now.
    pub after: Action,
    /// A call that shows it.
    pub witness: SeccompData,
}

impl Growth {
    /// `x86_64: ptrace(0, 0, …): refused before, allowed now`.
    pub fn text(&self) -> String {
        let w = &self.witness;
        let arguments: Vec<String> = w
            .args
            .iter()
            .map(|argument| if *argument < 10 { argument.to_string() } else { format!("{argument:#x}") })
            .collect();
        let shown = if self.some_arguments {
            format!("{}({})", self.syscall, arguments.join(", "))
        } else {
            self.syscall.clone()
        };
        format!("{} {shown}: {}, before it was {}", self.arch, words(self.after), words(self.before))
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
    let mut store = Store::new();
    let (old, new) = (of_stack(&mut store, before)?, of_stack(&mut store, after)?);
    grown(&mut store, old, new)
}

fn of_stack(store: &mut Store, stack: &[Program]) -> Result<Diagram, String> {
    store.of_stack(stack).map_err(|undecided| undecided.to_string())
}

/// The most calls that are listed one by one.
const LISTED: usize = 4096;

fn grown(store: &mut Store, old: Diagram, new: Diagram) -> Result<Vec<Growth>, String> {
    let (yes, no) = (Action::Allow, Action::KillProcess);
    let more = store
        .combine(old, new, |old, new| if permits(new) > permits(old) { yes } else { no })
        .map_err(|undecided| undecided.to_string())?;
    let none = store.constant(no);
    if more == none {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for token in store.arches(more) {
        let arch = Arch::all().find(|arch| arch.audit_token() == token);
        let of_arch = store.at(more, token, None);
        if of_arch == none {
            continue;
        }
        let named: Vec<(&str, u32)> = [arch, arch.filter(|arch| *arch == Arch::X86_64).and(Some(Arch::X32))]
            .into_iter()
            .flatten()
            .flat_map(syscalls::calls)
            .map(|(name, nr)| (name, nr.0))
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        for (name, nr) in &named {
            if seen.insert(*nr) && store.at(more, token, Some(*nr)) != none {
                found.push(one(store, [old, new, more], token, *nr, name));
            }
        }
        // Numbers without a name: one of each range.
        for range in store.numbers(of_arch).map_err(|undecided| undecided.to_string())? {
            let nameless = (range.first..=range.last).take(LISTED).find(|nr| !seen.contains(nr));
            if range.rest != none
                && let Some(nr) = nameless
            {
                found.push(one(store, [old, new, more], token, nr, &format!("number {nr}")));
            }
            if found.len() > LISTED {
                break;
            }
        }
    }
    if found.is_empty() {
        // Architectures that neither names.
        let witness = store.witness(more, |action| action == yes).unwrap_or_default();
        found.push(one(store, [old, new, more], witness.arch, witness.nr, &format!("number {}", witness.nr)));
    }
    Ok(found)
}

fn one(store: &Store, [old, new, more]: [Diagram; 3], token: u32, nr: u32, name: &str) -> Growth {
    let rest = store.at(more, token, Some(nr));
    let mut witness = store.witness(rest, |action| action == Action::Allow).unwrap_or_default();
    witness.arch = token;
    witness.nr = nr;
    let arch = Arch::all().find(|arch| arch.audit_token() == token && *arch != Arch::X32);
    Growth {
        arch: match arch {
            Some(Arch::X86_64) if nr & 0x4000_0000 != 0 => Arch::X32.name().to_owned(),
            Some(arch) => arch.name().to_owned(),
            None => format!("architecture {token:#x}"),
        },
        syscall: name.to_owned(),
        some_arguments: store.verdicts(rest).len() > 1,
        before: store.decide(old, &witness),
        after: store.decide(new, &witness),
        witness,
    }
}

/// The filters of something that runs.
pub(super) fn of_live(subject: &Subject) -> Result<Vec<Program>, String> {
    match &subject.filters {
        Observed::Present(programs) => Ok(programs.clone()),
        Observed::Absent => Ok(Vec::new()),
        Observed::Unknown(why) => Err(why.clone()),
    }
}

/// The filter that a declared container will get.
pub(super) fn of_container(
    container: &Container,
    subject: &Subject,
    options: &Options<'_>,
) -> Result<Vec<Program>, String> {
    let caps = super::check::caps_of(container);
    match container.seccomp.as_deref() {
        Some("unconfined") => Ok(Vec::new()),
        Some("default") => profile("preset:docker-default", None, caps, options),
        Some("profile") => match (&subject.declared_seccomp, container.seccomp_profile.as_deref()) {
            (Observed::Present(written), _) => compiled("the profile", written, &facts(caps, options)),
            (_, Some(path)) if path != "inline" => {
                profile(path, subject.place.as_ref().map(|place| place.file.as_str()), caps, options)
            }
            _ => Err("its seccomp profile is not at hand".to_owned()),
        },
        Some("unset") => {
            Err("no seccompProfile: whether there is one is up to the node's seccompDefault".to_owned())
        }
        _ => Err("does not decide about seccomp".to_owned()),
    }
}

fn facts(caps: Option<CapabilitySet>, options: &Options<'_>) -> Facts {
    let mut facts = options.facts;
    facts.caps = caps.unwrap_or(CapabilitySet::DOCKER_DEFAULT);
    // Judging is not linting: a name that no kernel has permits nothing.
    facts.unknown_names = UnknownNames::Skip;
    facts
}

fn compiled(name: &str, written: &Written, facts: &Facts) -> Result<Vec<Program>, String> {
    let resolved = resolve(written, facts).map_err(|error| format!("{name}: {error}"))?;
    let program = resolved.map(|resolved| compile(&resolved)).transpose();
    Ok(program.map_err(|error| format!("{name}: {error}"))?.into_iter().collect())
}

/// A profile by the name that a rule or a declaration gives it.
fn profile(
    name: &str,
    from: Option<&str>,
    caps: Option<CapabilitySet>,
    options: &Options<'_>,
) -> Result<Vec<Program>, String> {
    let text = match name.strip_prefix("preset:") {
        Some(preset) => presets::get(preset).ok_or_else(|| format!("unknown preset {preset:?}"))?.to_owned(),
        None => options.source.text(name, from).map_err(|why| format!("{name}: {why}"))?.0,
    };
    let written = dialect::parse(text.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
    compiled(name, &written, &facts(caps, options))
}

/// A stack against a profile.
pub(super) fn against(
    stack: &[Program],
    relation: Relation,
    name: &str,
    caps: Option<CapabilitySet>,
    options: &Options<'_>,
) -> Answer {
    let decide = || -> Result<Vec<String>, String> {
        let reference = profile(name, None, caps, options)?;
        let mut facts = told(&growth(&reference, stack)?, &format!("more than {name}"));
        if relation == Relation::Equals {
            facts.extend(told(&growth(stack, &reference)?, &format!("less than {name}")));
        }
        Ok(facts)
    };
    match decide() {
        Ok(facts) if facts.is_empty() => Answer::Holds,
        Ok(facts) => Answer::Broken(facts),
        Err(why) => Answer::Unknown(why),
    }
}

/// The most calls that one finding names.
const SHOWN: usize = 20;

fn told(growth: &[Growth], how: &str) -> Vec<String> {
    if growth.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![format!("permits {how}: {} calls", growth.len())];
    lines.extend(growth.iter().take(SHOWN).map(|growth| {
        let witness = growth.text();
        witness.split(", before").next().unwrap_or_default().to_owned()
    }));
    if growth.len() > SHOWN {
        lines.push(format!("and {} more", growth.len() - SHOWN));
    }
    lines
}

/// Whether what is installed means what was asked for.
pub(super) fn verify(subject: &Subject, options: &Options<'_>) -> Answer {
    let caps = subject.snapshot.as_ref().and_then(|s| s.capabilities.present()).map(|sets| sets.bounding);
    let decide = || -> Result<Vec<String>, String> {
        let installed = of_live(subject)?;
        let asked = match &subject.declared_seccomp {
            Observed::Present(written) => {
                compiled("what the engine was asked for", written, &facts(caps, options))?
            }
            Observed::Absent => Vec::new(),
            Observed::Unknown(why) => return Err(why.clone()),
        };
        let mut facts = told(&growth(&asked, &installed)?, "more than was asked for");
        facts.extend(told(&growth(&installed, &asked)?, "less than was asked for"));
        Ok(facts)
    };
    match decide() {
        Ok(facts) if facts.is_empty() => Answer::Holds,
        Ok(facts) => Answer::Broken(facts),
        Err(why) => Answer::Unknown(why),
    }
}
