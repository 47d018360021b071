//! The structural diff, by table: one change to a container, what it is called, and whether it reaches more.
mod common;

use common::{docker_like, mount};
use plim_model::cgroup::IoLimits;
use plim_model::diff::{Area, AreaSet, Change, Diff, Effect, Filters, Side, compare, snapshots};
use plim_model::mount::{Mount, Propagation};
use plim_model::namespace::Namespace;
use plim_model::process::OddProcess;
use plim_model::rlimit::Limit;
use plim_model::seccomp::{SeccompFilter, SeccompMode};
use plim_model::snapshot::{Device, EngineSocket, Unknown};
use plim_model::{Capability, HostPid, IdMapping, NamespaceKind, Observed, Snapshot};
use serde_json::{Value, json};

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn present<T>(value: &mut Observed<T>) -> &mut T {
    match value {
        Observed::Present(value) => value,
        _ => panic!("the fixture has it"),
    }
}

fn diff(a: &Snapshot, b: &Snapshot) -> Diff {
    compare(a, b, &AreaSet::all(), Filters::Summaries)
}

fn lines(diff: &Diff) -> Vec<String> {
    diff.changes.iter().map(|c| format!("{} {} {}->{}", c.effect, c.path, c.before, c.after)).collect()
}

/// Applies `edit` to B and expects exactly these changes; the other way round the effects are mirrored.
#[track_caller]
fn case(edit: impl FnOnce(&mut Snapshot), expected: &[&str]) {
    let a = docker_like(A, 10);
    let mut b = docker_like(B, 20);
    edit(&mut b);
    let forward = diff(&a, &b);
    assert_eq!(lines(&forward), expected);
    assert_eq!(forward.unknown, []);
    assert_eq!(forward.same, expected.is_empty());
    let back = diff(&b, &a);
    let mirrored: Vec<(String, Value, Value, Effect)> = back
        .changes
        .into_iter()
        .map(|c| {
            let effect = match c.effect {
                Effect::More => Effect::Less,
                Effect::Less => Effect::More,
                Effect::Other => Effect::Other,
            };
            (c.path, c.after, c.before, effect)
        })
        .collect();
    let forward: Vec<_> =
        forward.changes.into_iter().map(|c| (c.path, c.before, c.after, c.effect)).collect();
    assert_eq!(mirrored, forward, "the other way round");
}

#[test]
fn identity_is_no_difference() {
    case(|_| {}, &[]);
    case(
        |b| {
            b.target.engine = "plim".to_owned();
            b.target.image = None;
            b.sysctls.insert("kernel.hostname".to_owned(), Observed::Present(B[..12].to_owned()));
            b.process_count = Observed::Present(1000);
            present(&mut b.cgroup.memory).current_bytes = Observed::Unknown("EACCES".to_owned());
        },
        &[],
    );
}

#[test]
fn namespaces() {
    let share = |b: &mut Snapshot, kind| {
        present(b.namespaces.get_mut(&kind).expect("there")).shared_with_host = Observed::Present(true)
    };
    case(|b| share(b, NamespaceKind::Net), &["more /namespaces/net/shared_with_host false->true"]);
    case(
        |b| {
            present(b.namespaces.get_mut(&NamespaceKind::Ipc).expect("there"))
                .shared_with
                .push("docker:db".to_owned())
        },
        &["more /namespaces/ipc/shared_with/docker:db null->\"docker:db\""],
    );
    case(|b| drop(b.namespaces.remove(&NamespaceKind::Time)), &["other /namespaces/time true->null"]);
    case(
        |b| present(&mut b.id_maps).uid = vec![IdMapping { inside: 0, outside: 100_000, count: 65536 }],
        &[
            "less /id_maps/uid [{\"inside\":0,\"outside\":0,\"count\":4294967295}]->[{\"inside\":0,\"outside\":100000,\"count\":65536}]",
        ],
    );
}

#[test]
fn targets_that_share_a_namespace_with_each_other_are_the_same() {
    let (mut a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    let net = |snapshot: &mut Snapshot, other: &str| {
        let net: &mut Namespace = present(snapshot.namespaces.get_mut(&NamespaceKind::Net).expect("there"));
        net.shared_with = vec![other.to_owned(), "docker:pause".to_owned()];
    };
    net(&mut a, "docker:name-20");
    net(&mut b, "docker:name-10");
    assert!(diff(&a, &b).same);
}

#[test]
fn capabilities_one_change_per_capability_and_set() {
    let raw = Capability::from_name("NET_RAW").expect("known");
    let admin = Capability::from_name("SYS_ADMIN").expect("known");
    case(
        |b| {
            present(&mut b.capabilities).bounding.remove(raw);
            present(&mut b.capabilities).effective.insert(admin);
        },
        &[
            "less /capabilities/bounding/CAP_NET_RAW \"CAP_NET_RAW\"->null",
            "more /capabilities/effective/CAP_SYS_ADMIN null->\"CAP_SYS_ADMIN\"",
        ],
    );
    case(|b| b.no_new_privs = Observed::Present(true), &["less /no_new_privs false->true"]);
}

#[test]
fn seccomp_by_mode_digest_and_summary() {
    case(
        |b| {
            b.seccomp.mode = Observed::Present(SeccompMode::Disabled);
            b.seccomp.filters = Observed::Present(vec![]);
            b.seccomp.filter_count = Observed::Present(0);
        },
        &[
            &format!("more /seccomp/filters [{{\"length\":266,\"sha256\":\"{}\"}}]->[]", "ab".repeat(32)),
            "more /seccomp/mode \"filter\"->\"disabled\"",
        ],
    );
    // An unknown log flag says nothing about reach, and is in the fixture.
    case(|b| present(&mut b.seccomp.filters)[0].log = Observed::Present(true), &[]);
    case(
        |b| {
            let filter = &mut present(&mut b.seccomp.filters)[0];
            filter.sha256 = "cd".repeat(32);
            filter.summary[0].allowed = 301;
            filter.summary[0].refused = 69;
        },
        &[
            "other /seccomp/filters/0/summary/SCMP_ARCH_X86_64 {\"allowed\":300,\"refused\":70,\"conditional\":3}->{\"allowed\":301,\"refused\":69,\"conditional\":3}",
        ],
    );
}

#[test]
fn other_bytes_with_the_same_summary_are_unknown_and_never_the_same() {
    let (a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    present(&mut b.seccomp.filters)[0].sha256 = "cd".repeat(32);
    let found = diff(&a, &b);
    assert!(found.changes.is_empty() && !found.same);
    assert_eq!((found.unknown[0].side, found.unknown[0].path.as_str()), (Side::Both, "/seccomp/filters"));

    let compared = Filters::Compared { changes: vec![], unknown: vec![] };
    assert!(compare(&a, &b, &AreaSet::all(), compared).same, "programs were at hand and mean the same");
    let stacked = SeccompFilter { sha256: "ef".repeat(32), ..present(&mut b.seccomp.filters)[0].clone() };
    let mut c = docker_like(B, 20);
    present(&mut c.seccomp.filters).push(stacked);
    assert_eq!(diff(&a, &c).changes[0].effect, Effect::Less, "one more filter can only take away");
}

#[test]
fn cgroup_limits_less_limit_is_more_reach() {
    case(
        |b| {
            let memory = present(&mut b.cgroup.memory);
            memory.max_bytes = Observed::Present(Limit::Max);
            memory.effective_max_bytes = Observed::Present(Limit::Max);
        },
        &["more /cgroup/memory/max_bytes 67108864->\"max\""],
    );
    // A limit of an ancestor shows in the effective value alone.
    case(
        |b| present(&mut b.cgroup.memory).effective_max_bytes = Observed::Present(Limit::Of(1 << 20)),
        &["less /cgroup/memory/effective_max_bytes 67108864->1048576"],
    );
    // No swap accounting is no swap limit.
    case(|b| present(&mut b.cgroup.memory).swap_max_bytes = Observed::Present(Limit::Max), &[]);
    case(
        |b| present(&mut b.cgroup.memory).swap_max_bytes = Observed::Present(Limit::Of(0)),
        &["less /cgroup/memory/swap_max_bytes \"max\"->0"],
    );
    case(
        |b| present(&mut b.cgroup.cpu).quota_us = Observed::Present(Limit::Of(50_000)),
        &["less /cgroup/cpu/quota_us \"max\"->50000"],
    );
    case(|b| present(&mut b.cgroup.cpu).period_us = Observed::Present(50_000), &[]);
    case(
        |b| present(&mut b.cgroup.cpu).shares = Observed::Present(2048),
        &["more /cgroup/cpu/shares 1024->2048"],
    );
    case(
        |b| {
            let cpu = present(&mut b.cgroup.cpu);
            cpu.cpuset_cpus = Observed::Present("1".to_owned());
            cpu.effective_cpuset_cpus = Observed::Present("1".to_owned());
        },
        &["less /cgroup/cpu/cpuset_cpus \"0-1\"->\"1\""],
    );
    case(|b| present(&mut b.cgroup.cpu).cpuset_cpus = Observed::Present("0,1\n".to_owned()), &[]);
    case(
        |b| present(&mut b.cgroup.pids).max = Observed::Present(Limit::Of(101)),
        &["more /cgroup/pids/max 100->101"],
    );
    case(
        |b| {
            b.cgroup.pids = Observed::Absent;
        },
        &["more /cgroup/pids/max 100->\"max\""],
    );
    case(
        |b| {
            let limits =
                IoLimits { write_bytes_per_second: Limit::Of(5), ..plim_model::parse::cgroup::NO_IO_LIMITS };
            present(&mut b.cgroup.io).devices.insert("8:0".to_owned(), limits);
        },
        &["less /cgroup/io/devices/8:0/write_bytes_per_second \"max\"->5"],
    );
}

#[test]
fn cpu_quota_is_compared_as_a_share_of_its_period() {
    let with = |quota, period| {
        let mut snapshot = docker_like(A, 10);
        present(&mut snapshot.cgroup.cpu).quota_us = Observed::Present(quota);
        present(&mut snapshot.cgroup.cpu).period_us = Observed::Present(period);
        snapshot
    };
    let effect = |a: &Snapshot, b: &Snapshot| {
        diff(a, b).changes.iter().map(|c| (c.path.clone(), c.effect)).collect::<Vec<_>>()
    };
    let half = with(Limit::Of(50_000), 100_000);
    assert_eq!(
        effect(&half, &with(Limit::Of(40_000), 50_000)),
        [
            ("/cgroup/cpu/period_us".to_owned(), Effect::Other),
            ("/cgroup/cpu/quota_us".to_owned(), Effect::More)
        ]
    );
    assert_eq!(
        effect(&half, &with(Limit::Of(50_000), 200_000)),
        [("/cgroup/cpu/period_us".to_owned(), Effect::Less)]
    );
    assert_eq!(
        effect(&half, &with(Limit::Max, 100_000)),
        [("/cgroup/cpu/quota_us".to_owned(), Effect::More)]
    );
}

#[test]
fn mounts_masks_and_sockets() {
    let at =
        |b: &mut Snapshot, index: usize, edit: &dyn Fn(&mut Mount)| edit(&mut present(&mut b.mounts)[index]);
    case(
        |b| at(b, 0, &|m| m.options = vec!["relatime".to_owned(), "ro".to_owned()]),
        &["less /mounts/~1/options [\"relatime\",\"rw\"]->[\"relatime\",\"ro\"]"],
    );
    case(
        |b| at(b, 1, &|m| m.options = vec!["nodev".to_owned(), "nosuid".to_owned(), "rw".to_owned()]),
        &[
            "more /mounts/~1proc/options [\"nodev\",\"noexec\",\"nosuid\",\"rw\"]->[\"nodev\",\"nosuid\",\"rw\"]",
        ],
    );
    case(
        |b| at(b, 0, &|m| m.options = vec!["noatime".to_owned(), "ro".to_owned()]),
        &["other /mounts/~1/options [\"relatime\",\"rw\"]->[\"noatime\",\"ro\"]"],
    );
    case(
        |b| at(b, 0, &|m| m.propagation = Propagation::Shared),
        &["more /mounts/~1/propagation \"private\"->\"shared\""],
    );
    case(
        |b| {
            present(&mut b.mounts)
                .push(Mount { source: "/dev/vda".to_owned(), ..mount("/host", "/", "ext4", &["rw"]) })
        },
        &[
            "more /mounts/~1host null->{\"fs_type\":\"ext4\",\"root\":\"/\",\"source\":\"/dev/vda\",\"options\":[\"rw\"]}",
        ],
    );
    case(
        |b| present(&mut b.mounts).push(mount("/tmp", "/", "tmpfs", &["rw"])),
        &[
            "other /mounts/~1tmp null->{\"fs_type\":\"tmpfs\",\"root\":\"/\",\"source\":\"\",\"options\":[\"rw\"]}",
        ],
    );
    case(
        |b| {
            b.masked_paths = Observed::Present(vec![]);
            present(&mut b.mounts).remove(3);
        },
        &["more /masked_paths/~1proc~1kcore \"/proc/kcore\"->null"],
    );
    case(
        |b| {
            b.read_only_paths = Observed::Present(vec![]);
            present(&mut b.mounts).remove(2);
        },
        &["more /read_only_paths/~1proc~1sys \"/proc/sys\"->null"],
    );
    case(
        |b| {
            let path = "/var/run/docker.sock".to_owned();
            present(&mut b.engine_sockets).push(EngineSocket { path, engine: "docker".to_owned() });
        },
        &[
            "more /engine_sockets/~1var~1run~1docker.sock null->{\"path\":\"/var/run/docker.sock\",\"engine\":\"docker\"}",
        ],
    );
}

#[test]
fn where_a_cgroup_lies_is_identity_and_the_whole_hierarchy_is_not() {
    let (mut a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    let cgroup = |root: &str| mount("/sys/fs/cgroup/memory", root, "cgroup", &["ro"]);
    present(&mut a.mounts).push(cgroup("/docker/some"));
    present(&mut b.mounts).push(cgroup("/plim/other"));
    assert!(diff(&a, &b).same);
    present(&mut b.mounts).push(cgroup("/"));
    assert_eq!(lines(&diff(&a, &b)), ["other /mounts/~1sys~1fs~1cgroup~1memory/root \"CGROUP\"->\"/\""]);
}

#[test]
fn of_stacked_mounts_the_last_counts() {
    case(|b| present(&mut b.mounts).insert(1, mount("/proc", "/", "tmpfs", &["ro"])), &[]);
}

#[test]
fn the_small_areas() {
    case(
        |b| present(&mut b.rlimits).get_mut("RLIMIT_NOFILE").expect("there").hard = Limit::Max,
        &["more /rlimits/RLIMIT_NOFILE/hard 4096->\"max\""],
    );
    case(
        |b| {
            let device = Device { path: "/dev/sda".to_owned(), kind: "b".to_owned(), major: 8, minor: 0 };
            present(&mut b.devices.nodes).push(device);
        },
        &["more /devices/nodes/~1dev~1sda null->\"b 8:0\""],
    );
    case(
        |b| b.devices.cgroup_rules = Observed::Present(vec!["a *:* rwm".to_owned()]),
        &["more /devices/cgroup_rules/a *:* rwm null->\"a *:* rwm\""],
    );
    case(
        |b| {
            b.devices.cgroup_rules =
                Observed::Present(vec!["c 1:3 r".to_owned(), "c 5:* rwm".to_owned(), "c 5:2 rw".to_owned()])
        },
        &["less /devices/cgroup_rules/c 1:3 rwm \"c 1:3 rwm\"->null"],
    );
    case(|b| present(&mut b.user).uid = [1000; 4], &["less /user/uid [0,0,0,0]->[1000,1000,1000,1000]"]);
    case(|b| present(&mut b.user).groups.push(27), &["more /user/groups/27 null->27"]);
    case(
        |b| drop(b.sysctls.insert("net.ipv4.ip_forward".to_owned(), Observed::Present("1".to_owned()))),
        &["other /sysctls/net.ipv4.ip_forward \"0\"->\"1\""],
    );
    case(
        |b| b.lsm.apparmor = Observed::Present("docker-default (enforce)".to_owned()),
        &["less /lsm/apparmor null->\"docker-default (enforce)\""],
    );
    case(
        |b| {
            let pid = HostPid(99);
            let differs = vec!["seccomp.mode: filter, here disabled".to_owned()];
            present(&mut b.odd_processes).push(OddProcess {
                pid,
                container_pid: Observed::Absent,
                comm: "sh".to_owned(),
                differs,
            });
        },
        &[
            "other /odd_processes/sh null->{\"comm\":\"sh\",\"differs\":[\"seccomp.mode: filter, here disabled\"],\"count\":1}",
        ],
    );
}

#[test]
fn unknown_is_listed_with_its_side_and_is_never_the_same() {
    let (a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    b.capabilities = Observed::Unknown("open /proc/20/status: EACCES".to_owned());
    b.unknown.push(Unknown { path: "/mounts".to_owned(), why: "cut at 1 MiB".to_owned() });
    let found = diff(&a, &b);
    assert!(!found.same && found.changes.is_empty());
    let listed: Vec<(Side, &str)> = found.unknown.iter().map(|u| (u.side, u.path.as_str())).collect();
    assert_eq!(listed, [(Side::B, "/capabilities"), (Side::B, "/mounts")]);
    let other_area = compare(&a, &b, &[Area::Cgroups].into_iter().collect(), Filters::Summaries);
    assert!(other_area.same, "unknown outside the compared areas does not matter");
}

#[test]
fn only_the_asked_areas_are_compared() {
    let (a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    b.no_new_privs = Observed::Present(true);
    present(&mut b.user).uid = [7; 4];
    for area in Area::ALL {
        let found: Vec<Change> = snapshots(&a, &b, &[area].into_iter().collect());
        assert_eq!(found.len(), usize::from([Area::Capabilities, Area::User].contains(&area)), "{area}");
        assert!(found.iter().all(|change| change.area == area));
    }
}

#[test]
fn subset_holds_only_when_every_change_is_more() {
    let (a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    assert!(diff(&a, &b).a_within_b());
    present(&mut b.capabilities).bounding.insert(Capability::from_name("SYS_ADMIN").expect("known"));
    assert!(diff(&a, &b).a_within_b() && !diff(&b, &a).a_within_b());
    b.sysctls.clear();
    assert!(!diff(&a, &b).a_within_b(), "neither more nor less counts against it");
}

#[test]
fn two_ways_to_refuse_are_within_each_other_and_a_supervisor_is_not() {
    let verdict = |before: &str, after: &str| {
        let change = Change {
            area: Area::Seccomp,
            path: "/seccomp/SCMP_ARCH_X86_64/bpf".to_owned(),
            before: json!({"action": before}),
            after: json!({"action": after}),
            effect: Effect::Other,
            seccomp: None,
        };
        Diff::new(vec![change], vec![]).a_within_b()
    };
    assert!(verdict("SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"));
    assert!(verdict("SCMP_ACT_LOG", "SCMP_ACT_ALLOW"));
    assert!(!verdict("SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE"));
    assert!(!verdict("SCMP_ACT_TRACE", "SCMP_ACT_TRACE"));
}

#[test]
fn json_shape() {
    let (a, mut b) = (docker_like(A, 10), docker_like(B, 20));
    b.no_new_privs = Observed::Present(true);
    let text = serde_json::to_value(diff(&a, &b)).expect("text");
    assert_eq!(
        text,
        json!({"format": "1.2", "same": false, "changes": [
            {"area": "capabilities", "path": "/no_new_privs", "before": false, "after": true, "effect": "less"}
        ]})
    );
    let back: Diff = serde_json::from_value(text).expect("reads its own output");
    assert_eq!(back, diff(&a, &b));
}
