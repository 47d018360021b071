//! What `plim check`, `plim lock` and `plim policy` share: reading targets and policies, and drawing what came of it.
#![forbid(unsafe_code)]

pub mod check;
pub mod files;
pub mod gather;
mod render;
