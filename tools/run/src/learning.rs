//! `--learn`: the recorder is attached while the command is still held back, and its recording is written at the end.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use plim_learn::recording::Workload;
use plim_learn::session::{Prepared as Recorder, Session};
use plim_observe::Selected;
use plim_runtime::config::ContainerConfig;
use plim_tools_common::output;

use crate::options::Options;

/// A recorder that is loaded; the container is not made yet.
pub(crate) struct Prepared {
    recorder: Recorder,
    path: PathBuf,
    workload: Workload,
}

/// A recorder that sees the container.
pub(crate) struct Learning {
    session: Session,
    path: PathBuf,
    workload: Workload,
}

impl Prepared {
    /// Loads the recorder.
    ///
    /// # Errors
    /// The privilege or kernel feature that is missing.
    pub(crate) fn new(options: &Options, path: &Path) -> Result<Prepared> {
        let recorder = Recorder::new().context("--learn")?;
        let words: Vec<String> =
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        // The command and its arguments are the last words.
        let own = words.len().saturating_sub(options.command.len());
        let workload = Workload::of(&words[..own], &options.command);
        Ok(Prepared { recorder, path: path.to_owned(), workload })
    }

    /// Attaches the recorder to the container, whose command has not been started.
    ///
    /// # Errors
    /// The container shares the host's pid namespace, or the kernel refuses.
    pub(crate) fn attach(self, config: &ContainerConfig, pid: plim_model::HostPid) -> Result<Learning> {
        let name = Some(config.name.clone());
        let target = Selected::container("plim", &config.id, name, pid, config.image.clone())?;
        let declared = config.seccomp.as_ref().map(|seccomp| vec![seccomp.program.clone()]);
        let granted = Some(config.process.capabilities.bounding);
        let session = self.recorder.attach(&target, false, declared, granted).context("--learn")?;
        Ok(Learning { session, path: self.path, workload: self.workload })
    }
}

impl Learning {
    /// Detaches the recorder and writes what it saw.
    ///
    /// # Errors
    /// It could not be written.
    pub(crate) fn end(self) -> Result<()> {
        let mut recording = self.session.end(Some(self.workload)).context("--learn")?;
        // A made-up name says nothing, and differs from run to run.
        recording.recorded.name.clear();
        if !recording.missed.is_nothing() {
            crate::tell(&format!("--learn: {}", recording.missed.words()));
        }
        let text = plim_tools_common::output::json_text(&recording).context("--learn")?;
        if self.path == Path::new("-") {
            output::to_stdout(text.as_bytes())
        } else {
            output::write_atomically(&self.path, text.as_bytes()).context("--learn")
        }
    }
}
