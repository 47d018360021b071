//! Live targets by name.

use anyhow::Context;
use plim_observe::Selected;

use super::TargetName;

/// Finds the running process or container that a name means.
///
/// # Errors
/// A name of data; nothing or several by that name, or an engine that cannot be asked, with the observer's words.
pub fn find_live(target: &TargetName) -> anyhow::Result<Selected> {
    let pid;
    let (engine, name) = match target {
        TargetName::Engine { engine, name } => (Some(engine.as_str()), name.as_str()),
        TargetName::Pid(number) => {
            pid = number.to_string();
            (Some("pid"), pid.as_str())
        }
        TargetName::SelfProcess => (Some("self"), ""),
        TargetName::Host => (Some("host"), ""),
        TargetName::Bare(name) => (None, name.as_str()),
        TargetName::File(_) | TargetName::Stdin | TargetName::Preset(_) => {
            anyhow::bail!("target {target} is data, not a running process")
        }
    };
    plim_observe::find(engine, name).with_context(|| match target {
        TargetName::Bare(name) if std::path::Path::new(name).exists() => {
            format!("target {target} (for the file of this name write ./{name})")
        }
        _ => format!("target {target}"),
    })
}
