//! Capabilities (capabilities(7), include/uapi/linux/capability.h).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One capability by its kernel number.
///
/// Numbers that this version has no name for are kept and written `CAP_41`, so that a snapshot of a newer kernel
/// survives a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u8);

/// Names by number, as of Linux 6.18 (last: CAP_CHECKPOINT_RESTORE, Linux 5.9).
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

impl Capability {
    /// The capability with this kernel number (0 to 63), `None` above.
    pub fn from_number(number: u8) -> Option<Capability> {
        (number < 64).then_some(Capability(number))
    }

    /// Reads a name: `CAP_NET_RAW`, `NET_RAW`, in any case, or `CAP_41` for a number without a name.
    pub fn from_name(name: &str) -> Option<Capability> {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| &known["CAP_".len()..] == bare) {
            return u8::try_from(index).ok().map(Capability);
        }
        let number: u8 = bare.parse().ok()?;
        (usize::from(number) >= NAMES.len()).then(|| Capability::from_number(number)).flatten()
    }

    /// The kernel's number, 0 to 63.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Every capability that has a name in this version.
    pub fn known() -> impl Iterator<Item = Capability> {
        (0u8..).zip(NAMES).map(|(number, _)| Capability(number))
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match NAMES.get(usize::from(self.0)) {
            Some(name) => f.pad(name),
            None => write!(f, "CAP_{}", self.0),
        }
    }
}

/// A set of capabilities as the kernel keeps it: one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapabilitySet(u64);

impl CapabilitySet {
    /// The empty set.
    pub const EMPTY: CapabilitySet = CapabilitySet(0);

    /// What Docker gives a container unless it is told otherwise (moby, `daemon/pkg/oci/caps/defaults.go`): CHOWN,
    /// DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD,
    /// AUDIT_WRITE, SETFCAP.
    pub const DOCKER_DEFAULT: CapabilitySet = CapabilitySet(
        1 | 1 << 1
            | 1 << 3
            | 1 << 4
            | 1 << 5
            | 1 << 6
            | 1 << 7
            | 1 << 8
            | 1 << 10
            | 1 << 13
            | 1 << 18
            | 1 << 27
            | 1 << 29
            | 1 << 31,
    );

    /// From the bit mask of `/proc/PID/status` or capget(2).
    pub fn from_bits(bits: u64) -> CapabilitySet {
        CapabilitySet(bits)
    }

    /// The bit mask.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether `capability` is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & (1 << capability.0) != 0
    }

    /// Adds one.
    pub fn insert(&mut self, capability: Capability) {
        self.0 |= 1 << capability.0;
    }

    /// Removes one.
    pub fn remove(&mut self, capability: Capability) {
        self.0 &= !(1 << capability.0);
    }

    /// What is in both.
    pub fn intersection(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & other.0)
    }

    /// What is in `self` and not in `other`.
    pub fn difference(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 & !other.0)
    }

    /// What is in either.
    pub fn union(self, other: CapabilitySet) -> CapabilitySet {
        CapabilitySet(self.0 | other.0)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, by number.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        (0u8..64).filter(move |n| self.0 & (1 << n) != 0).map(Capability)
    }

    /// The names, in alphabetical order.
    pub fn names(self) -> Vec<String> {
        let mut names: Vec<String> = self.iter().map(|c| c.to_string()).collect();
        names.sort();
        names
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(iter: I) -> Self {
        let mut set = CapabilitySet::EMPTY;
        for capability in iter {
            set.insert(capability);
        }
        set
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<String>::deserialize(deserializer)?
            .into_iter()
            .map(|name| {
                Capability::from_name(&name)
                    .ok_or_else(|| serde::de::Error::custom(format!("unknown capability {name:?}")))
            })
            .collect()
    }
}

impl JsonSchema for CapabilitySet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CapabilitySet".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Capability names, sorted.",
            "type": "array",
            "items": {"type": "string", "pattern": "^CAP_[A-Z0-9_]+$"},
            "uniqueItems": true
        })
    }
}

/// The five sets of a thread (capabilities(7), "Thread capability sets").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilitySets {
    /// What the kernel checks.
    pub effective: CapabilitySet,
    /// What may be made effective.
    pub permitted: CapabilitySet,
    /// What is kept over execve for files with inheritable bits.
    pub inheritable: CapabilitySet,
    /// The ceiling for execve.
    pub bounding: CapabilitySet,
    /// What is kept over execve without file capabilities (Linux 4.3).
    pub ambient: CapabilitySet,
}
