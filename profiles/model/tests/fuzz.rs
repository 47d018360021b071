//! What /proc, cgroup files and saved snapshots may hold, mutated: every parser returns.

mod common;

use plim_fuzz::{Target, fuzz};
use plim_model::Snapshot;
use plim_model::parse::{cgroup, idmap, limits, mountinfo, stat, status};

const STATUS: &str = "Name:\tsh\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t7\nPid:\t7\nPPid:\t1\nTracerPid:\t0\nUid:\t0\t0\t0\t0\n\
Gid:\t0\t0\t0\t0\nGroups:\t0 1 2 \nNStgid:\t7\t1\nNSpid:\t7\t1\nThreads:\t1\nSigQ:\t0/1\nCapInh:\t0000000000000000\n\
CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n\
Seccomp:\t2\nSeccomp_filters:\t1\n";
const MOUNTINFO: &str = "22 1 0:20 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a\\040b,upperdir=/c\n\
23 22 0:21 / /proc rw,nosuid,nodev,noexec - proc proc rw\n24 22 0:22 /x\\134y /mnt\\011z ro master:2 propagate_from:1 unbindable - tmpfs tmpfs rw\n";
const LIMITS: &str = "Limit                     Soft Limit           Hard Limit           Units     \n\
Max cpu time              unlimited            unlimited            seconds   \nMax open files            1024                 4096                 files     \n";

#[test]
fn fuzz_status() {
    fuzz(Target::new("status").seeds([STATUS]).rounds(2_000), |bytes| {
        drop(status::parse(&String::from_utf8_lossy(bytes)));
    });
}

#[test]
fn fuzz_mountinfo() {
    let words = &[" - ", "\\040", "\\", "/", "shared:", " "];
    fuzz(Target::new("mountinfo").seeds([MOUNTINFO]).words(words).rounds(2_000), |bytes| {
        drop(mountinfo::parse(bytes));
    });
}

#[test]
fn fuzz_small_files() {
    let seeds = [
        "12:pids:/docker/1\n3:cpu,cpuacct:/x:y\n1:name=systemd:/\n0::/user.slice\n",
        "max",
        "18446744073709551615\n",
        "100000 100000\n",
        "max 100000",
        "8:0 rbps=max wbps=1048576 riops=max wiops=120\n253:1 rbps=7\n",
        "8:0 1048576\n8:16 2\n",
        "default 100\n",
        "usage_usec 5\nnr_throttled 0\n",
        "         0     100000      65536\n     65536          0          1\n",
        "7 (sh) a) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 0 0\n",
        LIMITS,
    ];
    fuzz(Target::new("cgroup files, id maps, limits, stat").seeds(seeds).rounds(3_000), |bytes| {
        let text = &String::from_utf8_lossy(bytes);
        drop((cgroup::membership(text), cgroup::limit(text), cgroup::single(text), cgroup::cpu_max(text)));
        drop((
            cgroup::io_max(text),
            cgroup::throttle(text),
            cgroup::io_weight(text),
            cgroup::flat_keyed(text),
        ));
        drop((idmap::parse(text), limits::parse(text), stat::start_time(text), stat::state(text)));
    });
}

#[test]
fn fuzz_snapshot() {
    let seeds = [common::docker_like("0123abcd", 7).to_json().to_string()];
    fuzz(
        Target::new("snapshot").seeds(seeds).words(&["null", "\"unknown\":", "\"format\": \"1.0\""]),
        |bytes| {
            if let Ok(value) = serde_json::from_slice(bytes)
                && let Ok(snapshot) = Snapshot::from_json(value)
            {
                let again = snapshot.to_json();
                assert_eq!(
                    Snapshot::from_json(again.clone()).expect("what is written is read").to_json(),
                    again
                );
            }
        },
    );
}
