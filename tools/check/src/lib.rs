//! What `plim check`, `plim lock` and `plim policy` share: reading targets and policies, and drawing what came of it.
#![forbid(unsafe_code)]

pub mod check;
pub mod files;
pub mod gather;
pub mod lock;
pub mod policy;
mod render;

/// Writes notes to stderr, each behind the tool's name.
fn notes(name: &str, notes: &[String]) -> anyhow::Result<()> {
    let text: String =
        notes.iter().map(|note| format!("{name}: {}\n", plim_model::text::escape_message(note))).collect();
    plim_tools_common::output::to_stderr(text.as_bytes())
}
