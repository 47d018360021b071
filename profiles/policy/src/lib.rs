//! Judging targets by policies: rules, packs, findings, the lock file and the reports that build systems read.
//!
//! Pure functions of data: no files, no clock (the date that ignores expire by is a parameter), no system calls.
#![forbid(unsafe_code)]

pub mod declared;
pub mod finding;
pub mod judge;
pub mod lock;
pub mod packs;
pub mod pss;
pub mod report;
pub mod rules;
mod spelling;
pub mod text;

pub use finding::{Finding, Findings, NotApplicable, Outcome, Severity, Where};
