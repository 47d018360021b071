//! Compares two stacks of installed filters by meaning, as far as that can be done without the decision engine.
//!
//! For every architecture and every range of numbers that either side tells apart, what is left of each filter is put into
//! one shared graph ([`residual`]): the same remainder is the same meaning. Where the remainders differ, calls next to
//! every constant in them are run through the interpreter ([`probe`]); a disagreement is a difference with a witness.
//! Where nothing is found the answer is *unknown*, not *same*.
//!
//! This is the seam for the exact engine: [`compare`] keeps its type when the engine replaces its inside.

use std::collections::{BTreeMap, BTreeSet};

use plim_model::diff::{Area, Change, Effect, SeccompDetail};
use plim_seccomp::bpf::Program;
use plim_seccomp::diff::UNNAMED;
use plim_seccomp::interpret::{SeccompData, run_stack};
use plim_seccomp::{Action, Arch, SyscallNr, syscalls};

mod probe;
mod ranges;
mod residual;

use residual::{ARCH, Graph, Known, NR, NodeId, Undecided};

/// What is known about two stacks of filters.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// Verdicts that differ.
    pub(crate) changes: Vec<Change>,
    /// What could not be decided, each a sentence.
    pub(crate) unknown: Vec<String>,
}

/// Compares the stacks (oldest filter first; none at all allows everything).
pub(crate) fn compare(a: &[Program], b: &[Program]) -> Comparison {
    if a == b {
        return Comparison::default();
    }
    let mut run =
        Run { graph: Graph::default(), a, b, found: Comparison::default(), undecided: BTreeMap::new() };
    if run.all_architectures().is_err() {
        run.found.unknown.push(
            "the filters are too large to compare number by number; that comes with the decision engine"
                .to_owned(),
        );
    }
    run.finish()
}

struct Run<'a> {
    graph: Graph,
    a: &'a [Program],
    b: &'a [Program],
    found: Comparison,
    /// Calls whose remainders differ and for which no difference was found, with their architectures.
    undecided: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Run<'_> {
    fn residuals(&mut self, known: Known) -> Result<[Vec<NodeId>; 2], Undecided> {
        let mut of = |stack: &[Program]| -> Result<Vec<NodeId>, Undecided> {
            stack.iter().map(|program| self.graph.residual(program, known)).collect()
        };
        Ok([of(self.a)?, of(self.b)?])
    }

    fn all_architectures(&mut self) -> Result<(), Undecided> {
        let [a, b] = self.residuals(Known::default())?;
        let tokens = ranges::of_word(&self.graph, &[a, b].concat(), ARCH, &[]);
        if !tokens.exact {
            self.found.unknown.push("a filter computes with the architecture's token".to_owned());
        }
        if tokens.ranges.len() == 1 {
            // Neither side asks for the architecture: all are alike, and told by the names of these.
            for arch in [Arch::X86_64, Arch::X86] {
                self.one_architecture(arch.audit_token())?;
            }
            return Ok(());
        }
        // A range of one token is an architecture that a filter names; wider ones are everybody else.
        let named = |arch: &Arch| tokens.ranges.contains(&(arch.audit_token(), arch.audit_token()));
        let mut done = BTreeSet::new();
        for arch in Arch::all().filter(named) {
            if done.insert(arch.audit_token()) {
                self.one_architecture(arch.audit_token())?;
            }
        }
        for (first, _) in tokens.ranges.iter().filter(|(first, _)| !done.contains(first)) {
            if self.foreign(*first)? {
                break;
            }
        }
        Ok(())
    }

    /// Architectures that no filter names: one change per pair of verdicts for all of them. Says whether they differ or
    /// may differ.
    fn foreign(&mut self, token: u32) -> Result<bool, Undecided> {
        let [a, b] = self.residuals(Known { arch: Some(token), nr: None })?;
        if same(&a, &b) {
            return Ok(false);
        }
        let mut pairs = BTreeSet::new();
        for (nr, _) in ranges::of_word(&self.graph, &[a, b].concat(), NR, &[]).ranges {
            let [a, b] = self.residuals(Known { arch: Some(token), nr: Some(nr) })?;
            if !same(&a, &b) {
                let roots = [a, b].concat();
                let found = probe::disagreements(&self.graph, &roots, (self.a, self.b), (token, nr));
                pairs.extend(found.into_iter().map(|found| (found.before, found.after)));
            }
        }
        if pairs.is_empty() {
            self.undecided.entry("calls of other architectures").or_default();
        }
        self.found.changes.extend(pairs.into_iter().map(|(before, after)| Change {
            area: Area::Seccomp,
            path: "/seccomp/other_architectures".to_owned(),
            before: before.to_json(),
            after: after.to_json(),
            effect: effect(before, after),
            seccomp: None,
        }));
        Ok(true)
    }

    fn one_architecture(&mut self, token: u32) -> Result<(), Undecided> {
        let [a, b] = self.residuals(Known { arch: Some(token), nr: None })?;
        if same(&a, &b) {
            return Ok(());
        }
        // The tables' numbers are ranges of their own, so that a difference is told for each name.
        let named: Vec<u32> = Arch::all()
            .filter(|arch| arch.audit_token() == token)
            .flat_map(|arch| syscalls::calls(arch).map(|(_, nr)| nr.0))
            .flat_map(|nr| [nr, nr + 1])
            .collect();
        let numbers = ranges::of_word(&self.graph, &[a, b].concat(), NR, &named);
        if !numbers.exact {
            self.found.unknown.push("a filter computes with the system call number".to_owned());
        }
        for (first, _) in numbers.ranges {
            self.one_range(token, first)?;
        }
        Ok(())
    }

    /// One range of numbers that are treated alike, by its first.
    fn one_range(&mut self, token: u32, first: u32) -> Result<(), Undecided> {
        let [a, b] = self.residuals(Known { arch: Some(token), nr: Some(first) })?;
        if same(&a, &b) {
            return Ok(());
        }
        let Some(arch) = Arch::from_audit_token(token, first) else { return Ok(()) };
        let name = syscalls::name(arch, SyscallNr(first)).unwrap_or(UNNAMED);
        let roots = [a, b].concat();
        let conditional = self
            .graph
            .reachable(&roots)
            .iter()
            .any(|id| !matches!(self.graph.node(*id), residual::Node::Ret(_)));
        let found = probe::disagreements(&self.graph, &roots, (self.a, self.b), (token, first));
        if found.is_empty() {
            // Stacks of other filters with one verdict: without a condition the base call has told everything.
            if conditional {
                self.undecided.entry(name).or_default().push(arch.name());
            }
            return Ok(());
        }
        for disagreement in found {
            let when = conditional.then(|| witness(&disagreement.call));
            let change = change(arch, name, first, when, disagreement.before, disagreement.after);
            // Numbers without a name are told once for each pair of verdicts, by the lowest.
            let told = name == UNNAMED
                && self.found.changes.iter().any(|known| {
                    (&known.path, &known.before, &known.after)
                        == (&change.path, &change.before, &change.after)
                });
            if !told {
                self.found.changes.push(change);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Comparison {
        if !self.undecided.is_empty() {
            let names: Vec<String> = self
                .undecided
                .iter()
                .map(|(name, arches)| match arches.as_slice() {
                    [] => (*name).to_owned(),
                    arches => format!("{name} ({})", arches.join(", ")),
                })
                .collect();
            self.found.unknown.push(format!(
                "bytes differ for {}; no difference found by probing; exactness comes with the decision engine",
                names.join(", ")
            ));
        }
        self.found
    }
}

/// The verdict of a stack on every named call of some architectures, as lines for people.
pub(crate) fn text(stack: &[Program], arches: &BTreeSet<Arch>) -> String {
    let mut graph = Graph::default();
    let mut text = String::new();
    for arch in arches {
        for (name, number) in syscalls::calls(*arch) {
            let (token, nr) = (arch.audit_token(), number.0);
            let known = Known { arch: Some(token), nr: Some(nr) };
            let plain = stack.iter().all(|program| {
                graph
                    .residual(program, known)
                    .is_ok_and(|id| matches!(graph.node(id), residual::Node::Ret(_)))
            });
            let verdict = if plain {
                run_stack(stack, &SeccompData { nr, arch: token, ..SeccompData::default() }).to_string()
            } else {
                "depends on its arguments".to_owned()
            };
            text.push_str(&format!("{} {name}: {verdict}\n", arch.name()));
        }
    }
    text
}

/// Stacks of the same remainders in the same order decide alike. (In another order they may differ: of two filters that
/// answer with one action and other data the newest wins.)
fn same(a: &[NodeId], b: &[NodeId]) -> bool {
    a == b
}

/// The arguments of a call on which the verdicts differ, as conditions.
fn witness(call: &SeccompData) -> String {
    let set: Vec<String> = (0..6)
        .filter(|index| call.args[*index] != 0)
        .map(|index| format!("arg{index} == {:#x}", call.args[index]))
        .collect();
    let ip = (call.ip != 0).then(|| format!("ip == {:#x}", call.ip));
    let text = set.into_iter().chain(ip).collect::<Vec<_>>().join(" && ");
    if text.is_empty() { "for example all arguments 0".to_owned() } else { format!("for example {text}") }
}

/// Where a diff speaks of one call.
pub(crate) fn path(arch: Arch, name: &str) -> String {
    format!("/seccomp/{}/{}", arch.scmp_name(), plim_model::json::escape(name))
}

/// A change of one verdict.
pub(crate) fn change(
    arch: Arch,
    name: &str,
    number: u32,
    when: Option<String>,
    before: Action,
    after: Action,
) -> Change {
    Change {
        area: Area::Seccomp,
        path: path(arch, name),
        before: before.to_json(),
        after: after.to_json(),
        effect: effect(before, after),
        seccomp: Some(SeccompDetail {
            arch: arch.scmp_name().to_owned(),
            syscall: name.to_owned(),
            number,
            when,
        }),
    }
}

/// Whether the kernel does more of the call: refused in any way, left to somebody else, made.
fn effect(before: Action, after: Action) -> Effect {
    let reach = |action: Action| match action {
        Action::KillProcess | Action::KillThread | Action::Trap | Action::Errno(_) => 0,
        Action::Notify | Action::Trace(_) => 1,
        Action::Log | Action::Allow => 2,
    };
    Effect::by_order(&reach(before), &reach(after))
}

#[cfg(test)]
mod tests;
