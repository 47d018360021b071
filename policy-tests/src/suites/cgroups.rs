//! cgroups: each limit is written where the kernel enforces it, and is felt inside.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{expect_verdicts, text};
use crate::launcher::Engine;
use crate::{Ctx, Need, Suite, Test, Weakening as W, host, same};

const MIB: u64 = 1 << 20;

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "cgroups",
    tests: &[
        Test {
            name: "own_cgroup",
            says: "the container has a cgroup of its own in every hierarchy that limits it",
            needs: &[],
            red_under: &[W::SharedCgroup],
            run: own_cgroup,
        },
        Test {
            name: "memory_kills",
            says: "a container that takes more than its memory is killed: status 137",
            needs: &[Need::Controller("memory")],
            red_under: &[W::NoMemory],
            run: memory_kills,
        },
        Test {
            name: "memory_values",
            says: "memory, swap and reservation are in the kernel as asked",
            needs: &[Need::Controller("memory")],
            red_under: &[W::NoMemory],
            run: memory_values,
        },
        Test {
            name: "pids_refuses",
            says: "fork fails with EAGAIN beyond the pids limit",
            needs: &[Need::Controller("pids")],
            red_under: &[W::NoPids],
            run: pids_refuses,
        },
        Test {
            name: "cpu_quota_felt",
            says: "a container with a fiftieth of a processor gets a small part of it",
            needs: &[Need::Controller("cpu")],
            red_under: &[W::NoCpu],
            run: cpu_quota_felt,
        },
        Test {
            name: "cpu_values",
            says: "quota, period and shares are in the kernel as asked, shares as a weight on v2",
            needs: &[Need::Controller("cpu")],
            red_under: &[W::NoCpu],
            run: cpu_values,
        },
        Test {
            name: "cpuset",
            says: "a container pinned to processor 0 runs there alone",
            needs: &[Need::Controller("cpuset"), Need::Processors(2)],
            red_under: &[W::NoCpu],
            run: cpuset,
        },
        Test {
            name: "devices",
            says: "a device node that was not allowed cannot be opened, though the node can be made",
            needs: &[],
            red_under: &[W::NoDeviceRules],
            run: devices,
        },
        Test {
            name: "io_throttle",
            says: "a block device's throttle is in the kernel as asked",
            needs: &[Need::File("/sys/block/vda/dev")],
            red_under: &[W::NoIo],
            run: io_throttle,
        },
        Test {
            name: "options",
            says: "-m, --memory-swap, --cpus, --pids-limit and --cpu-shares of plim run set the same values as Docker's",
            needs: &[
                Need::Plim,
                Need::Controller("memory"),
                Need::Controller("pids"),
                Need::Controller("cpu"),
            ],
            red_under: &[W::NoPids],
            run: options,
        },
    ],
};

fn own_cgroup(ctx: &Ctx) -> Result<()> {
    let mut running = ctx.start(ctx.case(&["hold", "20"])?)?;
    running.wait_for("ready")?;
    let pid = running.host_pid()?;
    let mut seen = 0;
    for name in ["memory", "pids", "cpu", "devices", "freezer", "blkio", "cpuset"] {
        if host::controller(name).is_some() {
            let dir = host::cgroup_dir(pid, name)?;
            ensure!(dir.to_string_lossy().contains(&running.case.tag), "{name}: it is in {}", dir.display());
            seen += 1;
        }
    }
    ensure!(seen > 0, "no controller at all");
    Ok(())
}

fn memory_kills(ctx: &Ctx) -> Result<()> {
    let limits = json!({"limit": 64 * MIB, "swap": 64 * MIB});
    let fits = ctx.case(&["eat-memory", "16777216"])?.with("/linux/resources/memory", limits.clone());
    same("status within the limit", ctx.run(fits)?.code, 0)?;
    let exceeds = ctx.case(&["eat-memory", "209715200"])?.with("/linux/resources/memory", limits);
    same("status beyond the limit", ctx.run(exceeds)?.code, 137)
}

/// Starts a holding container with these resources and hands its host pid to `look`.
fn held(ctx: &Ctx, resources: &[(&str, Value)], look: impl FnOnce(i32) -> Result<()>) -> Result<()> {
    let mut case = ctx.case(&["hold", "20"])?;
    for (name, value) in resources {
        case = case.with(&format!("/linux/resources/{name}"), value.clone());
    }
    let mut running = ctx.start(case)?;
    running.wait_for("ready")?;
    look(running.host_pid()?)
}

fn memory_values(ctx: &Ctx) -> Result<()> {
    let limits = json!({"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB});
    held(ctx, &[("memory", limits)], |pid| {
        let value = |v1: &str, v2: &str| host::cgroup_value(pid, "memory", v1, v2);
        same("limit", value("memory.limit_in_bytes", "memory.max")?, (64 * MIB).to_string())?;
        same("reservation", value("memory.soft_limit_in_bytes", "memory.low")?, (32 * MIB).to_string())?;
        let v1 = host::controller("memory") == Some(host::CgroupKind::V1);
        // v1 counts memory and swap together, v2 swap alone.
        let want = if v1 { 96 * MIB } else { 32 * MIB };
        match value("memory.memsw.limit_in_bytes", "memory.swap.max") {
            Ok(got) => same("swap", got, want.to_string()),
            // A kernel without swap accounting has no such file.
            Err(_) => Ok(()),
        }
    })
}

fn pids_refuses(ctx: &Ctx) -> Result<()> {
    let case = ctx.case(&["fork", "60"])?.with("/linux/resources/pids", json!({"limit": 20}));
    let answer = ctx.run(case)?.json()?;
    same("refused with", answer["refused"].as_str(), Some("EAGAIN"))?;
    // The witness itself is one task of the twenty; a launcher's own thread must not linger in the cgroup.
    same("children", answer["forked"].as_u64(), Some(19))
}

fn cpu_quota_felt(ctx: &Ctx) -> Result<()> {
    let case = ctx
        .case(&["burn-cpu", "700"])?
        .with("/linux/resources/cpu", json!({"quota": 2_000, "period": 100_000}));
    let mut running = ctx.start(case)?;
    // The kernel's own count, which no other load changes: how often the group was stopped for its quota.
    let mut throttled = 0;
    while running.child.try_wait()?.is_none() {
        let stat = running.host_pid().and_then(|pid| host::cgroup_value(pid, "cpu", "cpu.stat", "cpu.stat"));
        let count = stat.ok().and_then(|stat| {
            stat.lines().find_map(|line| line.strip_prefix("nr_throttled ")?.parse::<u64>().ok())
        });
        throttled = throttled.max(count.unwrap_or(0));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let answer = running.finish()?.json()?;
    ensure!(throttled > 0, "the kernel never stopped it for its quota: {answer}");
    let number = |name: &str| answer[name].as_f64().with_context(|| format!("no {name} in {answer}"));
    let share = number("cpu_us")? / number("wall_us")?;
    // The scheduler takes a turn away at its tick, up to 10 ms late.
    ensure!((0.001..0.15).contains(&share), "got {share:.3} of a processor, asked for 0.02");
    Ok(())
}

fn cpu_values(ctx: &Ctx) -> Result<()> {
    held(ctx, &[("cpu", json!({"quota": 25_000, "period": 50_000, "shares": 512}))], |pid| {
        if host::controller("cpu") == Some(host::CgroupKind::V1) {
            let value = |file: &str| host::cgroup_value(pid, "cpu", file, file);
            same("quota", value("cpu.cfs_quota_us")?, "25000".to_owned())?;
            same("period", value("cpu.cfs_period_us")?, "50000".to_owned())?;
            return same("shares", value("cpu.shares")?, "512".to_owned());
        }
        same("quota", host::cgroup_value(pid, "cpu", "", "cpu.max")?, "25000 50000".to_owned())?;
        // 10^((l^2 + 125 l) / 612 - 7/34) with l = log2(512), rounded up: runc since 1.3.2. Older ones
        // say 1 + (512 - 2) * 9999 / 262142, rounded down, which made Docker's default of 1024 a weight of 39.
        let weight = host::cgroup_value(pid, "cpu", "", "cpu.weight")?;
        if ctx.engine == Engine::Runc && weight == "20" {
            return Ok(());
        }
        same("weight", weight, "59".to_owned())
    })
}

fn cpuset(ctx: &Ctx) -> Result<()> {
    let report = ctx.report(ctx.case(&["report"])?.with("/linux/resources/cpu", json!({"cpus": "0"})))?;
    same("processors", text(&report, "/cpus")?, "0")
}

fn devices(ctx: &Ctx) -> Result<()> {
    let mut names = crate::spec::DEFAULT_CAPABILITIES.to_vec();
    // So that nothing but the device cgroup is in the way of reading the kernel's log.
    names.push("CAP_SYSLOG");
    let table = [
        ("mknod /tmp/kmsg c 1 11", "EPERM"),
        ("mknod /tmp/null c 1 3", "ok"),
        ("mknod /tmp/zero c 1 5", "ok"),
        ("mknod /tmp/loop b 7 0", "EPERM|ENXIO|ENODEV"),
    ];
    expect_verdicts(ctx, |case| case.capabilities(&names), &table)
}

fn io_throttle(ctx: &Ctx) -> Result<()> {
    let device = std::fs::read_to_string("/sys/block/vda/dev")?.trim().to_owned();
    let (major, minor) = device.split_once(':').context("a device number")?;
    let rule = json!([{"major": major.parse::<u32>()?, "minor": minor.parse::<u32>()?, "rate": 1_048_576}]);
    let io = json!({"throttleReadBpsDevice": rule, "throttleWriteIOPSDevice": rule});
    held(ctx, &[("blockIO", io)], |pid| {
        if host::controller("blkio") == Some(host::CgroupKind::V1) {
            let read = host::cgroup_value(pid, "blkio", "blkio.throttle.read_bps_device", "")?;
            same("read bytes", read, format!("{device} 1048576"))?;
            let write = host::cgroup_value(pid, "blkio", "blkio.throttle.write_iops_device", "")?;
            return same("write operations", write, format!("{device} 1048576"));
        }
        let got = host::cgroup_value(pid, "io", "", "io.max")?;
        same("io.max", got, format!("{device} rbps=1048576 wbps=max riops=max wiops=1048576"))
    })
}

fn options(ctx: &Ctx) -> Result<()> {
    let mut options = vec!["-m", "64m", "--memory-swap", "96m", "--cpus", "0.5", "--pids-limit", "50"];
    options.extend(["--cpu-shares", "512"]);
    let mut running = ctx.plim_start(&options, &["hold", "20"])?;
    running.wait_for("ready")?;
    let pid = running.host_pid()?;
    let value = |name: &str, v1: &str, v2: &str| host::cgroup_value(pid, name, v1, v2);
    same("memory", value("memory", "memory.limit_in_bytes", "memory.max")?, (64 * MIB).to_string())?;
    same("pids", value("pids", "pids.max", "pids.max")?, "50".to_owned())?;
    if host::controller("cpu") == Some(host::CgroupKind::V1) {
        same("quota", value("cpu", "cpu.cfs_quota_us", "")?, "50000".to_owned())?;
        same("shares", value("cpu", "cpu.shares", "")?, "512".to_owned())
    } else {
        same("quota", value("cpu", "", "cpu.max")?, "50000 100000".to_owned())
    }
}
