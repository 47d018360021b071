//! What a profile gives a call, and by which rule.

use super::changes::{Reader, Trial};
use super::{
    DecidedBy, Explanation, Outcome, Question, VERSION, advice, by_arguments, example, filter, others, when,
};
use crate::action::Action;
use crate::diagram::{Store, Undecided};
use crate::dialect::Written;
use crate::error::ProfileError;
use crate::interpret::SeccompData;
use crate::marks::{self, mark};
use crate::resolve::{Facts, Resolved, resolve};
use crate::syscalls::{self, SyscallNr};
use crate::witness::{ActionJson, Witness};

/// Why there is no explanation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// The profile has no meaning.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Its rules for this call are beyond the budget.
    #[error(transparent)]
    Undecided(#[from] Undecided),
}

/// Explains what a profile, as it is written, gives a call under `facts`.
///
/// # Errors
/// A profile that cannot be resolved, or rules whose conditions are beyond the budget.
pub fn explain_profile(
    written: &Written,
    facts: &Facts,
    question: &Question,
) -> Result<Explanation, ExplainError> {
    let resolved = resolve(written, facts)?;
    let trial = Trial { reader: Reader::AsWritten, written, facts, question };
    let outcomes = match &resolved {
        None => vec![trial.outcome(None, &question.data(), Action::Allow, DecidedBy::Nothing)],
        Some(resolved) => outcomes(&trial, resolved)?,
    };
    let mut notes = filter::notes(question);
    notes.extend(resolved.iter().flat_map(|resolved| {
        let mine = |skipped: &&crate::resolve::Skipped| Some(skipped.name.as_str()) == question.name();
        resolved.skipped.iter().filter(mine).map(|skipped| {
            format!(
                "{} names it, which has no effect: no architecture of the filter has the call",
                skipped.from
            )
        })
    }));
    Ok(Explanation { version: VERSION, call: question.asked(), outcomes, notes })
}

fn outcomes(trial: &Trial<'_>, resolved: &Resolved) -> Result<Vec<Outcome>, Undecided> {
    let question = trial.question;
    let Some(arch) = resolved.abi(question.arch.audit_token(), question.nr.0) else {
        let arches = resolved.arches.iter().map(|arch| arch.name().to_owned()).collect();
        let decided_by = DecidedBy::ForeignArchitecture { arches };
        return Ok(vec![trial.outcome(None, &question.data(), resolved.foreign_arch, decided_by)]);
    };
    let rules = resolved.rules_of(arch, question.nr);
    // What no rule takes has a mark of its own.
    let mut store = Store::new();
    let all = rules.iter().map(|rule| rule.conditions.clone()).chain([Vec::new()]);
    let open = marks::first_that_holds(&mut store, arch, question.nr, all)?;
    let rest = question.known(&mut store, open)?;
    let unnamed_gets = resolved.unnamed(arch, question.nr);
    let gets = |verdict: Action| {
        let decides = rules.iter().enumerate().find(|(index, _)| verdict == mark(*index));
        decides.map_or(unnamed_gets, |(_, rule)| rule.action)
    };
    let changes = by_arguments(&mut store, open, question, gets)?;
    let mut outcomes = Vec::new();
    let mut pointers: Vec<&str> = Vec::new();
    for rule in rules {
        if pointers.contains(&&*rule.from) {
            continue;
        }
        pointers.push(&rule.from);
        let mine = |verdict: Action| {
            rules.iter().enumerate().any(|(index, other)| other.from == rule.from && verdict == mark(index))
        };
        let Some(call) = example(&store, rest, question, mine) else { continue };
        let entry = trial.written.rules.iter().find(|entry| entry.pointer == rule.from);
        let comment = entry.and_then(|entry| entry.comment.clone());
        let decided_by = DecidedBy::Rule { pointer: rule.from.to_string(), comment };
        let when = when(&mut store, rest, question, mine)?;
        let mut outcome = trial.outcome(when, &call, rule.action, decided_by);
        outcome.changes.extend(others(&changes, rule.action));
        outcomes.push(outcome);
    }
    let no_rule = |verdict: Action| verdict == mark(rules.len());
    if let Some(call) = example(&store, rest, question, no_rule) {
        let when = when(&mut store, rest, question, no_rule)?;
        let mut outcome = trial.outcome(when, &call, unnamed_gets, unnamed(trial, resolved, arch));
        outcome.changes.extend(others(&changes, unnamed_gets));
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn unnamed(trial: &Trial<'_>, resolved: &Resolved, arch: crate::arch::Arch) -> DecidedBy {
    let nr = trial.question.nr;
    match resolved.enosys_above.get(&arch) {
        Some(highest) if resolved.unnamed(arch, nr) != resolved.default && nr > *highest => {
            DecidedBy::EnosysAbove {
                highest: highest.0,
                name: syscalls::name(arch, SyscallNr(highest.0)).map(str::to_owned),
            }
        }
        _ => DecidedBy::DefaultAction { pointer: format!("{}/defaultAction", trial.base()) },
    }
}

impl Trial<'_> {
    pub(super) fn outcome(
        &self,
        when: Option<String>,
        call: &SeccompData,
        action: Action,
        decided_by: DecidedBy,
    ) -> Outcome {
        Outcome {
            action: ActionJson(action),
            when,
            witness: Witness::from(call),
            changes: self.changes(call, action, &decided_by),
            decided_by,
            errno_advice: advice(self.question.arch, call, action),
        }
    }
}
