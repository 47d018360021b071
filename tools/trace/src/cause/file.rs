//! What the file that a call is about says for itself.

use plim_model::CapabilitySet;

use super::{Cause, Kind, Known, errno};
use crate::event::Event;
use crate::files::FileFacts;

/// EROFS.
pub(super) fn read_only(known: &Known<'_>) -> Cause {
    Cause::new(
        Kind::Permission,
        match known.file {
            Some(file) => format!("{} lies on a mount or file system that is read-only", file.path),
            None => "the mount or the file system is read-only".to_owned(),
        },
    )
}

/// EPERM or EACCES without a capability having been asked for; `None` where the file does not explain it.
pub(super) fn judge(event: &Event, known: &Known<'_>, name: &str) -> Option<Cause> {
    let access = errno(event).is_some_and(|errno| errno.number() == 13);
    let permission = |words: &str, file: &FileFacts| {
        Some(Cause::new(Kind::Permission, format!("{words}: {}", file.words())))
    };
    if let Some(cause) = node(event, known, name, access) {
        return Some(cause);
    }
    let file = known.file?;
    match name {
        // The mode would give EACCES and ask for a capability: only the device cgroup answers EPERM to an open.
        "open" | "openat" | "openat2" | "creat" if file.device.is_some() && !access => {
            return Some(Cause::new(
                Kind::Limit,
                format!("the container's device cgroup does not have {}", file.words()),
            ));
        }
        "execve" | "execveat" if access && file.no_exec => return permission("mounted noexec", file),
        "execve" | "execveat" if access && (!file.regular || file.mode & 0o111 == 0) => {
            return permission("not executable", file);
        }
        "execve" | "execveat" if !access => {
            // bprm_caps_from_vfs_caps(): the file insists on more than may be had.
            let beyond = file.insists_on.difference(CapabilitySet::from_bits(event.bounding));
            if let Some(first) = beyond.iter().next() {
                return Some(Cause::with(
                    Kind::Capability,
                    first,
                    format!(
                        "the file insists on {} (setcap … =ep), not all of which the bounding set has: {}",
                        file.insists_on.names().join(", "),
                        file.words()
                    ),
                ));
            }
        }
        // PROT_EXEC of a file there is EPERM (mmap(2)).
        "mmap" | "mmap2" if !access && file.no_exec && event.args[2] & 4 != 0 => {
            return permission("mounted noexec", file);
        }
        _ => {}
    }
    if file.no_device && access && file.device.is_some() {
        return permission("mounted nodev", file);
    }
    if let (Some(frozen), false) = (&file.frozen, access) {
        return permission(&format!("the file is {frozen} (chattr), whoever asks"), file);
    }
    if file.owner_unmapped {
        return Some(Cause::new(
            Kind::Namespace,
            format!(
                "the owner has no number in the process' user namespace, so that its capabilities do not count: {}",
                file.words()
            ),
        ));
    }
    if access && file.protected {
        return permission(
            "another's file in a sticky directory (fs.protected_regular, fs.protected_fifos)",
            file,
        );
    }
    if access && file.mode_refuses {
        return permission("the mode does not allow it, and here no capability overrides it", file);
    }
    None
}

/// A device node that may not be made: CAP_MKNOD is held, or it would have been asked for.
fn node(event: &Event, known: &Known<'_>, name: &str, access: bool) -> Option<Cause> {
    const S_IFMT: u64 = 0o170_000;
    let (mode, device) = match name {
        "mknod" => (event.args[1], event.args[2]),
        "mknodat" => (event.args[2], event.args[3]),
        _ => return None,
    };
    let kind = match mode & S_IFMT {
        0o020_000 => 'c',
        0o060_000 => 'b',
        _ => return None,
    };
    if access || known.file.is_none_or(|file| file.virtual_fs) {
        return None;
    }
    // new_decode_dev()
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xf_ff00);
    Some(Cause::new(
        Kind::Limit,
        format!("the container's device cgroup does not let the device {kind} {major}:{minor} be made"),
    ))
}
