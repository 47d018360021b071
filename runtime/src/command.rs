//! Finding the command in the container, and refusing to run the launcher's own executable there.
//!
//! A container that gets the host's `plim` to run inside it can overwrite it through `/proc/PID/exe` once it has ended
//! (the class of CVE-2019-5736). The way in is a command, or the interpreter in its `#!` line, that leads to
//! `/proc/self/exe`; so both are opened first and compared with this process's own executable.

use std::ffi::CString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, stat};
use nix::unistd::{AccessFlags, access, execve};

use crate::config::Process;
use crate::error::{During, ErrnoText, Result, RuntimeError};

/// Where to look when the environment has no PATH (execvp(3)).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How many `#!` lines the kernel follows (BINPRM_MAX_RECURSION).
const INTERPRETERS_MAX: usize = 5;

/// A file by what tells it from every other: device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// This process's own executable.
    pub(crate) fn of_self() -> Result<Identity> {
        let stat = stat("/proc/self/exe").during(|| "look at our own executable /proc/self/exe")?;
        Ok(Identity { device: stat.st_dev, inode: stat.st_ino })
    }
}

/// The command, found and fit to be executed.
#[derive(Debug)]
pub(crate) struct Command {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

/// Finds `args[0]` in the container. The caller is in the container with the command's own user and capabilities, so
/// that permissions are judged as execve(2) will judge them.
pub(crate) fn find(process: &Process, forbidden: Identity) -> Result<Command> {
    let name = process.args.first().map(String::as_str).unwrap_or_default();
    let not_found = |why: String| Err(RuntimeError::CommandNotFound { command: name.to_owned(), why });
    if name.is_empty() {
        return not_found("the command is empty".into());
    }
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![name.into()]
    } else {
        let path =
            process.env.iter().rev().find_map(|line| line.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        path.split(':')
            .filter(|directory| directory.starts_with('/'))
            .map(|dir| Path::new(dir).join(name))
            .collect()
    };
    let mut unusable = None;
    for candidate in &candidates {
        match check(candidate, forbidden, 0) {
            Ok(()) => return prepare(process, candidate),
            Err(Unusable::Missing(errno)) => {
                if name.contains('/') {
                    return not_found(ErrnoText(errno as i32).to_string());
                }
            }
            Err(Unusable::Refused(why)) => {
                unusable.get_or_insert(format!("{}: {why}", candidate.display()));
            }
        }
    }
    match unusable {
        Some(why) => Err(RuntimeError::CommandNotExecutable { command: name.to_owned(), why }),
        None => not_found("executable file not found in the container's PATH".into()),
    }
}

enum Unusable {
    Missing(Errno),
    Refused(String),
}

/// Whether `path` can be executed and neither it nor its interpreters are the forbidden file.
fn check(path: &Path, forbidden: Identity, depth: usize) -> std::result::Result<(), Unusable> {
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Unusable::Missing(errno),
        other => Unusable::Refused(ErrnoText(other as i32).to_string()),
    })?;
    let text = |errno: Errno| Unusable::Refused(ErrnoText(errno as i32).to_string());
    let stat = fstat(file.as_fd()).map_err(text)?;
    match SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Err(Unusable::Refused("it is a directory".into())),
        _ => return Err(Unusable::Refused("it is not a regular file".into())),
    }
    if (Identity { device: stat.st_dev, inode: stat.st_ino }) == forbidden {
        return Err(Unusable::Refused(
            "it is the launcher's own executable, which no container may run".into(),
        ));
    }
    access(path, AccessFlags::X_OK).map_err(text)?;
    match interpreter(path) {
        Some(next) if depth < INTERPRETERS_MAX => {
            check(&next, forbidden, depth + 1).map_err(|error| match error {
                Unusable::Missing(errno) => Unusable::Refused(format!(
                    "its interpreter {}: {}",
                    next.display(),
                    ErrnoText(errno as i32)
                )),
                Unusable::Refused(why) => {
                    Unusable::Refused(format!("its interpreter {}: {why}", next.display()))
                }
            })
        }
        _ => Ok(()),
    }
}

/// The interpreter of a `#!` line (execve(2)); `None` for other files and for those that cannot be read.
fn interpreter(path: &Path) -> Option<PathBuf> {
    // Non-blocking: the name may have been swapped for a fifo since it was looked at.
    let file =
        open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY, Mode::empty())
            .ok()?;
    let mut head = [0; 256];
    let length = nix::unistd::read(&file, &mut head).ok()?;
    let line = head[..length].strip_prefix(b"#!")?.split(|&byte| byte == b'\n').next()?;
    let words = line.trim_ascii().split(|byte| matches!(byte, b' ' | b'\t'));
    let first = words.into_iter().next().filter(|word| !word.is_empty())?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(first)))
}

fn prepare(process: &Process, path: &Path) -> Result<Command> {
    let c_string = |text: &str, what: &str| {
        CString::new(text)
            .map_err(|_| RuntimeError::refused(format!("pass {what} {text:?}"), "it has a NUL byte in it"))
    };
    Ok(Command {
        path: c_string(&path.to_string_lossy(), "the command")?,
        args: process.args.iter().map(|arg| c_string(arg, "argument")).collect::<Result<_>>()?,
        env: process.env.iter().map(|line| c_string(line, "environment variable")).collect::<Result<_>>()?,
    })
}

impl Command {
    /// Becomes the command. Returns only the error.
    pub(crate) fn execute(&self) -> RuntimeError {
        let Err(errno) = execve(&self.path, &self.args, &self.env);
        let command = self.path.to_string_lossy().into_owned();
        let why = ErrnoText(errno as i32).to_string();
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => RuntimeError::CommandNotFound { command, why },
            _ => RuntimeError::CommandNotExecutable { command, why },
        }
    }

    pub(crate) fn args(&self) -> &[CString] {
        &self.args
    }

    pub(crate) fn env(&self) -> &[CString] {
        &self.env
    }

    pub(crate) fn path(&self) -> &CString {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_read_as_the_kernel_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s");
        for (content, expected) in [
            ("#!/bin/sh\n", Some("/bin/sh")),
            ("#! \t/bin/sh -x y\nrest", Some("/bin/sh")),
            ("#!\n", None),
            ("\x7fELF", None),
            ("", None),
        ] {
            std::fs::write(&script, content).unwrap();
            assert_eq!(interpreter(&script), expected.map(PathBuf::from), "{content:?}");
        }
    }
}
