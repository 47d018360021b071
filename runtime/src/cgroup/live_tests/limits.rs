//! Each limit is in the kernel, and holds.

use super::*;

#[test]
fn every_limit_is_set_and_reads_back() {
    let Some(live) = live() else { return };
    let mut resources = Resources {
        memory_max_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpu_shares: Some(512),
        cpuset_cpus: Some("0".into()),
        cpuset_mems: Some("0".into()),
        pids_max: Some(64),
        ..Resources::default()
    };
    if let Some((major, minor)) = block_device().filter(|_| live.has("blkio", "io")) {
        resources.throttles =
            [ThrottleKind::ReadBytes, ThrottleKind::WriteBytes, ThrottleKind::ReadOperations]
                .map(|kind| Throttle { major, minor, kind, rate: 1 << 20 })
                .to_vec();
    }
    let guard = live.create("limits", &resources);
    let limit =
        |v1: &str, v2: &str, controller: &str| text::limit(&guard.read(controller, v1, v2)).expect("a limit");
    assert_eq!(limit("memory.limit_in_bytes", "memory.max", "memory"), Limit::Of(64 << 20));
    assert_eq!(limit("memory.soft_limit_in_bytes", "memory.low", "memory"), Limit::Of(32 << 20));
    assert_eq!(limit("pids.max", "pids.max", "pids"), Limit::Of(64));
    if guard.is_v2("cpu") {
        assert_eq!(guard.read("cpu", "", "cpu.max"), "50000 100000");
        assert_eq!(guard.read("cpu", "", "cpu.weight"), weight_from_shares(512).to_string());
    } else {
        assert_eq!(guard.read("cpu", "cpu.cfs_quota_us", ""), "50000");
        assert_eq!(guard.read("cpu", "cpu.cfs_period_us", ""), "100000");
        assert_eq!(guard.read("cpu", "cpu.shares", ""), "512");
    }
    assert_eq!(guard.read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(guard.read("cpuset", "cpuset.mems", "cpuset.mems"), "0");
    if let Some(throttle) = resources.throttles.first() {
        let device = format!("{}:{}", throttle.major, throttle.minor);
        if guard.is_v2("blkio") {
            let io = &text::io_max(&guard.read("blkio", "", "io.max")).expect("io.max")[&device];
            assert_eq!(io.read_bytes_per_second, Limit::Of(1 << 20));
            assert_eq!(io.write_bytes_per_second, Limit::Of(1 << 20));
            assert_eq!(io.read_operations_per_second, Limit::Of(1 << 20));
            assert_eq!(io.write_operations_per_second, Limit::Max);
        } else {
            let told = guard.read("blkio", "blkio.throttle.write_bps_device", "");
            assert_eq!(text::throttle(&told).expect("throttles")[&device], 1 << 20);
        }
    }
    assert!(guard.0.unaccounted.is_empty(), "{:?}", guard.0.unaccounted);
}

#[test]
fn swap_is_limited_together_with_memory() {
    let Some(live) = live() else { return };
    let resources = Resources {
        memory_max_bytes: Some(64 << 20),
        memory_swap_total_bytes: Some(96 << 20),
        ..Resources::default()
    };
    match live.plan("swap", &resources).expect("good").create() {
        Ok(handle) => {
            let guard = Guard(handle);
            let expected = if guard.is_v2("memory") { 32 << 20 } else { 96 << 20 };
            let told = guard.read("memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
            assert_eq!(told, expected.to_string());
        }
        // Debian's kernels before 6.1 account swap only when they are booted so: an error, never ignored.
        Err(error) => assert!(error.to_string().contains("swapaccount=1"), "{error}"),
    }
    assert_nothing_left(&live, "swap");
}

#[test]
fn a_child_is_in_every_hierarchy() {
    let Some(live) = live() else { return };
    let guard = live.create("member", &Resources::default());
    let child = guard.shell("exec sleep 60");
    let wanted = format!("/plim-test-{}/member", std::process::id());
    // Until the child has joined the v1 hierarchies it shows the launcher's; then all of them at once.
    let file = format!("/proc/{}/cgroup", child.pid);
    let memberships =
        || text::membership(&std::fs::read_to_string(&file).unwrap_or_default()).unwrap_or_default();
    let mounted = |m: &text::Membership| {
        !m.controllers.iter().any(|name| live.layout.unmounted.contains(name))
            && (live.layout.v2.is_some() || !m.controllers.is_empty())
    };
    eventually("the child shows up everywhere", || {
        let all = memberships();
        !all.is_empty() && all.iter().filter(|m| mounted(m)).all(|m| m.path == wanted)
    });
    // What is told to other tools is what the kernel says.
    for (name, path) in guard.0.state_paths() {
        let seen = memberships()
            .into_iter()
            .find(
                |m| if name == "unified" { m.controllers.is_empty() } else { m.controllers.contains(&name) },
            )
            .expect("listed");
        assert_eq!(seen.path, path, "{name}");
    }
    assert_eq!(guard.0.stats().pids, Some(1));
    assert!(guard.0.stats().memory_bytes.is_some_and(|bytes| bytes > 0));
    guard.0.kill_all().expect("killed");
    assert_eq!(child.wait(), 137);
}

#[test]
fn a_running_process_is_attached_by_its_pid() {
    let Some(live) = live() else { return };
    let guard = live.create("attach", &Resources::default());
    let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    guard.0.attach(pid).expect("attached");
    let told = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("alive");
    for membership in text::membership(&told).expect("well formed") {
        let unmounted = membership.controllers.iter().any(|name| live.layout.unmounted.contains(name))
            || (membership.controllers.is_empty() && live.layout.v2.is_none());
        assert!(unmounted || membership.path.ends_with("/attach"), "{membership:?}");
    }
    guard.0.kill_all().expect("killed");
    assert!(!child.wait().expect("our child").success());
}

#[test]
fn the_task_limit_holds() {
    let Some(live) = live() else { return };
    let guard = live.create("pids", &Resources { pids_max: Some(4), ..Resources::default() });
    let child = guard.shell("for i in 1 2 3 4 5 6 7 8; do sleep 60 & done 2>/dev/null; exit 0");
    assert_ne!(child.wait(), 0, "the shell could not fork");
    assert!(guard.0.stats().pids.is_some_and(|pids| pids <= 4));
    let events = guard.read("pids", "pids.events", "pids.events");
    assert!(text::flat_keyed(&events).expect("well formed")["max"] > 0, "{events}");
}

#[test]
fn the_memory_limit_holds_and_the_kill_is_seen() {
    let Some(live) = live() else { return };
    let guard =
        live.create("memory", &Resources { memory_max_bytes: Some(16 << 20), ..Resources::default() });
    assert_eq!(guard.0.oom_killed(), Some(false));
    let child = guard.shell("a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done");
    assert_eq!(child.wait(), 137);
    assert_eq!(guard.0.oom_killed(), Some(true));
    assert!(guard.0.stats().memory_bytes.is_some_and(|bytes| bytes <= 16 << 20));
}

#[test]
fn the_cpu_quota_throttles() {
    let Some(live) = live() else { return };
    let resources =
        Resources { cpu_quota_us: Some(5_000), cpu_period_us: Some(50_000), ..Resources::default() };
    let guard = live.create("cpu", &resources);
    let _child = guard.shell("while :; do :; done");
    eventually("throttling", || guard.0.stats().cpu_throttled_periods.is_some_and(|periods| periods >= 3));
    assert!(guard.0.stats().cpu_usage_us.is_some_and(|us| us > 0));
}

#[test]
fn devices_that_are_not_allowed_do_not_open() {
    let Some(live) = live() else { return };
    let opens =
        "exec 2>/dev/null; : </dev/null || exit 2; : >/dev/null || exit 3; (: </dev/kmsg) && exit 1; exit 0";
    let guard =
        live.create("devices", &Resources { device_rules: docker_default_rules(), ..Resources::default() });
    assert_eq!(guard.shell(opens).wait(), 0, "null opens, kmsg does not");
    // The test sees something: without rules kmsg opens.
    let open = live.create("devices-open", &Resources::default());
    assert_eq!(open.shell(opens).wait(), 1, "kmsg opens");
    // In order, and bit by bit.
    let rule = |allow, kind, number: Option<(u32, u32)>, access: &str| DeviceRule {
        allow,
        kind,
        major: number.map(|(major, _)| major),
        minor: number.map(|(_, minor)| minor),
        access: access.into(),
    };
    let rules = vec![
        rule(false, 'a', None, "rwm"),
        rule(true, 'c', Some((1, 3)), "r"),
        rule(true, 'c', Some((1, 11)), "r"),
    ];
    let guard = live.create("devices-bits", &Resources { device_rules: rules, ..Resources::default() });
    let bits = ": </dev/null || exit 2; (: >/dev/null) 2>&- && exit 3; : </dev/kmsg || exit 4; (: </dev/zero) 2>&- && exit 5; exit 0";
    assert_eq!(guard.shell(bits).wait(), 0);
}
