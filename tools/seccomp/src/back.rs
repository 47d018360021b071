//! A decision function written back as a profile, with a word on what a profile cannot say.

use std::path::PathBuf;

use clap::ValueEnum;
use plim_seccomp::Arch;
use plim_seccomp::decompile::{Decompiled, decompile};
use plim_seccomp::diagram::{Diagram, Store};
use plim_seccomp::resolve::EnosysAbove;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::output::Destination;

use crate::shapes;

/// Where the profile goes.
#[derive(clap::Args)]
pub(crate) struct BackArgs {
    /// What is written
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "profile")]
    format: Format,
    /// Write to FILE, replacing it only when it is whole
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Say less on stderr
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The profile alone, in OCI's dialect.
    Profile,
    /// The profile, whether it is exact, and what it cannot say, versioned.
    Json,
}

impl BackArgs {
    pub(crate) fn destination(&self) -> anyhow::Result<Destination> {
        match &self.output {
            Some(path) => Destination::file(path),
            None => Ok(Destination::stdout()),
        }
    }

    /// Writes `diagram` as a profile. Exit status 1: a profile cannot say all of it.
    pub(crate) fn write(
        &self,
        out: Destination,
        store: &mut Store,
        diagram: Diagram,
        native: Option<Arch>,
    ) -> anyhow::Result<u8> {
        let back = decompile(store, diagram, native).or_status(exit::UNOBSERVABLE)?;
        match self.format {
            Format::Profile => out.emit_json(&back.profile)?,
            Format::Json => out.emit_json(&shapes::WrittenBack::of(&back))?,
        }
        crate::notes(&talk(&back, self.quiet))?;
        Ok(if back.is_exact() { exit::CLEAN } else { exit::DIFFERENT })
    }
}

fn talk(back: &Decompiled, quiet: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if !quiet && back.is_exact() {
        let how = match back.enosys_above {
            EnosysAbove::HighestNamed => "as runc installs it, with ENOSYS for calls newer than the profile",
            EnosysAbove::Never => "without ENOSYS for calls newer than the profile, which runc adds",
        };
        lines.push(format!(
            "proven: the profile means the same for a machine of {}, {how}",
            back.native.name()
        ));
    }
    lines.extend(back.reasons.iter().map(|reason| format!("cannot be said: {reason}")));
    lines.extend(back.lost.iter().map(|change| {
        let arch = change.arch.map_or("other architectures", Arch::name);
        let when = change.when.as_ref().map_or(String::new(), |when| format!(" when {when}"));
        format!("differs: {arch} {}{when}: {} becomes {}", change.syscall, change.before, change.after)
    }));
    lines
}
