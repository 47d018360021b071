//! A configuration like Docker's default, and a way to run it and see what it says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use plim_model::{Capability, CapabilitySet, CapabilitySets, NamespaceKind};
use plim_runtime::config::*;
use plim_runtime::{Exit, RuntimeError, Stdio, Stream};

/// Docker's default capabilities.
pub(crate) const DEFAULT_CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

pub(crate) fn capabilities(names: &[&str]) -> CapabilitySet {
    names.iter().map(|name| Capability::from_name(name).expect("a capability")).collect()
}

pub(crate) fn sets(names: &[&str]) -> CapabilitySets {
    let set = capabilities(names);
    CapabilitySets { effective: set, permitted: set, bounding: set, ..CapabilitySets::default() }
}

fn random_id() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).expect("random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn mount(destination: &str, fs_type: &str, source: &str, options: &str) -> Mount {
    Mount {
        destination: destination.into(),
        fs_type: fs_type.into(),
        source: source.into(),
        options: options.split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect(),
    }
}

/// The host's root under a throw-away layer, confined as Docker does it but for seccomp.
pub(crate) fn config(args: &[&str]) -> ContainerConfig {
    let id = random_id();
    let new = [
        NamespaceKind::Cgroup,
        NamespaceKind::Ipc,
        NamespaceKind::Mnt,
        NamespaceKind::Net,
        NamespaceKind::Pid,
        NamespaceKind::Uts,
    ];
    let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
    ContainerConfig {
        name: format!("test-{}", &id[..12]),
        process: Process {
            args: words(args),
            env: words(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]),
            cwd: "/".into(),
            terminal: false,
            user: User { uid: 0, gid: 0, additional_gids: vec![], umask: None },
            capabilities: sets(&DEFAULT_CAPABILITIES),
            no_new_privileges: false,
            rlimits: BTreeMap::new(),
            oom_score_adj: None,
        },
        hostname: Some(id[..12].to_owned()),
        domainname: None,
        rootfs: Rootfs {
            source: RootfsSource::Overlay {
                lower: "/".into(),
                private: words(&["/tmp", "/run", "/home", "/root", "/var/lib"]),
                upper_size_bytes: None,
            },
            read_only: false,
            propagation: "rprivate".into(),
        },
        mounts: vec![
            mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
            mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
            mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", "ro,nosuid,noexec,nodev"),
            mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
            mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=67108864"),
        ],
        namespaces: new.into_iter().map(|kind| (kind, NamespaceMode::New)).collect(),
        id_maps: None,
        time_offsets: None,
        masked_paths: words(&[
            "/proc/asound",
            "/proc/acpi",
            "/proc/interrupts",
            "/proc/kcore",
            "/proc/keys",
            "/proc/latency_stats",
            "/proc/timer_list",
            "/proc/timer_stats",
            "/proc/sched_debug",
            "/proc/scsi",
            "/sys/firmware",
            "/sys/devices/virtual/powercap",
        ]),
        read_only_paths: words(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
        devices: vec![],
        sysctls: BTreeMap::new(),
        resources: Resources::default(),
        cgroup_path: None,
        seccomp: None,
        apparmor_profile: None,
        selinux_label: None,
        mount_label: None,
        init: false,
        privileged: false,
        loopback_up: true,
        image: Some("the host".into()),
        id,
    }
}

/// What `sh -c SCRIPT` in that container looks like.
pub(crate) fn script(script: &str) -> ContainerConfig {
    config(&["/bin/sh", "-c", script])
}

/// A root directory with busybox in it, removed with the guard.
pub(crate) fn busybox_root() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("root");
    for path in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(path)).expect("a directory");
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    std::fs::copy(busybox.expect("busybox-static"), root.join("bin/busybox")).expect("a copy of busybox");
    for applet in ["sh", "true", "cat", "ls", "id", "mount", "sleep", "readlink", "echo", "touch", "stat"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(applet)).expect("a link");
    }
    (directory, root)
}

/// The same configuration on another root.
pub(crate) fn on_directory(mut config: ContainerConfig, root: &Path) -> ContainerConfig {
    config.rootfs.source = RootfsSource::Directory(root.to_owned());
    config
}

/// What a container said and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn pipe() -> (File, OwnedFd) {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    (File::from(read), write)
}

/// Runs it with its output in pipes (keep it below the 64 KiB that a pipe holds).
pub(crate) fn try_run(config: &ContainerConfig) -> Result<Outcome, RuntimeError> {
    let ((mut out, out_write), (mut err, err_write)) = (pipe(), pipe());
    let stdio = Stdio {
        stdin: Stream::Null,
        stdout: Stream::Descriptor(out_write),
        stderr: Stream::Descriptor(err_write),
    };
    let exit = plim_runtime::create(config, stdio)?.start()?.wait()?;
    let (mut stdout, mut stderr) = (String::new(), String::new());
    out.read_to_string(&mut stdout).expect("output");
    err.read_to_string(&mut stderr).expect("output");
    Ok(Outcome { exit, stdout, stderr })
}

pub(crate) fn run(config: &ContainerConfig) -> Outcome {
    match try_run(config) {
        Ok(outcome) => outcome,
        Err(error) => panic!("the container was not run: {error}"),
    }
}

/// The output of a script that has to succeed.
pub(crate) fn output(config: &ContainerConfig) -> String {
    let outcome = run(config);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (Exit::Exited(0), ""), "{}", outcome.stdout);
    outcome.stdout
}

/// Whether anything of the container is still there.
pub(crate) fn traces(config: &ContainerConfig) -> Vec<String> {
    let mut found = Vec::new();
    let state = plim_runtime::state_directory();
    for path in [state.join(&config.id), state.join(".names").join(&config.name)] {
        if std::fs::symlink_metadata(&path).is_ok() {
            found.push(path.display().to_string());
        }
    }
    let mut directories = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(&config.id) {
                    found.push(entry.path().display().to_string());
                }
                directories.push(entry.path());
            }
        }
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    found.extend(mounts.lines().filter(|line| line.contains(&config.id)).map(str::to_owned));
    found
}
