//! The words of container engines, read as the engines read them: shell text, command lines, options and their values.
//!
//! Pure and strict: what an engine refuses is an error with its reason, and what only the shell that runs a text would know
//! is unknown.
#![forbid(unsafe_code)]

mod error;
pub mod invocation;
pub mod markdown;
pub mod mounts;
pub mod options;
pub mod reference;
pub mod shell;
pub mod values;

pub use error::{UsageError, What};
pub use options::Engine;
