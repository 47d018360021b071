//! A profile as an engine installs it.
//!
//! What a profile says and what the kernel is told are two things. Between them stand an engine, which reads the keys that it knows; a
//! runtime, which leaves rules out and adds some of its own; and a release of libseccomp, which knows the names of its time and orders
//! overlapping rules by their shape. [`install`] says what comes out, for each of them and with a note on everything that changed:
//!
//! * [`Engine::Docker`] settles `includes`, `excludes` and `archMap` and reads no error names; 20.10 also drops `defaultErrnoRet`, flags
//!   and the listener. [`Engine::Podman`] reads error names and no `minKernel`. [`Engine::Containerd`] reads OCI's keys alone, so
//!   that every entry of a Docker profile holds. A bare runtime is given what Docker would give it.
//! * The runtimes leave out rules that have the default action and names that libseccomp does not know on the machine's own
//!   architecture; they split a rule that names one argument twice. crun reads six conditions of a rule. youki takes mask and value of a masked
//!   comparison for each other, and splits every rule with several conditions before 0.7. runc puts ENOSYS
//!   above the highest number that the profile names.
//! * libseccomp: the first rule without conditions stays and takes the place of those with conditions; rules with conditions are joined by
//!   shape; `socket` and its like also open `socketcall` and `ipc` on architectures that have them; on 32-bit architectures constants
//!   are cut to 32 bits; numbers of x32 are foreign where only x86-64 is listed.
//!
//! How libseccomp joins rules is compared with the library itself, by random rule lists on twelve kinds of machines
//! (`tests/installed.rs`).

mod adding;
mod blocks;
mod database;
mod engine;
mod function;
mod known;
mod levels;
mod lines;
mod multiplex;
mod node;
mod note;
mod overlap;
mod settle;
mod spelling;
mod vintage;
pub(crate) mod words;

use std::collections::{BTreeMap, BTreeSet};

use crate::action::Action;
use crate::arch::Arch;
use crate::dialect::{FilterFlag, Written};
use crate::error::ProfileError;
use crate::interpret::SeccompData;
use crate::resolve::{Facts, Resolved, SkipReason, resolve};
use crate::spelling::Suggestions;
use crate::syscalls::{self, SyscallNr};
use adding::Adding;
pub(crate) use adding::{Entered, Watched};
use database::{Database, Key};
pub use engine::{Engine, Runtime};
pub(crate) use function::Function;
use function::Heights;
pub use known::{Known, known, knows_arch, names as known_names};
use multiplex::resolved_number;
pub use note::{Change, Note};
use settle::{Settled, settle};
pub use spelling::NotOneOf;
pub use vintage::Vintage;

/// A profile as it is installed.
#[derive(Clone, Debug)]
pub struct Installed {
    /// By whom.
    pub engine: Engine,
    /// With which libseccomp; it does not count for [`Engine::Written`].
    pub vintage: Vintage,
    /// The architectures that the filter knows; empty where seccomp is off.
    pub arches: BTreeSet<Arch>,
    /// The flags for seccomp(2).
    pub flags: Vec<FilterFlag>,
    /// What is not as it was written, in the order of the text.
    pub notes: Vec<Note>,
    meaning: Meaning,
}

#[derive(Clone, Debug)]
pub(crate) enum Meaning {
    /// No filter at all.
    Off,
    Written(Box<Resolved>),
    Engine(Box<Function>),
}

/// What `engine` installs for `written`.
///
/// ```
/// use plim_model::CapabilitySet;
/// use plim_seccomp::{Action, Arch, dialect, interpret::SeccompData};
/// use plim_seccomp::installed::{Engine, Vintage, install};
/// use plim_seccomp::resolve::{Facts, KernelVersion};
/// let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
///     {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#).unwrap();
/// let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 });
/// let installed = install(&written, &facts, Engine::Runc, Vintage::default()).unwrap();
/// // socketcall's first call is socket, and its arguments lie in memory: every family may be asked for.
/// let socketcall = SeccompData { arch: Arch::X86.audit_token(), nr: 102, args: [1, 0, 0, 0, 0, 0], ip: 0 };
/// assert_eq!(installed.decide(&socketcall), Action::Allow);
/// assert!(installed.notes.iter().any(|note| note.what.kind() == "multiplexed"));
/// ```
///
/// # Errors
/// What the engine, its runtime or libseccomp refuses: one condition with two actions, architectures and flags that they do not know,
/// a supervised `write`; and rules whose order in libseccomp 2.3 is not known here.
pub fn install(
    written: &Written,
    facts: &Facts,
    engine: Engine,
    vintage: Vintage,
) -> Result<Installed, ProfileError> {
    install_watching(written, facts, engine, vintage, &mut Watched::default())
}

/// The same, with a record of the rules that libseccomp is given for one call.
pub(crate) fn install_watching(
    written: &Written,
    facts: &Facts,
    engine: Engine,
    vintage: Vintage,
    watched: &mut Watched,
) -> Result<Installed, ProfileError> {
    let Some(runtime) = engine.runtime() else { return as_written(written, facts, vintage) };
    let mut notes = Vec::new();
    let Some(settled) = settle(written, facts, engine, runtime, vintage, &mut notes)? else {
        return Ok(off(engine, vintage));
    };
    check_actions(&settled, runtime, vintage)?;
    let arches: BTreeSet<Arch> = settled.listed.iter().copied().chain([facts.arch]).collect();
    // The machine's own comes first in the filter, then the others as they are listed.
    let mut databases = vec![Database::new(facts.arch)];
    for arch in &settled.listed {
        if databases.iter().all(|database| database.arch != *arch) {
            databases.push(Database::new(*arch));
        }
    }
    let mut suggestions = Suggestions::default();
    for rule in &settled.rules {
        let mut adding = Adding {
            rule,
            native: facts.arch,
            runtime,
            vintage,
            first: notes.len(),
            notes: &mut notes,
            suggestions: &mut suggestions,
            watched,
        };
        adding.add(settled.default, &mut databases)?;
    }
    // A rule for the multiplexer as a whole stands there, and those for its parts say nothing.
    notes.retain(|note| match &note.what {
        Change::Multiplexed { through, arch, .. } => {
            let ruled = |database: &Database| match known(vintage, *arch, through) {
                Known::Number(number) => database.is_unconditional(&Key::Number(number)),
                _ => false,
            };
            !databases.iter().any(|database| database.arch == *arch && ruled(database))
        }
        _ => true,
    });
    let heights = heights(&settled, facts.arch, runtime, vintage);
    for database in &databases {
        for number in database.mixed() {
            let name = syscalls::name(database.arch, number).unwrap_or_default().to_owned();
            notes.push(Note {
                pointer: "".into(),
                what: Change::OrderedByShape { name, arch: database.arch },
            });
        }
    }
    for (arch, highest) in &heights {
        notes.push(Note { pointer: "".into(), what: Change::EnosysAbove { arch: *arch, highest: *highest } });
    }
    // libseccomp's choice for architectures that the filter does not know, which the runtimes leave as it is.
    let foreign = Action::KillThread;
    let binary_tree = uses_binary_tree(&settled, runtime, vintage);
    let lost = function::lost(&databases, binary_tree);
    notes
        .extend(lost.iter().map(|arch| Note { pointer: "".into(), what: Change::RulesLost { arch: *arch } }));
    let function =
        Function::new(&databases, &lost, binary_tree, facts.arch, settled.default, foreign, &heights);
    let function = function.map_err(|_| ProfileError::Value {
        pointer: String::new(),
        found: "conditions that make a longer one".to_owned(),
        expected: TOO_LONG.to_owned(),
        nearest: None,
    })?;
    let meaning = Meaning::Engine(Box::new(function));
    Ok(Installed { engine, vintage, arches, flags: settled.flags, notes, meaning })
}

fn off(engine: Engine, vintage: Vintage) -> Installed {
    let (arches, flags, notes) = (BTreeSet::new(), Vec::new(), Vec::new());
    Installed { engine, vintage, arches, flags, notes, meaning: Meaning::Off }
}

fn as_written(written: &Written, facts: &Facts, vintage: Vintage) -> Result<Installed, ProfileError> {
    let engine = Engine::Written;
    let Some(resolved) = resolve(written, facts)? else { return Ok(off(engine, vintage)) };
    let skipped = resolved.skipped.iter().map(|skipped| {
        let name = skipped.name.clone();
        let what = match skipped.why {
            SkipReason::Unknown(nearest) => Change::NoSuchCall { name, nearest },
            SkipReason::NotOnTheseArchitectures => Change::NotOnTheseArchitectures { name },
        };
        Note { pointer: skipped.from.as_str().into(), what }
    });
    let notes = skipped.collect();
    let (arches, flags) = (resolved.arches.clone(), resolved.flags.clone());
    Ok(Installed { engine, vintage, arches, flags, notes, meaning: Meaning::Written(Box::new(resolved)) })
}

impl Installed {
    /// The verdict on one call.
    pub fn decide(&self, call: &SeccompData) -> Action {
        match &self.meaning {
            Meaning::Off => Action::Allow,
            Meaning::Written(resolved) => resolved.decide(call),
            Meaning::Engine(function) => function.decide(call),
        }
    }

    /// Whether a filter is installed at all.
    pub fn confines(&self) -> bool {
        !matches!(self.meaning, Meaning::Off)
    }

    fn of_token(&self, token: u32) -> BTreeMap<Arch, ()> {
        self.arches.iter().filter(|arch| arch.audit_token() == token).map(|arch| (*arch, ())).collect()
    }

    /// The architecture of the filter that a call belongs to, `None` for a foreign one.
    pub(crate) fn abi(&self, token: u32, nr: u32) -> Option<Arch> {
        function::owner(&self.of_token(token), nr)
    }

    /// The highest number that the profile names, where the call's lies above it and gets ENOSYS for that.
    pub(crate) fn enosys_above(&self, token: u32, nr: u32) -> Option<SyscallNr> {
        let heights: Heights = self
            .notes
            .iter()
            .filter_map(|note| match note.what {
                Change::EnosysAbove { arch, highest } => Some((arch, highest)),
                _ => None,
            })
            .collect();
        let gets = |arch: &Arch| function::returns_enosys(&BTreeMap::from([(*arch, ())]), nr, &heights);
        let arch = self.of_token(token).into_keys().find(gets)?;
        heights.get(&arch).copied()
    }

    /// The notes on what makes the filter answer otherwise than the profile as written.
    pub fn changes(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| note.what.changes_meaning())
    }

    /// The same in words, where what happened to many names for one reason is one line.
    pub fn changes_in_words(&self) -> Vec<String> {
        lines::lines(self.changes())
    }

    pub(crate) fn meaning(&self) -> &Meaning {
        &self.meaning
    }
}

const TOO_LONG: &str = "a filter of at most 4096 instructions, which is what the kernel takes";

/// What cannot be asked of a runtime or of a libseccomp of that time.
fn check_actions(settled: &Settled<'_>, runtime: Runtime, vintage: Vintage) -> Result<(), ProfileError> {
    let refuse = |pointer: &str, action: Action, expected: String| {
        let (pointer, found) = (pointer.to_owned(), action.name().to_owned());
        Err(ProfileError::Value { pointer, found, expected, nearest: None })
    };
    let too_old = |action: Action| match action {
        Action::Notify if !vintage.is_at_least(2, 5, 0) => Some("2.5.0"),
        Action::Log | Action::KillProcess if !vintage.is_at_least(2, 4, 0) => Some("2.4.0"),
        _ => None,
    };
    if let Some(since) = too_old(settled.default) {
        return refuse(
            "/defaultAction",
            settled.default,
            format!("an action that libseccomp {vintage} knows; this one came with {since}"),
        );
    }
    let supervises = runtime == Runtime::Crun;
    if settled.default == Action::Notify && !supervises {
        let expected = "a default action that needs no supervisor, who could not be told of it";
        return refuse("/defaultAction", settled.default, expected.to_owned());
    }
    for rule in &settled.rules {
        let pointer = &rule.entry.pointer;
        if let Some(since) = too_old(rule.action) {
            return refuse(
                pointer,
                rule.action,
                format!("an action that libseccomp {vintage} knows; this one came with {since}"),
            );
        }
        if rule.action == Action::Notify && !supervises && rule.entry.names.iter().any(|name| name == "write")
        {
            let expected = "no supervisor for write, by which he is told of himself";
            return refuse(pointer, rule.action, expected.to_owned());
        }
    }
    Ok(())
}

/// runc has libseccomp build a binary tree for profiles of more than 32 names, where libseccomp can.
fn uses_binary_tree(settled: &Settled<'_>, runtime: Runtime, vintage: Vintage) -> bool {
    let names: usize = settled.rules.iter().map(|rule| rule.entry.names.len()).sum();
    runtime == Runtime::Runc && vintage.is_at_least(2, 5, 0) && names > 32
}

/// By architecture, the highest number that the profile names, above which runc answers ENOSYS. Names whose rules are left out
/// count too; names that libseccomp does not know do not.
fn heights(settled: &Settled<'_>, native: Arch, runtime: Runtime, vintage: Vintage) -> Heights {
    let permissive = matches!(settled.default, Action::Allow | Action::Log | Action::Trace(_));
    if !runtime.adds_enosys() || permissive {
        return BTreeMap::new();
    }
    // runc before 1.1.15 takes the listed ones alone.
    let implied = matches!(runtime, Runtime::Runc | Runtime::Runc1_1_15).then_some(native);
    let arches: BTreeSet<Arch> = settled.listed.iter().copied().chain(implied).collect();
    let names = || settled.rules.iter().flat_map(|rule| &rule.entry.names);
    arches
        .into_iter()
        .filter_map(|arch| {
            let highest = names().filter_map(|name| resolved_number(vintage, arch, name)).max()?;
            (highest > SyscallNr(0)).then_some((arch, highest))
        })
        .collect()
}

#[cfg(test)]
mod tests;
