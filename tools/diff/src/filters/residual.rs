//! What is left of a filter when its architecture and number are known: a shared graph of the tests that remain.
//!
//! Two filters whose remainders are one and the same graph decide alike for that number, whatever the arguments. The
//! converse does not hold: other tests in another order may mean the same, which only the decision engine can tell.

use std::collections::{BTreeSet, HashMap};

use plim_seccomp::Action;
use plim_seccomp::bpf::{Program, SECCOMP_DATA_SIZE, code::*};

/// Offset of `nr` in `struct seccomp_data`.
pub(crate) const NR: u32 = 0;
/// Offset of `arch` in `struct seccomp_data`.
pub(crate) const ARCH: u32 = 4;

/// A 32-bit value that is known, or an expression over words of `struct seccomp_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Const(u32),
    Expr(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Expr {
    /// The word at this offset.
    Word(u32),
    /// An ALU operation (the code without its source bit) on two values.
    Alu(u16, Value, Value),
}

/// One node of the graph, by index; equal nodes have one index.
pub(crate) type NodeId = usize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Node {
    Ret(Action),
    /// The value returned depends on the call.
    RetValue(Value),
    Test {
        /// The jump's code without its source bit.
        test: u16,
        left: Value,
        right: Value,
        yes: NodeId,
        no: NodeId,
    },
}

/// Hash-consed expressions and nodes of all filters that are compared with each other.
#[derive(Default)]
pub(crate) struct Graph {
    exprs: Vec<Expr>,
    expr_ids: HashMap<Expr, usize>,
    nodes: Vec<Node>,
    node_ids: HashMap<Node, NodeId>,
}

/// The graph would become too large, or divides by a value that may be zero.
#[derive(Debug)]
pub(crate) struct Undecided;

/// Nodes in one graph, over all numbers; Docker's default makes a few thousand.
const NODE_BUDGET: usize = 400_000;
/// Instructions walked for one remainder.
const STEP_BUDGET: usize = 400_000;

/// What the walk knows of `struct seccomp_data`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    pub(crate) arch: Option<u32>,
    pub(crate) nr: Option<u32>,
}

impl Graph {
    pub(crate) fn node(&self, id: NodeId) -> Node {
        self.nodes[id]
    }

    pub(crate) fn expr(&self, id: usize) -> Expr {
        self.exprs[id]
    }

    /// The remainder of `program` under `known`.
    pub(crate) fn residual(&mut self, program: &Program, known: Known) -> Result<NodeId, Undecided> {
        let mut walk = Walk { graph: self, program, known, memo: HashMap::new(), steps: 0 };
        walk.from(State { pc: 0, a: Value::Const(0), x: Value::Const(0), cells: [Value::Const(0); 16] })
    }

    /// Every node reachable from `roots`.
    pub(crate) fn reachable(&self, roots: &[NodeId]) -> BTreeSet<NodeId> {
        let mut seen = BTreeSet::new();
        let mut queue = roots.to_vec();
        while let Some(id) = queue.pop() {
            if seen.insert(id)
                && let Node::Test { yes, no, .. } = self.node(id)
            {
                queue.extend([yes, no]);
            }
        }
        seen
    }

    /// The words that a value depends on.
    pub(crate) fn words(&self, value: Value, into: &mut BTreeSet<u32>) {
        if let Value::Expr(id) = value {
            match self.expr(id) {
                Expr::Word(offset) => {
                    into.insert(offset);
                }
                Expr::Alu(_, left, right) => {
                    self.words(left, into);
                    self.words(right, into);
                }
            }
        }
    }

    fn intern_expr(&mut self, expr: Expr) -> Value {
        let next = self.exprs.len();
        let id = *self.expr_ids.entry(expr).or_insert(next);
        if id == next {
            self.exprs.push(expr);
        }
        Value::Expr(id)
    }

    fn intern_node(&mut self, node: Node) -> Result<NodeId, Undecided> {
        // A test with one outcome is none.
        if let Node::Test { yes, no, .. } = node
            && yes == no
        {
            return Ok(yes);
        }
        let next = self.nodes.len();
        let id = *self.node_ids.entry(node).or_insert(next);
        if id == next {
            if next >= NODE_BUDGET {
                return Err(Undecided);
            }
            self.nodes.push(node);
        }
        Ok(id)
    }

    fn alu(&mut self, operation: u16, left: Value, right: Value) -> Result<Value, Undecided> {
        let (Value::Const(a), Value::Const(k)) = (left, right) else {
            // The kernel ends the filter when it divides by zero, which no expression here can say.
            if operation == ALU_DIV_K && !matches!(right, Value::Const(1..)) {
                return Err(Undecided);
            }
            return Ok(self.intern_expr(Expr::Alu(operation, left, right)));
        };
        Ok(Value::Const(match operation {
            ALU_ADD_K => a.wrapping_add(k),
            ALU_SUB_K => a.wrapping_sub(k),
            ALU_MUL_K => a.wrapping_mul(k),
            ALU_DIV_K => a.checked_div(k).ok_or(Undecided)?,
            ALU_OR_K => a | k,
            ALU_AND_K => a & k,
            ALU_LSH_K => a.wrapping_shl(k),
            ALU_RSH_K => a.wrapping_shr(k),
            ALU_XOR_K => a ^ k,
            ALU_NEG => a.wrapping_neg(),
            _ => return Err(Undecided),
        }))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    pc: usize,
    a: Value,
    x: Value,
    cells: [Value; 16],
}

struct Walk<'a> {
    graph: &'a mut Graph,
    program: &'a Program,
    known: Known,
    memo: HashMap<State, NodeId>,
    steps: usize,
}

impl Walk<'_> {
    /// Jumps go forward only, so the recursion is at most as deep as the program is long.
    fn from(&mut self, mut s: State) -> Result<NodeId, Undecided> {
        loop {
            self.steps += 1;
            if self.steps > STEP_BUDGET {
                return Err(Undecided);
            }
            let insn = self.program.instructions()[s.pc];
            let k = insn.k;
            let by_x = insn.code & 0x08 != 0;
            let operand = if by_x { s.x } else { Value::Const(k) };
            s.pc += 1;
            match insn.code {
                LD_IMM => s.a = Value::Const(k),
                LD_W_ABS => s.a = self.load(k),
                LD_MEM => s.a = s.cells[k as usize],
                LD_W_LEN => s.a = Value::Const(SECCOMP_DATA_SIZE),
                LDX_IMM => s.x = Value::Const(k),
                LDX_MEM => s.x = s.cells[k as usize],
                LDX_W_LEN => s.x = Value::Const(SECCOMP_DATA_SIZE),
                ST => s.cells[k as usize] = s.a,
                STX => s.cells[k as usize] = s.x,
                MISC_TAX => s.x = s.a,
                MISC_TXA => s.a = s.x,
                ALU_NEG => s.a = self.graph.alu(ALU_NEG, s.a, Value::Const(0))?,
                JMP_JA => s.pc += k as usize,
                RET_K => return self.graph.intern_node(Node::Ret(Action::from_ret(k))),
                RET_A => {
                    let node = match s.a {
                        Value::Const(ret) => Node::Ret(Action::from_ret(ret)),
                        value => Node::RetValue(value),
                    };
                    return self.graph.intern_node(node);
                }
                // Class ALU and class JMP (include/uapi/linux/bpf_common.h).
                code if code & 0x07 == 0x04 => s.a = self.graph.alu(code & !0x08, s.a, operand)?,
                code if code & 0x07 == 0x05 => {
                    let test = code & !0x08;
                    let (yes, no) = (s.pc + usize::from(insn.jt), s.pc + usize::from(insn.jf));
                    if let (Value::Const(a), Value::Const(k)) = (s.a, operand) {
                        s.pc = if holds(test, a, k) { yes } else { no };
                        continue;
                    }
                    if yes == no {
                        s.pc = yes;
                        continue;
                    }
                    if let Some(known) = self.memo.get(&s) {
                        return Ok(*known);
                    }
                    let key = s;
                    let (yes, no) = (self.from(State { pc: yes, ..s })?, self.from(State { pc: no, ..s })?);
                    let node = Node::Test { test, left: s.a, right: operand, yes, no };
                    let id = self.graph.intern_node(node)?;
                    self.memo.insert(key, id);
                    return Ok(id);
                }
                _ => return Err(Undecided),
            }
        }
    }

    fn load(&mut self, offset: u32) -> Value {
        match (offset, self.known) {
            (NR, Known { nr: Some(nr), .. }) => Value::Const(nr),
            (ARCH, Known { arch: Some(arch), .. }) => Value::Const(arch),
            _ => self.graph.intern_expr(Expr::Word(offset)),
        }
    }
}

/// Whether a jump's test (its code without the source bit) holds.
pub(crate) fn holds(test: u16, a: u32, k: u32) -> bool {
    match test {
        JMP_JEQ_K => a == k,
        JMP_JGT_K => a > k,
        JMP_JGE_K => a >= k,
        _ => a & k != 0,
    }
}
