//! What a profile gives a call as an engine installs it, and by which rule.

use super::changes::{Reader, Trial};
use super::{
    DecidedBy, ExplainError, Explanation, Question, VERSION, by_arguments, example, filter, others, when,
};
use crate::action::Action;
use crate::arch::Arch;
use crate::condition::{Condition, Test};
use crate::diagram::Store;
use crate::dialect::Written;
use crate::installed::{self, Engine, Entered, Installed, Note, Vintage, Watched, install_watching};
use crate::interpret::SeccompData;
use crate::resolve::Facts;
use crate::syscalls;

/// Explains what a profile gives a call when `engine` installs it with libseccomp `vintage`: one outcome for each action, with the
/// rule that decides its witness.
///
/// # Errors
/// A profile that the engine refuses, or a filter that is beyond the budget.
pub fn explain_installed(
    written: &Written,
    facts: &Facts,
    engine: Engine,
    vintage: Vintage,
    question: &Question,
) -> Result<Explanation, ExplainError> {
    if engine == Engine::Written {
        return super::explain_profile(written, facts, question);
    }
    let mut watched = Watched { call: Some((question.arch, question.nr)), ..Watched::default() };
    let installed = install_watching(written, facts, engine, vintage, &mut watched)?;
    let trial = Trial { reader: Reader::Engine(engine, vintage), written, facts, question };
    let mut notes = filter::notes(question);
    notes
        .extend(installed.notes.iter().filter(|note| is_about(note, written, question)).map(Note::to_string));
    let mut outcomes = Vec::new();
    if installed.confines() {
        let mut store = Store::new();
        let all = store.of_installed(&installed)?;
        let open = store.at(all, question.arch.audit_token(), Some(question.nr.0));
        let rest = question.known(&mut store, open)?;
        let changes = by_arguments(&mut store, open, question, |verdict| verdict)?;
        for action in store.answers(rest)? {
            let Some(call) = example(&store, rest, question, |verdict| verdict == action) else { continue };
            let when = when(&mut store, rest, question, |verdict| verdict == action)?;
            let decided_by = decider(&trial, &installed, &watched.rules, &call, action);
            let mut outcome = trial.outcome(when, &call, action, decided_by);
            outcome.changes.extend(others(&changes, action));
            outcomes.push(outcome);
        }
    } else {
        outcomes.push(trial.outcome(None, &question.data(), Action::Allow, DecidedBy::Nothing));
    }
    Ok(Explanation { version: VERSION, call: question.asked(), outcomes, notes })
}

/// What gives this call this action.
fn decider(
    trial: &Trial<'_>,
    installed: &Installed,
    rules: &[Entered],
    call: &SeccompData,
    action: Action,
) -> DecidedBy {
    // runc's own part of the filter comes first.
    if let Some(highest) = installed.enosys_above(call.arch, call.nr) {
        let name = syscalls::name(trial.question.arch, highest).map(str::to_owned);
        return DecidedBy::EnosysAbove { highest: highest.0, name };
    }
    let Some(arch) = installed.abi(call.arch, call.nr) else {
        let arches = installed.arches.iter().map(|arch| arch.name().to_owned()).collect();
        return DecidedBy::ForeignArchitecture { arches };
    };
    let mine = || rules.iter().filter(|rule| rule.action == action);
    if let Some(rule) = mine().find(|rule| holds(rule, arch, call)) {
        let entry = trial.written.rules.iter().find(|entry| entry.pointer == rule.pointer);
        let comment = entry.and_then(|entry| entry.comment.clone());
        return DecidedBy::Rule { pointer: rule.pointer.to_string(), comment };
    }
    let mut pointers: Vec<String> = mine().map(|rule| rule.pointer.to_string()).collect();
    pointers.dedup();
    match pointers.is_empty() {
        true => DecidedBy::DefaultAction { pointer: format!("{}/defaultAction", trial.base()) },
        false => DecidedBy::Joined { pointers },
    }
}

fn holds(rule: &Entered, arch: Arch, call: &SeccompData) -> bool {
    let narrow = arch.has_narrow_arguments();
    let holds = |condition: &Condition| {
        let condition = if narrow { cut(*condition) } else { *condition };
        condition.holds(&call.args, narrow)
    };
    rule.conditions.iter().flatten().all(holds)
}

/// With constants of 32 bits, which is what libseccomp keeps where arguments are that wide.
fn cut(condition: Condition) -> Condition {
    let low = |value: u64| value & u64::from(u32::MAX);
    let test = match condition.test {
        Test::Ne(value) => Test::Ne(low(value)),
        Test::Lt(value) => Test::Lt(low(value)),
        Test::Le(value) => Test::Le(low(value)),
        Test::Eq(value) => Test::Eq(low(value)),
        Test::Ge(value) => Test::Ge(low(value)),
        Test::Gt(value) => Test::Gt(low(value)),
        Test::MaskedEq { mask, value } => Test::MaskedEq { mask: low(mask), value: low(value) },
    };
    Condition { test, ..condition }
}

/// Whether a note is on this call, or on an entry that names it.
fn is_about(note: &Note, written: &Written, question: &Question) -> bool {
    use installed::Change as What;
    let asked = |name: &str| question.name() == Some(name);
    let entry = || {
        let entry = written.rules.iter().find(|entry| entry.pointer == note.pointer);
        entry.is_some_and(|entry| entry.names.iter().any(|name| asked(name)))
    };
    match &note.what {
        What::UnknownName { name, .. }
        | What::NoSuchCall { name, .. }
        | What::NotOnTheseArchitectures { name }
        | What::Shadowed { name, .. } => asked(name),
        What::Replaces { name, arches } => asked(name) && arches.contains(&question.arch),
        What::Multiplexed { name, through, arch, .. } => {
            (asked(name) || asked(through)) && *arch == question.arch
        }
        What::OrderedByShape { name, arch } => asked(name) && *arch == question.arch,
        What::Narrowed { arch, .. } => entry() && *arch == question.arch,
        What::RulesLost { arch } => *arch == question.arch,
        // Without a place it is about the default action, or about all.
        What::KeyIgnored(_) | What::ErrorNameIgnored { .. } => note.pointer.is_empty() || entry(),
        What::SameAsDefault
        | What::AnyOf
        | What::SplitWhole
        | What::MaskExchanged { .. }
        | What::ConditionsCut => entry(),
        What::DoesNotApply | What::EnosysAbove { .. } | What::FlagAdded(_) | What::FlagDropped(_) => false,
    }
}
