//! Profiles on which engines, runtimes and libseccomp differ.

use anyhow::{Context, Result};
use plim_seccomp::presets;
use serde_json::{Value, json};

/// Names that Docker's default allows to everybody, but for some that a test speaks of itself.
fn allowed(but: &[&str]) -> Result<Value> {
    let default: Value = serde_json::from_str(presets::get("docker-default").context("the preset")?)?;
    let rules = default["syscalls"].as_array().context("no rules")?;
    let plain = rules.iter().filter(|rule| {
        rule["action"] == "SCMP_ACT_ALLOW"
            && ["args", "includes", "excludes"].iter().all(|key| {
                let value = &rule[*key];
                value.is_null() || value == &json!([]) || value == &json!({})
            })
    });
    let mut names: Vec<&str> =
        plain.filter_map(|rule| rule["names"].as_array()).flatten().filter_map(Value::as_str).collect();
    // For x86-64 alone in the default.
    names.extend(["arch_prctl", "modify_ldt", "clone"]);
    names.retain(|name| !but.contains(name));
    Ok(json!({"names": names, "action": "SCMP_ACT_ALLOW"}))
}

fn arg(index: u32, operator: &str, value: u64, two: u64) -> Value {
    json!({"index": index, "op": format!("SCMP_CMP_{operator}"), "value": value, "valueTwo": two})
}

fn rule(names: &[&str], action: &str, args: &[Value]) -> Value {
    json!({"names": names, "action": format!("SCMP_ACT_{action}"), "args": args})
}

/// The rules on which runtimes and libseccomp have ways of their own; each with the calls that it speaks of.
fn special() -> Vec<(&'static str, &'static [&'static str], Vec<Value>)> {
    let errno = |mut rule: Value, number: u32| {
        rule["errnoRet"] = json!(number);
        rule
    };
    vec![
        (
            "an argument named twice",
            &["socket"],
            vec![
                rule(&["socket"], "ALLOW", &[arg(0, "EQ", 1, 0), arg(0, "EQ", 2, 0), arg(1, "EQ", 1, 0)]),
                rule(&["personality"], "ALLOW", &[arg(0, "EQ", 0, 0), arg(0, "EQ", 8, 0)]),
            ],
        ),
        (
            "rules equal to the default",
            &["socket", "bind", "keyctl"],
            vec![
                rule(&["socket", "bind"], "ERRNO", &[]),
                rule(&["socket"], "ALLOW", &[arg(0, "EQ", 2, 0)]),
                errno(rule(&["keyctl"], "ERRNO", &[]), 38),
            ],
        ),
        (
            "names that are not known, or not to every library",
            &[],
            vec![rule(
                &["frobnicate", "mseal", "listmount", "file_getattr", "fchmodat2", "s390_pci_mmio_read"],
                "ALLOW",
                &[],
            )],
        ),
        (
            "calls behind socketcall and ipc",
            &["socket", "connect", "sendto", "shmget", "semop", "accept4", "socketcall", "ipc"],
            vec![
                rule(&["socket", "connect", "sendto"], "ALLOW", &[arg(0, "NE", 16, 0)]),
                rule(&["shmget", "semop"], "ALLOW", &[arg(1, "LT", 100, 0)]),
                rule(&["accept4"], "LOG", &[arg(3, "MASKED_EQ", 0x800, 0x800)]),
            ],
        ),
        (
            "overlapping conditions, high words and every action",
            &["setpriority", "sched_setparam", "sched_getparam", "mlock", "munlock", "flock", "alarm"],
            vec![
                rule(&["setpriority"], "ALLOW", &[arg(0, "GE", 5, 0), arg(1, "LE", 7, 0)]),
                errno(rule(&["setpriority"], "ERRNO", &[arg(0, "EQ", 9, 0)]), 22),
                rule(&["sched_setparam"], "ALLOW", &[arg(0, "GT", 1 << 32, 0)]),
                rule(&["sched_getparam"], "ALLOW", &[arg(0, "LT", (1 << 32) + 1, 0)]),
                rule(&["mlock"], "TRAP", &[arg(0, "MASKED_EQ", 0xff << 32, 0x12 << 32)]),
                rule(&["mlock"], "ALLOW", &[arg(1, "NE", 0, 0)]),
                rule(&["munlock"], "KILL_PROCESS", &[]),
                errno(rule(&["flock"], "TRACE", &[]), 7),
                rule(&["alarm"], "LOG", &[]),
            ],
        ),
        (
            "six conditions in one rule",
            &[],
            vec![rule(
                &["keyctl"],
                "ALLOW",
                &[
                    arg(0, "EQ", 15, 0),
                    arg(1, "NE", 0, 0),
                    arg(2, "LE", 5, 0),
                    arg(3, "GE", 7, 0),
                    arg(4, "MASKED_EQ", 0xf, 3),
                    arg(5, "EQ", 9, 0),
                ],
            )],
        ),
    ]
}

/// Profiles in OCI's dialect.
pub(super) fn oci_profiles() -> Result<Vec<(String, Value)>> {
    let all = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    let mut profiles = Vec::new();
    for (what, calls, rules) in special() {
        let rules: Vec<Value> = std::iter::once(allowed(calls)?).chain(rules).collect();
        let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": all, "syscalls": rules});
        profiles.push((what.to_owned(), profile));
    }
    let socket = rule(&["socket"], "ALLOW", &[arg(0, "EQ", 2, 0)]);
    let with = |default: &str, architectures: Value, rules: Vec<Value>| json!({"defaultAction": format!("SCMP_ACT_{default}"), "architectures": architectures, "syscalls": rules});
    let mut enosys = with("ERRNO", all.clone(), vec![allowed(&["socket"])?, socket.clone()]);
    enosys["defaultErrnoRet"] = json!(38);
    let deny = vec![
        rule(&["socket"], "ERRNO", &[arg(0, "EQ", 17, 0)]),
        rule(&["unshare", "setns"], "ERRNO", &[]),
        rule(&["clone"], "ERRNO", &[arg(0, "MASKED_EQ", 0x7e02_0000, 0x1000_0000)]),
        rule(&["kexec_load"], "KILL_PROCESS", &[]),
        rule(&["bpf"], "ALLOW", &[]),
    ];
    profiles.extend([
        ("a default of ENOSYS".to_owned(), enosys),
        (
            "no architectures listed".to_owned(),
            with("ERRNO", json!([]), vec![allowed(&["socket"])?, socket.clone()]),
        ),
        (
            "another architecture alone listed".to_owned(),
            with("ERRNO", json!(["SCMP_ARCH_X86"]), vec![allowed(&["socket"])?, socket.clone()]),
        ),
        (
            "a default of KILL_THREAD".to_owned(),
            with("KILL_THREAD", all.clone(), vec![allowed(&["socket"])?, socket]),
        ),
        ("a list of refusals".to_owned(), with("ALLOW", all, deny)),
    ]);
    Ok(profiles)
}

/// One condition with two actions: no libseccomp joins that.
pub(super) fn conflict() -> Result<Value> {
    let rules = vec![
        allowed(&["socket"])?,
        rule(&["socket"], "ALLOW", &[arg(0, "EQ", 1, 0)]),
        rule(&["socket"], "LOG", &[arg(0, "EQ", 1, 0)]),
    ];
    Ok(json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": rules}))
}

/// Profiles with the keys of engines.
pub(super) fn engine_profiles() -> Result<Vec<(&'static str, Value)>> {
    let map = json!([{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]}]);
    let of =
        |name: &str| -> Result<Value> { Ok(serde_json::from_str(presets::get(name).context("a preset")?)?) };
    let when = |name: &str, key: &str, value: Value| json!({"names": [name], "action": "SCMP_ACT_ALLOW", key: value});
    let keys = json!({"defaultAction": "SCMP_ACT_ERRNO", "archMap": map, "syscalls": [
        allowed(&["chroot", "ptrace", "socket"])?,
        when("ptrace", "includes", json!({"minKernel": "4.8"})),
        when("kexec_load", "includes", json!({"minKernel": "99.1"})),
        when("reboot", "includes", json!({"caps": ["CAP_SYS_BOOT"]})),
        when("chroot", "includes", json!({"caps": ["CAP_SYS_CHROOT"]})),
        when("acct", "excludes", json!({"caps": ["CAP_SYS_ADMIN"]})),
        when("swapon", "includes", json!({"arches": ["arm64"]})),
        when("swapoff", "excludes", json!({"arches": ["arm64"]})),
        rule(&["personality"], "ALLOW", &[arg(0, "EQ", 0, 0), arg(0, "EQ", 8, 0)]),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        rule(&["socket"], "ALLOW", &[arg(0, "NE", 40, 0)]),
        rule(&["frobnicate"], "ALLOW", &[])
    ]});
    let mut errors = keys.clone();
    errors["defaultErrnoRet"] = json!(1);
    errors["defaultErrno"] = json!("ENOSYS");
    if let Some(rules) = errors["syscalls"].as_array_mut() {
        rules.push(
            json!({"names": ["quotactl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EBUSY"}),
        );
    }
    Ok(vec![
        ("docker-default", of("docker-default")?),
        ("podman-default", of("podman-default")?),
        ("every key of Docker's", keys),
        ("errors by name", errors),
    ])
}
