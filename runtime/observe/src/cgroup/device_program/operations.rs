//! eBPF's arithmetic and comparisons of two numbers (Documentation/bpf/standardization/instruction-set.rst).

/// The low 32 bits.
pub(super) fn lower_half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Whether a jump of this operation depends on two operands: 0x00 does not, 0x80 calls, 0x90 exits, 0xe0 may loop.
pub(super) fn is_comparison(operation: u8) -> bool {
    matches!(operation, 0x10..=0x70 | 0xa0..=0xd0)
}

/// Whether a conditional jump on two numbers is taken.
pub(super) fn holds(operation: u8, left: u64, right: u64, wide: bool) -> bool {
    let signed = |number: u64| match wide {
        true => number.cast_signed(),
        false => i64::from(lower_half(number).cast_signed()),
    };
    match operation {
        0x10 => left == right,
        0x20 => left > right,
        0x30 => left >= right,
        0x40 => left & right != 0,
        0x50 => left != right,
        0x60 => signed(left) > signed(right),
        0x70 => signed(left) >= signed(right),
        0xa0 => left < right,
        0xb0 => left <= right,
        0xc0 => signed(left) < signed(right),
        _ => signed(left) <= signed(right),
    }
}

/// The result of an operation with two operands, in 64 bits or in their low 32; `None` for what is none of them.
pub(super) fn compute(operation: u8, left: u64, right: u64, wide: bool) -> Option<u64> {
    let low = |number| u64::from(lower_half(number));
    let (left, right) = if wide { (left, right) } else { (low(left), low(right)) };
    let shift = u32::try_from(right & if wide { 63 } else { 31 }).ok()?;
    let result = match operation {
        0x00 => left.wrapping_add(right),
        0x10 => left.wrapping_sub(right),
        0x20 => left.wrapping_mul(right),
        0x40 => left | right,
        0x50 => left & right,
        0x60 => left << shift,
        0x70 => left >> shift,
        0xa0 => left ^ right,
        0xc0 if wide => (left.cast_signed() >> shift).cast_unsigned(),
        0xc0 => u64::from((lower_half(left).cast_signed() >> shift).cast_unsigned()),
        _ => return None,
    };
    Some(if wide { result } else { low(result) })
}
