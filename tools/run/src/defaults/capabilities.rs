//! What the default filter depends on; the build script reads this file too.

use plim_model::{Capability, CapabilitySet};

/// The seccomp profile of a container that is not privileged.
pub(crate) const SECCOMP_PRESET: &str = "docker-default";

/// moby `daemon/pkg/oci/caps/defaults.go`.
pub(crate) fn capabilities() -> CapabilitySet {
    const NUMBERS: [u8; 14] = [
        0,  // CAP_CHOWN
        1,  // CAP_DAC_OVERRIDE
        3,  // CAP_FOWNER
        4,  // CAP_FSETID
        5,  // CAP_KILL
        6,  // CAP_SETGID
        7,  // CAP_SETUID
        8,  // CAP_SETPCAP
        10, // CAP_NET_BIND_SERVICE
        13, // CAP_NET_RAW
        18, // CAP_SYS_CHROOT
        27, // CAP_MKNOD
        29, // CAP_AUDIT_WRITE
        31, // CAP_SETFCAP
    ];
    NUMBERS.into_iter().filter_map(Capability::from_number).collect()
}
