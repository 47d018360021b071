//! `plim diff`: one changed option is one change, and nothing else is.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::inspect::held;
use crate::{Ctx, Need, Running, Suite, Test, Weakening as W, same};

const NEEDS: &[Need] = &[Need::Plim, Need::Built("plim-diff"), Need::Built("plim-inspect")];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "diff",
    tests: &[
        Test {
            name: "same",
            says: "two containers of the same options are the same, also as text: status 0",
            needs: NEEDS,
            red_under: &[W::DiffElsewhere],
            run: same_containers,
        },
        Test {
            name: "one_option",
            says: "a changed capability, limit, namespace or filter is told in its area alone: status 1",
            needs: NEEDS,
            red_under: &[W::DiffBlind],
            run: one_option,
        },
        Test {
            name: "profiles",
            says: "docker-default against tcpdump differs in socket alone, on each table",
            needs: &[Need::Plim, Need::Built("plim-diff")],
            red_under: &[W::DiffBlind],
            run: profiles,
        },
        Test {
            name: "snapshot_file",
            says: "a container equals its own saved snapshot",
            needs: NEEDS,
            red_under: &[W::DiffElsewhere],
            run: snapshot_file,
        },
        Test {
            name: "bad_input",
            says: "a file that is neither snapshot nor profile is one clear error, status 2",
            needs: &[Need::Plim, Need::Built("plim-diff")],
            red_under: &[W::SilentFailure],
            run: bad_input,
        },
    ],
};

/// The changes between two targets; the exit status must tell the same as `.same`.
///
/// # Errors
/// When the tool fails.
pub fn changes(ctx: &Ctx, a: &str, b: &str) -> Result<Vec<Value>> {
    let outcome = ctx.tool("plim-diff", &["--format", "json", a, b])?;
    let diff: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    super::first_format(&diff)?;
    let is_same = diff["same"].as_bool().context("no .same")?;
    same("exit status", outcome.code, i32::from(!is_same))?;
    let changes = diff["changes"].as_array().cloned().context("no .changes")?;
    same("same means no changes", is_same, changes.is_empty())?;
    for change in &changes {
        for key in ["area", "path", "before", "after"] {
            ensure!(change.get(key).is_some(), "a change without {key}: {change}");
        }
    }
    Ok(changes)
}

/// A container in the same root file system as another.
fn held_beside(ctx: &Ctx, other: &Running, options: &[&str]) -> Result<Running> {
    let mut running = ctx.plim_start_in(ctx.case(&[])?, &other.case.rootfs, options, &["hold", "30"])?;
    running.wait_for("ready")?;
    Ok(running)
}

fn same_containers(ctx: &Ctx) -> Result<()> {
    let a = held(ctx, &[])?;
    let b = held_beside(ctx, &a, &[])?;
    let (a, b) = (format!("plim:{}", a.case.tag), format!("plim:{}", b.case.tag));
    same("changes", changes(ctx, &a, &b)?, vec![])?;
    // The text does not decide, and must not tell of differences where there is none.
    let text = ctx.tool("plim-diff", &["--format", "unified", &a, &b])?;
    same("the unified text", text.stdout, String::new())
}

fn one_option(ctx: &Ctx) -> Result<()> {
    let base = held(ctx, &["-m", "64m"])?;
    let cases: [(&[&str], &str, usize); 6] = [
        (&["-m", "64m", "--cap-drop", "NET_RAW"], "capabilities", 3),
        (&["-m", "96m"], "cgroups", 1),
        (&["-m", "64m", "--pids-limit", "50"], "cgroups", 1),
        (&["-m", "64m", "--network", "host"], "namespaces", 1),
        (&["-m", "64m", "--ulimit", "nofile=200:300"], "rlimits", 1),
        (&["-m", "64m", "--security-opt", "seccomp=preset:tcpdump"], "seccomp", 1),
    ];
    for (options, area, least) in cases {
        let other = held_beside(ctx, &base, options)?;
        let found = changes(ctx, &format!("plim:{}", base.case.tag), &format!("plim:{}", other.case.tag))
            .with_context(|| format!("{options:?}"))?;
        ensure!(found.len() >= least, "{options:?}: {} changes: {found:?}", found.len());
        for change in &found {
            // The host's network brings its own sysctls and its sysfs along.
            let side =
                area == "namespaces" && ["sysctls", "mounts"].iter().any(|one| change["area"] == **one);
            ensure!(change["area"] == area || side, "{options:?} shows as {change}");
        }
    }
    Ok(())
}

fn profiles(ctx: &Ctx) -> Result<()> {
    let found = changes(ctx, "preset:docker-default", "preset:tcpdump")?;
    ensure!(!found.is_empty(), "no change");
    for change in &found {
        same("area", change["area"].clone(), json!("seccomp"))?;
        same("syscall", change["syscall"].clone(), json!("socket"))?;
        same("after", change["after"].clone(), json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}))?;
    }
    let native = found.iter().any(|change| change["arch"] == "SCMP_ARCH_X86_64" && change["number"] == 41);
    ensure!(native, "no change for x86-64's socket, 41: {found:?}");
    same("a profile against itself", changes(ctx, "preset:tcpdump", "preset:tcpdump")?, vec![])
}

fn snapshot_file(ctx: &Ctx) -> Result<()> {
    let running = held(ctx, &["-m", "64m"])?;
    let target = format!("plim:{}", running.case.tag);
    let file = running.case.dir.path().join("saved.json").display().to_string();
    let saved = ctx.tool("plim-inspect", &["--format", "json", "-o", &file, &target])?;
    same("status", saved.code, 0)?;
    same("changes", changes(ctx, &file, &target)?, vec![])
}

fn bad_input(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("bad.json");
    for text in [
        "",
        "not json",
        "[]",
        "{\"format\": \"9.0\", \"target\": {}}",
        "{\"defaultAction\": \"SCMP_ACT_ALOW\"}",
    ] {
        std::fs::write(&file, text)?;
        let outcome = ctx.tool("plim-diff", &[&file.display().to_string(), "preset:docker-default"])?;
        same(&format!("status for {text:?}"), outcome.code, 2)?;
        ensure!(
            outcome.stderr.contains("bad.json"),
            "{text:?}: the error does not name the file: {}",
            outcome.stderr
        );
    }
    Ok(())
}
