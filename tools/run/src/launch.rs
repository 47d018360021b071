//! The container runs, in the foreground or in the background.

use std::path::Path;

use anyhow::{Context, Result, bail};
use plim_model::Snapshot;
use plim_observe::{Neighbours, Selected, SnapshotOptions};
use plim_runtime::config::ContainerConfig;
use plim_runtime::{RuntimeError, Stdio};
use plim_tools_common::output;

use crate::options::Options;
use crate::{learning, tracing};

/// Docker's status for "docker run itself failed".
pub(crate) const LAUNCHER_FAILED: u8 = 125;

/// A container that did not start, and the status that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    /// 125, 126 or 127, or 128+n when signal n asked the launcher to stop.
    pub(crate) status: u8,
    /// What and why.
    pub(crate) error: anyhow::Error,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure { status: LAUNCHER_FAILED, error }
    }
}

impl From<RuntimeError> for Failure {
    fn from(error: RuntimeError) -> Failure {
        Failure { status: error.exit_code(), error: error.into() }
    }
}

/// Starts the container in the background and prints its id.
///
/// # Errors
/// It did not start; nothing is left.
pub(crate) fn detached(config: &ContainerConfig) -> Result<u8, Failure> {
    plim_runtime::run_detached(config)?;
    // The container runs and is not stopped because nobody reads its id.
    let _ = output::to_stdout(format!("{}\n", config.id).as_bytes());
    Ok(0)
}

/// Runs the container to its end.
///
/// # Errors
/// It did not start, or could not be observed as asked, or something could not be cleared away.
pub(crate) fn foreground(config: &ContainerConfig, options: &Options) -> Result<u8, Failure> {
    for (option, path) in [("--snapshot", &options.snapshot), ("--learn", &options.learn)] {
        if let Some(path) = path {
            check_place(option, path)?;
        }
    }
    let stdio = if options.interactive { Stdio::inherit() } else { Stdio::without_input() };
    let stdio = tracing::stdio(options, stdio)?;
    // Loaded before anything is made: then a kernel or a caller that cannot trace costs nothing.
    let prepared = if options.trace { Some(tracing::Prepared::new(options)?) } else { None };
    let recorder = options.learn.as_deref().map(|path| learning::Prepared::new(options, path)).transpose()?;
    if prepared.is_none() && recorder.is_none() && options.snapshot.is_none() {
        return Ok(plim_runtime::run(config, stdio)?.wait()?.code());
    }
    let created = plim_runtime::create(config, stdio)?;
    let learning = recorder.map(|recorder| recorder.attach(config, created.pid())).transpose()?;
    let tracing = prepared.map(|prepared| prepared.attach(config, created.pid())).transpose()?;
    let running = match &options.snapshot {
        None => created.start()?,
        Some(path) => {
            let mut taken = None;
            let running = created.start_observed(|pid| taken = Some(snapshot(config, pid)))?;
            // On an error the container is dropped, which ends it: who asks for a snapshot relies on it.
            let taken = taken.context("the container was not observed").and_then(|taken| taken);
            write(path, taken.context("--snapshot")?)?;
            running
        }
    };
    let exit = running.wait()?;
    if let Some(tracing) = tracing {
        tracing.end()?;
    }
    if let Some(learning) = learning {
        learning.end()?;
    }
    Ok(exit.code())
}

fn snapshot(config: &ContainerConfig, pid: plim_model::HostPid) -> Result<Snapshot> {
    let name = Some(config.name.clone());
    let target = Selected::container("plim", &config.id, name, pid, config.image.clone())?;
    let (neighbours, _) = Neighbours::survey();
    Ok(plim_observe::snapshot_with(&target, &SnapshotOptions { already_stopped: true, neighbours })?)
}

/// Finds out before anything is made that what is to be written would have no place.
fn check_place(option: &str, path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let is_directory =
        std::fs::metadata(parent).with_context(|| format!("{option} {}", path.display()))?.is_dir();
    if !is_directory || path.is_dir() {
        bail!("{option} {}: not the path of a file", path.display());
    }
    Ok(())
}

fn write(path: &Path, snapshot: Snapshot) -> Result<()> {
    let text = format!("{:#}\n", snapshot.to_json());
    if path == Path::new("-") {
        output::to_stdout(text.as_bytes())
    } else {
        output::write_atomically(path, text.as_bytes()).context("--snapshot")
    }
}
