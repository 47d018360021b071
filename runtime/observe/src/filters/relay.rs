//! Filters on their way from the helper ([`crate::helper`]) to a confined process: as the kernel gave them, checked where they arrive.

use std::collections::BTreeMap;

use plim_model::Observed;
use plim_seccomp::bpf::Program;
use serde::{Deserialize, Serialize};

use super::iterator::{self, Answer, Unavailable};
use super::{Installed, ptrace};
use crate::helper::{self, Request};

/// One filter: its bytes, and whether it logs.
type Raw = (Vec<u8>, Observed<bool>);

/// Of many threads: each stack once, and where each thread's is.
#[derive(Serialize, Deserialize)]
pub(crate) struct Relayed {
    stacks: Vec<Vec<Raw>>,
    /// Of a task: its process, its stack's number, and the place in `stacks`.
    tasks: BTreeMap<i32, Result<(i32, u64, usize), String>>,
}

/// In the helper: the iterator's answers.
pub(crate) fn relayed(tids: &[i32]) -> Result<Relayed, Unavailable> {
    let mut stacks: Vec<Vec<Raw>> = Vec::new();
    let mut known = BTreeMap::new();
    let answers = iterator::read(tids)?.into_iter();
    let tasks = answers.map(|(tid, answer)| {
        let place = match answer {
            Answer::Not(why) => Err(why),
            Answer::Filters { process, stack, filters } => {
                let raw = raw(filters);
                // The number of a stack that has gone may be another's by now.
                let place = known.get(&stack).copied().filter(|place: &usize| stacks[*place] == raw);
                let place = place.unwrap_or_else(|| {
                    stacks.push(raw);
                    stacks.len() - 1
                });
                known.insert(stack, place);
                Ok((process, stack, place))
            }
        };
        (tid, place)
    });
    let tasks = tasks.collect();
    Ok(Relayed { stacks, tasks })
}

/// In the helper: the filters of one task by ptrace.
pub(crate) fn relayed_stopped(tid: i32) -> Result<Vec<Raw>, String> {
    ptrace::stop_and_read(tid).map(raw)
}

/// The iterator's answers: the helper's where there is one.
pub(super) fn read(tids: &[i32]) -> Result<BTreeMap<i32, Answer>, Unavailable> {
    let Some(relayed) = helper::ask::<Result<Relayed, String>>(&Request::Filters(tids.to_owned())) else {
        return iterator::read(tids);
    };
    let relayed = relayed.and_then(|read| read)?;
    let stacks: Vec<Vec<Installed>> =
        relayed.stacks.into_iter().map(installed).collect::<Result<_, String>>()?;
    let answer = |place: Result<(i32, u64, usize), String>| -> Result<Answer, Unavailable> {
        match place {
            Err(why) => Ok(Answer::Not(why)),
            Ok((process, stack, place)) => {
                let filters =
                    stacks.get(place).ok_or("the helper names a stack that it did not send")?.clone();
                Ok(Answer::Filters { process, stack, filters })
            }
        }
    };
    relayed.tasks.into_iter().map(|(tid, place)| Ok((tid, answer(place)?))).collect()
}

/// The filters of one task by ptrace: by the helper where there is one.
pub(super) fn stop_and_read(tid: i32) -> Result<Vec<Installed>, String> {
    match helper::ask::<Result<Vec<Raw>, String>>(&Request::Stop(tid)) {
        None => ptrace::stop_and_read(tid),
        Some(relayed) => installed(relayed.and_then(|read| read)?),
    }
}

fn raw(filters: Vec<Installed>) -> Vec<Raw> {
    filters.into_iter().map(|filter| (filter.program.to_bytes(), filter.log)).collect()
}

fn installed(raw: Vec<Raw>) -> Result<Vec<Installed>, String> {
    let one = |(bytes, log): Raw| {
        Program::from_bytes(&bytes)
            .map(|program| Installed { program, log })
            .map_err(|error| format!("the helper's answer is not a program that the kernel takes: {error}"))
    };
    raw.into_iter().map(one).collect()
}
