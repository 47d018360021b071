//! Runs the binary.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::BTreeSet;
use std::process::{Command, Output, Stdio};

/// `plim run` with these arguments and an empty standard input.
pub(crate) fn plim_run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plim-run"))
        .args(args)
        .stdin(Stdio::null())
        .env("NO_COLOR", "1")
        .output()
        .expect("start plim-run")
}

/// Standard output as text.
pub(crate) fn stdout(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Standard error as text.
pub(crate) fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// What a run could leave behind and a refused one must not even make: mounts in the caller's namespace.
///
/// State directories and cgroups of other containers come and go while tests run beside each other; the kill loop
/// of the policy tests watches those.
pub(crate) fn traces() -> BTreeSet<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// Whether containers can be started here; says why not.
#[allow(clippy::print_stderr, reason = "a test that does not run says why")]
pub(crate) fn can_run() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "in CI, root is expected");
        eprintln!("skipped: starting containers with every default takes root");
    }
    root
}
