//! The two targets: what was named, and what it turned out to be.

use anyhow::Context;
use plim_model::diff::AreaSet;
use plim_model::{CapabilitySet, Observed, Snapshot};
use plim_seccomp::bpf::Program;
use plim_seccomp::dialect::Written;
use plim_tools_common::exit::{self, OrStatus};
use plim_tools_common::target::{Loaded, TargetName, find_live, load};

/// One side of the diff.
pub(crate) struct Side {
    /// As it was named.
    pub(crate) name: String,
    /// What it is.
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// A running target, with the filters that are installed in its first process.
    Live { snapshot: Box<Snapshot>, filters: Observed<Vec<Program>> },
    /// A snapshot that was saved: digests of filters, no programs.
    Saved(Box<Snapshot>),
    /// A seccomp profile.
    Profile(Box<Written>),
    /// One filter.
    Filter(Program),
}

impl Side {
    /// Reads what the word names. Filters of a live target are read only when `areas` asks for seccomp, since that stops
    /// it for some microseconds.
    pub(crate) fn read(word: &str, areas: &AreaSet) -> anyhow::Result<Side> {
        let target = TargetName::parse(word)?;
        let content = match load(&target)? {
            Some(Loaded::Snapshot(snapshot)) => Content::Saved(snapshot),
            Some(Loaded::Profile(written)) => Content::Profile(written),
            Some(Loaded::Filter(program)) => Content::Filter(program),
            None => live(&target, areas)?,
        };
        Ok(Side { name: word.to_owned(), content })
    }

    /// The snapshot, of a side that has one.
    pub(crate) fn snapshot(&self) -> Option<&Snapshot> {
        match &self.content {
            Content::Live { snapshot, .. } | Content::Saved(snapshot) => Some(snapshot),
            Content::Profile(_) | Content::Filter(_) => None,
        }
    }

    /// The bounding set, of a side that has one.
    pub(crate) fn bounding(&self) -> Option<CapabilitySet> {
        self.snapshot()?.capabilities.present().map(|sets| sets.bounding)
    }

    /// The filters of a live target, where they were asked for and could be read.
    pub(crate) fn programs(&self) -> Option<&[Program]> {
        match &self.content {
            Content::Live { filters: Observed::Present(programs), .. } => Some(programs),
            Content::Live { .. } | Content::Saved(_) | Content::Profile(_) | Content::Filter(_) => None,
        }
    }

    /// What the side is, in a word.
    pub(crate) fn kind(&self) -> &'static str {
        match self.content {
            Content::Live { .. } => "live target",
            Content::Saved(_) => "saved snapshot",
            Content::Profile(_) => "seccomp profile",
            Content::Filter(_) => "BPF filter",
        }
    }
}

fn live(target: &TargetName, areas: &AreaSet) -> anyhow::Result<Content> {
    let selected = find_live(target)?;
    // The target is there and could not be read: that is something unobserved, not bad input.
    let snapshot = plim_observe::snapshot(&selected)
        .with_context(|| format!("target {target}"))
        .or_status(exit::UNOBSERVABLE)?;
    let filters = if areas.contains(plim_model::diff::Area::Seccomp) {
        plim_observe::filters::read(selected.pid)
    } else {
        Observed::Absent
    };
    Ok(Content::Live { snapshot: Box::new(snapshot), filters })
}
