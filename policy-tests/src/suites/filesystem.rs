//! The file system: what is masked, read-only, private, and gone afterwards.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{check_verdicts, expect_verdicts, text};
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "filesystem",
    tests: &[
        Test {
            name: "masked_paths",
            says: "nothing can be read from a masked path",
            needs: &[],
            red_under: &[W::NoMasks],
            run: masked_paths,
        },
        Test {
            name: "read_only_paths",
            says: "/proc/sys and its like cannot be written",
            needs: &[],
            red_under: &[W::NoReadOnlyPaths],
            run: read_only_paths,
        },
        Test {
            name: "sys_read_only",
            says: "/sys is read-only and cannot be made writable",
            needs: &[],
            red_under: &[W::WritableMounts],
            run: sys_read_only,
        },
        Test {
            name: "read_only_root",
            says: "a read-only root cannot be written",
            needs: &[],
            red_under: &[W::WritableRoot],
            run: read_only_root,
        },
        Test {
            name: "tmpfs",
            says: "a tmpfs is writable, bounded, nosuid and nodev, and leaves nothing in the root file system",
            needs: &[],
            red_under: &[W::LooseMounts],
            run: tmpfs,
        },
        Test {
            name: "volumes",
            says: "a rw volume is shared with the host, a ro volume is not written, not even by a remount",
            needs: &[],
            red_under: &[W::WritableMounts],
            run: volumes,
        },
        Test {
            name: "device_nodes",
            says: "/dev holds the standard nodes and nothing of the host's",
            needs: &[],
            red_under: &[W::ExtraDevices],
            run: device_nodes,
        },
        Test {
            name: "descriptors",
            says: "no descriptor but 0, 1 and 2 reaches the container, whatever the caller left open",
            needs: &[],
            red_under: &[W::LeakedFd],
            run: descriptors,
        },
        Test {
            name: "propagation",
            says: "no mount is shared with the host",
            needs: &[],
            red_under: &[W::SharedPropagation],
            run: propagation,
        },
        Test {
            name: "pivoted",
            says: "the host's root is not within reach",
            needs: &[],
            red_under: &[W::HostRootInside],
            run: pivoted,
        },
        Test {
            name: "throw_away_layer",
            says: "over the host's own root, writes succeed and the host's files do not change; private places are empty",
            needs: &[Need::Plim],
            red_under: &[W::WritesThrough],
            run: throw_away_layer,
        },
    ],
};

fn masked_paths(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    for path in crate::spec::MASKED {
        let seen = report["masked"][path].as_str().unwrap_or("absent");
        ensure!(seen != "open", "{path} can be read");
    }
    let there = crate::spec::MASKED.iter().any(|path| report["masked"][*path] == "empty");
    ensure!(there, "no masked path exists on this kernel, so nothing was tested");
    Ok(())
}

fn read_only_paths(ctx: &Ctx) -> Result<()> {
    let table = [
        ("write /proc/sys/kernel/domainname plimtest", "EROFS"),
        ("open-rw /proc/sysrq-trigger", "EROFS|ENOENT"),
        ("remount-rw /proc/sys", "EPERM"),
        ("umount /proc/sys", "EPERM"),
    ];
    expect_verdicts(ctx, |case| case, &table)
}

fn sys_read_only(ctx: &Ctx) -> Result<()> {
    expect_verdicts(ctx, |case| case, &[("chmod /sys/kernel 493", "EROFS"), ("remount-rw /sys", "EPERM")])
}

fn read_only_root(ctx: &Ctx) -> Result<()> {
    let table = [("create /tmp/x y", "EROFS"), ("create /x y", "EROFS"), ("create /dev/shm/x y", "ok")];
    expect_verdicts(ctx, |case| case.with("/root/readonly", json!(true)), &table)
}

fn mount_options(report: &Value, point: &str) -> Option<String> {
    let lines = report["mounts"].as_array()?.iter().filter_map(Value::as_str);
    let mut fitting = lines.filter(|line| line.split(' ').nth(4) == Some(point));
    fitting.next_back().map(|line| line.split(' ').nth(5).unwrap_or_default().to_owned())
}

fn tmpfs(ctx: &Ctx) -> Result<()> {
    let options = ["nosuid", "nodev", "noexec", "size=1m", "mode=1777"];
    let case = ctx.case(&["report"])?.mount("/tmp", "tmpfs", "tmpfs", &options);
    let report = ctx.report(case)?;
    let got = mount_options(&report, "/tmp").unwrap_or_default();
    for option in ["nosuid", "nodev", "noexec", "rw"] {
        ensure!(got.split(',').any(|one| one == option), "/tmp is mounted {got}, without {option}");
    }
    let mut case = ctx.case(&["try", "create", "/tmp/x", "y"])?;
    case = case.mount("/tmp", "tmpfs", "tmpfs", &options);
    let mut running = ctx.start(case)?;
    check_verdicts(&running.wait()?, &[("", "ok")])?;
    same("files left in the root", fs::read_dir(running.case.rootfs.join("tmp"))?.count(), 0)
}

fn volumes(ctx: &Ctx) -> Result<()> {
    let (writable, fixed) = (tempfile::tempdir()?, tempfile::tempdir()?);
    fs::write(fixed.path().join("file"), "host")?;
    let words = [
        "try",
        "create",
        "/data/new",
        "inside",
        "--",
        "create",
        "/home/file",
        "inside",
        "--",
        "remount-rw",
        "/home",
        "--",
        "create",
        "/home/new",
        "x",
        "--",
        "read",
        "/home/file",
    ];
    let case = ctx
        .case(&words)?
        .mount("/data", "bind", &writable.path().display().to_string(), &["rbind", "rprivate", "rw"])
        .mount("/home", "bind", &fixed.path().display().to_string(), &["rbind", "rprivate", "ro"]);
    let outcome = ctx.run(case)?;
    let table = [("", "ok"), ("", "EROFS"), ("", "EPERM"), ("", "EROFS"), ("", "host")];
    check_verdicts(&outcome, &table)?;
    same("written by the container", fs::read_to_string(writable.path().join("new"))?, "inside".to_owned())?;
    same("the host's file", fs::read_to_string(fixed.path().join("file"))?, "host".to_owned())
}

fn device_nodes(ctx: &Ctx) -> Result<()> {
    const KNOWN: [(&str, &str); 16] = [
        ("null", "c 1:3"),
        ("zero", "c 1:5"),
        ("full", "c 1:7"),
        ("random", "c 1:8"),
        ("urandom", "c 1:9"),
        ("tty", "c 5:0"),
        ("console", "c 136:0"),
        ("ptmx", "-> pts/ptmx"),
        ("fd", "-> /proc/self/fd"),
        ("stdin", "-> /proc/self/fd/0"),
        ("stdout", "-> /proc/self/fd/1"),
        ("stderr", "-> /proc/self/fd/2"),
        ("core", "-> /proc/kcore"),
        ("pts", "dir"),
        ("shm", "dir"),
        ("mqueue", "dir"),
    ];
    let report = ctx.report(ctx.case(&["report"])?)?;
    let seen = report["dev"].as_object().cloned().unwrap_or_default();
    for (name, what) in &seen {
        let fits = KNOWN.iter().any(|(known, kind)| known == name && what == kind);
        ensure!(fits, "/dev/{name} is {what}");
    }
    for name in ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "fd", "pts", "shm"] {
        ensure!(seen.contains_key(name), "there is no /dev/{name}");
    }
    let table = [
        ("open-rw /dev/null", "ok"),
        ("open-rw /dev/zero", "ok"),
        ("open-rw /dev/ptmx", "ok"),
        ("open /dev/urandom", "ok"),
        ("write /dev/full x", "ENOSPC"),
    ];
    expect_verdicts(ctx, |case| case, &table)
}

fn descriptors(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?)?;
    let fds: Vec<String> =
        report["fds"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default();
    for fd in &fds {
        ensure!(["0", "1", "2"].contains(&fd.as_str()), "descriptor {fd} is open: {}", report["fds"][fd]);
    }
    Ok(())
}

fn propagation(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let case = ctx.case(&["report"])?.mount(
        "/data",
        "bind",
        &dir.path().display().to_string(),
        &["rbind", "rprivate"],
    );
    let report = ctx.report(case)?;
    for line in report["mounts"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        ensure!(!line.contains(" shared:"), "a mount is shared: {line}");
    }
    Ok(())
}

fn pivoted(ctx: &Ctx) -> Result<()> {
    let table = [
        ("list /", "bin data dev etc home proc sys tmp"),
        ("list /..", "bin data dev etc home proc sys tmp"),
        ("list /proc/1/root", "bin data dev etc home proc sys tmp"),
        ("list /data", ""),
    ];
    expect_verdicts(ctx, |case| case, &table)?;
    let report = ctx.report(ctx.case(&["report"])?)?;
    same("working directory", text(&report, "/cwd")?, "/")
}

fn throw_away_layer(ctx: &Ctx) -> Result<()> {
    let name = format!("/etc/plimtest-{}", std::process::id());
    // Below none of the private places.
    let canary = tempfile::Builder::new().prefix(crate::spec::PREFIX).tempdir_in("/usr")?;
    let passed = canary.path().join("new").display().to_string();
    let passwd = fs::read("/etc/passwd")?;
    let words = [
        "/witness",
        "try",
        "create",
        &name,
        "y",
        "--",
        "create",
        &passed,
        "y",
        "--",
        "write",
        "/etc/passwd",
        "x",
        "--",
        "list",
        "/root",
        "--",
        "list",
        "/home",
        "--",
        "list",
        "/tmp",
    ];
    let outcome = ctx.plim_host(&[], &words)?;
    let leaked = fs::remove_file(&name).is_ok();
    let intact = fs::read("/etc/passwd")? == passwd;
    if !intact {
        fs::write("/etc/passwd", &passwd)?;
    }
    ensure!(!leaked && intact, "the container wrote to the host's /etc");
    ensure!(!canary.path().join("new").exists(), "the container wrote to the host's /usr");
    check_verdicts(&outcome, &[("", "ok"), ("", "ok"), ("", "ok"), ("", ""), ("", ""), ("", "")])
}
