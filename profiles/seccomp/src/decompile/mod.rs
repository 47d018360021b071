//! From a filter back to a profile.
//!
//! A profile in OCI's form says less than a filter can: names only, one condition for all architectures that have the name, no two
//! comparisons of one argument in a rule, nothing about foreign architectures. So the result is *checked*: the profile that was found is
//! resolved and its diagram compared with the filter's. Either they are equal, which is a proof, or the calls that they answer
//! differently are listed as what the profile cannot say.

mod conditions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::action::Action;
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::diagram::{Diagram, Store, Undecided};
use crate::dialect;
use crate::errno::Errno;
use crate::exact::{self, ExactChange};
use crate::kernel::KernelVersion;
use crate::resolve::{EnosysAbove, Facts, Resolved, Rule, resolve};
use crate::syscalls::{self, SyscallNr};
use plim_model::CapabilitySet;

/// A profile made from a filter.
#[derive(Clone, Debug, PartialEq)]
pub struct Decompiled {
    /// OCI's `linux.seccomp`.
    pub profile: serde_json::Value,
    /// The machine that it is for.
    pub native: Arch,
    /// Whether the profile has the filter's meaning with runc's ENOSYS for calls that are newer than the profile, or without it.
    pub enosys_above: EnosysAbove,
    /// The calls that the profile (after) cannot answer as the filter (before) does; empty when they are equal, which is proven.
    pub lost: Vec<ExactChange>,
    /// Why, one sentence for each kind of loss that is understood.
    pub reasons: Vec<String>,
}

impl Decompiled {
    /// Whether the profile means just what the filter does.
    pub fn is_exact(&self) -> bool {
        self.lost.is_empty()
    }

    /// The facts under which the profile has the filter's meaning.
    pub fn facts(&self) -> Facts {
        let kernel = KernelVersion { major: 6, minor: 1 };
        Facts { enosys_above: self.enosys_above, ..Facts::new(self.native, CapabilitySet::EMPTY, kernel) }
    }
}

/// The profile that says what `diagram` does, or as much of it as a profile can.
///
/// ```
/// use plim_seccomp::{Arch, compile, decompile::decompile, diagram::Store, dialect, presets};
/// use plim_seccomp::resolve::{Facts, KernelVersion, resolve};
/// let facts = Facts::new(Arch::X86_64, plim_model::CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 18 });
/// let written = dialect::parse(presets::get("docker-default").unwrap().as_bytes()).unwrap();
/// let program = compile::compile(&resolve(&written, &facts).unwrap().unwrap()).unwrap();
/// let mut store = Store::new();
/// let diagram = store.of_program(&program).unwrap();
/// let back = decompile(&mut store, diagram, None).unwrap();
/// assert!(back.is_exact());
/// ```
///
/// # Errors
/// [`Undecided`] when the store's budget does not suffice.
pub fn decompile(store: &mut Store, diagram: Diagram, native: Option<Arch>) -> Result<Decompiled, Undecided> {
    let found = Findings::of(store, diagram, native)?;
    let mut best: Option<Decompiled> = None;
    // Which of the two the filter was made with shows in what numbers beyond the last name get; where it does not, either will do.
    for enosys_above in [EnosysAbove::HighestNamed, EnosysAbove::Never] {
        let profile = found.profile(enosys_above);
        let mut one = Decompiled {
            profile,
            native: found.native,
            enosys_above,
            lost: Vec::new(),
            reasons: found.reasons.iter().cloned().collect(),
        };
        one.lost = difference(store, diagram, &one)?;
        if one.is_exact() {
            one.reasons.clear();
            return Ok(one);
        }
        if best.as_ref().is_none_or(|best| one.lost.len() < best.lost.len()) {
            best = Some(one);
        }
    }
    // There were two candidates.
    let mut best = best.unwrap_or_else(|| unreachable!("one of two candidates"));
    best.reasons.extend(general_reasons(&best.lost));
    Ok(best)
}

/// What the profile answers differently.
fn difference(store: &mut Store, diagram: Diagram, one: &Decompiled) -> Result<Vec<ExactChange>, Undecided> {
    let refused =
        |why: String| Undecided { why: format!("the profile is not one: {why}"), instruction: None };
    let written = dialect::parse(one.profile.to_string().as_bytes()).map_err(|e| refused(e.to_string()))?;
    let resolved = resolve(&written, &one.facts()).map_err(|e| refused(e.to_string()))?;
    let again = match resolved {
        Some(resolved) => store.of_resolved(&resolved)?,
        None => store.constant(Action::Allow),
    };
    if again == diagram { Ok(Vec::new()) } else { exact::diff(store, diagram, again, false) }
}

fn general_reasons(lost: &[ExactChange]) -> Vec<String> {
    let mut reasons = Vec::new();
    if lost.iter().any(|change| change.arch.is_none()) {
        reasons.push(
            "a profile does not say what calls of other architectures get: they are SCMP_ACT_KILL_THREAD"
                .to_owned(),
        );
    }
    if lost.iter().any(|change| change.arch.is_some() && change.syscall == exact::UNNAMED) {
        reasons.push("a profile names calls, and these numbers have no name".to_owned());
    }
    let named: BTreeSet<&str> = lost
        .iter()
        .filter(|change| change.arch.is_some() && change.syscall != exact::UNNAMED)
        .map(|change| change.syscall.as_str())
        .collect();
    if !named.is_empty() {
        let names: Vec<&str> = named.iter().copied().take(8).collect();
        let more = if named.len() > names.len() { ", …" } else { "" };
        reasons.push(format!(
            "a rule holds on every architecture that has the call, and says one comparison of an argument: {}{more}",
            names.join(", ")
        ));
    }
    reasons
}

/// What was found in the diagram.
struct Findings {
    native: Arch,
    arches: BTreeSet<Arch>,
    default: Action,
    rules: BTreeMap<Arch, BTreeMap<SyscallNr, Vec<Rule>>>,
    /// For architectures whose highest numbers get ENOSYS: the last number that does not.
    heights: BTreeMap<Arch, SyscallNr>,
    reasons: BTreeSet<String>,
}

impl Findings {
    fn of(store: &mut Store, diagram: Diagram, native: Option<Arch>) -> Result<Findings, Undecided> {
        let arches = arches(store, diagram, native);
        let native = native.or_else(|| arches.first().copied()).unwrap_or(Arch::X86_64);
        let tails: BTreeMap<Arch, Tail> = arches
            .iter()
            .map(|arch| Ok((*arch, Tail::of(store, diagram, *arch)?)))
            .collect::<Result<_, Undecided>>()?;
        let default = tails.get(&native).map_or(Action::Allow, |tail| tail.gap);
        let mut found = Findings {
            native,
            default,
            rules: BTreeMap::new(),
            heights: BTreeMap::new(),
            reasons: BTreeSet::new(),
            arches,
        };
        for arch in found.arches.clone() {
            if let Some(tail) = tails.get(&arch).filter(|tail| tail.end != default) {
                found.heights.insert(arch, tail.highest);
            }
            let numbers: BTreeSet<SyscallNr> = syscalls::calls(arch).map(|(_, nr)| nr).collect();
            let mut rules = BTreeMap::new();
            for nr in numbers {
                if found.heights.get(&arch).is_some_and(|highest| nr > *highest) {
                    continue;
                }
                let rest = store.at(diagram, arch.audit_token(), Some(nr.0));
                let list = found.rules_of(store, rest, arch, nr)?;
                if !list.is_empty() {
                    rules.insert(nr, list);
                }
            }
            found.rules.insert(arch, rules);
        }
        Ok(found)
    }

    /// The rules of one number; none when it gets the default action.
    fn rules_of(
        &mut self,
        store: &mut Store,
        rest: Diagram,
        arch: Arch,
        nr: SyscallNr,
    ) -> Result<Vec<Rule>, Undecided> {
        let width = if arch.has_narrow_arguments() { 32 } else { 64 };
        let from: Arc<str> = "".into();
        let mut rules = Vec::new();
        let verdicts = store.answers(rest)?;
        let most = verdicts.iter().next_back().copied().unwrap_or(self.default);
        for action in verdicts.iter().copied().filter(|action| *action != self.default) {
            let cases = store.cases(rest, arch, |answer| answer == action)?;
            let lists = cases.and_then(|cases| {
                let lists: Option<Vec<_>> = cases.iter().map(|case| conditions::rules(case, width)).collect();
                Some(lists?.concat())
            });
            match lists {
                Some(lists) => rules.extend(lists.into_iter().map(|mut conditions| {
                    conditions.sort_unstable();
                    Rule { conditions, action, from: Arc::clone(&from) }
                })),
                None => {
                    let name = syscalls::name(arch, nr).unwrap_or_default();
                    self.reasons.insert(format!(
                        "{name} on {arch}: no list of comparisons says when it gets {action}: one argument is compared with another, \
                         or the value is computed"
                    ));
                    // The stricter answer for all of its calls.
                    let strictest = verdicts.iter().next().copied().unwrap_or(most);
                    let always = Rule { conditions: Vec::new(), action: strictest, from };
                    return Ok(if strictest == self.default { Vec::new() } else { vec![always] });
                }
            }
        }
        Ok(rules)
    }

    fn profile(&self, enosys_above: EnosysAbove) -> serde_json::Value {
        let resolved = Resolved {
            native: self.native,
            arches: self.arches.clone(),
            default: self.default,
            rules: self.rules.clone(),
            enosys_above: BTreeMap::new(),
            foreign_arch: Action::KillThread,
            flags: Vec::new(),
            listener_path: None,
            listener_metadata: None,
            skipped: Vec::new(),
        };
        let mut json = resolved.to_oci_json();
        if enosys_above == EnosysAbove::HighestNamed {
            self.name_the_highest(&mut json);
        }
        json
    }

    /// A rule for the highest numbers that are not "newer", where no other rule names them. It gives the default action, which is no
    /// rule, but it says how far the profile knows the calls.
    fn name_the_highest(&self, json: &mut serde_json::Value) {
        let mut names = BTreeSet::new();
        for (arch, highest) in &self.heights {
            let named = self.rules.get(arch).and_then(|rules| rules.keys().next_back());
            if named.is_none_or(|named| named < highest) {
                names.extend(syscalls::name(*arch, *highest));
            }
        }
        if names.is_empty() {
            return;
        }
        let mut entry = serde_json::json!({"names": names, "action": json["defaultAction"]});
        if let Some(number) = json.get("defaultErrnoRet") {
            entry["errnoRet"] = number.clone();
        }
        if let Some(list) = json["syscalls"].as_array_mut() {
            list.push(entry);
        }
    }
}

/// The architectures that the filter knows, the native one first in line when none is named.
fn arches(store: &Store, diagram: Diagram, native: Option<Arch>) -> BTreeSet<Arch> {
    let tokens = store.arches(diagram);
    let foreign = store.unnamed_arch(diagram);
    let known = Arch::all().filter(|arch| tokens.contains(&arch.audit_token())).filter(|arch| {
        // x86-64 and x32 share a token: each is there when its numbers get more than one answer, or another than foreign ones.
        let token = arch.audit_token();
        let base = if *arch == Arch::X32 { X32_SYSCALL_BIT } else { 0 };
        let shared = matches!(arch, Arch::X86_64 | Arch::X32);
        let foreign = store.at(foreign, token, Some(base));
        !shared || syscalls::calls(*arch).any(|(_, nr)| store.at(diagram, token, Some(nr.0)) != foreign)
    });
    let mut arches: BTreeSet<Arch> = known.collect();
    // One filter can tell architectures of one byte order apart; a profile cannot name others.
    let order = native.or_else(|| arches.first().copied()).unwrap_or(Arch::X86_64);
    arches.retain(|arch| arch.is_big_endian() == order.is_big_endian());
    arches.insert(order);
    arches
}

/// What numbers without a name get.
struct Tail {
    /// Between numbers that have one.
    gap: Action,
    /// Beyond the last that differs.
    end: Action,
    /// The last number before that.
    highest: SyscallNr,
}

impl Tail {
    fn of(store: &mut Store, diagram: Diagram, arch: Arch) -> Result<Tail, Undecided> {
        let base = if arch == Arch::X32 { X32_SYSCALL_BIT } else { 0 };
        let last = base | (X32_SYSCALL_BIT - 1);
        let of_arch = store.at(diagram, arch.audit_token(), None);
        let ranges = store.numbers(of_arch)?;
        // The last range within the architecture's numbers.
        let tail = ranges.iter().rfind(|range| range.first <= last && range.last >= base);
        let (end, highest) = match tail {
            Some(range) => (store.strongest(range.rest)?, range.first.max(base).saturating_sub(1)),
            None => (None, base),
        };
        let end = end.unwrap_or(Action::Errno(Errno::ENOSYS));
        let named: BTreeSet<u32> = syscalls::calls(arch).map(|(_, nr)| nr.0).collect();
        let mut counts: BTreeMap<Action, u32> = BTreeMap::new();
        for nr in (base..=highest.max(base)).filter(|nr| !named.contains(nr)).take(4096) {
            if let Some(action) = store.strongest(store.at(diagram, arch.audit_token(), Some(nr)))? {
                *counts.entry(action).or_default() += 1;
            }
        }
        let gap = counts.into_iter().max_by_key(|(_, count)| *count).map_or(end, |(action, _)| action);
        Ok(Tail { gap, end, highest: SyscallNr(highest.max(base)) })
    }
}

#[cfg(test)]
mod tests;
