//! What `verify` found.

use plim_model::diff::Change;
use schemars::JsonSchema;
use serde::Serialize;

/// `verify --format json`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Verified {
    /// [`FORMAT`].
    pub(crate) format: &'static str,
    /// As it was named.
    pub(crate) target: String,
    /// Whether every thread runs under the declared filter at least.
    pub(crate) holds: bool,
    /// What was declared, and what it was taken to have become.
    pub(crate) declared: DeclaredShape,
    /// Threads under the same filters, the worst first.
    pub(crate) groups: Vec<Group>,
}

/// What was declared.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeclaredShape {
    /// Whether it is what the engine handed to its runtime.
    pub(crate) by_engine: bool,
    /// The profile's name, in words.
    pub(crate) profile: String,
    /// Who was taken to have installed it: `runc`, `written`, ….
    pub(crate) installed_as: &'static str,
    /// With which libseccomp, where that counts; of several that come to the same the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) libseccomp: Option<String>,
    /// Whether that is not known but the nearest of several readings, of which the kernel holds none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) nearest: bool,
}

/// `what docker was told of docker:web, as runc installs it with libseccomp 2.5.4`
impl std::fmt::Display for DeclaredShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.profile)?;
        match &self.libseccomp {
            Some(version) => write!(f, ", as {} installs it with libseccomp {version}", self.installed_as)?,
            None if self.nearest => write!(f, ", as it is written")?,
            None => {}
        }
        match self.nearest {
            true => f.write_str(" (the nearest of all that were tried: who installed it is not known)"),
            false => Ok(()),
        }
    }
}

/// Threads under the same filters.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Group {
    /// How these filters stand to the declared one.
    pub(crate) verdict: Verdict,
    /// How many there are, where it is known.
    pub(crate) filters: Option<usize>,
    /// How many of them were put on top of the declared one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) more: Option<usize>,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The threads.
    pub(crate) threads: Vec<ThreadShape>,
    /// From the declared filter to these.
    pub(crate) changes: Vec<Change>,
}

impl Group {
    /// The verdict for people.
    pub(crate) fn words(&self) -> String {
        match (self.verdict, self.filters, self.more, &self.why) {
            (Verdict::Equal, ..) => "equal to the declared filter".to_owned(),
            (Verdict::Narrower, _, more, _) => {
                format!("the declared filter and {} more of its own", more.unwrap_or_default())
            }
            (Verdict::Different, Some(0), ..) => "no filter at all".to_owned(),
            (Verdict::Different, ..) => format!("differs in {} rows", self.changes.len()),
            (Verdict::Unknown, _, _, why) => format!("not known: {}", why.as_deref().unwrap_or("no reason")),
        }
    }
}

/// How filters stand to the declared one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Some call gets another answer, and not for further filters alone.
    Different,
    /// They could not be read or decided.
    Unknown,
    /// The declared filter with others on top, which only take away.
    Narrower,
    /// Every call gets the declared answer.
    Equal,
}

/// One thread.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ThreadShape {
    /// Its process.
    pub(crate) pid: i32,
    /// The thread.
    pub(crate) tid: i32,
    /// Its name, which it sets itself.
    pub(crate) comm: String,
}
