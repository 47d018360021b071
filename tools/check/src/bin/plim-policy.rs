//! `plim policy`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    plim_tools_common::run_main("plim-policy", |args| plim_check::policy::run(&args))
}
