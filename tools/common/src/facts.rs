//! What a profile's meaning depends on besides its text, as flags that every tool shares.

use anyhow::Context;
use plim_model::{Capability, CapabilitySet};
use plim_seccomp::Arch;
use plim_seccomp::installed::{Engine, Vintage};
use plim_seccomp::resolve::{Facts, KernelVersion, UnknownNames};

/// What profiles are resolved for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "What profiles are resolved for")]
pub struct FactArgs {
    /// Architecture of the machine: x86_64, aarch64, … [default: this machine's]
    #[arg(long, value_name = "ARCH", value_parser = parse_arch)]
    arch: Option<Arch>,
    /// Bounding set: names between commas, "docker" (its 14 defaults), "all" or "none" [default: that of the live
    /// target on the other side, else docker]
    #[arg(long, value_name = "LIST", value_parser = parse_caps)]
    caps: Option<CapabilitySet>,
    /// Kernel release: 6.1 [default: this machine's]
    #[arg(long, value_name = "RELEASE", value_parser = parse_kernel)]
    kernel: Option<KernelVersion>,
    /// Read profiles as this program installs them: written (as they say), runc, runc@1.1, crun, youki, docker,
    /// docker@20.10, podman, containerd; with another runtime than the engine's usual one: containerd/runc@1.1,
    /// podman/runc, docker/crun. Compared with the programs themselves: runc 1.1 and 1.3, crun, Docker 20.10 and 28,
    /// podman, containerd (youki 0.7 once, by hand); youki@0.6 is from its sources alone [default: written]
    #[arg(long = "as", value_name = "ENGINE")]
    engine: Option<Engine>,
    /// The libseccomp that --as is built with: 2.5.4 [default: the newest known]
    #[arg(long, value_name = "VERSION")]
    libseccomp: Option<Vintage>,
    /// Pass over system call names that no architecture has, as engines do, and say which on stderr
    #[arg(long)]
    skip_unknown_names: bool,
}

fn parse_arch(word: &str) -> Result<Arch, String> {
    Arch::from_name(word).or_else(|| Arch::from_scmp_name(word)).ok_or_else(|| {
        let hint = crate::nearest::hint(word, Arch::all().map(Arch::name));
        format!("unknown architecture{hint}")
    })
}

fn parse_kernel(word: &str) -> Result<KernelVersion, String> {
    KernelVersion::from_release(word).ok_or_else(|| "expected a kernel release such as 6.1".to_owned())
}

fn parse_caps(word: &str) -> Result<CapabilitySet, String> {
    match word.to_ascii_lowercase().as_str() {
        "docker" => return Ok(CapabilitySet::DOCKER_DEFAULT),
        "all" => return Ok(Capability::known().collect()),
        "none" => return Ok(CapabilitySet::EMPTY),
        _ => {}
    }
    word.split(',')
        .map(|name| {
            Capability::from_name(name).ok_or_else(|| {
                let known: Vec<String> =
                    Capability::known().map(|capability| capability.to_string()).collect();
                let full = format!("CAP_{}", name.to_uppercase().trim_start_matches("CAP_"));
                let hint = crate::nearest::hint(&full, known.iter().map(String::as_str));
                format!("unknown capability {name:?}{hint}")
            })
        })
        .collect()
}

impl FactArgs {
    /// Asks the machine for what was not given: the one part that needs a system call.
    ///
    /// # Errors
    /// An architecture without a table of system calls, a kernel release that cannot be read.
    pub fn gather(&self) -> anyhow::Result<Gathered> {
        let arch = match self.arch {
            Some(arch) => arch,
            None => Arch::from_name(match std::env::consts::ARCH {
                "x86" => "i386",
                other => other,
            })
            .with_context(|| {
                format!("no system call table for {}; name one with --arch", std::env::consts::ARCH)
            })?,
        };
        let kernel = match self.kernel {
            Some(kernel) => kernel,
            None => running_kernel()?,
        };
        Ok(Gathered {
            arch,
            kernel,
            caps: self.caps,
            engine: self.engine,
            libseccomp: self.libseccomp,
            skip_unknown_names: self.skip_unknown_names,
        })
    }

    /// The same where profiles are read as [`Gathered::reading`] says, and a libseccomp counts for what an engine installs alone.
    ///
    /// # Errors
    /// As [`FactArgs::gather`], and a libseccomp without an engine.
    pub fn gather_reading(&self) -> anyhow::Result<Gathered> {
        let installs = self.engine.is_some_and(|engine| engine != Engine::Written);
        anyhow::ensure!(
            installs || self.libseccomp.is_none(),
            "--libseccomp changes what an engine installs: name one with --as (runc, crun, docker, podman, …)"
        );
        self.gather()
    }

    /// The facts, where `live` is the bounding set of a live target on the other side.
    ///
    /// # Errors
    /// As [`FactArgs::gather`].
    pub fn facts(&self, live: Option<CapabilitySet>) -> anyhow::Result<Facts> {
        Ok(self.gather()?.facts(live))
    }

    /// The architecture that was named.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }
}

/// How a profile is read: for which facts.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// For which machine and container.
    pub facts: Facts,
    /// As who installs it.
    pub engine: Engine,
    /// With which libseccomp.
    pub libseccomp: Vintage,
}

/// Facts of which only the capabilities may still be open.
#[derive(Clone, Copy, Debug)]
pub struct Gathered {
    arch: Arch,
    kernel: KernelVersion,
    caps: Option<CapabilitySet>,
    engine: Option<Engine>,
    libseccomp: Option<Vintage>,
    skip_unknown_names: bool,
}

impl Gathered {
    /// The program that was named to install profiles.
    pub fn engine(&self) -> Option<Engine> {
        self.engine
    }

    /// The libseccomp that was named.
    pub fn libseccomp(&self) -> Option<Vintage> {
        self.libseccomp
    }

    /// The facts: the capabilities that were named, else `live`, else Docker's default.
    pub fn facts(&self, live: Option<CapabilitySet>) -> Facts {
        let caps = self.caps.or(live).unwrap_or(CapabilitySet::DOCKER_DEFAULT);
        let mut facts = Facts::new(self.arch, caps, self.kernel);
        if self.skip_unknown_names {
            facts.unknown_names = UnknownNames::Skip;
        }
        facts
    }

    /// How profiles are read; `live` as for [`Gathered::facts`].
    pub fn reading(&self, live: Option<CapabilitySet>) -> Reading {
        Reading {
            facts: self.facts(live),
            engine: self.engine.unwrap_or(Engine::Written),
            libseccomp: self.libseccomp.unwrap_or_default(),
        }
    }
}

fn running_kernel() -> anyhow::Result<KernelVersion> {
    let path = "/proc/sys/kernel/osrelease";
    let release =
        std::fs::read_to_string(path).with_context(|| format!("read {path} (or name one with --kernel)"))?;
    KernelVersion::from_release(&release).with_context(|| {
        format!("{path}: found {release:?}, expected a kernel release; name one with --kernel")
    })
}
