//! `plim learn`: what a workload uses, the least of it, and trials under that.

mod programs;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::dockerd::Daemon;
use crate::{Ctx, Need, Suite, Test, Weakening as W, same};

/// What all of these tests need, and more.
macro_rules! learned {
    ($($more:expr),* $(,)?) => {
        &[
            Need::Plim,
            Need::Root,
            Need::Built("plim-run"),
            Need::Built("plim-learn"),
            Need::Capability(39, "CAP_BPF"),
            Need::Kernel(5, 15),
            Need::File("/sys/kernel/btf/vmlinux"),
            $($more),*
        ]
    };
}

const NEEDS: &[Need] = learned!(Need::Built("plim-trace"), Need::Program("sh"));
const TCPDUMP: &[Need] = learned!(Need::Program("tcpdump"), Need::Program("nsenter"), Need::Program("bash"));

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "learn",
    tests: &[
        Test {
            name: "record",
            says: "system calls with telling arguments, capabilities, files, devices, ports and refusals of a command are recorded, and those of a container that runs",
            needs: NEEDS,
            red_under: &[W::LearnForgets],
            run: record,
        },
        Test {
            name: "tcpdump",
            says: "tcpdump is learned, verified and shrunk until nothing more can go, within docker-default; without its capability it fails, and why is said",
            needs: TCPDUMP,
            red_under: &[W::LearnForgets],
            run: tcpdump,
        },
        Test {
            name: "runtimes",
            says: "runc and crun start a container under a proposal, with no_new_privs and without",
            needs: learned!(
                Need::Program("busybox"),
                Need::Program("runc"),
                Need::Program("crun"),
                Need::Program("unshare"),
            ),
            red_under: &[W::LearnForgets],
            run: runtimes,
        },
        Test {
            name: "docker",
            says: "a container of Docker is recorded and verified, and a refusal under it is explained",
            needs: learned!(Need::Program("busybox"), Need::Program("dockerd"), Need::Program("docker"),),
            red_under: &[W::LearnForgets],
            run: docker,
        },
        Test {
            name: "programs",
            says: "nginx, redis-server, a Flask application and PostgreSQL are learned and work under what is proposed; in make prove also shrunk",
            needs: learned!(
                Need::Program("nsenter"),
                Need::Program("curl"),
                Need::Program("nginx"),
                Need::Program("redis-server"),
                Need::Program("redis-cli"),
                Need::Program("psql"),
                Need::File("/usr/lib/python3/dist-packages/flask"),
                Need::File("/usr/share/postgresql-common"),
            ),
            red_under: &[W::LearnForgets],
            run: programs::programs,
        },
        Test {
            name: "bad_input",
            says: "what is no recording, no proposal, no command or no runtime is one clear error, status 2, with nothing written",
            needs: NEEDS,
            red_under: &[W::SilentFailure],
            run: bad_input,
        },
    ],
};

fn learn(ctx: &Ctx, args: &[&str], status: i32) -> Result<String> {
    let outcome = ctx.tool("plim-learn", args)?;
    same(
        &format!("status of plim learn {args:?}: {}{}", outcome.stdout, outcome.stderr),
        outcome.code,
        status,
    )?;
    Ok(outcome.stdout)
}

/// The same with status 0, or 3 where the kernel skipped runs of the recorder's programs, which is said.
fn learn_of_running(ctx: &Ctx, args: &[&str]) -> Result<String> {
    let outcome = ctx.tool("plim-learn", args)?;
    crate::attached::ended_well(&outcome)?;
    Ok(outcome.stdout)
}

/// Reads a document that plim learn wrote, as a weakening leaves it.
fn document(ctx: &Ctx, path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut document = serde_json::from_str(&text)?;
    if let Some(weakening) = ctx.weakening {
        weakening.learned(&mut document);
        std::fs::write(path, document.to_string())?;
    }
    Ok(document)
}

fn rows<'a>(document: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    document[key].as_array().with_context(|| format!("no {key} in {document}"))
}

fn names(document: &Value, key: &str) -> Result<Vec<String>> {
    Ok(rows(document, key)?.iter().filter_map(|row| row["name"].as_str().map(str::to_owned)).collect())
}

/// A program of PostgreSQL, which Debian keeps by version.
fn postgres(name: &str) -> Option<String> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<_> = versions
        .filter_map(|entry| Some(entry.ok()?.path().join("bin").join(name)))
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    Some(found.pop()?.display().to_string())
}

const USES: &str = "echo x >/tmp/x; mkdir -p /run/a/b; echo y >/run/a/b/c; chown 1 /tmp/x; cat </dev/null; \
                    mknod /tmp/pipe p; chmod 600 /tmp/x; mv /tmp/x /tmp/z; unshare -m true; exit 3";

fn record(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let place = dir.path().display().to_string();
    learn(ctx, &["record", "-q", "-o", &place, "--", "-v", "/:/host:ro", "sh", "-c", USES], 3)?;
    let recording = document(ctx, &dir.path().join("recording-001.json"))?;
    same("options", recording["workload"]["options"].clone(), json!(["-v", "/:/host:ro"]))?;
    let calls = rows(&recording, "calls")?;
    let called = |name: &str| calls.iter().any(|call| call["syscall"] == name && call["runtime"] == false);
    for name in ["openat", "read", "write", "exit_group"] {
        ensure!(called(name), "{name} is not recorded");
    }
    for name in ["mount", "ptrace", "unshare", "bpf"] {
        ensure!(!called(name), "{name} was not made, and is recorded");
    }
    let asked: Vec<&str> = rows(&recording, "capabilities")?
        .iter()
        .filter(|row| row["granted"] == true && row["as_itself"] == true)
        .filter_map(|row| row["capability"].as_str())
        .collect();
    // The file is another user's by then: its mode and its name are changed with CAP_FOWNER.
    same("capabilities that were used", asked, vec!["CAP_CHOWN", "CAP_FOWNER"])?;
    let files = rows(&recording, "files")?;
    for path in ["/tmp/x", "/tmp/z", "/tmp/pipe", "/run/a", "/run/a/b", "/run/a/b/c"] {
        let file = files.iter().find(|file| file["path"] == path);
        let file = file.with_context(|| format!("{path} is not recorded: {files:?}"))?;
        same(path, file["created"].clone(), json!(true))?;
    }
    same("files", files.len(), 6)?;
    let devices = rows(&recording, "devices")?;
    ensure!(
        devices.iter().any(|one| one["path"] == "/dev/null" && one["major"] == 1 && one["minor"] == 3),
        "/dev/null is not recorded: {devices:?}"
    );
    let refused = rows(&recording, "refused")?;
    ensure!(
        refused.iter().any(|one| one["syscall"] == "unshare" && one["cause"]["kind"] == "seccomp"),
        "the refusal of unshare is not recorded: {refused:?}"
    );

    // A container that runs, recorded from outside, beside the first: both are merged.
    let mut running = ctx
        .plim_host_start(&[], &["sh", "-c", "echo ready; while :; do umask >/dev/null; sleep 0.02; done"])?;
    running.wait_for("ready")?;
    let target = format!("plim:{}", running.case.tag);
    learn_of_running(ctx, &["record", "-q", "-o", &place, "--duration", "500ms", &target])?;
    let second = document(ctx, &dir.path().join("recording-002.json"))?;
    let umask = rows(&second, "calls")?.iter().any(|call| call["syscall"] == "umask");
    ensure!(umask, "the loop of the running container is not recorded");
    let proposal: Value =
        serde_json::from_str(&learn_of_running(ctx, &["propose", &place, "--format", "json"])?)?;
    same("tmpfs", names(&proposal, "tmpfs")?, vec!["/run".to_owned(), "/tmp".to_owned()])?;
    same(
        "capabilities",
        names(&proposal, "capabilities")?,
        vec!["CAP_CHOWN".to_owned(), "CAP_FOWNER".to_owned()],
    )
}

const PACKET: &str = "for i in $(seq 100); do nsenter -n -t $PLIM_PID bash -c 'echo hello >/dev/udp/127.0.0.1/9'; \
                      [ -d /proc/$PLIM_PID ] || exit 0; sleep 0.05; done; exit 1";

fn tcpdump(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let place = dir.path().display().to_string();
    let command = ["record", "-q", "-o", &place, "--test", PACKET, "--", "tcpdump", "-i", "lo", "-c", "1"];
    learn(ctx, &command, 0)?;
    document(ctx, &dir.path().join("recording-001.json"))?;
    let verified: Value =
        serde_json::from_str(&learn(ctx, &["verify", "-q", "--format", "json", &place], 0)?)?;
    same("refusals", (verified["denials"].clone(), verified["unknown"].clone()), (json!([]), Value::Null))?;

    let shrunk = dir.path().join("shrunk.json");
    let file = shrunk.display().to_string();
    let said = learn(ctx, &["shrink", "-q", "--format", "json", "--save", &file, &place], 0)?;
    let said: Value = serde_json::from_str(&said)?;
    same("within docker-default", said["subset_of_docker_default"].clone(), json!(true))?;
    let mut proposal = document(ctx, &shrunk)?;
    same("capabilities", names(&proposal, "capabilities")?, vec!["CAP_NET_RAW".to_owned()])?;
    let packet = rows(&proposal, "calls")?.iter().any(|entry| {
        entry["syscall"] == "socket" && entry["when"].as_str().is_some_and(|when| when.contains("AF_PACKET"))
    });
    ensure!(packet, "the packet socket is not in the proposal");
    // Each of what is left is needed: its trial is in the log, and a search that goes on asks nothing anew.
    let needed = said["needed"].as_object().context("no needed")?;
    ensure!(needed.len() > 10 && needed.values().all(Value::is_string), "needed: {needed:?}");
    let again = learn(ctx, &["shrink", "-q", "--format", "json", &place], 0)?;
    let again: Value = serde_json::from_str(&again)?;
    same("trials of the search again", again["trials"].clone(), said["trials"].clone())?;
    learn(ctx, &["verify", "-q", &file], 0)?;

    proposal["capabilities"] = json!([]);
    std::fs::write(&shrunk, proposal.to_string())?;
    let failed: Value = serde_json::from_str(&learn(ctx, &["verify", "-q", "--format", "json", &file], 1)?)?;
    let why = rows(&failed, "denials")?.iter().any(|denial| {
        denial["cause"]["kind"] == "capability" && denial["cause"]["capability"] == "CAP_NET_RAW"
    });
    ensure!(why, "that CAP_NET_RAW is missing is not said: {failed}");
    Ok(())
}

fn busybox(dir: &Path) -> Result<std::path::PathBuf> {
    let root = dir.join("rootfs");
    for below in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(below))?;
    }
    let busybox = crate::cli::which("busybox").context("busybox")?;
    for name in ["busybox", "sh", "umask", "sleep", "true", "su", "id"] {
        std::fs::copy(&busybox, root.join("bin").join(name))?;
    }
    Ok(root)
}

fn runtimes(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let root = busybox(dir.path())?.display().to_string();
    let place = dir.path().display().to_string();
    learn(ctx, &["record", "-q", "-o", &place, "--", "--rootfs", &root, "/bin/id"], 0)?;
    let recording = dir.path().join("recording-001.json");
    for privileged in [false, true] {
        let mut document = document(ctx, &recording)?;
        document["privileged_programs"] = if privileged { json!(["su"]) } else { json!([]) };
        std::fs::write(&recording, document.to_string())?;
        let profile = learn(ctx, &["propose", "-q", &place, "--format", "oci"], 0)?;
        let printed = ctx.tool("plim-run", &["--print-spec", "--rootfs", &root, "/bin/id"])?;
        let mut spec: Value =
            serde_json::from_str(&printed.stdout).with_context(|| format!("--print-spec: {printed:?}"))?;
        spec["linux"]["seccomp"] = serde_json::from_str(&profile)?;
        spec["process"]["noNewPrivileges"] = json!(!privileged);
        spec["root"] = json!({"path": root, "readonly": true});
        if let Some(linux) = spec["linux"].as_object_mut() {
            linux.remove("cgroupsPath");
            linux.remove("resources");
        }
        let bundle = dir.path().join("bundle");
        std::fs::create_dir_all(&bundle)?;
        std::fs::write(bundle.join("config.json"), spec.to_string())?;
        for runtime in ["runc", "crun"] {
            // crun takes no hybrid cgroups: in a mount namespace without the v2 tree they are v1.
            let name = format!("plimtest-learn-{}-{runtime}-{privileged}", std::process::id());
            let script = format!(
                "umount /sys/fs/cgroup/unified 2>/dev/null; exec {runtime} run -b {} {name}",
                bundle.display()
            );
            let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).output()?;
            ensure!(
                output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with("uid=0"),
                "{runtime} under the proposal, no_new_privs {}: {output:?}",
                !privileged
            );
        }
    }
    Ok(())
}

fn docker(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let root = busybox(dir.path())?;
    let place = dir.path().display().to_string();
    let daemon = Daemon::start()?;
    daemon.import(&root, "plimtest:1")?;
    let socket = daemon.socket();
    let learn = |args: &[&str], status: i32| -> Result<String> {
        let outcome = ctx.tool_with("plim-learn", args, &[("DOCKER_HOST", &socket)])?;
        same(&format!("status of plim learn {args:?}: {outcome:?}"), outcome.code, status)?;
        Ok(outcome.stdout)
    };
    let script = "umask 22; sleep 1; umask 77; sleep 0.2; true";
    daemon.must(&["run", "-d", "--name", "web", "--network=none", "plimtest:1", "sh", "-c", script])?;
    learn(&["record", "-q", "-o", &place, "docker:web"], 0)?;
    document(ctx, &dir.path().join("recording-001.json"))?;
    daemon.must(&["rm", "-f", "web"])?;
    // Only its second half was seen; the start of every program is the same.
    let trial = ["--engine", "docker", "--image", "plimtest:1", "--run-option=--network=none", "--usual"];
    let command = ["--", "sh", "-c", "sleep 1; umask 77; true"];
    let verified =
        learn(&[&["verify", "-q", "--format", "json", &place], &trial[..], &command[..]].concat(), 0)?;
    let verified: Value = serde_json::from_str(&verified)?;
    same("refusals", verified["denials"].clone(), json!([]))?;
    let command = ["--", "sh", "-c", "sleep 1; chown 5 /tmp; exit $?"];
    let failed =
        learn(&[&["verify", "-q", "--format", "json", &place], &trial[..], &command[..]].concat(), 1)?;
    let failed: Value = serde_json::from_str(&failed)?;
    let told = rows(&failed, "denials")?;
    ensure!(
        told.iter().any(|one| one["syscall"].as_str().is_some_and(|name| name.contains("chown"))),
        "the refusal of chown is not told: {failed}"
    );
    Ok(())
}

fn bad_input(ctx: &Ctx) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("plimtest-learn-").tempdir()?;
    let file = |name: &str, text: &str| -> Result<String> {
        let path = dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let nothing = dir.path().display().to_string();
    let profile = file("profile.json", r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#)?;
    let text = file("text", "no JSON")?;
    let newer = file("newer.json", r#"{"format": "2.0", "recorded": {}}"#)?;
    for (args, words) in [
        (&["propose", "/nowhere.json"][..], "/nowhere.json"),
        (&["propose", &nothing], "no recording-*.json"),
        (&["propose", &profile], "expected a recording"),
        (&["propose", &text], "expected a recording"),
        (&["propose", &newer], "expected 1.0"),
        (&["propose", &nothing, "--runtime", "rnuc"], "runc"),
        (&["verify", &profile], "expected a recording or a proposal"),
        (&["verify", &nothing, "--engine", "docker"], "--image"),
        (&["record", "--duration", "5x", "plim:none"], "ms, s, m or h"),
        (&["record", "plim:nobody-of-this-name"], "nobody-of-this-name"),
        (&["record"], "TARGET"),
        (&["record", "-o", &nothing, "--before", "exit 3", "--", "true"], "exit status: 3"),
        (&["record", "-o", &nothing, "--before", "exit 3", "--test", "true", "--", "true"], "status 3"),
    ] {
        let outcome = ctx.tool("plim-learn", args)?;
        same(&format!("status of {args:?}: {outcome:?}"), outcome.code, 2)?;
        ensure!(outcome.stderr.contains(words), "{args:?}: {words:?} is not in {:?}", outcome.stderr);
        same("stdout", outcome.stdout.as_str(), "")?;
    }
    same("files", std::fs::read_dir(dir.path())?.count(), 3)
}
