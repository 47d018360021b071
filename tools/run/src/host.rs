//! [`World`] on the real machine.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::resource::{Resource, getrlimit};
use plim_model::rlimit::Limit;
use plim_model::{Capability, CapabilitySet};
use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::KernelVersion;

use crate::selinux::Answer;
use crate::world::{Facts, HostDevice, PathKind, World};

/// More than any passwd file that fits its purpose; it is the container's, so it is bounded.
const MAX_ROOT_FILE_BYTES: u64 = 4 << 20;
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The machine this runs on.
pub(crate) struct Host;

/// The facts, at the cost of a few system calls.
///
/// # Errors
/// An architecture or kernel release that is not understood; capabilities that cannot be read.
pub(crate) fn facts() -> Result<Facts> {
    let names = nix::sys::utsname::uname().context("uname")?;
    let release = names.release().to_str().ok_or_else(|| anyhow!("the kernel release is not UTF-8"))?;
    let arch = std::env::consts::ARCH;
    Ok(Facts {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        held: plim_runtime::held_capabilities()?,
        arch: Arch::from_name(arch).ok_or_else(|| anyhow!("the architecture {arch} is not supported"))?,
        kernel: KernelVersion::from_release(release)
            .ok_or_else(|| anyhow!("the kernel release {release:?} is not understood"))?,
        host_name: names.nodename().to_string_lossy().into_owned(),
        memory_bytes: nix::sys::sysinfo::sysinfo().context("sysinfo")?.ram_total(),
    })
}

fn device(metadata: &std::fs::Metadata) -> Option<HostDevice> {
    let kind = metadata.file_type();
    let kind = if kind.is_block_device() {
        'b'
    } else if kind.is_char_device() {
        'c'
    } else {
        return None;
    };
    let number = |n: u64| u32::try_from(n).ok();
    Some(HostDevice {
        kind,
        major: number(nix::sys::stat::major(metadata.rdev()))?,
        minor: number(nix::sys::stat::minor(metadata.rdev()))?,
        mode: metadata.permissions().mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    })
}

fn read_bounded(file: File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut text)?;
    if read as u64 > most {
        return Err(std::io::Error::new(
            std::io::ErrorKind::FileTooLarge,
            format!("it has more than {most} bytes"),
        ));
    }
    Ok(text)
}

const SELINUXFS: &str = "/sys/fs/selinux";

/// A file of selinuxfs; empty when it is not there.
fn selinux_file(name: &str) -> String {
    std::fs::read_to_string(format!("{SELINUXFS}/{name}")).unwrap_or_default().trim().to_owned()
}

/// Whether the policy allows `source` a permission on `target`. One that the policy does not define is not asked for by the kernel,
/// or allowed or denied as a whole.
fn selinux_allows(source: &str, target: &str, class: &str, permission: &str) -> bool {
    let index = selinux_file(&format!("class/{class}/index"));
    let number = selinux_file(&format!("class/{class}/perms/{permission}")).parse::<u32>();
    let (Ok(number @ 1..=32), false) = (number, index.is_empty()) else {
        return selinux_file("deny_unknown") == "0";
    };
    let ask = || -> std::io::Result<String> {
        let mut file = File::options().read(true).write(true).open(format!("{SELINUXFS}/access"))?;
        let question = format!("{source} {target} {index} {:x}", 1u32 << (number - 1));
        std::io::Write::write_all(&mut file, question.as_bytes())?;
        let mut answer = String::new();
        file.read_to_string(&mut answer)?;
        Ok(answer)
    };
    // allowed, decided, … (security/selinux/selinuxfs.c, sel_write_access).
    let allowed = ask().ok().and_then(|text| u32::from_str_radix(text.split(' ').next()?, 16).ok());
    allowed.is_some_and(|allowed| allowed & 1 << (number - 1) != 0)
}

impl World for Host {
    fn read_in_root(&self, root: &Path, path: &str) -> Result<Option<String>> {
        let what = || format!("read {path} in {}", root.display());
        let directory = std::fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlag::O_DIRECTORY.bits() | OFlag::O_CLOEXEC.bits())
            .open(root)
            .with_context(what)?;
        // RESOLVE_IN_ROOT: a symlink to /etc/passwd is the container's, never the host's. O_NONBLOCK: a pipe in its
        // place does not stop us.
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let fd = match openat2(&directory, path, how) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(errno) => return Err(errno).with_context(what),
        };
        let file = File::from(fd);
        if !file.metadata().with_context(what)?.is_file() {
            bail!("{}: it is not a regular file", what());
        }
        let text = read_bounded(file, MAX_ROOT_FILE_BYTES).with_context(what)?;
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        read_bounded(File::open(path)?, MAX_FILE_BYTES)
    }

    fn kind(&self, path: &Path) -> std::io::Result<PathKind> {
        let metadata = std::fs::metadata(path)?;
        Ok(match device(&metadata) {
            Some(device) => PathKind::Device(device),
            None if metadata.is_dir() => PathKind::Directory,
            None => PathKind::Other,
        })
    }

    fn directories_in(&self, path: &Path) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        Ok(names)
    }

    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        path.canonicalize()
    }

    fn devices_below(&self, directory: &Path) -> std::io::Result<Vec<(PathBuf, HostDevice)>> {
        // containerd `oci.getDevices`: what the container has of its own, or what is no device.
        const SKIP: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"];
        let mut found = Vec::new();
        let mut left = vec![directory.to_owned()];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(&directory)? {
                let entry = entry?;
                let metadata = match entry.metadata() {
                    Ok(metadata) => metadata,
                    // Devices come and go.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                if metadata.is_dir() {
                    if !SKIP.iter().any(|name| entry.file_name() == *name) {
                        left.push(entry.path());
                    }
                } else if let Some(device) = device(&metadata) {
                    found.push((entry.path(), device));
                }
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }

    fn block_schedulers(&self) -> Vec<String> {
        let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let files = devices.map(|device| device.path().join("queue/scheduler"));
        files
            .chain(["/sys/fs/cgroup/io.cost.qos".into()])
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn container_pid(&self, name: &str) -> Result<i32> {
        let found = plim_observe::find(None, name)?;
        Ok(found.pid.0)
    }

    fn selinux(&self, context: &str, nosuid: bool) -> Answer {
        // The context of everything, before any policy is there.
        let own = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
        let own = own.trim_end_matches(['\0', '\n']).to_owned();
        if selinux_file("enforce").is_empty() || own.is_empty() || own == "kernel" {
            return Answer::Inactive;
        }
        // Writing a context asks whether the policy has it (security/selinux/selinuxfs.c, sel_write_context).
        if std::fs::write(format!("{SELINUXFS}/context"), context).is_err() {
            return Answer::Unknown;
        }
        let allows = |class: &str, permission: &str| selinux_allows(&own, context, class, permission);
        let on_nosuid = || {
            selinux_file("policy_capabilities/nnp_nosuid_transition") == "1"
                && allows("process2", "nosuid_transition")
                && allows("process2", "nnp_transition")
        };
        let free =
            selinux_file("enforce") == "0" || allows("process", "transition") && (!nosuid || on_nosuid());
        if free { Answer::Possible } else { Answer::Forbidden }
    }

    fn kernel_capabilities(&self) -> Result<CapabilitySet> {
        const PATH: &str = "/proc/sys/kernel/cap_last_cap";
        let text = std::fs::read_to_string(PATH).with_context(|| format!("read {PATH}"))?;
        let last: u8 = text.trim().parse().with_context(|| format!("read {PATH}: found {text:?}"))?;
        Ok((0..=last).filter_map(Capability::from_number).collect())
    }

    fn hard_limit(&self, name: &str) -> Option<Limit> {
        let resource = match name {
            "RLIMIT_AS" => Resource::RLIMIT_AS,
            "RLIMIT_CORE" => Resource::RLIMIT_CORE,
            "RLIMIT_CPU" => Resource::RLIMIT_CPU,
            "RLIMIT_DATA" => Resource::RLIMIT_DATA,
            "RLIMIT_FSIZE" => Resource::RLIMIT_FSIZE,
            "RLIMIT_LOCKS" => Resource::RLIMIT_LOCKS,
            "RLIMIT_MEMLOCK" => Resource::RLIMIT_MEMLOCK,
            "RLIMIT_MSGQUEUE" => Resource::RLIMIT_MSGQUEUE,
            "RLIMIT_NICE" => Resource::RLIMIT_NICE,
            "RLIMIT_NOFILE" => Resource::RLIMIT_NOFILE,
            "RLIMIT_NPROC" => Resource::RLIMIT_NPROC,
            "RLIMIT_RSS" => Resource::RLIMIT_RSS,
            "RLIMIT_RTPRIO" => Resource::RLIMIT_RTPRIO,
            "RLIMIT_RTTIME" => Resource::RLIMIT_RTTIME,
            "RLIMIT_SIGPENDING" => Resource::RLIMIT_SIGPENDING,
            "RLIMIT_STACK" => Resource::RLIMIT_STACK,
            _ => return None,
        };
        let (_, hard) = getrlimit(resource).ok()?;
        Some(if hard == nix::sys::resource::RLIM_INFINITY { Limit::Max } else { Limit::Of(hard) })
    }
}
