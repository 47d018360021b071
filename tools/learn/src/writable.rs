//! Where a workload writes: which directories a tmpfs can stand for, and what it cannot.

use std::collections::BTreeSet;

use crate::proposal::Reasoned;
use crate::recording::FileUse;

/// What a read-only root needs beside it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Writable {
    /// Directories.
    pub(crate) tmpfs: Vec<Reasoned>,
    /// Files that no tmpfs can stand for.
    pub(crate) written: Vec<Reasoned>,
}

/// File systems of their own in every container.
const OWN: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Directories whose contents a program needs: an empty tmpfs in their place would hide them.
const FILLED: [&str; 14] = [
    "/",
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/sbin",
    "/srv",
    "/usr",
    "/var",
    "/usr/local",
];
/// Directories that every image has and that are empty or only a program's own.
const EMPTY: [&str; 6] = ["/tmp", "/run", "/var/tmp", "/var/run", "/home", "/root"];

fn is_below(path: &str, directory: &str) -> bool {
    path == directory
        || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/') || directory == "/")
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &path[..at],
    }
}

/// What was made, changed or removed, as directories.
pub(crate) fn of(files: &[FileUse]) -> Writable {
    let made: BTreeSet<&str> =
        files.iter().filter(|file| file.created).map(|file| file.path.as_str()).collect();
    let mut directories: BTreeSet<String> = BTreeSet::new();
    let mut written = Vec::new();
    for file in files.iter().filter(|file| !OWN.iter().any(|own| is_below(&file.path, own))) {
        let calls = file.calls.join(", ");
        let mut directory = parent(&file.path);
        // What the workload made itself is gone in a new container, and so the directory that was there before counts.
        while made.contains(directory) {
            directory = parent(directory);
        }
        let whole = EMPTY.iter().find(|empty| is_below(&file.path, empty) && file.path != **empty);
        match whole {
            _ if file.cut => written.push(Reasoned {
                name: file.path.clone(),
                evidence: format!("changed by {calls}; its path is longer than what is kept of it"),
            }),
            Some(empty) => drop(directories.insert((*empty).to_owned())),
            // It was there before: whoever writes to it may well read it.
            None if !file.created => written.push(Reasoned {
                name: file.path.clone(),
                evidence: format!("was there before and was changed by {calls}"),
            }),
            None if FILLED.contains(&directory)
                || is_below(directory, "/usr")
                || is_below(directory, "/etc") =>
            {
                written.push(Reasoned {
                    name: file.path.clone(),
                    evidence: format!("made by {calls} in {directory}, which a tmpfs would hide"),
                });
            }
            None => drop(directories.insert(directory.to_owned())),
        }
    }
    let outermost: Vec<&String> = directories
        .iter()
        .filter(|one| !directories.iter().any(|other| other != *one && is_below(one, other)))
        .collect();
    let tmpfs = outermost.into_iter().map(|directory| {
        let inside: Vec<&str> = files
            .iter()
            .map(|file| file.path.as_str())
            .filter(|path| is_below(path, directory) && path != directory)
            .collect();
        let more = if inside.len() > 3 { format!(" and {} more", inside.len() - 3) } else { String::new() };
        let shown = inside.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        Reasoned { name: directory.clone(), evidence: format!("written: {shown}{more}") }
    });
    Writable { tmpfs: tmpfs.collect(), written }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, created: bool) -> FileUse {
        FileUse { path: path.to_owned(), created, calls: vec!["openat".to_owned()], cut: false }
    }
    fn names(rows: &[Reasoned]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn directories_that_were_there_before_are_covered() {
        let found = of(&[
            file("/var/lib/nginx", true),
            file("/var/lib/nginx/body", true),
            file("/var/log/nginx/access.log", true),
            file("/run/nginx.pid", true),
            file("/run/a/b", true),
            file("/tmp/x", false),
            file("/dev/null", false),
            file("/proc/self/oom_score_adj", false),
        ]);
        assert_eq!(names(&found.tmpfs), ["/run", "/tmp", "/var/lib", "/var/log/nginx"]);
        assert_eq!(found.written, []);
    }

    #[test]
    fn what_an_empty_directory_would_hide_is_said() {
        let found = of(&[
            file("/etc/ssl/new", true),
            file("/x", true),
            file("/var/lib/app/data", false),
            file("/usr/lib/python3/__pycache__", true),
            FileUse { cut: true, ..file("/tmp/deep", true) },
        ]);
        assert_eq!(found.tmpfs, []);
        assert_eq!(
            names(&found.written),
            ["/etc/ssl/new", "/x", "/var/lib/app/data", "/usr/lib/python3/__pycache__", "/tmp/deep"]
        );
    }
}
