//! The nearest valid spelling of a word that is none.

pub use plim_seccomp::spelling::{hint, nearest};
