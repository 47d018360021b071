//! CEL expressions that cannot run away, and that know which facts they lean on.
//!
//! What CEL itself leaves open is bounded here: length and nesting of the text, nesting of `all`/`exists`/`map`/`filter`, the
//! functions that may be called, and building of text or lists inside of a loop. So the cost of one evaluation is at most the
//! size of the expression times the largest list to the power of the nesting, which [`Expression::evaluate`] looks at first.

use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue};
use cel::{Context, Program, Value};

use super::culprits::{self, Culprits};
use super::pattern;

/// Bytes of one expression.
const LONGEST: usize = 4096;
/// Brackets and operators inside each other.
const DEEPEST: usize = 60;
/// Loops inside each other.
const LOOPS: u32 = 3;
/// Steps of one evaluation, by the estimate.
const STEPS: f64 = 20e6;

/// Functions that take time in proportion to their arguments at most.
const FUNCTIONS: [&str; 9] =
    ["size", "contains", "startsWith", "endsWith", "matches", "int", "uint", "double", "string"];

/// Variables that an expression may name.
pub(super) const VARIABLES: [&str; 3] = ["snapshot", "workload", "container"];

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ExpressionError {
    /// What was found and what was expected.
    pub what: String,
    /// Line within the text, from 0, where the parser said one.
    pub line: u32,
}

/// A use of a fact: the path from its variable, and whether `has()` asks for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    path: Vec<String>,
    has: bool,
}

/// What came of an evaluation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evaluated {
    /// It holds or it does not.
    Known(bool),
    /// It cannot be told, and why.
    Unknown(String),
}

/// A checked expression.
pub struct Expression {
    source: String,
    program: Program,
    variables: BTreeSet<String>,
    uses: BTreeSet<Use>,
    /// `has()` on the variable of a loop.
    has_in_loop: bool,
    loops: u32,
    nodes: u32,
    culprits: Vec<Culprits>,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

impl Expression {
    /// Compiles and checks.
    ///
    /// # Errors
    /// Not CEL, too long or too deep, a variable or function that there is not.
    ///
    /// ```
    /// use plim_policy::rules::Expression;
    /// assert!(Expression::new("snapshot.no_new_privs == true").is_ok());
    /// let error = Expression::new("snapshto.no_new_privs").unwrap_err();
    /// assert!(error.to_string().contains("did you mean \"snapshot\"?"));
    /// ```
    pub fn new(source: &str) -> Result<Expression, ExpressionError> {
        let fail = |what: String| ExpressionError { what, line: 0 };
        if source.len() > LONGEST {
            return Err(fail(format!("an expression of {} bytes, more than {LONGEST}", source.len())));
        }
        let nesting = nesting(source);
        if nesting > DEEPEST {
            return Err(fail(format!("an expression nested {nesting} deep, more than {DEEPEST}")));
        }
        let program = Program::compile(source).map_err(|errors| {
            let first = errors.errors.first();
            let text = first.map_or_else(|| errors.to_string(), |error| error.msg.clone());
            let line = first.map_or(0, |error| u32::try_from(error.pos.0 - 1).unwrap_or(0));
            let text: String = text.lines().next().unwrap_or_default().chars().take(200).collect();
            ExpressionError { what: format!("not CEL: {text}"), line }
        })?;
        let mut walk = Walk::default();
        walk.expr(program.expression(), 0).map_err(fail)?;
        Ok(Expression {
            source: source.to_owned(),
            variables: walk.variables,
            uses: walk.uses,
            has_in_loop: walk.has_in_loop,
            loops: walk.deepest_loop,
            nodes: walk.nodes,
            culprits: culprits::of(source),
            program,
        })
    }

    /// The text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it names a variable.
    pub fn names(&self, variable: &str) -> bool {
        self.variables.contains(variable)
    }

    /// The first path segments below a variable that it uses; `None` where it uses the variable as a whole.
    pub fn sections(&self, variable: &str) -> Option<BTreeSet<&str>> {
        self.uses
            .iter()
            .filter(|used| used.path[0] == variable)
            .map(|used| used.path.get(1).map(String::as_str))
            .collect()
    }

    /// Evaluates. `unknown` lists the facts that are not known, as paths from their variable with the reason; they are
    /// missing from the context. `largest` is the length of the longest list or map in it.
    pub fn evaluate(
        &self,
        context: &Context<'_, '_>,
        unknown: &[(Vec<String>, String)],
        largest: usize,
    ) -> Evaluated {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let steps =
            f64::from(self.nodes) * (largest.max(1) as f64).powi(i32::try_from(self.loops).unwrap_or(9));
        if steps > STEPS {
            return Evaluated::Unknown(format!(
                "evaluation could take {steps:.0} steps, more than {STEPS:.0}"
            ));
        }
        let hidden = unknown.iter().find(|(path, _)| self.could_hide(path));
        if let Some((path, why)) = hidden {
            return Evaluated::Unknown(format!("{} could not be observed: {why}", path.join(".")));
        }
        match self.program.execute(context) {
            Ok(Value::Bool(truth)) => Evaluated::Known(truth),
            Ok(other) => Evaluated::Unknown(format!("expected true or false, found {}", kind(&other))),
            Err(error) => {
                // A missing key that is unknown says so; any other is the policy's or the target's.
                let concerned = unknown.iter().find(|(path, _)| {
                    self.uses.iter().any(|used| used.path.starts_with(path) || path.starts_with(&used.path))
                });
                match concerned {
                    Some((path, why)) => {
                        Evaluated::Unknown(format!("{} could not be observed: {why}", path.join(".")))
                    }
                    None => {
                        let text: String = error.to_string().chars().take(200).collect();
                        Evaluated::Unknown(format!("cannot be evaluated here: {text}"))
                    }
                }
            }
        }
    }

    /// The facts that it uses, as `PATH = VALUE`, where they are short enough to read, and of lists the elements that break it.
    pub(crate) fn facts(
        &self,
        snapshot: &serde_json::Value,
        context: &Context<'_, '_>,
        largest: usize,
    ) -> Vec<String> {
        self.told(context, largest, |path| {
            (path[0] == "snapshot").then(|| find(snapshot, &path[1..])).flatten()
        })
    }

    /// The same of a declared container.
    pub(crate) fn container_facts(
        &self,
        workload: &serde_json::Value,
        container: &serde_json::Value,
        context: &Context<'_, '_>,
        largest: usize,
    ) -> Vec<String> {
        self.told(context, largest, |path| match path[0].as_str() {
            "container" => find(container, &path[1..]),
            "workload" => find(workload, &path[1..]),
            _ => None,
        })
    }

    fn told<'v>(
        &self,
        context: &Context<'_, '_>,
        largest: usize,
        value: impl Fn(&[String]) -> Option<&'v serde_json::Value>,
    ) -> Vec<String> {
        const LONGEST_FACT: usize = 300;
        // CEL's filter copies what it has found so far with every element.
        const LONGEST_LIST: usize = 5_000;
        let mut facts: Vec<String> = Vec::new();
        let mut picked: Vec<&str> = Vec::new();
        for culprits in self.culprits.iter().filter(|_| largest <= LONGEST_LIST) {
            let lines = culprits.told(context);
            if !lines.is_empty() {
                picked.push(culprits.list());
                facts.extend(lines);
            }
        }
        for used in self.uses.iter().filter(|used| !picked.contains(&used.path.join(".").as_str())) {
            if let Some(value) = value(&used.path) {
                let text = value.to_string();
                let shown = if text.len() <= LONGEST_FACT { text } else { size_of(value) };
                facts.push(format!("{} = {shown}", used.path.join(".")));
            }
        }
        if facts.is_empty() {
            facts.push(format!("not so: {}", self.source.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        facts
    }

    /// Whether leaving this fact out could change the answer without an error: `has()` of it, or a use of a map as a whole
    /// of which it is an entry.
    fn could_hide(&self, unknown: &[String]) -> bool {
        let number = |segment: &String| segment.bytes().all(|byte| byte.is_ascii_digit());
        if self.has_in_loop && unknown.iter().any(number) {
            return true;
        }
        self.uses.iter().any(|used| {
            (used.has && used.path == unknown)
                || (unknown.len() > used.path.len()
                    && unknown.starts_with(&used.path)
                    && !number(&unknown[used.path.len()]))
        })
    }
}

fn find<'v>(value: &'v serde_json::Value, path: &[String]) -> Option<&'v serde_json::Value> {
    path.iter().try_fold(value, |value, key| value.get(key))
}

fn size_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Array(items) => format!("a list of {}", items.len()),
        serde_json::Value::Object(fields) => format!("a map of {}", fields.len()),
        _ => "(long)".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
        Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
        Value::String(_) => "text",
        Value::Null => "null",
        _ => "something else",
    }
}

/// How deep brackets, and chains of operators that the parser recurses on, go.
fn nesting(source: &str) -> usize {
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
struct Walk {
    variables: BTreeSet<String>,
    uses: BTreeSet<Use>,
    bound: Vec<String>,
    has_in_loop: bool,
    deepest_loop: u32,
    nodes: u32,
    depth: usize,
}

impl Walk {
    fn expr(&mut self, node: &IdedExpr, loops: u32) -> Result<(), String> {
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
                self.bound.push(fold.iter_var.clone());
                self.bound.extend(fold.iter_var2.clone());
                self.bound.push(fold.accu_var.clone());
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

    fn use_of(&mut self, root: &str, path: Vec<String>, has: bool) -> Result<(), String> {
        if self.bound.iter().any(|bound| bound == root) {
            self.has_in_loop |= has;
            return Ok(());
        }
        if !VARIABLES.contains(&root) {
            let hint = crate::spelling::hint(root, VARIABLES);
            return Err(format!("unknown variable {root:?}{hint}; there are {}", VARIABLES.join(", ")));
        }
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
