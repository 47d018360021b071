//! Finding the command in the container, and refusing to run the launcher's own executable there.
//!
//! The way in is a command, the interpreter in its `#!` line, or the one of its ELF header, that leads to `/proc/self/exe`;
//! so all of them are compared with this process's own executable first. That is for a clear message: the image's files may
//! change between the comparison and execve(2), and what protects the host then is that the executable is sealed
//! ([`crate::sealed`]).

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt as _;
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

/// How much of a file the kernel looks at to find its format (BINPRM_BUF_SIZE).
const HEAD_BYTES: usize = 256;

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

/// The files that `args[0]` may mean, looked at with the privileges of the root that made the container: a file that its
/// user may execute but not read would otherwise hide its interpreter.
#[derive(Debug)]
pub(crate) struct Candidates {
    forbidden: Identity,
    files: Vec<(PathBuf, std::result::Result<Vec<PathBuf>, Unusable>)>,
}

/// Looks at the files that `args[0]` may mean. The caller is in the container.
pub(crate) fn look(process: &Process, forbidden: Identity) -> Candidates {
    let name = name(process);
    let paths: Vec<PathBuf> = if name.contains('/') {
        vec![name.into()]
    } else {
        let path =
            process.env.iter().rev().find_map(|line| line.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        path.split(':')
            .filter(|directory| !name.is_empty() && directory.starts_with('/'))
            .map(|dir| Path::new(dir).join(name))
            .collect()
    };
    let look = |path: PathBuf| {
        let interpreters = interpreters(&path, forbidden, 0);
        (path, interpreters)
    };
    Candidates { forbidden, files: paths.into_iter().map(look).collect() }
}

fn name(process: &Process) -> &str {
    process.args.first().map(String::as_str).unwrap_or_default()
}

impl Candidates {
    /// The first that can be executed. The caller has the command's own user and capabilities, so that permissions are
    /// judged as execve(2) will judge them.
    pub(crate) fn choose(self, process: &Process) -> Result<Command> {
        let name = name(process);
        let not_found = |why: String| Err(RuntimeError::CommandNotFound { command: name.to_owned(), why });
        if name.is_empty() {
            return not_found("the command is empty".into());
        }
        let mut unusable = None;
        for (path, looked) in self.files {
            // What root may not read, its owner may (NFS with root_squash).
            let looked = match looked {
                Err(Unusable::Unreadable(_)) => interpreters(&path, self.forbidden, 0),
                looked => looked,
            };
            let refused = match looked.and_then(|interpreters| executable(&path, &interpreters)) {
                Ok(()) => return prepare(process, &path),
                Err(Unusable::Missing(errno)) if name.contains('/') => {
                    return not_found(ErrnoText(errno as i32).to_string());
                }
                Err(Unusable::Missing(_)) => continue,
                Err(Unusable::Unreadable(errno)) => ErrnoText(errno as i32).to_string(),
                Err(Unusable::Refused(why)) => why,
            };
            unusable.get_or_insert(format!("{}: {refused}", path.display()));
        }
        match unusable {
            Some(why) => Err(RuntimeError::CommandNotExecutable { command: name.to_owned(), why }),
            None => not_found("executable file not found in the container's PATH".into()),
        }
    }
}

#[derive(Debug)]
enum Unusable {
    Missing(Errno),
    Unreadable(Errno),
    Refused(String),
}

impl Unusable {
    /// The same, of an interpreter of the file that was asked for.
    fn of_interpreter(self, path: &Path) -> Unusable {
        let why = match self {
            Unusable::Unreadable(errno) => return Unusable::Unreadable(errno),
            Unusable::Missing(errno) => ErrnoText(errno as i32).to_string(),
            Unusable::Refused(why) => why,
        };
        Unusable::Refused(format!("its interpreter {}: {why}", path.display()))
    }
}

/// Whether the caller may execute them all.
fn executable(path: &Path, interpreters: &[PathBuf]) -> std::result::Result<(), Unusable> {
    let may = |path: &Path| {
        access(path, AccessFlags::X_OK)
            .map_err(|errno| Unusable::Refused(ErrnoText(errno as i32).to_string()))
    };
    may(path)?;
    interpreters.iter().try_for_each(|next| may(next).map_err(|error| error.of_interpreter(next)))
}

/// The interpreters that the kernel would load for `path`. Neither it nor one of them is the forbidden file, and each can be
/// read: a script that cannot be read would be of no use to its interpreter.
fn interpreters(
    path: &Path,
    forbidden: Identity,
    depth: usize,
) -> std::result::Result<Vec<PathBuf>, Unusable> {
    let unreadable = |errno: Errno| match errno {
        Errno::ENOENT | Errno::ENOTDIR => Unusable::Missing(errno),
        Errno::EACCES | Errno::EPERM => Unusable::Unreadable(errno),
        other => Unusable::Refused(ErrnoText(other as i32).to_string()),
    };
    let file = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(unreadable)?;
    let stat = fstat(file.as_fd()).map_err(unreadable)?;
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
    // Non-blocking: the name may have been swapped for a fifo since it was looked at.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::from(open(path, flags, Mode::empty()).map_err(unreadable)?);
    match interpreter(&file) {
        Some(next) if depth < INTERPRETERS_MAX => {
            let mut all =
                interpreters(&next, forbidden, depth + 1).map_err(|error| error.of_interpreter(&next))?;
            all.insert(0, next);
            Ok(all)
        }
        _ => Ok(Vec::new()),
    }
}

/// The interpreter of a `#!` line or of an ELF program (execve(2)); `None` for files that have none.
fn interpreter(file: &File) -> Option<PathBuf> {
    let mut head = [0; HEAD_BYTES];
    read_up_to(file, &mut head, 0)?;
    let name = match head.strip_prefix(b"#!") {
        Some(line) => {
            // As load_script in the kernel: blanks are spaces and tabs, and a NUL byte ends the name.
            let start = line.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
            line[start..].split(|byte| matches!(byte, b' ' | b'\t' | b'\n' | 0)).next()?.to_vec()
        }
        None => elf_interpreter(file, &head)?,
    };
    (!name.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(&name)))
}

/// The first PT_INTERP of an ELF program, of 64 or 32 bits and this machine's byte order (elf(5)); `None` for what
/// load_elf_binary in the kernel does not take.
fn elf_interpreter(file: &File, head: &[u8; HEAD_BYTES]) -> Option<Vec<u8>> {
    const PT_INTERP: u64 = 3;
    /// The kernel's limit on all program headers.
    const HEADERS_BYTES_MAX: u64 = 65_536;
    let rest = head.strip_prefix(b"\x7fELF")?;
    // Offsets and sizes of e_phoff, e_phentsize, e_phnum, and in a header of p_offset, p_filesz.
    let (word, [phoff, entry_size, count], size, [offset, length]) = match rest[0] {
        1 => (4, [28, 42, 44], 32, [4, 16]),
        2 => (8, [32, 54, 56], 56, [8, 32]),
        _ => return None,
    };
    let (first, count) = (field(head, phoff, word)?, field(head, count, 2)?);
    if field(head, entry_size, 2)? != size || count * size > HEADERS_BYTES_MAX {
        return None;
    }
    let mut headers = vec![0; usize::try_from(count * size).ok()?];
    file.read_exact_at(&mut headers, first).ok()?;
    let header = headers
        .chunks_exact(usize::try_from(size).ok()?)
        .find(|header| field(header, 0, 4) == Some(PT_INTERP))?;
    let length = usize::try_from(field(header, length, word)?).ok()?;
    if !(2..=libc::PATH_MAX.unsigned_abs() as usize).contains(&length) {
        return None;
    }
    let mut name = vec![0; length];
    file.read_exact_at(&mut name, field(header, offset, word)?).ok()?;
    name.split(|&byte| byte == 0).next().map(<[u8]>::to_vec)
}

/// An unsigned number of `size` bytes in this machine's byte order.
fn field(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    Some(match *bytes {
        [a, b] => u16::from_ne_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]).into(),
        _ => u64::from_ne_bytes(bytes.try_into().ok()?),
    })
}

/// Fills `buffer` as far as the file goes.
fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> Option<()> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + u64::try_from(done).ok()?) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    Some(())
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

    /// An ELF header of 64 bits with one program header behind it, which names `interpreter`.
    fn elf(kind: u32, interpreter: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 64 + 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32..40].copy_from_slice(&64_u64.to_ne_bytes());
        file[54..56].copy_from_slice(&56_u16.to_ne_bytes());
        file[56..58].copy_from_slice(&1_u16.to_ne_bytes());
        file[64..68].copy_from_slice(&kind.to_ne_bytes());
        file[72..80].copy_from_slice(&120_u64.to_ne_bytes());
        file[96..104].copy_from_slice(&u64::try_from(interpreter.len()).unwrap().to_ne_bytes());
        file.extend_from_slice(interpreter);
        file
    }

    #[test]
    fn interpreters_are_read_as_the_kernel_reads_them() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("s");
        for (content, expected) in [
            (b"#!/bin/sh\n".to_vec(), Some("/bin/sh")),
            (b"#! \t/bin/sh -x y\nrest".to_vec(), Some("/bin/sh")),
            (b"#!/bin/sh\0/other\n".to_vec(), Some("/bin/sh")),
            (b"#!\x0c\n".to_vec(), Some("\x0c")),
            (b"#!\n".to_vec(), None),
            (b"\x7fELF".to_vec(), None),
            (b"".to_vec(), None),
            (elf(3, b"/lib/ld.so\0"), Some("/lib/ld.so")),
            (elf(1, b"/lib/ld.so\0"), None),
            (elf(3, b"\0"), None),
        ] {
            std::fs::write(&script, &content).unwrap();
            let found = interpreter(&File::open(&script).unwrap());
            assert_eq!(found, expected.map(PathBuf::from), "{content:?}");
        }
    }
}
