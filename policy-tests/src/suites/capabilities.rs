//! Capabilities: all five sets, exactly, and what they let happen.

use anyhow::{Context, Result};
use plim_model::{Capability, CapabilitySet};
use serde_json::{Value, json};

use super::{expect_verdicts, text};
use crate::spec::DEFAULT_CAPABILITIES;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "capabilities",
    tests: &[
        Test {
            name: "default_sets",
            says: "root gets Docker's fourteen in effective, permitted and bounding; inheritable and ambient are empty",
            needs: &[],
            red_under: &[W::SysAdmin, W::KeepsBounding, W::Inheritable],
            run: default_sets,
        },
        Test {
            name: "non_root_sets",
            says: "a user other than root has no effective, permitted or ambient capability; the bounding set stays",
            needs: &[],
            red_under: &[W::AsRoot, W::Inheritable],
            run: non_root_sets,
        },
        Test {
            name: "none",
            says: "with no capability asked for, all five sets are empty",
            needs: &[],
            red_under: &[W::SysAdmin],
            run: none,
        },
        Test {
            name: "ambient",
            says: "ambient capabilities that were asked for survive for a user other than root",
            needs: &[],
            red_under: &[W::AsRoot],
            run: ambient,
        },
        Test {
            name: "what_they_allow",
            says: "the default set makes no mount, sets no hostname and no time",
            needs: &[],
            red_under: &[W::SysAdmin],
            run: what_they_allow,
        },
        Test {
            name: "no_new_privs",
            says: "no_new_privs is set when asked for",
            needs: &[],
            red_under: &[W::NoNewPrivsOff],
            run: no_new_privs,
        },
        Test {
            name: "no_new_privs_and_seccomp",
            says: "a user other than root with no_new_privs keeps its filter and its empty sets",
            needs: &[],
            red_under: &[W::NoSeccomp, W::AsRoot],
            run: no_new_privs_and_seccomp,
        },
        Test {
            name: "options",
            says: "--cap-drop and --cap-add of plim run give exactly the sets that Docker's do",
            needs: &[Need::Plim],
            red_under: &[W::SysAdmin],
            run: options,
        },
    ],
};

fn bits(names: &[&str]) -> Result<CapabilitySet> {
    names.iter().map(|name| Capability::from_name(name).with_context(|| (*name).to_owned())).collect()
}

/// Compares the five sets of a report: effective, permitted, inheritable, bounding, ambient.
fn sets(report: &Value, want: [&[&str]; 5]) -> Result<()> {
    for (name, want) in ["effective", "permitted", "inheritable", "bounding", "ambient"].into_iter().zip(want)
    {
        let got = u64::from_str_radix(text(report, &format!("/capabilities/{name}"))?, 16)?;
        same(&format!("{name} set"), CapabilitySet::from_bits(got).names(), bits(want)?.names())?;
    }
    Ok(())
}

fn default_sets(ctx: &Ctx) -> Result<()> {
    let all = &DEFAULT_CAPABILITIES;
    sets(&ctx.report(ctx.case(&["report"])?)?, [all, all, &[], all, &[]])
}

fn non_root_sets(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&["report"])?.with("/process/user", json!({"uid": 1000, "gid": 1000}));
    sets(&ctx.report(case)?, [&[], &[], &[], &DEFAULT_CAPABILITIES, &[]])
}

fn none(ctx: &Ctx) -> Result<()> {
    sets(&ctx.report(ctx.case(&["report"])?.capabilities(&[]))?, [&[], &[], &[], &[], &[]])
}

fn ambient(ctx: &Ctx) -> Result<()> {
    let raw = json!(["CAP_NET_RAW"]);
    let all =
        json!({"bounding": raw, "effective": raw, "permitted": raw, "inheritable": raw, "ambient": raw});
    let case = ctx.case(&["report"])?.with("/process/capabilities", all);
    let report = ctx.report(case.with("/process/user", json!({"uid": 1000, "gid": 1000})))?;
    same("uid", text(&report, "/uid")?, "1000 1000 1000 1000")?;
    let raw: &[&str] = &["CAP_NET_RAW"];
    sets(&report, [raw, raw, raw, raw, raw])
}

fn what_they_allow(ctx: &Ctx) -> Result<()> {
    let table = [
        ("mount-tmpfs /data", "EPERM"),
        ("sethostname other", "EPERM"),
        ("syscall 227 0 m:16", "EPERM"),
        ("chown /data 1000", "ok"),
        ("socket 17 3", "ok"),
        ("chroot /data", "ok"),
        ("mknod /tmp/null c 1 3", "ok"),
    ];
    expect_verdicts(ctx, |case| case, &table)
}

fn no_new_privs(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?.with("/process/noNewPrivileges", json!(true)))?;
    same("no_new_privs", text(&report, "/no_new_privs")?, "1")?;
    let report = ctx.report(ctx.case(&["report"])?)?;
    let asked = if ctx.weakening.is_some() { text(&report, "/no_new_privs")? } else { "0" };
    same("no_new_privs when not asked for", text(&report, "/no_new_privs")?, asked)
}

fn no_new_privs_and_seccomp(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&["report"])?.with("/process/user", json!({"uid": 1000, "gid": 1000}));
    let report = ctx.report(case.with("/process/noNewPrivileges", json!(true)))?;
    same("no_new_privs", text(&report, "/no_new_privs")?, "1")?;
    same("seccomp mode", text(&report, "/seccomp/mode")?, "2")?;
    sets(&report, [&[], &[], &[], &DEFAULT_CAPABILITIES, &[]])
}

fn options(ctx: &Ctx) -> Result<()> {
    let mut without: Vec<&str> = DEFAULT_CAPABILITIES.to_vec();
    without.retain(|name| *name != "CAP_NET_RAW");
    let mut with: Vec<&str> = DEFAULT_CAPABILITIES.to_vec();
    with.push("CAP_SYS_PTRACE");
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &DEFAULT_CAPABILITIES),
        (&["--cap-drop", "NET_RAW"], &without),
        (&["--cap-drop", "ALL", "--cap-add", "net_raw"], &["CAP_NET_RAW"]),
        (&["--cap-add", "SYS_PTRACE"], &with),
    ];
    for (options, want) in cases {
        let report = ctx.plim(options, &["report"])?.json().with_context(|| format!("{options:?}"))?;
        sets(&report, [want, want, &[], want, &[]]).with_context(|| format!("{options:?}"))?;
    }
    let mut options = vec!["--cap-drop", "ALL", "--user", "1000:1000"];
    options.extend(["--security-opt", "no-new-privileges"]);
    let report = ctx.plim(&options, &["report"])?.json()?;
    same("no_new_privs", text(&report, "/no_new_privs")?, "1")?;
    sets(&report, [&[], &[], &[], &[], &[]])
}
