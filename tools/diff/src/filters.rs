//! Compares two stacks of installed filters by meaning, as far as that can be done without the decision engine.
//!
//! For every architecture and every range of numbers that either side tells apart, what is left of each filter is put into
//! one shared graph ([`residual`]): the same remainder is the same meaning. Where the remainders differ, calls next to
//! every constant in them are run through the interpreter ([`probe`]); a disagreement is a difference with a witness.
//! Where nothing is found the answer is *unknown*, not *same*.
//!
//! This is the seam for the exact engine: [`compare`] keeps its type when the engine replaces its inside.

use std::collections::BTreeSet;

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
        Run { graph: Graph::default(), a, b, found: Comparison::default(), undecided: BTreeSet::new() };
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
    /// Calls whose bytes differ and for which no difference was found.
    undecided: BTreeSet<String>,
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
        let mut foreign_told = false;
        for (first, last) in tokens.ranges {
            let known = Arch::all().any(|arch| arch.audit_token() == first);
            // A range of one token is an architecture that a filter names; wider ones are everybody else.
            if known && first == last {
                self.one_architecture(first)?;
            } else if !foreign_told {
                foreign_told = self.foreign(first)?;
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
            self.undecided.insert("calls of other architectures".to_owned());
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
                self.undecided.insert(format!("{name} ({})", arch.name()));
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
            const SHOWN: usize = 5;
            let mut names = self.undecided.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
            if self.undecided.len() > SHOWN {
                names.push_str(&format!(" and {} more", self.undecided.len() - SHOWN));
            }
            self.found.unknown.push(format!(
                "bytes differ for {names}; no difference found by probing; exactness comes with the decision engine"
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
mod tests {
    use plim_seccomp::bpf::Insn;
    use plim_seccomp::bpf::code::*;
    use serde_json::json;

    use super::*;

    const ALLOW: u32 = 0x7fff_0000;
    const EPERM: u32 = 0x0005_0001;
    const KILL: u32 = 0;
    /// Offsets of the low and the high half of the first argument on little-endian machines.
    const ARG0: [u32; 2] = [16, 20];

    fn program(lines: &[(u16, u8, u8, u32)]) -> Program {
        let insns = lines.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
        Program::from_instructions(insns).expect("a program that the kernel takes")
    }

    /// x86-64 only: `verdict` for number 41 when the tests of `middle` fall through to it.
    fn for_socket(middle: &[(u16, u8, u8, u32)], verdict: u32) -> Program {
        let mut lines = vec![
            (LD_W_ABS, 0, 0, 4),
            (JMP_JEQ_K, 1, 0, 0xc000_003e),
            (RET_K, 0, 0, KILL),
            (LD_W_ABS, 0, 0, 0),
            (JMP_JEQ_K, 1, 0, 41),
            (RET_K, 0, 0, ALLOW),
        ];
        lines.extend(middle);
        lines.extend([(RET_K, 0, 0, verdict), (RET_K, 0, 0, ALLOW)]);
        program(&lines)
    }

    fn rows(found: &Comparison) -> Vec<(String, Option<String>, serde_json::Value, serde_json::Value)> {
        found
            .changes
            .iter()
            .map(|c| {
                let when = c.seccomp.as_ref().and_then(|detail| detail.when.clone());
                (c.path.clone(), when, c.before.clone(), c.after.clone())
            })
            .collect()
    }

    #[test]
    fn equal_bytes_are_the_same() {
        let socket = for_socket(&[], EPERM);
        let found = compare(std::slice::from_ref(&socket), std::slice::from_ref(&socket));
        assert!(found.changes.is_empty() && found.unknown.is_empty());
        let none = compare(&[], &[]);
        assert!(none.changes.is_empty() && none.unknown.is_empty());
    }

    #[test]
    fn other_bytes_with_the_same_remainders_are_the_same() {
        // The same decisions with the number loaded first, a dead store and a jump more.
        let one = for_socket(&[], EPERM);
        let other = program(&[
            (LD_W_ABS, 0, 0, 0),
            (ST, 0, 0, 3),
            (LD_W_ABS, 0, 0, 4),
            (JMP_JEQ_K, 0, 4, 0xc000_003e),
            (LD_MEM, 0, 0, 3),
            (JMP_JEQ_K, 0, 1, 41),
            (RET_K, 0, 0, EPERM),
            (RET_K, 0, 0, ALLOW),
            (RET_K, 0, 0, KILL),
        ]);
        let found = compare(&[one], &[other]);
        assert_eq!((rows(&found), found.unknown), (vec![], vec![]));
    }

    #[test]
    fn an_unconditional_difference_is_told_with_its_name_and_number() {
        let found = compare(&[for_socket(&[], ALLOW)], &[for_socket(&[], EPERM)]);
        assert_eq!(
            rows(&found),
            [(
                "/seccomp/SCMP_ARCH_X86_64/socket".to_owned(),
                None,
                json!({"action": "SCMP_ACT_ALLOW"}),
                json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"})
            )]
        );
        assert_eq!(found.changes[0].seccomp.as_ref().map(|detail| detail.number), Some(41));
        assert_eq!(found.changes[0].effect, Effect::Less);
        assert!(found.unknown.is_empty());
    }

    #[test]
    fn no_filter_against_one() {
        let found = compare(&[], &[for_socket(&[], EPERM)]);
        let paths: Vec<&str> = found.changes.iter().map(|c| c.path.as_str()).collect();
        assert_eq!(paths, ["/seccomp/other_architectures", "/seccomp/SCMP_ARCH_X86_64/socket"]);
        assert_eq!(found.changes[0].after, json!({"action": "SCMP_ACT_KILL_THREAD"}));
    }

    #[test]
    fn a_difference_behind_an_argument_is_found_with_a_witness() {
        let equals = |value: u32| for_socket(&[(LD_W_ABS, 0, 0, ARG0[0]), (JMP_JEQ_K, 0, 1, value)], EPERM);
        let found = compare(&[equals(17)], &[equals(16)]);
        let whens: Vec<Option<String>> = rows(&found).into_iter().map(|row| row.1).collect();
        assert_eq!(
            whens,
            [Some("for example arg0 == 0x10".to_owned()), Some("for example arg0 == 0x11".to_owned())]
        );
        // The high half counts on one side only.
        let low = equals(17);
        let whole = for_socket(
            &[
                (LD_W_ABS, 0, 0, ARG0[1]),
                (JMP_JEQ_K, 0, 3, 0),
                (LD_W_ABS, 0, 0, ARG0[0]),
                (JMP_JEQ_K, 0, 1, 17),
            ],
            EPERM,
        );
        let found = compare(&[low], &[whole]);
        assert!(rows(&found)[0].1.as_deref().is_some_and(|when| when.ends_with("00000011")), "{found:?}");
    }

    #[test]
    fn a_mask_is_probed_by_its_bits() {
        let masked = |mask: u32| {
            for_socket(&[(LD_W_ABS, 0, 0, ARG0[0]), (ALU_AND_K, 0, 0, mask), (JMP_JEQ_K, 1, 0, 0)], EPERM)
        };
        let found = compare(&[masked(0x7e02_0000)], &[masked(0x7e00_0000)]);
        assert_eq!(rows(&found)[0].1.as_deref(), Some("for example arg0 == 0x20000"));
    }

    #[test]
    fn nothing_found_with_other_bytes_is_unknown_and_never_the_same() {
        // Low half then high half, against high half then low half: the same meaning in another order of tests.
        let order = |first: usize, second: usize, values: [u32; 2]| {
            for_socket(
                &[
                    (LD_W_ABS, 0, 0, ARG0[first]),
                    (JMP_JEQ_K, 0, 3, values[0]),
                    (LD_W_ABS, 0, 0, ARG0[second]),
                    (JMP_JEQ_K, 0, 1, values[1]),
                ],
                EPERM,
            )
        };
        let found = compare(&[order(0, 1, [17, 0])], &[order(1, 0, [0, 17])]);
        assert!(found.changes.is_empty());
        assert_eq!(
            found.unknown,
            [
                "bytes differ for socket (x86_64); no difference found by probing; exactness comes with the decision engine"
            ]
        );
    }

    #[test]
    fn stacked_filters_count_together() {
        let (allow, refuse) = (for_socket(&[], ALLOW), for_socket(&[], EPERM));
        let found = compare(&[allow.clone(), refuse.clone()], &[refuse, allow]);
        assert_eq!((rows(&found), found.unknown), (vec![], vec![]));
    }

    #[test]
    fn a_computed_number_is_said_to_be_undecided() {
        let masked = |k: u32| {
            program(&[
                (LD_W_ABS, 0, 0, 0),
                (ALU_AND_K, 0, 0, 0xff),
                (JMP_JEQ_K, 0, 1, k),
                (RET_K, 0, 0, EPERM),
                (RET_K, 0, 0, ALLOW),
            ])
        };
        let found = compare(&[masked(41)], &[masked(42)]);
        assert!(!found.unknown.is_empty() || !found.changes.is_empty(), "never the same");
    }
}
