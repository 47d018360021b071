//! `cargo test`: builds the static programs if they are not given by `PLIM_BIN_DIR`, and runs the suite on this host
//! under plim and under runc, and then the proof that the tests go red when a promise is broken.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Always given to cargo, so that build scripts and macros are not built with the static flag.
const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// The directory of the programs under test.
fn programs() -> PathBuf {
    if let Some(dir) = std::env::var_os("PLIM_BIN_DIR") {
        return dir.into();
    }
    // .../TARGET_DIR/debug/plim-suite -> .../TARGET_DIR
    let suite = Path::new(env!("CARGO_BIN_EXE_plim-suite"));
    let target_dir = suite.ancestors().nth(2).expect("a target directory");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo.args(["build", "--locked", "--quiet", "--target", TARGET, "--target-dir"]).arg(target_dir);
    for package in
        ["plim-policy-tests", "plim-witness", "plim-run", "plim-inspect", "plim-diff", "plim-seccomp-tool"]
    {
        cargo.args(["--package", package]);
    }
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").env_remove("CARGO_ENCODED_RUSTFLAGS");
    assert!(cargo.status().expect("cargo").success(), "building the programs under test");
    target_dir.join(TARGET).join("debug")
}

fn suite(args: &[&str]) {
    let bin = programs();
    let mut command = Command::new(bin.join("plim-suite"));
    command.args(args).env("PLIM_BIN_DIR", &bin);
    if std::env::var_os("PLIM_EXPECT").is_none() {
        command.env("PLIM_EXPECT", Path::new(env!("CARGO_MANIFEST_DIR")).join("expect/host"));
    }
    assert!(command.status().expect("plim-suite").success(), "plim-suite {args:?}");
}

/// One test and not three: they share the host's cgroups and mounts, whose inventory they compare.
#[test]
fn every_promise() {
    suite(&["--launcher", "both"]);
    suite(&["--launcher", "both", "--prove"]);
}
