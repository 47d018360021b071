//! One clear error with its place, and status 2.

mod common;

use common::{Files, err, insn, out, run};
use serde_json::json;

fn refused(file: &str, verb: &str) -> String {
    let output = run(&[verb, file]);
    assert_eq!(output.status.code(), Some(2), "{file}: {}", err(&output));
    assert_eq!(out(&output), "", "{file}");
    let error = err(&output);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.starts_with(&format!("plim-seccomp: read {file}: ")), "{error}");
    error
}

#[test]
fn filters_that_the_kernel_would_refuse() {
    let files = Files::new();
    let ret = insn(0x06, 0, 0, 0x7fff_0000);
    let load = insn(0x20, 0, 0, 0);
    for (name, bytes, expected) in [
        (
            "truncated",
            [load.clone(), ret[..5].to_vec()].concat(),
            "13 bytes, which is not a multiple of 8: a truncated dump",
        ),
        (
            "foreign",
            vec![0, 0x20, 0, 0, 0, 0, 0, 4, 0, 6, 0, 0, 0x7f, 0xff, 0, 0],
            "dump is of a big-endian machine",
        ),
        (
            "jump",
            [insn(0x15, 1, 0, 5), ret.clone()].concat(),
            "instruction 0: jump by 1 ends behind the last instruction",
        ),
        (
            "no-return",
            [ret.clone(), load.clone()].concat(),
            "instruction 1: the last instruction does not return",
        ),
        ("load", [insn(0x20, 0, 0, 64), ret.clone()].concat(), "instruction 0: load at offset 64"),
        (
            "division",
            [insn(0x34, 0, 0, 0), ret.clone()].concat(),
            "instruction 0: division by the constant 0",
        ),
        (
            "cell",
            [insn(0x60, 0, 0, 3), ret.clone()].concat(),
            "instruction 0: memory cell 3 may be read before",
        ),
        (
            "code",
            [insn(0x28, 0, 0, 0), ret.clone()].concat(),
            "instruction 0: operation code 0x0028 is not allowed",
        ),
        (
            "long",
            [load.repeat(4096), ret.clone()].concat(),
            "a filter may have 4096 instructions, this one has 4097",
        ),
        ("empty", Vec::new(), "file is empty"),
    ] {
        let file = files.write(&format!("{name}.bpf"), bytes);
        for verb in ["disasm", "show"] {
            let error = refused(&file, verb);
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}

#[test]
fn profiles_that_do_not_say_what_they_mean() {
    let files = Files::new();
    let rule =
        |rule: serde_json::Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [rule]}).to_string();
    let argument = |argument: serde_json::Value| {
        rule(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [argument]}))
    };
    for (name, text, expected) in [
        (
            "twice",
            r#"{"defaultAction": "SCMP_ACT_ALLOW", "defaultAction": "SCMP_ACT_ERRNO"}"#.to_owned(),
            "top level: found the key \"defaultAction\" twice",
        ),
        (
            "errno",
            rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})),
            "/syscalls/0/errnoRet: found 4096, expected a whole number from 0 to 4095",
        ),
        (
            "operator",
            argument(json!({"index": 0, "value": 1, "op": "SCMP_CMP_EQU"})),
            "/syscalls/0/args/0/op: found \"SCMP_CMP_EQU\"",
        ),
        (
            "index",
            argument(json!({"index": 6, "value": 1, "op": "SCMP_CMP_EQ"})),
            "/syscalls/0/args/0/index: found 6",
        ),
        (
            "value",
            argument(json!({"index": 0, "value": -1, "op": "SCMP_CMP_EQ"})),
            "/syscalls/0/args/0/value: found -1",
        ),
        (
            "key",
            r#"{"defaultAcion": "SCMP_ACT_ALLOW", "syscalls": []}"#.to_owned(),
            "did you mean \"defaultAction\"?",
        ),
        ("cut", r#"{"defaultAction": "#.to_owned(), "not JSON"),
    ] {
        let file = files.write(&format!("{name}.json"), text);
        for verb in ["show", "compile"] {
            let error = refused(&file, verb);
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}

#[test]
fn names_are_looked_up_for_the_machine() {
    let files = Files::new();
    let text = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["opennat"], "action": "SCMP_ACT_ALLOW"}]});
    let file = files.write("name.json", text.to_string());
    let output = run(&["show", &file]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        err(&output).contains("/syscalls/0/names/0: found the system call \"opennat\""),
        "{}",
        err(&output)
    );
    assert!(err(&output).contains("did you mean \"openat\"?"), "{}", err(&output));
    let output = run(&["show", &file, "--skip-unknown-names"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        err(&output).contains("unknown system call \"opennat\", did you mean \"openat\"?"),
        "{}",
        err(&output)
    );
}

#[test]
fn targets_and_flags() {
    for (arguments, expected) in [
        (&["show", "/no/such/file.json"][..], "read /no/such/file.json: No such file"),
        (&["show", "preset:docker-defualt"], "did you mean \"docker-default\"?"),
        (&["equal", "-", "-"], "stdin can be read once"),
        (&["eval", "-"], "stdin can be read once"),
        (&["show", "preset:tcpdump", "--arch", "x86-46"], "unknown architecture"),
        (&["dump", "preset:tcpdump"], "is data, not a running process"),
        (&["dump", "pid:999999999"], "999999999"),
        (&["dump", "self", "--filter", "3"], "--filter 3: self has"),
        (&["shwo", "self"], "show"),
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(expected), "{arguments:?}: {}", err(&output));
    }
}
