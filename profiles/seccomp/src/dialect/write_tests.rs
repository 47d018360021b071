use plim_model::{Capability, CapabilitySet};

use super::*;
use crate::diagram::Store;
use crate::dialect::parse;
use crate::kernel::KernelVersion;
use crate::presets;
use crate::resolve::resolve;

fn facts(caps: &[&str], kernel: (u16, u16)) -> Facts {
    let caps: CapabilitySet = caps.iter().map(|name| Capability::from_name(name).unwrap()).collect();
    Facts::new(Arch::X86_64, caps, KernelVersion { major: kernel.0, minor: kernel.1 })
}

/// Writes, reads back, and compares the meaning over all calls.
fn there_and_back(written: &Written, dialect: Dialect, facts: &Facts) -> Rewritten {
    let rewritten = write(written, dialect, facts);
    let again = parse(rewritten.json.to_string().as_bytes()).unwrap();
    let mut store = Store::new();
    let [a, b] = [written, &again].map(|profile| {
        let resolved = resolve(profile, facts).unwrap().unwrap();
        store.of_resolved(&resolved).unwrap()
    });
    assert_eq!(a, b, "{dialect:?}: {}", rewritten.json);
    rewritten
}

#[test]
fn every_preset_means_the_same_in_every_dialect() {
    for name in presets::names() {
        let written = parse(presets::get(name).unwrap().as_bytes()).unwrap();
        for dialect in [Dialect::Docker, Dialect::Oci, Dialect::Podman] {
            for facts in [facts(&[], (6, 18)), facts(&["CAP_SYS_ADMIN", "CAP_BPF"], (4, 4))] {
                let rewritten = there_and_back(&written, dialect, &facts);
                let lost = rewritten.unsaid.iter().find(|unsaid| unsaid.fate == Fate::Lost);
                assert_eq!(lost, None, "{name} {dialect:?}");
                if dialect == written.dialect {
                    assert_eq!(rewritten.unsaid, [], "{name}");
                }
            }
        }
    }
}

#[test]
fn podman_has_errors_by_name_and_no_kernels() {
    let written = parse(
        br#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": "/run/l", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["write"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}},
        {"names": ["bpf"], "action": "SCMP_ACT_NOTIFY", "comment": "asked"}]}"#,
    )
    .unwrap();
    let rewritten = write(&written, Dialect::Podman, &facts(&[], (6, 1)));
    let json = &rewritten.json;
    assert_eq!((&json["defaultErrno"], &json["defaultErrnoRet"]), (&"ENOSYS".into(), &38.into()));
    assert_eq!(json["flags"][0], "SECCOMP_FILTER_FLAG_LOG");
    let names: Vec<&Value> =
        json["syscalls"].as_array().unwrap().iter().map(|rule| &rule["names"][0]).collect();
    assert_eq!(names, ["read", "bpf"], "the kernel is new enough for the first and too new for the second");
    let told: Vec<(&str, Fate)> =
        rewritten.unsaid.iter().map(|unsaid| (unsaid.pointer.as_str(), unsaid.fate)).collect();
    assert_eq!(
        told,
        [
            ("/listenerPath", Fate::Lost),
            ("/syscalls/0/includes/minKernel", Fate::Settled),
            ("/syscalls/1/excludes/minKernel", Fate::Settled),
            ("/syscalls/2/action", Fate::Lost),
        ]
    );
}

#[test]
fn a_kernel_that_podman_passes_over_does_not_begin_to_count() {
    let written = parse(
        br#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM", "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "9.9", "caps": ["CAP_BPF"]}}]}"#,
    )
    .unwrap();
    assert_eq!(written.dialect, Dialect::Podman);
    let rewritten = there_and_back(&written, Dialect::Docker, &facts(&["CAP_BPF"], (6, 1)));
    assert_eq!(rewritten.json["syscalls"][0]["includes"], json!({"caps": ["CAP_BPF"]}));
    let rewritten = there_and_back(&written, Dialect::Oci, &facts(&["CAP_BPF"], (6, 1)));
    assert_eq!(rewritten.json["syscalls"][0]["names"][0], "read");
}

#[test]
fn seccomp_turned_off_stays_off() {
    let written = parse(b"{}").unwrap();
    assert_eq!(write(&written, Dialect::Oci, &facts(&[], (6, 1))).json, json!({}));
}
