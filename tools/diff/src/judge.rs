//! Two sides in, one [`Diff`] out.

use plim_model::Observed;
use plim_model::diff::{Area, AreaSet, Diff, Filters, Side as Which, UnknownFact, compare};
use plim_seccomp::bpf::Program;
use plim_seccomp::resolve::Resolved;
use plim_tools_common::facts::FactArgs;

use crate::profiles;
use crate::side::{Content, Side};

/// The result, and what else a person should hear.
pub(crate) struct Judged {
    pub(crate) diff: Diff,
    /// Notes for stderr.
    pub(crate) notes: Vec<String>,
    /// The profiles as resolved, by side, for the text rendering.
    pub(crate) resolved: [Option<Resolved>; 2],
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
        return Ok(Judged { diff, notes: Vec::new(), resolved: [None, None] });
    }
    only_seccomp(a, b, asked)?;
    let mut notes = Vec::new();
    let facts = facts.facts(a.bounding().or(b.bounding()))?;
    let mut resolve = |side: &Side| -> anyhow::Result<Option<Resolved>> {
        let Content::Profile(written) = &side.content else { return Ok(None) };
        let resolved = profiles::resolved(&side.name, written, &facts)?;
        notes.extend(profiles::skipped_names(&side.name, resolved.as_ref()));
        Ok(resolved)
    };
    let resolved = [resolve(a)?, resolve(b)?];

    let (changes, unknown) = if let [Some(x), Some(y)] = &resolved {
        profiles::compare(x, y)
    } else {
        match (stack(a, resolved[0].as_ref())?, stack(b, resolved[1].as_ref())?) {
            (Ok(x), Ok(y)) => {
                let found = crate::filters::compare(&x, &y);
                (found.changes, found.unknown.into_iter().map(|why| (Which::Both, why)).collect())
            }
            (x, y) => {
                let whys = [(Which::A, x.err()), (Which::B, y.err())];
                (Vec::new(), whys.into_iter().filter_map(|(side, why)| Some((side, why?))).collect())
            }
        }
    };
    let unknown = unknown
        .into_iter()
        .map(|(side, why)| UnknownFact {
            side,
            area: Area::Seccomp,
            path: "/seccomp/filters".to_owned(),
            why,
        })
        .collect();
    Ok(Judged { diff: Diff::new(changes, unknown), notes, resolved })
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
            let found = crate::filters::compare(x, y);
            Filters::Compared { changes: found.changes, unknown: found.unknown }
        }
        _ => Filters::Summaries,
    }
}

/// The filters that a side amounts to, or why they are not known.
pub(crate) fn stack(
    side: &Side,
    resolved: Option<&Resolved>,
) -> anyhow::Result<Result<Vec<Program>, String>> {
    Ok(match &side.content {
        Content::Profile(_) => Ok(profiles::stack(&side.name, resolved)?),
        Content::Filter(program) => Ok(vec![program.clone()]),
        Content::Live { filters: Observed::Present(programs), .. } => Ok(programs.clone()),
        Content::Live { filters: Observed::Absent, .. } => Ok(Vec::new()),
        Content::Live { filters: Observed::Unknown(why), .. } => Err(why.clone()),
        Content::Saved(snapshot) => match &snapshot.seccomp.filters {
            Observed::Present(filters) if filters.is_empty() => Ok(Vec::new()),
            Observed::Absent => Ok(Vec::new()),
            Observed::Present(_) => {
                Err("a saved snapshot holds digests of filters, not their programs".to_owned())
            }
            Observed::Unknown(why) => Err(why.clone()),
        },
    })
}
