//! The two targets: what was named, and what it turned out to be.

use anyhow::Context;
use plim_model::diff::{Area, AreaSet};
use plim_model::{CapabilitySet, Observed, Snapshot};
use plim_seccomp::bpf::Program;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::seccomp_side::{Content, content_of_saved};
use plim_tools_common::target::{Fetched, Loaded, TargetName, fetch, find_live};

/// One side of the diff.
pub(crate) struct Side {
    /// As it was named.
    pub(crate) name: String,
    /// What it is, in words.
    pub(crate) kind: &'static str,
    /// The snapshot, of a side that has one.
    pub(crate) snapshot: Option<Box<Snapshot>>,
    /// What it holds of seccomp; of a live target only where that was asked for.
    pub(crate) seccomp: Content,
    /// Whether `seccomp` was read from the kernel, program by program.
    installed: bool,
}

/// One side, read and not yet looked at.
pub(crate) struct Gathered {
    name: String,
    what: What,
}

enum What {
    Data(Fetched),
    Live { snapshot: Box<Snapshot>, filters: Observed<Vec<Program>> },
}

impl Gathered {
    /// Reads what the word names. Filters of a live target are read only when `areas` asks for seccomp, since that may stop
    /// it for some microseconds.
    pub(crate) fn read(word: &str, areas: &AreaSet) -> anyhow::Result<Gathered> {
        let target = TargetName::parse(word)?;
        let what = match fetch(&target)? {
            Some(fetched) => What::Data(fetched),
            None => live(&target, areas)?,
        };
        Ok(Gathered { name: word.to_owned(), what })
    }

    /// Recognises and parses what was read.
    pub(crate) fn side(self) -> anyhow::Result<Side> {
        let Gathered { name, what } = self;
        let of_data =
            |kind, seccomp, snapshot| Side { name: name.clone(), kind, snapshot, seccomp, installed: false };
        Ok(match what {
            What::Live { snapshot, filters } => {
                let installed = matches!(filters, Observed::Present(_));
                let seccomp = filters.into();
                Side { name, kind: "live target", snapshot: Some(snapshot), seccomp, installed }
            }
            What::Data(fetched) => match fetched.decode()? {
                Loaded::Snapshot(snapshot) => {
                    of_data("saved snapshot", content_of_saved(&snapshot), Some(snapshot))
                }
                Loaded::Profile(written) => of_data("seccomp profile", Content::Profile(written), None),
                Loaded::Filter(program) => of_data("BPF filter", Content::Stack(vec![program]), None),
            },
        })
    }
}

impl Side {
    /// The bounding set, of a side that has one.
    pub(crate) fn bounding(&self) -> Option<CapabilitySet> {
        self.snapshot.as_ref()?.capabilities.present().map(|sets| sets.bounding)
    }

    /// The filters of a live target, where they were asked for and could be read.
    pub(crate) fn programs(&self) -> Option<&[Program]> {
        match &self.seccomp {
            Content::Stack(programs) if self.installed => Some(programs),
            _ => None,
        }
    }
}

fn live(target: &TargetName, areas: &AreaSet) -> anyhow::Result<What> {
    let selected = find_live(target)?;
    // The target is there and could not be read: that is something unobserved, not bad input.
    let snapshot = plim_observe::snapshot(&selected)
        .with_context(|| format!("target {target}"))
        .or_status(exit::UNOBSERVABLE)?;
    let filters = if areas.contains(Area::Seccomp) {
        plim_observe::filters::read(selected.pid)
    } else {
        Observed::Absent
    };
    Ok(What::Live { snapshot: Box::new(snapshot), filters })
}
