//! Mutated inputs for parsers, and how work grows with its input. For tests: no dependencies, no unsafe code, a stable compiler.
//!
//! A crate's fuzz tests call [`fuzz`] for each of its parsers. `make test` runs a bounded number of inputs, the same each time;
//! `make fuzz` runs for a time, from a seed that it prints.
#![forbid(unsafe_code)]

mod dice;
mod growth;
mod hostile;
mod mutate;
mod run;

pub use growth::{FACTOR, at_most, linear};
pub use hostile::{HOSTILE, hostile_letters};
pub use run::{Target, fuzz};
