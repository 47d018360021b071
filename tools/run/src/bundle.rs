//! `--bundle DIR`: an OCI bundle in place of options.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::ArgMatches;
use clap::parser::ValueSource;

use crate::assemble::{Assembled, cgroup_path};
use crate::limits;
use crate::names::Identity;
use crate::options::{BESIDE_BUNDLE, Options};
use crate::world::{Facts, World};

/// Refuses the options that a bundle has its own word for.
///
/// # Errors
/// The first such option, or a command.
pub(crate) fn check(matches: &ArgMatches) -> Result<()> {
    let given = matches.ids().map(clap::Id::as_str).filter(|id| {
        matches.value_source(id) == Some(ValueSource::CommandLine) && !BESIDE_BUNDLE.contains(id)
    });
    for id in given {
        match id {
            "command" => {
                bail!("a command cannot be given beside --bundle: config.json says what runs (process.args)")
            }
            // The group that clap's derive makes of the whole struct.
            "Options" => {}
            id => bail!("--{} cannot be given beside --bundle: config.json says it", id.replace('_', "-")),
        }
    }
    Ok(())
}

/// Reads the bundle. What in it has no effect comes back as notes.
///
/// # Errors
/// See [`plim_runtime::oci::from_bundle`].
pub(crate) fn assemble(
    dir: &Path,
    options: &Options,
    identity: Identity,
    facts: &Facts,
    world: &impl World,
) -> Result<Assembled> {
    let bundle = plim_runtime::oci::from_bundle(dir, facts.arch, facts.kernel)
        .with_context(|| format!("--bundle {}", dir.display()))?;
    let mut config = bundle.config;
    // The annotations are of the container that the document was printed for; this is another one.
    if let Some(parent) = &options.cgroup_parent {
        config.cgroup_path = Some(cgroup_path(parent, &identity.id)?);
    }
    config.id = identity.id;
    if options.name.is_some() || config.name.is_empty() {
        config.name = identity.name;
    }
    if config.image.is_none() {
        config.image = Some(dir.display().to_string());
    }
    let mut notes: Vec<String> = bundle
        .warnings
        .into_iter()
        .map(|warning| format!("{}/config.json: {}: {}", dir.display(), warning.pointer, warning.message))
        .collect();
    notes.extend(limits::weight_note(&config.resources, world));
    Ok(Assembled { config, notes, unconfined: Vec::new() })
}
