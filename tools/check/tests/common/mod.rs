//! The three programs, run.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy-tests/examples")
}

pub(crate) fn program(program: &str, directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).env_remove("GITHUB_STEP_SUMMARY").stdin(Stdio::null());
    command.output().expect("runs")
}

pub(crate) fn check(directory: &Path, arguments: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_plim-check"), directory, arguments)
}

pub(crate) fn lock(directory: &Path, arguments: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_plim-lock"), directory, arguments)
}

pub(crate) fn policy(directory: &Path, arguments: &[&str]) -> Output {
    program(env!("CARGO_BIN_EXE_plim-policy"), directory, arguments)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn fed(input: &str, arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_plim-check"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child.stdin.take().expect("stdin").write_all(input.as_bytes()).expect("fed");
    child.wait_with_output().expect("ends")
}
