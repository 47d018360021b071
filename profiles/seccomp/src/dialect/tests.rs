use crate::errno::Errno;

use super::*;

fn error(json: &str) -> String {
    parse(json.as_bytes()).unwrap_err().to_string()
}

/// One rule inside of a profile that is otherwise right.
fn with_rule(rule: &str) -> String {
    format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{rule}]}}"#)
}

#[test]
fn dialects_are_recognised() {
    let docker = with_rule(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{}}"#);
    let podman = with_rule(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errno":"ENOSYS","includes":{}}"#);
    let oci = with_rule(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW"}"#);
    let config =
        format!(r#"{{"ociVersion":"1.0.2","process":{{"args":["a"]}},"linux":{{"seccomp":{oci}}}}}"#);
    for (json, dialect) in
        [(docker, Dialect::Docker), (podman, Dialect::Podman), (oci, Dialect::Oci), (config, Dialect::Oci)]
    {
        let written = parse(json.as_bytes()).unwrap();
        assert_eq!(written.dialect, dialect, "{json}");
        assert_eq!(written.rules[0].names, ["read"]);
    }
}

#[test]
fn a_spec_without_a_profile_is_unconfined() {
    for json in [r#"{"ociVersion":"1.0.2"}"#, r#"{"linux":{}}"#, r#"{"linux":{"seccomp":null}}"#, "{}"] {
        assert_eq!(parse(json.as_bytes()).unwrap().default_action, None, "{json}");
    }
    assert_eq!(parse(br#"{"defaultAction":"","syscalls":[]}"#).unwrap().default_action, None);
}

#[test]
fn what_the_engines_leave_empty_is_accepted() {
    let rule = r#"{"name":"","names":["read"],"action":"SCMP_ACT_ALLOW","args":null,"comment":"","includes":{},
        "excludes":null,"errnoRet":null,"errno":""}"#;
    let rule = parse(with_rule(rule).as_bytes()).unwrap().rules.remove(0);
    assert_eq!((rule.action, rule.conditions.len(), rule.comment), (Action::Allow, 0, None));
    let map = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}]}"#;
    let map = parse(map.as_bytes()).unwrap().architectures;
    assert_eq!(map, Architectures::Map(vec![(Arch::Riscv64, vec![])]));
}

#[test]
fn errors_by_number_and_by_name() {
    let action = |rule: &str| parse(with_rule(rule).as_bytes()).unwrap().rules[0].action;
    let errno = |n: u64| Action::Errno(Errno::from_number(n).unwrap());
    assert_eq!(action(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO"}"#), errno(1));
    assert_eq!(action(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#), errno(38));
    assert_eq!(
        action(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":1,"errno":"ENOSYS"}"#),
        errno(38)
    );
    assert_eq!(action(r#"{"names":["a"],"action":"SCMP_ACT_ERRNO","errno":"38"}"#), errno(38));
    assert_eq!(action(r#"{"names":["a"],"action":"SCMP_ACT_TRACE","errnoRet":65535}"#), Action::Trace(65535));
    assert_eq!(action(r#"{"names":["a"],"action":"SCMP_ACT_KILL"}"#), Action::KillThread);
}

/// Each bad profile, and what its error must say.
#[test]
fn errors_say_where_what_and_what_was_meant() {
    let allow = |more: &str| with_rule(&format!(r#"{{"names":["a"],"action":"SCMP_ACT_ALLOW"{more}}}"#));
    let cases: Vec<(String, &[&str])> = vec![
        ("[1,".into(), &["not JSON: line 1, column 3"]),
        ("".into(), &["not JSON"]),
        ("{} {}".into(), &["not JSON: line 1, column 4"]),
        ("[]".into(), &["the profile's top level: found a list, expected an object"]),
        (r#"{"defaultActon":"SCMP_ACT_ERRNO"}"#.into(), &["unknown key \"defaultActon\"", "did you mean \"defaultAction\"?"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultAction":"SCMP_ACT_ALLOW"}"#.into(), &["\"defaultAction\" twice"]),
        (r#"{"defaultAction":"SCMP_ACT_ALOW"}"#.into(), &["/defaultAction: ", "did you mean \"SCMP_ACT_ALLOW\"?"]),
        (r#"{"defaultAction":7}"#.into(), &["/defaultAction: found 7, expected a string"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#.into(), &["/defaultErrnoRet: found 4096", "0 to 4095"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":-1}"#.into(), &["found -1"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1.5}"#.into(), &["found 1.5"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"EPRM"}"#.into(), &["/defaultErrno", "did you mean \"EPERM\"?"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrno":"9999"}"#.into(), &["found \"9999\"", "0 to 4095"]),
        (r#"{"defaultAction":"SCMP_ACT_KILL","defaultErrnoRet":1}"#.into(), &["/defaultErrnoRet", "takes no error number"]),
        (r#"{"syscalls":[{"names":["a"],"action":"SCMP_ACT_ALLOW"}]}"#.into(), &["rules and no defaultAction"]),
        (
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"archMap":[{"architecture":"SCMP_ARCH_X86_64"}]}"#.into(),
            &["both architectures and archMap"],
        ),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X68"]}"#.into(), &["/architectures/0", "SCMP_ARCH_X86"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[{}]}"#.into(), &["/archMap/0", "no architecture"]),
        (r#"{"defaultAction":"SCMP_ACT_ERRNO","flags":["SECCOMP_FILTER_FLAG_LGO"]}"#.into(), &["/flags/0", "FLAG_LOG"]),
        (allow(r#","name":"b""#), &["/syscalls/0: found both name and names"]),
        (allow(r#","name":7"#), &["/syscalls/0"]),
        (allow(r#","errnoRet":1"#), &["/syscalls/0/errnoRet", "takes no error number"]),
        (allow(r#","includes":{"cap":[]}"#), &["/syscalls/0/includes", "did you mean \"caps\"?"]),
        (allow(r#","includes":{"caps":["CAP_SYS_ADMN"]}"#), &["/syscalls/0/includes/caps/0", "\"CAP_SYS_ADMIN\""]),
        (allow(r#","includes":{"caps":["sys_admin"]}"#), &["found \"sys_admin\"", "did you mean \"CAP_SYS_ADMIN\"?"]),
        (allow(r#","includes":{"arches":["amd46"]}"#), &["/syscalls/0/includes/arches/0", "\"amd64\""]),
        (allow(r#","excludes":{"minKernel":"4.8.1"}"#), &["/syscalls/0/excludes/minKernel", "MAJOR.MINOR"]),
        (allow(r#","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]"#), &["/syscalls/0/args/0/index: found 6", "0 to 5"]),
        (allow(r#","args":[{"index":0,"value":1,"op":"SCMP_CMP_QE"}]"#), &["/syscalls/0/args/0/op", "\"SCMP_CMP_EQ\""]),
        (allow(r#","args":[{"index":0,"value":18446744073709551616,"op":"SCMP_CMP_EQ"}]"#), &["/syscalls/0/args/0/value"]),
        (allow(r#","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_EQ"}]"#), &["/args/0/valueTwo", "MASKED_EQ"]),
        (allow(r#","args":[{"index":0,"op":"SCMP_CMP_EQ"}]"#), &["/syscalls/0/args/0: found no value"]),
        (with_rule(r#"{"names":[],"action":"SCMP_ACT_ALLOW"}"#), &["names no system call"]),
        (with_rule(r#"{"names":[""],"action":"SCMP_ACT_ALLOW"}"#), &["/syscalls/0/names/0"]),
        (with_rule(r#"{"names":["a"]}"#), &["/syscalls/0: found a rule without an action"]),
        (with_rule("null"), &["/syscalls/0: found null, expected an object"]),
        (r#"{"linux":{"seccomp":{"archMap":[]}}}"#.into(), &["/linux/seccomp: found the unknown key \"archMap\""]),
        (r#"{"linux":{"seccomp":{},"seccomp":{}}}"#.into(), &["/linux: found the key \"seccomp\" twice"]),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), &["recursion limit"]),
    ];
    for (json, parts) in cases {
        let message = error(&json);
        for part in parts {
            assert!(message.contains(part), "{:.200}\n  {message}\n  lacks {part:?}", json);
        }
        assert!(message.len() < 1000, "{message}");
    }
}

#[test]
fn size_is_bounded() {
    let limit =
        |unit| ProfileError::TooLarge { limit: if unit == "bytes" { MAX_BYTES } else { MAX_VALUES }, unit };
    assert_eq!(parse(&vec![b' '; MAX_BYTES + 1]), Err(limit("bytes")));
    let many = format!("[{}0]", "0,".repeat(MAX_VALUES));
    assert_eq!(parse(many.as_bytes()), Err(limit("JSON values")));
}

#[test]
fn text_of_the_profile_is_escaped_and_cut() {
    let message = error(&format!(r#"{{"defaultAction":"\u001b[31m\u202e{}"}}"#, "x".repeat(5000)));
    assert!(!message.contains('\u{1b}') && !message.contains('\u{202e}'), "{message}");
    assert!(message.len() < 600);
}
