//! The seccomp side of anything a tool can be pointed at: a profile, a filter, the filters of something that runs.
//!
//! In two steps, so that a tool can confine itself between them: [`gather`] makes every system call, [`Gathered::side`]
//! and what follows compute.

use anyhow::Context;
use plim_model::{CapabilitySet, Observed, Snapshot};
use plim_observe::Selected;
use plim_seccomp::Arch;
use plim_seccomp::bpf::Program;
use plim_seccomp::compile::{compile, from_diagram};
use plim_seccomp::diagram::{Diagram, Store, Undecided};
use plim_seccomp::dialect::Written;
use plim_seccomp::installed::{Engine, Installed, install};
use plim_seccomp::resolve::{Resolved, SkipReason, resolve};

use crate::exit::{self, OrStatus};
use crate::facts::Reading;
use crate::target::{Fetched, Loaded, TargetName, fetch, find_live};

/// A target that was read and not yet looked at.
#[derive(Clone, Debug)]
pub struct Gathered {
    name: String,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Data(Fetched),
    Live(Box<Live>),
}

/// What the kernel says of a running target's first process.
#[derive(Clone, Debug)]
pub struct Live {
    /// Who it is.
    pub selected: Selected,
    /// Its filters, oldest first; absent on a kernel without seccomp.
    pub filters: Observed<Vec<Program>>,
    /// Its capability bounding set.
    pub bounding: Option<CapabilitySet>,
}

/// Reads what a word names. The filters of a live target may stop it for some microseconds.
///
/// # Errors
/// A word that names nothing, or a file that cannot be read. Filters that cannot be read are no error here.
pub fn gather(word: &str) -> anyhow::Result<Gathered> {
    let target = TargetName::parse(word)?;
    let what = match fetch(&target)? {
        Some(fetched) => What::Data(fetched),
        None => What::Live(Box::new(live(find_live(&target)?))),
    };
    Ok(Gathered { name: word.to_owned(), what })
}

/// Reads the filters of a running target.
pub fn live(selected: Selected) -> Live {
    let filters = plim_observe::filters::read(selected.pid);
    let bounding = bounding(&selected);
    Live { selected, filters, bounding }
}

/// The capability bounding set of a running target's first process, where it can be read.
pub fn bounding(selected: &Selected) -> Option<CapabilitySet> {
    let status = std::fs::read(format!("/proc/{}/status", selected.pid.0)).ok()?;
    let status = plim_model::parse::status::parse(&String::from_utf8_lossy(&status)).ok()?;
    Some(status.capabilities.bounding)
}

impl Gathered {
    /// As it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The running target, where it is one.
    pub fn live(&self) -> Option<&Live> {
        match &self.what {
            What::Live(live) => Some(live),
            What::Data(_) => None,
        }
    }

    /// Recognises and parses what was read.
    ///
    /// # Errors
    /// The file with what was found in it and what was expected.
    pub fn side(&self) -> anyhow::Result<Side> {
        let (content, bounding) = match &self.what {
            What::Live(live) => (live.filters.clone().into(), live.bounding),
            What::Data(fetched) => match fetched.decode()? {
                Loaded::Profile(written) => (Content::Profile(written), None),
                Loaded::Filter(program) => (Content::Stack(vec![program]), None),
                Loaded::Snapshot(snapshot) => {
                    let bounding = snapshot.capabilities.present().map(|sets| sets.bounding);
                    (content_of_saved(&snapshot), bounding)
                }
            },
        };
        Ok(Side { name: self.name.clone(), content, bounding })
    }
}

/// One side.
#[derive(Clone, Debug)]
pub struct Side {
    /// As it was named.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// The bounding set, of a side that has one.
    pub bounding: Option<CapabilitySet>,
}

/// What a side holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// A profile as written.
    Profile(Box<Written>),
    /// Filters, oldest first; none at all where seccomp is off.
    Stack(Vec<Program>),
    /// Filters that could not be read, and why.
    Unknown(String),
}

impl From<Observed<Vec<Program>>> for Content {
    fn from(filters: Observed<Vec<Program>>) -> Content {
        match filters {
            Observed::Present(programs) => Content::Stack(programs),
            Observed::Absent => Content::Stack(Vec::new()),
            Observed::Unknown(why) => Content::Unknown(why),
        }
    }
}

/// What a saved snapshot says: that there is no filter, or no more than digests of those there are.
pub fn content_of_saved(snapshot: &Snapshot) -> Content {
    match &snapshot.seccomp.filters {
        Observed::Present(filters) if !filters.is_empty() => {
            Content::Unknown("a saved snapshot holds digests of filters, not their programs".to_owned())
        }
        filters => filters.clone().map(|_| Vec::new()).into(),
    }
}

/// What a side means under given facts.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// A profile with rules, as written.
    Rules(Box<Resolved>),
    /// A profile as an engine installs it.
    Installed(Box<Installed>),
    /// Filters, oldest first; none at all where seccomp is off.
    Stack(Vec<Program>),
}

impl Content {
    /// The meaning; `name` is for messages.
    ///
    /// # Errors
    /// A profile that cannot be resolved; filters that are not known end the tool with [`exit::UNOBSERVABLE`].
    pub fn meaning(&self, name: &str, reading: &Reading) -> anyhow::Result<Meaning> {
        match self {
            Content::Profile(written) if reading.engine != Engine::Written => {
                let installed = install(written, &reading.facts, reading.engine, reading.libseccomp)
                    .with_context(|| format!("{name} as {} installs it", reading.engine.name()))?;
                Ok(match installed.confines() {
                    true => Meaning::Installed(Box::new(installed)),
                    false => Meaning::Stack(Vec::new()),
                })
            }
            Content::Profile(written) => {
                let resolved = resolve(written, &reading.facts).with_context(|| name.to_owned())?;
                Ok(resolved.map_or(Meaning::Stack(Vec::new()), |resolved| Meaning::Rules(Box::new(resolved))))
            }
            Content::Stack(programs) => Ok(Meaning::Stack(programs.clone())),
            Content::Unknown(why) => {
                let unknown: anyhow::Result<_> =
                    Err(anyhow::anyhow!("{why}").context(format!("filters of {name}")));
                Ok(unknown.or_status(exit::UNOBSERVABLE)?)
            }
        }
    }
}

impl Side {
    /// The meaning.
    ///
    /// # Errors
    /// As [`Content::meaning`].
    pub fn meaning(&self, reading: &Reading) -> anyhow::Result<Meaning> {
        self.content.meaning(&self.name, reading)
    }
}

impl Meaning {
    /// The filters that it amounts to, oldest first. Of a profile as installed it is our own program of that meaning, which finds the
    /// calls of `native` first.
    ///
    /// # Errors
    /// A profile beyond what the kernel takes.
    pub fn programs(&self, native: Arch) -> anyhow::Result<Vec<Program>> {
        match self {
            Meaning::Rules(resolved) => Ok(vec![compile(resolved)?]),
            Meaning::Installed(installed) => {
                let mut store = Store::new();
                let diagram = store.of_installed(installed)?;
                Ok(vec![from_diagram(&mut store, diagram, Some(native))?])
            }
            Meaning::Stack(programs) => Ok(programs.clone()),
        }
    }

    /// The exact meaning.
    ///
    /// # Errors
    /// Beyond the store's budget: ends the tool with [`exit::UNOBSERVABLE`]. `name` is for the message.
    pub fn diagram(&self, store: &mut Store, name: &str) -> anyhow::Result<Diagram> {
        Ok(self.exact(store).with_context(|| name.to_owned()).or_status(exit::UNOBSERVABLE)?)
    }

    /// The same without a tool to end.
    ///
    /// # Errors
    /// Beyond the store's budget.
    pub fn exact(&self, store: &mut Store) -> Result<Diagram, Undecided> {
        match self {
            Meaning::Rules(resolved) => store.of_resolved(resolved),
            Meaning::Installed(installed) => store.of_installed(installed),
            Meaning::Stack(programs) => store.of_stack(programs),
        }
    }

    /// What a person should hear: what makes the meaning another than what is written, names that no architecture
    /// has among it.
    pub fn notes(&self, name: &str) -> Vec<String> {
        let resolved = match self {
            Meaning::Rules(resolved) => resolved,
            Meaning::Installed(installed) => {
                let words = installed.changes_in_words();
                return words.into_iter().map(|words| format!("{name}: {words}")).collect();
            }
            Meaning::Stack(_) => return Vec::new(),
        };
        let unknown = resolved.skipped.iter().filter_map(|skipped| match skipped.why {
            SkipReason::Unknown(nearest) => {
                let hint = nearest.map_or_else(String::new, |near| format!(", did you mean {near:?}?"));
                Some(format!("{name}: {}: unknown system call {:?}{hint}", skipped.from, skipped.name))
            }
            SkipReason::NotOnTheseArchitectures => None,
        });
        unknown.collect()
    }
}
