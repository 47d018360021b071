use plim_model::{Capability, CapabilitySet};

use super::*;
use crate::dialect;
use crate::errno::Errno;
use crate::resolve::KernelVersion;

fn facts(arch: Arch) -> Facts {
    Facts::new(arch, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 })
}

fn try_install(json: &str, engine: Engine) -> Result<Installed, ProfileError> {
    let written = dialect::parse(json.as_bytes()).unwrap();
    install(&written, &facts(Arch::X86_64), engine, Vintage::V2_5_4)
}

fn installed(json: &str, engine: Engine) -> Installed {
    try_install(json, engine).unwrap()
}

fn call(arch: Arch, name: &str, args: &[u64]) -> SeccompData {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    SeccompData { nr: syscalls::number(arch, name).unwrap().0, arch: arch.audit_token(), ip: 0, args: all }
}

fn kinds(installed: &Installed) -> Vec<&'static str> {
    installed.notes.iter().map(|note| note.what.kind()).collect()
}

/// An OCI profile that refuses by default, with these rules.
fn oci(rules: &str) -> String {
    format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[{rules}]}}"#
    )
}

const EPERM: Action = Action::Errno(Errno::EPERM);

#[test]
fn the_first_rule_without_a_condition_stays_and_replaces() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]},
           {"names":["read"],"action":"SCMP_ACT_LOG"},
           {"names":["read"],"action":"SCMP_ACT_ALLOW"},
           {"names":["write"],"action":"SCMP_ACT_ERRNO"}"#,
    );
    let it = installed(&json, Engine::Crun);
    assert_eq!(it.decide(&call(Arch::X86_64, "read", &[7])), Action::Log);
    assert_eq!(kinds(&it), ["flag-added", "replaces", "shadowed", "same-as-default"]);
    assert_eq!(
        it.notes[1].to_string(),
        "/syscalls/1: read without a condition replaces earlier rules with conditions (SCMP_ARCH_X86_64, SCMP_ARCH_X86)"
    );
    assert_eq!(it.changes().count(), 0);
}

#[test]
fn one_condition_with_two_actions_is_refused() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]},
           {"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"value":7,"op":"SCMP_CMP_EQ"}]}"#,
    );
    for engine in Engine::all() {
        let error = try_install(&json, engine).unwrap_err();
        assert_eq!(error.pointer(), Some("/syscalls/1"), "{engine}: {error}");
    }
}

#[test]
fn overlapping_conditions_are_ordered_by_shape_and_not_by_strength() {
    // 7 is below 10 and above 5: "below" comes first for libseccomp.
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":0,"value":5,"op":"SCMP_CMP_GT"}]},
           {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":10,"op":"SCMP_CMP_LT"}]}"#,
    );
    let seven = call(Arch::X86_64, "read", &[7]);
    assert_eq!(installed(&json, Engine::Written).decide(&seven), Action::KillProcess);
    let it = installed(&json, Engine::Youki);
    assert_eq!(it.decide(&seven), Action::Allow);
    assert!(it.changes().any(|note| note.to_string().starts_with("among rules that hold together")));
}

/// Seen with youki 0.7.0: `mlock` with an address of 0x1300000000 and no length ended in a trap.
#[test]
fn youki_takes_mask_and_value_for_each_other() {
    let json = oci(
        r#"{"names":["mlock"],"action":"SCMP_ACT_TRAP","args":[{"index":0,"value":1095216660480,"valueTwo":77309411328,"op":"SCMP_CMP_MASKED_EQ"}]},
           {"names":["mlock"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":0,"op":"SCMP_CMP_NE"}]},
           {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}"#,
    );
    let mlock = call(Arch::X86_64, "mlock", &[0x13_0000_0000]);
    let clone = call(Arch::X86_64, "clone", &[0x1000_0000]);
    for (engine, trapped, made) in
        [(Engine::Crun, EPERM, EPERM), (Engine::Youki, Action::Trap, Action::Allow)]
    {
        let it = installed(&json, engine);
        assert_eq!((it.decide(&mlock), it.decide(&clone)), (trapped, made), "{engine}");
        assert_eq!(it.changes().any(|note| note.what.kind() == "mask-exchanged"), engine == Engine::Youki);
    }
    let lines = installed(&json, Engine::Youki).changes_in_words();
    let line =
        "/syscalls/2: mask and value are exchanged: arg0 & 0x7e020000 == 0x0 is read as arg0 & 0x0 == 0x0";
    assert!(lines.iter().any(|one| one == line), "{lines:#?}");
}

#[test]
fn youki_before_0_7_makes_a_rule_of_each_condition() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":2,"value":2,"op":"SCMP_CMP_EQ"}]}"#,
    );
    let one = call(Arch::X86_64, "read", &[1]);
    assert_eq!(installed(&json, Engine::Youki).decide(&one), EPERM);
    let old = installed(&json, Engine::Youki0_6);
    assert_eq!(old.decide(&one), Action::Allow);
    assert!(old.changes().any(|note| note.what.kind() == "split-whole"));
}

#[test]
fn sockets_of_i386_are_opened_by_socketcall_too() {
    let json = oci(
        r#"{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
           {"names":["semget"],"action":"SCMP_ACT_ALLOW"},
           {"names":["accept"],"action":"SCMP_ACT_ALLOW"}"#,
    );
    let it = installed(&json, Engine::Runc);
    assert_eq!(it.decide(&call(Arch::X86_64, "socket", &[2])), EPERM);
    assert_eq!(it.decide(&call(Arch::X86, "socket", &[2])), EPERM);
    assert_eq!(it.decide(&call(Arch::X86, "socket", &[1])), Action::Allow);
    assert_eq!(it.decide(&call(Arch::X86, "socketcall", &[1])), Action::Allow);
    assert_eq!(it.decide(&call(Arch::X86, "socketcall", &[5])), Action::Allow, "accept");
    assert_eq!(it.decide(&call(Arch::X86, "socketcall", &[2])), EPERM, "bind");
    assert_eq!(it.decide(&call(Arch::X86, "ipc", &[2])), Action::Allow);
    let lost: Vec<_> =
        it.notes.iter().map(ToString::to_string).filter(|note| note.contains("whatever")).collect();
    assert_eq!(
        lost,
        ["/syscalls/0: ruled in socketcall too, whatever its first argument (SCMP_ARCH_X86): socket"]
    );
}

#[test]
fn what_happens_to_many_names_is_one_line() {
    let docker = dialect::parse(crate::presets::get("docker-default").unwrap().as_bytes()).unwrap();
    let it = install(&docker, &facts(Arch::X86_64), Engine::Crun, Vintage::V2_5_4).unwrap();
    // socketcall and ipc are allowed as they are, so that rules for their parts change nothing.
    let lines = it.changes_in_words();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    let unknown = "/syscalls/5 /syscalls/7 /syscalls/12 and 4 more: passed over as unknown to this libseccomp (not to later \
                   ones): futex_requeue, futex_wait, futex_wake, map_shadow_stack, mseal, cachestat, ";
    assert!(lines[0].starts_with(unknown), "{lines:#?}");

    assert!(!kinds(&it).contains(&"shadowed"), "of socketcall's rules socket's are: {:#?}", it.notes);

    let json = oci(r#"{"names":["bind","read","connect","socket"],"action":"SCMP_ACT_ALLOW"},
                      {"names":["accept4"],"action":"SCMP_ACT_ALLOW"}"#);
    assert_eq!(
        installed(&json, Engine::Crun).changes_in_words(),
        [
            "/syscalls/0: ruled in socketcall too (SCMP_ARCH_X86): bind, connect, socket",
            "/syscalls/1: ruled in socketcall too (SCMP_ARCH_X86): accept4",
        ]
    );
}

#[test]
fn constants_are_cut_where_arguments_are_narrow() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967303,"op":"SCMP_CMP_EQ"}]},
           {"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744069414584320,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}"#,
    );
    let it = installed(&json, Engine::Crun);
    assert_eq!(it.decide(&call(Arch::X86, "read", &[7])), Action::Allow);
    assert_eq!(it.decide(&call(Arch::X86_64, "read", &[7])), EPERM);
    assert_eq!(it.decide(&call(Arch::X86, "write", &[0])), Action::Allow, "nothing is left to compare");
    assert!(kinds(&it).contains(&"narrowed"));
    assert_eq!(installed(&json, Engine::Written).decide(&call(Arch::X86, "read", &[7])), EPERM);
}

#[test]
fn names_are_those_of_the_libseccomp() {
    let json = oci(
        r#"{"names":["cachestat","raed","getpid","chown32","stat64","riscv_flush_icache"],"action":"SCMP_ACT_ALLOW"}"#,
    );
    let it = installed(&json, Engine::Runc);
    assert_eq!(it.decide(&call(Arch::X86_64, "cachestat", &[])), Action::Errno(Errno::ENOSYS));
    assert_eq!(it.decide(&call(Arch::X86, "chown32", &[])), Action::Allow);
    let notes: Vec<String> = it.notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        &notes[..3],
        [
            "/syscalls/0/names/0: passed over as unknown to this libseccomp (not to later ones): cachestat",
            r#"/syscalls/0/names/1: "raed" is passed over: there is no such call; did you mean "read"?"#,
            "/syscalls/0/names/5: riscv_flush_icache has no effect: no architecture of the filter has it",
        ]
    );
    let written = dialect::parse(json.as_bytes()).unwrap();
    let newer = install(&written, &facts(Arch::X86_64), Engine::Runc, Vintage::newest()).unwrap();
    assert_eq!(newer.decide(&call(Arch::X86_64, "cachestat", &[])), Action::Allow);
}

#[test]
fn runc_puts_enosys_above_what_the_profile_names() {
    let json = oci(
        r#"{"names":["getpid","socket"],"action":"SCMP_ACT_ALLOW"},{"names":["clone3"],"action":"SCMP_ACT_ERRNO"}"#,
    );
    for (engine, above) in [(Engine::Runc, Action::Errno(Errno::ENOSYS)), (Engine::Crun, EPERM)] {
        let it = installed(&json, engine);
        assert_eq!(it.decide(&call(Arch::X86_64, "clone3", &[])), EPERM, "named, though left out");
        assert_eq!(it.decide(&call(Arch::X86_64, "openat2", &[])), above, "{engine}");
    }
    let plain =
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["getpid"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let openat2 = call(Arch::X86_64, "openat2", &[]);
    assert_eq!(installed(plain, Engine::Runc).decide(&openat2), Action::Errno(Errno::ENOSYS));
    assert_eq!(installed(plain, Engine::Runc1_1).decide(&openat2), EPERM, "listed architectures alone");
    let only_sockets = oci(r#"{"names":["socket"],"action":"SCMP_ACT_ALLOW"}"#);
    let it = installed(&only_sockets, Engine::Runc);
    assert_eq!(
        it.decide(&call(Arch::X86, "openat2", &[])),
        EPERM,
        "i386's socket has no number for libseccomp"
    );
}

#[test]
fn x32_is_foreign_unless_it_is_listed() {
    let json = oci(r#"{"names":["getpid"],"action":"SCMP_ACT_ALLOW"}"#);
    let it = installed(&json, Engine::Crun);
    let nr = |nr| SeccompData { nr, arch: Arch::X86_64.audit_token(), ip: 0, args: [0; 6] };
    assert_eq!(it.decide(&nr(1 << 30)), Action::KillThread);
    assert_eq!(it.decide(&nr(1 << 31)), Action::KillThread);
    assert_eq!(it.decide(&nr(u32::MAX)), EPERM, "a tracer's way to skip a call");
    assert_eq!(installed(&json, Engine::Runc).decide(&nr(1 << 31)), Action::Errno(Errno::ENOSYS));
    let foreign = SeccompData { arch: Arch::Aarch64.audit_token(), ..nr(0) };
    assert_eq!(it.decide(&foreign), Action::KillThread);
}

#[test]
fn docker_20_10_drops_what_it_does_not_know() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"flags":["SECCOMP_FILTER_FLAG_LOG"],
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#;
    let open = call(Arch::X86_64, "close", &[]);
    let old = installed(json, Engine::Docker20_10);
    assert_eq!(old.decide(&call(Arch::X86_64, "read", &[])), Action::Allow);
    assert_eq!(kinds(&old), ["key-ignored", "flag-dropped", "enosys-above"]);
    assert_eq!((old.decide(&open), old.flags.len()), (EPERM, 0));
    let new = installed(json, Engine::Docker);
    assert_eq!((new.decide(&open), new.flags.len()), (Action::Errno(Errno::ENOSYS), 1));
    assert!(try_install(json, Engine::Runc1_1).unwrap_err().to_string().starts_with("/flags: found"));
}

#[test]
fn containerd_reads_no_conditions_on_machine_and_container() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
        "syscalls":[{"names":["reboot"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_BOOT"]}},
                    {"name":"read","action":"SCMP_ACT_ALLOW"}]}"#;
    let reboot = call(Arch::X86_64, "reboot", &[]);
    assert_eq!(installed(json, Engine::Docker).decide(&reboot), EPERM);
    let it = installed(json, Engine::Containerd);
    assert_eq!(it.decide(&reboot), Action::Allow);
    assert_eq!(it.decide(&call(Arch::X86_64, "read", &[])), EPERM);
    assert_eq!(it.arches, BTreeSet::from([Arch::X86_64]));
    assert_eq!(kinds(&it)[..3], ["key-ignored", "key-ignored", "key-ignored"]);
}

#[test]
fn podman_reads_error_names_and_no_kernel() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"defaultErrno":"ENOSYS","syscalls":[
        {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
        {"names":["read"],"action":"SCMP_ACT_ERRNO","errno":"EACCES"}]}"#;
    let (ptrace, read) = (call(Arch::X86_64, "ptrace", &[]), call(Arch::X86_64, "read", &[]));
    let podman = installed(json, Engine::Podman);
    assert_eq!(podman.decide(&ptrace), Action::Allow);
    assert_eq!(podman.decide(&read), Action::Errno(Errno::from_name("EACCES").unwrap()));
    assert_eq!(podman.decide(&call(Arch::X86_64, "close", &[])), Action::Errno(Errno::ENOSYS));
    let docker = installed(json, Engine::Docker);
    assert_eq!((docker.decide(&ptrace), docker.decide(&read)), (EPERM, EPERM));
    assert!(kinds(&docker).contains(&"error-name-ignored"));
}

#[test]
fn rules_are_lost_where_the_cheapest_is_for_a_call_of_another_architecture() {
    // A condition on socket, none on chown32, which aarch64 lacks.
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["chown32"],"action":"SCMP_ACT_ALLOW"},
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#;
    let written = dialect::parse(json.as_bytes()).unwrap();
    let on = |arch| install(&written, &facts(arch), Engine::Crun, Vintage::newest()).unwrap();
    let unix = |arch| on(arch).decide(&call(arch, "socket", &[1]));
    assert_eq!((unix(Arch::X86_64), unix(Arch::Aarch64)), (Action::Allow, EPERM));
    assert!(on(Arch::Aarch64).changes().any(|note| note.what.kind() == "rules-lost"));
}

#[test]
fn what_is_refused() {
    let notify = oci(r#"{"names":["write"],"action":"SCMP_ACT_NOTIFY"}"#);
    assert_eq!(try_install(&notify, Engine::Runc).unwrap_err().pointer(), Some("/syscalls/0"));
    assert!(try_install(&notify, Engine::Crun).is_ok());
    let written = dialect::parse(notify.as_bytes()).unwrap();
    let old = install(&written, &facts(Arch::X86_64), Engine::Crun, "2.4.4".parse().unwrap()).unwrap_err();
    assert!(old.to_string().contains("this one came with 2.5.0"), "{old}");
    let big = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X"],"syscalls":[]}"#;
    assert_eq!(try_install(big, Engine::Runc).unwrap_err().pointer(), Some("/architectures"));
    let loong =
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_LOONGARCH64"],"syscalls":[]}"#;
    let error = try_install(loong, Engine::Crun).unwrap_err();
    assert!(error.to_string().contains("libseccomp 2.5.4 knows"), "{error}");
}

#[test]
fn nothing_written_is_no_filter() {
    for engine in Engine::all() {
        let it = installed("{}", engine);
        assert!(!it.confines() && it.decide(&call(Arch::X86_64, "reboot", &[])) == Action::Allow, "{engine}");
    }
    let facts = Facts {
        caps: CapabilitySet::from_iter([Capability::from_number(22).unwrap()]),
        ..facts(Arch::X86_64)
    };
    let written = dialect::parse(b"{}").unwrap();
    assert!(!install(&written, &facts, Engine::Docker, Vintage::newest()).unwrap().confines());
}

#[test]
fn a_note_is_published_as_pointer_kind_and_text() {
    let it = installed(&oci(r#"{"names":["raed"],"action":"SCMP_ACT_ALLOW"}"#), Engine::Youki);
    assert_eq!(
        serde_json::to_string(&it.notes[0]).unwrap(),
        r#"{"pointer":"/syscalls/0/names/0","kind":"no-such-call","text":"\"raed\" is passed over: there is no such call; did you mean \"read\"?"}"#
    );
}

/// What the accumulator holds when a comparison is reached in two ways is looked at for one of them only: here the low word of the
/// first argument is compared with the high word's constant (seen with libseccomp 2.5.4, and in the sources of every release to 2.6.1).
#[test]
fn a_comparison_can_be_made_with_the_wrong_word() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967301,"op":"SCMP_CMP_GT"}]},
           {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2147483648,"op":"SCMP_CMP_LT"}]}"#,
    );
    let between = call(Arch::X86_64, "read", &[0xffff_fffe]);
    assert_eq!(installed(&json, Engine::Written).decide(&between), EPERM);
    assert_eq!(installed(&json, Engine::Crun).decide(&between), Action::Allow);
}

#[test]
fn a_rule_can_be_taken_for_redundant_that_is_not() {
    let json = oci(
        r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":9,"op":"SCMP_CMP_EQ"}]},
           {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":5,"op":"SCMP_CMP_GT"},{"index":1,"value":9,"op":"SCMP_CMP_NE"}]}"#,
    );
    let second = call(Arch::X86_64, "read", &[7, 4]);
    assert_eq!(installed(&json, Engine::Written).decide(&second), Action::Allow);
    assert_eq!(installed(&json, Engine::Crun).decide(&second), EPERM);
}

#[test]
fn hostile_profiles_are_bounded() {
    let condition = |n: u64| format!(r#"{{"index":{},"value":{n},"op":"SCMP_CMP_NE"}}"#, n % 6);
    let rule = |n: u64| {
        let args: Vec<String> = (0..6).map(|i| condition(6 * (n * 7 % 5000) + i)).collect();
        format!(r#"{{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{}]}}"#, args.join(","))
    };
    let rules: Vec<String> = (0..1200).map(rule).collect();
    let error = try_install(&oci(&rules.join(",")), Engine::Crun).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("4096") || error.contains("never ends"), "{error}");
}

/// The diagram says what the decisions say, on machines of both byte orders.
#[test]
fn diagrams_agree() {
    let json = |arches: &str| {
        format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":[{arches}],"syscalls":[
            {{"names":["socket","semget"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":4294967301,"op":"SCMP_CMP_GT"}}]}},
            {{"names":["clone"],"action":"SCMP_ACT_LOG","args":[{{"index":1,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}},
                {{"index":0,"value":3,"op":"SCMP_CMP_LE"}}]}},
            {{"names":["read"],"action":"SCMP_ACT_TRAP"}}]}}"#
        )
    };
    for (arch, arches) in [
        (Arch::X86_64, r#""SCMP_ARCH_X86","SCMP_ARCH_X32""#),
        (Arch::X86_64, ""),
        (Arch::S390x, r#""SCMP_ARCH_S390""#),
        (Arch::Ppc64le, ""),
    ] {
        let written = dialect::parse(json(arches).as_bytes()).unwrap();
        for engine in [Engine::Runc, Engine::Crun, Engine::Written] {
            let it = install(&written, &facts(arch), engine, Vintage::newest()).unwrap();
            let mut store = crate::diagram::Store::new();
            let diagram = store.of_installed(&it).unwrap();
            let words = [0, 3, 4, 5, 6, 0x7e02_0000, 1 << 32, (1 << 32) | 5, (1 << 32) | 6, u64::MAX];
            for on in it.arches.iter().copied().chain([Arch::Riscv64]) {
                for nr in (0..0x200)
                    .chain([1 << 30, 1 << 31, u32::MAX])
                    .map(|nr| nr | if on == Arch::X32 { 1 << 30 } else { 0 })
                {
                    for (a, b) in words.iter().flat_map(|a| words.map(|b| (*a, b))) {
                        let call =
                            SeccompData { nr, arch: on.audit_token(), ip: 0, args: [a, b, 0, 0, 0, 0] };
                        assert_eq!(
                            store.decide(diagram, &call),
                            it.decide(&call),
                            "{engine} {arch} {call:x?}"
                        );
                    }
                }
            }
        }
    }
}
