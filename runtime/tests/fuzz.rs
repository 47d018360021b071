//! Mutated OCI configurations: the reader returns, and what it takes it can write and take again.

use plim_fuzz::{Target, fuzz};
use plim_runtime::oci::{self, Facts};
use plim_seccomp::Arch;
use plim_seccomp::resolve::KernelVersion;

const SEED: &str = r#"{"ociVersion": "1.0.2", "hostname": "h", "root": {"path": "rootfs", "readonly": true},
"process": {"terminal": true, "user": {"uid": 1, "gid": 2, "umask": 18, "additionalGids": [3]}, "args": ["sh", "-c", "x"],
 "env": ["PATH=/bin", "A=b"], "cwd": "/", "noNewPrivileges": true, "oomScoreAdj": 5, "apparmorProfile": "p",
 "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "inheritable": [], "ambient": []},
 "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 16, "hard": 32}]},
"mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "ro"]},
 {"destination": "/data", "type": "bind", "source": "/srv", "options": ["rbind", "rprivate", "ro"]}],
"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "network", "path": "/proc/1/ns/net"}, {"type": "user"}],
 "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}], "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 10}],
 "maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"], "sysctl": {"net.ipv4.ip_forward": "1"}, "cgroupsPath": "/a",
 "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438}],
 "resources": {"memory": {"limit": 9999999, "swap": -1}, "cpu": {"quota": 1000, "period": 10000, "cpus": "0-1"},
  "pids": {"limit": 5}, "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw"}]},
 "seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
  "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}}}"#;

#[test]
fn fuzz_oci() {
    let kernel = KernelVersion { major: 6, minor: 1 };
    let facts = Facts { arch: Arch::X86_64, kernel, bundle: "/bundle".into() };
    let words = &[
        "\"linux\":",
        "\"mounts\":",
        "\"rbind\"",
        "\"path\":",
        "\"type\":\"user\"",
        "4294967296",
        "\"SCMP_ACT_LOG\"",
    ];
    oci::from_spec(&serde_json::from_str(SEED).expect("JSON"), &facts).expect("the seed is read");
    let target = Target::new("OCI configuration").seeds([SEED]).words(words).rounds(3_000);
    fuzz(target, |bytes| {
        let Ok(spec) = serde_json::from_slice(bytes) else { return };
        if let Ok(bundle) = oci::from_spec(&spec, &facts) {
            let written = oci::to_spec(&bundle.config);
            oci::from_spec(&written, &facts).expect("what is written is read");
        }
    });
}
