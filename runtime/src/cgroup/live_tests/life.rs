//! From the first directory to the last: freezing, killing, removing, refusals that leave nothing.

use super::*;

#[test]
fn a_frozen_container_stands_still() {
    let Some(live) = live() else { return };
    let guard = live.create("freeze", &Resources::default());
    let child = guard.shell("while :; do :; done");
    let usage = || guard.0.stats().cpu_usage_us.expect("accounted");
    eventually("it runs", || usage() > 5_000);
    guard.0.freeze().expect("frozen");
    let before = usage();
    std::thread::sleep(Duration::from_millis(60));
    assert!(usage() - before < 2_000, "{before} then {}", usage());
    guard.0.thaw().expect("thawed");
    eventually("it runs again", || usage() > before + 5_000);
    guard.0.freeze().expect("frozen again");
    guard.0.kill_all().expect("killed while frozen");
    assert_eq!(child.wait(), 137);
}

#[test]
fn everything_dies_and_everything_is_removed() {
    let Some(live) = live() else { return };
    let resources = Resources { pids_max: Some(200), ..Resources::default() };
    let plan = live.plan("end", &resources).expect("good");
    let guard = Guard(plan.create().expect("created"));
    assert_eq!(plan.removal(), guard.0.removal(), "known before it is made");
    let child = guard.shell(
        "f() { while :; do sleep 60 & sleep 0.01; done; }; f & f & (trap '' TERM INT HUP; sleep 60) & f",
    );
    eventually("it forks", || guard.0.stats().pids.is_some_and(|pids| pids > 12));
    // A container with its own cgroup namespace makes children in its cgroups.
    for dir in &guard.0.dirs {
        std::fs::create_dir_all(dir.path.join("inner/most")).expect("mkdir");
    }
    // Another process, which knows nothing but this text, ends it.
    let told = serde_json::to_string(&guard.0.removal()).expect("plain data");
    let removal: Removal = serde_json::from_str(&told).expect("plain data");
    removal.kill_all().expect("killed");
    assert_eq!(child.wait(), 137);
    removal.remove().expect("removed");
    assert!(removal.leaves.iter().all(|leaf| !leaf.exists()));
    removal.kill_all().expect("nothing there, nothing to kill");
    removal.remove().expect("nothing there, nothing to remove");
}

#[test]
fn a_refused_limit_leaves_nothing_behind() {
    let Some(live) = live() else { return };
    // No such device.
    let throttle = Throttle { major: 4095, minor: 7, kind: ThrottleKind::ReadBytes, rate: 1 << 20 };
    let resources = Resources { throttles: vec![throttle], ..Resources::default() };
    if live.has("blkio", "io") {
        let error =
            live.plan("refused", &resources).expect("good").create().expect_err("no device").to_string();
        assert!(error.contains("4095:7") && error.contains("ENODEV"), "{error}");
        assert_nothing_left(&live, "refused");
        let weight = Resources { blkio_weight: Some(500), ..Resources::default() };
        match live.plan("refused", &weight).expect("good").create() {
            Ok(handle) => drop(Guard(handle)),
            Err(error) => assert!(error.to_string().contains("weight"), "{error}"),
        }
        assert_nothing_left(&live, "refused");
    }
    // A name in use, told before anything of the first is touched.
    let first = live.create("refused", &Resources::default());
    let child = first.shell("exec sleep 60");
    let error = live.plan("refused", &Resources::default()).expect("good").create().expect_err("in use");
    assert!(matches!(error, CgroupError::Exists(_)), "{error}");
    assert!(first.0.removal().leaves.iter().all(|leaf| leaf.exists()));
    first.0.kill_all().expect("killed");
    assert_eq!(child.wait(), 137);
}

#[test]
fn a_directory_in_use_is_reported_in_time() {
    let Some(live) = live() else { return };
    let guard = live.create("busy", &Resources::default());
    let child = guard.shell("exec sleep 60");
    let leaf = guard.0.removal().leaves.last().cloned().expect("a directory");
    eventually("joined", || {
        std::fs::read_to_string(leaf.join("cgroup.procs")).is_ok_and(|procs| !procs.is_empty())
    });
    let error = kill::remove_dir(&leaf, Duration::from_millis(20)).expect_err("in use").to_string();
    assert!(error.contains("1 processes"), "{error}");
    guard.0.kill_all().expect("killed");
    child.wait();
}

#[test]
fn containers_that_come_and_go_at_once_share_a_parent() {
    let Some(live) = live() else { return };
    let limit = Resources { pids_max: Some(10), memory_max_bytes: Some(32 << 20), ..Resources::default() };
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (live, limit) = (&live, &limit);
            scope.spawn(move || {
                for turn in 0..25 {
                    // A parent of their own, so that it really comes and goes.
                    let path = format!("/plim-race-{}/{thread}-{turn}", std::process::id());
                    let place = Place::choose(&live.layout, &live.facts, "x", Some(&path), &[]);
                    let plan =
                        plan(&live.layout, &live.facts, &place.expect("good").expect("writable"), limit);
                    let guard = Guard(plan.expect("good").create().expect("created in spite of the others"));
                    assert_eq!(guard.read("pids", "pids.max", "pids.max"), "10");
                }
            });
        }
    });
    for tree in live.layout.trees() {
        assert!(!tree.mountpoint.join(format!("plim-race-{}", std::process::id())).exists());
    }
}

#[test]
fn a_path_that_is_a_symlink_is_not_followed() {
    // cgroupfs has none; the mount point's names could be replaced only by root. Shown on an ordinary directory.
    let dir = tempfile::tempdir().expect("a directory");
    std::os::unix::fs::symlink("/", dir.path().join("plim")).expect("symlink");
    let tree = TreePlan {
        label: "unified".into(),
        unified: true,
        mountpoint: dir.path().to_owned(),
        path: vec!["plim".into(), "ab".into()],
        existing: 0,
        steps: vec![Step::MakeDir { depth: 1 }, Step::MakeDir { depth: 2 }],
    };
    let error = Plan { trees: vec![tree] }.create().expect_err("a symlink").to_string();
    assert!(error.contains("ENOTDIR") || error.contains("ELOOP"), "{error}");
    assert!(!Path::new("/ab").exists());
}
