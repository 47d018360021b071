//! `linux.seccomp`, through the profile crate.

use plim_model::CapabilitySet;
use plim_seccomp::compile;
use plim_seccomp::dialect::{self, ProfileError};
use plim_seccomp::resolve::{self, SkipReason, UnknownNames};

use super::Facts;
use super::cursor::{FieldError, Node, Warning};
use crate::config::{OciProfile, Seccomp};

/// The profile, resolved for this machine and compiled; `None` when the profile switches seccomp off.
///
/// A system call name that no table knows is skipped, as every runtime does with a bundle's profile, and reported.
pub(super) fn read(
    node: &Node,
    bounding: CapabilitySet,
    facts: &Facts,
    warnings: &mut Vec<Warning>,
) -> Result<Option<Seccomp>, FieldError> {
    let mut object = node.object()?;
    for key in ["listenerPath", "listenerMetadata"] {
        object.refuse(key, "a seccomp supervisor is not supported")?;
    }
    // The profile crate reads text, because it finds duplicate keys and says where; so the part becomes the document
    // that it stands in again, and its places are those of the bundle.
    let text = serde_json::json!({"linux": {"seccomp": node.value}}).to_string();
    let place = |error: ProfileError| {
        let pointer = error.pointer().unwrap_or(&node.pointer).to_owned();
        let text = error.to_string();
        // The error's own text begins with the same place.
        let problem = text.strip_prefix(&format!("{pointer}: ")).unwrap_or(&text).to_owned();
        FieldError { pointer, problem }
    };
    let written = dialect::parse(text.as_bytes()).map_err(place)?;
    let facts = resolve::Facts {
        unknown_names: UnknownNames::Skip,
        ..resolve::Facts::new(facts.arch, bounding, facts.kernel)
    };
    let Some(resolved) = resolve::resolve(&written, &facts).map_err(place)? else { return Ok(None) };
    if resolved.uses_notify() {
        return Err(node.error("SCMP_ACT_NOTIFY needs a supervisor, which is not supported"));
    }
    for skipped in &resolved.skipped {
        if matches!(skipped.why, SkipReason::Unknown(_)) {
            let message =
                format!("no architecture has a system call {:?}, the name has no effect", skipped.name);
            warnings.push(Warning { pointer: skipped.from.clone(), message });
        }
    }
    let program = compile::compile(&resolved).map_err(|error| node.error(error.to_string()))?;
    Ok(Some(Seccomp { program, flags: resolved.flag_bits(), oci: OciProfile::Value(resolved.to_oci_json()) }))
}
