//! What `verify` and `shrink` share: which workload is run, by whom.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use plim_learn::proposal::Proposal;
use plim_learn::recording::Workload;
use plim_learn::stop::Stop;
use plim_learn::trial::{Engine, Trials};

use crate::input;
use crate::verbs::propose::ChoiceArgs;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TrialArgs {
    /// A proposal, a recording, or a directory of recordings (with a proposal.json in it: that)
    #[arg(value_name = "PROPOSAL")]
    pub(crate) proposal: PathBuf,
    /// Who runs the container: plim, docker or podman
    #[arg(long, value_name = "ENGINE", default_value = "plim", value_parser = ["plim", "docker", "podman"])]
    engine: String,
    /// The image that docker or podman run
    #[arg(long, value_name = "IMAGE", required_if_eq_any = [("engine", "docker"), ("engine", "podman")])]
    image: Option<String>,
    /// Run this shell command beside the container and end with it; its status 0 means that the workload works [default: that
    /// of the recording; without one the workload's own status tells]
    #[arg(long, value_name = "SHELL COMMAND")]
    test: Option<String>,
    /// Run this shell command before every run: it puts back what an earlier one has changed [default: that of the recording]
    #[arg(long, value_name = "SHELL COMMAND")]
    before: Option<String>,
    /// The longest that one run may take
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = input::duration)]
    timeout: Duration,
    #[command(flatten)]
    choices: ChoiceArgs,
    /// Options of plim run, docker run or podman run: one word each
    #[arg(long = "run-option", value_name = "WORD", allow_hyphen_values = true)]
    options: Vec<String>,
    /// Another command than was recorded
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
}

impl TrialArgs {
    pub(crate) fn read(&self) -> Result<(Proposal, Trials)> {
        let proposal = input::proposal(&self.proposal, &self.choices.choices())?;
        let mut workload = match (&proposal.workload, self.command.is_empty()) {
            (Some(workload), _) => workload.clone(),
            (None, false) => Workload::default(),
            (None, true) if self.image.is_some() => Workload::default(),
            (None, true) => bail!(
                "{}: a container that was running already was recorded; say how it is run again: -- COMMAND, or --engine and --image",
                self.proposal.display()
            ),
        };
        if !self.command.is_empty() {
            workload.command.clone_from(&self.command);
        }
        workload.options.extend(self.options.iter().cloned());
        workload.test = self.test.clone().or(workload.test);
        workload.before = self.before.clone().or(workload.before);
        let engine = match self.engine.as_str() {
            "plim" => Engine::Plim,
            program => Engine::Other {
                program: program.to_owned(),
                image: self.image.clone().with_context(|| format!("--engine {program} needs --image"))?,
            },
        };
        Ok((proposal, Trials::new(workload, engine, self.timeout, Stop::new()?)?))
    }
}
