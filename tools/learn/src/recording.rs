//! What a workload was seen to use: plain data, versioned, and joined without loss.

use std::collections::BTreeMap;

use plim_trace::denial::Denial;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the document. A reader of an older minor version ignores fields that it does not know.
pub const FORMAT: &str = "1.0";

/// How the workload is run again: `plim run OPTIONS COMMAND`, or the same with Docker or Podman.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Options of `plim run` but for those of its confinement and its name.
    pub options: Vec<String>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// A shell command, run outside beside the container: it tells with status 0 that the workload does its work. Without it the
    /// workload's own status tells.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub test: Option<String>,
    /// A shell command, run outside before every run: it puts back what an earlier run has changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
}

/// Options of `plim run` that say how confined the container is, or that belong to one run alone: a trial puts its own in their place.
/// Those with a value, and those without.
const NOT_KEPT: [(&str, bool); 18] = [
    ("--cap-add", true),
    ("--cap-drop", true),
    ("--learn", true),
    ("--name", true),
    ("--snapshot", true),
    ("--trace-format", true),
    ("--trace-output", true),
    ("--trace-cause", true),
    ("--trace-syscall", true),
    ("--privileged", false),
    ("--read-only", false),
    ("--trace", false),
    ("--trace-live", false),
    ("--trace-times", false),
    ("--rm", false),
    ("--detach", false),
    ("-d", false),
    ("--", false),
];

impl Workload {
    /// Takes the words of a `plim run` command line apart: `words` without the command at their end.
    pub fn of(words: &[String], command: &[String]) -> Workload {
        let options = without(words, &NOT_KEPT);
        let mut kept = Vec::new();
        let mut options = options.into_iter();
        while let Some(word) = options.next() {
            let value = match word.split_once('=') {
                Some(("--security-opt", value)) => Some(value.to_owned()),
                None if word == "--security-opt" => options.next(),
                _ => {
                    kept.push(word);
                    continue;
                }
            };
            match value {
                Some(value) if value.starts_with("seccomp=") || value.starts_with("no-new-privileges") => {}
                Some(value) => kept.push(format!("--security-opt={value}")),
                None => {}
            }
        }
        Workload { options: kept, command: command.to_vec(), test: None, before: None }
    }

    /// The options less those that say where the files come from: an engine has them from an image.
    pub fn options_beside_image(&self) -> Vec<String> {
        without(&self.options, &FILES)
    }
}

/// Words less these options and their values. An option is `--name value`, `--name=value` or, without a value, `--name`.
fn without(words: &[String], options: &[(&str, bool)]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value)),
            _ => (word.as_str(), None),
        };
        match options.iter().find(|(known, _)| *known == name) {
            Some((_, true)) if value.is_none() => drop(words.next()),
            Some(_) => {}
            None => kept.push(word.clone()),
        }
    }
    kept
}

/// Options of `plim run` that say where the files come from.
const FILES: [(&str, bool); 2] = [("--rootfs", true), ("--bundle", true)];

/// Whose use was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recorded {
    /// The engine: `plim`, `docker`, …
    pub engine: String,
    /// The engine's name for the container; empty for one that `plim run` made up a name for.
    pub name: String,
}

/// One argument of a call that tells what it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ArgumentUse {
    /// Its number, 0 to 5.
    pub index: u8,
    /// Its name (`family`).
    pub name: String,
    /// The bits of it that count, in hexadecimal.
    pub value: String,
    /// The same in words (`AF_INET`).
    pub word: String,
}

/// A system call with equal telling arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CallUse {
    /// `x86_64`, `i386` or `x32`.
    pub arch: String,
    /// Its name; `null` for a number without one.
    pub syscall: Option<String>,
    /// Its number, bit 30 of x32 included.
    pub number: u32,
    /// Made by the runtime between the filter and the execve of the command.
    pub runtime: bool,
    /// Telling arguments.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub args: Vec<ArgumentUse>,
    /// How often.
    pub count: u64,
}

/// A capability that the kernel asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilityUse {
    /// Which (`CAP_NET_RAW`).
    pub capability: String,
    /// It was held.
    pub granted: bool,
    /// With the process' own credentials, not those of somebody in whose place it acts (the mounter of an overlay).
    pub as_itself: bool,
    /// In the container's own user namespace.
    pub own_namespace: bool,
    /// In which calls, and how often.
    pub calls: BTreeMap<String, u64>,
}

/// A file that was made, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileUse {
    /// Its path in the container; the components beyond the last 32 are missing, and of each 63 bytes are kept.
    pub path: String,
    /// The workload made it.
    pub created: bool,
    /// By which calls.
    pub calls: Vec<String>,
    /// The path is longer than what is kept of it, and not known in whole.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cut: bool,
}

/// A device that was opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceUse {
    /// Its path in the container.
    pub path: String,
    /// `c` or `b`.
    pub kind: String,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// `r`, `w` or `rw`.
    pub access: String,
}

/// A socket that was bound or listened on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SocketUse {
    /// `AF_INET`, …
    pub family: String,
    /// `SOCK_STREAM`, …
    pub r#type: String,
    /// Address, or path of a Unix socket.
    pub address: String,
    /// Port; 0 for a family without ports.
    pub port: u16,
    /// It listens, or receives without a connection.
    pub listens: bool,
}

/// Equal refusals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// How often.
    pub count: u64,
    /// The first of them.
    #[serde(flatten)]
    pub denial: Denial,
}

/// What was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Missed {
    /// Calls and capabilities for which the kernel's tables had no room.
    pub calls: u64,
    /// Files, devices and sockets for which the ring had no room.
    pub files: u64,
    /// Refusals for which the ring had no room.
    pub refusals: u64,
    /// Program runs that the kernel skipped because one was running on the processor.
    pub skipped_runs: u64,
    /// Operations submitted to an io_uring: they pass no filter, and what they do was not seen.
    #[serde(default)]
    pub ring_operations: u64,
    /// The kernel has io_uring and does not show what is submitted to it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub rings_hidden: bool,
}

impl Missed {
    /// Whether everything was seen.
    pub fn is_nothing(self) -> bool {
        self == Missed::default()
    }

    /// What is to be said of it.
    pub fn words(self) -> String {
        let hidden =
            if self.rings_hidden { "; operations of io_uring are not shown by this kernel" } else { "" };
        format!(
            "not everything was seen: {} calls, {} files and {} refusals found no room, the kernel skipped {} runs of the programs, and {} \
             operations were submitted to an io_uring{hidden}",
            self.calls, self.files, self.refusals, self.skipped_runs, self.ring_operations
        )
    }
}

/// What one workload used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// `1.0`
    pub format: String,
    /// How it is run again; `null` for a container that was running already.
    pub workload: Option<Workload>,
    /// Whose.
    pub recorded: Recorded,
    /// Capabilities that the container had to give: its bounding set.
    pub granted: Vec<String>,
    /// The kernel lets capabilities be seen. Without it `capabilities` says nothing.
    pub sees_capabilities: bool,
    /// Calls that were made.
    pub calls: Vec<CallUse>,
    /// Capabilities that the kernel asked for.
    pub capabilities: Vec<CapabilityUse>,
    /// Files that were made, changed or removed.
    pub files: Vec<FileUse>,
    /// Devices that were opened.
    pub devices: Vec<DeviceUse>,
    /// Sockets that were bound.
    pub sockets: Vec<SocketUse>,
    /// Programs that gave their caller more than it had (set-user-ID, file capabilities), by `comm`.
    pub privileged_programs: Vec<String>,
    /// Calls that were refused.
    pub refused: Vec<Refused>,
    /// What was not seen.
    pub missed: Missed,
}

/// The JSON Schema of a recording.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(Recording).to_value()
}

impl Recording {
    /// Reads a recording.
    ///
    /// # Errors
    /// It is none, or of another major version.
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Recording> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| {
            anyhow::anyhow!("expected a recording of plim learn (an object with \"format\"): {error}")
        })?;
        let major = |format: &str| format.split('.').next().map(str::to_owned);
        anyhow::ensure!(major(&head.format) == major(FORMAT), "format {:?}: expected {FORMAT}", head.format);
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Joins another recording of the same workload to this one: whatever either used.
    pub fn merge(&mut self, other: Recording) {
        self.workload = self.workload.take().or(other.workload);
        self.granted.extend(other.granted);
        self.granted.sort();
        self.granted.dedup();
        self.sees_capabilities &= other.sees_capabilities;
        join(&mut self.calls, other.calls, call_key, |one, other| one.count += other.count);
        join(&mut self.capabilities, other.capabilities, capability_key, |one, other| {
            for (name, count) in other.calls {
                *one.calls.entry(name).or_default() += count;
            }
        });
        join(
            &mut self.files,
            other.files,
            |file| file.path.clone(),
            |one, other| {
                one.created |= other.created;
                one.calls.extend(other.calls);
                one.calls.sort();
                one.calls.dedup();
            },
        );
        join(&mut self.devices, other.devices, device_key, |one, other| {
            one.access = access(
                one.access.contains('r') || other.access.contains('r'),
                one.access.contains('w') || other.access.contains('w'),
            );
        });
        join(&mut self.sockets, other.sockets, socket_key, |one, other| one.listens |= other.listens);
        self.privileged_programs.extend(other.privileged_programs);
        self.privileged_programs.sort();
        self.privileged_programs.dedup();
        join(&mut self.refused, other.refused, refused_key, |one, other| one.count += other.count);
        self.missed.calls += other.missed.calls;
        self.missed.files += other.missed.files;
        self.missed.refusals += other.missed.refusals;
        self.missed.skipped_runs += other.missed.skipped_runs;
        self.missed.ring_operations += other.missed.ring_operations;
        self.missed.rings_hidden |= other.missed.rings_hidden;
    }
}

/// `r`, `w` or `rw`.
pub(crate) fn access(read: bool, write: bool) -> String {
    [(read, 'r'), (write, 'w')].iter().filter(|(on, _)| *on).map(|(_, letter)| letter).collect()
}

/// Adds rows to sorted rows: of equal keys one row is made.
pub(crate) fn join<T, K: Ord>(
    rows: &mut Vec<T>,
    others: Vec<T>,
    key: impl Fn(&T) -> K,
    mut add: impl FnMut(&mut T, T),
) {
    let mut all: BTreeMap<K, T> = std::mem::take(rows).into_iter().map(|row| (key(&row), row)).collect();
    for other in others {
        match all.entry(key(&other)) {
            std::collections::btree_map::Entry::Occupied(mut row) => add(row.get_mut(), other),
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(other)),
        }
    }
    *rows = all.into_values().collect();
}

pub(crate) fn call_key(call: &CallUse) -> (bool, String, u32, Vec<ArgumentUse>) {
    (call.runtime, call.arch.clone(), call.number, call.args.clone())
}

pub(crate) fn capability_key(one: &CapabilityUse) -> (String, bool, bool, bool) {
    (one.capability.clone(), !one.granted, !one.as_itself, !one.own_namespace)
}

pub(crate) type DeviceKey = (String, u32, u32, String);

pub(crate) fn device_key(device: &DeviceUse) -> DeviceKey {
    (device.kind.clone(), device.major, device.minor, device.path.clone())
}

pub(crate) type SocketKey = (String, String, String, u16);

pub(crate) fn socket_key(socket: &SocketUse) -> SocketKey {
    (socket.family.clone(), socket.r#type.clone(), socket.address.clone(), socket.port)
}

/// What makes refusals equal: not who asked nor when, and no addresses or numbers.
pub(crate) type RefusedKey = [String; 6];

pub(crate) fn refused_key(refused: &Refused) -> RefusedKey {
    let denial = &refused.denial;
    [
        denial.syscall.clone().unwrap_or_else(|| denial.number.to_string()),
        denial.errno.clone().unwrap_or_default(),
        denial.cause.kind.as_str().to_owned(),
        format!("{:?} {:?}", denial.cause.capability, denial.cause.rule),
        denial
            .decoded
            .values()
            .filter_map(|value| value.as_str())
            .filter(|word| !word.starts_with("0x") && word.parse::<i64>().is_err())
            .collect::<Vec<_>>()
            .join(", "),
        denial.arch.clone(),
    ]
}

#[cfg(test)]
#[path = "recording_tests.rs"]
mod tests;
