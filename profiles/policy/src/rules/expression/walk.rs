//! What an expression may hold: every node is looked at once, before it is evaluated for the first time.

use std::collections::BTreeSet;

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue};

use crate::rules::fields::Shape;
use crate::rules::pattern;

/// Brackets and operators inside each other.
pub(super) const DEEPEST: usize = 60;
/// Loops inside each other.
const LOOPS: u32 = 3;

/// Functions that take time in proportion to their arguments at most.
const FUNCTIONS: [&str; 9] =
    ["size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string"];

/// Variables that an expression may name.
const VARIABLES: [&str; 3] = ["snapshot", "workload", "container"];

/// A use of a fact: the path from its variable, and whether `has()` asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    pub(super) path: Vec<String>,
    pub(super) has: bool,
}

/// How deep brackets, and chains of operators that the parser recurses on, go.
pub(super) fn nesting(source: &str) -> usize {
    let (mut depth, mut deepest, mut run) = (0_usize, 0_usize, 0_usize);
    for letter in source.chars() {
        match letter {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            // `!!!!x`, `----x` and `a ? b : c ? …` nest without brackets.
            '!' | '-' | '?' => run += 1,
            letter if letter.is_whitespace() => {}
            _ => run = run.saturating_sub(usize::from(letter.is_alphanumeric())),
        }
        deepest = deepest.max(depth + run);
    }
    deepest
}

#[derive(Default)]
pub(super) struct Walk {
    pub(super) variables: BTreeSet<String>,
    pub(super) uses: BTreeSet<Use>,
    /// Variables of loops, and what is known of their values.
    bound: Vec<(String, Option<Shape>)>,
    pub(super) has_in_loop: bool,
    pub(super) deepest_loop: u32,
    pub(super) nodes: u32,
    depth: usize,
}

impl Walk {
    pub(super) fn expr(&mut self, node: &IdedExpr, loops: u32) -> Result<(), String> {
        // Evaluation recurses as the tree does.
        self.depth += 1;
        if self.depth > 2 * DEEPEST {
            return Err("a chain of more operators than are allowed".to_owned());
        }
        let result = self.one(node, loops);
        self.depth -= 1;
        result
    }

    fn one(&mut self, node: &IdedExpr, loops: u32) -> Result<(), String> {
        self.nodes += 1;
        if let Some((root, path, has)) = chain(node) {
            return self.use_of(root, path, has);
        }
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            // Told by `chain` before.
            Expr::Ident(_) => Ok(()),
            Expr::Select(select) => {
                self.has_in_loop |= select.test;
                self.expr(&select.operand, loops)
            }
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expr(element, loops)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.expr(&entry.key, loops)?;
                    self.expr(&entry.value, loops)
                }
                EntryExpr::StructField(_) => Err("structures are not used in policies".to_owned()),
            }),
            Expr::Struct(_) => Err("structures are not used in policies".to_owned()),
            Expr::Call(call) => {
                self.function(&call.func_name, loops, call.target.is_some(), &call.args)?;
                if let Some(target) = &call.target {
                    self.expr(target, loops)?;
                }
                call.args.iter().try_for_each(|argument| self.expr(argument, loops))
            }
            Expr::Comprehension(fold) => {
                let inner = loops + 1;
                if inner > LOOPS {
                    return Err(format!("loops inside each other more than {LOOPS} deep"));
                }
                self.deepest_loop = self.deepest_loop.max(inner);
                self.expr(&fold.iter_range, loops)?;
                self.expr(&fold.accu_init, loops)?;
                let before = self.bound.len();
                // With two variables the first is the place in the list.
                let element = if fold.iter_var2.is_some() { None } else { self.element(fold) };
                self.bound.push((fold.iter_var.clone(), element));
                self.bound.extend(fold.iter_var2.clone().map(|name| (name, None)));
                self.bound.push((fold.accu_var.clone(), None));
                self.expr(&fold.loop_cond, inner)?;
                // What map and filter themselves build: the accumulator and a list of one.
                match &fold.loop_step.expr {
                    Expr::Call(step) if is_append(step, &fold.accu_var) => self.expr(&step.args[1], inner)?,
                    Expr::Call(step)
                        if step.func_name == "_?_:_"
                            && step.args.len() == 3
                            && matches!(&step.args[1].expr, Expr::Call(inner) if is_append(inner, &fold.accu_var)) =>
                    {
                        self.expr(&step.args[0], inner)?;
                        if let Expr::Call(append) = &step.args[1].expr {
                            self.expr(&append.args[1], inner)?;
                        }
                    }
                    // `exists_one` counts.
                    Expr::Call(step)
                        if step.func_name == "_?_:_"
                            && step.args.len() == 3
                            && matches!(&step.args[1].expr, Expr::Call(add) if add.func_name == "_+_") =>
                    {
                        self.expr(&step.args[0], inner)?;
                    }
                    _ => self.expr(&fold.loop_step, inner)?,
                }
                self.expr(&fold.result, inner)?;
                self.bound.truncate(before);
                Ok(())
            }
        }
    }

    /// What the elements of the list that a loop goes over are.
    fn element(&self, fold: &ComprehensionExpr) -> Option<Shape> {
        let (root, path, _) = chain(&fold.iter_range)?;
        let bound = self.bound.iter().rev().find(|(bound, _)| bound == root);
        let shape = match bound {
            Some((_, shape)) => shape.clone()?,
            None => Shape::of(root)?,
        };
        shape.below(&path).ok()??.element(&fold.iter_var)
    }

    fn use_of(&mut self, root: &str, path: Vec<String>, has: bool) -> Result<(), String> {
        if let Some((_, shape)) = self.bound.iter().rev().find(|(bound, _)| bound == root) {
            self.has_in_loop |= has;
            return shape.clone().map_or(Ok(()), |shape| shape.below(&path).map(|_| ()));
        }
        if !VARIABLES.contains(&root) {
            let hint = crate::spelling::hint(root, VARIABLES);
            return Err(format!("unknown variable {root:?}{hint}; there are {}", VARIABLES.join(", ")));
        }
        Shape::of(root).map(|shape| shape.below(&path)).transpose()?;
        self.variables.insert(root.to_owned());
        let mut whole = vec![root.to_owned()];
        whole.extend(path);
        self.uses.insert(Use { path: whole, has });
        Ok(())
    }

    fn function(&self, name: &str, loops: u32, member: bool, arguments: &[IdedExpr]) -> Result<(), String> {
        let operator = !name.starts_with(|first: char| first.is_ascii_alphabetic());
        match name {
            "_+_" | "_*_" if loops > 0 => Err("no + or * inside of all, exists, map or filter".to_owned()),
            "_[?_]" | "_?._" => Err("no optional access; ask with has()".to_owned()),
            "matches" => match arguments.last().map(|argument| &argument.expr) {
                Some(Expr::Literal(LiteralValue::String(text))) => pattern::check(text.inner()),
                _ => Err("matches: expected the pattern as plain text".to_owned()),
            },
            _ if operator || FUNCTIONS.contains(&name) => Ok(()),
            _ => {
                let hint = crate::spelling::hint(name, FUNCTIONS);
                let what = if member { "method" } else { "function" };
                Err(format!("unknown {what} {name:?}{hint}"))
            }
        }
    }
}

fn is_append(call: &cel::common::ast::CallExpr, accumulator: &str) -> bool {
    call.func_name == "_+_"
        && matches!(&call.args[..], [left, right]
            if matches!(&left.expr, Expr::Ident(name) if name == accumulator)
                && matches!(&right.expr, Expr::List(list) if list.elements.len() == 1))
}

/// `a.b["c"].d` as root and path; `has(a.b)` too.
fn chain(node: &IdedExpr) -> Option<(&str, Vec<String>, bool)> {
    let mut path = Vec::new();
    let mut at = node;
    let mut has = false;
    loop {
        match &at.expr {
            Expr::Ident(name) => {
                path.reverse();
                return Some((name, path, has));
            }
            Expr::Select(select) => {
                has |= select.test;
                path.push(select.field.clone());
                at = &select.operand;
            }
            Expr::Call(call) if call.func_name == "_[_]" && call.args.len() == 2 => {
                let Expr::Literal(LiteralValue::String(key)) = &call.args[1].expr else {
                    return None;
                };
                path.push(key.inner().to_owned());
                at = &call.args[0];
            }
            _ => return None,
        }
    }
}
