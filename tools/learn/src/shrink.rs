//! Takes away from a proposal whatever the workload's test does not miss, until nothing more can go.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over capabilities, rules and
//! directories. Nothing is widened. Every trial is logged, so that a search that was stopped goes on where it was.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use plim_seccomp::fallback;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::proposal::{Entry, Proposal, Source, Verdict};

/// What is asked of one trial: the names of what is taken away.
type Removed = BTreeSet<String>;

/// What a trial told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Taken away.
    pub removed: BTreeSet<String>,
    /// The workload did its work all the same.
    pub passed: bool,
    /// How that is known.
    pub why: String,
}

/// The first line of a log.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    format: String,
    /// SHA-256 of what is asked: another proposal, test or engine has other answers.
    question: String,
}

/// The trials that were made.
#[derive(Debug)]
pub struct Log {
    known: BTreeMap<Removed, Verdicts>,
    file: Option<std::fs::File>,
}

impl Log {
    /// A log that is forgotten.
    pub fn none() -> Log {
        Log { known: BTreeMap::new(), file: None }
    }

    /// Opens a log, or begins one. `question` is all that the answers depend on: the proposal and how it is tried.
    ///
    /// # Errors
    /// It cannot be read or written, or is that of another question.
    pub fn open(path: &Path, question: &impl Serialize) -> Result<Log> {
        let digest = Sha256::digest(serde_json::to_vec(question).context("write what is asked as JSON")?);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let head = Head { format: "1.0".to_owned(), question: digest };
        let mut known = BTreeMap::new();
        let mut file = std::fs::OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)
            .with_context(|| format!("open {}", path.display()))?;
        let mut lines = std::io::BufReader::new(&file).lines();
        match lines.next() {
            None => {
                drop(lines);
                writeln!(file, "{}", serde_json::to_string(&head).context("write the log")?)
                    .with_context(|| format!("write {}", path.display()))?;
            }
            Some(line) => {
                let line = line.with_context(|| format!("read {}", path.display()))?;
                let found: Head = serde_json::from_str(&line).with_context(|| {
                    format!("{}:1: expected the head of a log of plim learn shrink", path.display())
                })?;
                ensure!(
                    found == head,
                    "{}: the log of another proposal, or of another test, engine or number of runs; name another with --log",
                    path.display()
                );
                for line in lines {
                    let line = line.with_context(|| format!("read {}", path.display()))?;
                    // The last line of a search that was killed may be cut off.
                    let Ok(verdicts) = serde_json::from_str::<Verdicts>(&line) else { continue };
                    known.insert(verdicts.removed.clone(), verdicts);
                }
            }
        }
        Ok(Log { known, file: Some(file) })
    }

    /// How many trials it knows.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What was said of a trial.
    pub fn get(&self, removed: &Removed) -> Option<&Verdicts> {
        self.known.get(removed)
    }

    fn put(&mut self, verdicts: Verdicts) -> Result<()> {
        if let Some(file) = &mut self.file {
            writeln!(file, "{}", serde_json::to_string(&verdicts).context("write the log")?)
                .context("write the log")?;
        }
        self.known.insert(verdicts.removed.clone(), verdicts);
        Ok(())
    }
}

/// What can be taken away, in the order in which it is tried: capabilities, then directories, then rules.
pub fn removable(proposal: &Proposal) -> Vec<String> {
    let capabilities = proposal.capabilities.iter().map(|one| one.name.clone());
    let directories =
        proposal.tmpfs.iter().filter(|_| proposal.read_only).map(|one| format!("tmpfs {}", one.name));
    let devices = proposal.devices.iter().map(|one| format!("device {}", one.name));
    // What runtimes need is not the workload's to miss; what answers ENOSYS gives nothing.
    let calls = proposal
        .calls
        .iter()
        .filter(|entry| entry.verdict == Verdict::Allow && entry.source != Source::Runtime)
        .map(Entry::id);
    capabilities.chain(directories).chain(devices).chain(calls).collect()
}

/// The proposal less what is taken away. A call that is gone is refused with EPERM, or with ENOSYS where libc asks for that.
pub fn without(proposal: &Proposal, removed: &Removed) -> Proposal {
    let mut less = proposal.clone();
    less.capabilities.retain(|one| !removed.contains(&one.name));
    less.tmpfs.retain(|one| !removed.contains(&format!("tmpfs {}", one.name)));
    less.devices.retain(|one| !removed.contains(&format!("device {}", one.name)));
    less.calls.retain(|entry| {
        entry.verdict != Verdict::Allow || entry.source == Source::Runtime || !removed.contains(&entry.id())
    });
    for row in fallback::wants_enosys() {
        let gone = removed.iter().any(|id| id.split(' ').next() == Some(row.syscall));
        if gone && !less.calls.iter().any(|entry| entry.syscall == row.syscall) {
            less.calls.push(Entry {
                syscall: row.syscall.to_owned(),
                verdict: Verdict::Enosys,
                args: Vec::new(),
                when: None,
                source: Source::Fallback,
                evidence: row.behaviour.to_owned(),
            });
        }
    }
    less
}

/// What a search found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// What can be taken away together.
    pub removed: BTreeSet<String>,
    /// Of what is left: what happened when it alone was taken away as well.
    pub needed: BTreeMap<String, String>,
}

/// Searches. `trial` runs the workload less what it is told and says whether that passed, and why; `progress` hears of the count that is
/// settled, of all, and of the count that is removed.
///
/// # Errors
/// Those of a trial; what was found until then is in the log.
pub fn search(
    items: &[String],
    log: &mut Log,
    mut trial: impl FnMut(&Removed) -> Result<(bool, String)>,
    mut progress: impl FnMut(usize, usize, usize),
) -> Result<Found> {
    let mut asked = |removed: &Removed, log: &mut Log| -> Result<Verdicts> {
        if let Some(known) = log.get(removed) {
            return Ok(known.clone());
        }
        let (passed, why) = trial(removed)?;
        let verdicts = Verdicts { removed: removed.clone(), passed, why };
        log.put(verdicts.clone())?;
        Ok(verdicts)
    };
    let mut removed = Removed::new();
    let mut left: Vec<String> = items.to_vec();
    let mut needed = BTreeMap::new();
    // Of a proposal that was learned most is needed; of one that was not, most is not.
    let mut size = if left.len() > 128 { left.len() / 2 } else { left.len().min(4) };
    while size > 0 {
        let before = removed.len();
        let mut at = 0;
        needed.clear();
        while at < left.len() {
            let end = (at + size).min(left.len());
            let mut tried = removed.clone();
            tried.extend(left[at..end].iter().cloned());
            let verdicts = asked(&tried, log)?;
            if verdicts.passed {
                removed = tried;
                left.drain(at..end);
            } else {
                if size == 1 {
                    needed.insert(left[at].clone(), verdicts.why);
                }
                at = end;
            }
            progress(removed.len() + if size == 1 { at } else { 0 }, items.len(), removed.len());
        }
        // One by one until nothing goes: what was needed may not be any more when another thing is gone.
        size = match size {
            1 if removed.len() > before => 1,
            other => other / 2,
        };
    }
    Ok(Found { removed, needed })
}

#[cfg(test)]
#[path = "shrink_tests.rs"]
mod tests;
