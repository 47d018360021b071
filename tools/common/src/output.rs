//! Where results go: whole files, or stdout with the style that suits it.

use std::ffi::{CStr, CString};
use std::io::{IsTerminal, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::fcntl::AT_FDCWD;
use nix::unistd::UnlinkatFlags;
use plim_observe::pinned;

use crate::args::ColorChoice;

/// A place for a result, opened before the result is made: from here on nothing but writing and, for a file, one rename
/// is left to do. What is written and not [finished](Destination::finish) leaves no trace in a file.
#[derive(Debug)]
pub struct Destination(Place);

#[derive(Debug)]
enum Place {
    Stdout(std::io::Stdout),
    /// Something that is not a regular file (`/dev/stdout`, a FIFO) is written straight.
    Straight {
        file: std::fs::File,
        path: PathBuf,
    },
    /// A temporary file beside the old one, renamed over it in the end.
    Replacing {
        file: std::fs::File,
        temporary: Temporary,
        place: CString,
        path: PathBuf,
    },
}

/// The name of a file that is deleted unless it was renamed.
#[derive(Debug)]
struct Temporary(CString);

impl Temporary {
    /// Both names are pinned where this process has confined itself, which allows this rename and no other.
    fn rename(self, place: &CStr) -> nix::Result<()> {
        nix::fcntl::renameat(AT_FDCWD, &*pinned::name(&self.0), AT_FDCWD, &*pinned::name(place))?;
        std::mem::forget(self);
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // The result is lost already; the error is the one that was met before.
        let _ = nix::unistd::unlinkat(AT_FDCWD, &*pinned::name(&self.0), UnlinkatFlags::NoRemoveDir);
    }
}

impl Destination {
    /// Standard output.
    pub fn stdout() -> Destination {
        Destination(Place::Stdout(std::io::stdout()))
    }

    /// A file whose readers see the old content or the new, never a part. A file that is there keeps its mode; a new one
    /// gets the umask's.
    ///
    /// # Errors
    /// The operation and path with the operating system's answer; nothing is left behind.
    pub fn file(path: &Path) -> anyhow::Result<Destination> {
        // Through a symbolic link, so that the link stays and its target is replaced.
        let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = match std::fs::metadata(&place) {
            Ok(metadata) if metadata.is_dir() => anyhow::bail!("write {}: is a directory", path.display()),
            Ok(metadata) if !metadata.is_file() => {
                let file = std::fs::OpenOptions::new()
                    .write(true)
                    .open(&place)
                    .with_context(|| format!("write {}", path.display()))?;
                return Ok(Destination(Place::Straight { file, path: path.to_owned() }));
            }
            Ok(metadata) => Some(metadata.permissions()),
            Err(_) => None,
        };
        let directory = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // 0666 less the umask, as any tool's output; tempfile's own default is 0600.
        let permissions = existing.unwrap_or(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = tempfile::Builder::new()
            .prefix(".plim-")
            .permissions(permissions)
            .tempfile_in(directory)
            .with_context(|| format!("create a file in {}", directory.display()))?;
        let place = CString::new(place.into_os_string().into_vec())?;
        let (file, temporary) = file.keep().context("keep a temporary file")?;
        let temporary = Temporary(CString::new(temporary.into_os_string().into_vec())?);
        Ok(Destination(Place::Replacing { file, temporary, place, path: path.to_owned() }))
    }

    /// The temporary file's name and the name that it gets in the end; nothing when the end of it is not a rename.
    pub(crate) fn names(&self) -> Vec<CString> {
        match &self.0 {
            Place::Replacing { temporary, place, .. } => vec![temporary.0.clone(), place.clone()],
            Place::Stdout(_) | Place::Straight { .. } => Vec::new(),
        }
    }

    /// Writes the whole result and finishes.
    ///
    /// # Errors
    /// What the file system or the reader of the pipe answers.
    pub fn emit(mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.write_all(bytes).with_context(|| self.what())?;
        self.finish()
    }

    /// Writes a JSON value, indented, with a final newline, and finishes.
    ///
    /// # Errors
    /// As [`Destination::emit`].
    pub fn emit_json(self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        self.emit(json_text(value)?.as_bytes())
    }

    /// What was written becomes the file's content.
    ///
    /// # Errors
    /// What the file system or the reader of the pipe answers.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.flush().with_context(|| self.what())?;
        if let Place::Replacing { file, temporary, place, path } = self.0 {
            file.sync_all().with_context(|| format!("write {}", path.display()))?;
            temporary.rename(&place).with_context(|| format!("replace {}", path.display()))?;
        }
        Ok(())
    }

    fn what(&self) -> String {
        match &self.0 {
            Place::Stdout(_) => "write to stdout".to_owned(),
            Place::Straight { path, .. } | Place::Replacing { path, .. } => {
                format!("write {}", path.display())
            }
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match &mut self.0 {
            Place::Stdout(stdout) => stdout.write(bytes),
            Place::Straight { file, .. } => file.write(bytes),
            Place::Replacing { file, .. } => file.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.0 {
            Place::Stdout(stdout) => stdout.flush(),
            Place::Straight { file, .. } => file.flush(),
            Place::Replacing { file, .. } => file.flush(),
        }
    }
}

/// A JSON value, indented, with a final newline: the form of every document that a tool writes.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json_text(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(plim_model::text::json(&serde_json::to_string_pretty(value)?) + "\n")
}

/// A JSON value on a line, which is not ended.
///
/// # Errors
/// When the value cannot be JSON.
pub fn json_line(value: &impl serde::Serialize) -> serde_json::Result<String> {
    Ok(plim_model::text::json(&serde_json::to_string(value)?))
}

/// Writes a file whole, as [`Destination::file`] does.
///
/// # Errors
/// The operation and path with the operating system's answer; nothing is left behind.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    Destination::file(path)?.emit(bytes)
}

/// Writes to stdout and flushes.
///
/// # Errors
/// What the reader of the pipe answers; [`crate::run_main`] keeps quiet about a broken one.
pub fn to_stdout(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("write to stdout")
}

/// Writes talk for the user.
///
/// # Errors
/// What the reader of the pipe answers.
pub fn to_stderr(bytes: &[u8]) -> anyhow::Result<()> {
    std::io::stderr().write_all(bytes).context("write to stderr")
}

/// How text for people is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Whether to use colour.
    pub color: bool,
    /// Columns of the terminal; `None` when the result does not go to one: then no borders, and lines are not folded.
    pub width: Option<u16>,
}

impl Style {
    /// For a file or a pipe.
    pub fn plain(color: bool) -> Style {
        Style { color, width: None }
    }

    /// For this process's stdout.
    pub fn of_stdout(choice: ColorChoice) -> Style {
        let terminal = std::io::stdout().is_terminal();
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org: set to anything but the empty string.
            ColorChoice::Auto => {
                terminal
                    && variable("NO_COLOR").is_none()
                    && variable("TERM").is_none_or(|term| term != "dumb")
            }
        };
        let width = terminal.then(|| comfy_table::Table::new().width()).flatten();
        Style { color, width: if terminal { Some(width.unwrap_or(80)) } else { None } }
    }

    /// `text` in a tone, when colour is on.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match tone.ansi() {
            Some(code) if self.color => format!("\x1b[{code}m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// What a piece of text says, from which its colour follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Plain.
    #[default]
    Plain,
    /// Less reach, a pass.
    Good,
    /// More reach, a failure.
    Bad,
    /// Something to look at: unknown, or neither more nor less.
    Warn,
    /// Of less interest.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    fn ansi(self) -> Option<&'static str> {
        match self {
            Tone::Plain => None,
            Tone::Good => Some("32"),
            Tone::Bad => Some("31"),
            Tone::Warn => Some("33"),
            Tone::Dim => Some("2"),
            Tone::Strong => Some("1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaces_a_file_whole_and_keeps_its_mode() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("out.json");
        write_atomically(&path, b"one").expect("new file");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o111, 0);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        write_atomically(&path, b"two").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("there"), b"two");
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("symlink");
        write_atomically(&link, b"three").expect("through the link");
        assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
        assert_eq!(std::fs::read(&path).expect("there"), b"three");
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 2, "nothing left behind");
    }

    #[test]
    fn says_what_it_could_not_write() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = directory.path().join("no/such/out.json");
        let error = format!("{:#}", write_atomically(&missing, b"x").expect_err("no directory"));
        assert!(error.contains("no/such") && error.contains("No such file"), "{error}");
        let error = format!("{:#}", write_atomically(directory.path(), b"x").expect_err("a directory"));
        assert!(error.ends_with("is a directory"), "{error}");
    }

    #[test]
    fn colour_only_when_asked() {
        assert_eq!(Style::plain(false).paint(Tone::Bad, "x"), "x");
        assert_eq!(Style::plain(true).paint(Tone::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
