//! Ordinary work under the tracer: what it tells was refused, each with its reason, and nothing else is told.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

use super::{parse, text};
use crate::Ctx;

/// A package manager, a compiler, an interpreter, a web server under load.
const SCRIPT: &str = include_str!("workloads.sh");

/// What the kernel does refuse of it under the default profile and the default capabilities: glibc's first
/// try of a thread or of posix_spawn, and apt's SO_RCVBUFFORCE.
const REFUSED: [&str; 2] = ["clone3 ENOSYS seccomp -", "setsockopt EPERM capability CAP_NET_ADMIN"];

/// One round, within a test's patience.
pub(super) fn short(ctx: &Ctx) -> Result<()> {
    let told = round(ctx, 1)?;
    ensure!(told.keys().any(|key| key.starts_with("clone3 ENOSYS seccomp")), "nothing was told: {told:?}");
    Ok(())
}

/// Works through `rounds` and counts what is told; an error when it should not have been.
fn round(ctx: &Ctx, rounds: usize) -> Result<BTreeMap<String, usize>> {
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let file = dir.path().join("trace").display().to_string();
    let options = ["--trace", "--trace-format", "jsonl", "--trace-output", &file];
    let outcome = ctx.plim_host(&options, &["sh", "-c", SCRIPT, "sh", &rounds.to_string()])?;
    ensure!(outcome.code == 0, "the work failed: {outcome:?}");
    judge(ctx, &std::fs::read_to_string(&file).with_context(|| format!("no trace: {outcome:?}"))?)
}

fn judge(ctx: &Ctx, trace: &str) -> Result<BTreeMap<String, usize>> {
    let mut denials = parse(trace)?;
    if let Some(weakening) = ctx.weakening {
        weakening.denials(&mut denials);
    }
    let mut told = BTreeMap::new();
    for denial in denials {
        let words =
            ["/syscall", "/errno", "/cause/kind", "/cause/capability"].map(|pointer| text(&denial, pointer));
        let key = words.join(" ");
        ensure!(REFUSED.iter().any(|refused| **refused == key), "told, and not refused: {denial}");
        *told.entry(key).or_default() += 1;
    }
    Ok(told)
}
