//! Resolved rules in OCI's form, for `--print-spec`, state files and other runtimes.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::condition::Condition;
use crate::resolve::{Resolved, Rule, same_meaning};
use crate::syscalls;

impl Resolved {
    /// OCI's `linux.seccomp` with the same meaning, sorted; names without effect are left out.
    pub fn to_oci_json(&self) -> serde_json::Value {
        // Rules → the names that have exactly these.
        let mut groups: Vec<(&[Rule], BTreeSet<&'static str>)> = Vec::new();
        let mut done = BTreeSet::new();
        for (arch, rules) in &self.rules {
            let names = syscalls::calls(*arch).filter_map(|(name, nr)| Some((name, rules.get(&nr)?)));
            for (name, rules) in names {
                if !done.insert(name) {
                    continue;
                }
                match groups.iter_mut().find(|(known, _)| same_meaning(known, rules)) {
                    Some((_, names)) => {
                        names.insert(name);
                    }
                    None => groups.push((rules, BTreeSet::from([name]))),
                }
            }
        }
        // The largest group first: it is the one that a reader looks for.
        groups.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.1.cmp(&b.1)));
        let mut syscalls = Vec::new();
        for (rules, names) in &groups {
            for rule in *rules {
                let mut entry = serde_json::json!({"names": names, "action": rule.action.name()});
                if let Some(number) = error_number(rule.action) {
                    entry["errnoRet"] = number.into();
                }
                if !rule.conditions.is_empty() {
                    entry["args"] = rule.conditions.iter().map(Condition::to_json).collect();
                }
                syscalls.push(entry);
            }
        }
        let mut json = serde_json::json!({"defaultAction": self.default.name()});
        if let Some(number) = error_number(self.default) {
            json["defaultErrnoRet"] = number.into();
        }
        json["architectures"] = self.arches.iter().map(|arch| arch.scmp_name()).collect();
        if !self.flags.is_empty() {
            json["flags"] = self.flags.iter().map(|flag| flag.name()).collect();
        }
        for (key, text) in
            [("listenerPath", &self.listener_path), ("listenerMetadata", &self.listener_metadata)]
        {
            if let Some(text) = text {
                json[key] = text.as_str().into();
            }
        }
        json["syscalls"] = syscalls.into();
        json
    }
}

fn error_number(action: Action) -> Option<u16> {
    match action {
        Action::Errno(errno) => Some(errno.number()),
        Action::Trace(data) => Some(data),
        _ => None,
    }
}
