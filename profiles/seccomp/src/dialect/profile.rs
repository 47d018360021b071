//! The profile itself: every key of every dialect, checked.

use plim_model::Capability;

use super::json::Node;
use super::read::{At, quote};
use super::{Architectures, Dialect, FilterFlag, Scope, Written, WrittenRule};
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::{Condition, Test};
use crate::errno::Errno;
use crate::error::ProfileError;
use crate::kernel::KernelVersion;

const TOP_KEYS: [&str; 9] = [
    "defaultAction",
    "defaultErrnoRet",
    "defaultErrno",
    "architectures",
    "archMap",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const OCI_TOP_KEYS: [&str; 7] = [
    "defaultAction",
    "defaultErrnoRet",
    "architectures",
    "flags",
    "listenerPath",
    "listenerMetadata",
    "syscalls",
];
const RULE_KEYS: [&str; 9] =
    ["name", "names", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes"];
const OCI_RULE_KEYS: [&str; 4] = ["names", "action", "errnoRet", "args"];

/// Whose keys are these?
fn recognise(top: &At<'_, '_>) -> Dialect {
    let mut found = Dialect::Oci;
    let mut look = |at: &At<'_, '_>, podman: &str, docker: &[&str]| {
        if at.has(podman) {
            found = Dialect::Podman;
        } else if found == Dialect::Oci && docker.iter().any(|key| at.has(key)) {
            found = Dialect::Docker;
        }
    };
    look(top, "defaultErrno", &["archMap"]);
    if let Some(rules) = top.get("syscalls")
        && let Ok(rules) = rules.list()
    {
        rules.for_each(|rule| look(&rule, "errno", &["name", "comment", "includes", "excludes"]));
    }
    found
}

pub(super) fn read(top: &At<'_, '_>, dialect: Option<Dialect>) -> Result<Written, ProfileError> {
    let oci_only = dialect == Some(Dialect::Oci);
    top.object(if oci_only { &OCI_TOP_KEYS } else { &TOP_KEYS })?;
    let dialect = dialect.unwrap_or_else(|| recognise(top));
    let rules = match top.get("syscalls") {
        None => Vec::new(),
        Some(list) => list.list()?.map(|at| rule(&at, oci_only)).collect::<Result<_, _>>()?,
    };
    let (default_action, default_by_number) = match top.get("defaultAction").filter(|at| !is_empty_text(at)) {
        Some(at) => {
            let number = top.get("defaultErrnoRet");
            let named = action(&at, number, top.get("defaultErrno"))?;
            (Some(named), Some(action(&at, number, None)?))
        }
        None if rules.is_empty() => (None, None),
        None => return Err(top.error("rules and no defaultAction", "a defaultAction", None)),
    };
    let mut flags = match top.get("flags") {
        None => Vec::new(),
        Some(list) => list.list()?.map(|at| flag(&at)).collect::<Result<Vec<_>, _>>()?,
    };
    flags.sort();
    flags.dedup();
    Ok(Written {
        dialect,
        default_action,
        default_by_number,
        architectures: architectures(top)?,
        flags,
        listener_path: optional_text(top, "listenerPath")?,
        listener_metadata: optional_text(top, "listenerMetadata")?,
        rules,
    })
}

fn is_empty_text(at: &At<'_, '_>) -> bool {
    matches!(at.node, Node::Text(text) if text.is_empty())
}

/// The engines write an empty string for "not given".
fn optional_text(at: &At<'_, '_>, key: &'static str) -> Result<Option<String>, ProfileError> {
    match at.get(key).filter(|at| !is_empty_text(at)) {
        Some(at) => at.text().map(|text| Some(text.to_owned())),
        None => Ok(None),
    }
}

fn flag(at: &At<'_, '_>) -> Result<FilterFlag, ProfileError> {
    let names = FilterFlag::NAMES.iter();
    at.word(|text| names.clone().find(|(n, _)| *n == text).map(|(_, f)| *f), names.clone().map(|(n, _)| *n))
}

fn arch(at: &At<'_, '_>) -> Result<Arch, ProfileError> {
    at.word(Arch::from_scmp_name, Arch::all().map(Arch::scmp_name))
}

fn arches(at: Option<At<'_, '_>>) -> Result<Vec<Arch>, ProfileError> {
    match at {
        None => Ok(Vec::new()),
        Some(list) => list.list()?.map(|at| arch(&at)).collect(),
    }
}

fn architectures(top: &At<'_, '_>) -> Result<Architectures, ProfileError> {
    let listed = arches(top.get("architectures"))?;
    let mut map: Vec<(Arch, Vec<Arch>)> = Vec::new();
    if let Some(list) = top.get("archMap") {
        for at in list.list()? {
            at.object(&["architecture", "subArchitectures"])?;
            let Some(key) = at.get("architecture") else {
                return Err(at.error("no architecture", "an architecture", None));
            };
            let main = arch(&key)?;
            if map.iter().any(|(known, _)| *known == main) {
                return Err(key.error(
                    format!("{main} a second time"),
                    "one entry for each architecture",
                    None,
                ));
            }
            map.push((main, arches(at.get("subArchitectures"))?));
        }
    }
    match (listed.is_empty(), map.is_empty()) {
        (true, true) => Ok(Architectures::Native),
        (false, true) => Ok(Architectures::List(listed)),
        (true, false) => Ok(Architectures::Map(map)),
        (false, false) => Err(top.error("both architectures and archMap", "one of them", None)),
    }
}

/// An action with its number: Podman's name wins over the number, and EPERM stands in where neither is given.
fn action(
    at: &At<'_, '_>,
    number: Option<At<'_, '_>>,
    name: Option<At<'_, '_>>,
) -> Result<Action, ProfileError> {
    let name = name.filter(|at| !is_empty_text(at));
    let plain = at.word(plain_action, Action::NAMES.into_iter())?;
    let most = match plain {
        Action::Errno(_) => u64::from(Errno::MAX),
        Action::Trace(_) => u64::from(u16::MAX),
        _ => {
            return match name.or(number) {
                None => Ok(plain),
                Some(given) => {
                    let expected = format!("none, since {} takes no error number", plain.name());
                    Err(given.error("an error number", expected, None))
                }
            };
        }
    };
    let data = match (name, number) {
        (Some(at), _) => errno_by_name(&at, most)?,
        (None, Some(at)) => at.number(most)?,
        (None, None) => return Ok(plain),
    };
    Ok(match plain {
        Action::Trace(_) => u16::try_from(data).map_or(plain, Action::Trace),
        _ => Errno::from_number(data).map_or(plain, Action::Errno),
    })
}

/// The action of an OCI name, with the number that stands where none is written.
fn plain_action(name: &str) -> Option<Action> {
    Some(match name {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
        "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
        "SCMP_ACT_TRAP" => Action::Trap,
        "SCMP_ACT_ERRNO" => Action::Errno(Errno::EPERM),
        "SCMP_ACT_TRACE" => Action::Trace(Errno::EPERM.number()),
        "SCMP_ACT_NOTIFY" => Action::Notify,
        "SCMP_ACT_LOG" => Action::Log,
        "SCMP_ACT_ALLOW" => Action::Allow,
        _ => return None,
    })
}

/// Podman's `errno`: a name, or a number as text.
fn errno_by_name(at: &At<'_, '_>, most: u64) -> Result<u64, ProfileError> {
    let text = at.text()?;
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let number = text.parse().ok().filter(|n| *n <= most);
        return number.ok_or_else(|| at.unexpected(format!("a number from 0 to {most}")));
    }
    Errno::from_name(text)
        .map(|errno| errno.number().into())
        .ok_or_else(|| at.error(quote(text), "the name of an error, such as EPERM", Errno::nearest(text)))
}

fn rule(at: &At<'_, '_>, oci_only: bool) -> Result<WrittenRule, ProfileError> {
    at.object(if oci_only { &OCI_RULE_KEYS } else { &RULE_KEYS })?;
    let Some(action_at) = at.get("action") else {
        return Err(at.error("a rule without an action", "an action", None));
    };
    let both: Vec<(Condition, Condition)> = match at.get("args") {
        None => Vec::new(),
        Some(list) => list.list()?.map(|at| condition(&at)).collect::<Result<_, _>>()?,
    };
    let (conditions, conditions_exchanged) = both.into_iter().unzip();
    Ok(WrittenRule {
        names: names(at)?,
        name_alone: at.get("name").is_some_and(|name| !is_empty_text(&name)),
        action: action(&action_at, at.get("errnoRet"), at.get("errno"))?,
        action_by_number: action(&action_at, at.get("errnoRet"), None)?,
        conditions,
        conditions_exchanged,
        includes: scope(at.get("includes"))?,
        excludes: scope(at.get("excludes"))?,
        comment: optional_text(at, "comment")?,
        pointer: at.pointer().into(),
    })
}

fn names(at: &At<'_, '_>) -> Result<Vec<String>, ProfileError> {
    let single = at.get("name").filter(|at| !is_empty_text(at));
    let mut names = match at.get("names") {
        None => Vec::new(),
        Some(list) => list.list()?.map(|at| call_name(&at)).collect::<Result<_, _>>()?,
    };
    if let Some(name) = single {
        if !names.is_empty() {
            return Err(at.error("both name and names", "one of them", None));
        }
        names.push(call_name(&name)?);
    }
    if names.is_empty() {
        return Err(at.error("a rule that names no system call", "at least one in names", None));
    }
    Ok(names)
}

fn call_name(at: &At<'_, '_>) -> Result<String, ProfileError> {
    if is_empty_text(at) {
        return Err(at.unexpected("the name of a system call"));
    }
    at.text().map(str::to_owned)
}

/// As it is meant, and with mask and value exchanged.
fn condition(at: &At<'_, '_>) -> Result<(Condition, Condition), ProfileError> {
    at.object(&["index", "value", "valueTwo", "op"])?;
    let needed = |key: &'static str| {
        at.get(key).ok_or_else(|| at.error(format!("no {key}"), "index, value and op", None))
    };
    let index = needed("index")?.number(5)?;
    let value = needed("value")?.number(u64::MAX)?;
    let second = at.get("valueTwo");
    let value_two = second.map_or(Ok(0), |at| at.number(u64::MAX))?;
    let test = needed("op")?.word(|op| Test::from_oci(op, value, value_two), Test::OPERATORS.into_iter())?;
    if value_two != 0
        && !matches!(test, Test::MaskedEq { .. })
        && let Some(second) = second
    {
        let expected = "0 or nothing, since only SCMP_CMP_MASKED_EQ reads valueTwo";
        return Err(second.unexpected(expected));
    }
    let argument = u8::try_from(index).unwrap_or(5);
    let exchanged = match test {
        Test::MaskedEq { .. } => Test::MaskedEq { mask: value_two, value: value & value_two },
        other => other,
    };
    Ok((Condition { argument, test }, Condition { argument, test: exchanged }))
}

fn scope(at: Option<At<'_, '_>>) -> Result<Scope, ProfileError> {
    let mut scope = Scope::default();
    let Some(at) = at else { return Ok(scope) };
    at.object(&["arches", "caps", "minKernel"])?;
    if let Some(list) = at.get("arches") {
        for at in list.list()? {
            let names = Arch::all().map(Arch::profile_name);
            scope.arches.push(at.word(Arch::from_profile_name, names)?);
        }
    }
    if let Some(list) = at.get("caps") {
        for at in list.list()? {
            scope.caps.insert(capability(&at)?);
        }
    }
    if let Some(at) = at.get("minKernel").filter(|at| !is_empty_text(at)) {
        let version = KernelVersion::from_profile(at.text()?);
        let expected = "a kernel release as MAJOR.MINOR, such as 4.8";
        scope.min_kernel = Some(version.ok_or_else(|| at.unexpected(expected))?);
    }
    Ok(scope)
}

/// A capability exactly as the engines compare it: upper case, with `CAP_`.
fn capability(at: &At<'_, '_>) -> Result<Capability, ProfileError> {
    let text = at.text()?;
    match Capability::from_name(text) {
        Some(capability) if text.starts_with("CAP_") && !text.contains(char::is_lowercase) => Ok(capability),
        Some(meant) => Err(at.error(quote(text), "a capability in capitals", Some(&meant.to_string()))),
        None => {
            let names: Vec<String> = Capability::known().map(|c| c.to_string()).collect();
            let nearest = crate::spelling::nearest(text, names.iter().map(String::as_str));
            Err(at.error(quote(text), "a capability, such as CAP_NET_RAW", nearest))
        }
    }
}
