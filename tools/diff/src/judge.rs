//! Two sides in, one [`Diff`] out.

use plim_model::Observed;
use plim_model::diff::{Area, AreaSet, Diff, Filters, Side as Which, UnknownFact, compare};
use plim_tools_common::facts::FactArgs;

use crate::filters::{self, Meaning};
use crate::profiles;
use crate::side::{Content, Side};

/// The result, and what else a person should hear.
pub(crate) struct Judged {
    pub(crate) diff: Diff,
    /// Notes for stderr.
    pub(crate) notes: Vec<String>,
    /// What both sides answer by, for the text rendering, or why it is not known.
    pub(crate) meanings: Option<[Result<Meaning, String>; 2]>,
}

/// Compares. `asked` are the areas that `--only` named; `None` for all that both sides have.
pub(crate) fn judge(a: &Side, b: &Side, asked: Option<&AreaSet>, facts: &FactArgs) -> anyhow::Result<Judged> {
    let all = AreaSet::all();
    let areas = asked.unwrap_or(&all);
    if let (Some(x), Some(y)) = (a.snapshot(), b.snapshot()) {
        let filters = if areas.contains(Area::Seccomp) {
            filters_of(&a.content, &b.content)
        } else {
            Filters::Summaries
        };
        let diff = compare(x, y, areas, filters);
        return Ok(Judged { diff, notes: Vec::new(), meanings: None });
    }
    only_seccomp(a, b, asked)?;
    let mut notes = Vec::new();
    let facts = facts.facts(a.bounding().or(b.bounding()))?;
    let mut meaning = |side: &Side| -> anyhow::Result<Result<Meaning, String>> {
        if let Content::Profile(written) = &side.content {
            let (meaning, more) = profiles::meaning(&side.name, written, &facts)?;
            notes.extend(more);
            return Ok(Ok(meaning));
        }
        Ok(installed(&side.content))
    };
    let meanings = [meaning(a)?, meaning(b)?];
    let (changes, unknown) = match &meanings {
        [Ok(x), Ok(y)] => {
            let found = filters::compare(x, y);
            (found.changes, found.unknown.into_iter().map(|why| (Which::Both, why)).collect())
        }
        [x, y] => {
            let whys = [(Which::A, x.as_ref().err()), (Which::B, y.as_ref().err())];
            (Vec::new(), whys.into_iter().filter_map(|(side, why)| Some((side, why?.clone()))).collect())
        }
    };
    let unknown: Vec<(Which, String)> = unknown;
    let unknown = unknown
        .into_iter()
        .map(|(side, why)| UnknownFact {
            side,
            area: Area::Seccomp,
            path: "/seccomp/filters".to_owned(),
            why,
        })
        .collect();
    Ok(Judged { diff: Diff::new(changes, unknown), notes, meanings: Some(meanings) })
}

/// A profile or a filter has nothing but seccomp; asking for more is an error, not a quiet nothing.
fn only_seccomp(a: &Side, b: &Side, asked: Option<&AreaSet>) -> anyhow::Result<()> {
    let Some(asked) = asked else { return Ok(()) };
    let side = if a.snapshot().is_none() { a } else { b };
    let other = Area::ALL.into_iter().find(|area| *area != Area::Seccomp && asked.contains(*area));
    if let Some(area) = other {
        anyhow::bail!("--only {area}: {} is a {}, which has seccomp alone", side.name, side.kind());
    }
    Ok(())
}

/// Filters of two snapshots: by their programs when both are at hand.
fn filters_of(a: &Content, b: &Content) -> Filters {
    match (a, b) {
        (
            Content::Live { filters: Observed::Present(x), .. },
            Content::Live { filters: Observed::Present(y), .. },
        ) => {
            let found = filters::compare(&Meaning::Stack(x.clone()), &Meaning::Stack(y.clone()));
            Filters::Compared { changes: found.changes, unknown: found.unknown }
        }
        _ => Filters::Summaries,
    }
}

/// The filters of a side that is no profile, or why they are not known.
fn installed(content: &Content) -> Result<Meaning, String> {
    let none = || Ok(Meaning::Stack(Vec::new()));
    match content {
        Content::Filter(program) => Ok(Meaning::Stack(vec![program.clone()])),
        Content::Live { filters: Observed::Present(programs), .. } => Ok(Meaning::Stack(programs.clone())),
        Content::Live { filters: Observed::Unknown(why), .. } => Err(why.clone()),
        Content::Saved(snapshot) => match &snapshot.seccomp.filters {
            Observed::Present(filters) if !filters.is_empty() => {
                Err("a saved snapshot holds digests of filters, not their programs".to_owned())
            }
            Observed::Unknown(why) => Err(why.clone()),
            Observed::Present(_) | Observed::Absent => none(),
        },
        Content::Live { filters: Observed::Absent, .. } | Content::Profile(_) => none(),
    }
}
