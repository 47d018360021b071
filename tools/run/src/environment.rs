//! The container's environment: Docker's defaults, `--env-file`, `--env`, and HOME (moby CreateDaemonEnvironment,
//! docker/cli `opts/envfile`, runc for HOME).

use anyhow::{Context, Result, bail};

use crate::defaults;
use crate::options::Options;
use crate::world::World;

/// The environment in Docker's order.
///
/// # Errors
/// A variable without a name; a file that cannot be read or has such a line.
pub(crate) fn read(
    options: &Options,
    host_name: &str,
    home: &str,
    world: &impl World,
) -> Result<Vec<String>> {
    let mut env = vec![defaults::PATH.to_owned(), format!("HOSTNAME={host_name}")];
    if options.tty {
        env.push("TERM=xterm".to_owned());
    }
    for path in &options.env_file {
        let doing = || format!("--env-file {}", path.display());
        let text = world.read(path).with_context(doing)?;
        let text = std::str::from_utf8(&text).with_context(doing)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            set(&mut env, line, world).with_context(|| format!("{}: line {}", doing(), index + 1))?;
        }
    }
    for text in &options.env {
        set(&mut env, text, world).with_context(|| format!("--env {text:?}"))?;
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={home}"));
    }
    Ok(env)
}

/// Replaces or adds one variable. NAME alone takes the caller's value, and unsets when the caller has none
/// (moby ReplaceOrAppendEnvValues).
fn set(env: &mut Vec<String>, text: &str, world: &impl World) -> Result<()> {
    let name = text.split_once('=').map_or(text, |(name, _)| name);
    if name.is_empty() || name.contains(char::is_whitespace) {
        bail!("the variable's name {name:?} is empty or contains white space, expected NAME=VALUE");
    }
    if text.contains('\0') {
        bail!("the value of {name} contains a NUL character");
    }
    let entry = match text.contains('=') {
        true => Some(text.to_owned()),
        false => world.env(name).map(|value| format!("{name}={value}")),
    };
    let at = env.iter().position(|other| other.split_once('=').is_some_and(|(other, _)| other == name));
    match (at, entry) {
        (Some(at), Some(entry)) => env[at] = entry,
        (Some(at), None) => {
            env.remove(at);
        }
        (None, Some(entry)) => env.push(entry),
        (None, None) => {}
    }
    Ok(())
}
