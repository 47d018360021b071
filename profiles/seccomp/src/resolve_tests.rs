use super::*;
use crate::dialect::parse;

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 1 };

fn facts(arch: Arch, caps: &[&str]) -> Facts {
    let caps = caps.iter().map(|name| plim_model::Capability::from_name(name).unwrap()).collect();
    Facts::new(arch, caps, KERNEL)
}

/// A profile of these entries whose default is ERRNO, on x86-64 with i386 and x32.
fn profile(entries: &str) -> Written {
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{{"architecture":"SCMP_ARCH_X86_64",
            "subArchitectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}}],"syscalls":[{entries}]}}"#
    );
    parse(json.as_bytes()).unwrap()
}

fn resolved(entries: &str) -> Resolved {
    resolve(&profile(entries), &facts(Arch::X86_64, &[])).unwrap().unwrap()
}

fn call(arch: Arch, name: &str, first: u64, second: u64) -> Call {
    let nr = syscalls::number(arch, name).unwrap().0;
    Call { nr, arch: arch.audit_token(), ip: 0, args: [first, second, 0, 0, 0, 0] }
}

const EPERM: Action = Action::Errno(Errno::EPERM);
const ENOSYS: Action = Action::Errno(Errno::ENOSYS);

#[test]
fn nothing_written_turns_seccomp_off() {
    let off = parse(br#"{"defaultAction":"","syscalls":[]}"#).unwrap();
    assert_eq!(resolve(&off, &facts(Arch::X86_64, &[])), Ok(None));
}

#[test]
fn numbers_belong_to_their_architecture() {
    let r = resolved(r#"{"names":["socket","socketcall","mseal"],"action":"SCMP_ACT_ALLOW"}"#);
    for (arch, nr, action) in [
        (Arch::X86_64, 41, Action::Allow),
        (Arch::X86_64, 359, EPERM),
        (Arch::X86, 359, Action::Allow),
        (Arch::X86, 102, Action::Allow),
        (Arch::X86, 41, EPERM),
        (Arch::X32, X32_SYSCALL_BIT + 41, Action::Allow),
        (Arch::X32, X32_SYSCALL_BIT + 42, EPERM),
        (Arch::X86_64, 462, Action::Allow),
        (Arch::X86_64, 463, ENOSYS),
        (Arch::X86_64, 0x8000_0000, ENOSYS),
        (Arch::X32, X32_SYSCALL_BIT + 463, ENOSYS),
        (Arch::X86, u32::MAX, ENOSYS),
        (Arch::X86_64, u32::MAX, ENOSYS),
        (Arch::Aarch64, 198, Action::KillThread),
    ] {
        let call = Call { nr, arch: arch.audit_token(), ..Call::default() };
        assert_eq!(r.decide(&call), action, "{arch} {nr:#x}");
    }
}

#[test]
fn x32_is_foreign_unless_it_is_listed() {
    let written = parse(
        br#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],
             "syscalls":[{"names":["socket"],"action":"SCMP_ACT_ALLOW"}]}"#,
    )
    .unwrap();
    let r = resolve(&written, &facts(Arch::X86_64, &[])).unwrap().unwrap();
    assert_eq!(r.arches, BTreeSet::from([Arch::X86_64, Arch::X86]), "the native one is always there");
    let decide = |nr| r.decide(&Call { nr, arch: Arch::X86_64.audit_token(), ..Call::default() });
    assert_eq!(decide(41), Action::Allow);
    assert_eq!(decide(X32_SYSCALL_BIT | 41), Action::KillThread);
    assert_eq!(decide(0xffff_fffe), Action::KillThread);
    assert_eq!(decide(u32::MAX), EPERM, "a tracer that skips a call is not killed");
}

#[test]
fn includes_need_all_and_excludes_need_any() {
    let allows = |scope: &str, facts: &Facts| {
        let entries = format!(r#"{{"names":["bpf"],"action":"SCMP_ACT_ALLOW",{scope}}}"#);
        let r = resolve(&profile(&entries), facts).unwrap().unwrap();
        r.decide(&call(Arch::X86_64, "bpf", 0, 0)) == Action::Allow
    };
    let none = facts(Arch::X86_64, &[]);
    let admin = facts(Arch::X86_64, &["CAP_SYS_ADMIN"]);
    let both = facts(Arch::X86_64, &["CAP_SYS_ADMIN", "CAP_BPF"]);
    for (scope, expected) in [
        (r#""includes":{"caps":["CAP_SYS_ADMIN"]}"#, [false, true, true]),
        (r#""includes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}"#, [false, false, true]),
        (r#""excludes":{"caps":["CAP_SYS_ADMIN","CAP_BPF"]}"#, [true, false, false]),
        (r#""includes":{"arches":["arm64","amd64"]}"#, [true, true, true]),
        (r#""includes":{"arches":["arm64","x32"]}"#, [false, false, false]),
        (r#""excludes":{"arches":["amd64"]}"#, [false, false, false]),
        (r#""includes":{"minKernel":"6.1"}"#, [true, true, true]),
        (r#""includes":{"minKernel":"6.2"}"#, [false, false, false]),
        (r#""excludes":{"minKernel":"4.8"}"#, [false, false, false]),
        (
            r#""includes":{"caps":["CAP_BPF"],"arches":["amd64"]},"excludes":{"minKernel":"6.2"}"#,
            [false, false, true],
        ),
    ] {
        assert_eq!([&none, &admin, &both].map(|f| allows(scope, f)), expected, "{scope}");
    }
}

#[test]
fn podman_ignores_min_kernel() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"ENOSYS","syscalls":[
        {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}}]}"#;
    let r = resolve(&parse(json.as_bytes()).unwrap(), &facts(Arch::X86_64, &[])).unwrap().unwrap();
    assert_eq!(r.decide(&call(Arch::X86_64, "bpf", 0, 0)), Action::Allow);
    assert_eq!(r.decide(&call(Arch::X86_64, "read", 0, 0)), ENOSYS);
}

#[test]
fn the_first_unconditional_rule_wins_and_defaults_are_no_rules() {
    let conditional =
        r#"{"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}"#;
    let rule = |action: &str| format!(r#"{{"names":["clone"],"action":"{action}"}}"#);
    let verdict = |entries: &[&str]| resolved(&entries.join(",")).decide(&call(Arch::X86_64, "clone", 1, 0));
    let (trap, log, default) = (rule("SCMP_ACT_TRAP"), rule("SCMP_ACT_LOG"), rule("SCMP_ACT_ERRNO"));
    assert_eq!(verdict(&[conditional, &trap, &log]), Action::Trap);
    assert_eq!(verdict(&[&log, &trap, conditional]), Action::Log);
    assert_eq!(verdict(&[&default, &log]), Action::Log);
    assert_eq!(verdict(&[&default, conditional]), Action::Allow);
}

#[test]
fn conditions() {
    let entry =
        |args: &str| format!(r#"{{"names":["personality"],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#);
    let arg = |index: u8, value: u64, op: &str| {
        format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_{op}"}}"#)
    };
    let allowed = |args: &str, first, second| {
        resolved(&entry(args)).decide(&call(Arch::X86_64, "personality", first, second)) == Action::Allow
    };
    let two_arguments = [arg(0, 1, "EQ"), arg(1, 2, "EQ")].join(",");
    assert!(
        allowed(&two_arguments, 1, 2) && !allowed(&two_arguments, 1, 3) && !allowed(&two_arguments, 0, 2)
    );
    let one_twice = [arg(0, 5, "LT"), arg(0, 9, "GT"), arg(1, 7, "EQ")].join(",");
    assert!(allowed(&one_twice, 4, 0) && allowed(&one_twice, 10, 0) && allowed(&one_twice, 6, 7));
    assert!(!allowed(&one_twice, 6, 0));
}

#[test]
fn the_strongest_of_matching_conditional_rules_wins() {
    let rule = |action: &str, op: &str, value: u64| {
        format!(
            r#"{{"names":["socket"],"action":"SCMP_ACT_{action}","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_{op}"}}]}}"#
        )
    };
    let r = resolved(&[rule("ALLOW", "LT", 10), rule("KILL", "EQ", 3), rule("LOG", "LT", 5)].join(","));
    let verdict = |family| r.decide(&call(Arch::X86_64, "socket", family, 0));
    assert_eq!([9, 4, 3, 10].map(verdict), [Action::Allow, Action::Log, Action::KillThread, EPERM]);
}

#[test]
fn one_condition_has_one_action() {
    let rule = |action: &str| {
        format!(
            r#"{{"names":["socket"],"action":"{action}","args":[{{"index":0,"value":1,"op":"SCMP_CMP_EQ"}}]}}"#
        )
    };
    let twice = profile(&[rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_LOG")].join(","));
    let error = resolve(&twice, &facts(Arch::X86_64, &[])).unwrap_err().to_string();
    assert!(error.starts_with("/syscalls/1: ") && error.contains("/syscalls/0"), "{error}");
    let same = profile(&[rule("SCMP_ACT_ALLOW"), rule("SCMP_ACT_ALLOW")].join(","));
    assert!(resolve(&same, &facts(Arch::X86_64, &[])).is_ok());
}

#[test]
fn unknown_names() {
    let written = profile(r#"{"names":["read","opennat","riscv_hwprobe"],"action":"SCMP_ACT_ALLOW"}"#);
    let mut facts = facts(Arch::X86_64, &[]);
    let error = resolve(&written, &facts).unwrap_err().to_string();
    assert!(
        error.starts_with("/syscalls/0/names/1: ") && error.contains("did you mean \"openat\"?"),
        "{error}"
    );
    facts.unknown_names = UnknownNames::Skip;
    let skipped = resolve(&written, &facts).unwrap().unwrap().skipped;
    assert_eq!(skipped[0].why, SkipReason::Unknown(Some("openat")));
    assert_eq!(skipped[1].why, SkipReason::NotOnTheseArchitectures);
    assert_eq!(skipped[1].from, "/syscalls/0/names/2");
}

#[test]
fn byte_orders_do_not_mix() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X"]}"#;
    let error = resolve(&parse(json.as_bytes()).unwrap(), &facts(Arch::X86_64, &[])).unwrap_err();
    assert_eq!(error.pointer(), Some("/architectures"));
}

#[test]
fn enosys_only_where_the_default_refuses() {
    let json = r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL"}]}"#;
    let r = resolve(&parse(json.as_bytes()).unwrap(), &facts(Arch::X86_64, &[])).unwrap().unwrap();
    assert!(r.enosys_above.is_empty());
    let mut never = facts(Arch::S390x, &[]);
    let s390 = |facts: &Facts| {
        let r = resolve(&profile(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW"}"#), facts).unwrap().unwrap();
        r.decide(&Call { nr: 0, arch: Arch::S390x.audit_token(), ..Call::default() })
    };
    assert_eq!(s390(&never), ENOSYS);
    never.enosys_above = EnosysAbove::Never;
    assert_eq!(s390(&never), EPERM);
}

#[test]
fn oci_json_means_the_same() {
    let r = resolved(
        r#"{"names":["read","write","mseal"],"action":"SCMP_ACT_ALLOW"},
           {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":40,"op":"SCMP_CMP_NE"}]},
           {"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38},
           {"names":["clone"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":240,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]}"#,
    );
    let json = r.to_oci_json().to_string();
    let again = parse(json.as_bytes()).unwrap();
    assert_eq!(again.dialect, Dialect::Oci);
    let again = resolve(&again, &facts(Arch::X86_64, &[])).unwrap().unwrap();
    for (arch, rules) in &r.rules {
        for (nr, rules) in rules {
            assert!(same_meaning(rules, again.rules_of(*arch, *nr)), "{arch} {nr}");
        }
        assert_eq!(rules.len(), again.rules[arch].len());
    }
    assert_eq!((r.arches, r.enosys_above), (again.arches, again.enosys_above));
}
