//! The published JSON form: round trips, the list of unknown values, and what is refused.
mod common;

use plim_model::json::FormatError;
use plim_model::snapshot::Unknown;
use plim_model::{Observed, Snapshot};
use serde_json::{Value, json};

#[test]
fn values_stand_plainly_and_unknown_ones_are_null_and_listed() {
    let mut snapshot = common::docker_like("aa", 10);
    snapshot.capabilities = Observed::Unknown("open /proc/10/status: EACCES".to_owned());
    snapshot.sysctls.insert("net.a/b~c".to_owned(), Observed::Unknown("EPERM".to_owned()));
    let json = snapshot.to_json();

    assert_eq!(json["format"], "1.0");
    assert_eq!(json["target"]["engine"], "docker");
    assert_eq!(json["namespaces"]["net"]["shared_with_host"], false);
    assert_eq!(json["cgroup"]["memory"]["max_bytes"], 64 << 20);
    assert_eq!(json["cgroup"]["cpu"]["quota_us"], "max");
    assert_eq!(json["cgroup"]["memory"]["swap_max_bytes"], Value::Null);
    assert_eq!(json["seccomp"]["filters"][0]["length"], 266);
    assert_eq!(json["capabilities"], Value::Null);
    assert_eq!(
        json["unknown"],
        json!([
            {"path": "/capabilities", "why": "open /proc/10/status: EACCES"},
            {"path": "/seccomp/filters/0/log", "why": "PTRACE_SECCOMP_GET_METADATA: EINVAL"},
            {"path": "/sysctls/net.a~1b~0c", "why": "EPERM"},
        ])
    );
    assert!(!json.to_string().contains("$unknown"), "the mark stays inside");
}

#[test]
fn round_trip_keeps_present_absent_and_unknown_apart() {
    let mut snapshot = common::docker_like("aa", 10);
    snapshot.no_new_privs = Observed::Absent;
    snapshot.mounts = Observed::Unknown("EACCES".to_owned());
    snapshot.unknown.push(Unknown { path: "/odd_processes".to_owned(), why: "pid 9 went away".to_owned() });
    let json = snapshot.to_json();
    let back = Snapshot::from_json(json.clone()).expect("own output");
    assert_eq!(back, snapshot);
    assert_eq!(back.to_json(), json);
    assert_eq!(back.unknowns().len(), 3);
}

#[test]
fn capability_names_are_sorted() {
    let json = common::docker_like("aa", 10).to_json();
    let names: Vec<&str> = json["capabilities"]["bounding"]
        .as_array()
        .expect("array")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(names.is_sorted() && names.contains(&"CAP_NET_RAW"));
    assert_eq!(names.len(), 14);
}

#[test]
fn a_newer_minor_version_is_read_and_a_newer_major_is_refused() {
    let mut json = common::docker_like("aa", 10).to_json();
    json["format"] = "1.7".into();
    json["novelty"] = json!({"x": 1});
    assert!(Snapshot::from_json(json.clone()).is_ok());
    json["format"] = "2.0".into();
    assert_eq!(
        Snapshot::from_json(json).expect_err("refused").to_string(),
        "snapshot format \"2.0\" is not supported, expected 1.x"
    );
}

#[test]
fn bad_documents_name_the_place() {
    let good = common::docker_like("aa", 10).to_json();
    let with = |pointer: &str, value: Value| {
        let mut json = good.clone();
        *json.pointer_mut(pointer).expect(pointer) = value;
        Snapshot::from_json(json).expect_err(pointer).to_string()
    };
    for (pointer, value, expected) in [
        (
            "/capabilities/bounding/2",
            json!("CAP_NET_ROW"),
            "at /capabilities/bounding: unknown capability \"CAP_NET_ROW\"",
        ),
        (
            "/cgroup/memory/max_bytes",
            json!("lots"),
            "at /cgroup/memory/max_bytes: found \"lots\", expected a number or \"max\"",
        ),
        ("/cgroup/memory/max_bytes", json!(-1), "at /cgroup/memory/max_bytes: "),
        ("/mounts/1/target", json!(5), "at /mounts/1/target: invalid type: integer `5`, expected a string"),
        ("/user/uid", json!([0, 0]), "at /user/uid"),
        ("/namespaces", json!({"nett": null}), "at /namespaces"),
        ("/unknown", json!([{"path": "/user"}]), "at /unknown/0: missing field `why`"),
        ("/unknown", json!("x"), "at /unknown: invalid type: string \"x\", expected a sequence"),
        ("/target/pid", json!("7"), "at /target/pid: invalid type: string \"7\", expected i32"),
    ] {
        let error = with(pointer, value);
        assert!(error.starts_with(expected), "{pointer}: {error}");
    }
    for document in [json!(null), json!([]), json!("x"), json!({}), json!({"format": 1})] {
        assert_eq!(Snapshot::from_json(document).expect_err("no format"), FormatError::NotASnapshot);
    }
    let missing = Snapshot::from_json(json!({"format": "1.0"})).expect_err("cut").to_string();
    assert!(missing.contains("missing field `target`"), "{missing}");
}

#[test]
fn an_unknown_entry_that_points_at_a_value_does_not_overwrite_it() {
    let mut json = common::docker_like("aa", 10).to_json();
    json["unknown"] = json!([{"path": "/user", "why": "x"}, {"path": "/nowhere/0", "why": "y"}]);
    let snapshot = Snapshot::from_json(json).expect("read");
    assert!(snapshot.user.present().is_some());
    assert_eq!(snapshot.unknown.len(), 2);
}

#[test]
fn same_input_same_bytes() {
    let text = |s: &Snapshot| serde_json::to_string_pretty(&s.to_json()).expect("text");
    assert_eq!(text(&common::docker_like("aa", 10)), text(&common::docker_like("aa", 10)));
}
