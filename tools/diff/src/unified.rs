//! `--format unified`: both sides as readable text, drawn with `similar`. It shows; the comparison decides.

use plim_model::Snapshot;
use plim_model::diff::{Area, AreaSet};
use plim_tools_common::output::{Style, Tone};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

/// The unified diff of two texts.
pub(crate) fn draw(names: (&str, &str), a: &str, b: &str, style: Style) -> String {
    let diff = TextDiff::from_lines(a, b);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(2).iter_hunks() {
        if text.is_empty() {
            text.push_str(&format!("{}\n", style.paint(Tone::Strong, &format!("--- {}", names.0))));
            text.push_str(&format!("{}\n", style.paint(Tone::Strong, &format!("+++ {}", names.1))));
        }
        text.push_str(&format!("{}\n", style.paint(Tone::Dim, hunk.header().to_string().trim_end())));
        for change in hunk.iter_changes() {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ("-", Tone::Good),
                ChangeTag::Insert => ("+", Tone::Bad),
                ChangeTag::Equal => (" ", Tone::Plain),
            };
            text.push_str(&style.paint(tone, &format!("{sign}{}", change.value().trim_end_matches('\n'))));
            text.push('\n');
        }
    }
    text
}

/// A snapshot as `path = value` lines of the asked areas, without what only names it or changes by itself.
pub(crate) fn snapshot(snapshot: &Snapshot, areas: &AreaSet) -> String {
    let json = plim_model::diff::without_identity(snapshot).to_json();
    let mut lines = Vec::new();
    for (key, area) in [
        ("namespaces", Area::Namespaces),
        ("id_maps", Area::Namespaces),
        ("capabilities", Area::Capabilities),
        ("no_new_privs", Area::Capabilities),
        ("seccomp", Area::Seccomp),
        ("cgroup", Area::Cgroups),
        ("mounts", Area::Mounts),
        ("masked_paths", Area::Mounts),
        ("read_only_paths", Area::Mounts),
        ("engine_sockets", Area::Mounts),
        ("lsm", Area::Lsm),
        ("rlimits", Area::Rlimits),
        ("devices", Area::Devices),
        ("user", Area::User),
        ("sysctls", Area::Sysctls),
        ("odd_processes", Area::Processes),
    ] {
        if areas.contains(area) {
            flatten(key, &json[key], &mut lines);
        }
    }
    lines.iter().map(|line| format!("{}\n", plim_tools_common::escape(line))).collect()
}

/// Fields that name the target or change by themselves.
const VOLATILE: [&str; 8] =
    ["inode", "current", "current_bytes", "levels", "paths", "pid", "container_pid", "shared_with"];

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields.iter().filter(|(key, _)| !VOLATILE.contains(&key.as_str())) {
                flatten(&format!("{path}.{key}"), field, lines);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            for item in items {
                // Entries of a keyed list go by their key, so that a new one does not rename the rest.
                let key = ["target", "path", "comm", "arch"].iter().find_map(|key| item.get(*key));
                let key = key.map_or_else(String::new, plim_tools_common::diff_table::value);
                flatten(&format!("{path}[{key}]"), item, lines);
            }
        }
        // One line per member of a set.
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            lines.extend(
                items.iter().map(|item| format!("{path} has {}", plim_tools_common::diff_table::value(item))),
            );
        }
        value => lines.push(format!("{path} = {}", plim_tools_common::diff_table::value(value))),
    }
}
