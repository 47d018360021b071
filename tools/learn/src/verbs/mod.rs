//! One file a verb.

pub(crate) mod propose;
pub(crate) mod record;
pub(crate) mod shrink;
mod trying;
pub(crate) mod verify;
