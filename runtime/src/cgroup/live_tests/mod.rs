//! Against the running kernel, whatever its layout: real cgroups under names of our own, real processes in them.
//!
//! They need root and a writable cgroup hierarchy. Without, they say so (`skipped: …`, which `make test` counts), unless
//! the variable `CI` is set: then the machine was expected to have them.

mod delegation;
mod life;
mod limits;

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use plim_model::parse::cgroup as text;
use plim_model::rlimit::Limit;

use super::*;
use crate::config::{DeviceRule, Resources, Throttle, ThrottleKind};
use crate::sys::{self, Forked};

struct Live {
    layout: Layout,
    facts: Facts,
}

fn live() -> Option<Live> {
    let layout = Layout::read().expect("the kernel's own text");
    let all = Resources { cpuset_cpus: Some(String::new()), ..Resources::default() };
    let facts = Facts::probe(&layout, &all);
    if facts.euid == 0 && !facts.writable.is_empty() {
        return Some(Live { layout, facts });
    }
    assert!(std::env::var_os("CI").is_none(), "in CI, root and a writable cgroup hierarchy are expected");
    #[allow(clippy::print_stderr, reason = "a skipped test says why")]
    {
        eprintln!("skipped: needs root and a writable cgroup hierarchy");
    }
    None
}

impl Live {
    fn plan(&self, name: &str, resources: &Resources) -> Result<Plan, CgroupError> {
        let path = format!("/plim-test-{}/{name}", std::process::id());
        let place = Place::choose(&self.layout, &self.facts, name, Some(&path), &asked(resources))?;
        plan(&self.layout, &self.facts, &place.expect("writable"), resources)
    }

    fn create(&self, name: &str, resources: &Resources) -> Guard {
        let handle = self.plan(name, resources).expect("this host has it all").create().expect("created");
        Guard(handle)
    }

    /// The controller is in one of the hierarchies here.
    fn has(&self, v1: &str, v2: &str) -> bool {
        self.layout.v1_with(v1).is_some()
            || self.facts.v2_levels.first().is_some_and(|top| top.controllers.contains(v2))
    }
}

/// Whatever a test does, nothing stays.
#[derive(Debug)]
struct Guard(CgroupHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill_all();
        let _ = self.0.remove();
    }
}

impl Guard {
    /// Reads a limit back from where it is: the v1 file, or the v2 one.
    fn read(&self, controller: &str, v1_file: &str, v2_file: &str) -> String {
        let dir = self
            .0
            .dirs
            .iter()
            .find(|dir| dir.label.split(',').any(|name| name == controller))
            .or_else(|| self.0.dirs.iter().find(|dir| dir.unified))
            .expect("a directory");
        let file = if dir.unified { v2_file } else { v1_file };
        std::fs::read_to_string(dir.path.join(file)).expect(file).trim().to_owned()
    }

    fn is_v2(&self, controller: &str) -> bool {
        !self.0.dirs.iter().any(|dir| dir.label.split(',').any(|name| name == controller))
    }

    /// A shell in the cgroups: born in the v2 one, then joining the v1 ones by itself.
    fn shell(&self, script: &str) -> Child {
        let shell = CString::new("/bin/sh").expect("no zero byte");
        let args = ["sh", "-c", script].map(|word| CString::new(word).expect("no zero byte"));
        let born_inside = self.0.v2_dirfd();
        let joiner = self.0.joiner(false).expect("opened");
        match sys::clone3(0, nix::libc::SIGCHLD, born_inside).expect("cloned") {
            Forked::Child => {
                if joiner.join().is_err() {
                    sys::exit_now(120);
                }
                let _ = nix::unistd::execv(&shell, &args);
                sys::exit_now(121)
            }
            Forked::Parent((pid, pidfd)) => Child { pid, _pidfd: pidfd },
        }
    }
}

struct Child {
    pid: Pid,
    _pidfd: OwnedFd,
}

impl Child {
    /// Exit code, or 128 + signal.
    fn wait(&self) -> i32 {
        match waitpid(self.pid, None).expect("our child") {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
            other => panic!("{other:?}"),
        }
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what} within 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A whole block device, if the machine has one.
fn block_device() -> Option<(u32, u32)> {
    std::fs::read_dir("/sys/block").ok()?.flatten().find_map(|entry| {
        let number = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = number.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}

fn assert_nothing_left(live: &Live, name: &str) {
    let removal = live.plan(name, &Resources::default()).expect("good").removal();
    let left: Vec<&PathBuf> = removal.leaves.iter().filter(|leaf| leaf.exists()).collect();
    assert!(left.is_empty(), "{left:?}");
}
