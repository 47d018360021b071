//! Containers, files and hosts that try to harm the host, the launcher or the tools. One file per kind of attack; each is a
//! suite of the promise `hostile`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Result, ensure};

pub mod confinement;
pub mod formats;
pub mod judges;
pub mod launcher;
pub mod lsm;
pub mod observers;
pub mod root;
pub mod roots;
pub mod state;
pub mod stdio;
pub mod tracer;

/// A directory of the host that no container may touch, with one file in it.
pub(super) struct Canary(tempfile::TempDir);

impl Canary {
    pub(super) fn new() -> Result<Canary> {
        let dir = tempfile::Builder::new().prefix("plimtest-canary-").tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777))?;
        fs::write(dir.path().join("secret"), "of the host")?;
        Ok(Canary(dir))
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn untouched(&self) -> Result<()> {
        let names: Vec<_> = fs::read_dir(self.path())?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(names == ["secret"], "the host's directory now holds {names:?}");
        ensure!(
            fs::read_to_string(self.path().join("secret"))? == "of the host",
            "the host's file was written"
        );
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        ensure!(
            !mounts.contains(&self.path().display().to_string()),
            "something is mounted on the host's directory"
        );
        Ok(())
    }
}
