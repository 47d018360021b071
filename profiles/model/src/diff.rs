//! The structural diff of two snapshots: what B reaches that A does not, and the other way round.
//!
//! It compares meaning. Identity is no difference: namespace inodes, pids, container ids and names, cgroup paths,
//! overlay directories, and whatever changes by itself (memory in use, number of processes). What could not be observed
//! on either side is neither the same nor different; it is listed apart, and a diff with such a list never says *same*.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Snapshot;

mod cgroups;
mod comparison;
mod identity;
mod mounts;
mod namespaces;
mod rest;
mod seccomp;

use comparison::Comparison;

/// Version of the diff's JSON form; a minor bump adds fields, a major bump changes meaning.
///
/// 1.1: verdicts on system calls carry a `witness`, and those of architectures that neither side names are told in the same form, with
/// `"arch": "other architectures"`. A reader of 1.0 may pass over both.
///
/// 1.2: `findings`: what makes a difference smaller than it looks. A reader of 1.1 may pass over them.
pub const DIFF_FORMAT: &str = "1.2";

/// A part of a snapshot that can be compared alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// Namespaces shared with the host or with others, and id maps.
    Namespaces,
    /// The five capability sets and no_new_privs.
    Capabilities,
    /// Seccomp mode and filters, or profiles.
    Seccomp,
    /// Limits of memory, CPU, tasks and block I/O.
    Cgroups,
    /// Mounts, masked and read-only paths, reachable engine sockets.
    Mounts,
    /// Labels of security modules.
    Lsm,
    /// Resource limits of getrlimit(2).
    Rlimits,
    /// Device nodes and rules.
    Devices,
    /// User and groups.
    User,
    /// Namespaced sysctls.
    Sysctls,
    /// Processes confined differently from the first one.
    Processes,
}

impl Area {
    /// Every area, in the order of the output.
    pub const ALL: [Area; 11] = [
        Area::Namespaces,
        Area::Capabilities,
        Area::Seccomp,
        Area::Cgroups,
        Area::Mounts,
        Area::Lsm,
        Area::Rlimits,
        Area::Devices,
        Area::User,
        Area::Sysctls,
        Area::Processes,
    ];

    /// The area's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Area::Namespaces => "namespaces",
            Area::Capabilities => "capabilities",
            Area::Seccomp => "seccomp",
            Area::Cgroups => "cgroups",
            Area::Mounts => "mounts",
            Area::Lsm => "lsm",
            Area::Rlimits => "rlimits",
            Area::Devices => "devices",
            Area::User => "user",
            Area::Sysctls => "sysctls",
            Area::Processes => "processes",
        }
    }

    /// The area with this word.
    pub fn from_name(name: &str) -> Option<Area> {
        Area::ALL.into_iter().find(|area| area.as_str() == name)
    }

    /// The area that the value at this JSON pointer of a snapshot belongs to.
    fn of_pointer(pointer: &str) -> Option<Area> {
        Some(match pointer.trim_start_matches('/').split('/').next()? {
            "namespaces" | "id_maps" => Area::Namespaces,
            "capabilities" | "no_new_privs" => Area::Capabilities,
            "seccomp" => Area::Seccomp,
            "cgroup" => Area::Cgroups,
            "mounts" | "masked_paths" | "read_only_paths" | "engine_sockets" => Area::Mounts,
            "lsm" => Area::Lsm,
            "rlimits" => Area::Rlimits,
            "devices" => Area::Devices,
            "user" => Area::User,
            "sysctls" => Area::Sysctls,
            "odd_processes" => Area::Processes,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// The areas to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaSet(BTreeSet<Area>);

impl AreaSet {
    /// Every area.
    pub fn all() -> AreaSet {
        Area::ALL.into_iter().collect()
    }

    /// Whether `area` is to be compared.
    pub fn contains(&self, area: Area) -> bool {
        self.0.contains(&area)
    }
}

impl FromIterator<Area> for AreaSet {
    fn from_iter<I: IntoIterator<Item = Area>>(areas: I) -> AreaSet {
        AreaSet(areas.into_iter().collect())
    }
}

/// Whether B reaches more than A by a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// B reaches what A does not, and loses nothing by it.
    More,
    /// B reaches less.
    Less,
    /// Neither is known to contain the other.
    Other,
}

impl Effect {
    /// From what B gained and what it lost.
    pub fn from_sides(gained: bool, lost: bool) -> Effect {
        match (gained, lost) {
            (true, false) => Effect::More,
            (false, true) => Effect::Less,
            _ => Effect::Other,
        }
    }

    /// From two values of which the greater reaches more.
    pub fn by_order<T: Ord>(before: &T, after: &T) -> Effect {
        Effect::from_sides(after > before, after < before)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::More => "more",
            Effect::Less => "less",
            Effect::Other => "other",
        }
    }
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// What only a change of a seccomp verdict has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeccompDetail {
    /// `SCMP_ARCH_X86_64`, `SCMP_ARCH_X86`, …; `other architectures` for all that neither side names.
    pub arch: String,
    /// Name of the system call; `(numbers without a name)` for all that have none.
    pub syscall: String,
    /// Its number on that architecture; of several the lowest.
    pub number: u32,
    /// For which arguments, in words of conditions; null for all.
    pub when: Option<String>,
    /// A call that gets these two verdicts (since format 1.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
}

/// One call, as a filter sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Witness {
    /// The number.
    pub nr: u32,
    /// The six arguments, in hexadecimal with 0x.
    pub args: [String; 6],
    /// The `AUDIT_ARCH_` token of the call, where the architecture beside it does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_token: Option<u32>,
    /// The instruction pointer in hexadecimal, where it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction_pointer: Option<String>,
}

/// One difference. `before` is A's side and `after` is B's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Part of the snapshot.
    pub area: Area,
    /// JSON pointer of the value in a snapshot, where members of a set and entries of a keyed list are named by
    /// themselves (`/capabilities/bounding/CAP_NET_RAW`, `/mounts/~1proc/options`).
    pub path: String,
    /// A's value; null when A has none.
    pub before: Value,
    /// B's value; null when B has none.
    pub after: Value,
    /// Whether B reaches more by it.
    pub effect: Effect,
    /// Present for verdicts on system calls.
    #[serde(flatten)]
    pub seccomp: Option<SeccompDetail>,
}

/// The side of a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The first target.
    A,
    /// The second target.
    B,
    /// The two together.
    Both,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Side::A => "A",
            Side::B => "B",
            Side::Both => "A and B",
        })
    }
}

/// A fact that the diff needed and that was not observed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct UnknownFact {
    /// On which side.
    pub side: Side,
    /// In which area.
    pub area: Area,
    /// JSON pointer into that side's snapshot.
    pub path: String,
    /// Why it is not known.
    pub why: String,
}

/// What a reader of the changes should know besides: a call that one side refuses can be made there in another way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct DiffFinding {
    /// The side that refuses the call.
    pub side: Side,
    /// The class, as `plim seccomp lint` has it: `PLIM-S002`.
    pub id: String,
    /// What is found, one sentence.
    pub message: String,
    /// What shows it, one fact each.
    pub evidence: Vec<String>,
    /// What to do about it.
    pub remedy: String,
    /// The architecture of the call that gets through, as `plim seccomp eval` takes it.
    pub arch: String,
    /// Its name.
    pub syscall: String,
    /// The call.
    pub witness: Witness,
}

/// The whole result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diff {
    /// [`DIFF_FORMAT`].
    pub format: String,
    /// No change, and nothing that was needed is unknown.
    pub same: bool,
    /// Sorted by area and path; verdicts on system calls by architecture and number.
    pub changes: Vec<Change>,
    /// What was needed and not observed; left out of the JSON when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<UnknownFact>,
    /// What makes a change smaller than it looks; left out of the JSON when there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<DiffFinding>,
}

impl Diff {
    /// Sorts, and decides `same`.
    pub fn new(mut changes: Vec<Change>, mut unknown: Vec<UnknownFact>) -> Diff {
        // Changes of verdicts keep the order in which they come, by architecture and number, behind the rest of the area.
        changes.sort_by(|x, y| {
            let key = |change: &Change| (change.area, change.seccomp.is_some());
            key(x).cmp(&key(y)).then_with(|| match x.seccomp {
                Some(_) => std::cmp::Ordering::Equal,
                None => x.path.cmp(&y.path),
            })
        });
        unknown.sort();
        unknown.dedup();
        Diff {
            format: DIFF_FORMAT.to_owned(),
            same: changes.is_empty() && unknown.is_empty(),
            changes,
            unknown,
            findings: Vec::new(),
        }
    }

    /// The same with findings, sorted.
    #[must_use]
    pub fn with_findings(mut self, mut findings: Vec<DiffFinding>) -> Diff {
        findings.sort();
        self.findings = findings;
        self
    }

    /// Whether no change shows that A reaches something that B does not. A change that is neither more nor less counts
    /// against it, except between two ways to refuse a call (another error number) or two ways to make it (logged or
    /// not). With [`Diff::unknown`] facts this alone is no proof.
    pub fn a_within_b(&self) -> bool {
        // A supervisor or a tracer may do anything with the call.
        let delegates = |verdict: &Value| {
            matches!(verdict["action"].as_str(), None | Some("SCMP_ACT_NOTIFY" | "SCMP_ACT_TRACE"))
        };
        self.changes.iter().all(|change| match change.effect {
            Effect::More => true,
            Effect::Less => false,
            Effect::Other => !delegates(&change.before) && !delegates(&change.after),
        })
    }
}

/// The JSON Schema of [`Diff`]; committed as `schema/diff-1.2.json`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Diff);
    schema.insert("title".to_owned(), "Plimsoll diff".into());
    schema.insert("x-format".to_owned(), DIFF_FORMAT.into());
    schema.to_value()
}

/// How installed seccomp filters are compared: a snapshot holds their digests and not their programs.
#[derive(Clone, Debug)]
pub enum Filters {
    /// By digest and summary: equal digests are the same; other filters are unknown unless their summaries differ.
    Summaries,
    /// Somebody who has the programs compared them.
    Compared {
        /// Verdicts that differ, in [`Area::Seccomp`].
        changes: Vec<Change>,
        /// What could not be decided: of which side, and why.
        unknown: Vec<(Side, String)>,
    },
}

/// Compares two snapshots in the given areas.
pub fn compare(a: &Snapshot, b: &Snapshot, areas: &AreaSet, filters: Filters) -> Diff {
    let mut comparison = Comparison::default();
    for area in Area::ALL.into_iter().filter(|area| areas.contains(*area)) {
        comparison.area = Some(area);
        match area {
            Area::Namespaces => namespaces::compare(&mut comparison, a, b),
            Area::Capabilities => rest::capabilities(&mut comparison, a, b),
            Area::Seccomp => seccomp::compare(&mut comparison, a, b, &filters),
            Area::Cgroups => cgroups::compare(&mut comparison, a, b),
            Area::Mounts => mounts::compare(&mut comparison, a, b),
            Area::Lsm => rest::lsm(&mut comparison, a, b),
            Area::Rlimits => rest::rlimits(&mut comparison, a, b),
            Area::Devices => rest::devices(&mut comparison, a, b),
            Area::User => rest::user(&mut comparison, a, b),
            Area::Sysctls => rest::sysctls(&mut comparison, a, b),
            Area::Processes => rest::processes(&mut comparison, a, b),
        }
    }
    for (side, snapshot) in [(Side::A, a), (Side::B, b)] {
        for entry in &snapshot.unknown {
            if let Some(area) = Area::of_pointer(&entry.path).filter(|area| areas.contains(*area)) {
                let (path, why) = (entry.path.clone(), entry.why.clone());
                comparison.unknown.push(UnknownFact { side, area, path, why });
            }
        }
    }
    Diff::new(comparison.changes, comparison.unknown)
}

/// The snapshot with the places of its mounts as [`compare`] sees them: what names the target and gives it nothing (its id,
/// its cgroup's path, the directories of its layers) is the same on every side. For texts that people compare.
#[must_use]
pub fn without_identity(snapshot: &Snapshot) -> Snapshot {
    let mut plain = snapshot.clone();
    if let crate::Observed::Present(list) = &mut plain.mounts {
        for mount in list {
            *mount = mounts::anonymous(mount, &snapshot.target);
        }
    }
    plain
}

/// The changes of [`compare`] by summaries alone. Callers that must not mistake unknown for same use [`compare`].
pub fn snapshots(a: &Snapshot, b: &Snapshot, areas: &AreaSet) -> Vec<Change> {
    compare(a, b, areas, Filters::Summaries).changes
}
