//! Argument values worth trying: those next to every constant that the filters compare with.

use std::collections::{BTreeMap, BTreeSet};

use plim_seccomp::Action;
use plim_seccomp::bpf::{Program, code::*};
use plim_seccomp::interpret::{SeccompData, run_stack};

use super::residual::{Expr, Graph, Node, NodeId, Value};

/// Most vectors tried for one number; above it, words are varied one and two at a time.
const FULL_PRODUCT: usize = 20_000;

/// A call on which two stacks of filters disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Disagreement {
    pub(crate) before: Action,
    pub(crate) after: Action,
    pub(crate) call: SeccompData,
}

/// Every pair of differing verdicts that was found, with the first call for it.
pub(crate) fn disagreements(
    graph: &Graph,
    roots: &[NodeId],
    stacks: (&[Program], &[Program]),
    (arch, nr): (u32, u32),
) -> Vec<Disagreement> {
    let mut found: Vec<Disagreement> = Vec::new();
    for_each_call(&candidates(graph, roots), arch, nr, |call| {
        let (before, after) = (run_stack(stacks.0, call), run_stack(stacks.1, call));
        if before != after && !found.iter().any(|d| (d.before, d.after) == (before, after)) {
            found.push(Disagreement { before, after, call: *call });
        }
    });
    found
}

/// Values to try by word offset, for every word that a test below `roots` looks at.
fn candidates(graph: &Graph, roots: &[NodeId]) -> BTreeMap<u32, Vec<u32>> {
    let mut words: BTreeMap<u32, BTreeSet<u32>> = BTreeMap::new();
    for id in graph.reachable(roots) {
        let values = match graph.node(id) {
            Node::Ret(_) => continue,
            Node::RetValue(value) => vec![value],
            Node::Test { left, right, .. } => vec![left, right],
        };
        let (mut offsets, mut constants, mut masks) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        if let Node::Test { test: JMP_JSET_K, right: Value::Const(mask), .. } = graph.node(id) {
            masks.insert(mask);
        }
        for value in values {
            graph.words(value, &mut offsets);
            collect(graph, value, &mut constants, &mut masks);
        }
        for offset in offsets {
            let into = words.entry(offset).or_insert_with(|| BTreeSet::from([0, 1, u32::MAX]));
            for k in &constants {
                into.extend([*k, k.wrapping_sub(1), k.wrapping_add(1), !k]);
                into.extend(
                    masks.iter().flat_map(|mask| [k | !mask, k & mask, k ^ (mask & mask.wrapping_neg())]),
                );
            }
            for mask in &masks {
                into.extend([*mask, !mask, mask & mask.wrapping_neg()]);
                into.extend((0..32).map(|bit| 1 << bit).filter(|bit| mask & bit != 0));
            }
        }
    }
    words.into_iter().map(|(offset, values)| (offset, values.into_iter().collect())).collect()
}

fn collect(graph: &Graph, value: Value, constants: &mut BTreeSet<u32>, masks: &mut BTreeSet<u32>) {
    match value {
        Value::Const(k) => {
            constants.insert(k);
        }
        Value::Expr(id) => {
            if let Expr::Alu(operation, left, right) = graph.expr(id) {
                if let (ALU_AND_K, Value::Const(mask)) = (operation, right) {
                    masks.insert(mask);
                }
                collect(graph, left, constants, masks);
                collect(graph, right, constants, masks);
            }
        }
    }
}

fn for_each_call(words: &BTreeMap<u32, Vec<u32>>, arch: u32, nr: u32, mut visit: impl FnMut(&SeccompData)) {
    let base = SeccompData { nr, arch, ..SeccompData::default() };
    visit(&base);
    let words: Vec<(u32, &[u32])> =
        words.iter().map(|(offset, values)| (*offset, values.as_slice())).collect();
    let product = words.iter().try_fold(1usize, |product, (_, values)| product.checked_mul(values.len()));
    if product.is_some_and(|product| product <= FULL_PRODUCT) {
        all(&words, base, &mut visit);
        return;
    }
    for (index, first) in words.iter().enumerate() {
        for second in &words[index..] {
            all(&[*first, *second], base, &mut visit);
        }
    }
}

/// Every combination of the words' values.
fn all(words: &[(u32, &[u32])], call: SeccompData, visit: &mut dyn FnMut(&SeccompData)) {
    match words.split_first() {
        None => visit(&call),
        Some(((offset, values), rest)) => {
            for value in *values {
                all(rest, with_word(call, *offset, *value), visit);
            }
        }
    }
}

/// Sets one word as a little-endian machine lays it out; on big-endian architectures the halves change places, which
/// only means that the other half is varied.
fn with_word(mut call: SeccompData, offset: u32, value: u32) -> SeccompData {
    let set = |field: &mut u64, high: bool| {
        let shift = if high { 32 } else { 0 };
        *field = (*field & !(0xffff_ffff << shift)) | (u64::from(value) << shift);
    };
    let high = offset % 8 == 4;
    match offset {
        0 | 4 => {}
        8 | 12 => set(&mut call.ip, high),
        _ => set(&mut call.args[((offset - 16) / 8) as usize], high),
    }
    call
}
