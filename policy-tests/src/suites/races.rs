//! Races: somebody renames what the launcher is about to use, as a second container that shares the image or a volume can.
//! Refusing to start is right; a start with a cover less, or one that touches the host, is wrong.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::hostile::Canary;
use crate::{Case, Ctx, Need, Outcome, Running, Suite, Test, Weakening as W};

/// Starts for each pair of names.
const STARTS: usize = 25;

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "races",
    tests: &[
        Test {
            name: "renamed_proc",
            says: "renaming the image's /proc or /sys during the start uncovers no masked path (CVE-2025-31133, CVE-2025-52881)",
            // runc 1.1.5 has no defence.
            needs: &[Need::Plim],
            red_under: &[W::NoMasks],
            run: renamed_proc,
        },
        Test {
            name: "renamed_target",
            says: "swapping a volume's target, /dev or a masked file for a link out of the root touches no file of the host",
            needs: &[Need::Plim],
            red_under: &[W::FollowsLinks],
            run: renamed_target,
        },
    ],
};

/// Ends the exchange when it is dropped.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` while two names are exchanged, from the first exchange on.
pub(super) fn racing<T>(one: &Path, other: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let exchange = || {
        renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE)
            .with_context(|| format!("exchanging {} and {}", one.display(), other.display()))
    };
    exchange()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swapper = scope.spawn(|| -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                // Often enough to fall between any two steps of a start, and others get to run.
                std::thread::sleep(std::time::Duration::from_micros(20));
                exchange()?;
            }
            Ok(())
        });
        let running = Stop(&stop);
        let result = work();
        drop(running);
        swapper.join().map_err(|_| anyhow::anyhow!("the exchanging thread panicked"))??;
        result
    })
}

/// The bundle has to stay until nobody exchanges in it any more.
fn run(ctx: &Ctx, case: Case) -> Result<(Outcome, Running)> {
    let mut running = ctx.start(case)?;
    Ok((running.wait()?, running))
}

fn renamed_proc(ctx: &Ctx) -> Result<()> {
    let words = [
        "try",
        "look",
        "/proc/keys",
        "--",
        "look",
        "/proc/timer_list",
        "--",
        "look",
        "/sys/firmware",
        "--",
        "open-rw",
        "/proc/sys/kernel/domainname",
    ];
    let mut started = 0;
    for name in ["proc", "sys"] {
        for _ in 0..STARTS {
            let case = ctx.case(&words)?;
            let (one, other) = (case.rootfs.join(name), case.rootfs.join("aside"));
            fs::create_dir(&other)?;
            let outcome = racing(&one, &other, || run(ctx, case))?.0;
            if outcome.code != 0 {
                ensure!(
                    !outcome.stderr.is_empty(),
                    "refused with status {} and without a word",
                    outcome.code
                );
                continue;
            }
            started += 1;
            for (call, seen) in outcome.verdicts()? {
                ensure!(
                    seen != "open" && seen != "ok",
                    "/{name} was renamed during the start, and {call} is {seen}"
                );
            }
        }
    }
    ensure!(started > 0, "every start was refused, so nothing was seen from inside");
    Ok(())
}

fn renamed_target(ctx: &Ctx) -> Result<()> {
    for name in ["data/volume", "dev", "data/mask"] {
        for _ in 0..STARTS {
            let (canary, volume) = (Canary::new()?, tempfile::tempdir()?);
            let case =
                ctx.case(&["try", "create", "/data/volume/made/x", "y", "--", "look", "/dev/secret"])?;
            let source = volume.path().display().to_string();
            let case = case
                .mount("/data/volume/made", "bind", &source, &["rbind", "rprivate", "rw"])
                .with("/linux/maskedPaths", serde_json::json!(["/proc/kcore", "/data/mask"]));
            fs::create_dir_all(case.rootfs.join("data/volume"))?;
            fs::write(case.rootfs.join("data/mask"), "of the image")?;
            let target: PathBuf =
                if name == "data/mask" { canary.path().join("secret") } else { canary.path().to_owned() };
            symlink(&target, case.rootfs.join("aside"))?;
            let (one, other) = (case.rootfs.join(name), case.rootfs.join("aside"));
            let outcome = racing(&one, &other, || run(ctx, case))?.0;
            canary.untouched().with_context(|| format!("/{name} was exchanged with a link to the host"))?;
            ensure!(outcome.code == 0 || !outcome.stderr.is_empty(), "refused without a word");
            let seen = if outcome.code == 0 { outcome.verdicts()? } else { Vec::new() };
            ensure!(seen.iter().all(|(_, seen)| seen != "open"), "the host's file can be read: {seen:?}");
        }
    }
    Ok(())
}
