//! Two sides in, one [`Diff`] out.

use plim_model::diff::{Area, AreaSet, Diff, Filters, Side as Which, UnknownFact, compare};
use plim_tools_common::facts::Gathered as Facts;
use plim_tools_common::seccomp_diff;
use plim_tools_common::seccomp_side::{Content, Meaning};

use crate::side::Side;

/// The result, and what else a person should hear.
pub(crate) struct Judged {
    pub(crate) diff: Diff,
    /// Notes for stderr.
    pub(crate) notes: Vec<String>,
    /// What both sides answer by, for text and pictures, or why it is not known; `None` where seccomp was not asked for.
    pub(crate) meanings: Option<[Result<Meaning, String>; 2]>,
}

/// Compares. `asked` are the areas that `--only` named; `None` for all that both sides have. `names`: whether conditions name arguments
/// and constants.
pub(crate) fn judge(
    a: &Side,
    b: &Side,
    asked: Option<&AreaSet>,
    facts: &Facts,
    names: bool,
) -> anyhow::Result<Judged> {
    let all = AreaSet::all();
    let areas = asked.unwrap_or(&all);
    if let (Some(x), Some(y)) = (&a.snapshot, &b.snapshot) {
        if !areas.contains(Area::Seccomp) {
            let diff = compare(x, y, areas, Filters::Summaries);
            return Ok(Judged { diff, notes: Vec::new(), meanings: None });
        }
        let mut findings = Vec::new();
        let filters = match (a.programs(), b.programs()) {
            (Some(x), Some(y)) => {
                let [x, y] = [x, y].map(|programs| Meaning::Stack(programs.to_vec()));
                let found = seccomp_diff::compare(&x, &y, names);
                findings = found.findings;
                Filters::Compared { changes: found.changes, unknown: found.unknown }
            }
            _ => Filters::Summaries,
        };
        let diff = compare(x, y, areas, filters).with_findings(findings);
        let meanings = [a, b].map(|side| match &side.seccomp {
            Content::Stack(programs) => Ok(Meaning::Stack(programs.clone())),
            Content::Unknown(why) => Err(why.clone()),
            Content::Profile(_) => Err("a snapshot holds no profile".to_owned()),
        });
        return Ok(Judged { diff, notes: Vec::new(), meanings: Some(meanings) });
    }
    only_seccomp(a, b, asked)?;
    let mut notes = Vec::new();
    let reading = facts.reading(a.bounding().or(b.bounding()));
    let mut meaning = |side: &Side| -> anyhow::Result<Result<Meaning, String>> {
        if let Content::Unknown(why) = &side.seccomp {
            return Ok(Err(why.clone()));
        }
        let meaning = side.seccomp.meaning(&side.name, &reading)?;
        notes.extend(meaning.notes(&side.name));
        Ok(Ok(meaning))
    };
    let meanings = [meaning(a)?, meaning(b)?];
    let mut findings = Vec::new();
    let (changes, unknown): (_, Vec<(Which, String)>) = match &meanings {
        [Ok(x), Ok(y)] => {
            let found = seccomp_diff::compare(x, y, names);
            findings = found.findings;
            (found.changes, found.unknown)
        }
        [x, y] => {
            let whys = [(Which::A, x.as_ref().err()), (Which::B, y.as_ref().err())];
            (Vec::new(), whys.into_iter().filter_map(|(side, why)| Some((side, why?.clone()))).collect())
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
    let diff = Diff::new(changes, unknown).with_findings(findings);
    Ok(Judged { diff, notes, meanings: Some(meanings) })
}

/// A profile or a filter has nothing but seccomp; asking for more is an error, not a quiet nothing.
fn only_seccomp(a: &Side, b: &Side, asked: Option<&AreaSet>) -> anyhow::Result<()> {
    let Some(asked) = asked else { return Ok(()) };
    let side = if a.snapshot.is_none() { a } else { b };
    let other = Area::ALL.into_iter().find(|area| *area != Area::Seccomp && asked.contains(*area));
    if let Some(area) = other {
        anyhow::bail!("--only {area}: {} is a {}, which has seccomp alone", side.name, side.kind);
    }
    Ok(())
}
