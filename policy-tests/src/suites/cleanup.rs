//! Clean-up: whatever a run made is gone afterwards, however it ends.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::inventory::Inventory;
use crate::{Ctx, Need, Suite, Test, Weakening as W, sys};

/// How often is looked until the kernel and a monitor have taken everything down: about a second on a quiet machine.
const LOOKS: usize = 100;

/// Each kind of thing that a run makes.
const EVERYTHING: &[W] =
    &[W::LeavesCgroup, W::LeavesMount, W::LeavesProcess, W::LeavesNamespace, W::LeavesState];

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "cleanup",
    tests: &[
        Test {
            name: "after_exit",
            says: "after the command's end no cgroup, mount, process, namespace or state is left",
            needs: &[],
            red_under: EVERYTHING,
            run: after_exit,
        },
        Test {
            name: "after_failure",
            says: "after a start that fails nothing is left",
            needs: &[],
            red_under: &[W::LeavesCgroup],
            run: after_failure,
        },
        Test {
            name: "after_kill",
            says: "after the command is killed from outside nothing is left",
            needs: &[],
            red_under: &[W::LeavesCgroup],
            run: after_kill,
        },
        Test {
            name: "after_out_of_memory",
            says: "after the kernel kills the command for its memory nothing is left",
            needs: &[Need::Controller("memory")],
            red_under: &[W::LeavesCgroup],
            run: after_out_of_memory,
        },
        Test {
            name: "launcher_killed",
            says: "when the launcher is killed with SIGKILL, the container dies and nothing is left",
            needs: &[Need::Plim],
            red_under: &[W::LeavesProcess],
            run: launcher_killed,
        },
        Test {
            name: "host_layer",
            says: "the throw-away layer over the host's root leaves nothing, killed or not",
            needs: &[Need::Plim],
            red_under: &[W::LeavesMount],
            run: host_layer,
        },
        Test {
            name: "kill_loop",
            says: "500 runs killed with SIGKILL at random moments of their start leave nothing",
            needs: &[Need::Plim],
            red_under: EVERYTHING,
            run: kill_loop,
        },
    ],
};

fn after_exit(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    for code in ["0", "3"] {
        ctx.witness_run(&["exit", code])?;
    }
    Inventory::settle(&before, LOOKS)
}

fn after_failure(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    let cases = [
        ("/process/args", json!(["/bin/nothing"])),
        ("/process/cwd", json!("/etc/passwd")),
        ("/root/path", json!("nowhere")),
        ("/linux/resources/cpu", json!({"cpus": "4000"})),
        ("/linux/sysctl", json!({"kernel.nothing_here": "1"})),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_NONSENSE"})),
        ("/process/capabilities/bounding", json!(["CAP_NONSENSE"])),
    ];
    for (pointer, value) in cases {
        let late = ctx.run(ctx.case(&["exit", "0"])?.with(pointer, value))?;
        // runc only warns of a capability that it does not know.
        let runc = ctx.engine == crate::launcher::Engine::Runc;
        ensure!(late.code != 0 || runc, "{pointer}: started all the same");
    }
    let bind = ["rbind"];
    let missing = ctx.case(&["exit", "0"])?.mount("/data", "bind", "/nowhere/at/all", &bind);
    ensure!(ctx.run(missing)?.code != 0, "a volume that is not there was mounted");
    Inventory::settle(&before, LOOKS)
}

fn after_kill(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    let mut running = ctx.start(ctx.case(&["hold", "20"])?)?;
    running.wait_for("ready")?;
    sys::kill(running.host_pid()?, libc::SIGKILL);
    running.finish()?;
    Inventory::settle(&before, LOOKS)
}

fn after_out_of_memory(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    let limits = json!({"limit": 32 << 20, "swap": 32 << 20});
    ctx.run(ctx.case(&["eat-memory", "209715200"])?.with("/linux/resources/memory", limits))?;
    Inventory::settle(&before, LOOKS)
}

fn launcher_killed(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    let mut running = ctx.start(ctx.case(&["hold", "20"])?)?;
    running.wait_for("ready")?;
    ensure!(
        !Inventory::take().beyond(&before).is_empty(),
        "a running container shows nowhere, so nothing is tested"
    );
    running.signal(libc::SIGKILL);
    running.finish()?;
    Inventory::settle(&before, LOOKS)?;
    // With an orphan in the container, which no parent takes down.
    let mut running = ctx.plim_start(&["--init"], &["hold", "20"])?;
    running.wait_for("ready")?;
    running.signal(libc::SIGKILL);
    running.finish()?;
    Inventory::settle(&before, LOOKS)
}

fn host_layer(ctx: &Ctx) -> Result<()> {
    let before = Inventory::take();
    ctx.plim_host(&[], &["/witness", "exit", "0"])?;
    Inventory::settle(&before, LOOKS)?;
    let mut running = ctx.plim_host_start(&[], &["/witness", "hold", "20"])?;
    running.wait_for("ready")?;
    running.signal(libc::SIGKILL);
    running.finish()?;
    Inventory::settle(&before, LOOKS)
}

/// A small generator (xorshift64*), so that a failing seed can be run again: `PLIM_KILL_SEED`.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % limit.max(1)
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn kill_loop(ctx: &Ctx) -> Result<()> {
    let runs = setting("PLIM_KILL_RUNS", 500);
    let seed = setting("PLIM_KILL_SEED", 0x5EED_0001);
    let mut random = Random(seed);
    // How long a start takes here: half of the kills fall into it, half into twice as long again.
    let start = Instant::now();
    ctx.witness_run(&["exit", "0"])?;
    let whole = u64::try_from(start.elapsed().as_micros())?.max(2000);
    let before = Inventory::take();
    let batch = 25;
    let mut done = 0;
    while done < runs {
        let mut killed = Vec::new();
        for _ in 0..batch.min(runs - done) {
            let mut running = if done % 3 == 2 {
                ctx.plim_host_start(&[], &["/witness", "hold", "5"])?
            } else {
                ctx.start(ctx.case(&["hold", "5"])?)?
            };
            let moment = random.below(whole + whole / 2);
            std::thread::sleep(Duration::from_micros(moment));
            running.signal(libc::SIGKILL);
            running.wait()?;
            done += 1;
            // A child that dies in a moment may still be making mount points in the bundle.
            killed.push(running);
        }
        Inventory::settle(&before, LOOKS)
            .with_context(|| format!("seed {seed}, after {done} of {runs} runs, start takes {whole} us"))?;
    }
    Ok(())
}
