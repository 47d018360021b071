//! `plim check`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    plim_tools_common::run_main("plim-check", |args| plim_check::check::run(&args))
}
