//! Snapshots of processes that this test makes, against what it made of them.
//!
//! Needs root with CAP_SYS_ADMIN and CAP_SYS_PTRACE: without root a test says so (`skipped: …`, which `make test` counts)
//! and does nothing; with the variable `CI` set that is a failure.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use caps::CapSet;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use plim_model::capability::Capability;
use plim_model::rlimit::{Limit, Rlimit};
use plim_model::seccomp::SeccompMode;
use plim_model::{HostPid, NamespaceKind, Observed, Snapshot};
use plim_observe::filters::{self, Means};
use plim_observe::{Neighbours, ObserveError, Selected, SnapshotOptions, find, snapshot_with};
use sys::{become_nobody, install, prepare};

#[path = "common/sys.rs"]
mod sys;

const SECCOMP_FILTER_FLAG_LOG: libc::c_ulong = 2;
const RET_ALLOW: u32 = 0x7fff_0000;

/// A child that is killed and reaped whatever becomes of the test.
struct Guard(Child);

impl Guard {
    fn pid(&self) -> HostPid {
        HostPid(self.0.id().cast_signed())
    }

    fn selected(&self) -> Selected {
        find(Some("pid"), &self.pid().to_string()).expect("the child lives")
    }

    fn end(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether this is root, which most of these tests take; says so when it is not.
#[allow(clippy::print_stderr, reason = "a test that does not run says why")]
fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("CI").is_none(), "in CI, root is expected");
        eprintln!("skipped: needs root with CAP_SYS_ADMIN and CAP_SYS_PTRACE");
    }
    root
}

fn alone() -> SnapshotOptions {
    SnapshotOptions { already_stopped: false, neighbours: Neighbours::none() }
}

/// `sleep` in namespaces of its own, less CAP_NET_RAW, with no_new_privs, two filters and a limit on files.
fn confined() -> Guard {
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    let steps = || {
        let flags = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS;
        unshare(flags)?;
        setrlimit(Resource::RLIMIT_NOFILE, 100, 200)?;
        caps::drop(None, CapSet::Bounding, caps::Capability::CAP_NET_RAW).map_err(std::io::Error::other)?;
        set_no_new_privs()?;
        let ret = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: RET_ALLOW };
        let load = libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
        install(&mut [ret], 0)?;
        install(&mut [load, ret], SECCOMP_FILTER_FLAG_LOG)
    };
    prepare(&mut command, steps);
    let child = Guard(command.spawn().expect("needs root with CAP_SYS_ADMIN"));
    // spawn returns once exec succeeded; until it sleeps, it may still be loading.
    std::thread::sleep(Duration::from_millis(50));
    child
}

fn inode(snapshot: &Snapshot, kind: NamespaceKind) -> u64 {
    snapshot.namespaces[&kind].present().expect("readable").inode.0
}

#[test]
fn tells_what_the_child_did_to_itself() {
    if !is_root() {
        return;
    }
    let child = confined();
    let snapshot = snapshot_with(&child.selected(), &alone()).expect("a snapshot");
    for kind in NamespaceKind::ALL {
        let link = std::fs::read_link(format!("/proc/{}/ns/{kind}", child.pid())).expect("readlink");
        assert_eq!(link.to_string_lossy(), format!("{kind}:[{}]", inode(&snapshot, kind)));
        let own =
            matches!(kind, NamespaceKind::Mnt | NamespaceKind::Net | NamespaceKind::Ipc | NamespaceKind::Uts);
        let namespace = snapshot.namespaces[&kind].present().expect("readable");
        if own {
            assert_eq!(namespace.shared_with_host, Observed::Present(false), "{kind}");
        }
    }
    let raw = Capability::from_name("CAP_NET_RAW").expect("known");
    let capabilities = snapshot.capabilities.present().expect("readable");
    assert!(!capabilities.bounding.contains(raw) && !capabilities.effective.contains(raw));
    assert_eq!(snapshot.no_new_privs, Observed::Present(true));
    assert_eq!(snapshot.seccomp.mode, Observed::Present(SeccompMode::Filter));
    assert_eq!(snapshot.seccomp.filter_count, Observed::Present(2));
    let filters = snapshot.seccomp.filters.present().expect("readable");
    let told: Vec<_> = filters.iter().map(|filter| (filter.length, filter.log.clone())).collect();
    assert_eq!(told, [(1, Observed::Present(false)), (2, Observed::Present(true))], "oldest first");
    // printf '\x06\x00\x00\x00\x00\x00\xff\x7f' | sha256sum
    assert_eq!(filters[0].sha256, "40b2a31e1a78576bb4afdf1433867d0cc67b769635ef549fba81c7d37570520f");
    let limits = snapshot.rlimits.present().expect("readable");
    assert_eq!(limits["RLIMIT_NOFILE"], Rlimit { soft: Limit::Of(100), hard: Limit::Of(200) });
    assert_eq!(snapshot.target.command, ["sleep", "1000"]);
    // A new network namespace begins with the kernel's default, whatever the host's is.
    assert!(snapshot.sysctls["net.ipv4.ip_unprivileged_port_start"].present().is_some());
    assert_eq!(snapshot.process_count, Observed::Present(1));
    // The reading left it running, and traced by nobody.
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.pid())).expect("status");
    assert!(status.contains("TracerPid:\t0") && status.contains("State:\tS"), "{status}");
}

#[test]
fn sysctls_are_those_of_the_targets_namespace() {
    if !is_root() {
        return;
    }
    let mut command = Command::new("sh");
    command.args(["-c", "echo 77 > /proc/sys/kernel/msgmax && exec sleep 1000"]);
    prepare(&mut command, || Ok(unshare(CloneFlags::CLONE_NEWIPC)?));
    let child = Guard(command.spawn().expect("needs root with CAP_SYS_ADMIN"));
    std::thread::sleep(Duration::from_millis(100));
    let snapshot = snapshot_with(&child.selected(), &alone()).expect("a snapshot");
    assert_eq!(snapshot.sysctls["kernel.msgmax"], Observed::Present("77".to_owned()));
    let own = snapshot_with(&find(Some("self"), "").expect("self"), &alone()).expect("a snapshot");
    assert_ne!(own.sysctls["kernel.msgmax"], Observed::Present("77".to_owned()));
}

#[test]
fn a_stopped_process_stays_stopped_and_a_traced_one_is_told() {
    if !is_root() {
        return;
    }
    let child = confined();
    let pid = nix::unistd::Pid::from_raw(child.pid().0);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("stop");
    std::thread::sleep(Duration::from_millis(20));
    assert!(plim_observe::filters::read(child.pid()).present().is_some_and(|filters| filters.len() == 2));
    let state = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
        plim_model::parse::stat::state(&stat).expect("a state")
    };
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(state(), 'T');

    nix::sys::ptrace::seize(pid, nix::sys::ptrace::Options::empty()).expect("seize");
    let other = std::thread::spawn({
        let pid = child.pid();
        move || (filters::dump(pid, Means::Ptrace), filters::dump(pid, Means::Any))
    });
    let (by_ptrace, by_iterator) = other.join().expect("joins");
    let Observed::Unknown(why) = by_ptrace else { panic!("somebody else traces it") };
    assert!(why.contains("traces it already"), "{why}");
    // The iterator minds no tracer.
    assert_eq!(by_iterator.present().map(|dump| dump.filters.len()), Some(2), "{by_iterator:?}");
    // By the tracing thread itself, once it stands still.
    nix::sys::ptrace::interrupt(pid).expect("interrupt");
    nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::__WALL)).expect("wait");
    let options = SnapshotOptions { already_stopped: true, neighbours: Neighbours::none() };
    let snapshot = snapshot_with(&child.selected(), &options).expect("a snapshot");
    assert_eq!(snapshot.seccomp.filters.present().map(Vec::len), Some(2));
    assert!(plim_observe::filters::read_stopped(child.pid()).present().is_some());
}

#[test]
fn a_process_that_dies_meanwhile_gives_an_error_or_a_whole_snapshot() {
    let (mut died, mut whole) = (0, 0);
    for round in 0..60u64 {
        let mut child = Guard(Command::new("sleep").arg("1000").spawn().expect("spawn"));
        let selected = child.selected();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(round * 100));
            child.end();
        });
        match snapshot_with(&selected, &alone()) {
            Ok(snapshot) => {
                whole += 1;
                let text = snapshot.to_json()["unknown"].to_string();
                assert!(!text.contains("ESRCH") && snapshot.user.present().is_some(), "{text}");
            }
            Err(
                ObserveError::Died { .. }
                | ObserveError::NoSuchProcess { .. }
                | ObserveError::Reused { .. }
                | ObserveError::Hidden { .. },
            ) => died += 1,
            Err(error) => panic!("{error}"),
        }
        killer.join().expect("joins");
        let error = snapshot_with(&selected, &alone()).expect_err("it is gone");
        assert!(matches!(error, ObserveError::NoSuchProcess { .. }), "{error}");
    }
    assert!(died > 0, "no round was in time: {whole} whole");
}

#[test]
fn without_privilege_what_cannot_be_read_is_unknown_and_the_rest_is_right() {
    if !is_root() {
        return;
    }
    let child = confined();
    let selected = child.selected();
    let reader = std::thread::spawn(move || {
        become_nobody();
        snapshot_with(&selected, &alone()).expect("a snapshot")
    });
    let snapshot = reader.join().expect("joins");
    assert!(!snapshot.capabilities.present().expect("everyone may read it").effective.is_empty());
    assert_eq!(snapshot.no_new_privs, Observed::Present(true));
    assert_eq!(snapshot.seccomp.filter_count, Observed::Present(2));
    let Observed::Unknown(why) = &snapshot.seccomp.filters else { panic!("{:?}", snapshot.seccomp.filters) };
    assert!(why.ends_with("EACCES (permission denied); needs CAP_SYS_ADMIN"), "{why}");
    for (what, unknown) in [
        ("namespaces", snapshot.namespaces[&NamespaceKind::Net].is_unknown()),
        ("masked paths", snapshot.masked_paths.is_unknown()),
        ("read-only paths", snapshot.read_only_paths.is_unknown()),
        ("devices", snapshot.devices.nodes.is_unknown()),
        ("engine sockets", snapshot.engine_sockets.is_unknown()),
        ("sysctls", snapshot.sysctls["net.ipv4.ip_forward"].is_unknown()),
        ("process count", snapshot.process_count.is_unknown()),
        ("odd processes", snapshot.odd_processes.is_unknown()),
    ] {
        assert!(unknown, "{what} is told to someone who may not read it");
    }
}

#[test]
fn a_process_confined_differently_is_found_with_its_threads() {
    if !is_root() {
        return;
    }
    // An init in a pid namespace of its own, and beside it one that gave up a capability.
    let script = "setpriv --bounding-set=-net_raw --inh-caps=-net_raw sleep 1000 & exec sleep 1000";
    let child = Guard(
        Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "sh", "-c", script])
            .spawn()
            .expect("needs unshare of util-linux"),
    );
    let begun = Instant::now();
    let children = format!("/proc/{0}/task/{0}/children", child.pid());
    let (init, odd) = loop {
        let text = std::fs::read_to_string(&children).expect("children of the child");
        let init: Option<i32> = text.trim().parse().ok();
        let beside = init.and_then(|init| {
            let text = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
            let pid: i32 = text.trim().parse().ok()?;
            let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            let first = std::fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
            (comm == "sleep\n" && first == "sleep\n").then_some(pid)
        });
        match (init, beside) {
            (Some(init), Some(beside)) => break (init, beside),
            _ if begun.elapsed() > Duration::from_secs(10) => panic!("the processes did not come up"),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let selected = find(Some("pid"), &init.to_string()).expect("init lives");
    let snapshot = snapshot_with(&selected, &alone()).expect("a snapshot");
    assert_eq!(snapshot.process_count, Observed::Present(2));
    let found = snapshot.odd_processes.present().expect("readable");
    assert_eq!(found.iter().map(|process| process.pid.0).collect::<Vec<_>>(), [odd]);
    assert_eq!(found[0].container_pid, Observed::Present(plim_model::ContainerPid(2)));
    assert!(
        found[0]
            .differs
            .iter()
            .any(|fact| fact.starts_with("bounding capabilities: ") && fact.ends_with("less: CAP_NET_RAW")),
        "{:?}",
        found[0].differs
    );
}
