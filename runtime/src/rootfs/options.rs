//! Mount options by name: one table, and an error for every name that is not in it.

use nix::mount::MsFlags;

use crate::config::Mount;
use crate::error::{Result, RuntimeError};

/// MS_NOSYMFOLLOW, Linux 5.10.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(256);

enum Effect {
    Nothing,
    Set(MsFlags),
    Clear(MsFlags),
    SetBelow(MsFlags),
    ClearBelow(MsFlags),
    Bind { recursive: bool },
    Propagation(MsFlags),
}

/// Names of mount(8) and the OCI specification (config.md, "Linux mount options").
const TABLE: &[(&str, Effect)] = &[
    ("defaults", Effect::Nothing),
    ("ro", Effect::Set(MsFlags::MS_RDONLY)),
    ("rw", Effect::Clear(MsFlags::MS_RDONLY)),
    ("nosuid", Effect::Set(MsFlags::MS_NOSUID)),
    ("suid", Effect::Clear(MsFlags::MS_NOSUID)),
    ("nodev", Effect::Set(MsFlags::MS_NODEV)),
    ("dev", Effect::Clear(MsFlags::MS_NODEV)),
    ("noexec", Effect::Set(MsFlags::MS_NOEXEC)),
    ("exec", Effect::Clear(MsFlags::MS_NOEXEC)),
    ("sync", Effect::Set(MsFlags::MS_SYNCHRONOUS)),
    ("async", Effect::Clear(MsFlags::MS_SYNCHRONOUS)),
    ("dirsync", Effect::Set(MsFlags::MS_DIRSYNC)),
    ("lazytime", Effect::Set(MsFlags::MS_LAZYTIME)),
    ("nolazytime", Effect::Clear(MsFlags::MS_LAZYTIME)),
    ("silent", Effect::Set(MsFlags::MS_SILENT)),
    ("loud", Effect::Clear(MsFlags::MS_SILENT)),
    ("iversion", Effect::Set(MsFlags::MS_I_VERSION)),
    ("noiversion", Effect::Clear(MsFlags::MS_I_VERSION)),
    ("noatime", Effect::Set(MsFlags::MS_NOATIME)),
    ("atime", Effect::Clear(MsFlags::MS_NOATIME)),
    ("nodiratime", Effect::Set(MsFlags::MS_NODIRATIME)),
    ("diratime", Effect::Clear(MsFlags::MS_NODIRATIME)),
    ("relatime", Effect::Set(MsFlags::MS_RELATIME)),
    ("norelatime", Effect::Clear(MsFlags::MS_RELATIME)),
    ("strictatime", Effect::Set(MsFlags::MS_STRICTATIME)),
    ("nostrictatime", Effect::Clear(MsFlags::MS_STRICTATIME)),
    ("nosymfollow", Effect::Set(NOSYMFOLLOW)),
    ("symfollow", Effect::Clear(NOSYMFOLLOW)),
    ("rro", Effect::SetBelow(MsFlags::MS_RDONLY)),
    ("rrw", Effect::ClearBelow(MsFlags::MS_RDONLY)),
    ("rnosuid", Effect::SetBelow(MsFlags::MS_NOSUID)),
    ("rsuid", Effect::ClearBelow(MsFlags::MS_NOSUID)),
    ("rnodev", Effect::SetBelow(MsFlags::MS_NODEV)),
    ("rdev", Effect::ClearBelow(MsFlags::MS_NODEV)),
    ("rnoexec", Effect::SetBelow(MsFlags::MS_NOEXEC)),
    ("rexec", Effect::ClearBelow(MsFlags::MS_NOEXEC)),
    ("rnosymfollow", Effect::SetBelow(NOSYMFOLLOW)),
    ("rsymfollow", Effect::ClearBelow(NOSYMFOLLOW)),
    ("bind", Effect::Bind { recursive: false }),
    ("rbind", Effect::Bind { recursive: true }),
    ("private", Effect::Propagation(MsFlags::MS_PRIVATE)),
    ("rprivate", Effect::Propagation(MsFlags::MS_PRIVATE.union(MsFlags::MS_REC))),
    ("slave", Effect::Propagation(MsFlags::MS_SLAVE)),
    ("rslave", Effect::Propagation(MsFlags::MS_SLAVE.union(MsFlags::MS_REC))),
    ("shared", Effect::Propagation(MsFlags::MS_SHARED)),
    ("rshared", Effect::Propagation(MsFlags::MS_SHARED.union(MsFlags::MS_REC))),
    ("unbindable", Effect::Propagation(MsFlags::MS_UNBINDABLE)),
    ("runbindable", Effect::Propagation(MsFlags::MS_UNBINDABLE.union(MsFlags::MS_REC))),
];

/// Options with a value, or of one file system's own, by file system type. The kernel judges the values.
const OF_FILE_SYSTEM: &[(&str, &[&str])] = &[
    (
        "tmpfs",
        &[
            "size",
            "nr_blocks",
            "nr_inodes",
            "mode",
            "uid",
            "gid",
            "mpol",
            "huge",
            "noswap",
            "inode64",
            "inode32",
        ],
    ),
    ("proc", &["hidepid", "gid", "subset"]),
    ("devpts", &["newinstance", "ptmxmode", "mode", "uid", "gid", "max"]),
    ("ramfs", &["mode"]),
    ("sysfs", &[]),
    ("mqueue", &[]),
    ("cgroup", &[]),
    (
        "cgroup2",
        &["nsdelegate", "memory_localevents", "memory_recursiveprot", "favordynmods", "nofavordynmods"],
    ),
    (
        "overlay",
        &[
            "lowerdir",
            "upperdir",
            "workdir",
            "redirect_dir",
            "index",
            "metacopy",
            "userxattr",
            "xino",
            "volatile",
            "nfs_export",
            "uuid",
        ],
    ),
];

/// A mount's options, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` (`Some(false)`) or `rbind` (`Some(true)`).
    pub(crate) bind: Option<bool>,
    /// Flags to have.
    pub(crate) set: MsFlags,
    /// Flags not to have.
    pub(crate) clear: MsFlags,
    /// Flags to have on the mount and everything below it (`rro`).
    pub(crate) set_below: MsFlags,
    /// Flags not to have on the mount and everything below it.
    pub(crate) clear_below: MsFlags,
    /// Propagation changes, in order.
    pub(crate) propagation: Vec<MsFlags>,
    /// The file system's own options, joined by commas.
    pub(crate) data: String,
}

impl Default for Options {
    fn default() -> Options {
        let none = MsFlags::empty();
        Options {
            bind: None,
            set: none,
            clear: none,
            set_below: none,
            clear_below: none,
            propagation: Vec::new(),
            data: String::new(),
        }
    }
}

/// Understands the options of `mount`, or says which one is not known.
pub(crate) fn parse(mount: &Mount) -> Result<Options> {
    let mut options = Options::default();
    if mount.fs_type == "bind" {
        options.bind = Some(false);
    }
    let mut data: Vec<&str> = Vec::new();
    for option in &mount.options {
        let name = option.split_once('=').map_or(option.as_str(), |(name, _)| name);
        match TABLE.iter().find(|(known, _)| known == option).map(|(_, effect)| effect) {
            Some(Effect::Nothing) => {}
            Some(Effect::Set(flag)) => {
                options.set |= *flag;
                options.clear -= *flag;
            }
            Some(Effect::Clear(flag)) => {
                options.clear |= *flag;
                options.set -= *flag;
            }
            Some(Effect::SetBelow(flag)) => {
                options.set_below |= *flag;
                options.clear_below -= *flag;
            }
            Some(Effect::ClearBelow(flag)) => {
                options.clear_below |= *flag;
                options.set_below -= *flag;
            }
            Some(Effect::Bind { recursive }) => options.bind = Some(*recursive),
            Some(Effect::Propagation(flags)) => options.propagation.push(*flags),
            None if is_data(&mount.fs_type, name) => data.push(option),
            None => {
                return Err(RuntimeError::refused(
                    format!("mount {} on {}", mount.fs_type, mount.destination),
                    format!("unknown mount option {option:?}"),
                ));
            }
        }
    }
    if options.bind.is_some() && !data.is_empty() {
        return Err(RuntimeError::refused(
            format!("mount {} on {}", mount.source, mount.destination),
            format!("a bind mount has no file system options, found {:?}", data.join(",")),
        ));
    }
    options.data = data.join(",");
    Ok(options)
}

/// Whether `name` may be an option of this file system. Types without an entry are left to the kernel's own parser.
fn is_data(fs_type: &str, name: &str) -> bool {
    OF_FILE_SYSTEM.iter().find(|(known, _)| *known == fs_type).is_none_or(|(_, names)| names.contains(&name))
        && fs_type != "bind"
}

/// The propagation flag of a word such as `rslave`; the root's `rootfsPropagation` uses the same words.
pub(crate) fn propagation(word: &str) -> Option<MsFlags> {
    TABLE.iter().find(|(known, _)| *known == word).and_then(|(_, effect)| match effect {
        Effect::Propagation(flags) => Some(*flags),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(fs_type: &str, options: &[&str]) -> Mount {
        Mount {
            destination: "/x".into(),
            fs_type: fs_type.into(),
            source: "s".into(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let options = parse(&mount("tmpfs", &["nosuid", "mode=755", "ro", "rw", "size=65536k"])).unwrap();
        assert_eq!(options.set, MsFlags::MS_NOSUID);
        assert_eq!(options.clear, MsFlags::MS_RDONLY);
        assert_eq!(options.data, "mode=755,size=65536k");
        assert_eq!(options.bind, None);
    }

    #[test]
    fn bind_is_had_by_type_or_by_option() {
        assert_eq!(parse(&mount("bind", &["ro"])).unwrap().bind, Some(false));
        assert_eq!(parse(&mount("none", &["rbind"])).unwrap().bind, Some(true));
        assert_eq!(parse(&mount("bind", &["rbind", "rro"])).unwrap().set_below, MsFlags::MS_RDONLY);
    }

    #[test]
    fn unknown_options_are_errors() {
        for (fs_type, option) in [
            ("tmpfs", "nosiud"),
            ("tmpfs", "sise=1"),
            ("bind", "mode=755"),
            ("proc", "size=1"),
            ("sysfs", "x=y"),
        ] {
            let error = parse(&mount(fs_type, &[option])).unwrap_err().to_string();
            assert!(error.contains(option) && error.contains("/x"), "{error}");
        }
    }

    #[test]
    fn propagation_words() {
        assert_eq!(propagation("rslave"), Some(MsFlags::MS_SLAVE | MsFlags::MS_REC));
        assert_eq!(propagation("ro"), None);
        assert_eq!(propagation(""), None);
    }
}
