//! Attempts to run, read or write the host's `plim-run` from a container, and to get at what its caller has.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};

use super::Canary;
use crate::suites::races::racing;
use crate::{Case, Ctx, Need, Outcome, Running, Suite, Test, Weakening as W, host, process, same};

/// A word in the environment of every launcher here.
const SECRET: &str = "PLIM_TEST_SECRET=of-the-launcher";

/// Starts against which the command is exchanged; PLIM_RACE_STARTS says how many instead.
const RACE_STARTS: usize = 20;

/// The promise.
pub const SUITE: Suite = Suite {
    promise: "hostile",
    tests: &[
        Test {
            name: "sealed_executable",
            says: "what the launcher, its janitor and a container's init execute cannot be written, during the run or after it (CVE-2019-5736)",
            needs: &[Need::Plim],
            red_under: &[W::HostExecutable],
            run: sealed_executable,
        },
        Test {
            name: "sealed_for_others",
            says: "the same for users other than root, and with CAP_DAC_READ_SEARCH in the container from memory: no handle leads from there to the host's files",
            needs: &[Need::Plim],
            red_under: &[W::HostExecutable],
            run: sealed_for_others,
        },
        Test {
            name: "command_is_the_launcher",
            says: "no link, script, unreadable script or ELF interpreter leads to the launcher's executable",
            needs: &[Need::Plim],
            red_under: &[W::MaskedExit],
            run: command_is_the_launcher,
        },
        Test {
            name: "command_becomes_the_launcher",
            says: "a command exchanged during the start gives a neighbour no launcher to write (PLIM_RACE_STARTS: for how many starts)",
            needs: &[Need::Plim],
            red_under: &[W::HostExecutable],
            run: command_becomes_the_launcher,
        },
        Test {
            name: "joined_pid_namespace",
            says: "during a start in a neighbour's pid namespace the neighbour sees no root, memory or environment of the host's; with CAP_SYS_PTRACE there is no start",
            needs: &[Need::Plim],
            red_under: &[W::KeepsBounding, W::HostPid],
            run: joined_pid_namespace,
        },
        Test {
            name: "session_keyring",
            says: "the keys of the caller's session are not the container's, unconfined, privileged, in a user namespace or not",
            needs: &[Need::Plim, Need::File("/proc/keys")],
            red_under: &[W::CallersKeyring],
            run: session_keyring,
        },
    ],
};

/// A `plim-run` that nothing else executes, and how it was.
struct Launcher {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    modified: SystemTime,
}

impl Launcher {
    fn new(ctx: &Ctx) -> Result<Launcher> {
        let dir = tempfile::Builder::new().prefix(crate::spec::PREFIX).tempdir()?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let path = dir.path().join("plim-run");
        fs::copy(ctx.bin.join("plim-run"), &path)?;
        let (bytes, modified) = (fs::read(&path)?, fs::metadata(&path)?.modified()?);
        Ok(Launcher { dir, bytes, modified })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("plim-run")
    }

    fn untouched(&self) -> Result<()> {
        ensure!(fs::read(self.path())? == self.bytes, "the launcher was written");
        same("the launcher's time of change", fs::metadata(self.path())?.modified()?, self.modified)
    }

    /// Runs a case as [`Ctx::start`] does.
    fn start(&self, ctx: &Ctx, mut case: Case, before: &[&Path]) -> Result<Running> {
        if let Some(weakening) = ctx.weakening {
            weakening.apply(&mut case.spec);
        }
        case.write()?;
        let (name, value) = SECRET.split_once('=').context("a variable")?;
        let given = ctx.command(&case);
        let mut words: Vec<PathBuf> = before.iter().map(|word| word.to_path_buf()).collect();
        words.push(self.path());
        words.extend(given.get_args().map(PathBuf::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env(name, value).current_dir(case.dir.path());
        ctx.start_command(&mut command, case)
    }
}

/// What a process executes, held without a right to anything. Under [`W::HostExecutable`] it is the host's file.
fn hold(ctx: &Ctx, launcher: &Path, pid: i32) -> Result<File> {
    let path = match ctx.weakening {
        Some(W::HostExecutable) => launcher.to_owned(),
        _ => format!("/proc/{pid}/exe").into(),
    };
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// Fails when the file can be written, by any way that root has outside.
fn sealed(file: &File) -> Result<()> {
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let errno = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or_default());
    // A process that is just ending still executes it.
    let opened = process::until(Duration::from_secs(10), || {
        match fs::OpenOptions::new().write(true).open(&path).map_err(errno) {
            Err(Errno::ETXTBSY) => anyhow::bail!("still executed"),
            other => Ok(other),
        }
    })?;
    match opened {
        Ok(memory) => {
            use std::os::unix::fs::FileExt as _;
            let written = memory.write_at(b"\x7f", 0).map_err(errno);
            same("writing a byte", written, Err(Errno::EPERM))
        }
        Err(refused) => {
            same("opening for writing", refused, Errno::EROFS)?;
            let mode = fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(errno);
            same("changing the mode", mode, Err(Errno::EROFS))?;
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
            let remounted = mount(None::<&str>, &path, None::<&str>, flags, None::<&str>);
            same("mounting it anew for writing", remounted, Err(Errno::EINVAL))
        }
    }
}

fn sealed_executable(ctx: &Ctx) -> Result<()> {
    let launcher = Launcher::new(ctx)?;
    let case = ctx.case(&["hold", "20"])?;
    let mut command = Command::new(launcher.path());
    command.args(["--init", "-e", &format!("PLIM_TEST_TAG={}", case.tag), "--rootfs"]).arg(&case.rootfs);
    command.args(["--", "/bin/witness", "hold", "20"]);
    let mut running = ctx.start_command(&mut command, case)?;
    running.wait_for("ready")?;
    let own = i32::try_from(running.child.id())?;
    let mut pids = vec![own];
    pids.extend(
        host::pids().into_iter().filter(|pid| host::parent(*pid).is_some_and(|(parent, _)| parent == own)),
    );
    ensure!(pids.len() == 3, "the launcher, its janitor and the init, and not {pids:?}");
    let held = pids.iter().map(|pid| hold(ctx, &launcher.path(), *pid)).collect::<Result<Vec<_>>>()?;
    running.signal(libc::SIGTERM);
    running.finish()?;
    held.iter().try_for_each(sealed)?;
    launcher.untouched()
}

fn sealed_for_others(ctx: &Ctx) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    const USER: u32 = 1000;
    let launcher = Launcher::new(ctx)?;
    for as_user in [false, true] {
        let case = ctx.case(&["hold", "20"])?;
        let runtime = case.dir.path().join("runtime");
        fs::create_dir(&runtime)?;
        let mut command = Command::new(launcher.path());
        if as_user {
            fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700))?;
            std::os::unix::fs::chown(&runtime, Some(USER), Some(USER))?;
            command.uid(USER).gid(USER).current_dir("/").env("XDG_RUNTIME_DIR", &runtime);
        } else {
            command.args(["--cap-add", "DAC_READ_SEARCH"]);
        }
        command.args(["-e", &format!("PLIM_TEST_TAG={}", case.tag), "--rootfs"]).arg(&case.rootfs);
        command.args(["--", "/bin/witness", "hold", "20"]);
        let mut running = ctx.start_command(&mut command, case)?;
        running.wait_for("ready")?;
        let held = hold(ctx, &launcher.path(), i32::try_from(running.child.id())?)?;
        running.signal(libc::SIGTERM);
        running.finish()?;
        let host = fs::metadata(launcher.path())?;
        let found = held.metadata()?;
        ensure!(
            as_user || (found.dev(), found.ino()) != (host.dev(), host.ino()),
            "the launcher executes the host's file"
        );
        sealed(&held)?;
    }
    launcher.untouched()
}

/// An ELF program whose interpreter is `path`.
fn elf(path: &str) -> Vec<u8> {
    let (machine, entry) =
        if cfg!(target_arch = "x86_64") { (62_u16, 0x40_0000_u64) } else { (183, 0x40_0000) };
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for half in [2_u16, machine] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1_u32.to_le_bytes());
    for word in [entry, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    let length = path.len() as u64 + 1;
    file.extend_from_slice(&3_u32.to_le_bytes());
    file.extend_from_slice(&4_u32.to_le_bytes());
    for word in [120, entry + 120, entry + 120, length, length, 1] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(path.as_bytes());
    file.push(0);
    file
}

fn command_is_the_launcher(ctx: &Ctx) -> Result<()> {
    let launcher = Launcher::new(ctx)?;
    let script = |path: &str| format!("#!{path}\n").into_bytes();
    let table: [(&str, Option<Vec<u8>>, u32); 6] = [
        ("a link", None, 0o755),
        ("a script", Some(script("/proc/self/exe --help")), 0o755),
        ("a script that cannot be read", Some(script("/proc/self/exe --help")), 0o111),
        ("a script of a script", Some(script("/bin/second")), 0o755),
        ("an ELF interpreter", Some(elf("/proc/self/exe")), 0o755),
        ("an ELF interpreter that cannot be read", Some(elf("/proc/self/exe")), 0o111),
    ];
    for (what, content, mode) in table {
        let case = ctx.case(&[])?.with("/process/args", json!(["/bin/evil"])).capabilities(&[]);
        let case = case.with("/process/user", json!({"uid": 1000, "gid": 1000}));
        let (evil, second) = (case.rootfs.join("bin/evil"), case.rootfs.join("bin/second"));
        fs::write(&second, script("/proc/self/exe --help"))?;
        fs::set_permissions(&second, fs::Permissions::from_mode(0o111))?;
        match content {
            None => symlink("/proc/self/exe", &evil)?,
            Some(content) => {
                fs::write(&evil, content)?;
                fs::set_permissions(&evil, fs::Permissions::from_mode(mode))?;
            }
        }
        let outcome = launcher.start(ctx, case, &[])?.finish()?;
        ensure!(outcome.code == 126, "{what}: status {} and not 126: {outcome:?}", outcome.code);
        ensure!(outcome.stdout.is_empty(), "{what}: it ran: {}", outcome.stdout);
    }
    launcher.untouched()
}

/// A neighbour that looks at everything in its pid namespace. It has another launcher: one that runs cannot be written.
fn neighbour(ctx: &Ctx, launcher: &Launcher, canary: &Canary, capabilities: &[&str]) -> Result<Running> {
    let canary = canary.path().display().to_string();
    let mut case = ctx.case(&["observe", &canary, SECRET, "/data/launcher"])?.capabilities(capabilities);
    if ctx.weakening == Some(W::HostExecutable) {
        fs::write(case.rootfs.join("data/launcher"), "")?;
        case = case.mount("/data/launcher", "bind", &launcher.path().display().to_string(), &["bind", "rw"]);
    }
    let mut running = ctx.start(case)?;
    running.wait_for("ready")?;
    Ok(running)
}

/// Makes the container join the pid namespace of a neighbour.
fn joining(case: Case, neighbour: &Running) -> Result<Case> {
    let path = format!("/proc/{}/ns/pid", neighbour.host_pid()?);
    let mut case = case;
    for namespace in case.spec["linux"]["namespaces"].as_array_mut().into_iter().flatten() {
        if namespace["type"] == "pid" {
            namespace["path"] = json!(path);
        }
    }
    Ok(case)
}

/// What the neighbour got in the end.
fn report(running: Running) -> Result<Value> {
    running.signal(libc::SIGTERM);
    let report = running.finish()?.json()?;
    ensure!(report["looks"].as_u64() > Some(0), "the neighbour did not look: {report}");
    Ok(report)
}

/// Nothing of the host's was got, and nothing with the launcher's identity can be written.
fn got_nothing(report: &Value, launcher: &Launcher) -> Result<()> {
    for what in ["roots", "secrets", "memories"] {
        same(what, report[what].as_u64(), Some(0))?;
    }
    let host = fs::metadata(launcher.path())?;
    for held in report["executables"].as_array().into_iter().flatten() {
        let launchers =
            (held["device"].as_u64(), held["inode"].as_u64()) == (Some(host.dev()), Some(host.ino()));
        let memory = held["link"].as_str().is_some_and(|link| link.starts_with("/memfd:plim"));
        ensure!(!(launchers || memory) || held["written"] != "ok", "the launcher can be written: {held}");
    }
    launcher.untouched()
}

fn command_becomes_the_launcher(ctx: &Ctx) -> Result<()> {
    let launcher = Launcher::new(ctx)?;
    let canary = Canary::new()?;
    let neighbour = neighbour(ctx, &launcher, &canary, &crate::spec::DEFAULT_CAPABILITIES)?;
    let starts =
        std::env::var("PLIM_RACE_STARTS").ok().and_then(|text| text.parse().ok()).unwrap_or(RACE_STARTS);
    let mut started = 0;
    for round in 0..starts {
        let case = joining(ctx.case(&["exit", "0"])?, &neighbour)?;
        let (one, other) = (case.rootfs.join("bin/witness"), case.rootfs.join("bin/other"));
        if round % 2 == 0 {
            symlink("/proc/self/exe", &other)?;
        } else {
            fs::write(&other, "#!/proc/self/exe --help\n")?;
            fs::set_permissions(&other, fs::Permissions::from_mode(0o755))?;
        }
        let run = || -> Result<(Outcome, Running)> {
            let mut running = launcher.start(ctx, case, &[])?;
            Ok((running.wait()?, running))
        };
        let (outcome, _bundle) = racing(&one, &other, run)?;
        started += usize::from(outcome.code == 0);
    }
    ensure!(started > 0, "no start got through, so nothing raced");
    got_nothing(&report(neighbour)?, &launcher)
}

fn joined_pid_namespace(ctx: &Ctx) -> Result<()> {
    let launcher = Launcher::new(ctx)?;
    let canary = Canary::new()?;
    let mut tracing = crate::spec::DEFAULT_CAPABILITIES.to_vec();
    tracing.push("CAP_SYS_PTRACE");
    for (capabilities, status) in [(&crate::spec::DEFAULT_CAPABILITIES[..], 0), (&tracing[..], 125)] {
        let neighbour = neighbour(ctx, &launcher, &canary, capabilities)?;
        for _ in 0..5 {
            let case = joining(ctx.case(&["exit", "0"])?, &neighbour)?;
            let outcome = launcher.start(ctx, case, &[])?.finish()?;
            ensure!(outcome.code == status, "status {} and not {status}: {outcome:?}", outcome.code);
        }
        let report = report(neighbour)?;
        got_nothing(&report, &launcher)?;
    }
    Ok(())
}

fn session_keyring(ctx: &Ctx) -> Result<()> {
    let number = libc::SYS_keyctl.to_string();
    // keyctl(2) KEYCTL_SEARCH in the session keyring.
    let search = ["try", "syscall", &number, "10", "-3", "s:user", "s:plimtest", "0"];
    let witness = ctx.witness();
    let keyed = [witness.as_path(), Path::new("keyed")];
    let shown = process::must(Command::new(&witness).args(["keyed"]).arg(&witness).args(search))?;
    ensure!(shown.contains("\"ok\""), "the key is not there for the caller itself: {shown}");
    let launcher = Launcher::new(ctx)?;
    let unconfined = || -> Result<Case> {
        let mut case = ctx.case(&search)?;
        if let Some(linux) = case.spec["linux"].as_object_mut() {
            linux.remove("seccomp");
        }
        Ok(case)
    };
    let all: Vec<String> =
        (0..41).filter_map(plim_model::Capability::from_number).map(|one| one.to_string()).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let maps = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let mut namespaced =
        unconfined()?.with("/linux/uidMappings", maps.clone()).with("/linux/gidMappings", maps);
    if let Some(namespaces) = namespaced.spec["linux"]["namespaces"].as_array_mut() {
        namespaces.push(json!({"type": "user"}));
    }
    let as_user = unconfined()?.with("/process/user", json!({"uid": 1000, "gid": 1000}));
    let held: Vec<&str> = all.iter().copied().filter(|name| holds(name)).collect();
    for case in [unconfined()?, unconfined()?.capabilities(&held), as_user, namespaced] {
        let outcome = launcher.start(ctx, case, &keyed)?.finish()?;
        let verdicts = outcome.verdicts()?;
        ensure!(verdicts.iter().all(|(_, seen)| seen == "ENOKEY"), "the caller's key: {verdicts:?}");
    }
    Ok(())
}

/// Whether this process may give the capability to a container.
fn holds(name: &str) -> bool {
    let bounding = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits =
        bounding.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok());
    plim_model::Capability::from_name(name)
        .is_some_and(|one| bits.unwrap_or_default() >> one.number() & 1 == 1)
}
