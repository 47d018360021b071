//! Root file systems and configs that try to trick the launcher. Refusing to start is always right; starting with less
//! confinement, touching the host, or handing out the launcher is always wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Canary;
use crate::launcher::Engine;
use crate::{Case, Ctx, Need, Outcome, Suite, Test, Weakening as W, cli};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "symlinked_mount_points",
            says: "/proc or /sys as a symlink redirects no mount: refused, or confined as always",
            needs: &[],
            red_under: &[W::NoMasks],
            run: symlinked_mount_points,
        },
        Test {
            name: "symlinked_dev",
            says: "/dev as a symlink redirects no mount and no node",
            // runc 1.1.5 makes /dev/fd, stdin, stdout, stderr and ptmx through such a link, in the host's directory.
            needs: &[Need::Plim],
            red_under: &[W::FollowsLinks],
            run: symlinked_dev,
        },
        Test {
            name: "symlink_to_the_host",
            says: "a volume's target below a symlink out of the root lands inside it, and the host's directory is untouched",
            needs: &[],
            red_under: &[W::FollowsLinks],
            run: symlink_to_the_host,
        },
        Test {
            name: "masked_symlink",
            says: "a masked path that is a symlink hides what it points to, in the container and nowhere else",
            needs: &[],
            red_under: &[W::NoMasks],
            run: masked_symlink,
        },
        Test {
            name: "false_dev_null",
            says: "masking does not bind whatever the image put at /dev/null (CVE-2025-31133)",
            needs: &[Need::Plim],
            red_under: &[W::FollowsLinks],
            run: false_dev_null,
        },
        Test {
            name: "false_dev_console",
            says: "a symlink at /dev/console redirects no pseudo-terminal (CVE-2025-52565)",
            needs: &[Need::Plim],
            red_under: &[W::FollowsLinks],
            run: false_dev_console,
        },
        Test {
            name: "false_device_nodes",
            says: "device nodes that the image holds are not used: the device cgroup refuses them",
            needs: &[],
            red_under: &[W::NoDeviceRules],
            run: false_device_nodes,
        },
        Test {
            name: "working_directory_by_descriptor",
            says: "a working directory of /proc/self/fd/N does not lead to the host (CVE-2024-21626)",
            needs: &[],
            red_under: &[W::HostDirectory],
            run: working_directory_by_descriptor,
        },
        Test {
            name: "working_directory_symlink",
            says: "a working directory below a symlink out of the root stays inside",
            needs: &[],
            red_under: &[W::FollowsLinks],
            run: working_directory_symlink,
        },
        Test {
            name: "launchers_binary",
            says: "/proc/self/exe as the command, or in a script's first line, neither runs nor writes the launcher (CVE-2019-5736)",
            needs: &[],
            red_under: &[W::HostPid],
            run: launchers_binary,
        },
        Test {
            name: "false_passwd",
            says: "/etc/passwd as a symlink or without an end redirects no lookup to the host",
            needs: &[Need::Plim],
            red_under: &[W::AsRoot],
            run: false_passwd,
        },
        Test {
            name: "looping_root",
            says: "a root file system that is a loop of symlinks is one clear error, status 125",
            needs: &[Need::Plim],
            red_under: &[W::SilentFailure],
            run: looping_root,
        },
    ],
};

fn replace_by_link(case: &Case, name: &str, target: &str) -> Result<()> {
    let path = case.rootfs.join(name);
    let _ = fs::remove_dir_all(&path);
    symlink(target, &path).with_context(|| format!("linking {name}"))
}

/// Confined: not started at all, or nothing masked can be read and nothing read-only written.
fn confined(outcome: &Outcome) -> Result<()> {
    if outcome.code != 0 {
        ensure!(!outcome.stderr.is_empty(), "refused with status {} and without a word", outcome.code);
        return Ok(());
    }
    let report = outcome.json()?;
    for (path, seen) in report["masked"].as_object().into_iter().flatten() {
        let masked = crate::spec::MASKED.contains(&path.as_str());
        ensure!(!masked || seen != "open", "{path} can be read");
    }
    let mounts = report["mounts"].as_array().cloned().unwrap_or_default();
    let proc = mounts.iter().filter_map(|line| line.as_str()).any(|line| line.contains(" /proc "));
    ensure!(proc, "there is no proc at /proc");
    Ok(())
}

fn symlinked_mount_points(ctx: &Ctx) -> Result<()> {
    // Without any trick first, so that the check itself is tested.
    confined(&ctx.witness_run(&["report"])?)?;
    replaced_by_links(ctx, &["proc", "sys"])
}

fn symlinked_dev(ctx: &Ctx) -> Result<()> {
    replaced_by_links(ctx, &["dev"])
}

fn replaced_by_links(ctx: &Ctx, names: &[&str]) -> Result<()> {
    let canary = Canary::new()?;
    let host = canary.path().display().to_string();
    for name in names {
        for target in ["/data", "data", &host, "/", "/nowhere", "/proc/self/root", *name] {
            let case = ctx.case(&["report"])?;
            replace_by_link(&case, name, target)?;
            let outcome = ctx.run(case)?;
            confined(&outcome).with_context(|| format!("/{name} -> {target}"))?;
            canary.untouched().with_context(|| format!("/{name} -> {target}"))?;
        }
    }
    Ok(())
}

fn symlink_to_the_host(ctx: &Ctx) -> Result<()> {
    let (canary, volume) = (Canary::new()?, tempfile::tempdir()?);
    let host = canary.path().display().to_string();
    let climbing = format!("../../../../../../../../..{host}");
    for target in [host.as_str(), &climbing] {
        for inner in ["/data/link", "/data/link/inner", "/data/link/../link/deep/er"] {
            let case = ctx.case(&["try", "create", &format!("{inner}/x"), "y"])?;
            symlink(target, case.rootfs.join("data/link"))?;
            let source = volume.path().display().to_string();
            let case = case.mount(inner, "bind", &source, &["rbind", "rprivate", "rw"]);
            let outcome = ctx.run(case)?;
            ensure!(outcome.code == 0 || !outcome.stderr.is_empty(), "refused without a word");
            canary.untouched().with_context(|| format!("{inner} with link -> {target}"))?;
        }
    }
    Ok(())
}

fn masked_symlink(ctx: &Ctx) -> Result<()> {
    let canary = Canary::new()?;
    let host = canary.path().join("secret").display().to_string();
    for (link, target, hidden) in [
        ("data/mask", "/home/secret", "/home/secret"),
        ("data/mask", "../home/secret", "/home/secret"),
        ("data/mask", host.as_str(), "/data/mask"),
    ] {
        let case = ctx.case(&["try", "look", "/data/mask", "--", "look", hidden])?;
        fs::write(case.rootfs.join("home/secret"), "of the container")?;
        symlink(target, case.rootfs.join(link))?;
        let mut masked: Vec<&str> = crate::spec::MASKED.to_vec();
        masked.push("/data/mask");
        let outcome = ctx.run(case.with("/linux/maskedPaths", json!(masked)))?;
        if outcome.code == 0 {
            for (call, seen) in outcome.verdicts()? {
                ensure!(seen != "open", "{call} with mask -> {target}: it can be read");
            }
        }
        canary.untouched()?;
    }
    Ok(())
}

/// A case without the tmpfs on /dev, so that the image's own /dev counts.
fn without_dev(mut case: Case) -> Case {
    if let Some(mounts) = case.spec["mounts"].as_array_mut() {
        mounts.retain(|mount| mount["destination"] != "/dev");
    }
    case
}

/// Not started, and for the reason that is tested: a case that fails at something else would test nothing.
fn refused_for(outcome: &Outcome, path: &str) -> Result<()> {
    ensure!(outcome.stderr.contains(path), "refused, and not for {path}: {outcome:?}");
    Ok(())
}

fn false_dev_null(ctx: &Ctx) -> Result<()> {
    for target in ["/proc/sys/kernel/core_pattern", "/data/evil", "/proc/sysrq-trigger"] {
        let words = [
            "try",
            "look",
            "/data/mask",
            "--",
            "open-rw",
            "/data/mask",
            "--",
            "write",
            "/proc/sys/kernel/domainname",
            "x",
        ];
        let case = without_dev(ctx.case(&words)?);
        fs::write(case.rootfs.join("data/evil"), "readable")?;
        fs::write(case.rootfs.join("data/mask"), "readable")?;
        symlink(target, case.rootfs.join("dev/null"))?;
        let outcome = ctx.run(case.with("/linux/maskedPaths", json!(["/data/mask", "/proc/kcore"])))?;
        if outcome.code == 0 {
            let verdicts = outcome.verdicts()?;
            ensure!(verdicts[0].1 == "empty", "the masked path shows {target}");
            ensure!(verdicts[2].1 == "EROFS", "/proc/sys is writable with /dev/null -> {target}");
        } else {
            refused_for(&outcome, "/dev/null")?;
        }
    }
    Ok(())
}

fn false_dev_console(ctx: &Ctx) -> Result<()> {
    let canary = Canary::new()?;
    let host = canary.path().join("secret").display().to_string();
    for target in ["/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/data/evil", &host] {
        let case = without_dev(ctx.case(&["report"])?).with("/process/terminal", json!(true));
        fs::write(case.rootfs.join("data/evil"), "")?;
        symlink(target, case.rootfs.join("dev/console"))?;
        let outcome = ctx.run(case)?;
        if outcome.code == 0 {
            let report = outcome.json()?;
            for line in report["mounts"].as_array().into_iter().flatten().filter_map(|line| line.as_str()) {
                let devpts = line.contains(" - devpts ");
                let point = line.split(' ').nth(4).unwrap_or_default();
                ensure!(!devpts || point.starts_with("/dev/"), "the terminal is mounted at {point}");
            }
        } else {
            refused_for(&outcome, "/dev/console")?;
        }
        canary.untouched()?;
    }
    Ok(())
}

fn false_device_nodes(ctx: &Ctx) -> Result<()> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let mut names = crate::spec::DEFAULT_CAPABILITIES.to_vec();
    names.push("CAP_SYSLOG");
    let case = ctx.case(&["try", "open", "/data/kmsg", "--", "open-rw", "/data/null"])?.capabilities(&names);
    let mode = Mode::from_bits_truncate(0o666);
    mknod(&case.rootfs.join("data/kmsg"), SFlag::S_IFCHR, mode, makedev(1, 11))?;
    mknod(&case.rootfs.join("data/null"), SFlag::S_IFCHR, mode, makedev(1, 3))?;
    crate::suites::check_verdicts(&ctx.run(case)?, &[("", "EPERM|EACCES"), ("", "ok|EACCES")])
}

fn working_directory_by_descriptor(ctx: &Ctx) -> Result<()> {
    let mut host: Vec<String> =
        fs::read_dir("/")?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    host.sort();
    for fd in 3..14 {
        for form in
            [format!("/proc/self/fd/{fd}"), format!("/proc/1/fd/{fd}"), format!("/proc/self/fd/{fd}/..")]
        {
            let case = ctx.case(&[
                "try",
                "list",
                ".",
                "--",
                "list",
                "../../../..",
                "--",
                "readlink",
                "/proc/self/cwd",
            ])?;
            let outcome = ctx.run(case.with("/process/cwd", json!(form)))?;
            if outcome.code == 0 {
                for (call, seen) in outcome.verdicts()? {
                    ensure!(seen != host.join(" "), "cwd {form}: {call} shows the host's root");
                }
            }
        }
    }
    Ok(())
}

fn working_directory_symlink(ctx: &Ctx) -> Result<()> {
    let canary = Canary::new()?;
    let case = ctx.case(&["try", "look", "secret", "--", "list", "/data/home"])?;
    symlink(canary.path(), case.rootfs.join("home/away"))?;
    let outcome = ctx.run(case.with("/process/cwd", json!("/home/away")))?;
    canary.untouched()?;
    if outcome.code == 0 {
        let verdicts = outcome.verdicts()?;
        ensure!(verdicts[0].1 == "absent", "the host's file is in the working directory");
        ensure!(verdicts[1].1 == "ENOENT", "the host's /home is within reach: {}", verdicts[1].1);
        return Ok(());
    }
    refused_for(&outcome, "/home/away")
}

fn launcher_file(ctx: &Ctx) -> Result<PathBuf> {
    match ctx.engine {
        Engine::Plim => Ok(ctx.bin.join("plim-run")),
        Engine::Runc => cli::which("runc").context("runc"),
    }
}

fn launchers_binary(ctx: &Ctx) -> Result<()> {
    let file = launcher_file(ctx)?;
    let before = (fs::read(&file)?, fs::metadata(&file)?.modified()?);
    let unchanged = || -> Result<()> {
        ensure!(fs::read(&file)? == before.0, "{} was written", file.display());
        ensure!(fs::metadata(&file)?.modified()? == before.1, "{} was touched", file.display());
        Ok(())
    };
    for args in [json!(["/proc/self/exe", "report"]), json!(["/bin/evil"]), json!(["/proc/1/exe", "report"])]
    {
        let case = ctx.case(&[])?.with("/process/args", args.clone());
        let script = case.rootfs.join("bin/evil");
        fs::write(&script, "#!/proc/self/exe report\n")?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let outcome = ctx.run(case)?;
        unchanged()?;
        let said = outcome.stdout.to_lowercase();
        ensure!(!said.contains("usage") && !said.contains("plim run"), "{args} ran the launcher: {said}");
    }
    // Nothing of the launcher can be opened for writing from inside, by any process directory that is there.
    let words =
        ["try", "readlink", "/proc/1/exe", "--", "open-rw", "/proc/1/exe", "--", "open-rw", "/proc/self/exe"];
    crate::suites::check_verdicts(
        &ctx.witness_run(&words)?,
        &[("", "/bin/witness"), ("", "ETXTBSY"), ("", "ETXTBSY")],
    )?;
    unchanged()
}

fn false_passwd(ctx: &Ctx) -> Result<()> {
    let canary = Canary::new()?;
    fs::write(canary.path().join("secret"), "of the host")?;
    let passwd = tempfile::NamedTempFile::with_prefix("plimtest-passwd-")?;
    fs::write(passwd.path(), "user:x:0:0::/:/bin/sh\n")?;
    for target in [
        passwd.path().display().to_string(),
        "/dev/zero".to_owned(),
        "/etc/passwd".to_owned(),
        "/proc/self/environ".to_owned(),
    ] {
        let case = ctx.case(&[])?;
        fs::remove_file(case.rootfs.join("etc/passwd"))?;
        symlink(&target, case.rootfs.join("etc/passwd"))?;
        let rootfs = case.rootfs.clone();
        let outcome = ctx.plim_start_in(case, &rootfs, &["--user", "user"], &["report"])?.finish()?;
        ensure!(
            outcome.code == 125,
            "/etc/passwd -> {target}: status {} and not 125: {outcome:?}",
            outcome.code
        );
    }
    canary.untouched()
}

fn looping_root(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&["exit", "0"])?;
    symlink("b", case.dir.path().join("a"))?;
    symlink("a", case.dir.path().join("b"))?;
    let outcome = ctx.run(case.with("/root/path", json!("a")))?;
    ensure!(outcome.code == 125, "status {} and not 125", outcome.code);
    ensure!(
        outcome.stderr.contains("ELOOP") || outcome.stderr.contains("symbolic links"),
        "{}",
        outcome.stderr
    );
    Ok(())
}
