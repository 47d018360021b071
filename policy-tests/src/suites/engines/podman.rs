//! Podman with crun.

use anyhow::Result;

use super::profiles::engine_profiles;
use super::{files, is_installed, security_option, version, without_hybrid};
use crate::Ctx;
use crate::process::must;

pub(super) fn podman(ctx: &Ctx) -> Result<()> {
    let engine = format!("{}/{}", version("podman", "podman")?, version("crun", "crun")?);
    let profiles = engine_profiles()?;
    let case = ctx.case(&[])?;
    let files = files(&case, &profiles)?;
    let store = case.dir.path().join("podman");
    let command = || {
        let mut command = without_hybrid("podman");
        for (option, place) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(store.join(place));
        }
        command.args([
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            "--runtime=crun",
        ]);
        command
    };
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let option = security_option(ctx, file);
        let mut run = command();
        run.args([
            "run",
            "-d",
            "--name",
            &name,
            "--network=none",
            "--cgroups=disabled",
            "--security-opt",
            &option,
        ]);
        // A limit above the caller's own needs CAP_SYS_RESOURCE.
        run.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--rootfs"]).arg(&case.rootfs);
        must(run.args(["/bin/witness", "hold", "60"]))?;
        let result = (|| {
            let pid = must(command().args(["inspect", "-f", "{{.State.Pid}}", &name]))?;
            is_installed(ctx, what, &pid, file, &engine)
        })();
        must(command().args(["rm", "-f", "-t", "0", &name]))?;
        result?;
    }
    Ok(())
}
