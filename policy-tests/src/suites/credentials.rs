//! Who the command runs as and what it is given: ids, limits, environment, working directory, sysctls.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{expect_verdicts, text};
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "credentials",
    tests: &[
        Test {
            name: "ids",
            says: "uid, gid, supplementary groups and umask are exactly those asked for",
            needs: &[],
            red_under: &[W::AsRoot],
            run: ids,
        },
        Test {
            name: "no_way_back",
            says: "a user other than root cannot become root or write root's files",
            needs: &[],
            red_under: &[W::AsRoot],
            run: no_way_back,
        },
        Test {
            name: "rlimits",
            says: "resource limits are exactly those asked for",
            needs: &[],
            red_under: &[W::NoRlimits],
            run: rlimits,
        },
        Test {
            name: "environment",
            says: "nothing of the launcher's environment is handed on; the working directory is the one asked for",
            needs: &[],
            red_under: &[W::LeaksEnvironment],
            run: environment,
        },
        Test {
            name: "sysctl",
            says: "a sysctl of the container's namespaces is set there and not on the host",
            needs: &[],
            red_under: &[W::NoSysctl],
            run: sysctl,
        },
        Test {
            name: "user_by_name",
            says: "--user takes a name from the container's own /etc/passwd, with its groups",
            needs: &[Need::Plim],
            red_under: &[W::AsRoot],
            run: user_by_name,
        },
    ],
};

fn ids(ctx: &Ctx) -> Result<()> {
    let user = json!({"uid": 1000, "gid": 1001, "additionalGids": [2000, 2001], "umask": 63});
    let report = ctx.report(ctx.case(&["report"])?.with("/process/user", user))?;
    same("uid", text(&report, "/uid")?, "1000 1000 1000 1000")?;
    same("gid", text(&report, "/gid")?, "1001 1001 1001 1001")?;
    let groups: Vec<&str> = text(&report, "/groups")?.split(' ').filter(|group| *group != "1001").collect();
    same("groups", groups, vec!["2000", "2001"])?;
    same("umask", text(&report, "/umask")?, "0077")
}

fn no_way_back(ctx: &Ctx) -> Result<()> {
    let user = json!({"uid": 1000, "gid": 1000});
    let table = [
        ("setuid 0", "EPERM"),
        ("write /etc/passwd x", "EACCES"),
        ("chown /tmp 1000", "EPERM"),
        ("socket 17 3", "EPERM"),
    ];
    expect_verdicts(ctx, |case| case.with("/process/user", user), &table)
}

fn rlimits(ctx: &Ctx) -> Result<()> {
    let limits = json!([
        {"type": "RLIMIT_NOFILE", "soft": 200, "hard": 300},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}
    ]);
    for uid in [0, 1000] {
        let case = ctx.case(&["report"])?.with("/process/rlimits", limits.clone());
        let report = ctx.report(case.with("/process/user", json!({"uid": uid, "gid": uid})))?;
        let found = text(&report, "/limits")?;
        let row = |name: &str| -> Vec<String> {
            let line = found.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().take(2).map(str::to_owned).collect()
        };
        same(
            &format!("open files of user {uid}"),
            row("Max open files"),
            vec!["200".to_owned(), "300".to_owned()],
        )?;
        same(
            &format!("core file size of user {uid}"),
            row("Max core file size"),
            vec!["0".to_owned(), "0".to_owned()],
        )?;
    }
    Ok(())
}

fn environment(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&["report"])?.with("/process/cwd", json!("/data/deep"));
    let mut env = case.spec["process"]["env"].clone();
    if let Some(list) = env.as_array_mut() {
        list.push(json!("PLIM_X=a b=c"));
    }
    let report = ctx.report(case.with("/process/env", env))?;
    let seen = report["env"].as_object().cloned().unwrap_or_default();
    for name in seen.keys() {
        // Docker and runc set HOME when it is not given.
        ensure!(["PATH", "HOME", "PLIM_TEST_TAG", "PLIM_X"].contains(&name.as_str()), "{name} was handed on");
    }
    same("a value with spaces and signs", seen.get("PLIM_X").cloned(), Some(json!("a b=c")))?;
    same("working directory, made when missing", text(&report, "/cwd")?, "/data/deep")
}

fn sysctl(ctx: &Ctx) -> Result<()> {
    let before = std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced")?;
    let other = if before.trim() == "1" { "0" } else { "1" };
    let wanted = json!({"kernel.shm_rmid_forced": other, "net.ipv4.ip_unprivileged_port_start": "81"});
    let table = [
        ("read /proc/sys/kernel/shm_rmid_forced", other),
        ("read /proc/sys/net/ipv4/ip_unprivileged_port_start", "81"),
    ];
    expect_verdicts(ctx, |case| case.with("/linux/sysctl", wanted), &table)?;
    same("the host's own", std::fs::read_to_string("/proc/sys/kernel/shm_rmid_forced")?, before)
}

fn user_by_name(ctx: &Ctx) -> Result<()> {
    let report = ctx.plim(&["--user", "user"], &["report"])?.json()?;
    same("uid", text(&report, "/uid")?, "1000 1000 1000 1000")?;
    same("gid", text(&report, "/gid")?, "1000 1000 1000 1000")?;
    ensure!(
        text(&report, "/groups")?.split(' ').any(|group| group == "2000"),
        "the group of /etc/group is missing"
    );
    let refused = ctx.plim(&["--user", "nobody-here"], &["report"])?;
    same("status for a user that is not there", refused.code, 125)
}
