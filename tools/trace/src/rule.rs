//! Which rule of the engine's own `linux.seccomp` decided, and the rule that would allow a call.

use plim_seccomp::{Action, Arch, arguments, constants};
use serde_json::{Value, json};

/// Where a decision stands in an OCI `linux.seccomp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// JSON pointer: `/syscalls/3` or `/defaultAction`.
    pub pointer: String,
    /// Rules that name the call and ask for other arguments.
    pub others: Vec<String>,
}

/// Finds the rule that gives `action` for the call: the first that names it with arguments that hold, or the default
/// action. `None` when what the specification says there is not what the installed filter decided.
pub fn find(seccomp: &Value, syscall: &str, args: &[u64; 6], action: Action) -> Option<Place> {
    let rules = seccomp.get("syscalls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut others = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let names = rule.get("names").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if !names.iter().any(|name| name.as_str() == Some(syscall)) {
            continue;
        }
        let pointer = format!("/syscalls/{index}");
        if !holds(rule, args)? {
            others.push(pointer);
            continue;
        }
        if same(rule.get("action"), action) {
            return Some(Place { pointer, others });
        }
        // A rule whose action is the default one is left out by every engine; any other contradicts.
        if rule.get("action") != seccomp.get("defaultAction") {
            return None;
        }
    }
    same(seccomp.get("defaultAction"), action).then(|| Place { pointer: "/defaultAction".to_owned(), others })
}

fn same(name: Option<&Value>, action: Action) -> bool {
    match name.and_then(Value::as_str) {
        Some("SCMP_ACT_KILL") => action == Action::KillThread,
        Some(name) => name == action.name(),
        None => false,
    }
}

/// Whether a rule's conditions hold. Two on one argument are alternatives, as runc and crun install them; a condition that
/// is not understood gives `None`.
fn holds(rule: &Value, args: &[u64; 6]) -> Option<bool> {
    let conditions = rule.get("args").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut results = Vec::new();
    for condition in conditions {
        let index = usize::try_from(condition.get("index")?.as_u64()?).ok()?;
        let value = condition.get("value")?.as_u64()?;
        let two = condition.get("valueTwo").and_then(Value::as_u64).unwrap_or_default();
        let argument = *args.get(index)?;
        let result = match condition.get("op")?.as_str()? {
            "SCMP_CMP_EQ" => argument == value,
            "SCMP_CMP_NE" => argument != value,
            "SCMP_CMP_LT" => argument < value,
            "SCMP_CMP_LE" => argument <= value,
            "SCMP_CMP_GT" => argument > value,
            "SCMP_CMP_GE" => argument >= value,
            "SCMP_CMP_MASKED_EQ" => argument & value == two & value,
            _ => return None,
        };
        results.push((index, result));
    }
    let repeated = (0..6).any(|index| results.iter().filter(|(own, _)| *own == index).count() > 1);
    Some(if repeated {
        results.iter().any(|(_, result)| *result)
    } else {
        results.iter().all(|(_, result)| *result)
    })
}

/// Arguments that tell what a call is about: only these are put into a rule that allows it.
const TELLING: [(&str, u64); 16] = [
    ("socket", 0),
    ("socketpair", 0),
    ("personality", 0),
    ("prctl", 0),
    ("arch_prctl", 0),
    ("ioctl", 1),
    ("fcntl", 1),
    ("fcntl64", 1),
    ("ptrace", 0),
    ("bpf", 0),
    ("keyctl", 0),
    ("seccomp", 0),
    ("reboot", 2),
    ("quotactl", 0),
    ("unshare", 0),
    ("clone", 0),
];

/// The rule that allows this call and no more of it than has to be, in OCI's and Docker's form, and what its condition says.
pub fn allowing(arch: Arch, syscall: &str, args: &[u64; 6]) -> (Value, Option<String>) {
    let telling = TELLING.iter().find(|(name, _)| *name == syscall).map(|(_, index)| *index);
    let argument = telling
        .and_then(|index| u8::try_from(index).ok())
        .and_then(|index| Some((index, arguments::argument(arch, syscall, index)?)));
    let Some((index, argument)) = argument else {
        return (json!({"names": [syscall], "action": "SCMP_ACT_ALLOW"}), None);
    };
    let value = args[usize::from(index)] & argument.width.mask(arch.has_narrow_arguments());
    let word = argument
        .set
        .filter(|set| set.holds_on(arch))
        .and_then(|set| constants::name(set, value))
        .unwrap_or_else(|| constants::plain(value));
    // Of a 32-bit argument the kernel reads the low half: the condition looks at no more.
    let mask = argument.width.mask(false);
    let condition = if mask == u64::MAX {
        json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"})
    } else {
        json!({"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
    };
    let rule = json!({"names": [syscall], "action": "SCMP_ACT_ALLOW", "args": [condition]});
    (rule, Some(format!("{} == {word}", argument.name)))
}

#[cfg(test)]
mod tests {
    use plim_seccomp::Errno;

    use super::*;

    #[test]
    fn finds_the_rule_or_the_default() {
        let eperm = Action::Errno(Errno::EPERM);
        let seccomp = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]}
        ]});
        let pointer = |name: &str, arg| {
            find(&seccomp, name, &[arg, 0, 0, 0, 0, 0], eperm).map(|place| (place.pointer, place.others))
        };
        let place = |pointer: &str, others: &[&str]| {
            Some((pointer.to_owned(), others.iter().map(|other| (*other).to_owned()).collect()))
        };
        assert_eq!(pointer("keyctl", 0), place("/defaultAction", &[]));
        assert_eq!(pointer("personality", 8), place("/defaultAction", &["/syscalls/1"]));
        assert_eq!(pointer("clone3", 0), place("/syscalls/2", &[]));
        assert_eq!(pointer("socket", 40), place("/defaultAction", &["/syscalls/3"]));
        // The specification allows it: then it is not what the filter was made of.
        assert_eq!(pointer("read", 0), None);
        assert_eq!(pointer("socket", 2), None);
    }

    #[test]
    fn allows_no_more_than_the_call() {
        let (rule, words) = allowing(Arch::X86_64, "socket", &[17, 3, 0x300, 0, 0, 0]);
        assert_eq!(words.as_deref(), Some("family == AF_PACKET"));
        assert_eq!(
            rule,
            json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 0xffff_ffff_u32, "valueTwo": 17, "op": "SCMP_CMP_MASKED_EQ"}]})
        );
        let (rule, words) = allowing(Arch::X86_64, "mount", &[0; 6]);
        assert_eq!((rule["args"].is_null(), words), (true, None));
    }
}
