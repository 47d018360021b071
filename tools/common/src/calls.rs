//! A decision function call by call: what tables and pictures show.

use std::collections::BTreeMap;

use plim_seccomp::arch::X32_SYSCALL_BIT;
use plim_seccomp::diagram::{self, Diagram, Store, Undecided, condition};
use plim_seccomp::{Action, Arch, SyscallNr, syscalls};

use crate::wall::{Answer, Block, Cell, Wall};

/// One answer and when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The condition on the arguments; `None` for every call, and where no comparison of single arguments says it.
    pub when: Option<String>,
    /// The answer.
    pub action: Action,
}

/// What is known of an answer that is undecided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Why it is.
    pub why: String,
    /// The kinds of answers that occur, the strongest first, each by one action with data of its own.
    pub kinds: Vec<Action>,
}

impl Rest {
    /// For people: why, and what can be answered.
    pub fn line(&self) -> String {
        let names: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        format!("{}; the call gets one of {}", self.why, names.join(", "))
    }
}

/// What is answered to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallAnswer {
    /// One case for an unconditional call; else one for each action, the one that is said last in longest words. None at all where it
    /// is undecided.
    pub cases: Vec<Case>,
    /// What is known where the cases are not.
    pub undecided: Option<Rest>,
    /// The exact meaning, within the store that it came from.
    pub rest: Diagram,
}

impl CallAnswer {
    /// The answer, when it is the same whatever the arguments.
    pub fn unconditional(&self) -> Option<Action> {
        match self.cases.as_slice() {
            [only] => Some(only.action),
            _ => None,
        }
    }

    /// The cases as a person reads them: `SCMP_ACT_ALLOW when family == AF_UNIX`, `SCMP_ACT_ERRNO (EPERM) otherwise`.
    pub fn lines(&self) -> Vec<String> {
        if let Some(action) = self.unconditional() {
            return vec![action.to_string()];
        }
        if let Some(rest) = &self.undecided {
            return vec![rest.line()];
        }
        let last = self.cases.len() - 1;
        let line = |(index, case): (usize, &Case)| match &case.when {
            _ if index == last => format!("{} otherwise", case.action),
            Some(when) => format!("{} when {when}", case.action),
            None => format!("{} when more than single arguments are compared", case.action),
        };
        self.cases.iter().enumerate().map(line).collect()
    }

    fn for_wall(&self) -> Answer {
        match (self.unconditional(), &self.undecided) {
            (Some(action), _) => Answer::always(action),
            (None, Some(rest)) => Answer::conditional(rest.kinds.iter().copied(), self.lines()),
            (None, None) => Answer::conditional(self.cases.iter().map(|case| case.action), self.lines()),
        }
    }
}

/// One call with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedCall {
    /// Its name; where two share a number, the first in the alphabet.
    pub name: &'static str,
    /// Its number.
    pub number: SyscallNr,
    /// What is answered.
    pub answer: CallAnswer,
}

/// Numbers without a name that are treated alike, those with a name in between left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unnamed {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
    /// What is answered.
    pub answer: CallAnswer,
}

/// One architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchCalls {
    /// Which.
    pub arch: Arch,
    /// Every call with a name, by name.
    pub calls: Vec<NamedCall>,
    /// The other numbers, ascending.
    pub unnamed: Vec<Unnamed>,
}

impl ArchCalls {
    /// The answer, when every number gets the same whatever its arguments.
    pub fn one_for_all(&self) -> Option<Action> {
        let answers = || {
            let named = self.calls.iter().map(|call| &call.answer);
            named.chain(self.unnamed.iter().map(|unnamed| &unnamed.answer))
        };
        let first = answers().next()?.unconditional()?;
        answers().all(|answer| answer.unconditional() == Some(first)).then_some(first)
    }
}

/// A whole decision function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllCalls {
    /// The architectures that it treats in a way of their own, in the order of [`Arch`].
    pub arches: Vec<ArchCalls>,
    /// What calls of every other architecture get; the name that an answer is looked up under is empty.
    pub elsewhere: CallAnswer,
}

impl AllCalls {
    /// How many answers are undecided.
    pub fn undecided(&self) -> usize {
        let answers = self.arches.iter().flat_map(|arch| {
            let unnamed = arch.unnamed.iter().map(|unnamed| &unnamed.answer);
            arch.calls.iter().map(|call| &call.answer).chain(unnamed)
        });
        answers.chain([&self.elsewhere]).filter(|answer| answer.undecided.is_some()).count()
    }
}

/// The architectures that any of some decision functions treats in a way of its own; x86-64, i386 and x32 when none does.
pub fn arches_of(store: &Store, diagrams: &[Diagram]) -> Vec<Arch> {
    let tokens: Vec<u32> = diagrams.iter().flat_map(|diagram| store.arches(*diagram)).collect();
    let found: Vec<Arch> = Arch::all().filter(|arch| tokens.contains(&arch.audit_token())).collect();
    if found.is_empty() { vec![Arch::X86_64, Arch::X86, Arch::X32] } else { found }
}

/// Reads a decision function off for these architectures.
///
/// # Errors
/// [`Undecided`] for a filter that computes with the number.
pub fn read(store: &mut Store, diagram: Diagram, arches: &[Arch]) -> Result<AllCalls, Undecided> {
    let elsewhere = store.unnamed_arch(diagram);
    let mut reader = Reader { store, said: BTreeMap::new() };
    let arches = arches.iter().map(|arch| reader.arch(diagram, *arch)).collect::<Result<_, _>>()?;
    let elsewhere = reader.answer(elsewhere, Arch::X86_64, "");
    Ok(AllCalls { arches, elsewhere })
}

struct Reader<'s> {
    store: &'s mut Store,
    /// Calls are treated alike: the cases by what is left, the width and the byte order of arguments.
    said: BTreeMap<(Diagram, bool, bool), Result<Said, Undecided>>,
}

/// Each answer, with the cases in which it is given where a short list says them.
type Said = Vec<(Action, Option<Vec<diagram::Case>>)>;

impl Reader<'_> {
    fn arch(&mut self, diagram: Diagram, arch: Arch) -> Result<ArchCalls, Undecided> {
        let of_arch = self.store.at(diagram, arch.audit_token(), None);
        let mut named: BTreeMap<u32, &'static str> = BTreeMap::new();
        for (name, number) in syscalls::calls(arch) {
            named.entry(number.0).or_insert(name);
        }
        let mut calls: Vec<NamedCall> = Vec::new();
        for (number, name) in &named {
            let rest = self.store.at(diagram, arch.audit_token(), Some(*number));
            let answer = self.answer(rest, arch, name);
            calls.push(NamedCall { name, number: SyscallNr(*number), answer });
        }
        calls.sort_by_key(|call| call.name);
        let mut unnamed: Vec<Unnamed> = Vec::new();
        for range in self.store.numbers(of_arch)? {
            for (first, last) in own_numbers(arch, range.first, range.last) {
                let Some((first, last)) = without_names(&named, first, last) else { continue };
                match unnamed.last_mut().filter(|before| before.answer.rest == range.rest) {
                    Some(before) => before.last = last,
                    None => {
                        unnamed.push(Unnamed { first, last, answer: self.answer(range.rest, arch, "") });
                    }
                }
            }
        }
        Ok(ArchCalls { arch, calls, unnamed })
    }

    fn answer(&mut self, rest: Diagram, arch: Arch, name: &str) -> CallAnswer {
        let mut answer = CallAnswer { cases: Vec::new(), undecided: None, rest };
        if let Some(action) = self.store.only_answer(rest) {
            answer.cases.push(Case { when: None, action });
            return answer;
        }
        let key = (rest, arch.has_narrow_arguments(), arch.is_big_endian());
        let store = &mut *self.store;
        match self.said.entry(key).or_insert_with(|| said(store, rest, arch)) {
            Ok(said) => {
                answer.cases.extend(said.iter().map(|(action, cases)| {
                    let when = cases.as_ref().and_then(|cases| condition(cases, arch, name, true));
                    Case { when, action: *action }
                }));
            }
            Err(why) => {
                let kinds = store.kinds(rest).collect();
                answer.undecided = Some(Rest { why: why.to_string(), kinds });
            }
        }
        // What is hardest to say comes last, where "otherwise" says it; of equals what lets most happen comes first.
        let length = |case: &Case| case.when.as_ref().map_or(usize::MAX, String::len);
        answer.cases.sort_by(|a, b| length(a).cmp(&length(b)).then(b.action.cmp(&a.action)));
        answer
    }
}

fn said(store: &mut Store, rest: Diagram, arch: Arch) -> Result<Said, Undecided> {
    let actions = store.answers(rest)?;
    actions.into_iter().map(|one| Ok((one, store.cases(rest, arch, |answer| answer == one)?))).collect()
}

/// The parts of a range of numbers that belong to `arch` where two share a token.
fn own_numbers(arch: Arch, first: u32, last: u32) -> Vec<(u32, u32)> {
    let plain = [(0, X32_SYSCALL_BIT - 1), (2 * X32_SYSCALL_BIT, 3 * X32_SYSCALL_BIT - 1)];
    let marked = [(X32_SYSCALL_BIT, 2 * X32_SYSCALL_BIT - 1), (3 * X32_SYSCALL_BIT, u32::MAX)];
    let own: &[(u32, u32)] = match arch {
        Arch::X86_64 => &plain,
        Arch::X32 => &marked,
        _ => &[(0, u32::MAX)],
    };
    own.iter()
        .map(|(low, high)| (first.max(*low), last.min(*high)))
        .filter(|(first, last)| first <= last)
        .collect()
}

/// The range from its lowest number without a name to its highest; `None` when every number has one.
fn without_names(named: &BTreeMap<u32, &str>, first: u32, last: u32) -> Option<(u32, u32)> {
    let low = (first..=last).find(|number| !named.contains_key(number))?;
    let high = (low..=last).rev().find(|number| !named.contains_key(number))?;
    Some((low, high))
}

/// The picture of one decision function.
pub fn wall(title: &str, remarks: Vec<String>, all: &AllCalls) -> Wall {
    let block = |arch: &ArchCalls| {
        if let Some(action) = arch.one_for_all() {
            let remarks = vec![format!("every number: {action}")];
            return Block { title: arch.arch.name().to_owned(), remarks, cells: Vec::new() };
        }
        let cells = arch.calls.iter().map(|call| Cell {
            name: call.name.to_owned(),
            number: Some(call.number.0),
            answer: call.answer.for_wall(),
            before: None,
            changed: false,
        });
        let others = arch.unnamed.iter().flat_map(|unnamed| {
            let range = range(unnamed.first, unnamed.last);
            unnamed
                .answer
                .lines()
                .into_iter()
                .map(move |line| format!("numbers without a name, {range}: {line}"))
        });
        Block { title: arch.arch.name().to_owned(), remarks: others.collect(), cells: cells.collect() }
    };
    let mut remarks = remarks;
    remarks.extend(all.elsewhere.lines().into_iter().map(|line| format!("every other architecture: {line}")));
    Wall {
        title: title.to_owned(),
        remarks,
        blocks: all.arches.iter().map(block).collect(),
        ..Wall::default()
    }
}

/// The picture of the difference between two decision functions, which were read for the same architectures.
pub fn difference_wall(title: &str, remarks: Vec<String>, a: &AllCalls, b: &AllCalls) -> Wall {
    let block = |(a, b): (&ArchCalls, &ArchCalls)| {
        let cells: Vec<Cell> = a
            .calls
            .iter()
            .zip(&b.calls)
            .map(|(before, after)| Cell {
                name: after.name.to_owned(),
                number: Some(after.number.0),
                answer: after.answer.for_wall(),
                before: Some(before.answer.for_wall()),
                changed: before.answer.rest != after.answer.rest,
            })
            .collect();
        let mut remarks = Vec::new();
        let unnamed = |side: &ArchCalls| -> Vec<(u32, u32, Diagram)> {
            side.unnamed.iter().map(|u| (u.first, u.last, u.answer.rest)).collect()
        };
        if unnamed(a) != unnamed(b) {
            for (side, of) in [("A", a), ("B", b)] {
                remarks.extend(of.unnamed.iter().flat_map(|unnamed| {
                    let range = range(unnamed.first, unnamed.last);
                    let said = unnamed.answer.lines().into_iter();
                    said.map(move |line| format!("{side}: numbers without a name, {range}: {line}"))
                }));
            }
        }
        if remarks.is_empty() && cells.iter().all(|cell| !cell.changed) {
            let title = b.arch.name().to_owned();
            return Block { title, remarks: vec!["no difference".to_owned()], cells: Vec::new() };
        }
        Block { title: b.arch.name().to_owned(), remarks, cells }
    };
    let mut remarks = remarks;
    if a.elsewhere.rest != b.elsewhere.rest {
        for (side, of) in [("A", a), ("B", b)] {
            let lines = of.elsewhere.lines().into_iter();
            remarks.extend(lines.map(|line| format!("{side}: every other architecture: {line}")));
        }
    }
    let blocks = a.arches.iter().zip(&b.arches).map(block).collect();
    Wall { title: title.to_owned(), remarks, blocks, ..Wall::default() }
}

/// `5`, `5 to 9`, `5 and above`; x32's numbers and others that large in hexadecimal.
pub fn range(first: u32, last: u32) -> String {
    let number = |n: u32| if n < 0x1_0000 { n.to_string() } else { format!("{n:#x}") };
    match last {
        _ if first == last => number(first),
        // The end of all numbers, or of those of x86-64.
        u32::MAX | 0xbfff_ffff => format!("{} and above", number(first)),
        _ => format!("{} to {}", number(first), number(last)),
    }
}
