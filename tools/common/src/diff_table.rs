//! A diff as a table: drawn from the changes, with rows folded where several say the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use plim_model::diff::{Area, Change, Diff, DiffFinding, Effect, Side};
use plim_seccomp::diagram::Undecided;
use serde_json::Value;

use crate::output::{Style, Tone};
use crate::seccomp_diff;
use crate::seccomp_side::Meaning;
use crate::table::{Cell, Table};
use crate::wall::{self, Wall, Words};

/// One row of the table, which stands for one or more changes.
#[derive(Debug, PartialEq)]
struct Row {
    area: Area,
    effect: Effect,
    /// What changed: one thing, or system calls that change alike.
    names: Vec<String>,
    /// What the folded changes differ in: architectures, capability sets.
    variants: Vec<String>,
    /// It is the verdict on a system call.
    is_call: bool,
    condition: String,
    before: String,
    after: String,
}

impl Row {
    fn variants(&self) -> String {
        if self.variants.is_empty() { String::new() } else { format!(" ({})", self.variants.join(", ")) }
    }
}

/// The table of all changes, or the sentence that there is none.
pub fn table(diff: &Diff, style: Style) -> String {
    if diff.changes.is_empty() {
        return if diff.same { "no difference\n" } else { "no difference found; not everything is known\n" }
            .to_owned();
    }
    let mut table = Table::new(style, ["", "AREA", "WHAT", "WHEN", "A", "B"]);
    for row in group(fold(&diff.changes)) {
        let (sign, tone) = match row.effect {
            Effect::More => ("+", Tone::Bad),
            Effect::Less => ("-", Tone::Good),
            Effect::Other => ("~", Tone::Warn),
        };
        let what = match row.names.as_slice() {
            [only] => Cell::new(format!("{only}{}", row.variants())),
            many => {
                let head = format!("{} calls{}:", many.len(), row.variants());
                Cell::lines(std::iter::once(head).chain(lines(many)))
            }
        };
        table.row([
            Cell::new(sign).tone(tone),
            Cell::new(row.area.as_str()).tone(Tone::Dim),
            what,
            Cell::new(row.condition),
            Cell::new(row.before),
            Cell::new(row.after),
        ]);
    }
    let mut text = table.render();
    for finding in findings(diff) {
        text.push_str(&format!("!  {finding}\n"));
    }
    text
}

/// The same rows as plain text: sign, area, what, when, A, B.
pub fn rows(diff: &Diff) -> Vec<[String; 6]> {
    let row = |row: Row| {
        let what = format!("{}{}", row.names.join(", "), row.variants());
        let sign = match row.effect {
            Effect::More => "+",
            Effect::Less => "-",
            Effect::Other => "~",
        };
        [sign.to_owned(), row.area.as_str().to_owned(), what, row.condition, row.before, row.after]
    };
    group(fold(&diff.changes)).into_iter().map(row).collect()
}

/// A page with every change, and the syscall wall on which the calls that differ stand out. `sides` are what both answer by, or why
/// that is not known; `None` where seccomp was not compared.
///
/// # Errors
/// A filter beyond the budget of the decision engine.
pub fn page(
    names: [&str; 2],
    diff: &Diff,
    sides: Option<[Result<&Meaning, &str>; 2]>,
) -> Result<String, Undecided> {
    let title = format!("{} and {}", names[0], names[1]);
    let mut remarks = vec![format!("A: {}", names[0]), format!("B: {}", names[1])];
    if diff.same {
        remarks.push("no difference".to_owned());
    } else if diff.changes.is_empty() {
        remarks.push("no difference found; not everything is known".to_owned());
    } else {
        remarks.push(summary(diff));
    }
    remarks.extend(unknown(diff));
    remarks.extend(findings(diff));
    let mut wall = match sides {
        Some([Ok(a), Ok(b)]) => seccomp_diff::picture(&title, remarks, [a, b])?,
        _ => Wall { title, remarks, ..Wall::default() },
    };
    let rows: Vec<Vec<String>> = rows(diff).into_iter().map(|row| row.to_vec()).collect();
    if !rows.is_empty() {
        let columns = ["", "area", "what", "when", "A", "B"].map(str::to_owned).to_vec();
        wall.tables.push(Words { heading: "what differs".to_owned(), columns, rows });
    }
    Ok(wall::html(&wall))
}

/// How many changes of each effect there are, for people.
pub fn summary(diff: &Diff) -> String {
    let count = |effect| fold(&diff.changes).iter().filter(|row| row.effect == effect).count();
    format!(
        "{} more in B (+), {} less (-), {} other (~)",
        count(Effect::More),
        count(Effect::Less),
        count(Effect::Other)
    )
}

/// What makes a change smaller than it looks, one line each.
pub fn findings(diff: &Diff) -> Vec<String> {
    let line = |finding: &DiffFinding| {
        let DiffFinding { side, id, message, arch, syscall, witness, .. } = finding;
        format!("{id} in {side}: {message}, as {syscall}({}, …) on {arch}", witness.args[0])
    };
    diff.findings.iter().map(line).collect()
}

/// Every unknown fact, those of one side, area and cause in one line.
pub fn unknown(diff: &Diff) -> Vec<String> {
    let mut groups: Vec<((Side, Area, String), Vec<String>)> = Vec::new();
    for fact in &diff.unknown {
        // The operation and its errno; what stands before them names the fact once more.
        let parts: Vec<&str> = fact.why.split(": ").collect();
        let cause = parts[parts.len().saturating_sub(2)..].join(": ");
        let key = (fact.side, fact.area, cause);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, paths)) => paths.push(fact.path.clone()),
            None => groups.push((key, vec![fact.path.clone()])),
        }
    }
    groups
        .into_iter()
        .map(|((side, area, cause), paths)| {
            format!("unknown in {side}: {area}: {cause}: {}", paths.join(" "))
        })
        .collect()
}

/// System calls that change alike, in one row.
fn group(rows: Vec<Row>) -> Vec<Row> {
    let mut groups: Vec<Row> = Vec::new();
    let mut places: HashMap<(Effect, Vec<String>, String, String, String), usize> = HashMap::new();
    for row in rows {
        let key =
            (row.effect, row.variants.clone(), row.condition.clone(), row.before.clone(), row.after.clone());
        let place = if row.is_call { *places.entry(key).or_insert(groups.len()) } else { groups.len() };
        match groups.get_mut(place) {
            Some(group) => group.names.extend(row.names),
            None => groups.push(row),
        }
    }
    groups
}

/// Names as lines of some 60 columns.
fn lines(names: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let word = if index + 1 < names.len() { format!("{name},") } else { name.clone() };
        match lines.last_mut().filter(|line| line.len() + word.len() < 60) {
            Some(line) => {
                line.push(' ');
                line.push_str(&word);
            }
            None => lines.push(word),
        }
    }
    lines
}

fn fold(changes: &[Change]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut places: HashMap<(Area, Effect, String, String, String, String), usize> = HashMap::new();
    for change in changes {
        let (what, variant) = describe(change);
        let row = Row {
            area: change.area,
            effect: change.effect,
            names: vec![what.clone()],
            variants: Vec::new(),
            is_call: change.seccomp.is_some(),
            condition: change.seccomp.as_ref().and_then(|detail| detail.when.clone()).unwrap_or_default(),
            before: value(&change.before),
            after: value(&change.after),
        };
        let key = (row.area, row.effect, what, row.condition.clone(), row.before.clone(), row.after.clone());
        match places.entry(key) {
            Entry::Occupied(place) => rows[*place.get()].variants.extend(variant),
            Entry::Vacant(place) => {
                place.insert(rows.len());
                rows.push(Row { variants: variant.into_iter().collect(), ..row });
            }
        }
    }
    rows
}

/// What changed, and the part of it in which changes may be folded together.
fn describe(change: &Change) -> (String, Option<String>) {
    if let Some(detail) = &change.seccomp {
        return (detail.syscall.clone(), Some(architecture(&detail.arch)));
    }
    let parts: Vec<String> = change.path.split('/').skip(1).map(plim_model::json::unescape).collect();
    match parts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["capabilities", set, capability] => ((*capability).to_owned(), Some((*set).to_owned())),
        [
            "cgroup" | "namespaces" | "rlimits" | "devices" | "sysctls" | "lsm" | "user" | "seccomp",
            rest @ ..,
        ] if !rest.is_empty() => (rest.join(" "), None),
        ["mounts", rest @ ..] if !rest.is_empty() => (rest.join(" "), None),
        [first, rest @ ..] => (
            std::iter::once(first.replace('_', " "))
                .chain(rest.iter().map(|r| (*r).to_owned()))
                .collect::<Vec<_>>()
                .join(" "),
            None,
        ),
        [] => (change.path.clone(), None),
    }
}

/// `x86_64` for `SCMP_ARCH_X86_64`.
fn architecture(scmp: &str) -> String {
    plim_seccomp::Arch::from_scmp_name(scmp).map_or_else(|| scmp.to_owned(), |arch| arch.name().to_owned())
}

/// A value for people: actions as OCI writes them with the error in brackets, lists between commas, nothing as a dash.
pub fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(self::value).collect::<Vec<_>>().join(","),
        Value::Object(fields) => match (fields.get("action").and_then(Value::as_str), fields.get("errno")) {
            (Some(action), None) => action.to_owned(),
            (Some(action), Some(errno)) => format!("{action} ({})", self::value(errno)),
            (None, _) => fields
                .iter()
                .filter(|(_, field)| **field != Value::String(String::new()))
                .map(|(key, field)| format!("{key}={}", self::value(field)))
                .collect::<Vec<_>>()
                .join(" "),
        },
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use plim_seccomp::exact::ExactChange;
    use plim_seccomp::interpret::SeccompData;
    use plim_seccomp::{Action, Arch, Errno};
    use serde_json::json;

    use super::*;

    fn refused(arch: Arch, name: &str, number: u32) -> Change {
        let witness = SeccompData { arch: arch.audit_token(), nr: number, ..SeccompData::default() };
        crate::seccomp_diff::change(ExactChange {
            arch: Some(arch),
            syscall: name.to_owned(),
            number,
            when: None,
            cases: Some(vec![plim_seccomp::diagram::Case::default()]),
            before: Action::Allow,
            after: Action::Errno(Errno::EPERM),
            witness,
        })
    }

    #[test]
    fn architectures_that_agree_are_one_row() {
        let changes = [
            refused(Arch::X86_64, "socket", 41),
            refused(Arch::X86, "socket", 359),
            refused(Arch::X32, "socket", 0x4000_0029),
            refused(Arch::X86_64, "bpf", 321),
        ];
        let text = table(&Diff::new(changes.to_vec(), vec![]), Style::plain(false));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("-  seccomp  socket (x86_64, i386, x32)  "), "{text}");
        assert!(lines[1].ends_with("SCMP_ACT_ALLOW  SCMP_ACT_ERRNO (EPERM)"), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn calls_that_change_alike_are_one_row() {
        let names: Vec<String> = (100..140).map(|number| format!("call_{number}")).collect();
        let changes: Vec<Change> =
            names.iter().zip(100..).map(|(name, nr)| refused(Arch::X86_64, name, nr)).collect();
        let text = table(&Diff::new(changes, vec![]), Style::plain(false));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("-  seccomp  40 calls (x86_64):  "), "{text}");
        assert!(lines[2].trim_start().starts_with("call_100, call_101, "), "{text}");
        assert!(names.iter().all(|name| text.contains(name)), "{text}");
        assert_eq!(lines.len(), 9, "{text}");
    }

    #[test]
    fn values_for_people() {
        for (written, expected) in [
            (json!(null), "-"),
            (json!("max"), "max"),
            (json!(5), "5"),
            (json!(["ro", "nodev"]), "ro,nodev"),
            (json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}), "SCMP_ACT_ERRNO (EPERM)"),
            (json!({"action": "SCMP_ACT_ALLOW"}), "SCMP_ACT_ALLOW"),
            (json!({"fs_type": "ext4", "source": "", "options": ["rw"]}), "fs_type=ext4 options=rw"),
        ] {
            assert_eq!(value(&written), expected);
        }
    }
}
