//! CEL expressions that cannot run away, and that know which facts they lean on.
//!
//! What CEL itself leaves open is bounded here: length and nesting of the text, nesting of `all`/`exists`/`map`/`filter`, the
//! functions that may be called, and building of text or lists inside of a loop. So the cost of one evaluation is at most the
//! size of the expression times the largest list to the power of the nesting, which [`Expression::evaluate`] looks at first.

use std::collections::BTreeSet;

use cel::{Context, Program, Value};

mod walk;

use walk::{DEEPEST, Use, Walk, nesting};

use super::culprits::{self, Culprits};

/// Bytes of one expression.
const LONGEST: usize = 4096;
/// Steps of one evaluation, by the estimate.
const STEPS: f64 = 20e6;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct ExpressionError {
    /// What was found and what was expected.
    pub what: String,
    /// Line within the text, from 0, where the parser said one.
    pub line: u32,
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
