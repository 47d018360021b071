//! What a lock file says of one target.

use plim_model::Observed;
use plim_seccomp::analyse;
use plim_seccomp::bpf::Program;
use serde_json::{Map, Value, json};

use super::base64;
use crate::judge::{Subject, ways_out};

/// Parts of a snapshot that are privileges. What is left out is identity, or changes by itself.
const SECTIONS: [&str; 14] = [
    "user",
    "namespaces",
    "id_maps",
    "capabilities",
    "no_new_privs",
    "lsm",
    "cgroup",
    "mounts",
    "masked_paths",
    "read_only_paths",
    "devices",
    "rlimits",
    "sysctls",
    "engine_sockets",
];

/// The entry of a target.
pub fn entry(subject: &Subject) -> Value {
    of(subject, locked)
}

/// The same for a comparison, which has the programs themselves.
pub(super) fn compared(subject: &Subject) -> Value {
    of(subject, |_| Value::Null)
}

fn of(subject: &Subject, filter: impl Fn(&Program) -> Value) -> Value {
    if subject.snapshot.is_none() {
        // Serialising plain data cannot fail.
        let mut workload = serde_json::to_value(&subject.workload).unwrap_or_default();
        if let Some(fields) = workload.as_object_mut() {
            fields.shift_remove("labels");
            // By name, so that each fact has its line.
            let list = fields.shift_remove("containers").unwrap_or_default();
            let mut containers = Map::new();
            for mut container in list.as_array().cloned().into_iter().flatten() {
                let name = container["name"].as_str().unwrap_or("?").to_owned();
                if let Some(facts) = container.as_object_mut() {
                    for same in ["name", "cap_add", "cap_drop", "healthcheck", "restart"] {
                        facts.shift_remove(same);
                    }
                }
                containers.insert(name, container);
            }
            fields.insert("containers".to_owned(), Value::Object(containers));
        }
        let mut entry = json!({ "declared": workload });
        entry["findings"] = findings(subject);
        return entry;
    }
    let snapshot = &subject.snapshot_json;
    let mut entry = Map::new();
    for key in ["engine", "image"] {
        entry.insert(key.to_owned(), snapshot["target"][key].clone());
    }
    for section in SECTIONS {
        entry.insert(section.to_owned(), snapshot[section].clone());
    }
    let id = snapshot["target"]["id"].as_str().unwrap_or_default();
    let mut entry = Value::Object(entry);
    clean(&mut entry, id);
    entry["seccomp"] = seccomp(subject, filter);
    entry["findings"] = findings(subject);
    let unknown: Vec<&Value> = snapshot["unknown"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|unknown| {
            let path = unknown["path"].as_str().unwrap_or_default();
            SECTIONS.iter().any(|section| path[1.min(path.len())..].starts_with(section))
        })
        .collect();
    if !unknown.is_empty() {
        entry["unknown"] = json!(unknown);
    }
    entry
}

/// The known ways out that are open, each with its stable id; what cannot be told is locked with the fact that it depends on.
fn findings(subject: &Subject) -> Value {
    let mut open = ways_out(subject);
    open.sort();
    open.dedup();
    let id = subject.snapshot_json["target"]["id"].as_str().unwrap_or_default();
    let mut open = json!(open);
    without_ids(&mut open, id);
    open
}

/// Takes identity and use out of the parts that are kept.
fn clean(entry: &mut Value, id: &str) {
    for namespace in entry["namespaces"].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
        if let Some(fields) = namespace.as_object_mut() {
            fields.shift_remove("inode");
        }
    }
    if let Some(cgroup) = entry["cgroup"].as_object_mut() {
        cgroup.shift_remove("paths");
        for controller in cgroup.values_mut().filter_map(Value::as_object_mut) {
            for volatile in ["levels", "current", "current_bytes"] {
                controller.shift_remove(volatile);
            }
        }
    }
    let directories = ["lowerdir", "upperdir=", "workdir=", "datadir+="];
    for mount in entry["mounts"].as_array_mut().into_iter().flatten() {
        if mount["fs_type"] == "overlay"
            && let Some(options) = mount["super_options"].as_array_mut()
        {
            options.retain(|option| {
                !directories
                    .iter()
                    .any(|directory| option.as_str().unwrap_or_default().starts_with(directory))
            });
        }
        if ["cgroup", "cgroup2"].contains(&mount["fs_type"].as_str().unwrap_or_default())
            && mount["root"] != "/"
        {
            mount["root"] = "/CGROUP".into();
        }
    }
    if let Some(sysctls) = entry["sysctls"].as_object_mut() {
        let identity = ["kernel.hostname", "kernel.domainname", "kernel.ns_last_pid"];
        sysctls.retain(|name, _| !identity.contains(&name.as_str()) && !name.starts_with("kernel.random."));
    }
    for section in ["mounts", "masked_paths", "read_only_paths"] {
        without_ids(&mut entry[section], id);
    }
}

/// Long runs of hexadecimal digits, and the target's own id, as `ID`: what the comparison of two snapshots does too.
fn without_ids(value: &mut Value, id: &str) {
    match value {
        Value::String(text) => {
            let mut clean = String::new();
            let mut run = String::new();
            let replaced = if id.len() >= 8 { text.replace(id, "ID") } else { text.clone() };
            for letter in replaced.chars().chain(std::iter::once('\0')) {
                if letter.is_ascii_hexdigit() {
                    run.push(letter);
                    continue;
                }
                clean.push_str(if run.len() >= 32 { "ID" } else { &run });
                run.clear();
                if letter != '\0' {
                    clean.push(letter);
                }
            }
            *text = clean;
        }
        Value::Array(items) => items.iter_mut().for_each(|item| without_ids(item, id)),
        Value::Object(fields) => fields.values_mut().for_each(|field| without_ids(field, id)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A filter as it is locked: for the reader how many calls of each architecture it lets through, and the program.
fn locked(program: &Program) -> Value {
    // A filter beyond the engine's budget has no counts; its program is locked all the same.
    let counts = analyse::summary(program).into_iter().flatten().map(|summary| {
        let text = format!(
            "{} allowed, {} refused, {} by argument",
            summary.allowed, summary.refused, summary.conditional
        );
        (summary.arch, text.into())
    });
    let permits: Map<String, Value> = counts.collect();
    json!({"permits": permits, "program": base64::encode(&program.to_bytes())})
}

/// Mode and filters.
fn seccomp(subject: &Subject, filter: impl Fn(&Program) -> Value) -> Value {
    let mode = subject.snapshot_json["seccomp"]["mode"].clone();
    let filters: Value = match &subject.filters {
        Observed::Present(programs) => programs.iter().map(filter).collect(),
        Observed::Absent => json!([]),
        // Of a saved snapshot the digests are left.
        Observed::Unknown(_) => subject.snapshot_json["seccomp"]["filters"]
            .as_array()
            .map(|filters| filters.iter().map(|filter| json!({"sha256": filter["sha256"]})).collect())
            .unwrap_or(Value::Null),
    };
    json!({"mode": mode, "filters": filters})
}
