//! What the default filter depends on; the build script reads this file too.

use plim_model::CapabilitySet;

/// The seccomp profile of a container that is not privileged.
pub(crate) const SECCOMP_PRESET: &str = "docker-default";

/// What a container gets unless it is told otherwise.
pub(crate) fn capabilities() -> CapabilitySet {
    CapabilitySet::DOCKER_DEFAULT
}
