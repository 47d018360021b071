//! What a filter, or a stack of them, gives a call, and by which instructions.

use super::{
    DecidedBy, Explanation, Outcome, Question, Step, VERSION, advice, by_arguments, example, others, when,
};
use crate::bpf::Program;
use crate::diagram::{Store, Undecided};
use crate::disasm;
use crate::interpret::{self, SeccompData};
use crate::witness::{ActionJson, Witness};

/// Explains what installed filters (oldest first) give a call. One outcome for each action; its path is that of the witness.
///
/// # Errors
/// [`Undecided`] when the meaning of the filters is beyond the budget.
pub fn explain_filter(programs: &[Program], question: &Question) -> Result<Explanation, Undecided> {
    let mut store = Store::new();
    let all = store.of_stack(programs)?;
    let open = store.at(all, question.arch.audit_token(), Some(question.nr.0));
    let rest = question.known(&mut store, open)?;
    let mut outcomes = Vec::new();
    let changes = by_arguments(&mut store, open, question, |verdict| verdict)?;
    for action in store.answers(rest)? {
        let Some(call) = example(&store, rest, question, |verdict| verdict == action) else { continue };
        let decided_by = match decider(programs, &call) {
            None => DecidedBy::Nothing,
            Some(filter) => DecidedBy::Filter { filter, path: path(&programs[filter], &call) },
        };
        outcomes.push(Outcome {
            action: ActionJson(action),
            when: when(&mut store, rest, question, |verdict| verdict == action)?,
            witness: Witness::from(&call),
            decided_by,
            changes: others(&changes, action).collect(),
            errno_advice: advice(question.arch, &call, action),
        });
    }
    Ok(Explanation { version: VERSION, call: question.asked(), outcomes, notes: notes(question) })
}

/// The filter whose answer counts: the strongest action, the newest filter's on a tie. `None` without filters.
fn decider(programs: &[Program], call: &SeccompData) -> Option<usize> {
    let rank = |program: &Program| (interpret::run_raw(program, call).ret & 0xffff_0000).cast_signed();
    let ranks = programs.iter().map(rank).enumerate();
    ranks.min_by_key(|(index, rank)| (*rank, std::cmp::Reverse(*index))).map(|(index, _)| index)
}

fn path(program: &Program, call: &SeccompData) -> Vec<Step> {
    let texts = disasm::meanings(program);
    interpret::trace(program, call).map(|at| Step { instruction: at, text: texts[at].clone() }).collect()
}

/// What no filter shows.
pub(super) fn notes(question: &Question) -> Vec<String> {
    let name = question.name().unwrap_or_default();
    let mut notes = Vec::new();
    if question.arch == crate::arch::Arch::X86_64 && matches!(name, "uretprobe" | "uprobe") {
        notes.push("the kernel lets uretprobe and uprobe pass by every filter (seccomp_uprobe_exception, since Linux 6.14)".to_owned());
    }
    if matches!(name, "socketcall" | "ipc") {
        notes.push(format!(
            "the arguments of what {name} does lie behind a pointer, where no filter sees them"
        ));
    }
    if matches!(name, "clone3" | "openat2") {
        notes.push(format!("{name} takes its flags behind a pointer, where no filter sees them"));
    }
    notes
}
