//! Nothing is left behind, whoever dies when.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use plim_model::NamespaceKind;
use plim_model::state::ContainerState;
use plim_runtime::Stdio;
use plim_runtime::config::ContainerConfig;

use crate::support::*;

/// Ends a test that hangs; nothing that is waited for takes a tenth of it, on a busy machine too.
const HANG_GUARD: Duration = Duration::from_secs(60);

pub(crate) const CASES: &[crate::Case] = &[
    ("cleanup_killed_launcher_leaves_nothing", killed_launcher),
    ("cleanup_killed_launcher_in_the_hosts_pid_namespace", killed_host_pid),
    ("cleanup_killed_launcher_and_janitor_are_cleared_by_the_next", killed_both),
    ("cleanup_state_file", state_file),
    ("cleanup_detached", detached),
];

#[allow(clippy::zombie_processes, reason = "the callers kill it and wait for it by its pid")]
/// Runs the container in a process of its own: this very program, called with the hidden case.
fn launch(config: &ContainerConfig) -> Pid {
    let mut command = std::process::Command::new(std::env::args_os().next().expect("our own path"));
    command.args(["--launch", &config.id, &config.name]).args(&config.process.args);
    command.env("HOST_PID", if config.namespaces.contains_key(&NamespaceKind::Pid) { "" } else { "1" });
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let child = command.spawn().expect("a launcher");
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

/// What that process does.
pub(crate) fn launched(args: &[String]) {
    let [id, name, command @ ..] = args else { panic!("an id, a name, a command") };
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut config = config(&command);
    config.id.clone_from(id);
    config.name.clone_from(name);
    if std::env::var("HOST_PID").is_ok_and(|value| !value.is_empty()) {
        config.namespaces.remove(&NamespaceKind::Pid);
    }
    plim_runtime::create(&config, Stdio::without_input())
        .and_then(plim_runtime::Created::start)
        .and_then(plim_runtime::Running::wait)
        .expect("a run");
}

/// Processes whose cgroup or command line names the container.
fn processes(config: &ContainerConfig) -> Vec<String> {
    std::fs::read_dir("/proc")
        .expect("procfs")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().parse::<i32>().is_ok())
        .filter(|entry| {
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            read("cgroup").contains(&config.id) || read("cmdline").contains(&config.id)
        })
        .map(|entry| entry.path().display().to_string())
        .collect()
}

fn until_gone(config: &ContainerConfig) {
    let start = Instant::now();
    loop {
        let left = [traces(config), processes(config)].concat();
        if left.is_empty() {
            return;
        }
        assert!(start.elapsed() < HANG_GUARD, "left behind: {left:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// From before anything is made to well after the start; a full start takes some milliseconds.
fn killed_launcher() {
    for step in 0..60u64 {
        let config = script("sleep 100 & sleep 100");
        let launcher = launch(&config);
        std::thread::sleep(Duration::from_micros(step * step * 15));
        kill(launcher, Signal::SIGKILL).expect("a kill");
        waitpid(launcher, None).expect("its end");
        until_gone(&config);
    }
}

fn killed_host_pid() {
    for delay_ms in [5, 20, 60, 150] {
        let mut config = script("setsid sleep 100 & setsid sleep 101 & sleep 102");
        config.namespaces.remove(&NamespaceKind::Pid);
        let launcher = launch(&config);
        std::thread::sleep(Duration::from_millis(delay_ms));
        kill(launcher, Signal::SIGKILL).expect("a kill");
        waitpid(launcher, None).expect("its end");
        until_gone(&config);
    }
}

fn killed_both() {
    let config = script("sleep 100 & sleep 100");
    let launcher = launch(&config);
    let start = Instant::now();
    while !plim_runtime::state_directory().join(&config.id).join("state.json").exists() {
        assert!(start.elapsed() < HANG_GUARD);
        std::thread::sleep(Duration::from_millis(2));
    }
    std::thread::sleep(Duration::from_millis(20));
    let children =
        std::fs::read_to_string(format!("/proc/{launcher}/task/{launcher}/children")).expect("children");
    let janitor = children
        .split_ascii_whitespace()
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm == "plim-janitor\n")
        })
        .and_then(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .expect("a janitor");
    kill(janitor, Signal::SIGKILL).expect("a kill");
    kill(launcher, Signal::SIGKILL).expect("a kill");
    waitpid(launcher, None).expect("its end");
    std::thread::sleep(Duration::from_millis(50));
    assert_ne!(traces(&config), Vec::<String>::new(), "nobody is left who could have cleared it away");
    run(&crate::support::config(&["true"]));
    until_gone(&config);
}

fn state_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let config = config(&["sleep", "100"]);
    let running = plim_runtime::create(&config, Stdio::without_input())
        .and_then(plim_runtime::Created::start)
        .expect("a container");
    let directory = plim_runtime::state_directory().join(&config.id);
    let path = directory.join("state.json");
    let text = std::fs::read_to_string(&path).expect("a state file");
    let state: ContainerState = serde_json::from_str(&text).expect("a state");
    assert_eq!((state.id.as_str(), state.name.as_str()), (config.id.as_str(), config.name.as_str()));
    assert_eq!(state.pid, running.pid());
    assert!(state.spec.get("process").is_some());
    assert!(state.cgroup_paths.values().all(|path| path.contains(&config.id)), "{:?}", state.cgroup_paths);
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o7777;
    assert_eq!((mode(&path), mode(&directory)), (0o600, 0o711));
    drop(running);
    assert_eq!(traces(&config), Vec::<String>::new());
}

fn detached() {
    let config = script("echo said; sleep 0.3");
    let pid = plim_runtime::run_detached(&config).expect("a container");
    let log = plim_runtime::state_directory().join(&config.id).join("log");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(std::fs::read_to_string(log).expect("a log"), "said\n");
    assert!(Path::new(&format!("/proc/{pid}")).exists());
    until_gone(&config);
    // A user other than root may open what its output goes to.
    let mut config = script("echo by-name > /dev/stdout; echo again > /dev/stderr; sleep 0.3");
    config.process.user.uid = 1000;
    plim_runtime::run_detached(&config).expect("a container");
    let log = plim_runtime::state_directory().join(&config.id).join("log");
    std::thread::sleep(Duration::from_millis(150));
    assert_eq!(std::fs::read_to_string(log).expect("a log"), "by-name\nagain\n");
    until_gone(&config);
    // A lot of output is no lot of memory, and the last of it is there.
    let config = script("yes | head -c 5000000; echo the-last; sleep 0.5");
    plim_runtime::run_detached(&config).expect("a container");
    let directory = plim_runtime::state_directory().join(&config.id);
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap_or_default();
    let start = std::time::Instant::now();
    while !read("log").ends_with("the-last\n") {
        assert!(start.elapsed() < HANG_GUARD, "the output does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read("log.1").len(), 1 << 20);
    assert!(read("log").len() <= 1 << 20);
    until_gone(&config);
    let error =
        plim_runtime::run_detached(&crate::support::config(&["no-such-command"])).expect_err("an error");
    assert_eq!(error.exit_code(), 127);
}
