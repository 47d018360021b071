//! What every `plim` tool shares: flags, target names, rendering, exit statuses, errors on stderr.
#![deny(unsafe_code)]

pub mod app;
pub mod args;
pub mod beneath;
pub mod beside;
pub mod calls;
pub mod confine;
pub mod diff_table;
pub mod exit;
pub mod facts;
pub mod nearest;
pub mod output;
pub mod seccomp_diff;
pub mod seccomp_side;
mod sys;
pub mod table;
pub mod target;
pub mod timeout;
pub mod wall;

pub use app::run_main;
pub use plim_model::text::escape;
