//! From a profile as written to the rules that hold for one machine and one container.
//!
//! What the JSON does not say is taken from what the engines do (moby's and containers/common's profile code, runc, libseccomp):
//!
//! * the machine's own architecture always belongs to the filter, whether it is listed or not;
//! * `excludes` drops an entry when *any* part of it is so, `includes` keeps it only when *all* of it is so; capabilities are those
//!   of the bounding set; Podman has no `minKernel`;
//! * a rule whose action is the default action is no rule;
//! * a rule with two or more conditions on one argument means *any* of its conditions, any other rule means *all* of them;
//! * the first unconditional rule of a call replaces the call's conditional ones;
//! * among conditional rules that hold together the strongest action wins, by the kernel's precedence. (libseccomp orders them by the
//!   shape of the condition; where that differs the answer here is the stricter one.) The same condition with two actions is an error.
//! * on 32-bit architectures, x32 among them, only the low word of an argument counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use plim_model::CapabilitySet;

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::condition::Condition;
use crate::dialect::{Architectures, Dialect, FilterFlag, Written, WrittenRule};
use crate::errno::Errno;
pub use crate::error::ProfileError;
pub use crate::interpret::SeccompData as Call;
pub use crate::kernel::KernelVersion;
use crate::spelling::Suggestions;
use crate::syscalls::{self, KnownName, SyscallNr};

/// What a profile's meaning depends on besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The machine's own architecture.
    pub arch: Arch,
    /// The container's bounding set.
    pub caps: CapabilitySet,
    /// The kernel's release.
    pub kernel: KernelVersion,
    /// What to do with a name that no architecture has.
    pub unknown_names: UnknownNames,
    /// What newer kernels' calls get.
    pub enosys_above: EnosysAbove,
}

impl Facts {
    /// Facts with the strict choice for unknown names and runc's choice for calls that are newer than the profile.
    pub fn new(arch: Arch, caps: CapabilitySet, kernel: KernelVersion) -> Facts {
        let (unknown_names, enosys_above) = (UnknownNames::Error, EnosysAbove::HighestNamed);
        Facts { arch, caps, kernel, unknown_names, enosys_above }
    }
}

/// A name that no architecture has: misspelt, or newer than the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// An error with the nearest name.
    #[default]
    Error,
    /// Listed in [`Resolved::skipped`], as engines skip it.
    Skip,
}

/// Whether calls that are newer than the profile are refused with ENOSYS, so that libc falls back to older ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EnosysAbove {
    /// They get the default action like any other call.
    Never,
    /// Per architecture, numbers above the highest that the profile's remaining rules name get ENOSYS, unless the default action lets
    /// calls happen (allow, log, trace); on s390 number 0 too, which stands there for every unknown call. This is what runc does
    /// since 1.0.0-rc93 (libcontainer/seccomp/patchbpf).
    #[default]
    HighestNamed,
}

/// One rule of one call on one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All must hold; empty for an unconditional rule.
    pub conditions: Vec<Condition>,
    /// What happens then.
    pub action: Action,
    /// JSON pointer to the entry that says so.
    pub from: Arc<str>,
}

/// Equal but for where they stand in the profile.
pub(crate) fn same_meaning(a: &[Rule], b: &[Rule]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.action == b.action && a.conditions == b.conditions)
}

/// A name of the profile that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The name.
    pub name: String,
    /// JSON pointer to it.
    pub from: String,
    /// Why it has none.
    pub why: SkipReason,
}

/// Why a name has no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// No architecture has it; the nearest name that one has.
    Unknown(Option<&'static str>),
    /// Other architectures have it, those of this filter do not.
    NotOnTheseArchitectures,
}

/// What a profile means on one machine for one container: the reference for everything that is compiled from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The machine's own architecture, a member of `arches`.
    pub native: Arch,
    /// The architectures that the filter knows.
    pub arches: BTreeSet<Arch>,
    /// For calls that no rule matches.
    pub default: Action,
    /// Per architecture and number; at least one rule each: a single unconditional one, or conditional ones of which the first
    /// that matches decides (they are sorted by precedence).
    pub rules: BTreeMap<Arch, BTreeMap<SyscallNr, Vec<Rule>>>,
    /// Numbers above these get ENOSYS; see [`EnosysAbove`].
    pub enosys_above: BTreeMap<Arch, SyscallNr>,
    /// For calls of other architectures: `SCMP_ACT_KILL_THREAD`, libseccomp's choice, which the engines leave as it is. x32 calls
    /// are such calls when x86-64 is there and x32 is not.
    pub foreign_arch: Action,
    /// For seccomp(2).
    pub flags: Vec<FilterFlag>,
    /// Socket of the supervisor for `SCMP_ACT_NOTIFY`.
    pub listener_path: Option<String>,
    /// What that supervisor is told.
    pub listener_metadata: Option<String>,
    /// Names without effect, in the order of the text.
    pub skipped: Vec<Skipped>,
}

/// Resolves a profile; `None` means that it turns seccomp off.
///
/// ```
/// use plim_model::CapabilitySet;
/// use plim_seccomp::{Action, Arch, dialect, resolve::{Call, Facts, KernelVersion, resolve}};
/// let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
///     {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}"#).unwrap();
/// let kernel = KernelVersion { major: 6, minor: 1 };
/// let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, kernel);
/// let resolved = resolve(&written, &facts).unwrap().unwrap();
/// let read = Call { nr: 0, arch: Arch::X86_64.audit_token(), ..Call::default() };
/// assert_eq!(resolved.decide(&read), Action::Allow);
/// ```
///
/// # Errors
/// An unknown name (unless they are skipped), two actions for the same condition, architectures of both byte orders.
pub fn resolve(written: &Written, facts: &Facts) -> Result<Option<Resolved>, ProfileError> {
    let Some(default) = written.default_action else { return Ok(None) };
    let arches = arches(written, facts)?;
    let mut collected: Vec<Collected<'_>> =
        arches.iter().map(|arch| Collected { arch: *arch, highest: None, rules: Vec::new() }).collect();
    let mut skipped = Vec::new();
    let mut suggestions = Suggestions::default();
    let kernel_counts = written.dialect != Dialect::Podman;
    for entry in written.rules.iter().filter(|entry| applies(entry, kernel_counts, true, facts)) {
        for (index, name) in entry.names.iter().enumerate() {
            let pointer = || format!("{}/names/{index}", entry.pointer);
            let Some(known) = KnownName::find(name) else {
                let nearest = suggestions.next(|| syscalls::nearest(name));
                if facts.unknown_names == UnknownNames::Error {
                    return Err(unknown_name(name, pointer(), nearest));
                }
                let why = SkipReason::Unknown(nearest);
                skipped.push(Skipped { name: name.clone(), from: pointer(), why });
                continue;
            };
            let mut has_effect = false;
            for on in &mut collected {
                let Some(nr) = known.number(on.arch) else { continue };
                has_effect = true;
                on.highest = on.highest.max(Some(nr));
                if entry.action != default {
                    on.rules.push((nr, entry));
                }
            }
            if !has_effect {
                let why = SkipReason::NotOnTheseArchitectures;
                skipped.push(Skipped { name: name.clone(), from: pointer(), why });
            }
        }
    }
    let enosys = facts.enosys_above == EnosysAbove::HighestNamed
        && !matches!(default, Action::Allow | Action::Log | Action::Trace(_));
    let mut rules = BTreeMap::new();
    let mut enosys_above = BTreeMap::new();
    for on in collected {
        if let Some(highest) = on.highest.filter(|_| enosys) {
            enosys_above.insert(on.arch, highest);
        }
        rules.insert(on.arch, by_number(on.rules)?);
    }
    Ok(Some(Resolved {
        native: facts.arch,
        arches,
        default,
        rules,
        enosys_above,
        foreign_arch: Action::KillThread,
        flags: written.flags.clone(),
        listener_path: written.listener_path.clone(),
        listener_metadata: written.listener_metadata.clone(),
        skipped,
    }))
}

/// The entries of one architecture while they are collected.
struct Collected<'w> {
    arch: Arch,
    highest: Option<SyscallNr>,
    rules: Vec<(SyscallNr, &'w WrittenRule)>,
}

fn unknown_name(name: &str, pointer: String, nearest: Option<&str>) -> ProfileError {
    let cut: String = name.chars().take(80).collect();
    ProfileError::Value {
        pointer,
        found: format!("the system call {cut:?}"),
        expected: "a name that some architecture has".to_owned(),
        nearest: nearest.map(str::to_owned),
    }
}

pub(crate) fn arches(written: &Written, facts: &Facts) -> Result<BTreeSet<Arch>, ProfileError> {
    let (listed, place): (&[Arch], _) = match &written.architectures {
        Architectures::Native => (&[], ""),
        Architectures::List(list) => (list, "/architectures"),
        Architectures::Map(map) => {
            let entry = map.iter().find(|(arch, _)| *arch == facts.arch);
            (entry.map_or(&[], |(_, companions)| companions), "/archMap")
        }
    };
    let native = facts.arch;
    if let Some(other) = listed.iter().find(|arch| arch.is_big_endian() != native.is_big_endian()) {
        return Err(ProfileError::Value {
            pointer: place.to_owned(),
            found: format!("{other} for a machine of {native}"),
            expected: "architectures of the machine's byte order, which one filter can tell apart".to_owned(),
            nearest: None,
        });
    }
    Ok(listed.iter().copied().chain([native]).collect())
}

/// Whether an entry holds for this machine and container. `host_is_named`: whoever reads the profile has a word for the machine's
/// architecture.
pub(crate) fn applies(entry: &WrittenRule, kernel_counts: bool, host_is_named: bool, facts: &Facts) -> bool {
    let (includes, excludes) = (&entry.includes, &entry.excludes);
    let new_enough = |oldest: KernelVersion| facts.kernel >= oldest;
    let names_host = |arches: &[Arch]| host_is_named && arches.contains(&facts.arch);
    let excluded = names_host(&excludes.arches)
        || !excludes.caps.intersection(facts.caps).is_empty()
        || (kernel_counts && excludes.min_kernel.is_some_and(new_enough));
    let included = (includes.arches.is_empty() || names_host(&includes.arches))
        && includes.caps.difference(facts.caps).is_empty()
        && (!kernel_counts || includes.min_kernel.is_none_or(new_enough));
    included && !excluded
}

/// Orders the entries of one architecture by number and settles what several entries for one number mean.
fn by_number(
    mut entries: Vec<(SyscallNr, &WrittenRule)>,
) -> Result<BTreeMap<SyscallNr, Vec<Rule>>, ProfileError> {
    // Stable, so entries of one number stay in the order of the text.
    entries.sort_by_key(|(nr, _)| *nr);
    entries
        .chunk_by(|a, b| a.0 == b.0)
        .map(|same| Ok((same[0].0, settle(same.iter().map(|(_, entry)| *entry))?)))
        .collect()
}

fn settle<'w>(entries: impl Iterator<Item = &'w WrittenRule> + Clone) -> Result<Vec<Rule>, ProfileError> {
    let rule = |entry: &WrittenRule, conditions: Vec<Condition>| Rule {
        conditions,
        action: entry.action,
        from: Arc::clone(&entry.pointer),
    };
    if let Some(unconditional) = entries.clone().find(|entry| entry.conditions.is_empty()) {
        return Ok(vec![rule(unconditional, Vec::new())]);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for entry in entries {
        let mut arguments: Vec<u8> = entry.conditions.iter().map(|c| c.argument).collect();
        arguments.sort_unstable();
        let any_of = arguments.windows(2).any(|pair| pair[0] == pair[1]);
        let alternatives: Vec<Vec<Condition>> = if any_of {
            entry.conditions.iter().map(|condition| vec![*condition]).collect()
        } else {
            let mut all = entry.conditions.clone();
            all.sort_unstable();
            vec![all]
        };
        for conditions in alternatives {
            match rules.iter().find(|known| known.conditions == conditions) {
                None => rules.push(rule(entry, conditions)),
                Some(known) if known.action == entry.action => {}
                Some(known) => {
                    return Err(ProfileError::Value {
                        pointer: entry.pointer.to_string(),
                        found: format!(
                            "{} for the very condition that {} gives {}",
                            entry.action, known.from, known.action
                        ),
                        expected: "one action for one condition".to_owned(),
                        nearest: None,
                    });
                }
            }
        }
    }
    rules.sort_by_key(|rule| rule.action.to_ret() & 0xffff_0000 ^ 0x8000_0000);
    Ok(rules)
}

impl Resolved {
    /// The verdict on one call: what the compiled filter must answer.
    pub fn decide(&self, call: &Call) -> Action {
        match self.abi(call.arch, call.nr) {
            Some(arch) => self.decide_on(arch, SyscallNr(call.nr), &call.args),
            None => self.foreign_arch,
        }
    }

    /// The architecture of the filter that a call belongs to, `None` for a foreign one.
    ///
    /// Under the x86-64 token, numbers with bit 30 are x32's. Number −1 is what a tracer leaves behind to skip a call, and belongs to
    /// x86-64 when x32 is not there, as with libseccomp.
    pub fn abi(&self, token: u32, nr: u32) -> Option<Arch> {
        if token == Arch::X86_64.audit_token() {
            let has = |arch: Arch| self.arches.contains(&arch).then_some(arch);
            let x32 = nr & X32_SYSCALL_BIT != 0;
            return match x32 {
                false => has(Arch::X86_64),
                true => has(Arch::X32).or_else(|| has(Arch::X86_64).filter(|_| nr == u32::MAX)),
            };
        }
        self.arches.iter().copied().find(|arch| arch.audit_token() == token)
    }

    /// The rules of one number, empty when it gets what [`Resolved::unnamed`] says.
    pub fn rules_of(&self, arch: Arch, nr: SyscallNr) -> &[Rule] {
        self.rules.get(&arch).and_then(|rules| rules.get(&nr)).map_or(&[], Vec::as_slice)
    }

    /// What a number that no rule names gets: the default action, or ENOSYS above the highest that the profile knows.
    pub fn unnamed(&self, arch: Arch, nr: SyscallNr) -> Action {
        let s390_unknown = matches!(arch, Arch::S390 | Arch::S390x) && nr.0 == 0;
        // x86-64's −1, see `abi`, is no new call.
        let skipped_call = arch == Arch::X86_64 && nr.0 & X32_SYSCALL_BIT != 0;
        match self.enosys_above.get(&arch) {
            Some(highest) if (nr > *highest && !skipped_call) || s390_unknown => Action::Errno(enosys(arch)),
            _ => self.default,
        }
    }

    fn decide_on(&self, arch: Arch, nr: SyscallNr, args: &[u64; 6]) -> Action {
        self.rule_on(arch, nr, args).map_or_else(|| self.unnamed(arch, nr), |rule| rule.action)
    }

    fn rule_on(&self, arch: Arch, nr: SyscallNr, args: &[u64; 6]) -> Option<&Rule> {
        let narrow = arch.has_narrow_arguments();
        let holds = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.holds(args, narrow));
        self.rules_of(arch, nr).iter().find(holds)
    }

    /// The rule that decides a call; `None` where none does, for a foreign architecture among others.
    pub fn rule_for(&self, call: &Call) -> Option<&Rule> {
        self.rule_on(self.abi(call.arch, call.nr)?, SyscallNr(call.nr), &call.args)
    }

    /// The bits of `flags` for seccomp(2).
    pub fn flag_bits(&self) -> u64 {
        self.flags.iter().fold(0, |bits, flag| bits | flag.bit())
    }

    /// Whether some call is left to a supervisor, which needs a listener.
    pub fn uses_notify(&self) -> bool {
        self.default == Action::Notify
            || self.rules.values().flat_map(BTreeMap::values).flatten().any(|r| r.action == Action::Notify)
    }
}

/// ENOSYS by the architecture's own number.
pub(crate) fn enosys(arch: Arch) -> Errno {
    match arch {
        Arch::Mips | Arch::Mips64 | Arch::Mips64n32 | Arch::Mipsel | Arch::Mipsel64 | Arch::Mipsel64n32 => {
            Errno::clamped(89)
        }
        Arch::Parisc | Arch::Parisc64 => Errno::clamped(251),
        _ => Errno::ENOSYS,
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
