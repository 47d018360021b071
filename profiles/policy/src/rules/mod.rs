//! Policies: files of rules, what they extend, and what they let pass.

mod culprits;
mod expression;
mod fields;
mod file;
mod glob;
mod load;
mod pattern;
mod read;

pub use expression::{Evaluated, Expression, ExpressionError};
pub use file::{Call, Check, Date, Ignore, Override, Policy, Relation, Rule, Scope};
pub use glob::Glob;
pub use load::{LoadError, PolicySet, Source, load};
pub(crate) use pattern::environment;
pub use read::{PolicyError, read};

#[cfg(test)]
mod tests;
