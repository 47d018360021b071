//! Which values of one word a set of filters tells apart.

use std::collections::BTreeSet;

use plim_seccomp::bpf::code::*;

use super::residual::{Expr, Graph, Node, NodeId, Value};

/// Inclusive ranges over the whole of 32 bits: within one, every filter treats all values alike as long as `exact`.
pub(crate) struct Ranges {
    pub(crate) ranges: Vec<(u32, u32)>,
    pub(crate) exact: bool,
}

/// Bits of a mask that cut the numbers into few enough pieces: x32's bit 30 among them.
const LOWEST_CUTTING_BIT: u32 = 28;

/// The ranges of the word at `offset` that the tests below `roots` tell apart.
pub(crate) fn of_word(graph: &Graph, roots: &[NodeId], offset: u32, more_cuts: &[u32]) -> Ranges {
    let mut starts: BTreeSet<u32> = more_cuts.iter().copied().chain([0]).collect();
    let mut exact = true;
    for id in graph.reachable(roots) {
        let (test, left, right) = match graph.node(id) {
            Node::Test { test, left, right, .. } => (test, left, right),
            Node::RetValue(value) => {
                exact &= !depends(graph, value, offset);
                continue;
            }
            Node::Ret(_) => continue,
        };
        let plain = matches!(left, Value::Expr(expr) if graph.expr(expr) == Expr::Word(offset));
        match (test, right) {
            (JMP_JEQ_K | JMP_JGT_K | JMP_JGE_K, Value::Const(k)) if plain => {
                starts.insert(k);
                starts.extend(k.checked_add(1));
            }
            (JMP_JSET_K, Value::Const(mask)) if plain && mask.trailing_zeros() >= LOWEST_CUTTING_BIT => {
                let step = 1u32 << mask.trailing_zeros();
                starts.extend((0..=u32::MAX / step).map(|n| n * step));
            }
            _ => exact &= !(depends(graph, left, offset) || depends(graph, right, offset)),
        }
    }
    let starts: Vec<u32> = starts.into_iter().collect();
    let ends = starts.iter().skip(1).map(|next| next - 1).chain([u32::MAX]);
    Ranges { ranges: starts.iter().copied().zip(ends).collect(), exact }
}

fn depends(graph: &Graph, value: Value, offset: u32) -> bool {
    let mut words = BTreeSet::new();
    graph.words(value, &mut words);
    words.contains(&offset)
}
