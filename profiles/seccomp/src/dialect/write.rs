//! A profile in another dialect, with a word on everything that dialect cannot say.
//!
//! Sources: the OCI runtime specification (config-linux.md, "Seccomp"), moby's profiles/seccomp and containers/common's
//! pkg/seccomp types.

use serde_json::{Map, Value, json};

use super::{Architectures, Dialect, Scope, Written, WrittenRule};
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::Condition;
use crate::resolve::Facts;

/// What became of a part of the profile that the dialect has no words for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Decided for the facts that were given; under other facts the profile meant something else.
    Settled,
    /// Said nowhere; no answer of the filter depends on it.
    Dropped,
    /// Said nowhere, and the filter works otherwise without it.
    Lost,
}

impl Fate {
    /// The word in machine-readable output.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Settled => "settled",
            Fate::Dropped => "dropped",
            Fate::Lost => "lost",
        }
    }
}

/// One part of a profile that the dialect cannot say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsaid {
    /// JSON pointer into the profile as it was written; the top level is empty.
    pub pointer: String,
    /// What became of it.
    pub fate: Fate,
    /// In words.
    pub what: String,
}

/// A profile in another dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The text.
    pub json: Value,
    /// What it cannot say, in the order of the profile.
    pub unsaid: Vec<Unsaid>,
}

/// Writes a profile in `dialect`. What the dialect cannot say is settled for `facts` where they decide it.
///
/// ```
/// use plim_model::CapabilitySet;
/// use plim_seccomp::{Arch, dialect::{self, Dialect, write}, resolve::{Facts, KernelVersion}};
/// let written = dialect::parse(br#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"],
///     "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_BPF"]}}]}"#).unwrap();
/// let facts = Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 });
/// let oci = write(&written, Dialect::Oci, &facts);
/// assert_eq!(oci.json["syscalls"][0]["names"][0], "bpf");
/// assert_eq!(oci.unsaid[0].pointer, "/syscalls/0/excludes");
/// ```
pub fn write(written: &Written, dialect: Dialect, facts: &Facts) -> Rewritten {
    let mut writer = Writer { from: written.dialect, to: dialect, facts, unsaid: Vec::new() };
    let mut json = Map::new();
    if let Some(default) = written.default_action {
        json.insert("defaultAction".to_owned(), default.name().into());
        writer.error(&mut json, default, ["defaultErrnoRet", "defaultErrno"]);
        writer.refused_action(default, "/defaultAction");
    }
    writer.architectures(&mut json, &written.architectures);
    if !written.flags.is_empty() {
        json.insert("flags".to_owned(), written.flags.iter().map(|flag| flag.name()).collect());
    }
    for (key, text) in
        [("listenerPath", &written.listener_path), ("listenerMetadata", &written.listener_metadata)]
    {
        match text {
            Some(text) if dialect != Dialect::Podman => {
                json.insert(key.to_owned(), text.as_str().into());
            }
            Some(_) => writer.unsaid(format!("/{key}"), Fate::Lost, "Podman has no such key"),
            None => {}
        }
    }
    if written.default_action.is_some() {
        let rules: Vec<Value> = written.rules.iter().filter_map(|rule| writer.rule(rule)).collect();
        json.insert("syscalls".to_owned(), rules.into());
    }
    Rewritten { json: json.into(), unsaid: writer.unsaid }
}

struct Writer<'f> {
    from: Dialect,
    to: Dialect,
    facts: &'f Facts,
    unsaid: Vec<Unsaid>,
}

impl Writer<'_> {
    fn unsaid(&mut self, pointer: String, fate: Fate, what: impl Into<String>) {
        self.unsaid.push(Unsaid { pointer, fate, what: what.into() });
    }

    /// The data of an action, which is always written: what is left out differs between the dialects.
    fn error(&self, json: &mut Map<String, Value>, action: Action, [number, name]: [&str; 2]) {
        match action {
            Action::Errno(errno) => {
                json.insert(number.to_owned(), errno.number().into());
                if let (Dialect::Podman, Some(errno)) = (self.to, errno.name()) {
                    json.insert(name.to_owned(), errno.into());
                }
            }
            Action::Trace(data) => {
                json.insert(number.to_owned(), data.into());
            }
            _ => {}
        }
    }

    fn refused_action(&mut self, action: Action, pointer: &str) {
        if self.to == Dialect::Podman && action == Action::Notify {
            self.unsaid(
                pointer.to_owned(),
                Fate::Lost,
                "Podman does not take SCMP_ACT_NOTIFY: it refuses such a profile",
            );
        }
    }

    fn architectures(&mut self, json: &mut Map<String, Value>, architectures: &Architectures) {
        let names = |list: &[Arch]| -> Value { list.iter().map(|arch| arch.scmp_name()).collect() };
        match architectures {
            Architectures::Native => {}
            Architectures::List(list) => {
                json.insert("architectures".to_owned(), names(list));
            }
            Architectures::Map(map) if self.to != Dialect::Oci => {
                let entry = |(arch, companions): &(Arch, Vec<Arch>)| json!({"architecture": arch.scmp_name(), "subArchitectures": names(companions)});
                json.insert("archMap".to_owned(), map.iter().map(entry).collect());
            }
            Architectures::Map(map) => {
                let native = self.facts.arch;
                let companions =
                    map.iter().find(|(arch, _)| *arch == native).map(|(_, companions)| companions);
                let list: Vec<Arch> =
                    std::iter::once(native).chain(companions.into_iter().flatten().copied()).collect();
                json.insert("architectures".to_owned(), names(&list));
                let what =
                    format!("the entry of {native} is taken: OCI lists the architectures of one machine");
                self.unsaid("/archMap".to_owned(), Fate::Settled, what);
            }
        }
    }

    /// The entry; `None` where it is settled that it does not apply.
    fn rule(&mut self, rule: &WrittenRule) -> Option<Value> {
        let mut json = Map::new();
        json.insert("names".to_owned(), rule.names.iter().map(String::as_str).collect());
        json.insert("action".to_owned(), rule.action.name().into());
        self.error(&mut json, rule.action, ["errnoRet", "errno"]);
        self.refused_action(rule.action, &format!("{}/action", rule.pointer));
        if !rule.conditions.is_empty() {
            json.insert("args".to_owned(), rule.conditions.iter().map(Condition::to_json).collect());
        }
        let scopes = [("includes", &rule.includes), ("excludes", &rule.excludes)];
        let mut applies = true;
        for (key, scope) in scopes {
            let pointer = format!("{}/{key}", rule.pointer);
            let mut said = scope.clone();
            if self.to == Dialect::Oci {
                let holds = self.holds(key, scope);
                if let Some(holds) = holds {
                    applies &= holds;
                    let so = if holds { "applies" } else { "does not apply, and is left out" };
                    let what = format!("under these facts the entry {so}; OCI has no {key}");
                    self.unsaid(pointer, Fate::Settled, what);
                }
                continue;
            }
            if let Some(oldest) = scope.min_kernel
                && self.to == Dialect::Podman
            {
                said.min_kernel = None;
                let pointer = format!("{pointer}/minKernel");
                if self.from == Dialect::Podman {
                    self.unsaid(pointer, Fate::Dropped, "Podman passes over minKernel");
                } else {
                    let new_enough = self.facts.kernel >= oldest;
                    applies &= new_enough == (key == "includes");
                    let than = if new_enough { "is that new" } else { "is older" };
                    let what = format!("kernel {} {than}; Podman has no minKernel", self.facts.kernel);
                    self.unsaid(pointer, Fate::Settled, what);
                }
            }
            if said != Scope::default() {
                json.insert(key.to_owned(), scope_json(&said, self.from == Dialect::Podman));
            }
        }
        match &rule.comment {
            Some(comment) if self.to != Dialect::Oci => {
                json.insert("comment".to_owned(), comment.as_str().into());
            }
            Some(_) => {
                self.unsaid(format!("{}/comment", rule.pointer), Fate::Dropped, "OCI has no comments");
            }
            None => {}
        }
        applies.then(|| json.into())
    }

    /// Whether an entry with this scope applies under the facts; `None` for an empty scope.
    fn holds(&self, key: &str, scope: &Scope) -> Option<bool> {
        if *scope == Scope::default() {
            return None;
        }
        let kernel = scope.min_kernel.filter(|_| self.from != Dialect::Podman);
        let new_enough = kernel.map(|oldest| self.facts.kernel >= oldest);
        let (arches, caps) = (&scope.arches, scope.caps);
        Some(match key {
            "includes" => {
                (arches.is_empty() || arches.contains(&self.facts.arch))
                    && caps.difference(self.facts.caps).is_empty()
                    && new_enough.unwrap_or(true)
            }
            _ => {
                !arches.contains(&self.facts.arch)
                    && caps.intersection(self.facts.caps).is_empty()
                    && !new_enough.unwrap_or(false)
            }
        })
    }
}

/// `without_kernel`: a release that its own dialect passes over must not begin to count.
fn scope_json(scope: &Scope, without_kernel: bool) -> Value {
    let mut json = Map::new();
    if !scope.arches.is_empty() {
        json.insert("arches".to_owned(), scope.arches.iter().map(|arch| arch.profile_name()).collect());
    }
    if !scope.caps.is_empty() {
        json.insert("caps".to_owned(), scope.caps.iter().map(|cap| cap.to_string()).collect());
    }
    if let Some(oldest) = scope.min_kernel.filter(|_| !without_kernel) {
        json.insert("minKernel".to_owned(), oldest.to_string().into());
    }
    json.into()
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
