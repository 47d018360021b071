//! Recordings and proposals on disk.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use plim_learn::proposal::Proposal;
use plim_learn::propose::{Choices, propose};
use plim_learn::recording::Recording;

/// The largest document that is read.
const MAX_BYTES: u64 = 256 << 20;
/// The proposal of a directory.
const PROPOSAL: &str = "proposal.json";

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut limited: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin().take(MAX_BYTES + 1))
    } else {
        Box::new(
            std::fs::File::open(path)
                .with_context(|| format!("open {}", path.display()))?
                .take(MAX_BYTES + 1),
        )
    };
    limited.read_to_end(&mut bytes).with_context(|| format!("read {}", path.display()))?;
    ensure!(bytes.len() as u64 <= MAX_BYTES, "{}: larger than {} MiB", path.display(), MAX_BYTES >> 20);
    Ok(bytes)
}

/// The recordings of a directory, by name.
pub(crate) fn recordings_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))? {
        let path = entry.with_context(|| format!("read {}", dir.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("recording-") && name.ends_with(".json") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The text of each recording that is named, and where it is from.
pub(crate) fn read_recordings(paths: &[PathBuf]) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = recordings_of(path)?;
            ensure!(!found.is_empty(), "{}: no recording-*.json in it", path.display());
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    files.into_iter().map(|file| Ok((file.clone(), read(&file)?))).collect()
}

/// What they say, merged.
pub(crate) fn merged(texts: &[(PathBuf, Vec<u8>)]) -> Result<Recording> {
    let mut all: Option<Recording> = None;
    for (file, text) in texts {
        let one = Recording::parse(text).with_context(|| file.display().to_string())?;
        match &mut all {
            Some(all) => all.merge(one),
            None => all = Some(one),
        }
    }
    all.context("no recording is named")
}

/// All recordings that are named, merged.
pub(crate) fn recordings(paths: &[PathBuf]) -> Result<Recording> {
    merged(&read_recordings(paths)?)
}

/// The proposal that a path names: its own file, the one in a directory, or one made of recordings.
pub(crate) fn proposal(path: &Path, choices: &Choices) -> Result<Proposal> {
    if path.is_dir() {
        let own = path.join(PROPOSAL);
        if own.is_file() {
            return Proposal::parse(&read(&own)?).with_context(|| own.display().to_string());
        }
        return Ok(propose(&recordings(&[path.to_owned()])?, choices));
    }
    let bytes = read(path)?;
    let document: serde_json::Value = serde_json::from_slice(&bytes)
        .with_context(|| format!("{}: expected a recording or a proposal of plim learn", path.display()))?;
    if document.get("recorded").is_some() {
        let recording = Recording::parse(&bytes).with_context(|| path.display().to_string())?;
        return Ok(propose(&recording, choices));
    }
    if document.get("no_new_privileges").is_none() {
        bail!("{}: expected a recording or a proposal of plim learn", path.display());
    }
    Proposal::parse(&bytes).with_context(|| path.display().to_string())
}

/// A time: `500ms`, `10s`, `5m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    plim_trace::options::duration(text)
}
