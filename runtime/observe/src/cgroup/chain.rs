//! A cgroup and its ancestors as directories.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use plim_model::Observed;
use plim_model::cgroup::Level;
use plim_model::parse::ParseError;
use plim_model::rlimit::Limit;

use crate::procdir::{SMALL, read_bounded};
use crate::why::{ReadError, observed};

/// One cgroup directory.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    /// Its path within the hierarchy.
    pub(crate) path: String,
    on_disk: PathBuf,
}

/// The target's own cgroup first, the root of the mount last; never empty.
#[derive(Clone, Debug)]
pub(crate) struct Chain(Vec<Directory>);

impl Directory {
    /// Reads one file of it with `parse`; a controller that is not enabled here has no files: absent.
    pub(crate) fn file<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, ParseError>,
    ) -> Observed<T> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let value = open(&self.on_disk.join(name), flags, Mode::empty())
            .map_err(ReadError::from)
            .and_then(|fd| read_bounded(fd, SMALL))
            .and_then(|bytes| Ok(parse(&String::from_utf8_lossy(&bytes))?));
        // ENODEV: the cgroup was removed while the file was open. EOPNOTSUPP: controller without such a file here.
        match value {
            Err(ReadError::Errno(Errno::EOPNOTSUPP)) => Observed::Absent,
            value => observed(&format!("read {name} of the target's cgroup"), None, value),
        }
    }

    /// Opens the directory itself.
    pub(crate) fn open(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        open(&self.on_disk, flags, Mode::empty())
    }

    /// [`Directory::file`] for one whose text is taken as it is, trimmed.
    pub(crate) fn words(&self, name: &str) -> Observed<String> {
        self.file(name, |text| Ok(text.trim().to_owned()))
    }
}

impl Chain {
    /// The directories for the cgroup `path` on a mount of `root` at `mount_point`; `None` when the mount does not
    /// show it (`root` is no ancestor of it, or it lies outside the reader's cgroup namespace: `/../…`).
    pub(crate) fn new(fs_root: &Path, mount_point: &str, root: &str, path: &str) -> Option<Chain> {
        // A cgroup that was removed under its last tasks.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        if path.split('/').any(|part| part == "..") || root.split('/').any(|part| part == "..") {
            return None;
        }
        let below = match root {
            "/" => path,
            root => path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?,
        };
        let top = fs_root.join(mount_point.trim_start_matches('/'));
        let prefix = if root == "/" { "" } else { root };
        let parts: Vec<&str> = below.split('/').filter(|part| !part.is_empty()).collect();
        let directories = (0..=parts.len()).rev().map(|depth| {
            let below = parts[..depth].join("/");
            let shown = match (prefix, below.as_str()) {
                ("", below) => format!("/{below}"),
                (prefix, "") => prefix.to_owned(),
                (prefix, below) => format!("{prefix}/{below}"),
            };
            Directory { path: shown, on_disk: top.join(&below) }
        });
        Some(Chain(directories.collect()))
    }

    /// The target's own cgroup.
    pub(crate) fn own(&self) -> &Directory {
        &self.0[0]
    }

    /// From the own cgroup upward.
    pub(crate) fn directories(&self) -> &[Directory] {
        &self.0
    }

    /// How many cgroups.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The chain cut off above the first `length` cgroups.
    pub(crate) fn cut(&self, length: usize) -> Chain {
        Chain(self.0[..length.clamp(1, self.0.len())].to_vec())
    }

    /// Whether the (v2) hierarchy has this controller at all.
    pub(crate) fn offers(&self, controller: &str) -> Observed<bool> {
        let top = self.0.last().unwrap_or_else(|| self.own());
        top.words("cgroup.controllers").map(|list| list.split(' ').any(|name| name == controller))
    }

    /// What each level declares in the file `name`.
    pub(crate) fn levels(&self, name: &str, parse: impl Fn(&str) -> Result<Limit, ParseError>) -> Vec<Level> {
        self.0
            .iter()
            .map(|directory| Level { path: directory.path.clone(), max: directory.file(name, &parse) })
            .collect()
    }
}

/// The smallest limit of all levels. Levels without the file do not limit; one that cannot be read may.
pub(crate) fn smallest<'a>(limits: impl IntoIterator<Item = &'a Observed<Limit>>) -> Observed<Limit> {
    let mut smallest = Limit::Max;
    for limit in limits {
        match limit {
            Observed::Present(limit) => smallest = smallest.min(*limit),
            Observed::Absent => {}
            Observed::Unknown(why) => return Observed::Unknown(why.clone()),
        }
    }
    Observed::Present(smallest)
}

/// The smallest over `levels`.
pub(crate) fn effective(levels: &[Level]) -> Observed<Limit> {
    smallest(levels.iter().map(|level| &level.max))
}
