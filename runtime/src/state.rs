//! The state directory: one directory per container, names, and what earlier runs left behind.
//!
//! ```text
//! /run/plim/                    0711; another place without root ([`plim_state::own`])
//!   .names/NAME -> ID's start   a name in use
//!   ID/                         0711; locked (flock(2)) as long as the launcher or its janitor lives
//!     state.json                0600; plim_model::state::ContainerState, written when the container is made
//!     cgroups.json              what has to be removed, written before it is made
//!     log, log.1                0600; the output of a detached container ([`crate::log`])
//! ```
//!
//! The lock on a container's directory is what tells a living one from a stale one: the kernel drops it with the last
//! process that holds it, however that process ends, so no pid is ever trusted. A lock on the whole directory makes
//! claiming and clearing away exclude each other. Everything is reached through descriptors ([`plim_state`]), and nothing is
//! removed but by the names above.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat, readlinkat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};
use plim_model::state::ContainerState;
use plim_state::{StateDirectory, StateError};

use crate::cgroup::Removal;
use crate::config::ContainerConfig;
use crate::error::{During, Result, RuntimeError};
use crate::log;

const NAMES: &str = ".names";
const REMOVAL: &str = "cgroups.json";
const STATE: &str = "state.json";
const NEW_STATE: &str = ".state.json.new";

/// Bound for [`REMOVAL`]: a path for each hierarchy.
const LARGEST_REMOVAL: usize = 1 << 20;

/// The directory that holds a directory per container.
pub fn directory() -> PathBuf {
    plim_state::own().path()
}

impl From<StateError> for RuntimeError {
    fn from(error: StateError) -> RuntimeError {
        match error {
            StateError::System { operation, path, errno } => RuntimeError::System {
                operation: format!("{operation} the state directory {}", path.display()),
                errno: errno as i32,
            },
            StateError::Untrusted { path, why } => {
                RuntimeError::refused(format!("use the state directory {}", path.display()), why)
            }
        }
    }
}

/// A container's directory, claimed and locked by this process (and by those it forks).
#[derive(Debug)]
pub(crate) struct StateDir {
    places: Places,
    lock: Flock<File>,
}

/// Where a container's directory and its name will be; the janitor has it beforehand.
#[derive(Debug)]
pub(crate) struct Places {
    top: StateDirectory,
    id: String,
    name: String,
}

impl Places {
    /// Opens the state directory, which is made when there is none.
    pub(crate) fn of(config: &ContainerConfig) -> Result<Places> {
        let top = plim_state::own().make()?;
        Ok(Places { top, id: config.id.clone(), name: config.name.clone() })
    }

    /// The container's directory, for people and for mount(2).
    pub(crate) fn directory(&self) -> PathBuf {
        self.top.path().join(&self.id)
    }

    /// The descriptor that it all goes through, to be kept open in a process that closes the rest.
    pub(crate) fn number(&self) -> i32 {
        self.top.number()
    }

    /// Removes the directory and the name, if the name is this container's. What is not there is no error.
    pub(crate) fn remove(&self) {
        if let Some(names) = names(&self.top)
            && readlinkat(&names, self.name.as_str()).is_ok_and(|start| start == start_of(&self.id))
        {
            let _ = unlinkat(&names, self.name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        remove_container(&self.top, &self.id);
    }
}

fn remove_container(top: &StateDirectory, id: &str) {
    if let Ok(Some(directory)) = top.container(id) {
        for file in [STATE, REMOVAL, NEW_STATE].into_iter().chain(log::FILES) {
            let _ = unlinkat(&directory, file, UnlinkatFlags::NoRemoveDir);
        }
        let _ = unlinkat(top, id, UnlinkatFlags::RemoveDir);
    }
}

fn names(top: &StateDirectory) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(top, NAMES, flags, Mode::empty()).ok()
}

impl StateDir {
    /// Clears away what dead runs left, then claims the id and the name.
    ///
    /// # Errors
    /// [`RuntimeError::NameInUse`], or the id is in use, or the directory cannot be made.
    pub(crate) fn claim(places: Places, removal: &Removal) -> Result<StateDir> {
        let top = &places.top;
        let whole = lock_all(top)?;
        let living = collect_stale(top);
        let taken = names(top).map(|names| readlinkat(&names, places.name.as_str()));
        match taken {
            Some(Ok(start)) => {
                let start = start.to_string_lossy().into_owned();
                let id = living.into_iter().find(|id| id.starts_with(&start)).unwrap_or(start);
                return Err(RuntimeError::NameInUse { name: places.name, id });
            }
            None | Some(Err(Errno::ENOENT)) => {}
            Some(Err(errno)) => {
                return Err(errno)
                    .during(|| format!("read the link {NAMES}/{} of {}", places.name, top.path().display()));
            }
        }
        let doing = || format!("make the state directory {}", places.directory().display());
        mkdirat(top, places.id.as_str(), plim_state::MODE).during(doing)?;
        let directory = top.container(&places.id).during(doing)?.ok_or(Errno::ENOENT).during(doing)?;
        let lock = Flock::lock(File::from(directory), FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)
            .during(doing)?;
        let claimed = claim_name(&places).and_then(|()| {
            let json = serde_json::to_vec(removal)
                .map_err(|error| RuntimeError::refused(doing(), error.to_string()))?;
            write_private(lock.as_fd(), REMOVAL, &json).during(doing)
        });
        drop(whole);
        claimed.inspect_err(|_| places.remove())?;
        Ok(StateDir { places, lock })
    }

    /// The container's directory, by the descriptor that the lock belongs to; a copy of it holds the lock too.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// [`Places::directory`]
    pub(crate) fn path(&self) -> PathBuf {
        self.places.directory()
    }

    /// Writes `state.json` in one step.
    pub(crate) fn write(&self, state: &ContainerState) -> Result<()> {
        let doing = || format!("write {}", self.path().join(STATE).display());
        let json =
            serde_json::to_vec(state).map_err(|error| RuntimeError::refused(doing(), error.to_string()))?;
        write_private(self.lock(), NEW_STATE, &json).during(doing)?;
        renameat(self.lock(), NEW_STATE, self.lock(), STATE).during(doing)
    }

    /// Removes the directory and the name.
    pub(crate) fn remove(&self) {
        self.places.remove();
    }
}

/// As much of an id as a name points to. ext4 and others keep a link of up to 59 bytes in the inode; a longer one has a
/// block of its own, and removing that takes longer than all the rest (0.2 ms).
fn start_of(id: &str) -> &str {
    id.get(..48).unwrap_or(id)
}

fn claim_name(places: &Places) -> Result<()> {
    let doing = || format!("claim the name {:?} in {}", places.name, places.top.path().display());
    let names = match names(&places.top) {
        Some(names) => names,
        None => {
            match mkdirat(&places.top, NAMES, Mode::from_bits_truncate(0o700)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno).during(doing),
            }
            names(&places.top).ok_or(Errno::ENOTDIR).during(doing)?
        }
    };
    symlinkat(start_of(&places.id), &names, places.name.as_str()).during(doing)
}

fn write_private(directory: BorrowedFd<'_>, name: &str, content: &[u8]) -> std::io::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_bits_truncate(0o600))?;
    File::from(file).write_all(content)
}

/// Takes the lock of the whole directory. Held for some microseconds.
fn lock_all(top: &StateDirectory) -> Result<Flock<File>> {
    let doing = || format!("lock {}", top.path().display());
    let file = top.reopen().during(doing)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).during(doing)
}

/// Removes the directories, cgroups and names of containers whose launcher **and** janitor are dead, and returns the ids
/// that are left. Best effort: what cannot be removed now is tried again by the next run.
fn collect_stale(top: &StateDirectory) -> Vec<String> {
    let Ok(ids) = top.ids() else { return Vec::new() };
    let living: Vec<String> = ids.into_iter().filter(|id| !remove_stale(top, id)).collect();
    let Some(names) = names(top) else { return living };
    let Ok(mut listed) =
        openat(&names, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).and_then(Dir::from_fd)
    else {
        return living;
    };
    for name in listed.iter().flatten() {
        let Ok(start) = readlinkat(&names, name.file_name()) else { continue };
        if !living.iter().any(|id| start == start_of(id)) {
            let _ = unlinkat(&names, name.file_name(), UnlinkatFlags::NoRemoveDir);
        }
    }
    living
}

/// Removes a container's directory and cgroups if no process holds its lock; says whether it is gone.
fn remove_stale(top: &StateDirectory, id: &str) -> bool {
    let directory = match top.container(id) {
        Ok(Some(directory)) => File::from(directory),
        // Gone, or not a container's.
        Ok(None) => return true,
        Err(_) => return false,
    };
    let Ok(lock) = Flock::lock(directory, FlockArg::LockExclusiveNonblock) else { return false };
    let removal: Option<Removal> = plim_state::read(lock.as_fd(), REMOVAL, LARGEST_REMOVAL)
        .ok()
        .flatten()
        .and_then(|json| serde_json::from_slice(&json).ok());
    if let Some(removal) = removal {
        let _ = removal.kill_all();
        if removal.remove().is_err() {
            return false;
        }
    }
    remove_container(top, id);
    matches!(top.container(id), Ok(None))
}

/// Refuses ids and names that would be paths.
pub(crate) fn check(config: &ContainerConfig) -> Result<()> {
    let id = &config.id;
    if !plim_state::is_id(id) {
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

/// Refuses an id whose directory a living process holds. That of a dead run is no hindrance: the claim clears it away.
pub(crate) fn refuse_living(places: &Places) -> Result<()> {
    let doing = || format!("make the state directory {}", places.directory().display());
    let Some(directory) = places.top.container(&places.id).during(doing)? else { return Ok(()) };
    match Flock::lock(File::from(directory), FlockArg::LockExclusiveNonblock) {
        Ok(_) => Ok(()),
        Err(_) => Err(RuntimeError::refused(doing(), "a container with this id is running")),
    }
}
