//! Deliberate weakenings: each breaks one promise, and the tests of that promise must then fail.
//!
//! Nothing of the programs under test knows of them. A weakening stands in one of the places where the harness touches
//! them: it edits the config ([`config`]), adds an option of `plim run`, puts a broken wrapper before the command, does on
//! the host what a careless launcher would do ([`careless`]), asks a tool something else or changes its answer ([`tools`]),
//! or leaves something behind afterwards ([`crate::inventory::leave_behind`]).

pub mod careless;
pub mod config;
pub mod tools;

macro_rules! weakenings {
    ($($kind:ident $name:literal $says:literal,)*) => {
        /// One promise broken on purpose.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Weakening { $(#[doc = $says] $kind,)* }

        impl Weakening {
            /// All of them.
            pub const ALL: &'static [Weakening] = &[$(Weakening::$kind,)*];

            /// The name on the command line, `weakened:NAME`.
            pub fn name(self) -> &'static str {
                match self { $(Weakening::$kind => $name,)* }
            }
        }
    };
}

weakenings! {
    HostPid "host-pid" "The host's pid namespace.",
    HostNet "host-net" "The host's network namespace.",
    HostIpc "host-ipc" "The host's ipc namespace.",
    HostUts "host-uts" "The host's uts namespace.",
    HostCgroup "host-cgroupns" "The host's cgroup namespace.",
    HostUser "host-userns" "The host's user namespace, whatever was asked.",
    HostTime "host-timens" "The host's time namespace, whatever was asked.",
    NoMasks "no-masks" "No masked paths.",
    NoReadOnlyPaths "no-read-only-paths" "No read-only paths.",
    WritableRoot "writable-root" "A root that should be read-only is writable.",
    WritableMounts "writable-mounts" "Every `ro` option of a mount is dropped.",
    LooseMounts "loose-mounts" "nosuid, nodev and noexec are dropped.",
    NoSelinux "no-selinux" "No SELinux label, whatever was asked.",
    NoAppArmor "no-apparmor" "No AppArmor profile, whatever was asked.",
    HostsOwnFiles "hosts-own-files" "The host's /etc, /usr, /opt and /var are mounted over what the container would see of them.",
    LargeLayer "large-layer" "The layer that is thrown away takes 2 GiB.",
    WritesThrough "writes-through" "Writes below /usr reach the host.",
    HostRootInside "host-root-inside" "The host's root is mounted at /data.",
    HostDirectory "host-directory" "A working directory below /proc is the host's root, as by a leaked descriptor.",
    FollowsLinks "follows-links" "Mount points, masks, the terminal and the working directory are where the image's links lead on the host.",
    SharedPropagation "shared-propagation" "Binds are shared with the host.",
    ExtraDevices "extra-devices" "The host's /dev is mounted over the container's.",
    NoDeviceRules "no-device-rules" "The device cgroup allows everything.",
    SysAdmin "sys-admin" "CAP_SYS_ADMIN is added to every set.",
    NetRaw "net-raw" "CAP_NET_RAW is there, whatever was asked.",
    NoNetRaw "no-net-raw" "CAP_NET_RAW is not there, whatever was asked.",
    Inheritable "inheritable" "The inheritable and ambient sets are filled.",
    KeepsBounding "keeps-bounding" "The bounding set keeps CAP_SYS_PTRACE.",
    NoNewPrivsOff "no-nnp" "no_new_privs is not set.",
    AsRoot "as-root" "The user is root whatever was asked.",
    LeaksEnvironment "leaks-environment" "A variable of the launcher's own environment is handed on.",
    NoSeccomp "no-seccomp" "No seccomp filter.",
    NativeOnly "native-only" "The filter forgets the calls that only the 32-bit table has.",
    SharedCgroup "shared-cgroup" "The container's cgroup is not its own.",
    NoPids "no-pids" "No pids limit.",
    NoMemory "no-memory" "No memory limit.",
    NoCpu "no-cpu" "No cpu quota, shares or cpuset.",
    NoIo "no-io" "No throttle of block devices.",
    NoRlimits "no-rlimits" "No resource limits.",
    NoSysctl "no-sysctl" "No sysctls.",
    LeakedFd "leaked-fd" "A descriptor of a directory is open in the container.",
    MaskedExit "masked-exit" "The exit status is hidden.",
    Chatty "chatty" "A word that is not the command's own is on its standard output.",
    Deaf "deaf" "Signals do not reach the command, and orphans are not reaped.",
    NoStdio "no-stdio" "stdin is empty and there is no terminal.",
    HandsOver "hands-over" "The command runs in the launcher's place, with the caller's own streams.",
    SilentFailure "silent-failure" "What a program of ours refuses or fails at is told as status 0, in no words.",
    UnknownPasses "unknown-passes" "Status 3 of a tool, something unknown, is told as 0.",
    InspectElsewhere "inspect-elsewhere" "plim inspect, trace and check look at the process that asks, whatever the target.",
    InspectForgets "inspect-forgets" "plim inspect does not list what is unknown.",
    DiffBlind "diff-blind" "plim diff compares the first target with itself, and plim lock locks it alone.",
    DiffElsewhere "diff-elsewhere" "plim diff compares the first target with the process that asks.",
    TraceForgets "trace-forgets" "The last refusal of a trace is not told.",
    TraceBlames "trace-blames" "Every refusal of a trace is blamed on a capability.",
    LearnForgets "learn-forgets" "Of the system calls that plim learn saw or proposes, only the first is kept.",
    HostExecutable "host-executable" "What is held of a process of the launcher's is the host's plim-run.",
    CallersKeyring "callers-keyring" "The session keyring has the caller's key.",
    Unescaped "unescaped" "What others named is written as it is by the tools that look.",
    Unconfined "unconfined" "Our tools do not confine themselves.",
    LeavesCgroup "leaves-cgroup" "A cgroup stays behind.",
    LeavesMount "leaves-mount" "A mount stays behind.",
    LeavesProcess "leaves-process" "A process stays behind.",
    LeavesNamespace "leaves-namespace" "A namespace stays behind, kept by a mount.",
    LeavesState "leaves-state" "A container's state directory stays behind.",
}

impl Weakening {
    /// Reads a [`name`](Weakening::name).
    pub fn from_name(name: &str) -> Option<Weakening> {
        Weakening::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The option of `plim run` that breaks the same promise, where there is one; it comes last, so it counts.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Weakening::HostPid => &["--pid", "host"],
            Weakening::HostNet => &["--network", "host"],
            Weakening::HostTime => &["--timens", "host"],
            Weakening::NoMasks => &["--security-opt", "systempaths=unconfined"],
            Weakening::SysAdmin => &["--cap-add", "SYS_ADMIN"],
            Weakening::NetRaw => &["--cap-add", "NET_RAW"],
            Weakening::NoNetRaw => &["--cap-drop", "NET_RAW"],
            Weakening::NoSeccomp => &["--security-opt", "seccomp=unconfined"],
            Weakening::HostRootInside => &["-v", "/:/mnt"],
            Weakening::NoSelinux => &["--security-opt", "label=disable"],
            Weakening::NoAppArmor => &["--security-opt", "apparmor=unconfined"],
            Weakening::HostsOwnFiles => {
                &["-v", "/etc:/etc:ro", "-v", "/usr:/usr:ro", "-v", "/opt:/opt:ro", "-v", "/var:/var:ro"]
            }
            Weakening::LargeLayer => &["--storage-opt", "size=2g"],
            Weakening::NoMemory => &["-m", "0"],
            Weakening::WritesThrough => &["-v", "/usr:/usr"],
            Weakening::NoPids => &["--pids-limit", "-1"],
            Weakening::AsRoot => &["--user", "0:0"],
            _ => &[],
        }
    }

    /// The witness' broken wrapper that stands before the command, where there is one.
    pub fn wrapper(self) -> Option<&'static str> {
        match self {
            Weakening::LeakedFd => Some("leak-fd"),
            Weakening::MaskedExit => Some("mask-exit"),
            Weakening::Chatty => Some("chatty"),
            Weakening::Deaf => Some("deaf"),
            Weakening::CallersKeyring => Some("keyed"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites;

    #[test]
    fn every_test_can_be_made_red() {
        for suite in suites::ALL {
            for test in suite.tests {
                assert!(!test.red_under.is_empty(), "{}/{} has no weakening", suite.promise, test.name);
            }
        }
    }

    #[test]
    fn every_weakening_is_used_and_has_a_name_of_its_own() {
        for kind in Weakening::ALL {
            let used =
                suites::ALL.iter().flat_map(|suite| suite.tests).any(|test| test.red_under.contains(kind));
            assert!(used, "no test names {}", kind.name());
            assert_eq!(Weakening::from_name(kind.name()), Some(*kind));
        }
    }
}
