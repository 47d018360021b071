//! The state directory: one directory per container, names, and what earlier runs left behind.
//!
//! ```text
//! /run/plim/                    0711; $XDG_RUNTIME_DIR/plim without root
//!   .names/NAME -> ID's start   a name in use
//!   ID/                         0711; locked (flock(2)) as long as the launcher or its janitor lives
//!     state.json                0600; plim_model::state::ContainerState, written when the container is made
//!     cgroups.json              what has to be removed, written before it is made
//!     log, log.1                0600; the output of a detached container ([`crate::log`])
//! ```
//!
//! The lock on a container's directory is what tells a living one from a stale one: the kernel drops it with the last
//! process that holds it, however that process ends, so no pid is ever trusted. A lock on the whole directory makes
//! claiming and clearing away exclude each other.

use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use plim_model::state::ContainerState;

use crate::cgroup::Removal;
use crate::config::ContainerConfig;
use crate::error::{During, Result, RuntimeError};
use crate::log;

const NAMES: &str = ".names";
const REMOVAL: &str = "cgroups.json";

/// The directory that holds a directory per container: `/run/plim` for root, else `$XDG_RUNTIME_DIR/plim`, else
/// `/tmp/plim-UID`.
pub fn directory() -> PathBuf {
    if geteuid().is_root() {
        return "/run/plim".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) if Path::new(&runtime).is_absolute() => Path::new(&runtime).join("plim"),
        _ => PathBuf::from(format!("/tmp/plim-{}", geteuid())),
    }
}

/// A container's directory, claimed and locked by this process (and by those it forks).
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    name: PathBuf,
    lock: Flock<File>,
}

/// Where a container's directory and its name will be; plain data that the janitor is given beforehand.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) directory: PathBuf,
    pub(crate) name: PathBuf,
}

impl Places {
    pub(crate) fn of(config: &ContainerConfig) -> Places {
        let top = directory();
        Places { name: top.join(NAMES).join(&config.name), directory: top.join(&config.id) }
    }

    /// Removes the directory and the name, if the name is this container's. What is not there is no error.
    pub(crate) fn remove(&self) {
        let id = self.directory.file_name().unwrap_or_default().to_string_lossy();
        if fs::read_link(&self.name).is_ok_and(|start| start.to_str() == Some(start_of(&id))) {
            let _ = fs::remove_file(&self.name);
        }
        for file in ["state.json", REMOVAL, ".state.json.new"].into_iter().chain(log::FILES) {
            let _ = fs::remove_file(self.directory.join(file));
        }
        let _ = fs::remove_dir(&self.directory);
    }
}

impl StateDir {
    /// Clears away what dead runs left, then claims the id and the name.
    ///
    /// # Errors
    /// [`RuntimeError::NameInUse`], or the id is in use, or the directory cannot be made.
    pub(crate) fn claim(config: &ContainerConfig, removal: &Removal) -> Result<StateDir> {
        let top = directory();
        let whole = lock_all(&top)?;
        let living = collect_stale(&top);
        let places = Places::of(config);
        match fs::read_link(&places.name) {
            Ok(start) => {
                let start = start.to_string_lossy().into_owned();
                let id = living.into_iter().find(|id| id.starts_with(&start)).unwrap_or(start);
                return Err(RuntimeError::NameInUse { name: config.name.clone(), id });
            }
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {}
            Err(error) => return Err(error).during(|| format!("read the link {}", places.name.display())),
        }
        let doing = || format!("make the state directory {}", places.directory.display());
        // Not to be listed by others, but to be passed: the root of a user namespace is one of them, and mounts its
        // upper layer there.
        DirBuilder::new().mode(0o711).create(&places.directory).during(doing)?;
        let file = File::open(&places.directory).during(doing)?;
        let lock =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno).during(doing)?;
        let state = StateDir { path: places.directory.clone(), name: places.name.clone(), lock };
        let claimed = claim_name(config, &places, &top).and_then(|()| {
            let json = serde_json::to_vec(removal)
                .map_err(|error| RuntimeError::refused(doing(), error.to_string()))?;
            write_private(&state.path.join(REMOVAL), &json)
        });
        drop(whole);
        claimed.inspect_err(|_| places.remove())?;
        Ok(state)
    }

    /// The descriptor that the lock belongs to; a copy of it holds the lock too.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Writes `state.json` in one step.
    pub(crate) fn write(&self, state: &ContainerState) -> Result<()> {
        let path = self.path.join("state.json");
        let json = serde_json::to_vec(state)
            .map_err(|error| RuntimeError::refused(format!("write {}", path.display()), error.to_string()))?;
        let new = self.path.join(".state.json.new");
        write_private(&new, &json)?;
        fs::rename(&new, &path).during(|| format!("write {}", path.display()))
    }

    /// Removes the directory and the name.
    pub(crate) fn remove(&self) {
        Places { directory: self.path.clone(), name: self.name.clone() }.remove();
    }
}

/// As much of an id as a name points to. ext4 and others keep a link of up to 59 bytes in the inode; a longer one has a
/// block of its own, and removing that takes longer than all the rest (0.2 ms).
fn start_of(id: &str) -> &str {
    id.get(..48).unwrap_or(id)
}

fn claim_name(config: &ContainerConfig, places: &Places, top: &Path) -> Result<()> {
    let link = || symlink(start_of(&config.id), &places.name);
    let linked = match link() {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
            let names = top.join(NAMES);
            DirBuilder::new().mode(0o700).create(&names).during(|| format!("make {}", names.display()))?;
            link()
        }
        other => other,
    };
    linked.during(|| format!("claim the name {:?} ({})", config.name, places.name.display()))
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .during(|| format!("write {}", path.display()))
}

/// Takes the lock of the whole directory, which is made when it is not there. Held for some microseconds.
fn lock_all(top: &Path) -> Result<Flock<File>> {
    let doing = || format!("lock {}", top.display());
    let file = match File::open(top) {
        Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => {
            DirBuilder::new()
                .mode(0o711)
                .recursive(true)
                .create(top)
                .during(|| format!("make {}", top.display()))?;
            File::open(top).during(doing)?
        }
        other => other.during(doing)?,
    };
    // Without root the place may be in /tmp: somebody else's directory must not be trusted.
    let owner = std::os::unix::fs::MetadataExt::uid(&file.metadata().during(doing)?);
    if owner != geteuid().as_raw() {
        return Err(RuntimeError::refused(doing(), format!("it belongs to user {owner}")));
    }
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during(doing)
}

/// Removes the directories, cgroups and names of containers whose launcher **and** janitor are dead, and returns the ids
/// that are left. Best effort: what cannot be removed now is tried again by the next run.
fn collect_stale(top: &Path) -> Vec<String> {
    let mut living = Vec::new();
    let Ok(entries) = fs::read_dir(top) else { return living };
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if !id.starts_with('.')
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && !remove_stale(&entry.path())
        {
            living.push(id);
        }
    }
    let Ok(names) = fs::read_dir(top.join(NAMES)) else { return living };
    for name in names.flatten() {
        let Ok(start) = fs::read_link(name.path()) else { continue };
        if !living.iter().any(|id| start.to_str() == Some(start_of(id))) {
            let _ = fs::remove_file(name.path());
        }
    }
    living
}

/// Removes a container's directory and cgroups if nobody holds its lock; says whether it is gone.
fn remove_stale(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return !path.exists() };
    let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { return false };
    let removal: Option<Removal> =
        fs::read(path.join(REMOVAL)).ok().and_then(|json| serde_json::from_slice(&json).ok());
    if let Some(removal) = removal {
        let _ = removal.kill_all();
        if removal.remove().is_err() {
            return false;
        }
    }
    Places { directory: path.to_owned(), name: PathBuf::new() }.remove();
    !path.exists()
}

/// Refuses ids and names that would be paths.
pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
    let id = &config.id;
    if id.len() != 64 || !id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(RuntimeError::refused(
            "make the container",
            format!("id {id:?}: expected 64 lower-case hex digits"),
        ));
    }
    let name = &config.name;
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && name.len() <= 200;
    if good {
        return Ok(());
    }
    Err(RuntimeError::refused(
        "make the container",
        format!("name {name:?}: expected [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 200 characters"),
    ))
}

/// Refuses an id whose directory a living process holds.
pub(crate) fn refuse_living(places: &Places) -> Result<()> {
    let Ok(file) = File::open(&places.directory) else { return Ok(()) };
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(()),
        Err(_) => Err(RuntimeError::refused(
            format!("make the state directory {}", places.directory.display()),
            "a container with this id is running",
        )),
    }
}
