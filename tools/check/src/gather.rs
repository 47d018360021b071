//! Targets as subjects: files and directories, stdin, command lines, and what runs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use plim_model::{Observed, Snapshot};
use plim_observe::{Neighbours, Selected, SnapshotOptions};
use plim_policy::declared::{self, Declared};
use plim_policy::finding::NotApplicable;
use plim_policy::judge::Subject;
use plim_policy::text::{Limits, read};
use plim_seccomp::dialect;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::target::{TargetName, fetch, find_live};

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
/// The first target that cannot be read, with what was found and what was expected.
pub fn gather(targets: &[String], all: bool, command_lines: &[String]) -> anyhow::Result<Gathered> {
    let mut gathered = Gathered::default();
    let mut options: Option<SnapshotOptions> = None;
    if all {
        let options = options.get_or_insert_with(|| neighbours(&mut gathered));
        let (targets, _) = plim_observe::all();
        for selected in targets {
            match live(&selected, options) {
                Ok(subject) => gathered.subjects.push(subject),
                Err(error) => {
                    gathered.notes.push(format!("{}: {error:#}", selected.target_name()));
                    gathered.incomplete = true;
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
            TargetName::File(path) if path.is_dir() => directory(path, &mut gathered)?,
            TargetName::File(_) | TargetName::Stdin => {
                let Some(fetched) = fetch(&target)? else { continue };
                let name = if target == TargetName::Stdin { "stdin" } else { word.as_str() };
                file(name, fetched.bytes(), &mut gathered)?;
            }
            _ => {
                let options = options.get_or_insert_with(|| neighbours(&mut gathered));
                let selected = find_live(&target)?;
                let subject = live(&selected, options)
                    .with_context(|| format!("target {target}"))
                    .or_status(exit::UNOBSERVABLE)?;
                gathered.subjects.push(subject);
            }
        }
    }
    for text in command_lines {
        gathered.subjects.push(Subject::of_workload(declared::command_line::read(text)?, None));
    }
    Ok(gathered)
}

fn neighbours(gathered: &mut Gathered) -> SnapshotOptions {
    let (neighbours, unasked) = Neighbours::survey();
    for error in unasked {
        gathered
            .notes
            .push(format!("{:#}; its containers are not compared with", anyhow::Error::from(error)));
    }
    SnapshotOptions { already_stopped: false, neighbours }
}

/// Everything that is known of one running target.
fn live(selected: &Selected, options: &SnapshotOptions) -> anyhow::Result<Subject> {
    let snapshot = plim_observe::snapshot_with(selected, options)?;
    let filters = plim_observe::filters::read(selected.pid);
    let mut subject = Subject::of_snapshot(&selected.target_name(), snapshot, filters);
    subject.declared_seccomp = match plim_observe::declared_seccomp(selected) {
        Observed::Present(json) => match dialect::parse(json.to_string().as_bytes()) {
            Ok(written) => Observed::Present(Box::new(written)),
            Err(error) => Observed::Unknown(format!("linux.seccomp of the engine's configuration: {error}")),
        },
        Observed::Absent => Observed::Absent,
        Observed::Unknown(why) => Observed::Unknown(why),
    };
    // An OCI specification (plim's) or what the engine's API answers (Docker's).
    if let Ok(Some(json)) = plim_observe::declared(selected) {
        let mut declared = Declared::default();
        if let Ok(documents) = read(&json.to_string(), Limits::INPUT)
            && let Ok(found) = declared::read(&documents, selected.name.as_deref().unwrap_or(&selected.id))
        {
            declared = found;
        }
        subject.workload = declared.workloads.pop();
    }
    Ok(subject)
}

/// All manifests below a directory, in the order of their paths.
fn directory(path: &Path, gathered: &mut Gathered) -> anyhow::Result<()> {
    /// Directories inside each other.
    const DEEPEST: usize = 32;
    fn walk(path: &Path, left: usize, into: &mut Vec<PathBuf>) -> anyhow::Result<()> {
        let entries =
            std::fs::read_dir(path).with_context(|| format!("read directory {}", path.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("read directory {}", path.display()))?;
            let kind = entry.file_type().with_context(|| format!("look at {}", entry.path().display()))?;
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if kind.is_dir() && !hidden && left > 0 {
                walk(&entry.path(), left - 1, into)?;
            } else if kind.is_file()
                && entry.path().extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
            {
                into.push(entry.path());
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    walk(path, DEEPEST, &mut files)?;
    files.sort();
    let before = gathered.subjects.len();
    for path in &files {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("read {name}"))?;
        // Directories hold other things too; a manifest that is broken is an error all the same.
        if looks_judgeable(&bytes) {
            file(&name, &bytes, gathered)?;
        } else {
            gathered.notes.push(format!("{name}: not a manifest; not judged"));
        }
    }
    anyhow::ensure!(
        gathered.subjects.len() > before,
        "{}: no manifest, Compose file or snapshot in {} files",
        path.display(),
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

/// The snapshots of a file: one, or the list that `plim inspect` prints of several; `None` where it holds something else.
fn snapshots(text: &str) -> anyhow::Result<Option<Vec<Snapshot>>> {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if !text.starts_with(['{', '[']) {
        return Ok(None);
    }
    // Cheap, and never true of a manifest: a snapshot's first key.
    let head: String = text.chars().take(200).filter(|letter| !letter.is_whitespace()).collect();
    if !head.starts_with("{\"format\":") && !head.starts_with("[{\"format\":") {
        return Ok(None);
    }
    let json: serde_json::Value = serde_json::from_str(text)?;
    let list = match json {
        serde_json::Value::Array(list) => list,
        one => vec![one],
    };
    list.into_iter()
        .map(|one| Snapshot::from_json(one).context("snapshot"))
        .collect::<anyhow::Result<_>>()
        .map(Some)
}
