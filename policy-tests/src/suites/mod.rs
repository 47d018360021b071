//! The promises, one file each. A new promise is a new file and a line in [`ALL`].

pub mod capabilities;
pub mod cgroups;
pub mod cleanup;
pub mod credentials;
pub mod diff;
pub mod docker;
mod docker_check;
pub mod engines;
pub mod exercise;
pub mod filesystem;
pub mod hostile;
pub mod inspect;
pub mod isolation;
pub mod learn;
pub mod lifecycle;
pub mod lock;
pub mod races;
pub mod seccomp_live;
pub mod trace;
pub mod verify;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Ctx, Suite, same};

/// Every suite, in the order in which they run.
pub const ALL: &[Suite] = &[
    isolation::SUITE,
    filesystem::SUITE,
    capabilities::SUITE,
    credentials::SUITE,
    cgroups::SUITE,
    seccomp_live::SUITE,
    hostile::roots::SUITE,
    hostile::confinement::SUITE,
    hostile::formats::SUITE,
    hostile::judges::SUITE,
    hostile::launcher::SUITE,
    hostile::lsm::SUITE,
    hostile::observers::SUITE,
    hostile::root::SUITE,
    hostile::state::SUITE,
    hostile::stdio::SUITE,
    hostile::tracer::SUITE,
    races::SUITE,
    lifecycle::SUITE,
    inspect::SUITE,
    diff::SUITE,
    exercise::SUITE,
    trace::SUITE,
    learn::SUITE,
    verify::SUITE,
    lock::SUITE,
    docker::SUITE,
    engines::SUITE,
    cleanup::SUITE,
];

/// A document of the first format: `1.0`, or a later one that only adds to it.
///
/// # Errors
/// Another one, or none.
pub fn first_format(document: &Value) -> Result<()> {
    let format = text(document, "/format")?;
    ensure!(format.split('.').next() == Some("1"), "format {format:?}: expected \"1.0\" or a later \"1.N\"");
    Ok(())
}

/// The text at a JSON pointer of a report.
///
/// # Errors
/// When there is none.
pub fn text<'a>(report: &'a Value, pointer: &str) -> Result<&'a str> {
    report
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("no text at {pointer} in {report}"))
}

/// Runs `try CALLS` in a case's container and compares every verdict; `|` separates verdicts that are all right.
///
/// # Errors
/// The first verdict that is not as expected.
pub fn expect_verdicts(
    ctx: &Ctx,
    edit: impl FnOnce(crate::Case) -> crate::Case,
    table: &[(&str, &str)],
) -> Result<()> {
    let mut words = vec!["try"];
    for (index, (call, _)) in table.iter().enumerate() {
        if index > 0 {
            words.push("--");
        }
        words.extend(call.split(' '));
    }
    let outcome = ctx.run(edit(ctx.case(&words)?))?;
    check_verdicts(&outcome, table)
}

/// Compares the verdicts of a `try` with a table.
///
/// # Errors
/// The first verdict that is not as expected.
pub fn check_verdicts(outcome: &crate::Outcome, table: &[(&str, &str)]) -> Result<()> {
    let got = outcome.verdicts()?;
    same("number of verdicts", got.len(), table.len())?;
    for ((call, result), (_, want)) in got.iter().zip(table) {
        ensure!(want.split('|').any(|one| one == result), "{call}: got {result}, expected {want}");
    }
    Ok(())
}
