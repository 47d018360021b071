//! Verdicts by the million: a number whose verdict looks at no argument is decided once.

use std::collections::BTreeMap;

use plim_seccomp::Action;
use plim_seccomp::bpf::{Program, code::LD_W_ABS};
use plim_seccomp::interpret::{SeccompData, run_stack, trace};

/// A stack of filters that remembers.
pub(super) struct Decider {
    /// Oldest first.
    programs: Vec<Program>,
    /// By [`place`]: the last number that fell here.
    remembered: Vec<Option<Remembered>>,
    /// The answers there were, as they are printed.
    answers: Vec<Vec<u8>>,
    known: BTreeMap<Action, usize>,
}

#[derive(Clone, Copy)]
struct Remembered {
    arch: u32,
    nr: u32,
    /// Its answer, where no filter looks at arguments or instruction pointer on the way to it.
    answer: Option<usize>,
}

/// Room for the numbers of some architectures.
const PLACES: usize = 1 << 12;

fn place(arch: u32, nr: u32) -> usize {
    ((nr ^ (nr >> 18) ^ arch.wrapping_mul(0x9e37)) as usize) % PLACES
}

impl Decider {
    pub(super) fn new(programs: Vec<Program>) -> Decider {
        Decider { programs, remembered: vec![None; PLACES], answers: Vec::new(), known: BTreeMap::new() }
    }

    /// The answer to a call: a line of JSON.
    pub(super) fn answer(&mut self, call: &SeccompData) -> &[u8] {
        let place = place(call.arch, call.nr);
        let answer = match self.remembered[place] {
            Some(Remembered { arch, nr, answer }) if (arch, nr) == (call.arch, call.nr) => {
                answer.unwrap_or_else(|| self.decide(call))
            }
            _ => {
                let answer = self.decide(call);
                let looks = self.programs.iter().any(|program| looks_at_arguments(program, call));
                let answer_for_all = (!looks).then_some(answer);
                self.remembered[place] =
                    Some(Remembered { arch: call.arch, nr: call.nr, answer: answer_for_all });
                answer
            }
        };
        &self.answers[answer]
    }

    fn decide(&mut self, call: &SeccompData) -> usize {
        let action = run_stack(&self.programs, call);
        if let Some(index) = self.known.get(&action) {
            return *index;
        }
        self.answers.push(line(action).into_bytes());
        self.known.insert(action, self.answers.len() - 1);
        self.answers.len() - 1
    }
}

/// Whether the filter loads more than number and architecture for this call. Until it does, it goes the same way for every call of
/// this number.
fn looks_at_arguments(program: &Program, call: &SeccompData) -> bool {
    trace(program, call).any(|at| {
        let insn = program.instructions()[at];
        insn.code == LD_W_ABS && insn.k >= 8
    })
}

/// The action with its error as a number.
fn line(action: Action) -> String {
    match action {
        Action::Errno(errno) => {
            format!("{{\"action\":\"{}\",\"errno\":{}}}\n", action.name(), errno.number())
        }
        Action::Trace(data) => format!("{{\"action\":\"{}\",\"errno\":{data}}}\n", action.name()),
        _ => format!("{{\"action\":\"{}\"}}\n", action.name()),
    }
}
