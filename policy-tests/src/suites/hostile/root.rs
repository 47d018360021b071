//! What the default root file system shows of the host, and what its programs can do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::suites::{check_verdicts, text};
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "root_only_files",
            says: "a file of the host that not everyone may read cannot be read, changed, linked, moved or made readable",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::HostsOwnFiles],
            run: root_only_files,
        },
        Test {
            name: "directories_of_data",
            says: "directories of the host that hold data and not programs start empty, whatever their names",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::HostsOwnFiles],
            run: directories_of_data,
        },
        Test {
            name: "set_uid_program",
            says: "a set-uid or set-gid program of the host, and one with file capabilities, gains a user in the container nothing",
            needs: &[Need::Plim, Need::Root],
            red_under: &[W::HostsOwnFiles],
            run: set_uid_program,
        },
        Test {
            name: "full_layer",
            says: "the layer that is thrown away has a size and a number of files: then writes are ENOSPC",
            needs: &[Need::Plim],
            red_under: &[W::LargeLayer],
            run: full_layer,
        },
        Test {
            name: "layer_is_charged",
            says: "what is written to the layer counts as the container's memory",
            needs: &[Need::Plim, Need::Root, Need::Controller("memory")],
            red_under: &[W::NoMemory],
            run: layer_is_charged,
        },
    ],
};

/// A directory of the host, removed at the end. Each is in a place that containers see, or would see.
fn below(parent: &str) -> Result<TempDir> {
    let dir =
        tempfile::Builder::new().prefix(crate::spec::PREFIX).tempdir_in(parent).context(parent.to_owned())?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

fn file(path: &Path, content: &str, mode: u32, owner: u32, group: u32) -> Result<String> {
    fs::write(path, content)?;
    chown(path, Some(owner), Some(group))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(path.display().to_string())
}

/// Calls of the witness, each with the verdict that is expected.
fn expect(ctx: &Ctx, options: &[&str], table: &[(String, &str)]) -> Result<()> {
    let mut words = vec!["/witness", "try"];
    for (index, (call, _)) in table.iter().enumerate() {
        if index > 0 {
            words.push("--");
        }
        words.extend(call.split(' '));
    }
    let outcome = ctx.plim_host(options, &words)?;
    let wanted: Vec<(&str, &str)> = table.iter().map(|(call, want)| (call.as_str(), *want)).collect();
    check_verdicts(&outcome, &wanted).with_context(|| format!("options {options:?}"))
}

fn root_only_files(ctx: &Ctx) -> Result<()> {
    // In /etc and below /usr, of root and of others, readable by the owner or by a group, alone or below a directory.
    let (etc, usr) = (below("/etc")?, below("/usr")?);
    let mut table = Vec::new();
    for dir in [etc.path(), usr.path()] {
        let key = file(&dir.join("key"), "secret", 0o600, 0, 0)?;
        let grouped = file(&dir.join("grouped"), "secret", 0o640, 0, 42)?;
        let others = file(&dir.join("others"), "secret", 0o600, 1000, 1000)?;
        let public = file(&dir.join("public"), "public", 0o644, 0, 0)?;
        fs::create_dir(dir.join("closed"))?;
        file(&dir.join("closed/key"), "secret", 0o644, 0, 0)?;
        fs::set_permissions(dir.join("closed"), fs::Permissions::from_mode(0o700))?;
        let closed = dir.join("closed").display().to_string();
        for secret in [&key, &grouped, &others] {
            for call in
                ["read SECRET", "open-rw SECRET", "write SECRET x", "chmod SECRET 0644", "read SECRET"]
            {
                table.push((call.replace("SECRET", secret), "EACCES"));
            }
            table.push((format!("copy {secret} /tmp/copy"), "EACCES"));
        }
        for call in [format!("list {closed}"), format!("read {closed}/key"), format!("create {closed}/new x")]
        {
            table.push((call, "EACCES"));
        }
        table.push((format!("read {public}"), "public"));
        table.push((format!("write {public} changed"), "ok"));
        // The name is free to be used for something else.
        table.push((format!("unlink {key}"), "ok"));
        table.push((format!("create {key} own"), "ok"));
        table.push((format!("read {key}"), "own"));
    }
    for options in [&[][..], &["--cap-add", "ALL"], &["--privileged"], &["--read-only", "--tmpfs", "/tmp"]] {
        if options.first() == Some(&"--read-only") {
            let reads = table.iter().filter(|(call, _)| call.starts_with("read") && !call.ends_with("/key"));
            expect(ctx, options, &reads.cloned().collect::<Vec<_>>())?;
        } else {
            expect(ctx, options, &table)?;
        }
    }
    for path in ["/etc/shadow", "/etc/gshadow"].into_iter().filter(|path| Path::new(path).exists()) {
        if fs::metadata(path)?.permissions().mode() & 0o4 == 0 {
            expect(ctx, &[], &[(format!("open {path}"), "EACCES")])?;
        }
    }
    for dir in [etc.path(), usr.path()] {
        same("the host's file", fs::read_to_string(dir.join("key"))?, "secret".to_owned())?;
        same("the host's file", fs::read_to_string(dir.join("public"))?, "public".to_owned())?;
    }
    Ok(())
}

fn directories_of_data(ctx: &Ctx) -> Result<()> {
    // The second is nobody's business by its name alone.
    let mut made = vec![below("/")?, below("/var")?];
    let mut private: Vec<PathBuf> = made.iter().map(|dir| dir.path().to_owned()).collect();
    for parent in ["/opt", "/srv", "/mnt", "/boot", "/home", "/var/log", "/var/tmp", "/var/spool"] {
        if Path::new(parent).is_dir() {
            made.push(below(parent)?);
            private.push(parent.into());
        }
    }
    for dir in &made {
        file(&dir.path().join("data"), "of the host", 0o644, 0, 0)?;
    }
    let mut table = Vec::new();
    for directory in &private {
        let directory = directory.display();
        table.push((format!("list {directory}"), ""));
        table.push((format!("create {directory}/own x"), "ok"));
        table.push((format!("read {directory}/own"), "x"));
    }
    expect(ctx, &[], &table)?;
    // And what was asked for is there.
    let shown = made[0].path().display().to_string();
    expect(ctx, &["-v", &format!("{shown}:{shown}:ro")], &[(format!("read {shown}/data"), "of the host")])?;
    for dir in &made {
        same("files in the host's directory", fs::read_dir(dir.path())?.count(), 1)?;
    }
    Ok(())
}

fn set_uid_program(ctx: &Ctx) -> Result<()> {
    let dir = below("/usr")?;
    let program = |name: &str, mode: u32| -> Result<String> {
        let path = dir.path().join(name);
        fs::copy(ctx.witness(), &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(path.display().to_string())
    };
    let (set_uid, capable) = (program("set-uid", 0o6755)?, program("capable", 0o755)?);
    // Version 2, effective, CAP_CHOWN and CAP_SETUID (capabilities(7), "File capability extended attribute versioning").
    let value: String = [0x0200_0001_u32, 1 | 1 << 7, 0, 0, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let set = crate::process::must(std::process::Command::new(ctx.witness()).args([
        "try",
        "setxattr",
        &capable,
        "security.capability",
        &value,
    ]))?;
    ensure!(set.contains("\"ok\""), "cannot set file capabilities: {set}");
    for path in [&set_uid, &capable] {
        let outcome = ctx.plim_host(&["--user", "1000:1000"], &[path, "report"])?;
        let report = outcome.json()?;
        for field in ["/uid", "/gid"] {
            same(path, text(&report, field)?, "1000 1000 1000 1000")?;
        }
        same("effective capabilities", text(&report, "/capabilities/effective")?, "0000000000000000")?;
    }
    Ok(())
}

fn full_layer(ctx: &Ctx) -> Result<()> {
    const FILL: &str = "dd if=/dev/zero of=/etc/fill bs=64k count=64 2>/dev/null; wc -c </etc/fill; \
        i=0; while [ $i -lt 5000 ] && true 2>/dev/null >/etc/plimtest-$i; do i=$((i + 1)); done; echo $i";
    let outcome = ctx.plim_host(&["--storage-opt", "size=1m"], &["sh", "-c", FILL])?;
    let numbers: Vec<u64> = outcome.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [bytes, files] = numbers[..] else { anyhow::bail!("two numbers expected: {outcome:?}") };
    ensure!(bytes > 0 && bytes <= 1 << 20, "{bytes} bytes were written to a layer of 1 MiB");
    ensure!(files > 0 && files < 5000, "{files} files were made in a layer of 1 MiB");
    // The default: a gibibyte, or less.
    let outcome = ctx.plim_host(&[], &["sh", "-c", "stat -f -c '%b %S' /tmp"])?;
    let numbers: Vec<u64> = outcome.stdout.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [blocks, size] = numbers[..] else { anyhow::bail!("two numbers expected: {outcome:?}") };
    ensure!(blocks * size <= 1 << 30, "the layer takes {blocks} blocks of {size} bytes");
    Ok(())
}

fn layer_is_charged(ctx: &Ctx) -> Result<()> {
    // More than the limit fits into the layer: the container is ended, and not the host's memory used.
    let options = ["--storage-opt", "size=64m", "-m", "16m"];
    let outcome = ctx.plim_host(&options, &["dd", "if=/dev/zero", "of=/etc/fill", "bs=1M", "count=40"])?;
    same("status", outcome.code, 137)
}
