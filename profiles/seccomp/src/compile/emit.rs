//! Writes the program of a diagram, from its end to its beginning.

use super::assemble::{Assembler, Target};
use super::search::{Forest, Form, Leaf, Node, NodeId, Range, UNIT};
use super::table::{self, Step, StepId, Table};
use super::{CompileError, weights};
use crate::arch::{Arch, X32_SYSCALL_BIT};
use crate::bpf::{Insn, MAX_INSTRUCTIONS, Program, ProgramError, code};
use crate::diagram::{Diagram, FastMap, Shape, Store};

/// Offset of `nr` in `struct seccomp_data`.
const NR: u32 = 0;
/// Offset of `arch` in `struct seccomp_data`.
const ARCH: u32 = 4;
/// Up to so many ranges no other form is looked for.
const FEW_RANGES: usize = 4;
/// A mask is tested as a whole from so many bits on, even though the word must be loaded again.
const LONG_CHAIN: u32 = 4;
/// A word is not tested as a whole when that leaves more to decide than one diagram for so many bits.
const BITS_PER_END: usize = 4;
/// Programs are given up at this length: jumps over jumps.
const GIVE_UP: usize = 8 * MAX_INSTRUCTIONS;

/// The program, not yet proven.
pub(super) fn program(store: &mut Store, diagram: Diagram, native: Arch) -> Result<Program, CompileError> {
    let mut emitter = Emitter {
        store,
        native,
        arch: native,
        asm: Assembler::default(),
        written: FastMap::default(),
        arches: FastMap::default(),
        numbers: Forest::default(),
        number_nodes: FastMap::default(),
        leaves: Leaves::default(),
    };
    let entry = emitter.diagram(diagram)?;
    Ok(Program::from_instructions(emitter.asm.finish(entry))?)
}

/// What a leaf of a search stands for.
#[derive(Clone, Copy)]
enum Verdict {
    /// What is left to decide.
    Rest(Diagram),
    /// What this node says of the number without x32's bit.
    Masked(NodeId),
}

/// What a diagram's code looks at first.
enum First {
    /// The token or the number, which leads from these values on to these diagrams.
    Ranges(Vec<(u32, Diagram)>),
    /// The word at this offset.
    Table(u32, Table),
    /// Nothing but the next bit: the better way where two words are compared with each other.
    Bit,
}

#[derive(Default)]
struct Leaves {
    verdicts: Vec<Verdict>,
    ids: FastMap<Diagram, Leaf>,
}

impl Leaves {
    fn of(&mut self, diagram: Diagram) -> Leaf {
        match self.ids.get(&diagram) {
            Some(known) => *known,
            None => {
                let leaf = self.add(Verdict::Rest(diagram));
                self.ids.insert(diagram, leaf);
                leaf
            }
        }
    }

    fn add(&mut self, verdict: Verdict) -> Leaf {
        self.verdicts.push(verdict);
        u32::try_from(self.verdicts.len() - 1).unwrap_or(u32::MAX)
    }
}

struct Emitter<'s> {
    store: &'s mut Store,
    native: Arch,
    /// The architecture whose numbers are being written.
    arch: Arch,
    asm: Assembler,
    /// Where the code of a diagram starts, once it was written.
    written: FastMap<Diagram, Target>,
    /// Whose numbers a diagram decides about, for the weights.
    arches: FastMap<Diagram, Arch>,
    /// Searches through numbers, of all architectures.
    numbers: Forest,
    number_nodes: FastMap<NodeId, Target>,
    leaves: Leaves,
}

impl Emitter<'_> {
    fn diagram(&mut self, diagram: Diagram) -> Result<Target, CompileError> {
        if let Some(known) = self.written.get(&diagram) {
            return Ok(*known);
        }
        if self.asm.len() > GIVE_UP {
            return Err(ProgramError::TooLong(self.asm.len()).into());
        }
        if let Some(arch) = self.arches.get(&diagram) {
            self.arch = *arch;
        }
        let target = match self.store.shape(diagram) {
            Shape::Answer(action) => Target::Ret(action.to_ret()),
            Shape::Asks { offset, bit, zero, one } => match self.first(diagram, offset)? {
                First::Ranges(ranges) => {
                    let entry = self.ranges(offset, &ranges)?;
                    self.asm.load(offset, entry)
                }
                First::Table(offset, table) => {
                    let mut done = FastMap::default();
                    let entry = self.table(offset, &table, table.root, &mut done)?;
                    self.asm.load(offset, entry)
                }
                First::Bit => {
                    let (zero, one) = (self.diagram(zero)?, self.diagram(one)?);
                    let entry = self.asm.branch(code::JMP_JSET_K, 1 << bit, one, zero);
                    self.asm.load(offset, entry)
                }
            },
        };
        self.written.insert(diagram, target);
        Ok(target)
    }

    /// What to look at first: of words of arguments the one that leaves the least to decide, and the higher half where that does not
    /// tell.
    fn first(&mut self, diagram: Diagram, first: u32) -> Result<First, CompileError> {
        if first < 8
            && let Some(ranges) = table::front(self.store, diagram, first)
        {
            return Ok(First::Ranges(ranges));
        }
        let (words, size) = if first < 8 { (vec![first], usize::MAX) } else { self.words(diagram) };
        let mut best: Option<((usize, u32), u32, Table)> = None;
        for offset in words {
            let Some(table) = Table::of(self.store, diagram, offset)? else { continue };
            let asks = |end: &Diagram| matches!(self.store.shape(*end), Shape::Asks { .. });
            let open = table.ends().iter().filter(|end| asks(end)).count();
            // Nothing leaves less, of a diagram that looks at several words.
            if open <= 1 && offset == first {
                return Ok(First::Table(offset, table));
            }
            let cost = (open, offset ^ 4);
            if open <= 1 + size / BITS_PER_END && best.as_ref().is_none_or(|best| cost < best.0) {
                best = Some((cost, offset, table));
            }
        }
        Ok(best.map_or(First::Bit, |(_, offset, table)| First::Table(offset, table)))
    }

    /// The words that a diagram over arguments depends on, and how many bits it asks for.
    fn words(&self, diagram: Diagram) -> (Vec<u32>, usize) {
        let mut offsets = Vec::new();
        let mut seen: FastMap<Diagram, ()> = FastMap::default();
        let mut left = vec![diagram];
        while let Some(diagram) = left.pop() {
            if let Shape::Asks { offset, zero, one, .. } = self.store.shape(diagram)
                && seen.insert(diagram, ()).is_none()
            {
                if !offsets.contains(&offset) {
                    offsets.push(offset);
                }
                left.extend([zero, one]);
            }
        }
        // The first one first; the others in an order of their own.
        offsets[1..].sort_unstable();
        (offsets, seen.len())
    }

    /// Code that decides from step `id` on, with the word in A.
    fn table(
        &mut self,
        offset: u32,
        table: &Table,
        id: StepId,
        done: &mut FastMap<StepId, Target>,
    ) -> Result<Target, CompileError> {
        if let Some(known) = done.get(&id) {
            return Ok(*known);
        }
        let target = match table.step(id) {
            Step::End(diagram) => self.diagram(diagram)?,
            Step::Bit(bit, zero, one) => {
                let mask = table.mask(id);
                let chain = table.chain(id);
                let whole = table.ranges(id, u32::MAX, usize::MAX);
                let few = whole.as_ref().is_some_and(|ranges| ranges.len() <= FEW_RANGES);
                let masked = if few || mask == u32::MAX { None } else { table.ranges(id, mask, usize::MAX) };
                let masked = masked.filter(|_| offset != NR || whole.is_none());
                let length = |ranges: &Option<Vec<_>>| ranges.as_ref().map_or(usize::MAX, Vec::len);
                if !few && offset != NR && chain.value == 0 && chain.mask.count_ones() > 1 {
                    let then = self.table(offset, table, chain.then, done)?;
                    let other = self.table(offset, table, chain.other, done)?;
                    self.asm.branch(code::JMP_JSET_K, chain.mask, other, then)
                } else if length(&whole) <= length(&masked).saturating_add(1) && length(&whole) < usize::MAX {
                    self.ranges(offset, &whole.unwrap_or_default())?
                } else if let Some(masked) = masked {
                    let entry = self.ranges(offset, &masked)?;
                    self.asm.then(Insn::stmt(code::ALU_AND_K, mask), entry)
                } else if chain.mask.count_ones() >= LONG_CHAIN {
                    let then = self.table(offset, table, chain.then, done)?;
                    let other = self.table(offset, table, chain.other, done)?;
                    let (then, other) = (
                        self.again(offset, table, chain.then, then),
                        self.again(offset, table, chain.other, other),
                    );
                    let entry = self.asm.branch(code::JMP_JEQ_K, chain.value, then, other);
                    self.asm.then(Insn::stmt(code::ALU_AND_K, chain.mask), entry)
                } else {
                    let (zero, one) =
                        (self.table(offset, table, zero, done)?, self.table(offset, table, one, done)?);
                    self.asm.branch(code::JMP_JSET_K, 1 << bit, one, zero)
                }
            }
        };
        done.insert(id, target);
        Ok(target)
    }

    /// The code of a step that needs the word, after A was masked.
    fn again(&mut self, offset: u32, table: &Table, id: StepId, code: Target) -> Target {
        match table.step(id) {
            Step::End(_) => code,
            Step::Bit(..) => self.asm.load(offset, code),
        }
    }

    /// A search through ranges of a word that is in A.
    fn ranges(&mut self, offset: u32, ranges: &[(u32, Diagram)]) -> Result<Target, CompileError> {
        match offset {
            NR => self.number(ranges),
            ARCH => {
                for (start, rest) in ranges {
                    if let Some(arch) = Arch::from_audit_token(*start, 0) {
                        self.arches.entry(*rest).or_insert(arch);
                    }
                }
                // The native token before the others, and any token before all the rest.
                let native = self.native.audit_token();
                let weight = |start: u32| match Arch::from_audit_token(start, 0) {
                    Some(_) if start == native => 1000 * UNIT,
                    Some(_) => 100 * UNIT,
                    None => 0,
                };
                self.search(ranges, |start, _| weight(start))
            }
            // High halves are 0 as a rule.
            _ if offset % 8 == 4 => self.search(ranges, |start, _| if start == 0 { 64 * UNIT } else { UNIT }),
            _ => self.search(ranges, |_, _| UNIT),
        }
    }

    fn search(
        &mut self,
        ranges: &[(u32, Diagram)],
        weight: impl Fn(u32, u32) -> u64,
    ) -> Result<Target, CompileError> {
        let ranges = table::leaves(ranges, |diagram| self.leaves.of(diagram));
        let weights: Vec<u64> = with_last(&ranges).map(|(range, last)| weight(range.start, last)).collect();
        let mut forest = Forest::default();
        let root = forest.plan(&ranges, &weights, Form::AsWeighed);
        self.node(&forest, root, &mut FastMap::default())
    }

    fn number(&mut self, ranges: &[(u32, Diagram)]) -> Result<Target, CompileError> {
        const FIRST: u32 = X32_SYSCALL_BIT;
        const END: u32 = X32_SYSCALL_BIT << 1;
        let mut outer = table::leaves(ranges, |diagram| self.leaves.of(diagram));
        // x32's numbers: bit 30 is taken away, so that their search may share with the others'.
        let from = outer.partition_point(|range| range.start < FIRST);
        let to = outer.partition_point(|range| range.start < END);
        if to - from > FEW_RANGES && outer[from].start == FIRST {
            let inner: Vec<Range> =
                outer[from..to].iter().map(|range| Range { start: range.start - FIRST, ..*range }).collect();
            let after = outer[to - 1].leaf;
            let root = self.plan_numbers(&inner, Arch::X32);
            let mut between = vec![Range { start: FIRST, leaf: self.leaves.add(Verdict::Masked(root)) }];
            // Bit 31 is kept: where all above answers as x32's last numbers do, it is found there without a step of its own.
            if outer.get(to).is_some_and(|next| next.start > END) {
                between.push(Range { start: END, leaf: after });
            }
            outer.splice(from..to, between);
        }
        let root = self.plan_numbers(&outer, self.arch);
        let forest = std::mem::take(&mut self.numbers);
        let mut nodes = std::mem::take(&mut self.number_nodes);
        let target = self.node(&forest, root, &mut nodes);
        self.numbers = forest;
        self.number_nodes = nodes;
        target
    }

    fn plan_numbers(&mut self, ranges: &[Range], arch: Arch) -> NodeId {
        let table = weights::Weights::of(arch, arch == self.native);
        let weights: Vec<u64> = with_last(ranges)
            .map(|(range, last)| {
                let weight = table.between(range.start, last);
                match self.leaves.verdicts[range.leaf as usize] {
                    Verdict::Masked(_) => weights::X32,
                    Verdict::Rest(rest) if matches!(self.store.shape(rest), Shape::Asks { .. }) => {
                        weight * weights::CONDITIONAL
                    }
                    Verdict::Rest(_) => weight,
                }
            })
            .collect();
        let form = match arch {
            _ if arch == self.native => Form::AsWeighed,
            // It pays for the mask already.
            Arch::X32 => Form::Balanced,
            _ => Form::Flat,
        };
        self.numbers.plan(ranges, &weights, form)
    }

    fn node(
        &mut self,
        forest: &Forest,
        id: NodeId,
        done: &mut FastMap<NodeId, Target>,
    ) -> Result<Target, CompileError> {
        if let Some(known) = done.get(&id) {
            return Ok(*known);
        }
        let target = match forest.node(id) {
            Node::Leaf(leaf) => match self.leaves.verdicts[leaf as usize] {
                Verdict::Rest(diagram) => self.diagram(diagram)?,
                Verdict::Masked(root) => {
                    let entry = self.node(forest, root, done)?;
                    self.asm.then(Insn::stmt(code::ALU_AND_K, !X32_SYSCALL_BIT), entry)
                }
            },
            Node::AtLeast(value, below, rest) => {
                let rest = self.node(forest, rest, done)?;
                let below = self.node(forest, below, done)?;
                self.asm.branch(code::JMP_JGE_K, value, rest, below)
            }
            Node::Exactly(value, leaf, rest) => {
                let rest = self.node(forest, rest, done)?;
                let leaf = self.node(forest, leaf, done)?;
                self.asm.branch(code::JMP_JEQ_K, value, leaf, rest)
            }
        };
        done.insert(id, target);
        Ok(target)
    }
}

/// Each range with its last value.
fn with_last(ranges: &[Range]) -> impl Iterator<Item = (&Range, u32)> {
    let lasts = ranges.iter().skip(1).map(|next| next.start - 1).chain([u32::MAX]);
    ranges.iter().zip(lasts)
}
