//! The nearest valid spelling of a word that is none.

pub(crate) use plim_seccomp::spelling::hint;
