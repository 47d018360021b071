//! Two declarations of one workload: what the second asks for beyond the first.

use std::collections::{BTreeMap, BTreeSet};

use plim_model::diff::Area;
use serde_json::Value;

use super::compare::Found;
use super::write::sorted;

/// Compares two workloads in their JSON form, container by container.
pub(super) fn compare(old: &Value, new: &Value) -> BTreeMap<Option<Area>, Found> {
    let mut areas: BTreeMap<Option<Area>, Found> = BTreeMap::new();
    let by_name = |side: &Value| -> BTreeMap<String, Value> {
        let containers = side["containers"].as_object();
        containers.into_iter().flatten().map(|(name, facts)| (name.clone(), facts.clone())).collect()
    };
    let (before, after) = (by_name(old), by_name(new));
    for (name, container) in &after {
        match before.get(name) {
            None => areas.entry(None).or_default().grown.push(format!("container {name} is new")),
            Some(old) => {
                Pair { name, old, new: container, many: after.len() > 1, areas: &mut areas }.compare();
            }
        }
    }
    if before.keys().any(|name| !after.contains_key(name)) {
        areas.entry(None).or_default().less = true;
    }
    areas
}

struct Pair<'a> {
    name: &'a str,
    old: &'a Value,
    new: &'a Value,
    many: bool,
    areas: &'a mut BTreeMap<Option<Area>, Found>,
}

impl Pair<'_> {
    fn compare(&mut self) {
        // (field, area, how much a value reaches)
        self.order("privileged", Area::Capabilities, |value| u8::from(value == &Value::Bool(true)));
        self.order("no_new_privs", Area::Capabilities, |value| u8::from(value != &Value::Bool(true)));
        self.order("read_only_root", Area::Mounts, |value| u8::from(value != &Value::Bool(true)));
        self.order("masked_paths", Area::Mounts, |value| u8::from(value != &Value::Bool(true)));
        self.order("root", Area::User, |value| match value {
            Value::Bool(false) => 0,
            Value::Bool(true) => 2,
            _ => 1,
        });
        self.order("seccomp", Area::Seccomp, |value| match value.as_str() {
            Some("unconfined") => 2,
            Some("unset") => 1,
            _ => 0,
        });
        for (field, area) in [("apparmor", Area::Lsm), ("selinux", Area::Lsm)] {
            self.order(field, area, |value| u8::from(value == "unconfined"));
        }
        // Two profiles, two labels: neither is known to be within the other.
        for field in ["apparmor", "selinux"] {
            self.other(field, Area::Lsm);
        }
        self.profile();
        self.members("capabilities", Area::Capabilities);
        self.members("devices", Area::Devices);
        self.members("groups", Area::User);
        self.members("ports", Area::Namespaces);
        self.mounts();
        self.map("sysctls", Area::Sysctls);
        self.namespaces();
        for field in ["memory_max_bytes", "millicpus", "pids_max"] {
            self.order(field, Area::Cgroups, |value| value.as_u64().unwrap_or(u64::MAX));
        }
    }

    fn grown(&mut self, area: Area, what: String) {
        let text = if self.many { format!("container {}: {what}", self.name) } else { what };
        self.areas.entry(Some(area)).or_default().grown.push(text);
    }

    fn less(&mut self, area: Area) {
        self.areas.entry(Some(area)).or_default().less = true;
    }

    fn order<T: Ord>(&mut self, field: &str, area: Area, reach: impl Fn(&Value) -> T) {
        let (old, new) = (&self.old[field], &self.new[field]);
        match reach(new).cmp(&reach(old)) {
            std::cmp::Ordering::Greater => self.grown(area, format!("{field}: {new}, was {old}")),
            std::cmp::Ordering::Less => self.less(area),
            std::cmp::Ordering::Equal => {}
        }
    }

    fn other(&mut self, field: &str, area: Area) {
        let (old, new) = (&self.old[field], &self.new[field]);
        let named = |value: &Value| !value.is_null() && value != "unconfined" && value != "default";
        if old != new && named(old) && named(new) {
            self.grown(area, format!("{field}: {new}, was {old}"));
        }
    }

    /// From one profile to another, the engine's own among them: what it permits is not known here.
    fn profile(&mut self) {
        let confined =
            |side: &Value| ["default", "profile"].contains(&side["seccomp"].as_str().unwrap_or_default());
        let (old, new) = (&self.old["seccomp_profile"], &self.new["seccomp_profile"]);
        if old != new && confined(self.old) && confined(self.new) {
            let name = |profile: &Value| profile.as_str().unwrap_or("the engine's default").to_owned();
            self.grown(Area::Seccomp, format!("seccomp profile: {}, was {}", name(new), name(old)));
        }
    }

    fn members(&mut self, field: &str, area: Area) {
        let set = |side: &Value| -> BTreeSet<String> {
            side[field].as_array().into_iter().flatten().map(|item| sorted(item).to_string()).collect()
        };
        let (old, new) = (set(self.old), set(self.new));
        let more: Vec<&str> = new.difference(&old).map(String::as_str).collect();
        if !more.is_empty() {
            self.grown(area, format!("{field}: now {}", more.join(", ")));
        }
        if old.difference(&new).next().is_some() {
            self.less(area);
        }
    }

    /// By their target: another source is something else to reach, writable is more than read-only.
    fn mounts(&mut self) {
        let by_target = |side: &Value| -> BTreeMap<String, Value> {
            let list = side["mounts"].as_array().cloned().unwrap_or_default();
            list.into_iter().map(|m| (m["target"].as_str().unwrap_or_default().to_owned(), m)).collect()
        };
        let (old, new) = (by_target(self.old), by_target(self.new));
        for (target, mount) in &new {
            let memory = ["tmpfs", "emptyDir"].contains(&mount["kind"].as_str().unwrap_or_default());
            match old.get(target) {
                None if memory => {}
                None => {
                    self.grown(Area::Mounts, format!("{target}: now {} {}", mount["kind"], mount["source"]))
                }
                Some(before) if before["source"] != mount["source"] || before["kind"] != mount["kind"] => {
                    self.grown(
                        Area::Mounts,
                        format!("{target}: {}, was {}", mount["source"], before["source"]),
                    );
                }
                Some(before) => {
                    let writable = |mount: &Value| mount["read_only"] != Value::Bool(true);
                    let travels = |mount: &Value| match mount["propagation"].as_str() {
                        Some("shared" | "rshared") => 2,
                        Some("slave" | "rslave") => 1,
                        _ => 0,
                    };
                    if writable(mount) && !writable(before) {
                        self.grown(Area::Mounts, format!("{target}: writable, was read-only"));
                    } else if !writable(mount) && writable(before) {
                        self.less(Area::Mounts);
                    }
                    if travels(mount) > travels(before) {
                        let what =
                            format!("{target}: {}, was {}", mount["propagation"], before["propagation"]);
                        self.grown(Area::Mounts, what);
                    }
                }
            }
        }
        if old.keys().any(|target| !new.contains_key(target)) {
            self.less(Area::Mounts);
        }
    }

    fn map(&mut self, field: &str, area: Area) {
        let empty = serde_json::Map::new();
        let of = |side: &Value| side[field].as_object().cloned().unwrap_or_else(|| empty.clone());
        let (old, new) = (of(self.old), of(self.new));
        for (key, value) in &new {
            if old.get(key) != Some(value) {
                let was = old.get(key).map_or_else(|| "not set".to_owned(), Value::to_string);
                self.grown(area, format!("{field} {key}: {value}, was {was}"));
            }
        }
    }

    fn namespaces(&mut self) {
        let old = self.old["namespaces"].clone();
        let new = self.new["namespaces"].clone();
        for (kind, value) in new.as_object().into_iter().flatten() {
            let before = old[kind].as_str().unwrap_or("own");
            let value = value.as_str().unwrap_or("own");
            let private = |word: &str| word == "own" || word == "pod";
            if value == before {
            } else if private(value) && !private(before) {
                self.less(Area::Namespaces);
            } else {
                self.grown(Area::Namespaces, format!("{kind} namespace: {value}, was {before}"));
            }
        }
    }
}
