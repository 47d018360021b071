//! What a container may do and see, asked from inside.

use std::path::Path;

use plim_model::{Capability, CapabilitySets, IdMap, IdMapping, NamespaceKind};
use plim_runtime::config::{DeviceNode, NamespaceMode, OciProfile, Seccomp, TimeOffsets, User};
use plim_seccomp::bpf::{Insn, Program};

use crate::support::*;

pub(crate) const CASES: &[crate::Case] = &[
    ("confine_every_namespace_is_new", namespaces),
    ("confine_namespaces_are_joined", joined),
    ("confine_cgroup_namespace_is_rooted_at_the_container", cgroup_root),
    ("confine_capabilities_exactly", capability_sets),
    ("confine_ambient_for_a_user", ambient),
    ("confine_user_and_groups", ids),
    ("confine_no_new_privs", no_new_privs),
    ("confine_seccomp_without_no_new_privs", seccomp),
    ("confine_seccomp_filter_that_forbids_everything_else", seccomp_last),
    ("confine_masked_and_read_only_paths", covered),
    ("confine_host_sysctls_are_refused", sysctls),
    ("confine_mount_options", mount_options),
    ("confine_read_only_root", read_only),
    ("confine_user_namespace", user_namespace),
    ("confine_time_namespace", time_namespace),
    ("confine_devices", devices),
    ("confine_loopback_and_names", names),
    ("confine_capability_that_is_not_held", not_held),
];

fn namespaces() {
    let mut config = config(&["readlink"]);
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"];
    config.process.args.extend(kinds.iter().map(|kind| format!("/proc/self/ns/{kind}")));
    let inside = output(&config);
    for (kind, inside) in kinds.iter().zip(inside.lines()) {
        let host = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert_eq!(*kind == "user", host == Path::new(inside), "{kind}: {inside}");
    }
}

fn joined() {
    let sleeper = config(&["sleep", "100"]);
    let running = plim_runtime::create(&sleeper, plim_runtime::Stdio::without_input())
        .and_then(plim_runtime::Created::start)
        .expect("a container");
    let pid = running.pid();
    let mut second =
        script("readlink /proc/self/ns/net /proc/self/ns/pid /proc/self/ns/ipc; cat /proc/1/comm");
    second.hostname = None;
    for (kind, name) in
        [(NamespaceKind::Net, "net"), (NamespaceKind::Pid, "pid"), (NamespaceKind::Ipc, "ipc")]
    {
        second.namespaces.insert(kind, NamespaceMode::Join(format!("/proc/{pid}/ns/{name}").into()));
    }
    second.loopback_up = false;
    let said = output(&second);
    let expected: String = ["net", "pid", "ipc"]
        .iter()
        .map(|name| {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("a namespace");
            format!("{}\n", link.display())
        })
        .collect();
    assert_eq!(said, format!("{expected}sleep\n"));
    // Its end must not be the end of the container that it joined.
    assert!(Path::new(&format!("/proc/{pid}/comm")).exists());
    drop(running);
    assert_eq!(traces(&second), Vec::<String>::new());
}

fn cgroup_root() {
    let said = output(&config(&["cat", "/proc/self/cgroup"]));
    assert!(!said.is_empty() && said.lines().all(|line| line.ends_with(":/")), "{said}");
    // And from outside it is the container's own.
    let config = config(&["sleep", "100"]);
    let running = plim_runtime::create(&config, plim_runtime::Stdio::without_input())
        .and_then(plim_runtime::Created::start)
        .expect("a container");
    let outside = std::fs::read_to_string(format!("/proc/{}/cgroup", running.pid())).expect("cgroups");
    assert!(outside.lines().all(|line| line.contains(&config.id)), "{outside}");
}

fn status(config: &plim_runtime::config::ContainerConfig) -> Vec<String> {
    let mut config = config.clone();
    config.process.args =
        ["grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)", "/proc/self/status"].map(str::to_owned).into();
    output(&config).lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn capability_sets() {
    let bits = capabilities(&DEFAULT_CAPABILITIES).bits();
    let found = status(&config(&[]));
    assert_eq!(
        found[..5],
        [
            "CapInh: 0000000000000000".to_owned(),
            format!("CapPrm: {bits:016x}"),
            format!("CapEff: {bits:016x}"),
            format!("CapBnd: {bits:016x}"),
            "CapAmb: 0000000000000000".to_owned(),
        ]
    );
    // None at all.
    let mut none = config(&[]);
    none.process.capabilities = CapabilitySets::default();
    assert!(status(&none)[..5].iter().all(|line| line.ends_with(" 0000000000000000")));
}

fn ambient() {
    let mut config = config(&[]);
    config.process.user = User { uid: 1000, gid: 1000, additional_gids: vec![], umask: None };
    let raw = capabilities(&["NET_RAW"]);
    config.process.capabilities =
        CapabilitySets { effective: raw, permitted: raw, inheritable: raw, bounding: raw, ambient: raw };
    let line = format!("{:016x}", raw.bits());
    assert!(status(&config)[..5].iter().all(|found| found.ends_with(&line)));
}

fn ids() {
    let mut config = script("id -u; id -g; id -G; grep CapEff /proc/self/status");
    config.process.user = User { uid: 1234, gid: 2345, additional_gids: vec![7, 3456], umask: None };
    let said = output(&config);
    assert!(said.starts_with("1234\n2345\n2345 7 3456\n"), "{said}");
    assert!(said.trim_end().ends_with("0000000000000000"), "{said}");
}

fn no_new_privs() {
    let mut config = config(&[]);
    assert!(status(&config).contains(&"NoNewPrivs: 0".to_owned()));
    config.process.no_new_privileges = true;
    assert!(status(&config).contains(&"NoNewPrivs: 1".to_owned()));
}

/// Allows all but the call with this number, which fails with EPERM.
fn forbidding(number: u32) -> Seccomp {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let program = vec![
        insn(0x20, 0, 0, 0),
        insn(0x15, 0, 1, number),
        insn(0x06, 0, 0, 0x0005_0001),
        insn(0x06, 0, 0, 0x7fff_0000),
    ];
    let program = Program::from_instructions(program).expect("a program");
    Seccomp { program, flags: 0, oci: OciProfile::Value(serde_json::Value::Null) }
}

fn seccomp() {
    for no_new_privileges in [false, true] {
        let mut config = script("mkdir /x 2>/dev/null; echo $?");
        config.process.no_new_privileges = no_new_privileges;
        // mkdir(2) of x86-64
        config.seccomp = Some(forbidding(83));
        assert_eq!(output(&config), "1\n");
        config.seccomp = None;
        assert_eq!(output(&config), "0\n");
    }
    let mut filtered = config(&[]);
    filtered.seccomp = Some(forbidding(83));
    let found = status(&filtered);
    assert!(found.contains(&"Seccomp: 2".to_owned()), "{found:?}");
    // The capability that loaded the filter is gone.
    let bits = capabilities(&DEFAULT_CAPABILITIES).bits();
    assert!(found.contains(&format!("CapPrm: {bits:016x}")), "{found:?}");
}

/// Nothing but execve(2) is called after the filter is loaded: capset, prctl and the rest may be forbidden.
fn seccomp_last() {
    let insn = |code, jt, jf, k| Insn { code, jt, jf, k };
    let allowed = [59, 12, 158, 231, 60, 9, 10, 11, 21, 257, 0, 3, 5, 262, 17, 218, 273, 302, 318, 334, 1];
    let mut program = vec![insn(0x20, 0, 0, 0)];
    for number in allowed {
        program.push(insn(0x15, 0, 1, number));
        program.push(insn(0x06, 0, 0, 0x7fff_0000));
    }
    program.push(insn(0x06, 0, 0, 0x8000_0000));
    let mut config = config(&["true"]);
    let program = Program::from_instructions(program).expect("a program");
    config.seccomp = Some(Seccomp { program, flags: 0, oci: OciProfile::Value(serde_json::Value::Null) });
    for no_new_privileges in [false, true] {
        config.process.no_new_privileges = no_new_privileges;
        let outcome = run(&config);
        assert_eq!(outcome.exit.code(), 0, "{outcome:?}");
    }
}

fn covered() {
    let mut config = script(
        "wc -c < /proc/interrupts; wc -c < /proc/cpuinfo; ls -A /sys/firmware /sys/kernel; \
         touch /sys/kernel/x 2>/dev/null || echo ro1; \
         (echo 1 > /proc/sys/kernel/hostname) 2>/dev/null || echo ro2; \
         touch /proc/irq/default_smp_affinity 2>/dev/null || echo ro3; \
         echo x > /proc/interrupts; wc -c < /proc/interrupts",
    );
    // Paths that every kernel has, beside Docker's own, of which some are missing on some.
    config.masked_paths.extend(["/proc/cpuinfo".to_owned(), "/sys/kernel".to_owned()]);
    let said = output(&config);
    assert_eq!(said, "0\n0\n/sys/firmware:\n\n/sys/kernel:\nro1\nro2\nro3\n0\n");
}

fn sysctls() {
    let mut config = config(&["cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/shmmni"]);
    config.sysctls.insert("net.ipv4.ip_forward".into(), "1".into());
    config.sysctls.insert("kernel.shmmni".into(), "77".into());
    assert_eq!(output(&config), "1\n77\n");
    for (name, remove) in [
        ("vm.swappiness", None),
        ("kernel.panic", None),
        ("net.ipv4.ip_forward", Some(NamespaceKind::Net)),
        ("net.../../kernel.panic", None),
    ] {
        let mut config = config.clone();
        config.sysctls = [(name.to_owned(), "1".to_owned())].into();
        config.loopback_up = false;
        if let Some(kind) = remove {
            config.namespaces.remove(&kind);
        }
        let error = try_run(&config).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}

fn mount_options() {
    let directory = tempfile::tempdir_in("/var/tmp").expect("a directory");
    std::fs::write(directory.path().join("f"), "content\n").expect("a file");
    let source = directory.path().to_str().expect("a path");
    let mut config = script(
        "cat /mnt/a/f /mnt/b; touch /mnt/a/x 2>/dev/null || echo ro; touch /mnt/c/x && stat -c %a /mnt/c; \
         grep -c ' /mnt/c [^ ]*noexec' /proc/self/mountinfo",
    );
    config.mounts.push(mount("/mnt/a", "bind", source, "rbind,ro,nosuid"));
    config.mounts.push(mount("/mnt/b", "bind", &format!("{source}/f"), "bind"));
    config.mounts.push(mount("/mnt/c", "tmpfs", "tmpfs", "noexec,mode=1700,size=1m"));
    assert_eq!(output(&config), "content\ncontent\nro\n1700\n1\n");
    assert!(!Path::new("/mnt/c").exists());
    config.mounts.push(mount("/mnt/d", "tmpfs", "tmpfs", "noexek"));
    let error = try_run(&config).expect_err("an unknown option").to_string();
    assert!(error.contains("noexek") && error.contains("/mnt/d"), "{error}");
}

fn read_only() {
    // As with Docker, the directories that start empty are a part of the root.
    let mut config = script("touch /x /tmp/x 2>/dev/null || echo ro; touch /dev/shm/x && echo rw");
    config.rootfs.read_only = true;
    assert_eq!(output(&config), "ro\nrw\n");
    assert_eq!(output(&script("touch /x /tmp/x && echo rw")), "rw\n");
}

fn user_namespace() {
    let (_guard, root) = busybox_root();
    for path in [root.parent().expect("a parent"), &root] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    // A directory root has to belong to the container for it to be written.
    std::os::unix::fs::lchown(&root, Some(100_000), Some(100_000)).expect("an owner");
    for path in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
        std::os::unix::fs::lchown(root.join(path), Some(100_000), Some(100_000)).expect("an owner");
    }
    let mut config = on_directory(
        script(
            "cat /proc/self/uid_map; id -u; echo x > /written; echo y > /dev/null; ls -ln /dev/zero; cat /proc/self/setgroups",
        ),
        &root,
    );
    config.namespaces.insert(NamespaceKind::User, NamespaceMode::New);
    let range = vec![IdMapping { inside: 0, outside: 100_000, count: 65536 }];
    config.id_maps = Some(IdMap { uid: range.clone(), gid: range });
    let said = output(&config);
    let words: Vec<&str> = said.split_ascii_whitespace().collect();
    assert_eq!(words[..4], ["0", "100000", "65536", "0"], "{said}");
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(root.join("written")).expect("a file"));
    assert_eq!(owner, 100_000);
    assert_eq!(traces(&config), Vec::<String>::new());
}

fn time_namespace() {
    let mut config = script("cut -d. -f1 /proc/uptime; readlink /proc/self/ns/time");
    config.namespaces.insert(NamespaceKind::Time, NamespaceMode::New);
    config.time_offsets = Some(TimeOffsets { monotonic: (1_000_000, 0), boottime: (5_000_000, 0) });
    let said = output(&config);
    let mut lines = said.lines();
    let uptime: u64 = lines.next().and_then(|line| line.parse().ok()).expect("an uptime");
    assert!(uptime > 5_000_000, "{said}");
    let host = std::fs::read_link("/proc/self/ns/time").expect("a namespace");
    assert_ne!(lines.next().map(Path::new), Some(host.as_path()));
}

fn devices() {
    let mut config = script(
        "stat -c '%n %F %t:%T %a %u' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/x; \
         readlink /dev/fd /dev/stdin /dev/ptmx; ls /dev",
    );
    config.devices.push(DeviceNode {
        path: "/dev/x".into(),
        kind: 'c',
        major: 1,
        minor: 3,
        mode: 0o640,
        uid: 5,
        gid: 6,
    });
    let said = output(&config);
    assert!(said.contains("/dev/null character special file 1:3 666 0"), "{said}");
    assert!(said.contains("/dev/x character special file 1:3 640 5"), "{said}");
    assert!(said.contains("/proc/self/fd\n/proc/self/fd/0\npts/ptmx\n"), "{said}");
    let (_, listed) = said.rsplit_once("pts/ptmx\n").expect("a listing");
    let listed: Vec<&str> = listed.lines().collect();
    assert_eq!(
        listed,
        [
            "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "x", "zero"
        ]
    );
}

fn names() {
    let mut config =
        script("hostname; cat /proc/sys/kernel/domainname; cat /sys/class/net/lo/flags; ls /sys/class/net");
    config.hostname = Some("ship".into());
    config.domainname = Some("sea".into());
    let said = output(&config);
    assert!(said.starts_with("ship\nsea\n0x9\nlo\n"), "{said}");
    config.namespaces.remove(&NamespaceKind::Uts);
    assert!(try_run(&config).expect_err("no uts namespace").to_string().contains("uts namespace"));
}

fn not_held() {
    let held = std::fs::read_to_string("/proc/self/status").expect("a status");
    let held = held.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).expect("capabilities");
    let held = u64::from_str_radix(held, 16).expect("bits");
    let Some(missing) = Capability::known().find(|capability| held & (1 << capability.number()) == 0) else {
        return; // The caller holds everything: nothing to refuse.
    };
    let mut config = config(&["true"]);
    config.process.capabilities = sets(&[&missing.to_string()]);
    let error = try_run(&config).expect_err("a capability that nobody holds").to_string();
    assert!(error.contains(&missing.to_string()), "{error}");
}
