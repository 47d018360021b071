//! `--print-spec`: the container as data, and Docker's defaults in it.

mod common;

use common::{plim_run, stderr, stdout};
use serde_json::{Value, json};

#[track_caller]
fn spec(args: &[&str]) -> Value {
    let out = plim_run(&[&["--print-spec"], args].concat());
    assert_eq!(out.status.code(), Some(0), "{args:?}: {}", stderr(&out));
    serde_json::from_str(&stdout(&out)).unwrap()
}

#[test]
fn the_default_is_dockers() {
    let spec = spec(&["--", "true"]);
    let fourteen = json!([
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT"
    ]);
    let capabilities = &spec["process"]["capabilities"];
    if nix::unistd::geteuid().is_root() {
        assert_eq!(capabilities["bounding"], fourteen);
        assert_eq!(capabilities["effective"], fourteen);
    }
    assert_eq!(capabilities["inheritable"], json!([]));
    assert_eq!(capabilities["ambient"], json!([]));
    assert_eq!(spec["process"]["noNewPrivileges"], json!(false));
    assert_eq!(spec["process"]["args"], json!(["true"]));
    assert_eq!(spec["linux"]["seccomp"]["defaultAction"], json!("SCMP_ACT_ERRNO"));
    assert_eq!(
        spec["linux"]["maskedPaths"].as_array().unwrap()[..2],
        [json!("/proc/acpi"), json!("/proc/asound")]
    );
    assert_eq!(spec["linux"]["readonlyPaths"].as_array().unwrap().len(), 5);
    assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], json!(false));
    let kinds: Vec<&str> =
        spec["linux"]["namespaces"].as_array().unwrap().iter().filter_map(|ns| ns["type"].as_str()).collect();
    for kind in ["cgroup", "ipc", "mount", "network", "pid", "uts"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    assert_eq!(spec["root"]["readonly"], json!(true));
    assert_eq!(spec["annotations"]["io.plimsoll.rootfs"], json!("overlay"));
}

#[test]
fn same_input_same_bytes() {
    let args = ["--print-spec", "-m", "64m", "--", "id"];
    assert_eq!(stdout(&plim_run(&args)), stdout(&plim_run(&args)));
}

#[test]
fn a_printed_document_is_a_bundle_that_prints_itself() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--print-spec", "-m", "64m", "--cap-drop", "NET_RAW", "-h", "box", "--", "id", "-u"];
    let first = stdout(&plim_run(&args));
    std::fs::write(dir.path().join("config.json"), &first).unwrap();
    let out = plim_run(&["--print-spec", "--bundle", dir.path().to_str().unwrap()]);
    assert_eq!(stderr(&out), "");
    assert_eq!(stdout(&out), first);
}

#[test]
fn an_unknown_property_of_a_bundle_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(&["--", "true"]);
    spec["linux"]["zebra"] = json!(1);
    std::fs::write(dir.path().join("config.json"), spec.to_string()).unwrap();
    let out = plim_run(&["--print-spec", "--bundle", dir.path().to_str().unwrap()]);
    assert!(stderr(&out).contains("/linux/zebra"), "{}", stderr(&out));
    spec["linux"]["intelRdt"] = json!({"closID": "x"});
    std::fs::write(dir.path().join("config.json"), spec.to_string()).unwrap();
    let out = plim_run(&["--bundle", dir.path().to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(125));
    assert!(stderr(&out).contains("/linux/intelRdt"), "{}", stderr(&out));
}

#[test]
fn privileged_says_what_is_missing() {
    if !common::can_run() {
        return;
    }
    let out = plim_run(&["--print-spec", "--privileged", "--", "true"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let spec: Value = serde_json::from_str(&stdout(&out)).unwrap();
    let bounding = spec["process"]["capabilities"]["bounding"].as_array().unwrap();
    let holds = bounding.contains(&json!("CAP_SYS_RESOURCE"));
    assert_eq!(holds, !stderr(&out).contains("CAP_SYS_RESOURCE"), "{}", stderr(&out));
    assert!(spec["linux"].get("seccomp").is_none());
    assert!(spec["linux"].get("maskedPaths").is_none());
}
