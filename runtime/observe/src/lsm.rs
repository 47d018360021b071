//! Security modules: which are active, and the target's labels.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use plim_model::Observed;
use plim_model::snapshot::Lsm;

use crate::procdir::{SMALL, TaskDir, read_bounded};
use crate::sys;
use crate::why::{ReadError, errno_text, observed};

/// Where securityfs lists them (Linux 4.11).
const LIST: &str = "/sys/kernel/security/lsm";

/// Numbers of lsm_list_modules(2) (include/uapi/linux/lsm.h, `LSM_ID_*`), from 100.
const NAMES: [&str; 14] = [
    "capability",
    "selinux",
    "smack",
    "tomoyo",
    "apparmor",
    "yama",
    "loadpin",
    "safesetid",
    "lockdown",
    "bpf",
    "landlock",
    "ima",
    "evm",
    "ipe",
];

/// The active modules in the kernel's order: from the system call (Linux 6.8), before it from securityfs.
pub(crate) fn active() -> Observed<Vec<String>> {
    match sys::lsm_list_modules() {
        Ok(ids) => Observed::Present(ids.into_iter().map(name).collect()),
        Err(_) => {
            let text = nix::fcntl::open(LIST, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(ReadError::from)
                .and_then(|fd| read_bounded(fd, SMALL));
            match text {
                Ok(text) => Observed::Present(
                    String::from_utf8_lossy(&text).trim().split(',').map(str::to_owned).collect(),
                ),
                // securityfs is not mounted, which says nothing of the modules.
                Err(ReadError::Errno(Errno::ENOENT)) => Observed::Unknown(format!(
                    "open {LIST}: {}; securityfs is not mounted there",
                    errno_text(Errno::ENOENT)
                )),
                Err(error) => observed(&format!("read {LIST}"), None, Err(error)),
            }
        }
    }
}

fn name(id: u64) -> String {
    let known = id.checked_sub(100).and_then(|index| NAMES.get(usize::try_from(index).ok()?));
    known.map_or_else(|| format!("lsm-{id}"), |name| (*name).to_owned())
}

/// The active modules and the target's labels.
pub(crate) fn read(task: &TaskDir) -> Lsm {
    let active = active();
    let label = |module: &str, files: &[&str]| match &active {
        Observed::Present(modules) if !modules.iter().any(|name| name == module) => Observed::Absent,
        _ => label(task, files),
    };
    Lsm {
        // attr/apparmor/ from Linux 5.8; attr/current is whichever module came first.
        apparmor: label("apparmor", &["attr/apparmor/current", "attr/current"]),
        selinux: label("selinux", &["attr/current"]),
        smack: label("smack", &["attr/smack/current", "attr/current"]),
        active,
    }
}

/// The first of `files` that exists. EINVAL: the module behind the file is not active.
fn label(task: &TaskDir, files: &[&str]) -> Observed<String> {
    for file in files {
        match task.text(file) {
            Ok(text) => {
                return Observed::Present(text.trim_end_matches(['\0', '\n']).to_owned());
            }
            Err(ReadError::Errno(Errno::ENOENT)) => {}
            Err(ReadError::Errno(Errno::EINVAL)) => return Observed::Absent,
            Err(error) => return observed(&format!("read /proc/PID/{file}"), None, Err(error)),
        }
    }
    Observed::Absent
}

#[cfg(test)]
mod tests {
    #[test]
    fn module_numbers_become_names_and_new_ones_survive() {
        assert_eq!(super::name(100), "capability");
        assert_eq!(super::name(110), "landlock");
        assert_eq!(super::name(999), "lsm-999");
        assert_eq!(super::name(0), "lsm-0");
    }
}
