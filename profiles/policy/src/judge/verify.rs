//! `verify_installed`: the filters of something that runs against the profile that its engine was given.
//!
//! Between the two stand a runtime and a release of libseccomp, which the kernel does not name: every one that may have installed the
//! profile is tried, and the filter is the declared one when it is what one of them makes of it.

use plim_model::CapabilitySet;
use plim_seccomp::diagram::{Diagram, Store, Undecided};
use plim_seccomp::dialect::Written;
use plim_seccomp::exact;
use plim_seccomp::installed::{Engine, Vintage, install};
use plim_seccomp::resolve::Facts;

use super::Options;
use super::behaviour::{Stack, facts, grown, told};

/// Where what is installed means something else than what `engine` was asked for. Further filters on top of it only take away.
pub(super) fn verify(
    installed: &Stack,
    asked: Option<&Written>,
    engine: &str,
    caps: Option<CapabilitySet>,
    options: &Options<'_>,
) -> Result<Vec<String>, String> {
    let mut store = Store::new();
    let undecided = |undecided: Undecided| undecided.to_string();
    // What the container's program put on top comes later: the oldest are the engine's.
    let mut stacks = Vec::new();
    for below in (0..=installed.len()).rev() {
        stacks.push(store.of_stack(&installed[..below]).map_err(undecided)?);
    }
    let asked = match asked {
        Some(written) => readings(&mut store, written, &facts(caps, options), engine, options, &stacks)?,
        None => store.constant(plim_seccomp::Action::Allow),
    };
    if stacks.contains(&asked) {
        return Ok(Vec::new());
    }
    let mut facts = told(&grown(&mut store, asked, stacks[0]).map_err(undecided)?, "more than was asked for");
    facts.extend(told(&grown(&mut store, stacks[0], asked).map_err(undecided)?, "less than was asked for"));
    Ok(facts)
}

/// What the profile becomes: as the one that makes the installed filter of it, else as the one that comes nearest.
fn readings(
    store: &mut Store,
    written: &Written,
    facts: &Facts,
    engine: &str,
    options: &Options<'_>,
    stacks: &[Diagram],
) -> Result<Diagram, String> {
    let engines: Vec<Engine> = match (options.engine, engine) {
        (Some(named), _) => vec![named],
        (None, "plim") => vec![Engine::Written],
        // The engine has settled its own keys; a runtime read the rest.
        (None, _) => Engine::all().filter(|engine| engine.is_bare_runtime()).collect(),
    };
    let mut tried: Vec<Diagram> = Vec::new();
    let mut refused = None;
    for engine in engines {
        let vintages: Vec<Vintage> = match (options.libseccomp, engine) {
            (Some(named), _) => vec![named],
            (None, Engine::Written) => vec![Vintage::newest()],
            (None, _) => Vintage::all().rev().collect(),
        };
        for vintage in vintages {
            let diagram = match install(written, facts, engine, vintage) {
                Ok(installed) => store.of_installed(&installed).map_err(|error| error.to_string())?,
                Err(error) => {
                    refused.get_or_insert(error.to_string());
                    continue;
                }
            };
            if stacks.contains(&diagram) {
                return Ok(diagram);
            }
            if !tried.contains(&diagram) {
                tried.push(diagram);
            }
        }
    }
    let mut nearest: Option<(usize, Diagram)> = None;
    for diagram in tried {
        let rows = exact::diff(store, diagram, stacks[0], false).map_err(|error| error.to_string())?.len();
        if nearest.is_none_or(|(fewest, _)| rows < fewest) {
            nearest = Some((rows, diagram));
        }
    }
    let none =
        || format!("no runtime installs what the engine was asked for: {}", refused.unwrap_or_default());
    nearest.map(|(_, diagram)| diagram).ok_or_else(none)
}
