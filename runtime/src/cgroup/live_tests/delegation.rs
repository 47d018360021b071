//! Places that somebody else prepared: a user's delegated subtree, a cgroup with processes of its own.

use super::*;

/// The name of the delegated cgroup, by which the second half below knows that it is meant.
const DELEGATED: &str = "plim-delegated";

#[test]
fn a_delegated_subtree_is_enough_for_a_user() {
    let Some(live) = live() else { return };
    let Some(v2) = &live.layout.v2 else { return };
    // What systemd's Delegate=yes does: a directory of the user's, and the three files in it that matter.
    let delegated = v2.tree.mountpoint.join(format!("{DELEGATED}-{}", std::process::id()));
    let session = delegated.join("session");
    std::fs::create_dir_all(&session).expect("mkdir");
    let user = nix::unistd::Uid::from_raw(65_534);
    let mut mine = vec![delegated.clone(), session.clone()];
    for dir in [&delegated, &session] {
        mine.extend(["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"].map(|file| dir.join(file)));
    }
    for path in &mine {
        nix::unistd::chown(path, Some(user), None).expect("chown");
    }
    let binary = std::fs::read_link("/proc/self/exe").expect("a path");
    let copy = tempfile::tempdir().expect("a directory");
    let reachable = copy.path().join("test");
    std::fs::copy(&binary, &reachable).expect("copied to where the user can reach it");
    std::fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let mut child = std::process::Command::new(&reachable);
    child.args([
        "--exact",
        "cgroup::live_tests::delegation::as_the_user_of_a_delegated_subtree",
        "--ignored",
    ]);
    std::os::unix::process::CommandExt::uid(&mut child, user.as_raw());
    let child = child
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    std::fs::write(session.join("cgroup.procs"), child.id().to_string()).expect("moved");
    let output = child.wait_with_output().expect("our child");
    let removal = Removal { leaves: vec![delegated], parents: Vec::new() };
    removal.kill_all().expect("killed");
    removal.remove().expect("removed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "second half of a_delegated_subtree_is_enough_for_a_user, which starts it"]
fn as_the_user_of_a_delegated_subtree() {
    eventually("moved into the delegated cgroup", || {
        std::fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains(DELEGATED))
    });
    let layout = Layout::read().expect("the kernel's own text");
    let facts = Facts::probe(&layout, &Resources::default());
    assert_ne!(facts.euid, 0);
    let place =
        Place::choose(&layout, &facts, "ab", None, &["memory limit"]).expect("delegated").expect("a place");
    let resources = Resources { memory_max_bytes: Some(16 << 20), pids_max: Some(4), ..Resources::default() };
    let controllers = &facts.v2_levels.first().expect("v2").controllers;
    if !(controllers.contains("memory") && controllers.contains("pids")) {
        // Hybrid: the limits are in v1, where a user has no say. Said, not ignored.
        let error = plan(&layout, &facts, &place, &resources).expect_err("v1").to_string();
        assert!(error.contains("this user cannot make a cgroup"), "{error}");
    }
    let limits = if controllers.contains("pids") { resources } else { Resources::default() };
    let guard = Guard(plan(&layout, &facts, &place, &limits).expect("good").create().expect("created"));
    let child = guard.shell("exec sleep 60");
    let told = std::fs::read_to_string(format!("/proc/{}/cgroup", child.pid)).expect("alive");
    assert!(told.contains("/plim-ab"), "{told}");
    if limits.pids_max.is_some() {
        let fork = guard.shell("for i in 1 2 3 4 5 6; do sleep 60 & done 2>/dev/null; exit 0");
        assert_ne!(fork.wait(), 0, "the shell could not fork");
        let grow = guard.shell("a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done");
        assert_eq!(grow.wait(), 137);
        assert_eq!(guard.0.oom_killed(), Some(true));
        // Device programs are not a user's to load: an error that says so.
        let rules = Resources { device_rules: docker_default_rules(), ..Resources::default() };
        let place =
            Place::choose(&layout, &facts, "devices", None, &asked(&rules)).expect("good").expect("a place");
        let error =
            plan(&layout, &facts, &place, &rules).expect("good").create().expect_err("refused").to_string();
        assert!(error.contains("EPERM") && error.contains("CAP_SYS_ADMIN"), "{error}");
    }
    guard.0.kill_all().expect("killed");
    assert_eq!(child.wait(), 137);
}

#[test]
fn a_cgroup_with_processes_of_its_own_says_what_to_do() {
    let Some(live) = live() else { return };
    let top = live.facts.v2_levels.first().map(|top| top.controllers.clone()).unwrap_or_default();
    if !top.contains("pids") {
        return; // Hybrid: the limits below are v1's, which has no such rule.
    }
    let outer = live.create("outer", &Resources::default());
    let child = outer.shell("exec sleep 60");
    let inner = |resources: &Resources| {
        let path = format!("/plim-test-{}/outer/inner", std::process::id());
        let place = Place::choose(&live.layout, &live.facts, "inner", Some(&path), &[])
            .expect("good")
            .expect("a place");
        plan(&live.layout, &live.facts, &place, resources).expect("good").create().map(Guard)
    };
    let error =
        inner(&Resources { memory_max_bytes: Some(16 << 20), ..Resources::default() }).expect_err("busy");
    assert!(error.to_string().contains("no internal processes"), "{error}");
    // Without limits it works, and what is not accounted is told.
    let guard = inner(&Resources::default()).expect("no controller needed");
    assert!(guard.0.unaccounted.contains(&"memory".to_owned()), "{:?}", guard.0.unaccounted);
    outer.0.kill_all().expect("killed");
    assert_eq!(child.wait(), 137);
}
