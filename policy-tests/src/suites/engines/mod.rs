//! What other engines install: the kernel holds the filter that `plim seccomp --as ENGINE` says.
//!
//! Each engine is the real program of this machine, and so is its libseccomp. The profiles are those on which engines differ:
//! an argument named twice, rules equal to the default, names that nobody knows, socketcall and ipc, ENOSYS above what is named.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use plim_seccomp::installed::Vintage;
use plim_seccomp::presets;
use serde_json::{Value, json};

use crate::dockerd::Daemon;
use crate::launcher::{Outcome, Running};
use crate::{Case, Ctx, Need, Suite, Test, Weakening as W, same, sys};

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "engines",
    tests: &[
        Test {
            name: "runc",
            says: "runc installs what --as runc says, profile by profile, and refuses what --as refuses",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-seccomp"), Need::Program("runc")],
            red_under: &[W::NoSeccomp],
            run: |ctx| runtime(ctx, "runc"),
        },
        Test {
            name: "crun",
            says: "crun installs what --as crun says, profile by profile, and refuses what --as refuses",
            needs: &[Need::Plim, Need::Root, Need::Built("plim-seccomp"), Need::Program("crun")],
            red_under: &[W::NoSeccomp],
            run: |ctx| runtime(ctx, "crun"),
        },
        Test {
            name: "podman",
            says: "podman installs what --as podman says, in both dialects",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("podman"),
                Need::Program("crun"),
            ],
            red_under: &[W::NoSeccomp],
            run: podman,
        },
        Test {
            name: "containerd",
            says: "containerd installs what --as containerd says: OCI's keys and no others",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("containerd"),
                Need::Program("ctr"),
                Need::Program("runc"),
            ],
            red_under: &[W::NoSeccomp],
            run: containerd,
        },
        Test {
            name: "docker",
            says: "dockerd installs what --as docker says, and a process that entered its container without the filter is found",
            needs: &[
                Need::Plim,
                Need::Root,
                Need::Built("plim-seccomp"),
                Need::Program("dockerd"),
                Need::Program("docker"),
                Need::Program("runc"),
                Need::Program("nsenter"),
            ],
            red_under: &[W::NoSeccomp],
            run: docker,
        },
    ],
};

/// The version that a program gives of itself, in the form `PROGRAM@VERSION`.
fn version(program: &str, spelling: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").output().with_context(|| program.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "runc version 1.1.5+ds1", "Docker version 20.10.24+dfsg1, build …", "containerd github.com/… 1.6.20~ds1 …"
    let number = |word: &&str| word.starts_with(|letter: char| letter.is_ascii_digit());
    let first = text.lines().next().unwrap_or_default();
    let found =
        first.split([' ', ',']).find(number).with_context(|| format!("{program} --version says {text:?}"))?;
    Ok(format!("{spelling}@{found}"))
}

/// `--libseccomp VERSION` of the installed library, where the package manager tells it.
fn libseccomp() -> Vec<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f", "${Version}", "libseccomp2"]);
    let text = query.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let known = text.ok().filter(|text| text.parse::<Vintage>().is_ok());
    known.map_or_else(Vec::new, |text| vec!["--libseccomp".to_owned(), text])
}

/// One process' filter against a profile.
fn verify(ctx: &Ctx, pid: &str, profile: &Path, engine: &str) -> Result<Outcome> {
    let (target, profile) = (format!("pid:{pid}"), profile.display().to_string());
    let library = libseccomp();
    let mut words = vec![
        "verify",
        "--format",
        "json",
        &target,
        "--profile",
        &profile,
        "--as",
        engine,
        "--skip-unknown-names",
    ];
    words.extend(library.iter().map(String::as_str));
    ctx.tool("plim-seccomp", &words)
}

/// It is the profile's, and not another's.
fn is_installed(ctx: &Ctx, what: &str, pid: &str, profile: &Path, engine: &str) -> Result<()> {
    let outcome = verify(ctx, pid, profile, engine)?;
    same(&format!("{what} --as {engine}: {}{}", outcome.stdout, outcome.stderr), outcome.code, 0)?;
    let found: Value = serde_json::from_str(&outcome.stdout).with_context(|| format!("{outcome:?}"))?;
    same(what, found["groups"][0]["verdict"].clone(), json!("equal"))?;
    same(&format!("filters of {what}"), found["groups"][0]["filters"].clone(), json!(1))?;
    let target = format!("pid:{pid}");
    let outcome = ctx
        .tool("plim-seccomp", &["verify", &target, "--profile", "preset:class-default", "--as", "written"])?;
    same(&format!("{what} against another profile"), outcome.code, 1)
}

/// Names that Docker's default allows to everybody, but for some that a test speaks of itself.
fn allowed(but: &[&str]) -> Result<Value> {
    let default: Value = serde_json::from_str(presets::get("docker-default").context("the preset")?)?;
    let rules = default["syscalls"].as_array().context("no rules")?;
    let plain = rules.iter().filter(|rule| {
        rule["action"] == "SCMP_ACT_ALLOW"
            && ["args", "includes", "excludes"].iter().all(|key| {
                let value = &rule[*key];
                value.is_null() || value == &json!([]) || value == &json!({})
            })
    });
    let mut names: Vec<&str> =
        plain.filter_map(|rule| rule["names"].as_array()).flatten().filter_map(Value::as_str).collect();
    // For x86-64 alone in the default.
    names.extend(["arch_prctl", "modify_ldt", "clone"]);
    names.retain(|name| !but.contains(name));
    Ok(json!({"names": names, "action": "SCMP_ACT_ALLOW"}))
}

fn arg(index: u32, operator: &str, value: u64, two: u64) -> Value {
    json!({"index": index, "op": format!("SCMP_CMP_{operator}"), "value": value, "valueTwo": two})
}

fn rule(names: &[&str], action: &str, args: &[Value]) -> Value {
    json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": args})
}

/// The rules on which runtimes and libseccomp have ways of their own; each with the calls that it speaks of.
fn special() -> Vec<(&'static str, &'static [&'static str], Vec<Value>)> {
    let errno = |mut rule: Value, number: u32| {
        rule["errnoRet"] = json!(number);
        rule
    };
    vec![
        (
            "an argument named twice",
            &["socket"],
            vec![
                rule(&["socket"], "ALLOW", &[arg(0, "EQ", 1, 0), arg(0, "EQ", 2, 0), arg(1, "EQ", 1, 0)]),
                rule(&["personality"], "ALLOW", &[arg(0, "EQ", 0, 0), arg(0, "EQ", 8, 0)]),
            ],
        ),
        (
            "rules equal to the default",
            &["socket", "bind", "keyctl"],
            vec![
                rule(&["socket", "bind"], "ERRNO", &[]),
                rule(&["socket"], "ALLOW", &[arg(0, "EQ", 2, 0)]),
                errno(rule(&["keyctl"], "ERRNO", &[]), 38),
            ],
        ),
        (
            "names that are not known, or not to every library",
            &[],
            vec![rule(
                &["frobnicate", "mseal", "listmount", "file_getattr", "fchmodat2", "s390_pci_mmio_read"],
                "ALLOW",
                &[],
            )],
        ),
        (
            "calls behind socketcall and ipc",
            &["socket", "connect", "sendto", "shmget", "semop", "accept4", "socketcall", "ipc"],
            vec![
                rule(&["socket", "connect", "sendto"], "ALLOW", &[arg(0, "NE", 16, 0)]),
                rule(&["shmget", "semop"], "ALLOW", &[arg(1, "LT", 100, 0)]),
                rule(&["accept4"], "LOG", &[arg(3, "MASKED_EQ", 0x800, 0x800)]),
            ],
        ),
        (
            "overlapping conditions, high words and every action",
            &["setpriority", "sched_setparam", "sched_getparam", "mlock", "munlock", "flock", "alarm"],
            vec![
                rule(&["setpriority"], "ALLOW", &[arg(0, "GE", 5, 0), arg(1, "LE", 7, 0)]),
                errno(rule(&["setpriority"], "ERRNO", &[arg(0, "EQ", 9, 0)]), 22),
                rule(&["sched_setparam"], "ALLOW", &[arg(0, "GT", 1 << 32, 0)]),
                rule(&["sched_getparam"], "ALLOW", &[arg(0, "LT", (1 << 32) + 1, 0)]),
                rule(&["mlock"], "TRAP", &[arg(0, "MASKED_EQ", 0xff << 32, 0x12 << 32)]),
                rule(&["mlock"], "ALLOW", &[arg(1, "NE", 0, 0)]),
                rule(&["munlock"], "KILL_PROCESS", &[]),
                errno(rule(&["flock"], "TRACE", &[]), 7),
                rule(&["alarm"], "LOG", &[]),
            ],
        ),
        (
            "six conditions in one rule",
            &[],
            vec![rule(
                &["keyctl"],
                "ALLOW",
                &[
                    arg(0, "EQ", 15, 0),
                    arg(1, "NE", 0, 0),
                    arg(2, "LE", 5, 0),
                    arg(3, "GE", 7, 0),
                    arg(4, "MASKED_EQ", 0xf, 3),
                    arg(5, "EQ", 9, 0),
                ],
            )],
        ),
    ]
}

/// Profiles in OCI's dialect.
fn oci_profiles() -> Result<Vec<(String, Value)>> {
    let all = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let mut profiles = Vec::new();
    for (what, calls, rules) in special() {
        let rules: Vec<Value> = std::iter::once(allowed(calls)?).chain(rules).collect();
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": all, "syscalls": rules});
        profiles.push((what.to_owned(), profile));
    }
    let socket = rule(&["socket"], "ALLOW", &[arg(0, "EQ", 2, 0)]);
    let with = |default: &str, architectures: Value, rules: Vec<Value>| json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": architectures, "syscalls": rules});
    let mut enosys = with("ERRNO", all.clone(), vec![allowed(&["socket"])?, socket.clone()]);
    enosys["defaultErrnoRet"] = json!(38);
    let deny = vec![
        rule(&["socket"], "ERRNO", &[arg(0, "EQ", 17, 0)]),
        rule(&["unshare", "setns"], "ERRNO", &[]),
        rule(&["clone"], "ERRNO", &[arg(0, "MASKED_EQ", 0x7e02_0000, 0x1000_0000)]),
        rule(&["kexec_load"], "KILL_PROCESS", &[]),
        rule(&["bpf"], "ALLOW", &[]),
    ];
    profiles.extend([
        ("a default of ENOSYS".to_owned(), enosys),
        (
            "no architectures listed".to_owned(),
            with("ERRNO", json!([]), vec![allowed(&["socket"])?, socket.clone()]),
        ),
        (
            "another architecture alone listed".to_owned(),
            with("ERRNO", json!(["SCMP_ARCH_X86"]), vec![allowed(&["socket"])?, socket.clone()]),
        ),
        (
            "a default of KILL_THREAD".to_owned(),
            with("KILL_THREAD", all.clone(), vec![allowed(&["socket"])?, socket]),
        ),
        ("a list of refusals".to_owned(), with("ALLOW", all, deny)),
    ]);
    Ok(profiles)
}

/// One condition with two actions: no libseccomp joins that.
fn conflict() -> Result<Value> {
    let rules = vec![
        allowed(&["socket"])?,
        rule(&["socket"], "ALLOW", &[arg(0, "EQ", 1, 0)]),
        rule(&["socket"], "LOG", &[arg(0, "EQ", 1, 0)]),
    ];
    Ok(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}))
}

/// crun refuses hosts with cgroup v1 and a v2 tree that has controllers: it is shown none.
fn without_hybrid(program: &str) -> Command {
    if Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
        let mut command = Command::new("unshare");
        command.args([
            "-m",
            "--propagation",
            "slave",
            "sh",
            "-c",
            "umount /sys/fs/cgroup/unified && exec \"$@\"",
            "sh",
            program,
        ]);
        command
    } else {
        Command::new(program)
    }
}

fn runtime(ctx: &Ctx, program: &str) -> Result<()> {
    let engine = version(program, program)?;
    for (what, profile) in oci_profiles()? {
        let mut running = start(ctx, program, &profile)?;
        running.wait_for("ready").with_context(|| what.clone())?;
        let file = running.case.dir.path().join("profile.json");
        is_installed(ctx, &what, &running.host_pid()?.to_string(), &file, &engine)?;
    }
    let mut running = start(ctx, program, &conflict()?)?;
    let outcome = running.wait()?;
    ensure!(outcome.code != 0, "{program} takes one condition with two actions: {outcome:?}");
    let file = running.case.dir.path().join("profile.json").display().to_string();
    let outcome = ctx.tool("plim-seccomp", &["show", &file, "--as", &engine])?;
    same(&format!("status for a conflict: {}", outcome.stderr), outcome.code, 2)?;
    ensure!(outcome.stderr.contains("/syscalls/2"), "no place: {}", outcome.stderr);
    Ok(())
}

/// The witness under a runtime, with the profile beside the bundle's config.
fn start(ctx: &Ctx, program: &str, profile: &Value) -> Result<Running> {
    let mut case = ctx.case(&["hold", "30"])?.with("/linux/seccomp", profile.clone());
    if let Some(fields) = case.spec["linux"].as_object_mut() {
        fields.remove("cgroupsPath");
        fields.remove("resources");
    }
    std::fs::write(case.dir.path().join("profile.json"), profile.to_string())?;
    if let Some(weakening) = ctx.weakening {
        weakening.apply(&mut case.spec);
    }
    case.write()?;
    let mut command = if program == "crun" { without_hybrid(program) } else { Command::new(program) };
    command.arg("--root").arg(case.dir.path().join("state"));
    if program == "crun" {
        command.arg("--cgroup-manager=disabled");
    }
    command.args(["run", "--bundle"]).arg(case.dir.path()).arg(&case.tag);
    ctx.start_command(&mut command, case)
}

/// Profiles with the keys of engines.
fn engine_profiles() -> Result<Vec<(&'static str, Value)>> {
    let map = json!([{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}]);
    let of =
        |name: &str| -> Result<Value> { Ok(serde_json::from_str(presets::get(name).context("a preset")?)?) };
    let when = |name: &str, key: &str, value: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", key: value});
    let keys = json!({"defaultAction": "SCMP_ACT_ERRNO", "archMap": map, "syscalls": [
        allowed(&["chroot", "ptrace", "socket"])?,
        when("ptrace", "includes", json!({"minKernel": "4.8"})),
        when("kexec_load", "includes", json!({"minKernel": "99.1"})),
        when("reboot", "includes", json!({"caps": ["CAP_SYS_BOOT"]})),
        when("chroot", "includes", json!({"caps": ["CAP_SYS_CHROOT"]})),
        when("acct", "excludes", json!({"caps": ["CAP_SYS_ADMIN"]})),
        when("swapon", "includes", json!({"arches": ["arm64"]})),
        when("swapoff", "excludes", json!({"arches": ["arm64"]})),
        rule(&["personality"], "ALLOW", &[arg(0, "EQ", 0, 0), arg(0, "EQ", 8, 0)]),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        rule(&["socket"], "ALLOW", &[arg(0, "NE", 40, 0)]),
        rule(&["frobnicate"], "ALLOW", &[])
    ]});
    let mut errors = keys.clone();
    errors["defaultErrnoRet"] = json!(1);
    errors["defaultErrno"] = json!("ENOSYS");
    if let Some(rules) = errors["syscalls"].as_array_mut() {
        rules.push(
            json!({"names": ["quotactl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EBUSY"}),
        );
    }
    Ok(vec![
        ("docker-default", of("docker-default")?),
        ("podman-default", of("podman-default")?),
        ("every key of Docker's", keys),
        ("errors by name", errors),
    ])
}

/// A daemon or container that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        sys::kill(i32::try_from(self.0.id()).unwrap_or(0), libc::SIGTERM);
        let start = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The output of a command that must succeed.
fn must(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{command:?} ended with {:?}: {said}", output.status.code());
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The bundle's root file system with each profile as a file.
fn with_files(ctx: &Ctx, profiles: &[(&'static str, Value)]) -> Result<(Case, Vec<PathBuf>)> {
    let case = ctx.case(&[])?;
    let files = profiles.iter().enumerate().map(|(index, (_, profile))| {
        let file = case.dir.path().join(format!("profile-{index}.json"));
        std::fs::write(&file, profile.to_string())?;
        Ok(file)
    });
    let files = files.collect::<Result<_>>()?;
    Ok((case, files))
}

fn podman(ctx: &Ctx) -> Result<()> {
    let engine = format!("{}/{}", version("podman", "podman")?, version("crun", "crun")?);
    let profiles = engine_profiles()?;
    let (case, files) = with_files(ctx, &profiles)?;
    let store = case.dir.path().join("podman");
    let command = || {
        let mut command = without_hybrid("podman");
        for (option, place) in [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(option).arg(store.join(place));
        }
        command.args([
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
            "--events-backend=none",
            "--runtime=crun",
        ]);
        command
    };
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let option = match ctx.weakening {
            Some(W::NoSeccomp) => "seccomp=unconfined".to_owned(),
            _ => format!("seccomp={}", file.display()),
        };
        let mut run = command();
        run.args([
            "run",
            "-d",
            "--name",
            &name,
            "--network=none",
            "--cgroups=disabled",
            "--security-opt",
            &option,
        ]);
        // A limit above the caller's own needs CAP_SYS_RESOURCE.
        run.args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000", "--rootfs"]).arg(&case.rootfs);
        must(run.args(["/bin/witness", "hold", "60"]))?;
        let result = (|| {
            let pid = must(command().args(["inspect", "-f", "{{.State.Pid}}", &name]))?;
            is_installed(ctx, what, &pid, file, &engine)
        })();
        must(command().args(["rm", "-f", "-t", "0", &name]))?;
        result?;
    }
    Ok(())
}

fn containerd(ctx: &Ctx) -> Result<()> {
    let engine = format!("{}/{}", version("containerd", "containerd")?, version("runc", "runc")?);
    let mut profiles = engine_profiles()?;
    let plain: Vec<(String, Value)> = oci_profiles()?;
    profiles.push((
        "no architectures listed",
        plain.iter().find(|(what, _)| what.starts_with("no arch")).context("gone")?.1.clone(),
    ));
    let (case, files) = with_files(ctx, &profiles)?;
    let dir = case.dir.path();
    let socket = dir.join("sock");
    let config = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
        dir.join("root"),
        dir.join("state"),
        socket,
        dir.join("ttrpc"),
    );
    std::fs::write(dir.join("config.toml"), config)?;
    let log = std::fs::File::create(dir.join("log"))?;
    let mut daemon = Command::new("containerd");
    daemon.arg("-c").arg(dir.join("config.toml")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let _daemon = Ended(daemon.spawn().context("containerd")?);
    let ctr = |words: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("-a").arg(&socket).args(words);
        command
    };
    let start = Instant::now();
    while must(&mut ctr(&["version"])).is_err() {
        ensure!(start.elapsed() < Duration::from_secs(20), "containerd does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let mut run = ctr(&["run", "-d", "--rootfs"]);
        if ctx.weakening != Some(W::NoSeccomp) {
            run.args(["--seccomp", "--seccomp-profile"]).arg(file);
        }
        must(run.arg(&case.rootfs).args([&name, "/bin/witness", "hold", "60"]))
            .with_context(|| (*what).to_owned())?;
        let result = (|| {
            let tasks = must(&mut ctr(&["tasks", "ls"]))?;
            let row = tasks.lines().find(|line| line.starts_with(&name)).context("no task")?;
            let pid = row.split_whitespace().nth(1).context("no pid")?;
            is_installed(ctx, what, pid, file, &engine)
        })();
        must(&mut ctr(&["tasks", "kill", "-s", "KILL", &name]))?;
        // It takes a moment to be seen as ended.
        let start = Instant::now();
        while must(&mut ctr(&["containers", "rm", &name])).is_err() {
            ensure!(start.elapsed() < Duration::from_secs(10), "{name} cannot be removed");
            std::thread::sleep(Duration::from_millis(50));
        }
        result?;
    }
    Ok(())
}

fn docker(ctx: &Ctx) -> Result<()> {
    let daemon = Daemon::start()?;
    let engine = format!("{}/{}", version("dockerd", "docker")?, version("runc", "runc")?);
    let profiles = engine_profiles()?;
    let (case, files) = with_files(ctx, &profiles)?;
    daemon.import(&case.rootfs, "plimtest")?;
    for ((what, _), file) in profiles.iter().zip(&files) {
        let name = crate::spec::fresh_tag();
        let option = match ctx.weakening {
            Some(W::NoSeccomp) => "seccomp=unconfined".to_owned(),
            _ => format!("seccomp={}", file.display()),
        };
        daemon.must(&[
            "run",
            "-d",
            "--network=none",
            "--name",
            &name,
            "--security-opt",
            &option,
            "plimtest",
            "/bin/witness",
            "hold",
            "60",
        ])?;
        let pid = daemon.must(&["inspect", "-f", "{{.State.Pid}}", &name])?;
        is_installed(ctx, what, &pid, file, &engine)?;
        if *what == "docker-default" {
            entered(ctx, &daemon, &name, &pid)?;
        }
        daemon.must(&["rm", "-f", &name])?;
    }
    Ok(())
}

/// The engine's own config on disk is the declared profile; `docker exec` puts the filter on, `nsenter` does not.
fn entered(ctx: &Ctx, daemon: &Daemon, name: &str, pid: &str) -> Result<()> {
    let verified = |status: i32| -> Result<Value> {
        let mut command = Command::new(ctx.bin.join("plim-seccomp"));
        command
            .args(["verify", "--format", "json", &format!("docker:{name}")])
            .env("DOCKER_HOST", daemon.socket());
        let output = command.output().context("plim-seccomp")?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        same(&format!("status of verify docker:{name}: {said}"), output.status.code(), Some(status))?;
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    daemon.must(&["exec", "-d", name, "/bin/witness", "hold", "50"])?;
    std::thread::sleep(Duration::from_millis(300));
    let found = verified(0)?;
    // runc writes one profile in more than one way, so equal filters may be two groups.
    let groups = found["groups"].as_array().context("no groups")?;
    ensure!(
        groups.iter().all(|group| group["verdict"] == "equal"),
        "docker exec without the filter: {found}"
    );
    let threads = groups.iter().filter_map(|group| group["threads"].as_array()).map(Vec::len);
    same("processes", threads.sum::<usize>(), 2)?;
    let mut enter = Command::new("nsenter");
    enter
        .args(["-t", pid, "-m", "-p", "--", "/bin/witness", "hold", "40"])
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let mut outsider = Ended(enter.spawn().context("nsenter")?);
    std::thread::sleep(Duration::from_millis(500));
    let found = verified(1)?;
    // Its parent is outside the container, and the container ends only when that one has reaped it.
    let inside = found["groups"][0]["threads"][0]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    sys::kill(inside.filter(|pid| *pid > 1).context("no pid")?, libc::SIGKILL);
    let start = Instant::now();
    while matches!(outsider.0.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(5));
    }
    same("verdict", found["groups"][0]["verdict"].clone(), json!("different"))?;
    same("filters", found["groups"][0]["filters"].clone(), json!(0))
}
