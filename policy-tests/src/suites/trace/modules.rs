//! What security modules refuse: told as lsm where the tracer's programs may stand behind their hooks.

use std::process::Command;

use anyhow::Result;

use super::{tables, under_plim};
use crate::launcher::Ctx;
use crate::needs::allows_fexit;
use crate::process::must;

pub(super) fn landlock(ctx: &Ctx) -> Result<()> {
    let seen = allows_fexit(ctx, "hook_file_open");
    under_plim(ctx, if seen { &tables::LANDLOCK } else { &tables::LANDLOCK_UNSEEN })
}

/// Files that are refused with and without a line in the log, a program, a capability that is granted but denied here, a family of sockets;
/// and no mount may go.
const PROFILE: &str = "
profile plimtest flags=(attach_disconnected, mediate_deleted) {
  file,
  capability,
  network,
  signal,
  deny /tmp/silent rw,
  audit deny /tmp/told w,
  deny /tmp/dir/ w,
  deny /tmp/program x,
  deny capability sys_time,
  deny network packet,
}
";

/// A profile of the kernel's, until dropped.
struct Loaded(std::path::PathBuf, #[expect(dead_code, reason = "keeps the file")] tempfile::TempDir);

impl Loaded {
    fn load(profile: &str) -> Result<Loaded> {
        let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
        let loaded = Loaded(dir.path().join("profile"), dir);
        std::fs::write(&loaded.0, profile)?;
        loaded.parser("--replace").map(|()| loaded)
    }

    fn parser(&self, how: &str) -> Result<()> {
        let file = self.0.display().to_string();
        // The kernel's own features: without them sockets are not mediated.
        let features = "/sys/kernel/security/apparmor/features";
        let args = ["--skip-cache", "--policy-features", features, how, &file];
        must(Command::new("apparmor_parser").args(args)).map(drop)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // What is left over confines nothing.
        let _ = self.parser("--remove");
    }
}

pub(super) fn apparmor(ctx: &Ctx) -> Result<()> {
    let _loaded = Loaded::load(PROFILE)?;
    let seen = allows_fexit(ctx, "aa_path_perm");
    under_plim(ctx, if seen { &tables::APPARMOR } else { &tables::APPARMOR_UNSEEN })
}
