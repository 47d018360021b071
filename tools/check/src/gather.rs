//! Targets as subjects: files and directories, stdin, command lines, and what runs. In two steps, so that a tool can confine
//! itself between them: [`collect`] makes every system call, [`Collected::understand`] parses.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use plim_model::{Observed, Snapshot};
use plim_observe::{Neighbours, Selected, SnapshotOptions};
use plim_policy::declared::{self, Workload};
use plim_policy::finding::NotApplicable;
use plim_policy::judge::Subject;
use plim_policy::text::{Limits, read};
use plim_seccomp::bpf::Program;
use plim_seccomp::dialect;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::target::{TargetName, fetch, find_live};

use crate::files::Files;

/// Command lines to judge.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct CommandLines {
    /// Judge what this command line (docker run, podman run, nerdctl run) would start
    #[arg(long = "cmdline", value_name = "COMMAND")]
    pub lines: Vec<String>,
    /// Judge every container command of a script or Markdown file (- for stdin)
    #[arg(long = "cmdline-file", value_name = "FILE")]
    pub files: Vec<String>,
}

/// What was named, read and not yet looked at.
#[derive(Clone, Debug, Default)]
pub struct Collected {
    items: Vec<Item>,
    notes: Vec<String>,
    incomplete: bool,
}

/// One thing that was named.
#[derive(Clone, Debug)]
enum Item {
    Live(Box<Live>),
    File {
        name: String,
        bytes: Vec<u8>,
    },
    /// Files below a directory, which holds other things too.
    Directory {
        name: String,
        files: Vec<(String, Vec<u8>)>,
    },
    /// A command line, or a file of them.
    CommandLine {
        file: Option<String>,
        text: String,
    },
}

/// What the kernel and the engine say of something that runs.
#[derive(Clone, Debug)]
struct Live {
    selected: Selected,
    snapshot: Snapshot,
    filters: Observed<Vec<Program>>,
    /// An OCI specification (plim's) or what the engine's API answers (Docker's); absent where nobody was asked for anything.
    declared: Observed<serde_json::Value>,
    seccomp: Observed<serde_json::Value>,
}

/// What was named, ready to be judged.
#[derive(Debug, Default)]
pub struct Gathered {
    /// What can be judged, in the order of the command line.
    pub subjects: Vec<Subject>,
    /// Objects that ask for no containers.
    pub not_applicable: Vec<NotApplicable>,
    /// What a person should hear.
    pub notes: Vec<String>,
    /// An engine could not be asked, or a target died.
    pub incomplete: bool,
}

/// Reads all targets of a command line.
///
/// # Errors
/// The first target that cannot be read.
pub fn collect(targets: &[String], all: bool, command_lines: &CommandLines) -> anyhow::Result<Collected> {
    let mut collected = Collected::default();
    let mut options: Option<SnapshotOptions> = None;
    if all {
        let options = options.get_or_insert_with(|| neighbours(&mut collected));
        let (targets, unasked) = plim_observe::all();
        // The containers of an engine that does not answer are not seen, which the survey has told.
        collected.incomplete |= !unasked.is_empty();
        for selected in targets {
            let name = selected.target_name();
            match live(selected, options) {
                Ok(live) => collected.items.push(Item::Live(live)),
                Err(error) => {
                    collected.notes.push(format!("{name}: {error:#}"));
                    collected.incomplete = true;
                }
            }
        }
    }
    for word in targets {
        let target = TargetName::parse(word)?;
        match &target {
            TargetName::Preset(name) => {
                anyhow::bail!(
                    "preset:{name} is a seccomp profile; policies judge containers and what asks for them"
                )
            }
            TargetName::File(path) if path.is_dir() => {
                collected.items.push(Item::Directory { name: word.clone(), files: directory(path)? });
            }
            TargetName::File(_) | TargetName::Stdin => {
                let Some(fetched) = fetch(&target)? else { continue };
                let name = if target == TargetName::Stdin { "stdin" } else { word.as_str() };
                let bytes = fetched.into_bytes();
                collected.items.push(Item::File { name: name.to_owned(), bytes });
            }
            _ => {
                let options = options.get_or_insert_with(|| neighbours(&mut collected));
                let live = live(find_live(&target)?, options)
                    .with_context(|| format!("target {target}"))
                    .or_status(exit::UNOBSERVABLE)?;
                collected.items.push(Item::Live(live));
            }
        }
    }
    let typed = command_lines.lines.iter().map(|text| Item::CommandLine { file: None, text: text.clone() });
    collected.items.extend(typed);
    for file in &command_lines.files {
        let (target, name) = match file.as_str() {
            "-" => (TargetName::Stdin, "stdin"),
            path => (TargetName::File(path.into()), path),
        };
        let Some(fetched) = fetch(&target)? else { continue };
        let text = String::from_utf8(fetched.into_bytes())
            .with_context(|| format!("{name}: not a text of command lines"))?;
        let script = plim_docker::markdown::script(&text);
        for (line, text) in &script.left {
            let text: String = text.chars().take(80).collect();
            collected.notes.push(format!(
                "{name}: line {line}: `{text}` is not judged: it is not in a block of shell commands"
            ));
            collected.incomplete = true;
        }
        collected.items.push(Item::CommandLine { file: Some(name.to_owned()), text: script.text });
    }
    Ok(collected)
}

fn neighbours(collected: &mut Collected) -> SnapshotOptions {
    let (neighbours, unasked) = Neighbours::survey();
    for error in unasked {
        collected
            .notes
            .push(format!("{:#}; its containers are not compared with", anyhow::Error::from(error)));
    }
    SnapshotOptions { already_stopped: false, neighbours }
}

fn live(selected: Selected, options: &SnapshotOptions) -> anyhow::Result<Box<Live>> {
    let snapshot = plim_observe::snapshot_with(&selected, options)?;
    let filters = plim_observe::filters::read(selected.pid);
    let bare = matches!(selected.engine.as_str(), "pid" | "self" | "host");
    let declared = match plim_observe::declared(&selected) {
        Ok(Some(json)) => Observed::Present(json),
        Ok(None) if bare => Observed::Absent,
        Ok(None) => plim_observe::declared_spec(&selected),
        Err(error) => Observed::Unknown(format!("{:#}", anyhow::Error::from(error))),
    };
    let seccomp = plim_observe::declared_seccomp(&selected);
    Ok(Box::new(Live { selected, snapshot, filters, declared, seccomp }))
}

impl Collected {
    /// Reads the seccomp profiles that manifests, Compose files and command lines name.
    pub fn add_profiles_to(&self, files: &mut Files) {
        let mut add = |bytes: &[u8], name: &str| {
            if let Ok(text) = std::str::from_utf8(bytes) {
                files.add_profiles(text, Some(Path::new(name)));
            }
        };
        for item in &self.items {
            match item {
                Item::Live(_) => {}
                Item::File { name, bytes } => add(bytes, name),
                Item::Directory { files, .. } => files.iter().for_each(|(name, bytes)| add(bytes, name)),
                Item::CommandLine { file, text } => add(text.as_bytes(), file.as_deref().unwrap_or_default()),
            }
        }
    }

    /// Parses everything: from here on it is computation alone.
    ///
    /// # Errors
    /// The first target that is none, with what was found and what was expected.
    pub fn understand(self) -> anyhow::Result<Gathered> {
        let mut gathered = Gathered { notes: self.notes, incomplete: self.incomplete, ..Gathered::default() };
        for item in self.items {
            match item {
                Item::Live(live) => gathered.subjects.push(live.subject()),
                Item::File { name, bytes } => file(&name, &bytes, &mut gathered)?,
                Item::Directory { name, files } => below(&name, &files, &mut gathered)?,
                Item::CommandLine { file, text } => {
                    command_lines(file.as_deref(), &text, &mut gathered)?;
                }
            }
        }
        Ok(gathered)
    }
}

/// Every container that a text of commands asks for.
fn command_lines(file: Option<&str>, text: &str, gathered: &mut Gathered) -> anyhow::Result<()> {
    let at = file.unwrap_or("--cmdline");
    let lines = match declared::command_line::read_all(text) {
        Ok(lines) => lines,
        Err(error) if file.is_some() => return Err(error).with_context(|| at.to_owned()),
        Err(error) => return Err(error.into()),
    };
    for (what, why, line) in lines.not_judged {
        gathered.notes.push(format!("{at}: line {line}: `{what}` is not judged: {why}"));
        gathered.incomplete = true;
    }
    if !lines.skipped.is_empty() {
        gathered.notes.push(format!("{at}: commands that run no container: {}", lines.skipped.join(", ")));
    }
    gathered
        .subjects
        .extend(lines.workloads.into_iter().map(|workload| Subject::of_workload(workload, file)));
    Ok(())
}

impl Live {
    fn subject(self) -> Subject {
        let Selected { name, id, .. } = &self.selected;
        let stem = name.as_deref().unwrap_or(id);
        let workload = match &self.declared {
            Observed::Present(json) => asked_for(json, stem).map(Some),
            Observed::Absent => Ok(None),
            Observed::Unknown(why) => Err(why.clone()),
        };
        let mut subject = Subject::of_snapshot(&self.selected.target_name(), self.snapshot, self.filters);
        match workload {
            Ok(workload) => subject.workload = workload,
            Err(why) => subject.workload_unknown = Some(why),
        }
        subject.declared_seccomp = match &self.seccomp {
            Observed::Present(json) => match dialect::parse(json.to_string().as_bytes()) {
                Ok(written) => Observed::Present(Box::new(written)),
                Err(error) => {
                    Observed::Unknown(format!("linux.seccomp of the engine's configuration: {error}"))
                }
            },
            Observed::Absent => Observed::Absent,
            Observed::Unknown(why) => Observed::Unknown(why.clone()),
        };
        subject
    }
}

/// What the engine was asked for, or why its answer is not understood.
fn asked_for(json: &serde_json::Value, stem: &str) -> Result<Workload, String> {
    let text = json.to_string();
    let documents =
        read(&text, Limits::INPUT).map_err(|error| format!("the engine's configuration: {error}"))?;
    let declared =
        declared::read(&documents, stem).map_err(|error| format!("the engine's configuration: {error}"))?;
    declared
        .workloads
        .into_iter()
        .next_back()
        .ok_or_else(|| "the engine's configuration is of no container".to_owned())
}

/// All files below a directory that may be manifests, in the order of their paths.
fn directory(path: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    /// Directories inside each other.
    const DEEPEST: usize = 32;
    fn walk(path: &Path, left: usize, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("read directory {}", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read directory {}", path.display()))?;
            let kind = entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden {
                anyhow::ensure!(
                    left > 0,
                    "read directory {}: more than {DEEPEST} directories inside each other",
                    path.display()
                );
                walk(&entry.path(), left - 1, into)?;
            } else if kind.is_file()
                && entry.path().extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
            {
                into.push(entry.path());
            }
        }
        Ok(())
    }
    let mut paths = Vec::new();
    walk(path, DEEPEST, &mut paths)?;
    paths.sort();
    let mut left = MAX_BYTES;
    let mut files = Vec::new();
    for path in paths {
        let name = path.display().to_string();
        let mut bytes = Vec::new();
        std::fs::File::open(&path)
            .and_then(|file| file.take(left + 1).read_to_end(&mut bytes))
            .with_context(|| format!("read {name}"))?;
        left = left.checked_sub(bytes.len() as u64).with_context(|| {
            format!(
                "read {name}: the files of the directory are larger than {} MiB together",
                MAX_BYTES >> 20
            )
        })?;
        files.push((name, bytes));
    }
    Ok(files)
}

/// Bytes of all files of one directory.
const MAX_BYTES: u64 = 512 << 20;

fn below(name: &str, files: &[(String, Vec<u8>)], gathered: &mut Gathered) -> anyhow::Result<()> {
    let before = gathered.subjects.len();
    for (name, bytes) in files {
        // Directories hold other things too; a manifest that is broken is an error all the same.
        if looks_judgeable(bytes) {
            file(name, bytes, gathered)?;
        } else {
            gathered.notes.push(format!("{name}: not a manifest; not judged"));
        }
    }
    anyhow::ensure!(
        gathered.subjects.len() > before,
        "{name}: no manifest, Compose file or snapshot in {} files",
        files.len()
    );
    Ok(())
}

/// Whether a file claims to be something that can be judged, whether or not it is well-formed.
fn looks_judgeable(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let has = |key: &str| {
        text.lines().any(|line| {
            let line = line
                .trim_start()
                .trim_start_matches(['{', '"', '[', '-'])
                .trim_start()
                .trim_start_matches('"');
            line.strip_prefix(key)
                .is_some_and(|rest| rest.trim_start_matches('"').trim_start().starts_with(':'))
        })
    };
    let inline = |key: &str| text.contains(&format!("\"{key}\""));
    has("apiVersion") && has("kind")
        || has("services")
        || has("ociVersion")
        || ["HostConfig", "rootfs", "RootFS", "namespaces", "apiVersion", "ociVersion"]
            .iter()
            .any(|key| inline(key))
}

fn file(name: &str, bytes: &[u8], gathered: &mut Gathered) -> anyhow::Result<()> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        anyhow::anyhow!("read {name}: not text; policies judge containers and what asks for them")
    })?;
    if let Some(snapshots) = snapshots(text).with_context(|| format!("read {name}"))? {
        for snapshot in snapshots {
            let info = &snapshot.target;
            let target = format!("{}:{}", info.engine, info.name.as_deref().unwrap_or(&info.id));
            let filters = Subject::saved_filters(&snapshot);
            let mut subject = Subject::of_snapshot(&target, snapshot, filters);
            subject.place = Some(plim_policy::Where { file: name.to_owned(), line: 1 });
            gathered.subjects.push(subject);
        }
        return Ok(());
    }
    let documents = read(text, Limits::INPUT).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    anyhow::ensure!(!documents.is_empty(), "{name}: no document in it");
    let stem =
        Path::new(name).file_stem().map_or(name.to_owned(), |stem| stem.to_string_lossy().into_owned());
    let declared = declared::read(&documents, &stem).map_err(|error| anyhow::anyhow!("{name}: {error}"))?;
    for workload in declared.workloads {
        let oci = workload.form == declared::Form::Oci;
        let mut subject = Subject::of_workload(workload, Some(name));
        if oci {
            subject.declared_seccomp = match dialect::parse(bytes) {
                Ok(written) => Observed::Present(Box::new(written)),
                Err(error) => Observed::Unknown(format!("linux.seccomp: {error}")),
            };
        }
        gathered.subjects.push(subject);
    }
    gathered.not_applicable.extend(declared.not_applicable.into_iter().map(|(target, why)| NotApplicable {
        target,
        why,
        rules: Vec::new(),
    }));
    Ok(())
}

/// The snapshots of a JSON document, one or the list that `plim inspect` prints of several; `None` where it is another document, or
/// none that can be read: its reader knows line and column.
fn snapshots(text: &str) -> anyhow::Result<Option<Vec<Snapshot>>> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    let named = ["\"format\"", "\"target\"", "\"engine\""].iter().all(|key| text.contains(key));
    // There are no more values than these letters; what is beyond the limits is told by the other reader.
    let values = || text.bytes().filter(|byte| b",:[{".contains(byte)).count();
    if !text.starts_with(['{', '['])
        || !named
        || text.len() > Limits::INPUT.bytes
        || values() > Limits::INPUT.values * 2
    {
        return Ok(None);
    }
    let Ok(json) = plim_model::json::parse(text.as_bytes()) else { return Ok(None) };
    if !is_snapshot(json.get(0).unwrap_or(&json)) {
        return Ok(None);
    }
    let list = match json {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    let read = list.into_iter().map(|one| Snapshot::from_json(one).context("snapshot"));
    read.collect::<anyhow::Result<_>>().map(Some)
}

/// Whether a document says of itself that it is one, whatever the order of its keys.
fn is_snapshot(document: &serde_json::Value) -> bool {
    !document["format"].is_null() && !document["target"]["engine"].is_null()
}
