//! One file for each verb.

pub(crate) mod compile;
pub(crate) mod disasm;
pub(crate) mod dump;
pub(crate) mod eval;
pub(crate) mod table;
