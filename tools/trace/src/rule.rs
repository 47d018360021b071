//! Which rule of the engine's own `linux.seccomp` decided, and the rule that would allow a call.

use plim_seccomp::telling::{self, How};
use plim_seccomp::{Action, Arch, arguments};
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

/// The rule that allows this call and no more of it than has to be, in OCI's and Docker's form, and what its conditions say.
pub fn allowing(arch: Arch, syscall: &str, args: &[u64; 6]) -> (Value, Option<String>) {
    let told = telling::of(syscall).iter().filter_map(|told| {
        let argument = arguments::argument(arch, syscall, told.index)?;
        // Of a 32-bit argument the kernel reads the low half: the condition looks at no more. Flags are those of this call.
        let mask = match told.how {
            How::Value(mask) => mask,
            How::Bits(_) => argument.width.mask(false),
        };
        let value = args[usize::from(told.index)] & mask & argument.width.mask(arch.has_narrow_arguments());
        let word = telling::word(argument.set.filter(|set| set.holds_on(arch)), value);
        let condition = if mask == u64::MAX {
            json!({"index": told.index, "value": value, "op": "SCMP_CMP_EQ"})
        } else {
            json!({"index": told.index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"})
        };
        Some((condition, format!("{} == {word}", argument.name)))
    });
    let (conditions, words): (Vec<Value>, Vec<String>) = told.unzip();
    let mut rule = json!({"names": [syscall], "action": "SCMP_ACT_ALLOW"});
    if conditions.is_empty() {
        return (rule, None);
    }
    rule["args"] = conditions.into();
    (rule, Some(words.join(" and ")))
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
        assert_eq!(words.as_deref(), Some("family == AF_PACKET and type == SOCK_RAW"));
        assert_eq!(
            rule,
            json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 0xffff_ffff_u32, "valueTwo": 17, "op": "SCMP_CMP_MASKED_EQ"},
                    {"index": 1, "value": 0xf, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]})
        );
        let (rule, words) = allowing(Arch::X86_64, "mount", &[0; 6]);
        assert_eq!((rule["args"].is_null(), words), (true, None));
    }
}
