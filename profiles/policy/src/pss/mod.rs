//! Kubernetes' Pod Security Standards: which control says what, since which version.
//!
//! Source: "Pod Security Standards" of the Kubernetes documentation and the behaviour of the admission controller
//! (k8s.io/pod-security-admission), whose control ids are used. A control looks at a pod as it is written.

mod controls;

use crate::text::Node;

/// A minor version of Kubernetes 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32);

impl Version {
    /// The newest version whose rules are known here; newer ones are judged as this one, as the controller does.
    pub const LATEST: Version = Version(37);

    /// From `1.31`, `v1.31` or `latest`.
    pub fn parse(text: &str) -> Option<Version> {
        if text == "latest" {
            return Some(Version::LATEST);
        }
        let minor = text.strip_prefix('v').unwrap_or(text).strip_prefix("1.")?;
        let digits = !minor.is_empty() && minor.bytes().all(|byte| byte.is_ascii_digit());
        let minor = digits.then(|| minor.parse().ok()).flatten()?;
        Some(Version(minor).min(Version::LATEST))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

/// The two levels that restrict anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Prevents known privilege escalations.
    Baseline,
    /// Current hardening practice.
    Restricted,
}

/// One control.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Control {
    /// `allowPrivilegeEscalation`.
    AllowPrivilegeEscalation,
    /// `appArmorProfile`.
    AppArmorProfile,
    /// `capabilities_baseline`.
    CapabilitiesBaseline,
    /// `capabilities_restricted`.
    CapabilitiesRestricted,
    /// `hostNamespaces`.
    HostNamespaces,
    /// `hostPathVolumes`.
    HostPathVolumes,
    /// `hostPorts`.
    HostPorts,
    /// `hostProbesAndHostLifecycle`.
    HostProbesAndHostLifecycle,
    /// `privileged`.
    Privileged,
    /// `procMount`.
    ProcMount,
    /// `procMount_restricted`.
    ProcMountRestricted,
    /// `restrictedVolumes`.
    RestrictedVolumes,
    /// `runAsNonRoot`.
    RunAsNonRoot,
    /// `runAsUser`.
    RunAsUser,
    /// `seLinuxOptions`.
    SeLinuxOptions,
    /// `seccompProfile_baseline`.
    SeccompBaseline,
    /// `seccompProfile_restricted`.
    SeccompRestricted,
    /// `sysctls`.
    Sysctls,
    /// `windowsHostProcess`.
    WindowsHostProcess,
}

use Control as C;

/// Id, level, and the version in which the control begins.
const TABLE: [(Control, &str, Level, u32); 19] = [
    (C::AllowPrivilegeEscalation, "allowPrivilegeEscalation", Level::Restricted, 8),
    (C::AppArmorProfile, "appArmorProfile", Level::Baseline, 0),
    (C::CapabilitiesBaseline, "capabilities_baseline", Level::Baseline, 0),
    (C::CapabilitiesRestricted, "capabilities_restricted", Level::Restricted, 22),
    (C::HostNamespaces, "hostNamespaces", Level::Baseline, 0),
    (C::HostPathVolumes, "hostPathVolumes", Level::Baseline, 0),
    (C::HostPorts, "hostPorts", Level::Baseline, 0),
    (C::HostProbesAndHostLifecycle, "hostProbesAndHostLifecycle", Level::Baseline, 34),
    (C::Privileged, "privileged", Level::Baseline, 0),
    (C::ProcMount, "procMount", Level::Baseline, 0),
    (C::ProcMountRestricted, "procMount_restricted", Level::Restricted, 35),
    (C::RestrictedVolumes, "restrictedVolumes", Level::Restricted, 0),
    (C::RunAsNonRoot, "runAsNonRoot", Level::Restricted, 0),
    (C::RunAsUser, "runAsUser", Level::Restricted, 23),
    (C::SeLinuxOptions, "seLinuxOptions", Level::Baseline, 0),
    (C::SeccompBaseline, "seccompProfile_baseline", Level::Baseline, 0),
    (C::SeccompRestricted, "seccompProfile_restricted", Level::Restricted, 19),
    (C::Sysctls, "sysctls", Level::Baseline, 0),
    (C::WindowsHostProcess, "windowsHostProcess", Level::Baseline, 0),
];

/// What came of a control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod keeps to it.
    Kept,
    /// It does not; what shows it.
    Broken(Vec<String>),
    /// The control is about Linux and the pod says that it is Windows'.
    NotLinux,
}

impl Control {
    /// Every control.
    pub fn all() -> impl Iterator<Item = Control> {
        TABLE.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Control, &'static str, Level, u32) {
        &TABLE[self as usize]
    }

    /// The admission controller's id.
    pub fn id(self) -> &'static str {
        self.row().1
    }

    /// From its id.
    pub fn from_id(id: &str) -> Option<Control> {
        Control::all().find(|control| control.id() == id)
    }

    /// The level that it belongs to.
    pub fn level(self) -> Level {
        self.row().2
    }

    /// Whether a policy of this level and version asks for it. At level restricted a stricter control takes the place of
    /// baseline's.
    pub fn applies(self, level: Level, version: Version) -> bool {
        let begins = |control: Control| version.0 >= control.row().3;
        let overridden = match self {
            C::CapabilitiesBaseline => begins(C::CapabilitiesRestricted),
            C::SeccompBaseline => begins(C::SeccompRestricted),
            C::HostPathVolumes => begins(C::RestrictedVolumes),
            C::ProcMount => begins(C::ProcMountRestricted),
            _ => false,
        };
        begins(self) && self.level() <= level && !(level == Level::Restricted && overridden)
    }

    /// Judges a pod (`metadata` and `spec`) as the given version does.
    pub fn judge(self, version: Version, pod: &Node) -> Verdict {
        controls::judge(self, version, pod)
    }
}
