//! What a v2 device program decides: its eBPF instructions, followed for every request at once. Pure.
//!
//! A program of type `BPF_PROG_TYPE_CGROUP_DEVICE` is given `struct bpf_cgroup_dev_ctx { u32 access_type, major, minor }`
//! (linux/bpf.h; the low half of `access_type` is the kind of device, the high half the access that is asked) and
//! returns 1 to allow, 0 to refuse. The kind and the access take few values, so the program is followed once for each;
//! the device numbers stay open until the program compares one with a constant: then both ways are followed. What comes
//! out is exact for every device number, or a [`NotTold`].
//!
//! The instructions that runc, crun, systemd, LXC and `plim run` write are understood: loads of the context, arithmetic,
//! jumps forward and backward. Calls, maps and memory are not.

mod operations;

use std::collections::BTreeSet;
use std::rc::Rc;

use operations::{compute, holds, is_comparison, lower_half};

/// One instruction of the kernel's `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// Operation.
    pub(crate) code: u8,
    /// Destination register.
    pub(crate) dst: u8,
    /// Source register.
    pub(crate) src: u8,
    /// Jump or address offset.
    pub(crate) offset: i16,
    /// Immediate operand.
    pub(crate) imm: i32,
}

impl Instruction {
    /// From the bytes that this kernel tells. The registers are bit fields of one byte, in the machine's order.
    pub(crate) fn from_bytes(bytes: [u8; 8]) -> Instruction {
        let [code, registers, o0, o1, i0, i1, i2, i3] = bytes;
        let (low, high) = (registers & 0xf, registers >> 4);
        let (dst, src) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
        Instruction {
            code,
            dst,
            src,
            offset: i16::from_ne_bytes([o0, o1]),
            imm: i32::from_ne_bytes([i0, i1, i2, i3]),
        }
    }
}

/// Why it is not known what a program decides. Places are numbered from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTold {
    /// Something that is not followed here.
    #[error("it uses instruction {code:#04x} at {at}, which is not followed")]
    Instruction {
        /// Where.
        at: usize,
        /// Its operation.
        code: u8,
    },
    /// It runs or jumps out of itself; the kernel's verifier lets none such in.
    #[error("it leaves its own code at {at}")]
    Outside {
        /// Where.
        at: usize,
    },
    /// A jump depends on more than whether a device number equals a constant.
    #[error("the jump at {at} asks more of a device number than whether it equals a constant")]
    Jump {
        /// Where.
        at: usize,
    },
    /// Neither 0 nor 1.
    #[error("what it returns at {at} is neither 0 nor 1")]
    Verdict {
        /// Where.
        at: usize,
    },
    /// A bound of this reader.
    #[error("it has more than {0} instructions")]
    TooLong(usize),
    /// A bound of this reader.
    #[error("following it takes too many steps")]
    TooManySteps,
}

/// Largest device numbers: the kernel's dev_t has 12 bits for the major and 20 for the minor (linux/kdev_t.h).
const MAJOR_MAX: u32 = (1 << 12) - 1;
const MINOR_MAX: u32 = (1 << 20) - 1;

/// Most instructions that are looked at. runc's program for Docker's default rules has fewer than 100; the kernel's own
/// limit is 4096, and a million for the privileged since Linux 5.2.
pub(crate) const MAX_INSTRUCTIONS: usize = 16_384;
/// Steps for all programs and requests of one target: well below a second.
const MAX_STEPS: u32 = 32_000_000;
/// Different outcomes for one request. Fewer than there are majors, so that there is always a major of no constant.
const MAX_LEAVES: usize = 4_000;

/// How many steps are left.
#[derive(Debug)]
pub(crate) struct Budget(u32);

impl Budget {
    /// For one target.
    pub(crate) fn new() -> Budget {
        Budget(MAX_STEPS)
    }

    /// Takes `steps` off.
    pub(crate) fn take(&mut self, steps: usize) -> Result<(), NotTold> {
        let left = u32::try_from(steps).ok().and_then(|steps| self.0.checked_sub(steps));
        self.0 = left.ok_or(NotTold::TooManySteps)?;
        Ok(())
    }
}

/// What one way through the program has learnt of a device number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// It is this one.
    Is(u32),
    /// It is none of these.
    Not(Rc<BTreeSet<u32>>),
}

/// One way through the program: for these device numbers it returns this. All ways together cover every pair of numbers
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaf {
    /// Of the major.
    pub(crate) major: Known,
    /// Of the minor.
    pub(crate) minor: Known,
    /// Returned 1.
    pub(crate) allow: bool,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Number(u64),
    Major,
    Minor,
    /// The pointer to the context.
    Context,
    /// Never written, another pointer, or computed from a device number that is still open.
    Other,
}

#[derive(Clone)]
struct State {
    at: usize,
    /// r0 to r10, and the one that the kernel uses to hide constants (`BPF_REG_AX`, net.core.bpf_jit_harden).
    registers: [Value; 12],
    major: Known,
    minor: Known,
}

/// Follows `program` for one `access_type`.
pub(crate) fn follow(
    program: &[Instruction],
    access_type: u32,
    budget: &mut Budget,
) -> Result<Vec<Leaf>, NotTold> {
    if program.len() > MAX_INSTRUCTIONS {
        return Err(NotTold::TooLong(MAX_INSTRUCTIONS));
    }
    let mut registers = [Value::Other; 12];
    registers[1] = Value::Context;
    let nothing = Known::Not(Rc::default());
    let mut open = vec![State { at: 0, registers, major: nothing.clone(), minor: nothing }];
    let mut leaves = Vec::new();
    while let Some(mut state) = open.pop() {
        loop {
            budget.take(1)?;
            match state.step(program, access_type)? {
                Step::On => {}
                Step::Fork(other) => open.push(*other),
                Step::Exit(allow) => {
                    leaves.push(Leaf { major: state.major, minor: state.minor, allow });
                    break;
                }
            }
            if leaves.len() + open.len() >= MAX_LEAVES {
                return Err(NotTold::TooManySteps);
            }
        }
    }
    Ok(leaves)
}

enum Step {
    On,
    /// The state goes on where the numbers differ; this one, where they are equal.
    Fork(Box<State>),
    Exit(bool),
}

// Operations (linux/bpf_common.h, linux/bpf.h; Documentation/bpf/standardization/instruction-set.rst).
const LD_IMM64: u8 = 0x18;
const LDX_W: u8 = 0x61;
const LDX_H: u8 = 0x69;
const LDX_B: u8 = 0x71;
const ALU: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const ALU64: u8 = 0x07;
const JA: u8 = 0x05;
const JA32: u8 = 0x06;
const EXIT: u8 = 0x95;
/// The second operand is a register.
const X: u8 = 0x08;

impl State {
    fn step(&mut self, program: &[Instruction], access_type: u32) -> Result<Step, NotTold> {
        let at = self.at;
        let insn = *program.get(at).ok_or(NotTold::Outside { at })?;
        let unknown = || NotTold::Instruction { at, code: insn.code };
        if usize::from(insn.dst.max(insn.src)) >= self.registers.len() {
            return Err(unknown());
        }
        self.at += 1;
        match (insn.code, insn.code & 0x07) {
            (EXIT, _) => {
                return match self.value(0) {
                    Value::Number(verdict @ (0 | 1)) => Ok(Step::Exit(verdict == 1)),
                    _ => Err(NotTold::Verdict { at }),
                };
            }
            (JA, _) => self.jump(at, i64::from(insn.offset))?,
            (JA32, _) => self.jump(at, i64::from(insn.imm))?,
            (_, JMP | JMP32) => return self.branch(at, insn),
            (LD_IMM64, _) => {
                let high = *program.get(at + 1).ok_or(NotTold::Outside { at })?;
                // Another source says what kind of pointer the kernel put there.
                if insn.src != 0 || high.code != 0 {
                    return Err(unknown());
                }
                let number = u64::from(high.imm.cast_unsigned()) << 32 | u64::from(insn.imm.cast_unsigned());
                self.set(insn.dst, Value::Number(number));
                self.at += 1;
            }
            (LDX_W | LDX_H | LDX_B, _) => {
                let value = match self.value(insn.src) {
                    Value::Context => load(insn, access_type),
                    _ => None,
                };
                self.set(insn.dst, value.ok_or_else(unknown)?);
            }
            // An offset makes other operations of these (signed moves and divisions).
            (_, ALU | ALU64) if insn.offset == 0 => {
                let value = self.arithmetic(insn).ok_or_else(unknown)?;
                self.set(insn.dst, value);
            }
            _ => return Err(unknown()),
        }
        Ok(Step::On)
    }

    /// A register; a device number that is known by now is a number.
    fn value(&self, register: u8) -> Value {
        let value = self.registers[usize::from(register)];
        let known = match value {
            Value::Major => &self.major,
            Value::Minor => &self.minor,
            _ => return value,
        };
        match known {
            Known::Is(number) => Value::Number(u64::from(*number)),
            Known::Not(_) => value,
        }
    }

    fn set(&mut self, register: u8, value: Value) {
        self.registers[usize::from(register)] = value;
    }

    /// The second operand.
    fn operand(&self, insn: Instruction) -> Value {
        if insn.code & X != 0 {
            self.value(insn.src)
        } else {
            Value::Number(i64::from(insn.imm).cast_unsigned())
        }
    }

    /// To `offset` instructions after the one that follows `at`.
    fn jump(&mut self, at: usize, offset: i64) -> Result<(), NotTold> {
        let target = i64::try_from(at).ok().and_then(|at| (at + 1).checked_add(offset));
        self.at = target.and_then(|at| usize::try_from(at).ok()).ok_or(NotTold::Outside { at })?;
        Ok(())
    }

    fn arithmetic(&self, insn: Instruction) -> Option<Value> {
        let wide = insn.code & 0x07 == ALU64;
        let (left, right) = (self.value(insn.dst), self.operand(insn));
        let result = match (insn.code & 0xf0, left, right) {
            (0xb0, _, Value::Number(right)) => Value::Number(right),
            // Device numbers have 32 bits, a pointer has not.
            (0xb0, _, right @ (Value::Major | Value::Minor)) => right,
            (0xb0, _, right) => return Some(if wide { right } else { Value::Other }),
            // Zero, whatever it held: what hiding constants makes of `mov r0, 0` (kernel/bpf/core.c, bpf_jit_blind_insn).
            (0x10 | 0xa0, ..) if insn.code & X != 0 && insn.src == insn.dst => Value::Number(0),
            // The instruction has one operand; with the bit X it is none.
            (0x80, Value::Number(left), _) if insn.code & X == 0 => Value::Number(left.wrapping_neg()),
            (operation, Value::Number(left), Value::Number(right)) => {
                Value::Number(compute(operation, left, right, wide)?)
            }
            // The same operations on what is open.
            (0x00 | 0x10 | 0x20 | 0x40 | 0x50 | 0x60 | 0x70 | 0xa0 | 0xc0, ..) => Value::Other,
            (0x80, ..) if insn.code & X == 0 => Value::Other,
            _ => return None,
        };
        Some(match result {
            Value::Number(number) if !wide => Value::Number(u64::from(lower_half(number))),
            result => result,
        })
    }

    /// A conditional jump.
    fn branch(&mut self, at: usize, insn: Instruction) -> Result<Step, NotTold> {
        let wide = insn.code & 0x07 == JMP;
        let narrow = |value| match value {
            Value::Number(number) if !wide => Value::Number(u64::from(lower_half(number))),
            // A pointer's low half is no pointer.
            Value::Context if !wide => Value::Other,
            value => value,
        };
        let (left, right) = (narrow(self.value(insn.dst)), narrow(self.operand(insn)));
        let operation = insn.code & 0xf0;
        if !is_comparison(operation) {
            return Err(NotTold::Instruction { at, code: insn.code });
        }
        let (field, number) = match (left, right) {
            (Value::Number(left), Value::Number(right)) => {
                if holds(operation, left, right, wide) {
                    self.jump(at, i64::from(insn.offset))?;
                }
                return Ok(Step::On);
            }
            (field @ (Value::Major | Value::Minor), Value::Number(number))
            | (Value::Number(number), field @ (Value::Major | Value::Minor)) => (field, number),
            _ => return Err(NotTold::Jump { at }),
        };
        let when_equal = match operation {
            0x10 => true,
            0x50 => false,
            _ => return Err(NotTold::Jump { at }),
        };
        let (known, max) = match field {
            Value::Major => (&mut self.major, MAJOR_MAX),
            _ => (&mut self.minor, MINOR_MAX),
        };
        let equal = match (u32::try_from(number), known) {
            (Ok(number), Known::Not(others)) if number <= max && !others.contains(&number) => {
                Rc::make_mut(others).insert(number);
                let mut equal = self.clone();
                match field {
                    Value::Major => equal.major = Known::Is(number),
                    _ => equal.minor = Known::Is(number),
                }
                Some(equal)
            }
            // No device has such a number, or it was excluded already.
            _ => None,
        };
        let offset = i64::from(insn.offset);
        let Some(mut equal) = equal else {
            if !when_equal {
                self.jump(at, offset)?;
            }
            return Ok(Step::On);
        };
        if when_equal {
            equal.jump(at, offset)?
        } else {
            self.jump(at, offset)?
        }
        Ok(Step::Fork(Box::new(equal)))
    }
}

/// A load from the context. The kernel allows parts of `access_type`, and leaves them as they were written.
fn load(insn: Instruction, access_type: u32) -> Option<Value> {
    match (insn.code, insn.offset) {
        (LDX_W, 4) => return Some(Value::Major),
        (LDX_W, 8) => return Some(Value::Minor),
        _ => {}
    }
    let bytes = access_type.to_ne_bytes();
    let from = usize::try_from(insn.offset).ok()?;
    Some(Value::Number(match insn.code {
        LDX_W if from == 0 => u64::from(access_type),
        LDX_H if from % 2 == 0 => u64::from(u16::from_ne_bytes([*bytes.get(from)?, *bytes.get(from + 1)?])),
        LDX_B => u64::from(*bytes.get(from)?),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests;
