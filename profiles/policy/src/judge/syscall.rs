//! `syscall: {must_deny, must_allow}`: calls with conditions on their arguments, against the meaning of a filter.

use plim_model::CapabilitySet;
use plim_seccomp::bpf::Program;
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::resolve::resolve;
use plim_seccomp::{Action, Arch, arguments, constants, dialect, syscalls};
use serde_json::json;

use super::Options;
use crate::rules::Call;

/// What `socketcall` does under its first argument (linux/net.h), where it can stand for another call.
const SOCKETCALL: [(&str, u64); 19] = [
    ("socket", 1),
    ("bind", 2),
    ("connect", 3),
    ("listen", 4),
    ("accept", 5),
    ("getsockname", 6),
    ("getpeername", 7),
    ("socketpair", 8),
    ("sendto", 11),
    ("recvfrom", 12),
    ("shutdown", 13),
    ("setsockopt", 14),
    ("getsockopt", 15),
    ("sendmsg", 16),
    ("recvmsg", 17),
    ("accept4", 18),
    ("recvmmsg", 19),
    ("sendmmsg", 20),
    ("send", 9),
];

/// Reads `NAME` or `NAME(ARGUMENT=VALUE, ARGUMENT&FLAGS, …)`. An argument is its name in the kernel or `arg0` to `arg5`; a value is a
/// number or a name (`AF_ALG`, `CLONE_NEWUSER|CLONE_NEWNS`). `&` means that all these flags are set.
///
/// # Errors
/// An unknown call, argument or constant, with the nearest; anything else that is not of this form.
pub(crate) fn parse(text: &str) -> Result<Call, String> {
    let (name, rest) = match text.split_once('(') {
        None => (text.trim(), None),
        Some((name, rest)) => {
            let inside =
                rest.trim_end().strip_suffix(')').ok_or_else(|| format!("{text:?}: no ) at the end"))?;
            (name.trim(), Some(inside))
        }
    };
    if !Arch::all().any(|arch| syscalls::calls(arch).any(|(known, _)| known == name)) {
        let names = syscalls::calls(Arch::X86_64).map(|(known, _)| known);
        return Err(format!("unknown system call {name:?}{}", crate::spelling::hint(name, names)));
    }
    let mut conditions = Vec::new();
    for part in rest.into_iter().flat_map(|rest| rest.split(',')).filter(|part| !part.trim().is_empty()) {
        let (argument, value, flags) = if let Some((argument, value)) = part.split_once('&') {
            (argument, value, true)
        } else if let Some((argument, value)) = part.split_once('=') {
            (argument, value.trim_start_matches('='), false)
        } else {
            return Err(format!("{part:?}: expected ARGUMENT=VALUE or ARGUMENT&FLAGS"));
        };
        let (argument, value) = (argument.trim(), value.trim());
        let known = arguments::of(name);
        let by_number = argument.strip_prefix("arg").and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < 6);
        let index = match by_number {
            Some(index) => index,
            None => {
                let index = known.iter().position(|known| known.name == argument);
                let index = index.and_then(|index| u8::try_from(index).ok());
                index.ok_or_else(|| {
                    let hint = crate::spelling::hint(argument, known.iter().map(|known| known.name.as_str()));
                    let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
                    format!("{name} has no argument {argument:?}{hint}; it has {}", names.join(", "))
                })?
            }
        };
        let set = known.get(usize::from(index)).and_then(|argument| argument.set);
        let number = constants::number(value).or_else(|| set.and_then(|set| constants::value(set, value)));
        let number = number.ok_or_else(|| {
            let near = set.and_then(|set| constants::nearest(set, value));
            let hint = near.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
            format!("{argument}: found {value:?}{hint}, expected a number or a constant's name")
        })?;
        let width = known.get(usize::from(index)).map_or(u64::MAX, |argument| argument.width.mask(false));
        conditions.push((index, if flags { number } else { width }, number & width));
    }
    Ok(Call { text: text.to_owned(), name: name.to_owned(), conditions })
}

/// The diagram that allows exactly the calls of the pattern on these architectures; `None` where none of them has it.
fn pattern(
    store: &mut Store,
    call: &Call,
    arches: &[Arch],
    options: &Options<'_>,
) -> Result<Diagram, String> {
    let names: Vec<&str> = arches.iter().map(|arch| arch.scmp_name()).collect();
    let conditions: Vec<_> = call
        .conditions
        .iter()
        .map(|(index, mask, value)| json!({"index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value}))
        .collect();
    // Two conditions on one argument would mean either: they are joined before.
    let profile = json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": names,
        "syscalls": [{"names": [call.name], "action": "SCMP_ACT_ALLOW", "args": conditions}],
    });
    let written = dialect::parse(profile.to_string().as_bytes()).map_err(|error| error.to_string())?;
    let mut facts = options.facts;
    facts.caps = CapabilitySet::EMPTY;
    facts.enosys_above = plim_seccomp::resolve::EnosysAbove::Never;
    let resolved = resolve(&written, &facts).map_err(|error| error.to_string())?;
    match resolved {
        Some(resolved) => store.of_resolved(&resolved).map_err(|undecided| undecided.to_string()),
        None => Ok(store.constant(Action::KillProcess)),
    }
}

/// What a stack does that it must not, or why that cannot be told.
pub(super) fn check(
    stack: &[Program],
    must_deny: &[Call],
    must_allow: &[Call],
    options: &Options<'_>,
) -> Result<Vec<String>, String> {
    let mut store = Store::new();
    let filter = store.of_stack(stack).map_err(|undecided| undecided.to_string())?;
    let mut facts = Vec::new();
    let native = options.facts.arch;
    let family = family(native);
    for call in must_deny {
        let mut patterns = vec![(call.clone(), family.clone())];
        if let Some((_, number)) = SOCKETCALL.iter().find(|(name, _)| *name == call.name)
            && family.contains(&Arch::X86)
        {
            // Its arguments lie in memory, where no filter sees them: any use of it is one of this call's.
            let text = format!("socketcall(call={number})");
            let conditions = vec![(0, 0xffff_ffff, *number)];
            let by = Call { text, name: "socketcall".to_owned(), conditions };
            patterns.push((by, vec![Arch::X86]));
        }
        for (call, arches) in patterns {
            let wanted = pattern(&mut store, &call, &arches, options)?;
            let hit = store
                .combine(wanted, filter, |wanted, verdict| {
                    let permitted =
                        verdict.makes_the_call() || matches!(verdict, Action::Notify | Action::Trace(_));
                    if wanted == Action::Allow && permitted { Action::Allow } else { Action::KillProcess }
                })
                .map_err(|undecided| undecided.to_string())?;
            if let Some(witness) = store.witness(hit, |action| action == Action::Allow) {
                facts.push(format!("{} is not denied: {}", call.text, told(&witness, &call.name, &arches)));
            }
        }
    }
    for call in must_allow {
        // A program that passes an int passes no high bits; that a filter looks at them harms nobody here.
        let mut whole = call.clone();
        for (_, mask, _) in &mut whole.conditions {
            if *mask == 0xffff_ffff {
                *mask = u64::MAX;
            }
        }
        let wanted = pattern(&mut store, &whole, &[native], options)?;
        let token = native.audit_token();
        let hit = store
            .combine(wanted, filter, |wanted, verdict| {
                if wanted == Action::Allow && !verdict.makes_the_call() {
                    Action::Allow
                } else {
                    Action::KillProcess
                }
            })
            .map_err(|undecided| undecided.to_string())?;
        let hit = store.at(hit, token, None);
        if let Some(mut witness) = store.witness(hit, |action| action == Action::Allow) {
            witness.arch = token;
            facts.push(format!("{} is not allowed: {}", call.text, told(&witness, &call.name, &[native])));
        }
    }
    Ok(facts)
}

/// The architecture and those that its kernel runs beside it.
fn family(native: Arch) -> Vec<Arch> {
    match native {
        Arch::X86_64 => vec![Arch::X86_64, Arch::X86, Arch::X32],
        Arch::Aarch64 => vec![Arch::Aarch64, Arch::Arm],
        Arch::S390x => vec![Arch::S390x, Arch::S390],
        other => vec![other],
    }
}

fn told(witness: &plim_seccomp::interpret::SeccompData, name: &str, arches: &[Arch]) -> String {
    let arch = if witness.arch == Arch::X86_64.audit_token() && witness.nr & 0x4000_0000 != 0 {
        Some(Arch::X32)
    } else {
        arches.iter().copied().find(|arch| arch.audit_token() == witness.arch)
    };
    let arguments: Vec<String> = witness
        .args
        .iter()
        .map(|argument| if *argument < 10 { argument.to_string() } else { format!("{argument:#x}") })
        .collect();
    let arch = arch.map_or_else(|| format!("{:#x}", witness.arch), |arch| arch.name().to_owned());
    format!("{name}({}) on {arch}", arguments.join(", "))
}
