//! The order of the bits, and arithmetic on words whose bits are functions of the call.

use super::arena::{Arena, Exceeded, FALSE, Id, TRUE};
use crate::interpret::SeccompData;

/// Levels of the architecture's token and of the number.
pub(super) const ARCH_LEVELS: std::ops::Range<u32> = 0..32;
pub(super) const NR_LEVELS: std::ops::Range<u32> = 32..64;
/// The first level of the arguments and the instruction pointer.
pub(super) const ARGUMENT_LEVELS: u32 = 64;
/// Six arguments and the instruction pointer, which is the last.
pub(super) const LANES: u32 = 7;
/// The lane of the instruction pointer.
pub(super) const IP: u32 = 6;

/// The level of a bit (0: lowest) of one argument or the instruction pointer: highest bits first, all lanes side by side, so that a
/// comparison of two arguments stays small.
pub(super) fn level(lane: u32, bit: u32) -> u32 {
    ARGUMENT_LEVELS + (63 - bit) * LANES + lane
}

/// Lane and bit of a level among the arguments.
pub(super) fn lane_and_bit(level: u32) -> (u32, u32) {
    let from = level - ARGUMENT_LEVELS;
    (from % LANES, 63 - from / LANES)
}

/// The level of a bit of the word at `offset` of `struct seccomp_data`. The second word of an argument counts as its high half: the
/// diagram is over words, and on a machine that holds them the other way round reader and writer swap both.
fn level_of_offset(offset: u32, bit: u32) -> u32 {
    match offset {
        0 => NR_LEVELS.start + 31 - bit,
        4 => ARCH_LEVELS.start + 31 - bit,
        _ => {
            let lane = if offset < 16 { IP } else { (offset - 16) / 8 };
            level(lane, bit + if offset.is_multiple_of(8) { 0 } else { 32 })
        }
    }
}

/// Offset of a word of `struct seccomp_data` and the bit of it that a level asks for.
pub(super) fn offset_and_bit(level: u32) -> (u32, u32) {
    if ARCH_LEVELS.contains(&level) {
        return (4, ARCH_LEVELS.end - 1 - level);
    }
    if NR_LEVELS.contains(&level) {
        return (0, NR_LEVELS.end - 1 - level);
    }
    let (lane, bit) = lane_and_bit(level);
    let first = if lane == IP { 8 } else { 16 + 8 * lane };
    if bit < 32 { (first, bit) } else { (first + 4, bit - 32) }
}

/// Swaps the halves of an argument: from its value to the one whose second word is the high half, on big-endian machines.
pub(super) fn swapped(value: u64) -> u64 {
    value.rotate_left(32)
}

/// What one call answers to every level.
pub(super) struct Answers {
    arch: u32,
    nr: u32,
    lanes: [u64; LANES as usize],
}

impl Answers {
    pub(super) fn of(call: &SeccompData) -> Answers {
        let [a, b, c, d, e, f] = call.args;
        let mut lanes = [a, b, c, d, e, f, call.ip];
        if call.is_big_endian() {
            lanes = lanes.map(swapped);
        }
        Answers { arch: call.arch, nr: call.nr, lanes }
    }

    pub(super) fn bit(&self, level: u32) -> bool {
        if ARCH_LEVELS.contains(&level) {
            self.arch >> (31 - level) & 1 == 1
        } else if NR_LEVELS.contains(&level) {
            self.nr >> (63 - level) & 1 == 1
        } else {
            let (lane, bit) = lane_and_bit(level);
            self.lanes[lane as usize] >> bit & 1 == 1
        }
    }
}

/// A 32-bit word, lowest bit first.
pub(super) type Bits = [Id; 32];

pub(super) fn constant(value: u32) -> Bits {
    std::array::from_fn(|bit| if value >> bit & 1 == 1 { TRUE } else { FALSE })
}

/// The value, of a word that is the same for every call.
pub(super) fn as_constant(bits: &Bits) -> Option<u32> {
    bits.iter().rev().try_fold(0, |value, bit| match *bit {
        FALSE => Some(value << 1),
        TRUE => Some(value << 1 | 1),
        _ => None,
    })
}

/// The word at `offset` of `struct seccomp_data`.
pub(super) fn load(arena: &mut Arena, offset: u32) -> Result<Bits, Exceeded> {
    let mut bits = [FALSE; 32];
    for (bit, id) in (0u32..).zip(&mut bits) {
        *id = arena.node(level_of_offset(offset, bit), FALSE, TRUE)?;
    }
    Ok(bits)
}

/// The token or the number, by its first level.
pub(super) fn plain(arena: &mut Arena, level: u32) -> Result<Bits, Exceeded> {
    load(arena, if level == NR_LEVELS.start { 0 } else { 4 })
}

pub(super) fn equal(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Id, Exceeded> {
    let mut all = TRUE;
    for (a, b) in a.iter().zip(b) {
        let (one, zero) = (arena.ite(*b, all, FALSE)?, arena.ite(*b, FALSE, all)?);
        all = arena.ite(*a, one, zero)?;
    }
    Ok(all)
}

/// `a > b`, or `a >= b`.
pub(super) fn exceeds(arena: &mut Arena, a: &Bits, b: &Bits, or_equal: bool) -> Result<Id, Exceeded> {
    let mut found = if or_equal { TRUE } else { FALSE };
    for (a, b) in a.iter().zip(b) {
        let (one, zero) = (arena.ite(*b, found, TRUE)?, arena.ite(*b, FALSE, found)?);
        found = arena.ite(*a, one, zero)?;
    }
    Ok(found)
}

/// `a & b != 0`
pub(super) fn intersects(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Id, Exceeded> {
    let mut any = FALSE;
    for (a, b) in a.iter().zip(b) {
        let both = arena.and(*a, *b)?;
        any = arena.or(both, any)?;
    }
    Ok(any)
}

fn each(
    arena: &mut Arena,
    a: &Bits,
    b: &Bits,
    mut join: impl FnMut(&mut Arena, Id, Id) -> Result<Id, Exceeded>,
) -> Result<Bits, Exceeded> {
    let mut bits = [FALSE; 32];
    for (index, bit) in bits.iter_mut().enumerate() {
        *bit = join(arena, a[index], b[index])?;
    }
    Ok(bits)
}

pub(super) fn and(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    each(arena, a, b, Arena::and)
}

pub(super) fn or(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    each(arena, a, b, Arena::or)
}

fn xor_bit(arena: &mut Arena, a: Id, b: Id) -> Result<Id, Exceeded> {
    let not = arena.not(b)?;
    arena.ite(a, not, b)
}

pub(super) fn xor(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    each(arena, a, b, xor_bit)
}

fn select(arena: &mut Arena, condition: Id, then: &Bits, otherwise: &Bits) -> Result<Bits, Exceeded> {
    each(arena, then, otherwise, |arena, then, otherwise| arena.ite(condition, then, otherwise))
}

fn add_with(arena: &mut Arena, a: &Bits, b: &Bits, mut carry: Id) -> Result<Bits, Exceeded> {
    each(arena, a, b, |arena, a, b| {
        let odd = xor_bit(arena, a, b)?;
        let sum = xor_bit(arena, odd, carry)?;
        carry = arena.ite(odd, carry, a)?;
        Ok(sum)
    })
}

pub(super) fn add(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    add_with(arena, a, b, FALSE)
}

pub(super) fn subtract(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    let inverse = xor(arena, b, &constant(u32::MAX))?;
    add_with(arena, a, &inverse, TRUE)
}

fn up(bits: &Bits, by: usize) -> Bits {
    std::array::from_fn(|bit| if bit < by { FALSE } else { bits[bit - by] })
}

fn down(bits: &Bits, by: usize) -> Bits {
    std::array::from_fn(|bit| if bit + by > 31 { FALSE } else { bits[bit + by] })
}

/// A shift by `b` modulo 32, to the left or to the right.
pub(super) fn shift(arena: &mut Arena, a: &Bits, b: &Bits, left: bool) -> Result<Bits, Exceeded> {
    let mut bits = *a;
    for (index, by) in b.iter().take(5).enumerate() {
        let moved = if left { up(&bits, 1 << index) } else { down(&bits, 1 << index) };
        bits = select(arena, *by, &moved, &bits)?;
    }
    Ok(bits)
}

pub(super) fn multiply(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    // The constant, if there is one, says which sums are needed.
    let (a, b) = if as_constant(a).is_some() { (b, a) } else { (a, b) };
    let mut product = constant(0);
    for (index, bit) in b.iter().enumerate() {
        if *bit != FALSE {
            let part = select(arena, *bit, &up(a, index), &constant(0))?;
            product = add(arena, &product, &part)?;
        }
    }
    Ok(product)
}

/// The quotient; of no meaning where `b` is 0.
pub(super) fn divide(arena: &mut Arena, a: &Bits, b: &Bits) -> Result<Bits, Exceeded> {
    if let Some(by) = as_constant(b).filter(|by| by.is_power_of_two()) {
        return Ok(down(a, by.trailing_zeros() as usize));
    }
    let (mut quotient, mut rest) = (constant(0), constant(0));
    for bit in (0..32).rev() {
        let overflow = rest[31];
        rest = up(&rest, 1);
        rest[0] = a[bit];
        let fits = exceeds(arena, &rest, b, true)?;
        let fits = arena.or(overflow, fits)?;
        let less = subtract(arena, &rest, b)?;
        rest = select(arena, fits, &less, &rest)?;
        quotient[bit] = fits;
    }
    Ok(quotient)
}
