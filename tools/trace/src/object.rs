//! Which file a call is about, and what it wants of it: read off the call alone.

use plim_seccomp::Arch;
use plim_seccomp::arguments;
use serde::{Deserialize, Serialize};

use crate::cause;
use crate::decode;
use crate::event::Event;
use crate::files::Wants;
use crate::strings;

/// A file as the call names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Object {
    /// A path, from the directory behind a descriptor where that is given.
    Path {
        /// As the process gave it.
        path: String,
        /// The descriptor argument of an `…at` call.
        directory: Option<i32>,
    },
    /// A descriptor.
    Descriptor(i32),
}

/// What a call is about, the likeliest first: where that one does not refuse, the next one is looked at.
pub fn of(event: &Event) -> Vec<(Object, Wants)> {
    let arch = cause::arch(event);
    let Some(name) = cause::name(event) else { return Vec::new() };
    let texts = decode::texts(event, arch, name);
    let indices: Vec<usize> = strings::indices(arch, name).collect();
    let path = |at: usize| {
        let index = *indices.get(at)?;
        let path = texts.get(at)?.clone();
        let directory = index.checked_sub(1).filter(|before| is_directory(arch, name, *before));
        let directory = directory.map(|before| descriptor(event, before));
        match (path.is_empty(), directory) {
            (true, Some(descriptor)) if descriptor >= 0 => Some(Object::Descriptor(descriptor)),
            (true, _) => None,
            _ => Some(Object::Path { path, directory }),
        }
    };
    let in_directory = Wants { access: 3, in_directory: true, creates: false };
    let wants = wants(event, name);
    let found: Vec<Option<(Object, Wants)>> = match name {
        // The first string is what the link will say.
        "symlink" | "symlinkat" => vec![path(1).map(|path| (path, in_directory))],
        "link" | "linkat" => {
            vec![path(1).map(|path| (path, in_directory)), path(0).map(|path| (path, Wants::default()))]
        }
        "rename" | "renameat" | "renameat2" => {
            vec![path(0).map(|path| (path, in_directory)), path(1).map(|path| (path, in_directory))]
        }
        "unlink" | "unlinkat" | "rmdir" => vec![path(0).map(|path| (path, in_directory))],
        "mount" => vec![path(1).map(|path| (path, wants)), path(0).map(|path| (path, wants))],
        "fchmod" | "fchown" | "fchown32" | "fchdir" | "fsetxattr" | "fremovexattr" | "ftruncate"
        | "ftruncate64" | "fallocate" | "ioctl" | "write" | "pwrite64" | "writev" => {
            vec![Some((Object::Descriptor(descriptor(event, 0)), wants))]
        }
        "mmap" | "mmap2" => vec![Some((Object::Descriptor(descriptor(event, 4)), wants))],
        _ => vec![path(0).map(|path| (path, wants))],
    };
    found
        .into_iter()
        .flatten()
        .filter(|(object, _)| !matches!(object, Object::Descriptor(fd) if *fd < 0))
        .collect()
}

fn is_directory(arch: Arch, name: &str, index: usize) -> bool {
    let argument = u8::try_from(index).ok().and_then(|index| arguments::argument(arch, name, index));
    argument.is_some_and(|argument| {
        matches!(argument.name.as_str(), "dfd" | "olddfd" | "newdfd" | "fd" | "from_dfd" | "to_dfd")
    })
}

fn descriptor(event: &Event, index: usize) -> i32 {
    u32::try_from(event.args[index] & 0xffff_ffff).unwrap_or_default().cast_signed()
}

fn wants(event: &Event, name: &str) -> Wants {
    const O_CREAT: u64 = 0o100;
    const O_TRUNC: u64 = 0o1000;
    const O_PATH: u64 = 0o10_000_000;
    let access =
        |bits: u64| Wants { access: u32::try_from(bits & 7).unwrap_or_default(), ..Wants::default() };
    match name {
        "open" | "openat" => {
            let flags = event.args[if name == "open" { 1 } else { 2 }];
            let mode = match flags & 3 {
                _ if flags & O_PATH != 0 => 0,
                0 => 4,
                1 => 2,
                _ => 6,
            };
            let truncates = if flags & O_TRUNC != 0 { 2 } else { 0 };
            Wants { creates: flags & O_CREAT != 0, ..access(mode | truncates) }
        }
        "creat" => Wants { creates: true, ..access(2) },
        "access" => access(event.args[1]),
        "faccessat" | "faccessat2" => access(event.args[2]),
        "execve" | "execveat" | "chdir" | "chroot" | "fchdir" => access(1),
        "truncate" | "truncate64" => access(2),
        "inotify_add_watch" => access(4),
        _ => Wants::default(),
    }
}

#[cfg(test)]
mod tests {
    use plim_seccomp::syscalls;

    use super::*;
    use crate::event::flag;

    fn event(name: &str, args: [u64; 6], texts: &[&str]) -> Event {
        let mut event = Event::parse(&[0; crate::event::SIZE]).expect("its size");
        event.number = syscalls::number(Arch::X86_64, name).expect("a call of x86-64").0;
        event.flags = flag::ENTERED;
        event.args = args;
        event.texts = texts.iter().map(|text| (*text).to_owned()).collect();
        event
    }

    fn path(path: &str, directory: Option<i32>) -> Object {
        Object::Path { path: path.to_owned(), directory }
    }

    #[test]
    fn the_file_that_decides_comes_first() {
        let first = |name: &str, args: [u64; 6], texts: &[&str]| {
            of(&event(name, args, texts)).into_iter().next().expect("an object")
        };
        let at = u64::from((-100i32).cast_unsigned());
        let (object, wants) = first("openat", [at, 0, 0o101, 0, 0, 0], &["x"]);
        assert_eq!(object, path("x", Some(-100)));
        assert_eq!((wants.access, wants.creates, wants.in_directory), (2, true, false));
        let (object, wants) = first("symlink", [0; 6], &["/what", "/etc/link"]);
        assert_eq!((object, wants.in_directory), (path("/etc/link", None), true));
        assert_eq!(first("mount", [0; 6], &["none", "/mnt", "tmpfs"]).0, path("/mnt", None));
        assert_eq!(first("execveat", [7, 0, 0, 0, 0x1000, 0], &[""]).0, Object::Descriptor(7));
        assert_eq!(first("mmap", [0, 0, 5, 2, 9, 0], &[]).0, Object::Descriptor(9));
        assert!(of(&event("mmap", [0, 0, 3, 0x22, u64::MAX, 0], &[])).is_empty());
        assert!(of(&event("getpid", [0; 6], &[])).is_empty());
    }
}
