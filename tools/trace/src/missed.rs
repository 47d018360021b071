//! What a trace does not show, and says so.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cause::Kind;

/// What was not seen of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// The engine's name for the container, or its id.
    pub container: String,
    /// The engine.
    pub engine: String,
    /// Its events for which there was no room, or no time at the end.
    pub lost: u64,
    /// Its denials that the document had no room for.
    pub left_out: u64,
    /// Operations that it submitted to an io_uring: they pass no filter and no tracepoint of calls, and any of them may have been
    /// refused.
    pub ring_operations: u64,
}

impl Unseen {
    fn is_nothing(&self) -> bool {
        self.lost == 0 && self.left_out == 0 && self.ring_operations == 0
    }
}

/// What was not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missed {
    /// Of each target, in their order.
    pub targets: Vec<Unseen>,
    /// Program runs that the kernel skipped because one was running on the processor; those of security modules are left out, as
    /// they cost a reason and no refusal.
    pub skipped_runs: u64,
    /// What would have kept it from that.
    pub remedy: Option<&'static str>,
    /// Refusals whose file was not looked at: its file system did not answer, or is one that may not.
    pub unlooked: u64,
    /// [`crate::tracer::Scope::Filters`]: refusals for other reasons were not looked at.
    pub filters_alone: bool,
    /// The kernel has io_uring and does not show what is submitted to it.
    pub rings_hidden: bool,
}

impl Missed {
    /// Events of all targets that were lost.
    pub fn lost(&self) -> u64 {
        self.targets.iter().map(|target| target.lost).sum()
    }

    /// Denials of all targets that a document had no room for.
    pub fn left_out(&self) -> u64 {
        self.targets.iter().map(|target| target.left_out).sum()
    }

    /// Operations that all targets submitted to an io_uring.
    pub fn ring_operations(&self) -> u64 {
        self.targets.iter().map(|target| target.ring_operations).sum()
    }

    /// The targets of which something was not seen.
    pub fn unseen(&self) -> impl Iterator<Item = &Unseen> {
        self.targets.iter().filter(|target| !target.is_nothing())
    }

    /// The same as every form of JSON has it.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "lost": self.lost(),
            "skipped_runs": self.skipped_runs,
            "left_out": self.left_out(),
            "unlooked": self.unlooked,
            "ring_operations": if self.rings_hidden { None } else { Some(self.ring_operations()) },
            "targets": self.unseen().collect::<Vec<_>>(),
        });
        if self.filters_alone {
            let others = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Seccomp);
            document["kinds"] = others.map(Kind::as_str).collect();
        }
        document
    }

    /// What is to be said of it, a sentence each; none when all that was looked at was seen.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        for target in self.unseen() {
            let name = plim_tools_common::escape(&target.container);
            if target.lost > 0 {
                words.push(format!(
                    "{name}: {} events were lost: they came faster than they could be read",
                    target.lost
                ));
            }
            if target.left_out > 0 {
                words.push(format!("{name}: {} refused calls did not fit into the report", target.left_out));
            }
            if target.ring_operations > 0 {
                words.push(format!(
                    "{name}: {} operations were submitted to an io_uring: they are not traced, and any of them may have been refused",
                    target.ring_operations
                ));
            }
        }
        if self.rings_hidden {
            words.push(
                "this kernel does not show operations of io_uring: whether there were any is not known"
                    .to_owned(),
            );
        }
        if self.unlooked > 0 {
            words.push(format!(
                "{} refusals were judged without the file they are about, which could not be looked at",
                self.unlooked
            ));
        }
        if self.skipped_runs > 0 {
            words.push(format!(
                "the kernel skipped {} runs of the tracer's programs: a refusal may be missing{}",
                self.skipped_runs,
                self.remedy.map(|remedy| format!("; they are not interrupted {remedy}")).unwrap_or_default()
            ));
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(lost: u64, ring_operations: u64, skipped_runs: u64) -> Missed {
        let web = Unseen { container: "web".to_owned(), lost, ring_operations, ..Unseen::default() };
        Missed { targets: vec![Unseen::default(), web], skipped_runs, ..Missed::default() }
    }

    #[test]
    fn what_was_not_seen_is_said_of_its_target() {
        assert_eq!(missed(0, 0, 0).words(), Vec::<String>::new());
        for (missed, sentences) in
            [(missed(2, 0, 0), 1), (missed(0, 20, 0), 1), (missed(0, 0, 3), 1), (missed(1, 1, 1), 3)]
        {
            assert_eq!(missed.words().len(), sentences, "{missed:?}");
        }
        assert!(missed(2, 0, 0).words()[0].starts_with("web: 2 events"));
        let hidden = Missed { rings_hidden: true, ..Missed::default() };
        assert_eq!(hidden.words().len(), 1);
        let but = |skipped_runs| {
            Missed { remedy: Some("but there"), ..missed(0, 0, skipped_runs) }.words().concat()
        };
        assert_eq!(but(0), "");
        assert!(but(3).ends_with("; they are not interrupted but there"), "{}", but(3));
    }
}
