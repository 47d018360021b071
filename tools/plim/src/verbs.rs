//! Which verbs there are: programs `plim-VERB` beside this one, then on PATH.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const PREFIX: &str = "plim-";

/// One verb that can be executed.
#[derive(Clone, Debug)]
pub(crate) struct Verb {
    /// What stands behind `plim`.
    pub(crate) name: String,
    /// The program.
    program: PathBuf,
    /// Whether it lies beside this program, and is one of ours.
    beside: bool,
}

impl Verb {
    /// The first line of its help; only of our own programs, for a program on PATH need not know `--help`.
    pub(crate) fn about(&self) -> String {
        if !self.beside {
            return format!("({})", plim_tools_common::escape(&self.program.display().to_string()));
        }
        let output =
            Command::new(&self.program).arg("--help").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let first = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().trim().to_owned();
        plim_tools_common::escape(&first)
    }
}

/// Whether `name` may be a verb: nothing that could lead to another directory.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
}

/// The program of a verb.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let file = format!("{PREFIX}{name}");
    directories().map(|(directory, _)| directory.join(&file)).find(|program| is_program(program))
}

/// Every verb by name; what lies beside this program goes before PATH, and PATH goes in its order.
pub(crate) fn all() -> Vec<Verb> {
    let mut found: BTreeMap<String, Verb> = BTreeMap::new();
    for (directory, beside) in directories() {
        // A directory of PATH that is not there or not readable has no verbs.
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            let file = entry.file_name();
            let Some(name) = file.to_str().and_then(|file| file.strip_prefix(PREFIX)) else { continue };
            let program = entry.path();
            if is_name(name) && !found.contains_key(name) && is_program(&program) {
                found.insert(name.to_owned(), Verb { name: name.to_owned(), program, beside });
            }
        }
    }
    found.into_values().collect()
}

/// Where programs are looked for. Entries of PATH that are empty or relative would mean whatever directory the caller is
/// in, which is no place to take a program from that often runs as root.
fn directories() -> impl Iterator<Item = (PathBuf, bool)> {
    let own = std::env::current_exe().ok().and_then(|program| program.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> =
        std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
    own.map(|directory| (directory, true))
        .into_iter()
        .chain(path.into_iter().map(|directory| (directory, false)))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
