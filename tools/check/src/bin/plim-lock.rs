//! `plim lock`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    plim_tools_common::run_main("plim-lock", |args| plim_check::lock::run(&args))
}
