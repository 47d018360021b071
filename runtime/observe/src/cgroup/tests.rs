//! Limits from trees of files that look as the kernel's.

use std::path::Path;

use plim_model::cgroup::CgroupVersion;
use plim_model::parse::mountinfo;
use plim_model::rlimit::Limit;

use super::*;

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let top = tempfile::tempdir().expect("tempdir");
    for (path, content) in files {
        let path = top.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        std::fs::write(path, content).expect("write");
    }
    top
}

fn read_tree(top: &Path, mounts: &[u8], membership: &str) -> (Cgroup, Observed<Vec<String>>) {
    read(top, &mountinfo::parse(mounts).expect("mountinfo parses"), membership)
}

const V2: &[u8] = b"30 20 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
const HYBRID: &[u8] = b"\
    30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
    31 20 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
    32 20 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
    33 20 0:29 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices\n\
    34 20 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
    35 20 0:31 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n\
    36 20 0:32 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
    37 20 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
const V1_MEMBERSHIP: &str = "7:cpuset:/pod/c\n6:blkio:/pod/c\n5:name=systemd:/pod\n4:devices:/pod/c\n3:pids:/pod/c\n\
                             2:cpu,cpuacct:/pod/c\n1:memory:/pod/c\n0::/pod/c\n";

#[test]
fn v2_takes_the_smallest_of_all_ancestors() {
    let top = tree(&[
        ("sys/fs/cgroup/cgroup.controllers", "cpuset cpu io memory pids\n"),
        ("sys/fs/cgroup/cpuset.cpus.effective", "0-7\n"),
        ("sys/fs/cgroup/a/memory.max", "1048576\n"),
        ("sys/fs/cgroup/a/memory.swap.max", "max\n"),
        ("sys/fs/cgroup/a/pids.max", "max\n"),
        ("sys/fs/cgroup/a/cpu.max", "50000 100000\n"),
        ("sys/fs/cgroup/a/b/memory.max", "2097152\n"),
        ("sys/fs/cgroup/a/b/memory.swap.max", "4096\n"),
        ("sys/fs/cgroup/a/b/memory.current", "17\n"),
        ("sys/fs/cgroup/a/b/memory.low", "0\n"),
        ("sys/fs/cgroup/a/b/memory.high", "max\n"),
        ("sys/fs/cgroup/a/b/pids.max", "100\n"),
        ("sys/fs/cgroup/a/b/pids.current", "3\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/b/cpu.weight", "79\n"),
        ("sys/fs/cgroup/a/b/cpuset.cpus", "\n"),
        (
            "sys/fs/cgroup/a/b/io.max",
            "8:0 rbps=1000 wbps=max riops=max wiops=20\n8:16 rbps=max wbps=max riops=max wiops=max\n",
        ),
        ("sys/fs/cgroup/a/b/io.weight", "default 300\n8:0 100\n"),
    ]);
    let (cgroup, rules) = read_tree(top.path(), V2, "0::/a/b\n");
    assert_eq!(cgroup.version, Observed::Present(CgroupVersion::V2));
    assert_eq!(cgroup.paths, [("unified".to_owned(), "/a/b".to_owned())].into());
    let memory = cgroup.memory.present().expect("memory");
    assert_eq!(memory.max_bytes, Observed::Present(Limit::Of(2_097_152)));
    assert_eq!(memory.effective_max_bytes, Observed::Present(Limit::Of(1_048_576)));
    assert_eq!(memory.swap_max_bytes, Observed::Present(Limit::Of(4096)));
    assert_eq!(memory.effective_swap_max_bytes, Observed::Present(Limit::Of(4096)));
    assert_eq!(memory.current_bytes, Observed::Present(17));
    let levels: Vec<&str> = memory.levels.iter().map(|level| level.path.as_str()).collect();
    assert_eq!(levels, ["/a/b", "/a", "/"]);
    assert_eq!(memory.levels[2].max, Observed::Absent, "v2's root has no limit file");
    let cpu = cgroup.cpu.present().expect("cpu");
    assert_eq!(cpu.quota_us, Observed::Present(Limit::Max));
    assert_eq!(cpu.effective_millicpus, Observed::Present(Limit::Of(500)));
    assert_eq!((cpu.weight.clone(), cpu.shares.clone()), (Observed::Present(79), Observed::Absent));
    assert_eq!(cpu.cpuset_cpus, Observed::Absent, "an empty list is inherited");
    assert_eq!(cpu.effective_cpuset_cpus, Observed::Present("0-7".to_owned()));
    let pids = cgroup.pids.present().expect("pids");
    assert_eq!(pids.effective_max, Observed::Present(Limit::Of(100)));
    let io = cgroup.io.present().expect("io");
    assert_eq!(io.weight, Observed::Present(300));
    assert_eq!(io.devices.keys().collect::<Vec<_>>(), ["8:0"]);
    assert_eq!(io.devices["8:0"].write_operations_per_second, Limit::Of(20));
    assert!(rules.is_unknown());
}

#[test]
fn a_controller_that_v2_does_not_offer_is_absent() {
    let top = tree(&[("sys/fs/cgroup/cgroup.controllers", "pids\n"), ("sys/fs/cgroup/a/pids.max", "max\n")]);
    let (cgroup, _) = read_tree(top.path(), V2, "0::/a\n");
    assert_eq!(cgroup.memory, Observed::Absent);
    assert_eq!(cgroup.pids.present().map(|pids| &pids.effective_max), Some(&Observed::Present(Limit::Max)));
}

#[test]
fn v1_and_hybrid_are_told_in_the_same_fields() {
    let top = tree(&[
        ("sys/fs/cgroup/unified/cgroup.controllers", "hugetlb\n"),
        ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "9223372036854771712\n"),
        ("sys/fs/cgroup/memory/memory.use_hierarchy", "1\n"),
        ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "1000000\n"),
        ("sys/fs/cgroup/memory/pod/memory.memsw.limit_in_bytes", "1000000\n"),
        ("sys/fs/cgroup/memory/pod/memory.use_hierarchy", "1\n"),
        ("sys/fs/cgroup/memory/pod/c/memory.limit_in_bytes", "600000\n"),
        ("sys/fs/cgroup/memory/pod/c/memory.memsw.limit_in_bytes", "1200000\n"),
        ("sys/fs/cgroup/memory/pod/c/memory.usage_in_bytes", "5\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us", "30000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us", "20000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/c/cpu.cfs_quota_us", "200000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/c/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/pod/c/cpu.shares", "512\n"),
        ("sys/fs/cgroup/cpuset/pod/c/cpuset.cpus", "0\n"),
        ("sys/fs/cgroup/cpuset/pod/c/cpuset.effective_cpus", "0\n"),
        ("sys/fs/cgroup/pids/pod/c/pids.max", "64\n"),
        ("sys/fs/cgroup/pids/pod/pids.max", "32\n"),
        ("sys/fs/cgroup/devices/pod/c/devices.list", "c 5:0 rwm\nc 1:3 rwm\n"),
        ("sys/fs/cgroup/blkio/pod/c/blkio.throttle.read_bps_device", "8:0 100\n"),
        ("sys/fs/cgroup/blkio/pod/c/blkio.throttle.write_iops_device", "8:0 7\n8:16 9\n"),
    ]);
    let (cgroup, rules) = read_tree(top.path(), HYBRID, V1_MEMBERSHIP);
    assert_eq!(cgroup.version, Observed::Present(CgroupVersion::Hybrid));
    assert_eq!(cgroup.paths["name=systemd"], "/pod");
    let memory = cgroup.memory.present().expect("memory");
    assert_eq!(memory.max_bytes, Observed::Present(Limit::Of(600_000)));
    assert_eq!(memory.swap_max_bytes, Observed::Present(Limit::Of(600_000)));
    assert_eq!(memory.effective_max_bytes, Observed::Present(Limit::Of(600_000)));
    // The parent's sum of 1,000,000 holds, less what the child may have in memory.
    assert_eq!(memory.effective_swap_max_bytes, Observed::Present(Limit::Of(400_000)));
    assert_eq!(memory.levels[2].max, Observed::Present(Limit::Max));
    let cpu = cgroup.cpu.present().expect("cpu");
    assert_eq!(cpu.effective_millicpus, Observed::Present(Limit::Of(1500)));
    assert_eq!(cpu.shares, Observed::Present(512));
    assert_eq!(cpu.effective_cpuset_cpus, Observed::Present("0".to_owned()));
    assert_eq!(
        cgroup.pids.present().map(|pids| &pids.effective_max),
        Some(&Observed::Present(Limit::Of(32)))
    );
    let io = cgroup.io.present().expect("io");
    assert_eq!(io.devices["8:0"].read_bytes_per_second, Limit::Of(100));
    assert_eq!(io.devices["8:0"].write_operations_per_second, Limit::Of(7));
    assert_eq!(io.devices["8:16"].read_bytes_per_second, Limit::Max);
    assert_eq!(rules, Observed::Present(vec!["c 1:3 rwm".to_owned(), "c 5:0 rwm".to_owned()]));

    let only_v1: Vec<u8> = HYBRID.split_inclusive(|b| *b == b'\n').take(7).flatten().copied().collect();
    let (cgroup, _) = read_tree(top.path(), &only_v1, V1_MEMBERSHIP);
    assert_eq!(cgroup.version, Observed::Present(CgroupVersion::V1));
}

#[test]
fn a_parent_that_does_not_count_its_children_does_not_limit_them() {
    let top = tree(&[
        ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "1000\n"),
        ("sys/fs/cgroup/memory/pod/memory.use_hierarchy", "0\n"),
        ("sys/fs/cgroup/memory/pod/c/memory.limit_in_bytes", "5000\n"),
    ]);
    let (cgroup, _) = read_tree(top.path(), HYBRID, "1:memory:/pod/c\n0::/\n");
    let memory = cgroup.memory.present().expect("memory");
    assert_eq!(memory.effective_max_bytes, Observed::Present(Limit::Of(5000)));
    assert_eq!(memory.swap_max_bytes, Observed::Absent, "swap accounting is off");
    assert_eq!(memory.effective_swap_max_bytes, Observed::Absent);
}

#[test]
fn what_the_reader_cannot_see_is_unknown() {
    let top = tree(&[("sys/fs/cgroup/cgroup.controllers", "memory\n")]);
    let (outside, _) = read_tree(top.path(), V2, "0::/../other\n");
    assert!(outside.memory.is_unknown(), "outside the reader's cgroup namespace");
    let (unmounted, _) = read_tree(top.path(), b"", "1:memory:/a\n");
    assert!(unmounted.memory.is_unknown() && unmounted.version.is_unknown());
    let mounted_below = b"30 20 0:26 /mine /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let (neighbour, _) = read_tree(top.path(), mounted_below, "0::/mine-not\n");
    assert!(neighbour.memory.is_unknown());
    let (garbage, rules) = read_tree(top.path(), V2, "garbage\n");
    assert!(garbage.memory.is_unknown() && rules.is_unknown());
}

#[test]
fn a_mount_of_a_subtree_is_searched_below_it() {
    let top = tree(&[
        ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
        ("sys/fs/cgroup/memory.max", "10\n"),
        ("sys/fs/cgroup/sub/memory.max", "20\n"),
    ]);
    let mounted_below = b"30 20 0:26 /mine /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let (cgroup, _) = read_tree(top.path(), mounted_below, "0::/mine/sub\n");
    let memory = cgroup.memory.present().expect("memory");
    assert_eq!(memory.effective_max_bytes, Observed::Present(Limit::Of(10)));
    assert_eq!(memory.levels[1].path, "/mine");
}

#[test]
fn a_limit_that_makes_no_sense_or_is_too_long_is_unknown_and_so_is_what_follows_from_it() {
    let long = "9".repeat(2 << 20);
    for nonsense in ["lots\n", "", long.as_str()] {
        let top = tree(&[
            ("sys/fs/cgroup/cgroup.controllers", "memory\n"),
            ("sys/fs/cgroup/a/memory.max", nonsense),
            ("sys/fs/cgroup/a/b/memory.max", "10\n"),
        ]);
        let (cgroup, _) = read_tree(top.path(), V2, "0::/a/b\n");
        let memory = cgroup.memory.present().expect("memory");
        assert_eq!(memory.max_bytes, Observed::Present(Limit::Of(10)));
        assert!(memory.effective_max_bytes.is_unknown(), "{:?}", memory.effective_max_bytes);
    }
}
