//! What cannot be decided is said, with its instruction, and is no answer: status 3.

mod common;

use common::{Files, err, insn, json, out, run, run_with};
use serde_json::json;

const DEFAULT: &str = "preset:docker-default";

/// Kills when arg0 * arg1 == 12345: the product of two unknown words has no small diagram.
fn product() -> Vec<u8> {
    let [load, multiply, compare, ret] = [0x20, 0x2c, 0x15, 0x06];
    let program = [
        insn(load, 0, 0, 16),
        insn(0x07, 0, 0, 0),
        insn(load, 0, 0, 24),
        insn(multiply, 0, 0, 0),
        insn(compare, 0, 1, 12345),
        insn(ret, 0, 0, 0),
        insn(ret, 0, 0, 0x7fff_0000),
    ];
    program.concat()
}

#[test]
fn a_filter_beyond_the_budget_is_named_with_its_instruction() {
    let files = Files::new();
    let filter = files.write("product.bpf", product());
    let result = files.path("result.json");
    let verbs: [&[&str]; 8] = [
        &["show", &filter],
        &["explain", &filter, "socket"],
        &["lint", &filter],
        &["decompile", &filter, "-o", &result],
        &["subset", &filter, DEFAULT],
        &["equal", DEFAULT, &filter],
        &["merge", "--union", DEFAULT, &filter, "-o", &result],
        &["diff", DEFAULT, &filter],
    ];
    std::thread::scope(|scope| {
        for verb in verbs {
            let filter = filter.as_str();
            scope.spawn(move || {
                let output = run(verb);
                let said = err(&output);
                assert_eq!(output.status.code(), Some(3), "{verb:?}: {said}");
                let side = if verb[0] == "diff" { "unknown in B: seccomp" } else { filter };
                assert!(
                    said.starts_with(&format!("plim-seccomp: {side}: undecided at instruction 3: ")),
                    "{verb:?}: {said}"
                );
                assert!(!out(&output).contains("holds"), "{verb:?}: {}", out(&output));
            });
        }
    });
    // Neither verb that writes has written.
    assert_eq!(files.count(), 1);
}

#[test]
fn what_needs_no_diagram_is_answered_all_the_same() {
    let files = Files::new();
    let filter = files.write("product.bpf", product());
    let calls: [(u64, u64, &str); 2] = [(5, 2469, "SCMP_ACT_KILL_THREAD"), (5, 2468, "SCMP_ACT_ALLOW")];
    for (a, b, action) in calls {
        let call = json!({"arch": "x86_64", "nr": 1, "args": [a, b, 0, 0, 0, 0]});
        let output = run_with(&["eval", &filter], call.to_string().as_bytes());
        assert_eq!(
            (output.status.code(), json(&output)),
            (Some(0), json!({"action": action})),
            "{}",
            err(&output)
        );
    }
}

/// The time of a command is the last bound: `--timeout 1` ends one that waits for input that never comes.
#[test]
fn a_command_that_does_not_end_is_undecided() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_plim-seccomp"))
        .args(["--timeout", "1", "show", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // Open until it has ended.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().expect("ended");
    drop(stdin);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(3), &b""[..]));
}
