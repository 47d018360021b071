//! Files that policies and manifests name, read before this process confines itself, and the day.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use plim_policy::rules::{Date, Source};
use plim_tools_common::beneath::{self, Refused};

/// The largest policy, lock file or profile that is read, in bytes.
const MAX_BYTES: u64 = 8 << 20;
/// How much is read on the chance that it is meant.
const MAX_NAMED: usize = 256;
/// How many words are looked for, which is what a long text of nothing but names costs.
const MAX_TRIED: usize = 1 << 16;

/// Files by path, relative ones from the directory of the file that names them.
///
/// What a file names is only known when it was parsed, and parsing comes after confinement. So everything in the text that
/// could be a name and is a file is read along with it.
#[derive(Clone, Debug, Default)]
pub struct Files {
    known: BTreeMap<PathBuf, Result<String, String>>,
    named: usize,
    /// Names that were looked for.
    tried: BTreeSet<PathBuf>,
    /// Not confined: what is missing is read when it is asked for.
    open: bool,
    /// Where else than beside the file that names them, and below the working directory, files may be.
    profiles: Vec<PathBuf>,
}

/// Where files may be that an input names.
#[derive(Clone, Debug, clap::Args)]
pub struct ProfileArgs {
    /// Look for profiles that manifests name below DIR too, as the kubelet does
    ///
    /// A file that a manifest, a Compose file or a policy names is read beneath the directory of the file that names it, beneath the
    /// working directory and beneath DIR, and nowhere else. It must be a regular file on the file system of that directory.
    #[arg(long = "localhost-profiles", value_name = "DIR", default_value = "/var/lib/kubelet/seccomp")]
    directories: Vec<PathBuf>,
}

impl Files {
    /// None yet; `open` ones read on when they are asked for something else.
    pub fn new(open: bool, profiles: &ProfileArgs) -> Files {
        Files { open, profiles: profiles.directories.clone(), ..Files::default() }
    }

    /// Reads policies and, beside each, what it names: policies that it extends, profiles of its rules.
    pub fn add_policies(&mut self, names: &[String]) {
        for name in names.iter().filter(|name| !name.starts_with("pack:")) {
            self.add(Path::new(name), None);
        }
    }

    /// Reads one file, whose absence is an error only for who asks for its text.
    pub fn add(&mut self, path: &Path, from: Option<&Path>) {
        let path = beside(path, from);
        if self.known.contains_key(&path) {
            return;
        }
        let text = read(&path);
        self.keep(path, text);
    }

    /// Keeps the text of a file, and reads what it names.
    fn keep(&mut self, path: PathBuf, text: Result<String, String>) {
        let names: Vec<PathBuf> = text.iter().flat_map(|text| candidates(text)).map(PathBuf::from).collect();
        self.known.insert(path.clone(), text);
        for name in names {
            self.add_named(&name, &path);
        }
    }

    /// Reads one file that names no others.
    pub fn add_data(&mut self, path: &Path) {
        self.known.entry(path.to_owned()).or_insert_with(|| read(path));
    }

    /// Reads profiles that a manifest, Compose file or command line names, which is `from` or comes from no file.
    pub fn add_profiles(&mut self, text: &str, from: Option<&Path>) {
        for word in ["seccomp", "localhostProfile"] {
            for name in named_after(word, text) {
                self.add_named(Path::new(name), from.unwrap_or(Path::new("")));
            }
        }
    }

    fn add_named(&mut self, name: &Path, from: &Path) {
        let path = beside(name, Some(from));
        if self.known.contains_key(&path) || self.tried.contains(&path) {
            return;
        }
        if self.named == MAX_NAMED || self.tried.len() == MAX_TRIED {
            return;
        }
        self.tried.insert(path.clone());
        match self.read_named(name, Some(from)) {
            Err(Refused::Io(_) | Refused::TooLong) => {}
            // Most of what was tried is not meant as a name; the reason counts where it is.
            Err(refused) => {
                self.known.insert(path.clone(), Err(format!("read {}: {refused}", path.display())));
            }
            Ok(text) => {
                self.named += 1;
                self.keep(path, text);
            }
        }
    }

    /// Reads a file that the author of an input chose: beneath the directory of the file that names it, the working directory, or one of
    /// those for profiles, whichever has it first.
    fn read_named(&self, name: &Path, from: Option<&Path>) -> Result<Result<String, String>, Refused> {
        let here = from.and_then(Path::parent).filter(|path| !path.as_os_str().is_empty());
        let here = here.unwrap_or(Path::new("."));
        let whole = absolute(&here.join(name));
        let mut refused = Refused::Outside;
        let directories =
            [here, Path::new(".")].into_iter().chain(self.profiles.iter().map(PathBuf::as_path));
        for (index, directory) in directories.enumerate() {
            let below = whole.strip_prefix(absolute(directory)).ok();
            // The kubelet joins its directory and the name.
            let joined = (index > 1 && name.is_relative()).then_some(name);
            for name in below.into_iter().chain(joined) {
                match beneath::read(directory, name, MAX_BYTES) {
                    Ok(bytes) => return Ok(text(bytes, &whole)),
                    // Why it is not read where it is counts for more than where it is not.
                    Err(found) if !found.is_missing() => refused = found,
                    Err(missing) if matches!(refused, Refused::Outside) => refused = missing,
                    Err(_) => {}
                }
            }
        }
        Err(refused)
    }
}

/// The path from the root, `.` and `..` taken away by their letters alone.
fn absolute(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    whole
}

/// Bytes of a path (PATH_MAX).
const LONGEST_NAME: usize = 4096;

/// How many words behind one are looked at: a line may be a whole document.
const NEAREST: usize = 64;

/// Everything that could be the name of a file in a line shortly behind a word.
pub(crate) fn named_after<'t>(word: &'t str, text: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(word).flat_map(move |(at, _)| {
        let rest = &text[at + word.len()..];
        // Cut before the line's end is looked for: it may be megabytes away, and there may be thousands of words.
        let end = (0..=rest.len().min(LONGEST_NAME)).rev().find(|end| rest.is_char_boundary(*end));
        let line = rest[..end.unwrap_or_default()].lines().next().unwrap_or_default();
        candidates(line).take(NEAREST)
    })
}

/// Everything between quotes, brackets and the like that could be the name of a file.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let separators = ['"', '\'', '[', ']', '{', '}', ',', '#', '\n', '\r', '='];
    text.split(separators)
        .flat_map(|part| {
            // `- name`, `key: name`, the name alone, and a command line's word.
            let item = part.trim().trim_start_matches("- ").trim();
            let value = item.rsplit_once(':').map_or("", |(_, name)| name.trim());
            let word = |text: &'_ str| text.split_whitespace().next().map_or(0, str::len);
            [item, value, &item[..word(item)], &value[..word(value)]]
        })
        .filter(|name| (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0'))
}

/// A path as the file that names it means it.
pub(crate) fn beside(path: &Path, from: Option<&Path>) -> PathBuf {
    match from.and_then(Path::parent) {
        Some(directory) if !path.is_absolute() => directory.join(path),
        _ => path.to_owned(),
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("open {}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("read {}: {error}", path.display()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("read {}: larger than {} MiB", path.display(), MAX_BYTES >> 20));
    }
    text(bytes, path)
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| format!("read {}: not UTF-8", path.display()))
}

impl Source for Files {
    fn text(&self, name: &str, from: Option<&str>) -> Result<(String, String), String> {
        let path = beside(Path::new(name), from.map(Path::new));
        let text = match self.known.get(&path) {
            Some(known) => known.clone(),
            None if self.open && from.is_none() => read(&path),
            None if self.open => match self.read_named(Path::new(name), from.map(Path::new)) {
                Ok(text) => text,
                Err(refused) => Err(format!("read {}: {refused}", path.display())),
            },
            None => Err(format!(
                "open {}: not there, or not seen to be a file's name before this process confined itself (--no-self-confine)",
                path.display()
            )),
        };
        Ok((text?, path.display().to_string()))
    }
}

/// The day in UTC.
pub fn today() -> Date {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Date::of_unix_seconds(since.as_secs())
}

/// Reads a day for a command line.
pub(crate) fn parse_day(word: &str) -> Result<Date, String> {
    Date::parse(word).ok_or_else(|| "expected a day as 2026-12-31".to_owned())
}

#[cfg(test)]
mod tests {
    use super::named_after;

    #[test]
    fn names_are_looked_for_shortly_behind_a_word() {
        let text = "- seccomp:./narrow.json # why\nlocalhostProfile: \"a b.json\"\n";
        assert!(named_after("seccomp", text).any(|name| name == "./narrow.json"));
        assert!(named_after("localhostProfile", text).any(|name| name == "a b.json"));
        assert!(!named_after("seccomp", text).any(|name| name == "a b.json"));
    }

    /// What `kubectl get pods -o json | jq -c` writes: each word is looked at as far as a name goes, not to the end of the line.
    #[test]
    fn a_document_in_one_line_takes_linear_time() {
        let one =
            format!("\"seccompProfile\":{{\"type\":\"RuntimeDefault\"}},\"x\":\"{}\",", "y".repeat(3_500));
        let named = |count: usize| {
            let text = one.repeat(count);
            assert!(named_after("seccomp", &text).filter(|name| *name == "RuntimeDefault").count() >= count);
        };
        plim_fuzz::linear(500, named).unwrap();
    }
}
