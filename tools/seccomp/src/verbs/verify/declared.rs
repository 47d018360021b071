//! What the profile may have become on its way into the kernel.

use anyhow::Context;
use plim_model::{CapabilitySet, Observed};
use plim_seccomp::dialect::{self, Written};
use plim_seccomp::installed::{Engine, Vintage};
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::facts::{Gathered as Facts, Reading};
use plim_tools_common::seccomp_side::{Content, Gathered, Meaning};

/// The declared profile, read and not yet looked at.
pub(super) enum Raw {
    /// From the command line.
    Named(Box<Gathered>),
    /// What the engine handed to its runtime.
    Engine(Observed<serde_json::Value>),
}

/// The declared profile, and under which readings it may have been installed.
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) by_engine: bool,
    content: Content,
    readings: Vec<Reading>,
}

/// One reading and what comes of it.
pub(super) struct Candidate {
    pub(super) engine: Engine,
    /// Where it counts.
    pub(super) libseccomp: Option<Vintage>,
    pub(super) meaning: Meaning,
}

impl Declared {
    /// `engine` is the target's.
    pub(super) fn of(
        raw: Raw,
        engine: &str,
        target: &str,
        facts: &Facts,
        bounding: Option<CapabilitySet>,
    ) -> anyhow::Result<Declared> {
        let by_engine = matches!(raw, Raw::Engine(_));
        let (name, content) = match raw {
            Raw::Named(gathered) => {
                let side = gathered.side()?;
                (side.name, side.content)
            }
            Raw::Engine(spec) => {
                let name = format!("what {engine} was told of {target}");
                let content = match spec {
                    Observed::Present(spec) => {
                        let written: Written =
                            dialect::parse(spec.to_string().as_bytes()).with_context(|| name.clone())?;
                        Content::Profile(Box::new(written))
                    }
                    Observed::Absent => Content::Stack(Vec::new()),
                    Observed::Unknown(why) => {
                        let unknown: anyhow::Result<Content> = Err(anyhow::anyhow!("{why}"));
                        unknown
                            .with_context(|| format!("{name} (name a profile with --profile)"))
                            .or_status(exit::UNOBSERVABLE)?
                    }
                };
                (name, content)
            }
        };
        let base = facts.reading(bounding);
        let engines: Vec<Engine> = match (facts.engine(), engine) {
            (Some(named), _) => vec![named],
            (None, "plim") => vec![Engine::Written],
            // The engine has settled its own keys; a runtime read the rest.
            (None, _) if by_engine => Engine::all().filter(|engine| engine.is_bare_runtime()).collect(),
            (None, "docker" | "podman" | "containerd") => {
                Engine::all().filter(|one| one.name().starts_with(engine)).collect()
            }
            (None, _) => Engine::all().collect(),
        };
        let readings = match &content {
            Content::Profile(_) => engines
                .into_iter()
                .flat_map(|engine| {
                    let vintages: Vec<Vintage> = match (facts.libseccomp(), engine) {
                        (Some(named), _) => vec![named],
                        (None, Engine::Written) => vec![Vintage::newest()],
                        (None, _) => Vintage::all().rev().collect(),
                    };
                    vintages.into_iter().map(move |libseccomp| Reading { engine, libseccomp, ..base })
                })
                .collect(),
            _ => vec![Reading { engine: Engine::Written, ..base }],
        };
        Ok(Declared { name, by_engine, content, readings })
    }

    /// What the readings come to, the likeliest first; those that their engine refuses are left out.
    ///
    /// # Errors
    /// Every one is refused: the first one's reason.
    pub(super) fn candidates(&self) -> anyhow::Result<Vec<Candidate>> {
        let mut first_error = None;
        let mut candidates = Vec::new();
        for reading in &self.readings {
            match self.content.meaning(&self.name, reading) {
                Ok(meaning) => {
                    let libseccomp = matches!(meaning, Meaning::Installed(_)).then_some(reading.libseccomp);
                    candidates.push(Candidate { engine: reading.engine, libseccomp, meaning });
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            Some(error) if candidates.is_empty() => Err(error),
            _ => Ok(candidates),
        }
    }
}
