//! The picture everyone in Plimsoll works on: a **snapshot** of one target as plain, versioned data.
//!
//! Pure: no system calls, no clock, no environment. Text from the kernel comes in as `&str`, facts about the
//! machine come in as arguments, so a snapshot taken on one machine is judged the same on another.
#![forbid(unsafe_code)]

pub mod capability;
pub mod cgroup;
pub mod diff;
pub mod ids;
pub mod json;
pub mod mount;
pub mod namespace;
pub mod observed;
pub mod parse;
pub mod process;
pub mod rlimit;
pub mod seccomp;
pub mod snapshot;
pub mod state;
pub mod text;

pub use capability::{Capability, CapabilitySet, CapabilitySets};
pub use ids::{ContainerPid, HostPid, IdMap, IdMapping, NamespaceId};
pub use namespace::{NamespaceKind, Namespaces};
pub use observed::Observed;
pub use snapshot::{SNAPSHOT_FORMAT, Snapshot};
