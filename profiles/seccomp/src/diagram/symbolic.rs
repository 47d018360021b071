//! Runs a program once for all calls: registers and cells hold words whose bits are functions of the call.
//!
//! Jumps go forward only. So a pass from the first instruction to the last finds every pair of instruction and live state that can be
//! reached, and a pass back puts their diagrams together. What will not be read again is not part of a state.

use super::Undecided;
use super::arena::{Arena, Exceeded, FALSE, Id, Leaf, TRUE};
use super::hash::FastMap;
use super::word::{self, Bits};
use crate::action::Action;
use crate::bpf::{Insn, Program, SECCOMP_DATA_SIZE, code::*};
use crate::errno::Errno;

/// A, X and M\[0..15\].
const REGISTERS: usize = 18;
const A: usize = 0;
const X: usize = 1;
const CELLS: usize = 2;
/// A register that will not be read again.
const DEAD: u32 = u32::MAX;
/// Most pairs of instruction and state.
const MOST_STATES: usize = 50_000;

/// A handle of a word in [`Run::words`].
type Word = u32;
type State = [Word; REGISTERS];

/// Where an instruction leads to from one state.
enum Step {
    To(usize),
    If(Id, usize, usize),
    /// A comparison of the whole token or number with a constant: first level of the word, operation, constant.
    IfWord(u32, (u16, u32), usize, usize),
    /// Division: by zero the filter ends with 0.
    IfDivides(Id, usize),
    Ends(Id),
}

struct Run<'a> {
    arena: &'a mut Arena,
    words: Vec<Bits>,
    word_ids: FastMap<Bits, Word>,
    /// The token and the number as they are loaded, with their first levels.
    plain: Vec<(Word, u32)>,
    /// Results of arithmetic by operation and operands.
    results: FastMap<(u16, Word, Word), Word>,
    /// Pairs of instruction and state that are reached.
    places: Vec<(usize, State)>,
    place_ids: FastMap<(usize, State), usize>,
    /// The places of each instruction.
    by_instruction: Vec<Vec<usize>>,
}

/// The diagram of the values that `program` returns, as [`canonical`] has them.
pub(super) fn returns(arena: &mut Arena, program: &Program) -> Result<Id, Undecided> {
    let instructions = program.instructions();
    let live = live(instructions);
    let mut run = Run {
        arena,
        words: Vec::new(),
        word_ids: FastMap::default(),
        plain: Vec::new(),
        results: FastMap::default(),
        places: Vec::new(),
        place_ids: FastMap::default(),
        by_instruction: vec![Vec::new(); instructions.len()],
    };
    let zero = run.word(word::constant(0));
    run.place(0, [zero; REGISTERS], &live);
    let mut steps: Vec<Option<Step>> = Vec::new();
    for (index, insn) in instructions.iter().enumerate() {
        for place in run.by_instruction[index].clone() {
            run.arena.step().map_err(|why| at(why, index))?;
            let state = run.places[place].1;
            let step = run.execute(*insn, index, state, &live).map_err(|why| at(why, index))?;
            steps.resize_with(run.places.len(), || None);
            steps[place] = Some(step);
            if run.places.len() > MOST_STATES {
                return Err(Undecided {
                    why: format!("the filter reaches more than {MOST_STATES} states"),
                    instruction: Some(index),
                });
            }
        }
    }
    let mut diagrams = vec![FALSE; run.places.len()];
    for index in (0..instructions.len()).rev() {
        for &place in &run.by_instruction[index] {
            let killed = run.arena.leaf(Leaf::Ret(0));
            diagrams[place] = match &steps[place] {
                Some(Step::To(next)) => Ok(diagrams[*next]),
                Some(Step::If(condition, yes, no)) => {
                    run.arena.ite(*condition, diagrams[*yes], diagrams[*no])
                }
                Some(Step::IfWord(level, (code, k), yes, no)) => {
                    let (yes, no) = (diagrams[*yes], diagrams[*no]);
                    compare(run.arena, *level, *code, *k, yes, no)
                }
                Some(Step::IfDivides(condition, next)) => run.arena.ite(*condition, diagrams[*next], killed),
                Some(Step::Ends(diagram)) => Ok(*diagram),
                // Every place was executed above.
                None => Ok(killed),
            }
            .map_err(|why| at(why, index))?;
        }
    }
    Ok(diagrams[0])
}

fn at(why: Exceeded, index: usize) -> Undecided {
    Undecided { why: why.to_string(), instruction: Some(index) }
}

/// What the kernel takes a returned value for, with what it ignores taken away. An unknown action kills, but in a stack it has the
/// precedence of its value: it becomes the least value of those that have the same known actions above and below them.
pub(super) fn canonical(ret: u32) -> u32 {
    const KNOWN: [u32; 7] = [0, 0x0003_0000, 0x0005_0000, 0x7fc0_0000, 0x7ff0_0000, 0x7ffc_0000, 0x7fff_0000];
    match Action::from_ret(ret) {
        // The precedence is that of a signed number, so that all negative values are as strong as KILL_PROCESS itself.
        Action::KillProcess if ret.cast_signed() < 0 => Action::KillProcess.to_ret(),
        Action::KillProcess => {
            let stronger = KNOWN.partition_point(|known| *known < ret);
            KNOWN[stronger - 1] + 0x0001_0000
        }
        known => known.to_ret(),
    }
}

/// For each instruction the registers that are read from there on before they are written, as bits.
fn live(instructions: &[Insn]) -> Vec<u32> {
    let bit = |register: usize| 1u32 << register;
    let cell = |k: u32| bit(CELLS + k as usize);
    let mut live = vec![0; instructions.len() + 1];
    for (index, insn) in instructions.iter().enumerate().rev() {
        let next = live[index + 1];
        let by_x = if insn.code & 0x08 != 0 { bit(X) } else { 0 };
        let target = |offset: usize| live.get(index + 1 + offset).copied().unwrap_or(0);
        live[index] = match insn.code {
            RET_K => 0,
            RET_A => bit(A),
            LD_IMM | LD_W_ABS | LD_W_LEN => next & !bit(A),
            LDX_IMM | LDX_W_LEN => next & !bit(X),
            LD_MEM => moved(next, bit(A), cell(insn.k)),
            LDX_MEM => moved(next, bit(X), cell(insn.k)),
            ST => moved(next, cell(insn.k), bit(A)),
            STX => moved(next, cell(insn.k), bit(X)),
            MISC_TAX => moved(next, bit(X), bit(A)),
            MISC_TXA => moved(next, bit(A), bit(X)),
            JMP_JA => target(insn.k as usize),
            code if code & 7 == 5 => {
                bit(A) | by_x | target(usize::from(insn.jt)) | target(usize::from(insn.jf))
            }
            // Whether it divides by zero counts even if the quotient does not.
            ALU_DIV_X => next | bit(X) | (next & bit(A)),
            _ if next & bit(A) != 0 => next | by_x,
            _ => next,
        };
    }
    live
}

/// Live registers before `to` is set from `from`.
fn moved(next: u32, to: u32, from: u32) -> u32 {
    if next & to != 0 { next & !to | from } else { next }
}

impl Run<'_> {
    fn word(&mut self, bits: Bits) -> Word {
        let next = Word::try_from(self.words.len()).unwrap_or(DEAD);
        let id = *self.word_ids.entry(bits).or_insert(next);
        if id == next {
            self.words.push(bits);
        }
        id
    }

    fn place(&mut self, index: usize, mut state: State, live: &[u32]) -> usize {
        for (register, word) in state.iter_mut().enumerate() {
            if live[index] >> register & 1 == 0 {
                *word = DEAD;
            }
        }
        if let Some(place) = self.place_ids.get(&(index, state)) {
            return *place;
        }
        let place = self.places.len();
        self.places.push((index, state));
        self.place_ids.insert((index, state), place);
        self.by_instruction[index].push(place);
        place
    }

    /// The first level of a word that is the token or the number as it is loaded.
    fn first_level(&self, word: Word) -> Option<u32> {
        self.plain.iter().find(|(plain, _)| *plain == word).map(|(_, level)| *level)
    }

    fn bits(&self, word: Word) -> Bits {
        // A dead register is read by dead arithmetic only, whose result nobody sees.
        self.words.get(word as usize).copied().unwrap_or([FALSE; 32])
    }

    fn execute(
        &mut self,
        insn: Insn,
        index: usize,
        mut state: State,
        live: &[u32],
    ) -> Result<Step, Exceeded> {
        let k = insn.k;
        let cell = CELLS + (k as usize & 15);
        let by_x = insn.code & 0x08 != 0;
        let next = index + 1;
        match insn.code {
            LD_IMM => state[A] = self.word(word::constant(k)),
            LD_W_LEN => state[A] = self.word(word::constant(SECCOMP_DATA_SIZE)),
            LDX_IMM => state[X] = self.word(word::constant(k)),
            LDX_W_LEN => state[X] = self.word(word::constant(SECCOMP_DATA_SIZE)),
            LD_W_ABS => {
                let bits = word::load(self.arena, k)?;
                state[A] = self.word(bits);
                if let (0 | 4, None) = (k, self.first_level(state[A])) {
                    let levels = if k == 0 { word::NR_LEVELS } else { word::ARCH_LEVELS };
                    self.plain.push((state[A], levels.start));
                }
            }
            LD_MEM => state[A] = state[cell],
            LDX_MEM => state[X] = state[cell],
            ST => state[cell] = state[A],
            STX => state[cell] = state[X],
            MISC_TAX => state[X] = state[A],
            MISC_TXA => state[A] = state[X],
            RET_K => return Ok(Step::Ends(self.arena.leaf(Leaf::Ret(canonical(k))))),
            RET_A => {
                let bits = self.bits(state[A]);
                return Ok(Step::Ends(returned(self.arena, &bits)?));
            }
            JMP_JA => return Ok(Step::To(self.place(next + k as usize, state, live))),
            JMP_JEQ_K | JMP_JGT_K | JMP_JGE_K if self.first_level(state[A]).is_some() => {
                let level = self.first_level(state[A]).unwrap_or(0);
                let mut to = |offset: u8| self.place(next + usize::from(offset), state, live);
                let (yes, no) = (to(insn.jt), to(insn.jf));
                return Ok(if yes == no {
                    Step::To(yes)
                } else {
                    Step::IfWord(level, (insn.code, k), yes, no)
                });
            }
            code if code & 7 == 5 => {
                let operand = if by_x { state[X] } else { self.word(word::constant(k)) };
                let condition = self.condition(code & !0x08, state[A], operand)?;
                let mut to = |offset: u8| self.place(next + usize::from(offset), state, live);
                return Ok(match condition {
                    TRUE => Step::To(to(insn.jt)),
                    FALSE => Step::To(to(insn.jf)),
                    _ => Step::If(condition, to(insn.jt), to(insn.jf)),
                });
            }
            code => {
                let operand = if by_x { state[X] } else { self.word(word::constant(k)) };
                let divides = if code == ALU_DIV_X {
                    let (zero, by) = (word::constant(0), self.bits(operand));
                    let is_zero = word::equal(self.arena, &by, &zero)?;
                    self.arena.not(is_zero)?
                } else {
                    TRUE
                };
                if live[next] >> A & 1 == 1 && divides != FALSE {
                    state[A] = self.arithmetic(code & !0x08, state[A], operand)?;
                }
                let place = self.place(next, state, live);
                return Ok(if divides == TRUE { Step::To(place) } else { Step::IfDivides(divides, place) });
            }
        }
        Ok(Step::To(self.place(next, state, live)))
    }

    fn condition(&mut self, code: u16, a: Word, b: Word) -> Result<Id, Exceeded> {
        let (a, b) = (self.bits(a), self.bits(b));
        match code {
            JMP_JEQ_K => word::equal(self.arena, &a, &b),
            JMP_JGT_K => word::exceeds(self.arena, &a, &b, false),
            JMP_JGE_K => word::exceeds(self.arena, &a, &b, true),
            _ => word::intersects(self.arena, &a, &b),
        }
    }

    /// `code` is that of the form with a constant.
    fn arithmetic(&mut self, code: u16, a: Word, b: Word) -> Result<Word, Exceeded> {
        let key = (code, a, b);
        if let Some(known) = self.results.get(&key) {
            return Ok(*known);
        }
        let (x, y) = (self.bits(a), self.bits(b));
        let arena = &mut *self.arena;
        let bits = match code {
            ALU_ADD_K => word::add(arena, &x, &y),
            ALU_SUB_K => word::subtract(arena, &x, &y),
            ALU_MUL_K => word::multiply(arena, &x, &y),
            ALU_DIV_K => word::divide(arena, &x, &y),
            ALU_OR_K => word::or(arena, &x, &y),
            ALU_AND_K => word::and(arena, &x, &y),
            ALU_LSH_K => word::shift(arena, &x, &y, true),
            ALU_RSH_K => word::shift(arena, &x, &y, false),
            ALU_XOR_K => word::xor(arena, &x, &y),
            // ALU_NEG, the only one left.
            _ => word::subtract(arena, &word::constant(0), &x),
        }?;
        let word = self.word(bits);
        self.results.insert(key, word);
        Ok(word)
    }
}

/// `yes` where the word from `level` on, compared with `k`, passes, `no` elsewhere.
fn compare(arena: &mut Arena, level: u32, code: u16, k: u32, yes: Id, no: Id) -> Result<Id, Exceeded> {
    if arena.level(yes).min(arena.level(no)) < level {
        let bits = word::plain(arena, level)?;
        let k = word::constant(k);
        let condition = match code {
            JMP_JEQ_K => word::equal(arena, &bits, &k),
            _ => word::exceeds(arena, &bits, &k, code == JMP_JGE_K),
        }?;
        return arena.ite(condition, yes, no);
    }
    compare_bits(arena, (level, 32), code, k, yes, no)
}

/// The same along the bits of `k`, of which `left` are left: beside them, only one of the two is left.
fn compare_bits(
    arena: &mut Arena,
    (level, left): (u32, u32),
    code: u16,
    k: u32,
    yes: Id,
    no: Id,
) -> Result<Id, Exceeded> {
    if left == 0 || yes == no {
        return Ok(if code == JMP_JGT_K { no } else { yes });
    }
    let (y, n) = (arena.branches(yes, level), arena.branches(no, level));
    let below = (level + 1, left - 1);
    if k >> (left - 1) & 1 == 1 {
        let one = compare_bits(arena, below, code, k, y.1, n.1)?;
        arena.node(level, n.0, one)
    } else {
        let zero = compare_bits(arena, below, code, k, y.0, n.0)?;
        arena.node(level, zero, if code == JMP_JEQ_K { n.1 } else { y.1 })
    }
}

/// The diagram of a computed return value.
fn returned(arena: &mut Arena, bits: &Bits) -> Result<Id, Exceeded> {
    // From the low bits, of which few are told apart, one action at a time; any other action is itself without its data.
    let with_data = |arena: &mut Arena, action: u32| values(arena, bits, 16, action);
    let (errno, trace) = (Action::Errno(Errno::clamped(0)).to_ret(), Action::Trace(0).to_ret());
    let mut all = values_of_actions(arena, bits, 32, 0)?;
    for action in [errno, trace] {
        let is_action = high_half_is(arena, bits, action)?;
        if is_action != FALSE {
            let data = with_data(arena, action)?;
            all = arena.ite(is_action, data, all)?;
        }
    }
    Ok(all)
}

/// Whether the high 16 bits are those of `action`.
fn high_half_is(arena: &mut Arena, bits: &Bits, action: u32) -> Result<Id, Exceeded> {
    let mut high = *bits;
    high[..16].fill(FALSE);
    word::equal(arena, &high, &word::constant(action))
}

/// `known` with the lowest `left` bits of the word put in.
fn values(arena: &mut Arena, bits: &Bits, left: usize, known: u32) -> Result<Id, Exceeded> {
    if left == 0 {
        return arena.computed(Leaf::Ret(canonical(known)));
    }
    arena.step()?;
    let bit = bits[left - 1];
    let zero = if bit == TRUE { FALSE } else { values(arena, bits, left - 1, known)? };
    let one = if bit == FALSE { FALSE } else { values(arena, bits, left - 1, known | 1 << (left - 1))? };
    arena.ite(bit, one, zero)
}

/// The high 16 bits alone.
fn values_of_actions(arena: &mut Arena, bits: &Bits, left: usize, known: u32) -> Result<Id, Exceeded> {
    if left == 16 {
        return Ok(arena.leaf(Leaf::Ret(canonical(known))));
    }
    arena.step()?;
    let bit = bits[left - 1];
    let zero = if bit == TRUE { FALSE } else { values_of_actions(arena, bits, left - 1, known)? };
    let one =
        if bit == FALSE { FALSE } else { values_of_actions(arena, bits, left - 1, known | 1 << (left - 1))? };
    arena.ite(bit, one, zero)
}

#[cfg(test)]
mod tests {
    use super::canonical;
    use crate::action::Action;

    /// The kernel compares the high halves as signed numbers and takes the smaller.
    #[test]
    fn a_canonical_value_kills_as_its_own_and_is_as_strong() {
        let rank = |ret: u32| (ret & 0xffff_0000).cast_signed();
        let known: Vec<u32> = Action::KINDS.into_iter().map(Action::to_ret).collect();
        let mut different = std::collections::BTreeSet::new();
        for ret in (0..=0xffffu32).map(|high| high << 16 | 7) {
            let canonical = canonical(ret);
            assert_eq!(Action::from_ret(canonical), Action::from_ret(ret), "{ret:#x}");
            for other in known.iter().filter(|known| rank(**known) != rank(ret)) {
                let kills = Action::from_ret(*other) == Action::KillProcess;
                let same = (rank(canonical) < rank(*other)) == (rank(ret) < rank(*other));
                assert!(same || kills && ret.cast_signed() < 0, "{ret:#x} {canonical:#x} against {other:#x}");
            }
            different.insert(canonical);
        }
        // Eight actions, and one unknown value for each of the gaps between them.
        assert!(different.len() <= 14, "{different:x?}");
    }
}
