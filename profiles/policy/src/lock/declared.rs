//! Two declarations of one workload: what the second asks for beyond the first.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use plim_model::diff::Area;
use serde_json::Value;

use super::compare::Found;
use super::order;
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
        self.order("proc_sys_read_only", Area::Mounts, |value| u8::from(value != &Value::Bool(true)));
        self.order("root", Area::User, |value| match value {
            Value::Bool(false) => 0,
            Value::Bool(true) => 2,
            _ => 1,
        });
        self.user();
        self.order("seccomp", Area::Seccomp, |value| match value.as_str() {
            Some("unconfined") => 2,
            Some("unset") => 1,
            _ => 0,
        });
        self.profile();
        self.label("apparmor");
        self.label("selinux");
        self.members("capabilities", Area::Capabilities);
        self.devices("devices");
        self.devices("device_rules");
        self.members("groups", Area::User);
        self.ports();
        self.mounts();
        self.sysctls();
        self.namespaces();
        self.network();
        for field in ["memory_max_bytes", "millicpus", "pids_max"] {
            self.order(field, Area::Cgroups, |value| value.as_u64().unwrap_or(u64::MAX));
        }
        // Docker's weight of who asks for none.
        self.order("cpu_shares", Area::Cgroups, |value| value.as_u64().unwrap_or(1024));
        self.other("cgroup_parent", Some(Area::Cgroups));
        self.ulimits();
        // Another runtime may be another kernel, or none between the container and the host's.
        self.other("runtime", None);
    }

    fn grown(&mut self, area: impl Into<Option<Area>>, what: String) {
        let text = if self.many { format!("container {}: {what}", self.name) } else { what };
        self.areas.entry(area.into()).or_default().grown.push(text);
    }

    fn less(&mut self, area: Area) {
        self.areas.entry(Some(area)).or_default().less = true;
    }

    fn order<T: Ord>(&mut self, field: &str, area: Area, reach: impl Fn(&Value) -> T) {
        let (old, new) = (&self.old[field], &self.new[field]);
        match reach(new).cmp(&reach(old)) {
            Ordering::Greater => self.grown(area, format!("{field}: {new}, was {old}")),
            Ordering::Less => self.less(area),
            Ordering::Equal => {}
        }
    }

    /// What is not known to be less is more.
    fn other(&mut self, field: &str, area: Option<Area>) {
        let (old, new) = (&self.old[field], &self.new[field]);
        if old != new {
            self.grown(area, format!("{field}: {new}, was {old}"));
        }
    }

    /// Of two users that are not root, neither is known to reach less; a group of one's own is less than the image's or root's.
    fn user(&mut self) {
        let (old, new) = (&self.old["user"], &self.new["user"]);
        let parts = |user: &Value| -> (String, String) {
            let text = user.as_str().unwrap_or_default();
            let (user, group) = text.split_once(':').unwrap_or((text, ""));
            (user.to_owned(), if ["", "root"].contains(&group) { "0" } else { group }.to_owned())
        };
        let (before, after) = (parts(old), parts(new));
        // Root against others has been told.
        let same = self.old["root"] == self.new["root"];
        let user = same && self.new["root"] != Value::Bool(true) && before.0 != after.0;
        if user || (before.1 != after.1 && before.1 != "0") {
            self.grown(Area::User, format!("user: {new}, was {old}"));
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

    /// Two profiles, two labels: neither is known to be within the other.
    fn label(&mut self, field: &str) {
        let reach = |value: &Value| match value.as_str() {
            Some("unconfined") => 2,
            None | Some("unset") => 1,
            Some(_) => 0,
        };
        let (old, new) = (&self.old[field], &self.new[field]);
        match reach(new).cmp(&reach(old)) {
            Ordering::Equal if old == new || reach(new) != 0 => {}
            Ordering::Less => self.less(Area::Lsm),
            _ => self.grown(Area::Lsm, format!("{field}: {new}, was {old}")),
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

    /// Devices and rules with the access behind them.
    fn devices(&mut self, field: &str) {
        let of = |side: &Value| -> BTreeMap<String, BTreeSet<char>> {
            let mut all: BTreeMap<String, BTreeSet<char>> = BTreeMap::new();
            for text in side[field].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let access =
                    text.rsplit_once(' ').filter(|(_, last)| last.chars().all(|c| "rwm".contains(c)));
                let (device, access) = access.unwrap_or((text, "rwm"));
                all.entry(device.to_owned()).or_default().extend(access.chars());
            }
            all
        };
        // Files of before did not say.
        if self.old[field].is_null() {
            return;
        }
        let (old, new) = (of(self.old), of(self.new));
        let within = |small: &BTreeMap<String, BTreeSet<char>>, name: &str, access: &BTreeSet<char>| {
            small.get(name).is_some_and(|has| access.is_subset(has))
        };
        for (name, access) in new.iter().filter(|(name, access)| !within(&old, name, access)) {
            let access: String = access.iter().rev().collect();
            self.grown(Area::Devices, format!("{field}: now {name} {access}"));
        }
        if old.iter().any(|(name, access)| !within(&new, name, access)) {
            self.less(Area::Devices);
        }
    }

    /// One address of the host is less than all of them.
    fn ports(&mut self) {
        let list = |side: &Value| side["ports"].as_array().cloned().unwrap_or_default();
        let within = |port: &Value, other: &Value| {
            let everywhere = ["", "0.0.0.0", "::"].contains(&other["host_ip"].as_str().unwrap_or_default());
            ["host_port", "container_port"].iter().all(|key| port[key] == other[key])
                && (everywhere || port["host_ip"] == other["host_ip"])
        };
        let (old, new) = (list(self.old), list(self.new));
        for port in new.iter().filter(|port| !old.iter().any(|old| within(port, old))) {
            self.grown(Area::Namespaces, format!("ports: now {}", sorted(port)));
        }
        if old.iter().any(|port| !new.iter().any(|new| within(port, new))) {
            self.less(Area::Namespaces);
        }
    }

    /// By their place: another source is something else to reach, writable is more than read-only.
    fn mounts(&mut self) {
        let list = |side: &Value| side["mounts"].as_array().cloned().unwrap_or_default();
        let text = |mount: &Value, key: &str| mount[key].as_str().unwrap_or_default().to_owned();
        let thing = |mount: &Value| (text(mount, "kind"), text(mount, "source"));
        // Everything of another container has no one place.
        let place =
            |mount: &Value| (text(mount, "target"), text(mount, "target").is_empty().then(|| thing(mount)));
        let (old, new) = (list(self.old), list(self.new));
        for mount in &new {
            let at = || old.iter().filter(|before| place(before) == place(mount));
            let target = mount["target"].as_str().unwrap_or_default();
            let memory = ["tmpfs", "emptyDir"].contains(&text(mount, "kind").as_str());
            match at().find(|before| thing(before) == thing(mount)).or_else(|| at().next()) {
                None if memory => {}
                None => {
                    self.grown(Area::Mounts, format!("{target}: now {} {}", mount["kind"], mount["source"]))
                }
                Some(before) if thing(before) != thing(mount) => self
                    .grown(Area::Mounts, format!("{target}: {}, was {}", mount["source"], before["source"])),
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
        if old.iter().any(|mount| !new.iter().any(|now| place(now) == place(mount))) {
            self.less(Area::Mounts);
        }
    }

    fn sysctls(&mut self) {
        let of = |side: &Value| side["sysctls"].as_object().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (old, new) = (of(self.old), of(self.new));
        for (key, value) in new.iter().filter(|(key, value)| old.get(*key) != Some(*value)) {
            match old.get(key) {
                Some(before) if order::sysctl(key, &text(before), &text(value)) == Some(Ordering::Less) => {
                    self.less(Area::Sysctls);
                }
                before => {
                    let was = before.map_or_else(|| "not set".to_owned(), Value::to_string);
                    self.grown(Area::Sysctls, format!("{key}: {value}, was {was}"));
                }
            }
        }
        for (key, before) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
            // Then the engine or the kernel decides.
            if order::most(key, &text(before)) {
                self.less(Area::Sysctls);
            } else {
                self.grown(Area::Sysctls, format!("{key}: no longer set, was {before}"));
            }
        }
    }

    fn namespaces(&mut self) {
        let old = self.old["namespaces"].clone();
        let new = self.new["namespaces"].clone();
        for (kind, value) in new.as_object().into_iter().flatten() {
            let before = old[kind].as_str().unwrap_or("own");
            let value = value.as_str().unwrap_or("own");
            if value == before {
            } else if value == "own" || (value == "pod" && before == "host") {
                self.less(Area::Namespaces);
            } else {
                self.grown(Area::Namespaces, format!("{kind} namespace: {value}, was {before}"));
            }
        }
    }

    /// Who is in one network with it. That of others has been told with the namespaces.
    fn network(&mut self) {
        let own = |side: &Value| side["namespaces"]["net"] == "own";
        let (old, new) = (&self.old["network"], &self.new["network"]);
        if old == new || old.is_null() || !own(self.old) || !own(self.new) {
            return;
        }
        if new == "none" {
            self.less(Area::Namespaces);
        } else {
            self.grown(Area::Namespaces, format!("network: {new}, was {old}"));
        }
    }

    /// Limits that are set anew count as less than what the engine gives, unless they are none.
    fn ulimits(&mut self) {
        let number = |text: &str| match text {
            "-1" | "unlimited" => u64::MAX,
            // As large as it can be, where it is no number.
            text => text.parse().unwrap_or(u64::MAX),
        };
        let of = |side: &Value| -> BTreeMap<String, (u64, u64)> {
            let list = side["ulimits"].as_array().into_iter().flatten().filter_map(Value::as_str);
            list.filter_map(|text| {
                let (name, value) = text.split_once('=')?;
                let (soft, hard) = value.split_once(':').unwrap_or((value, value));
                Some((name.to_owned(), (number(soft), number(hard))))
            })
            .collect()
        };
        // Files of before had none.
        if self.old["ulimits"].is_null() {
            return;
        }
        let (old, new) = (of(self.old), of(self.new));
        for (name, (soft, hard)) in &new {
            let (before_soft, before_hard) = old.get(name).copied().unwrap_or((u64::MAX - 1, u64::MAX - 1));
            if *soft > before_soft || *hard > before_hard {
                self.grown(Area::Rlimits, format!("{name}: {soft}:{hard}"));
            } else if (*soft, *hard) != (before_soft, before_hard) {
                self.less(Area::Rlimits);
            }
        }
        for (name, (soft, hard)) in old.iter().filter(|(name, _)| !new.contains_key(*name)) {
            self.grown(Area::Rlimits, format!("{name}: the engine's own, was {soft}:{hard}"));
        }
    }
}
