//! Tables: limits in, steps out, on the three layouts; and everything that must be refused.

use plim_model::parse::cgroup::CpuList;

use super::check::{CPU_PERIOD_MAX_US, MEMORY_MIN_BYTES, PIDS_MAX};
use super::*;
use crate::config::{Resources, Throttle, ThrottleKind};

const V1_MOUNTS: &str = "\
32 31 0:29 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 31 0:31 / /cg/cpuset rw - cgroup cgroup rw,cpuset
35 31 0:32 / /cg/memory rw - cgroup cgroup rw,memory
36 31 0:33 / /cg/devices rw - cgroup cgroup rw,devices
37 31 0:34 / /cg/freezer rw - cgroup cgroup rw,freezer
38 31 0:35 / /cg/blkio rw - cgroup cgroup rw,blkio
39 31 0:36 / /cg/pids rw - cgroup cgroup rw,pids
40 31 0:37 / /cg/systemd rw - cgroup cgroup rw,name=systemd
";
const V1_OWN: &str = "9:name=systemd:/s\n8:pids:/s\n7:blkio:/\n6:freezer:/\n5:devices:/\n4:memory:/s\n3:cpuset:/\n1:cpu,cpuacct:/s\n";

fn v1() -> Layout {
    Layout::detect(V1_MOUNTS.as_bytes(), V1_OWN).expect("well formed")
}

fn hybrid() -> Layout {
    let mounts = format!("{V1_MOUNTS}41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
    Layout::detect(mounts.as_bytes(), &format!("{V1_OWN}0::/s\n")).expect("well formed")
}

fn v2() -> Layout {
    Layout::detect(b"30 23 0:26 / /cg rw - cgroup2 cgroup2 rw\n", "0::/user.slice/s\n").expect("well formed")
}

fn facts(layout: &Layout, controllers: &str) -> Facts {
    let top = V2Level {
        writable: true,
        real_root: true,
        controllers: controllers.split_ascii_whitespace().map(str::to_owned).collect(),
        ..V2Level::default()
    };
    Facts {
        euid: 0,
        writable: layout.trees().map(|tree| tree.mountpoint.clone()).collect(),
        v2_levels: layout.v2.iter().map(|_| top.clone()).collect(),
        cpus: CpuList::parse("0-3").ok(),
        mems: CpuList::parse("0").ok(),
    }
}

const ALL_V2: &str = "cpuset cpu io memory hugetlb pids";

/// `LABEL DEPTH|FILE …` per step.
fn told(plan: &Plan) -> Vec<String> {
    plan.trees
        .iter()
        .flat_map(|tree| {
            tree.steps.iter().map(|step| {
                let what = match step {
                    Step::Enable { depth, required, wanted } => {
                        format!("enable {depth} required={} wanted={}", required.join(","), wanted.join(","))
                    }
                    Step::MakeDir { depth } => format!("mkdir {}", tree.path[..*depth].join("/")),
                    Step::Inherit { depth, file } => {
                        format!("inherit {} {file}", tree.path[..*depth].join("/"))
                    }
                    Step::Write(write) => write
                        .choices
                        .iter()
                        .map(|(file, value)| format!("{file}={value}"))
                        .collect::<Vec<_>>()
                        .join("|"),
                    Step::DeviceProgram(program) => format!("program {}", program.len()),
                };
                format!("{}: {what}", tree.label)
            })
        })
        .collect()
}

/// Two levels, as for a path that was asked for.
fn planned(layout: &Layout, controllers: &str, resources: &Resources) -> Result<Plan, CgroupError> {
    let facts = facts(layout, controllers);
    let place = Place::choose(layout, &facts, "ab", Some("/plim/ab"), &asked(resources))?.expect("writable");
    plan(layout, &facts, &place, resources)
}

fn everything() -> Resources {
    let throttle = |kind, rate| Throttle { major: 8, minor: 0, kind, rate };
    Resources {
        memory_max_bytes: Some(64 << 20),
        memory_reservation_bytes: Some(32 << 20),
        memory_swap_total_bytes: Some(96 << 20),
        cpu_quota_us: Some(50_000),
        cpu_period_us: Some(100_000),
        cpu_shares: Some(1024),
        cpuset_cpus: Some("0-1".into()),
        cpuset_mems: Some("0".into()),
        pids_max: Some(64),
        blkio_weight: Some(500),
        throttles: vec![
            throttle(ThrottleKind::ReadBytes, 1 << 20),
            throttle(ThrottleKind::WriteOperations, 9),
        ],
        device_rules: docker_default_rules(),
    }
}

#[test]
fn v1_everything() {
    let plan = planned(&v1(), "", &everything()).expect("all there");
    let told = told(&plan);
    let expected = [
        "cpu,cpuacct: mkdir plim",
        "cpu,cpuacct: mkdir plim/ab",
        "cpu,cpuacct: cpu.cfs_period_us=100000",
        "cpu,cpuacct: cpu.cfs_quota_us=50000",
        "cpu,cpuacct: cpu.shares=1024",
        "cpuset: mkdir plim",
        "cpuset: inherit plim cpuset.cpus",
        "cpuset: inherit plim cpuset.mems",
        "cpuset: mkdir plim/ab",
        "cpuset: inherit plim/ab cpuset.cpus",
        "cpuset: inherit plim/ab cpuset.mems",
        "cpuset: cpuset.cpus=0-1",
        "cpuset: cpuset.mems=0",
        "memory: mkdir plim",
        "memory: mkdir plim/ab",
        "memory: memory.limit_in_bytes=67108864",
        "memory: memory.memsw.limit_in_bytes=100663296",
        "memory: memory.soft_limit_in_bytes=33554432",
        "devices: mkdir plim",
        "devices: mkdir plim/ab",
        "devices: devices.deny=a",
        "devices: devices.allow=c *:* m",
    ];
    assert_eq!(told[..expected.len()], expected);
    for line in [
        "freezer: mkdir plim/ab",
        "blkio: blkio.weight=500|blkio.bfq.weight=500",
        "blkio: blkio.throttle.read_bps_device=8:0 1048576",
        "blkio: blkio.throttle.write_iops_device=8:0 9",
        "pids: pids.max=64",
        "name=systemd: mkdir plim/ab",
    ] {
        assert!(told.iter().any(|told| told == line), "{line} in {told:#?}");
    }
    assert!(plan.trees.iter().all(|tree| !tree.unified));
    // The same input, the same steps.
    assert_eq!(plan, planned(&v1(), "", &everything()).expect("all there"));
}

#[test]
fn v2_everything() {
    let plan = planned(&v2(), ALL_V2, &everything()).expect("all there");
    let program = v2_program(&docker_default_rules()).expect("good rules").len();
    assert_eq!(
        told(&plan),
        [
            "unified: enable 0 required=memory,cpu,cpuset,pids,io wanted=".to_owned(),
            "unified: mkdir plim".to_owned(),
            "unified: enable 1 required=memory,cpu,cpuset,pids,io wanted=".to_owned(),
            "unified: mkdir plim/ab".to_owned(),
            "unified: memory.max=67108864".to_owned(),
            "unified: memory.swap.max=33554432".to_owned(),
            "unified: memory.low=33554432".to_owned(),
            "unified: cpu.max=50000 100000".to_owned(),
            "unified: cpu.weight=100".to_owned(),
            "unified: cpuset.cpus=0-1".to_owned(),
            "unified: cpuset.mems=0".to_owned(),
            "unified: pids.max=64".to_owned(),
            "unified: io.bfq.weight=500|io.weight=4950".to_owned(),
            "unified: io.max=8:0 rbps=1048576 wiops=9".to_owned(),
            format!("unified: program {program}"),
        ]
    );
}

#[test]
fn hybrid_takes_each_controller_where_it_is() {
    let plan = planned(&hybrid(), "hugetlb", &everything()).expect("all there");
    let told = told(&plan);
    let unified: Vec<&String> = told.iter().filter(|line| line.starts_with("unified")).collect();
    // Only the directory: nothing is there to enable, and the device rules went to v1.
    assert_eq!(unified, ["unified: mkdir plim", "unified: mkdir plim/ab"]);
    assert!(told.contains(&"memory: memory.limit_in_bytes=67108864".to_owned()));
    assert!(told.contains(&"devices: devices.deny=a".to_owned()));

    // memory moved to v2 (cgroup_no_v1=memory): its limits follow.
    let without = V1_MOUNTS.lines().filter(|line| !line.contains("memory")).collect::<Vec<_>>().join("\n");
    let own = V1_OWN.lines().filter(|line| !line.contains("memory")).collect::<Vec<_>>().join("\n");
    let mounts = format!("{without}\n41 31 0:38 / /cg/unified rw - cgroup2 cgroup2 rw\n");
    let layout = Layout::detect(mounts.as_bytes(), &format!("{own}\n0::/\n")).expect("well formed");
    let told = self::told(&planned(&layout, "memory", &everything()).expect("all there"));
    assert!(told.contains(&"unified: enable 0 required=memory wanted=".to_owned()), "{told:#?}");
    assert!(told.contains(&"unified: memory.max=67108864".to_owned()));
    assert!(told.contains(&"pids: pids.max=64".to_owned()));
}

#[test]
fn no_limits_still_makes_the_cgroups() {
    let nothing = Resources::default();
    assert!(asked(&nothing).is_empty());
    let told_v2 = told(&planned(&v2(), ALL_V2, &nothing).expect("nothing asked"));
    assert_eq!(told_v2[0], "unified: enable 0 required= wanted=cpu,cpuset,io,memory,pids");
    assert_eq!(told_v2.len(), 4);
    let told_v1 = told(&planned(&v1(), "", &nothing).expect("nothing asked"));
    assert!(told_v1.iter().all(|line| line.contains("mkdir") || line.contains("inherit")), "{told_v1:#?}");
}

#[test]
fn unlimited_is_written_as_each_version_spells_it() {
    let none = Resources {
        memory_swap_total_bytes: Some(-1),
        cpu_quota_us: Some(-1),
        pids_max: Some(-1),
        ..Resources::default()
    };
    let v1 = told(&planned(&v1(), "", &none).expect("good"));
    for line in
        ["memory: memory.memsw.limit_in_bytes=-1", "cpu,cpuacct: cpu.cfs_quota_us=-1", "pids: pids.max=max"]
    {
        assert!(v1.iter().any(|told| told == line), "{line} in {v1:#?}");
    }
    let v2 = told(&planned(&v2(), ALL_V2, &none).expect("good"));
    for line in ["unified: memory.swap.max=max", "unified: cpu.max=max 100000", "unified: pids.max=max"] {
        assert!(v2.iter().any(|told| told == line), "{line} in {v2:#?}");
    }
    // Swap of the memory's own size is no swap.
    let no_swap = Resources {
        memory_max_bytes: Some(64 << 20),
        memory_swap_total_bytes: Some(64 << 20),
        ..Resources::default()
    };
    let v2 = told(&planned(&self::v2(), ALL_V2, &no_swap).expect("good"));
    assert!(v2.contains(&"unified: memory.swap.max=0".to_owned()));
}

#[test]
fn ranges() {
    type Set = fn(&mut Resources);
    let good: [Set; 12] = [
        |r| r.memory_max_bytes = Some(MEMORY_MIN_BYTES),
        |r| r.cpu_period_us = Some(1_000),
        |r| r.cpu_period_us = Some(CPU_PERIOD_MAX_US),
        |r| r.cpu_quota_us = Some(1_000),
        |r| r.cpu_shares = Some(2),
        |r| r.cpu_shares = Some(262_144),
        |r| r.pids_max = Some(1),
        |r| r.pids_max = Some(PIDS_MAX),
        |r| r.blkio_weight = Some(10),
        |r| r.blkio_weight = Some(1000),
        |r| r.cpuset_cpus = Some("3,0-1".into()),
        |r| r.memory_reservation_bytes = Some(4096),
    ];
    let bad: [(Set, &str); 24] = [
        (|r| r.memory_max_bytes = Some(0), "memory limit"),
        (|r| r.memory_max_bytes = Some(MEMORY_MIN_BYTES - 1), "6 MiB"),
        (|r| r.memory_max_bytes = Some(u64::MAX), "memory limit"),
        (
            |r| (r.memory_max_bytes, r.memory_reservation_bytes) = (Some(8 << 20), Some(9 << 20)),
            "at most the memory limit",
        ),
        (|r| r.memory_reservation_bytes = Some(u64::MAX), "memory reservation"),
        (|r| r.memory_swap_total_bytes = Some(64 << 20), "a memory limit beside it"),
        (
            |r| (r.memory_max_bytes, r.memory_swap_total_bytes) = (Some(8 << 20), Some(7 << 20)),
            "at least the memory limit",
        ),
        (
            |r| (r.memory_max_bytes, r.memory_swap_total_bytes) = (Some(8 << 20), Some(-2)),
            "at least the memory limit",
        ),
        (|r| r.cpu_period_us = Some(999), "cpu period"),
        (|r| r.cpu_period_us = Some(CPU_PERIOD_MAX_US + 1), "cpu period"),
        (|r| r.cpu_quota_us = Some(999), "cpu quota"),
        (|r| r.cpu_quota_us = Some(0), "cpu quota"),
        (|r| r.cpu_quota_us = Some(-2), "cpu quota"),
        (|r| r.cpu_shares = Some(1), "cpu shares"),
        (|r| r.cpu_shares = Some(262_145), "cpu shares"),
        (|r| r.pids_max = Some(0), "pids limit"),
        (|r| r.pids_max = Some(PIDS_MAX + 1), "pids limit"),
        (|r| r.blkio_weight = Some(9), "blkio weight"),
        (|r| r.blkio_weight = Some(1001), "blkio weight"),
        (|r| r.cpuset_cpus = Some("4".into()), "a part of 0-3"),
        (|r| r.cpuset_cpus = Some("1-0".into()), "a list such as"),
        (|r| r.cpuset_cpus = Some(String::new()), "a list such as"),
        (|r| r.cpuset_mems = Some("0-1".into()), "cpuset mems"),
        (
            |r| r.throttles = vec![Throttle { major: 8, minor: 0, kind: ThrottleKind::ReadBytes, rate: 0 }],
            "device 8:0",
        ),
    ];
    for (layout, controllers) in [(v1(), ""), (hybrid(), "hugetlb"), (v2(), ALL_V2)] {
        for (index, set) in good.iter().enumerate() {
            let mut resources = Resources::default();
            set(&mut resources);
            planned(&layout, controllers, &resources).unwrap_or_else(|error| panic!("good {index}: {error}"));
        }
        for (index, (set, words)) in bad.iter().enumerate() {
            let mut resources = Resources::default();
            set(&mut resources);
            let error = planned(&layout, controllers, &resources).expect_err(words).to_string();
            assert!(error.contains(words), "bad {index}: {error}");
        }
    }
}

#[test]
fn a_missing_controller_is_an_error_and_names_itself_and_its_file() {
    type Set = fn(&mut Resources);
    let cases: [(Set, &str, &str, &str); 5] = [
        (|r| r.memory_max_bytes = Some(64 << 20), "memory", "memory.limit_in_bytes", "memory.max"),
        (|r| r.cpu_quota_us = Some(5_000), "cpu", "cpu.cfs_quota_us", "cpu.max"),
        (|r| r.cpuset_cpus = Some("0".into()), "cpuset", "cpuset.cpus", "cpuset.cpus"),
        (|r| r.pids_max = Some(5), "pids", "pids.max", "pids.max"),
        (|r| r.blkio_weight = Some(500), "io", "blkio", "io.max"),
    ];
    for (set, controller, _, file) in cases {
        let mut resources = Resources::default();
        set(&mut resources);
        let rest: Vec<&str> = ALL_V2.split(' ').filter(|name| *name != controller).collect();
        let error = planned(&v2(), &rest.join(" "), &resources).expect_err("missing").to_string();
        assert!(error.contains(&format!("no {controller} controller")) && error.contains(file), "{error}");
    }
    // v1: known to the kernel, mounted nowhere; and mounted read-only.
    let mounts: Vec<&str> = V1_MOUNTS.lines().filter(|line| !line.contains("pids")).collect();
    let layout = Layout::detect(mounts.join("\n").as_bytes(), V1_OWN).expect("well formed");
    let resources = Resources { pids_max: Some(5), ..Resources::default() };
    let error = planned(&layout, "", &resources).expect_err("unmounted").to_string();
    assert!(error.contains("pids") && error.contains("mounted nowhere"), "{error}");
    let layout = Layout::detect(V1_MOUNTS.replace("/cg/pids rw", "/cg/pids ro").as_bytes(), V1_OWN)
        .expect("well formed");
    let error = planned(&layout, "", &resources).expect_err("read-only").to_string();
    assert!(error.contains("/cg/pids") && error.contains("cannot be written"), "{error}");
    // Nothing asked of it: the container is put where it can be.
    assert!(planned(&layout, "", &Resources::default()).is_ok());
}

#[test]
fn below_the_callers_own_cgroup() {
    let layout = hybrid();
    let facts = facts(&layout, "hugetlb");
    let place = Place::choose(&layout, &facts, "ab", Some("x/y"), &[]).expect("good").expect("a place");
    let plan = plan(&layout, &facts, &place, &Resources::default()).expect("good");
    let told = told(&plan);
    assert!(told.contains(&"memory: mkdir s/x".to_owned()), "{told:#?}");
    assert!(told.contains(&"memory: mkdir s/x/y".to_owned()));
    assert!(!told.contains(&"memory: mkdir s".to_owned()), "it is there");
    assert!(told.contains(&"cpuset: mkdir x/y".to_owned()), "own is the root there");
    let removal = plan.removal();
    assert!(removal.leaves.contains(&"/cg/memory/s/x/y".into()));
    assert!(removal.parents.contains(&"/cg/memory/s/x".into()));
    assert!(!removal.parents.contains(&"/cg/memory/s".into()), "it was there before");
}

#[test]
fn rootless_uses_the_delegated_v2_subtree_and_nothing_else() {
    let layout = hybrid();
    let level = |path: &str, writable, has_processes| V2Level {
        path: path.into(),
        writable,
        has_processes,
        controllers: ["memory".to_owned()].into(),
        ..V2Level::default()
    };
    let facts = Facts {
        euid: 1000,
        v2_levels: vec![level("", false, true), level("s", true, false)],
        ..facts(&layout, "")
    };
    let facts = Facts { writable: [].into(), ..facts };
    let resources = Resources::default();
    let place = Place::choose(&layout, &facts, "ab", None, &[]).expect("good").expect("delegated");
    let plan = plan(&layout, &facts, &place, &resources).expect("good");
    assert_eq!(
        told(&plan),
        [
            "unified: enable 0 required= wanted=memory",
            "unified: enable 1 required= wanted=memory",
            "unified: mkdir s/plim-ab",
        ]
    );
    // A limit whose controller is in a v1 hierarchy cannot be had there.
    let limit = Resources { pids_max: Some(5), ..Resources::default() };
    let error = super::plan(&layout, &facts, &place, &limit).expect_err("v1").to_string();
    assert!(error.contains("pids") && error.contains("this user cannot make a cgroup"), "{error}");
}
