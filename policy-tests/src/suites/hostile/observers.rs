//! Busy hosts and containers that hinder the tools that inspect them.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::attached::Tracer;
use crate::suites::inspect::held;
use crate::{Ctx, Need, Outcome, Running, Suite, Test, Weakening as W, host, same, sys};

/// The tools that look at containers.
macro_rules! looking {
    ($($more:expr),*) => {
        &[
            Need::Plim,
            Need::Root,
            Need::Program("sh"),
            Need::Built("plim-inspect"),
            Need::Built("plim-check"),
            Need::Built("plim-lock"),
            Need::Built("plim-diff"),
            $($more),*
        ]
    };
}

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "few_descriptors",
            says: "a reader that may open fewer files than there are processes leaves out none, and with hardly any it says so",
            needs: looking!(Need::Built("plim-seccomp"), Need::Program("nsenter"), Need::Controller("pids")),
            red_under: &[W::InspectElsewhere],
            run: few_descriptors,
        },
        Test {
            name: "hung_files",
            says: "files of a container that never answer cost their own facts: the tools end, and say what they did not see",
            needs: looking!(Need::File("/dev/fuse")),
            red_under: &[W::InspectForgets, W::UnknownPasses],
            run: hung_files,
        },
        Test {
            name: "hung_files_traced",
            says: "a path that never answers holds up no tracer: the refusals of every container are told",
            needs: looking!(
                Need::File("/dev/fuse"),
                Need::Built("plim-trace"),
                Need::Capability(39, "CAP_BPF"),
                Need::Kernel(5, 15),
                Need::File("/sys/kernel/btf/vmlinux")
            ),
            red_under: &[W::InspectElsewhere],
            run: hung_files_traced,
        },
        Test {
            name: "many_mounts",
            says: "mounts without end, each at its place or stacked, are unknown with their reason (PLIM_MOUNTS: how many, stacked)",
            needs: looking!(),
            red_under: &[W::InspectForgets, W::UnknownPasses],
            run: many_mounts,
        },
    ],
};

/// The longest that a tool may take here: a bound that holds is far below, one that does not is beyond every limit.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a container needs to mount.
const MOUNTER: [&str; 6] = [
    "--cap-add",
    "SYS_ADMIN",
    "--security-opt",
    "seccomp=unconfined",
    "--security-opt",
    "apparmor=unconfined",
];

/// A tool to its end, with so many descriptors. One that does not end is left behind when `hostile` has been killed, which lets
/// its files answer.
fn ends(
    ctx: &Ctx,
    hostile: &Running,
    tool: &str,
    args: &[&str],
    descriptors: Option<u32>,
) -> Result<Outcome> {
    let dir = tempfile::Builder::new().prefix("plimtest-looks-").tempdir()?;
    let [out, err] = ["stdout", "stderr"].map(|name| dir.path().join(name));
    let asked = match ctx.weakening {
        Some(weakening) => weakening.ask(tool, args),
        None => args.iter().map(|word| (*word).to_owned()).collect(),
    };
    let limit = descriptors.map(|count| format!("ulimit -n {count}; ")).unwrap_or_default();
    let mut child = Command::new("sh")
        .args(["-c", &format!("{limit}exec \"$@\""), "sh"])
        .arg(ctx.bin.join(tool))
        .args(asked)
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?)
        .spawn()
        .context("sh")?;
    let Some(status) = ended(&mut child)? else {
        kill(hostile);
        let _ = child.kill();
        let _ = child.wait();
        bail!("{tool} {args:?} does not end");
    };
    let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mut outcome = Outcome { code: status.code().unwrap_or(-1), stdout: read(&out)?, stderr: read(&err)? };
    if let Some(weakening) = ctx.weakening {
        weakening.answer(tool, &mut outcome);
    }
    Ok(outcome)
}

fn ended(child: &mut Child) -> Result<Option<std::process::ExitStatus>> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(None)
}

fn kill(running: &Running) {
    for pid in host::tagged(&running.case.tag) {
        sys::kill(pid, libc::SIGKILL);
    }
}

fn parsed(outcome: &Outcome) -> Result<Value> {
    serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))
}

/// The values that a snapshot lists as unknown.
fn unknown(snapshot: &Value) -> Vec<&str> {
    let list = snapshot["unknown"].as_array().into_iter().flatten();
    list.filter_map(|one| one["path"].as_str()).collect()
}

fn few_descriptors(ctx: &Ctx) -> Result<()> {
    const CROWD: u64 = 600;
    const FEW: Option<u32> = Some(64);
    let count = CROWD.to_string();
    let mut running = ctx.plim_start(&["--pids-limit", "2000"], &["crowd", &count])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    // One process without the filter, which only a reader of them all finds.
    let pid = running.host_pid()?.to_string();
    let mut outsider = Command::new("nsenter")
        .args(["-t", &pid, "-p", "--", "sleep", "60"])
        .stdin(Stdio::null())
        .spawn()
        .context("nsenter")?;
    let read = || -> Result<()> {
        let inspect =
            |descriptors| ends(ctx, &running, "plim-inspect", &["--format", "json", &target], descriptors);
        let odd = |snapshot: &Value| snapshot["odd_processes"].as_array().map_or(0, Vec::len);
        let start = Instant::now();
        let whole = loop {
            let whole = parsed(&inspect(None)?)?;
            if odd(&whole) > 0 || start.elapsed() > Duration::from_secs(5) {
                break whole;
            }
        };
        ensure!(odd(&whole) > 0, "the process without the filter was not found");
        let few = parsed(&inspect(FEW)?)?;
        for field in ["process_count", "odd_processes"] {
            same(&format!("{field} with few descriptors"), few[field].clone(), whole[field].clone())?;
        }
        ensure!(few["process_count"].as_u64() > Some(CROWD), "{}", few["process_count"]);
        let verify = ["verify", "--format", "json", &target];
        let verified = ends(ctx, &running, "plim-seccomp", &verify, FEW)?;
        same("status of verify", verified.code, 1)?;
        let groups = parsed(&verified)?["groups"].clone();
        let threads = groups.as_array().into_iter().flatten();
        let threads: usize = threads.filter_map(|group| group["threads"].as_array()).map(Vec::len).sum();
        ensure!(threads as u64 > CROWD, "{threads} threads");
        let check = ["--policy", "pack:cis-docker-5", "--format", "json", &target];
        let checked = ends(ctx, &running, "plim-check", &check, FEW)?;
        ensure!(checked.stdout.contains("\"CIS-5.23\""), "CIS-5.23 no longer fails: {}", checked.stdout);
        let locked = ends(ctx, &running, "plim-lock", &["-o", "-", &target], FEW)?;
        same("status of lock", locked.code, 0)?;
        let compared = ends(ctx, &running, "plim-diff", &[&target, &target], FEW)?;
        same("status of diff", compared.code, 0)?;
        // With hardly any, whatever is printed is no proof.
        for descriptors in [3, 5, 7, 9, 11] {
            let verify = ["verify", &target];
            let outcome = ends(ctx, &running, "plim-seccomp", &verify, Some(descriptors))?;
            ensure!(outcome.code != 0, "verify passes with {descriptors} descriptors: {}", outcome.stdout);
            let outcome = inspect(Some(descriptors))?;
            let count = parsed(&outcome).map_or(Value::Null, |snapshot| snapshot["process_count"].clone());
            let is_whole = count == whole["process_count"];
            ensure!(is_whole || outcome.code >= 2, "{count} processes with {descriptors} descriptors");
        }
        Ok(())
    };
    let result = read();
    let _ = outsider.kill();
    let _ = outsider.wait();
    result
}

/// A container whose /run never answers.
fn hanging(ctx: &Ctx) -> Result<Running> {
    let options = [&MOUNTER[..], &["--device", "/dev/fuse"]].concat();
    let mut running = ctx.plim_start(&options, &["hang", "/run"])?;
    running.wait_for("ready")?;
    Ok(running)
}

fn hung_files(ctx: &Ctx) -> Result<()> {
    let (hung, quiet) = (hanging(ctx)?, held(ctx, &[])?);
    let [hung_name, quiet_name] = [&hung, &quiet].map(|running| format!("plim:{}", running.case.tag));
    let inspected = ends(ctx, &hung, "plim-inspect", &["--format", "json", &hung_name], None)?;
    same("status of inspect", inspected.code, 3)?;
    let snapshot = parsed(&inspected)?;
    ensure!(unknown(&snapshot).contains(&"/engine_sockets"), "{:?}", unknown(&snapshot));
    for field in ["/capabilities/effective", "/mounts", "/process_count", "/masked_paths", "/devices/nodes"] {
        ensure!(snapshot.pointer(field).is_some_and(|value| !value.is_null()), "{field} is unknown, too");
    }
    // The others are whole.
    let both = ["--format", "json", &hung_name, &quiet_name];
    let both = parsed(&ends(ctx, &hung, "plim-inspect", &both, None)?)?;
    same("sockets of the other", both[1]["engine_sockets"].clone(), json!([]))?;
    let checked = ends(ctx, &hung, "plim-check", &[&hung_name, &quiet_name], None)?;
    ensure!([0, 1, 3].contains(&checked.code), "check ended with {}: {}", checked.code, checked.stderr);
    let locked = ends(ctx, &hung, "plim-lock", &["-o", "-", &hung_name], None)?;
    same("status of lock", locked.code, 3)?;
    let compared = ends(ctx, &hung, "plim-diff", &[&hung_name, &quiet_name], None)?;
    ensure!([1, 3].contains(&compared.code), "diff ended with {}: {}", compared.code, compared.stderr);
    Ok(())
}

fn hung_files_traced(ctx: &Ctx) -> Result<()> {
    let hung = hanging(ctx)?;
    // Refused the same, of a file that is looked at.
    let options = [&MOUNTER[..], &["--device", "/dev/fuse"]].concat();
    let mut quiet = ctx.plim_start(&options, &["hang", "/elsewhere", "/bin/witness"])?;
    quiet.wait_for("ready")?;
    let [hung_name, quiet_name] = [&hung, &quiet].map(|running| format!("plim:{}", running.case.tag));
    let args = ["--format", "jsonl", "--duration", "2", &hung_name, &quiet_name];
    let mut tracer = Tracer::start(ctx, &args, &[])?;
    let outcome = tracer.wait();
    if outcome.is_err() {
        [&hung, &quiet].into_iter().for_each(kill);
    }
    let outcome = outcome?;
    let told = |name: &str| {
        let lines = outcome.stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["container"] == name && line["syscall"] == "acct").count()
    };
    for running in [&hung, &quiet] {
        ensure!(told(&running.case.tag) > 0, "no refusal of {} is told: {outcome:?}", running.case.tag);
    }
    same("status", outcome.code, 3)
}

fn many_mounts(ctx: &Ctx) -> Result<()> {
    let more = std::env::var("PLIM_MOUNTS").ok();
    let args = match &more {
        Some(count) => ["mounts", count, "stacked"],
        None => ["mounts", "8500", "apart"],
    };
    let mut running = ctx.plim_start(&MOUNTER, &args)?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    let inspected = ends(ctx, &running, "plim-inspect", &["--format", "json", &target], None)?;
    same("status of inspect", inspected.code, 3)?;
    let snapshot = parsed(&inspected)?;
    ensure!(unknown(&snapshot).contains(&"/mounts"), "{:?}", unknown(&snapshot));
    for field in ["/capabilities/effective", "/process_count", "/rlimits", "/seccomp/mode"] {
        ensure!(snapshot.pointer(field).is_some_and(|value| !value.is_null()), "{field} is unknown, too");
    }
    let checked = ends(ctx, &running, "plim-check", &[&target], None)?;
    ensure!([1, 3].contains(&checked.code), "check ended with {}: {}", checked.code, checked.stderr);
    Ok(())
}
