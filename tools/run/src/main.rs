//! `plim run`: a container with the options of `docker run`.
//!
//! Options become a [`plim_runtime::config::ContainerConfig`] by pure code ([`assemble`]), which either is printed or
//! goes to the runtime ([`launch`]). Everything that can be wrong with the options is found before anything is made.
#![forbid(unsafe_code)]

mod apparmor;
mod assemble;
mod bundle;
mod defaults;
mod devices;
mod environment;
mod host;
mod launch;
mod learning;
mod limits;
mod names;
mod namespaces;
mod options;
mod profile;
mod security;
mod selinux;
mod sizes;
mod tracing;
mod users;
mod volumes;
mod world;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{CommandFactory, FromArgMatches};
use plim_runtime::oci;

use crate::assemble::Assembled;
use crate::launch::Failure;
use crate::names::Identity;
use crate::options::Options;

fn main() -> ExitCode {
    // A container's init is this same program; then this does not return.
    plim_runtime::init_entry();
    plim_runtime::seal();
    match run() {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            tell(&format!("{:#}", failure.error));
            ExitCode::from(failure.status)
        }
    }
}

/// One line on standard error; nobody is left to tell when that fails.
fn tell(message: &str) {
    let _ = writeln!(std::io::stderr(), "plim run: {}", plim_model::text::escape_message(message));
}

fn run() -> Result<u8, Failure> {
    if let Some(answer) = plim_tools_common::app::generate_if_asked("plim-run", Options::command) {
        return Ok(answer?);
    }
    let matches = match Options::command().try_get_matches() {
        Ok(matches) => matches,
        Err(message) => {
            // Help and version are answers, on standard output; the rest are usage errors.
            let status = if message.use_stderr() { launch::LAUNCHER_FAILED } else { 0 };
            // A pipe that is closed early is no error: `plim run --help | head -1`.
            let _ = message.print();
            return Ok(status);
        }
    };
    let options = Options::from_arg_matches(&matches).context("read the command line")?;
    if options.bundle.is_some() {
        bundle::check(&matches)?;
    }
    let Assembled { mut config, mut notes, unconfined } = put_together(&options)?;
    if options.print_spec {
        let mut spec = oci::to_spec(&config);
        for (annotation, why) in &unconfined {
            spec["annotations"][*annotation] = why.as_str().into();
        }
        notes.extend(unconfined.into_iter().map(|(_, why)| why));
        notes.iter().for_each(|note| tell(note));
        print_spec(&spec)?;
        return Ok(0);
    }
    plim_runtime::seal_for(&config);
    notes.extend(unconfined.into_iter().map(|(_, why)| why));
    if config.apparmor_profile.as_deref() == Some(apparmor::DEFAULT)
        && let Err(error) = apparmor::load(&host::Host)
    {
        if options.security_opt.iter().any(|option| option.contains(apparmor::DEFAULT))
            || options.bundle.is_some()
        {
            return Err(error.into());
        }
        config.apparmor_profile = None;
        notes.push(format!("the container has no AppArmor profile: {error:#}"));
    }
    notes.iter().for_each(|note| tell(note));
    if options.detach { launch::detached(&config) } else { launch::foreground(&config, &options) }
}

fn put_together(options: &Options) -> Result<Assembled> {
    let facts = host::facts()?;
    // The same input gives the same document: its container has no id until it is run.
    let mut random = [0; 32];
    if !options.print_spec {
        const SOURCE: &str = "/dev/urandom";
        std::fs::File::open(SOURCE)
            .and_then(|mut file| file.read_exact(&mut random))
            .with_context(|| format!("read {SOURCE}"))?;
    }
    let identity = Identity::new(random, options.name.as_deref())?;
    let mut assembled = match &options.bundle {
        Some(dir) => bundle::assemble(dir, options, identity, &facts, &host::Host)?,
        None => assemble::assemble(options, identity, &facts, &host::Host)?,
    };
    if options.print_spec {
        assembled.config.id.clear();
        assembled.config.name = options.name.clone().unwrap_or_default();
    }
    Ok(assembled)
}

fn print_spec(spec: &serde_json::Value) -> Result<()> {
    match writeln!(std::io::stdout(), "{spec:#}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write the document to standard output"),
    }
}
