//! One file for each verb.

pub(crate) mod claim;
pub(crate) mod compile;
pub(crate) mod convert;
pub(crate) mod decompile;
pub(crate) mod diff;
pub(crate) mod disasm;
pub(crate) mod dump;
pub(crate) mod eval;
pub(crate) mod explain;
pub(crate) mod lint;
pub(crate) mod merge;
pub(crate) mod show;
pub(crate) mod table;
pub(crate) mod verify;
