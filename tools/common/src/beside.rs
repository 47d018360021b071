//! Programs of ours that another one executes.

use std::path::PathBuf;

/// The program of this name beside the running one; else its name, to be looked up on PATH.
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    own.and_then(|own| Some(own.parent()?.join(name)))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| name.into())
}
