//! The OCI config that every launcher is given, written by hand so that it does not come from the code under test, and
//! a small root file system around the witness.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Docker's fourteen default capabilities.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// The paths that Docker masks.
pub const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// The paths that Docker makes read-only.
pub const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// One container to be run: its bundle directory, deleted when dropped.
pub struct Case {
    /// The OCI config; edit it before running.
    pub spec: Value,
    /// The root file system, below the bundle.
    pub rootfs: PathBuf,
    /// The bundle directory.
    pub dir: TempDir,
    /// Unique: the container's name, its cgroup's last part, and `PLIM_TEST_TAG` in its environment.
    pub tag: String,
    /// What the container reads from stdin; `None` is /dev/null.
    pub stdin: Option<Vec<u8>>,
}

/// How the tests' own files and directories are named.
pub const PREFIX: &str = "plimtest-";

static NEXT: AtomicU32 = AtomicU32::new(1);

/// A name that no other container has.
pub fn fresh_tag() -> String {
    format!("plimtest-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

impl Case {
    /// A Docker-like container that runs the witness with `args`.
    ///
    /// # Errors
    /// When the bundle directory cannot be made.
    pub fn new(witness: &Path, args: &[&str]) -> Result<Case> {
        let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().context("making a bundle directory")?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let rootfs = dir.path().join("rootfs");
        for part in ["bin", "dev", "etc", "proc", "sys", "tmp", "data", "home"] {
            fs::create_dir_all(rootfs.join(part))?;
        }
        fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        // A copy and not a link: some tests try to write to it.
        fs::copy(witness, rootfs.join("bin/witness"))
            .with_context(|| format!("copying {}", witness.display()))?;
        fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n")?;
        fs::write(rootfs.join("etc/group"), "root:x:0:\nuser:x:1000:\nextra:x:2000:user\n")?;
        let tag = fresh_tag();
        let mut spec = base(&tag);
        let mut words = vec!["/bin/witness"];
        words.extend(args);
        spec["process"]["args"] = json!(words);
        Ok(Case { spec, rootfs, dir, tag, stdin: None })
    }

    /// Sets the value at a JSON pointer, whose parent must be there.
    #[must_use]
    pub fn with(mut self, pointer: &str, value: Value) -> Case {
        set(&mut self.spec, pointer, value);
        self
    }

    /// Appends one mount.
    #[must_use]
    pub fn mount(mut self, destination: &str, kind: &str, source: &str, options: &[&str]) -> Case {
        let mount = json!({"destination": destination, "type": kind, "source": source, "options": options});
        if let Some(mounts) = self.spec["mounts"].as_array_mut() {
            mounts.push(mount);
        }
        self
    }

    /// Gives all of the four sets that Docker fills these capabilities.
    #[must_use]
    pub fn capabilities(mut self, names: &[&str]) -> Case {
        self.spec["process"]["capabilities"] = json!({"bounding": names, "effective": names, "permitted": names, "inheritable": [], "ambient": []});
        self
    }

    /// Writes config.json.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.spec)?;
        fs::write(self.dir.path().join("config.json"), text).context("writing config.json")
    }
}

/// Sets the value at a JSON pointer, making the last step.
pub fn set(spec: &mut Value, pointer: &str, value: Value) {
    if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(at) = spec.pointer_mut(parent)
    {
        match at {
            Value::Array(items) => {
                if let Some(slot) = key.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                    *slot = value;
                }
            }
            at => at[key] = value,
        }
    }
}

fn base(tag: &str) -> Value {
    let mount = |destination: &str, kind: &str, options: &[&str]| json!({"destination": destination, "type": kind, "source": kind, "options": options});
    let device = |kind: &str, major: i64, minor: i64| json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": "rwm"});
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": [],
            "env": ["PATH=/bin", format!("PLIM_TEST_TAG={tag}")],
            "cwd": "/",
            "capabilities": {
                "bounding": DEFAULT_CAPABILITIES, "effective": DEFAULT_CAPABILITIES,
                "permitted": DEFAULT_CAPABILITIES, "inheritable": [], "ambient": []
            },
            "noNewPrivileges": false
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "plimtest",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ],
        "linux": {
            "cgroupsPath": format!("/plimtest/{tag}"),
            "namespaces": [
                {"type": "mount"}, {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "cgroup"}
            ],
            "resources": {
                "devices": [
                    {"allow": false, "access": "rwm"},
                    {"allow": true, "type": "c", "access": "m"},
                    {"allow": true, "type": "b", "access": "m"},
                    device("c", 1, 3), device("c", 1, 5), device("c", 1, 7), device("c", 1, 8), device("c", 1, 9),
                    device("c", 5, 0), device("c", 5, 2), device("c", 136, -1)
                ],
                "pids": {"limit": 256}
            },
            "seccomp": crate::suites::seccomp_live::hand_made(),
            "maskedPaths": MASKED,
            "readonlyPaths": READ_ONLY
        }
    })
}
