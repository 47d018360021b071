//! Ordinary work under the tracer: what it tells was refused, each with its reason, and nothing else is told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::text;
use crate::{Ctx, Outcome, same};

/// A package manager, a compiler, an interpreter, a web server under load.
const SCRIPT: &str = include_str!("workloads.sh");

/// glibc's first try of a thread or of posix_spawn, which the default profile refuses: without it nothing was worked, or nothing seen.
const SURE: &str = "clone3 ENOSYS";

/// How often the work is done again under strace before a refusal that it has not seen is called invented.
const ROUNDS: usize = 3;

/// How long is worked: at least once, which is all there is time for in a test; `make prove` asks for ten minutes.
fn asked() -> Result<Duration> {
    const NAME: &str = "PLIM_WORK_SECONDS";
    let Ok(text) = std::env::var(NAME) else { return Ok(Duration::ZERO) };
    text.parse().map(Duration::from_secs).with_context(|| format!("{NAME}={text:?}: expected a number"))
}

pub(super) fn traced(ctx: &Ctx) -> Result<()> {
    let long = asked()?;
    let (said, told) = work_traced(ctx, long)?;
    // The evidence is what the kernel answered to the same work, whatever this host's programs do: strace's record of it.
    let mut refused = BTreeSet::new();
    for _ in 0..ROUNDS {
        if told.keys().all(|key| refused.contains(key)) {
            break;
        }
        refused.extend(work_straced(ctx)?);
    }
    for (key, count) in &told {
        ensure!(
            refused.contains(key),
            "told {count} times, and not refused by what strace says: {key}; it saw {refused:?}"
        );
    }
    ensure!(told.contains_key(SURE), "nothing was told: {told:?}");
    if !long.is_zero() {
        let mut stderr = std::io::stderr();
        std::io::Write::write_fmt(&mut stderr, format_args!("{}; told: {told:?}\n", said.trim_end()))?;
    }
    Ok(())
}

pub(super) fn beside_strace(ctx: &Ctx) -> Result<()> {
    let (_, told) = work_traced(ctx, Duration::ZERO)?;
    same("told, and refused by what strace says", told.into_keys().collect(), work_straced(ctx)?)
}

/// How often each refusal is told, by call and errno; and what the work said.
fn work_traced(ctx: &Ctx, long: Duration) -> Result<(String, BTreeMap<String, usize>)> {
    let (outcome, mut denials) = super::traced(|options| work(ctx, options, &[], long))?;
    ensure!(!outcome.stderr.contains("events were lost"), "not all was told: {}", outcome.stderr);
    if let Some(weakening) = ctx.weakening {
        weakening.denials(&mut denials);
    }
    let mut told = BTreeMap::new();
    for denial in &denials {
        let words = ["/syscall", "/errno"].map(|pointer| text(denial, pointer));
        // The kernel has every call of the work, so that ENOSYS is the filter's answer.
        let (errno, kind) = (text(denial, "/errno"), text(denial, "/cause/kind"));
        ensure!(kind != "-" && (errno != "ENOSYS" || kind == "seccomp"), "not the reason: {denial}");
        *told.entry(words.join(" ")).or_default() += 1;
    }
    Ok((outcome.stdout, told))
}

/// The calls that strace sees refused of the same work in the same container, with their errnos.
fn work_straced(ctx: &Ctx) -> Result<BTreeSet<String>> {
    // Whatever is broken on purpose is broken where we look, not where strace does.
    let ctx = Ctx::new(ctx.engine, None, &ctx.bin)?;
    let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
    let volume = format!("{}:/straced", dir.path().display());
    // A file for each process: in one file, strace breaks lines in two where processes speak at once.
    let strace = ["strace", "-ff", "-qq", "-e", "status=failed", "-e", "signal=none", "-o", "/straced/calls"];
    work(&ctx, &["-v", &volume], &strace, Duration::ZERO)?;
    let mut refusals = BTreeSet::new();
    for file in std::fs::read_dir(dir.path())? {
        refusals.extend(std::fs::read_to_string(file?.path())?.lines().filter_map(refusal));
    }
    Ok(refusals)
}

/// `openat(AT_FDCWD, "/x", O_RDWR) = -1 EACCES (Permission denied)` is `openat EACCES`; other errors are no refusal.
/// Nothing that the work calls is missing in the kernel, so that ENOSYS is a filter's.
fn refusal(line: &str) -> Option<String> {
    let (name, rest) = line.split_once('(')?;
    let errno = rest.rsplit_once(" = -1 ")?.1.split(' ').next()?;
    matches!(errno, "EPERM" | "EACCES" | "EROFS" | "ENOSYS").then(|| format!("{name} {errno}"))
}

fn work(ctx: &Ctx, options: &[&str], wrapper: &[&str], long: Duration) -> Result<Outcome> {
    let seconds = long.as_secs().to_string();
    let command = [wrapper, &["sh", "-c", SCRIPT, "sh", &seconds]].concat();
    let outcome = ctx.plim_host_start(options, &command)?.finish_long(long)?;
    ensure!(outcome.code == 0, "the work failed: {outcome:?}");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn refusals_are_read_from_what_strace_writes() {
        let rows = [
            ("openat(AT_FDCWD, \"/x\", O_RDWR) = -1 EACCES (Permission denied)", Some("openat EACCES")),
            ("clone3({flags=0} => {}, 88) = -1 ENOSYS (Function not implemented)", Some("clone3 ENOSYS")),
            ("openat(AT_FDCWD, \"/x = -1 EPERM (no)\", 0) = -1 ENOENT (No such file or directory)", None),
            ("read(3, \"\", 1) = 0", None),
            ("+++ exited with 0 +++", None),
        ];
        for (line, expected) in rows {
            assert_eq!(refusal(line).as_deref(), expected, "{line}");
        }
    }
}
