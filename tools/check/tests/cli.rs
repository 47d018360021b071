//! The three programs from outside, over the example project.

mod common;

use std::process::{Command, Stdio};

use common::{check, examples, fed, lock, policy, program, text};

const PROJECT: [&str; 6] = ["./compose", "./kubernetes", "-p", "plim-policy.yaml", "--today", "2026-11-23"];

#[test]
fn the_example_project_in_every_format() {
    for (format, file) in [
        ("json", "findings.json"),
        ("table", "table.txt"),
        ("sarif", "plim.sarif"),
        ("junit", "junit.xml"),
        ("github", "github.txt"),
        ("markdown", "comment.md"),
        ("html", "page.html"),
    ] {
        let output = check(&examples(), &[&PROJECT[..], &["--format", format, "-q"]].concat());
        assert_eq!(output.status.code(), Some(1), "{format}: {}", text(&output.stderr));
        let path = examples().join("expected").join(file);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&path, &output.stdout).expect("written");
        }
        let expected = std::fs::read(&path).unwrap_or_default();
        assert!(
            output.stdout == expected,
            "{} is not what plim check prints; run `UPDATE_EXPECTED=1 cargo test -p plim-check` and review the change",
            path.display()
        );
    }
}

#[test]
fn thresholds_decide_the_status() {
    let line = "docker run --cap-drop ALL --uts=host web:1";
    let of = |arguments: &[&str]| {
        check(&examples(), &[&["--cmdline", line, "-q"], arguments].concat()).status.code()
    };
    assert_eq!(of(&["-p", "pack:docker-default"]), Some(1));
    assert_eq!(of(&["-p", "pack:docker-default", "--fail-on", "high"]), Some(1));
    assert_eq!(of(&["-p", "pack:docker-default", "--fail-on", "critical"]), Some(0));
    // Who it runs as is the image's to say.
    let good = ["--cmdline", "docker run --cap-drop ALL web:1", "-q", "-p", "pack:nsa-cisa", "--fail-on"];
    assert_eq!(check(&examples(), &[&good[..], &["critical"]].concat()).status.code(), Some(0));
    let open = [
        "--cmdline",
        "docker run --read-only --security-opt no-new-privileges web:1",
        "-q",
        "-p",
        "pack:nsa-cisa",
    ];
    assert_eq!(check(&examples(), &open).status.code(), Some(3));
}

#[test]
fn bad_input_is_one_sentence_and_status_2() {
    let directory = tempfile::tempdir().expect("directory");
    let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
    file("dup.yaml", "apiVersion: v1\nkind: Pod\nkind: Pod\n");
    file("bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostPID: \"true\"\n");
    file("policy.yaml", "format: \"1.0\"\nname: x\nruls: []\n");
    file("profile.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}");
    file("other.yaml", "hello: world\n");
    for (arguments, expected) in [
        (&["dup.yaml"][..], "dup.yaml: line 3, column 1: key \"kind\" stands twice"),
        (&["bad.yaml"], "bad.yaml: line 5, column 12: spec.hostPID: found \"true\", expected true or false"),
        (
            &["self", "-p", "policy.yaml"],
            "policy.yaml: line 3, column 1: policy: unknown key \"ruls\", did you mean \"rules\"?",
        ),
        (&["other.yaml"], "expected a Kubernetes object"),
        (&["profile.json"], "expected a Kubernetes object"),
        (
            &["--cmdline", "docker run --privileg x"],
            "unknown option --privileg, did you mean \"--privileged\"?",
        ),
        (&["missing.yaml"], "missing.yaml: No such file"),
        (&["preset:docker-default"], "is a seccomp profile"),
        (&["self", "-p", "pack:pss-basline"], "did you mean \"pss-baseline\"?"),
        (&["self", "--lock", "missing.lock"], "open missing.lock"),
        (&["--explain", "CIS-5.40", "-p", "pack:cis-docker-5"], "did you mean"),
        (&[], "required"),
    ] {
        let output = check(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text(&output.stderr).contains(expected), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty());
    }
}

/// Text that is all values is refused, or found to be no manifest, in 512 MiB of address space.
#[test]
fn hostile_text_takes_little_memory() {
    let directory = tempfile::tempdir().expect("directory");
    let keys: String = (0..990_000).map(|n| format!(" k{n}: 1\n")).collect();
    for (name, text) in [
        ("too-many.yaml", format!("a:\n{}", "- x\n".repeat(2_100_000))),
        ("lists.yaml", format!("a:\n{}", "- [[[x]]]\n".repeat(490_000))),
        ("keys.yaml", format!("a:\n{keys}")),
    ] {
        std::fs::write(directory.path().join(name), text).expect("written");
        let bounded = "ulimit -v 524288 && exec \"$0\" \"$@\"";
        let output =
            program("sh", directory.path(), &["-c", bounded, env!("CARGO_BIN_EXE_plim-check"), name, "-q"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(2)
                && (said.contains("expected a Kubernetes object")
                    || said.contains("more than 2000000 values")),
            "{name}: {:?} {said}",
            output.status
        );
    }
}

#[test]
fn from_a_pipe() {
    let pods = r#"{"apiVersion":"v1","kind":"List","items":[
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a","namespace":"n"},"spec":{"containers":[{"name":"c"}]}},
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"b","namespace":"n"},"spec":{"hostPID":true,"containers":[{"name":"c"}]}}]}"#;
    let output = fed(pods, &["-", "-p", "pack:pss-baseline", "--format", "json", "-q"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["format"], "1.0");
    let bad: Vec<&serde_json::Value> =
        json["findings"].as_array().expect("list").iter().filter(|f| f["outcome"] == "fail").collect();
    assert_eq!(bad.len(), 1);
    assert_eq!((&bad[0]["target"], &bad[0]["rule"]), (&"n/Pod/b".into(), &"PSS-hostNamespaces".into()));
    assert_eq!(bad[0]["where"], serde_json::json!({"file": "stdin", "line": 3}));
    assert_eq!(json["summary"]["targets"], 2);
}

#[test]
fn the_step_summary_is_appended() {
    let directory = tempfile::tempdir().expect("directory");
    let summary = directory.path().join("summary.md");
    let output = Command::new(env!("CARGO_BIN_EXE_plim-check"))
        .args(["--cmdline", "docker run --privileged x", "--format", "github", "-q"])
        .env("GITHUB_STEP_SUMMARY", &summary)
        .output()
        .expect("runs");
    assert!(text(&output.stdout).starts_with("::error title=DOCK-privileged (critical)::"));
    assert!(std::fs::read_to_string(&summary).expect("written").contains("❌"));
}

#[test]
fn locked_growth_fails_and_shrinkage_is_offered() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    let compose = |extra: &str| {
        let text = format!("services:\n  web:\n    image: web:1\n    cap_add: [NET_ADMIN]\n{extra}");
        std::fs::write(path.join("compose.yaml"), text).expect("written");
    };
    compose("");
    let made = lock(path, &["compose.yaml", "-o", "plim.lock"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let first = std::fs::read(path.join("plim.lock")).expect("lock");
    let refused = lock(path, &["compose.yaml", "-o", "plim.lock"]);
    assert!(text(&refused.stderr).contains("--update"), "{}", text(&refused.stderr));
    assert_eq!(check(path, &["compose.yaml", "--lock", "plim.lock"]).status.code(), Some(0));
    compose("    privileged: true\n");
    let grown = check(path, &["compose.yaml", "--lock", "plim.lock"]);
    assert_eq!(grown.status.code(), Some(1));
    assert!(text(&grown.stdout).contains("privileged: true, was false"), "{}", text(&grown.stdout));
    std::fs::write(path.join("compose.yaml"), "services:\n  web:\n    image: web:1\n").expect("written");
    let less = check(path, &["compose.yaml", "--lock", "plim.lock"]);
    assert_eq!(less.status.code(), Some(0));
    assert!(text(&less.stderr).contains("plim lock --update"), "{}", text(&less.stderr));
    assert_eq!(lock(path, &["--update", "-o", "plim.lock"]).status.code(), Some(0));
    assert_ne!(std::fs::read(path.join("plim.lock")).expect("lock"), first);
}

#[test]
fn this_process_is_locked_and_unlocked() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    let made = lock(path, &["self"]);
    let status = made.status.code();
    assert!(status == Some(0) || status == Some(3), "{}", text(&made.stderr));
    let again = check(path, &["self", "--lock", "plim.lock", "--format", "json", "-q"]);
    let json: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(json["summary"]["fail"], 0, "{json:#}");
}

#[test]
fn the_examples_lock_is_current() {
    let path = examples().join("plim.lock");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let _ = std::fs::remove_file(&path);
        let made = lock(&examples(), &["./compose", "./kubernetes", "-o", "plim.lock"]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    }
    let output = check(&examples(), &["./compose", "./kubernetes", "--lock", "plim.lock"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}

#[test]
fn policies_are_started_and_tested() {
    let tests = policy(&examples(), &["test", "plim-policy-test.yaml"]);
    assert_eq!(tests.status.code(), Some(0), "{}{}", text(&tests.stdout), text(&tests.stderr));
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("p.yaml").display().to_string();
    let made = policy(&examples(), &["init", "./compose", "-p", "pack:cis-docker-5", "-o", &file]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let output = check(&examples(), &["./compose", "-p", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let wrong = "format: \"1.0\"\npolicy: pack:docker-default\ntests:\n  - {name: t, cmdline: docker run x, expect: {fail: [DOCK-masked]}}\n";
    std::fs::write(directory.path().join("t.yaml"), wrong).expect("written");
    let failed = policy(directory.path(), &["test", "t.yaml"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        text(&failed.stdout).contains("DOCK-masked: expected fail, found pass"),
        "{}",
        text(&failed.stdout)
    );
    assert!(text(&policy(directory.path(), &["list"]).stdout).contains("pack:pss-restricted"));
}

/// What a test names is read before: files and directories beside the test, profiles that they name, and nothing that runs.
#[test]
fn tests_of_policies_are_confined() {
    let directory = tempfile::tempdir().expect("directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    file("ci/p.yaml", "format: \"1.0\"\nname: p\nextends: [\"pack:docker-default\"]\n");
    file("ci/own.json", "{\"defaultAction\": \"SCMP_ACT_ALLOW\"}");
    file(
        "ci/app/web.yaml",
        "services:\n  web:\n    image: x:1\n    security_opt: [\"seccomp:../own.json\"]\n",
    );
    file("ci/self", "services:\n  web: {image: \"x:1\", privileged: true}\n");
    file(
        "ci/t.yaml",
        "format: \"1.0\"\npolicy: p.yaml\ntests:\n\
         - {name: a, target: app/web.yaml, expect: {fail: [DOCK-seccomp]}}\n\
         - {name: b, target: app, expect: {fail: [DOCK-seccomp]}}\n\
         - {name: c, target: \"app\", expect: {fail: [DOCK-seccomp]}}\n\
         - {name: d, target: self, expect: {pass: [DOCK-privileged]}}\n\
         - {name: e, cmdline: docker run --security-opt seccomp=ci/own.json x:1, expect: {fail: [DOCK-seccomp]}}\n",
    );
    for flags in [&[][..], &["--no-self-confine"]] {
        let output = policy(directory.path(), &[&["test", "ci/t.yaml"], flags].concat());
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("4 tests hold, 1 do not") && said.contains("ci/t.yaml: d"), "{said}");
    }
    // An escape hides a name: that is said, and the flag helps.
    file(
        "ci/t.yaml",
        "format: \"1.0\"\npolicy: p.yaml\ntests:\n- {name: a, target: \"ap\\u0070\", expect: {fail: [DOCK-seccomp]}}\n",
    );
    let hidden = policy(directory.path(), &["test", "ci/t.yaml"]);
    assert_eq!(hidden.status.code(), Some(2));
    assert!(text(&hidden.stderr).contains("--no-self-confine"), "{}", text(&hidden.stderr));
    let open = policy(directory.path(), &["test", "ci/t.yaml", "--no-self-confine"]);
    assert_eq!(open.status.code(), Some(0), "{}", text(&open.stderr));
}

#[test]
fn saved_snapshots_whatever_the_order_of_their_keys() {
    let selected = plim_observe::find(Some("self"), "").expect("this process is there");
    let json = plim_observe::snapshot(&selected).expect("readable").to_json();
    let sorted: std::collections::BTreeMap<String, serde_json::Value> =
        json.as_object().expect("an object").clone().into_iter().collect();
    let sorted = serde_json::to_string_pretty(&sorted).expect("JSON");
    let arguments = ["-", "-p", "pack:ci-runner", "--format", "json", "-q"];
    let as_written = fed(&json.to_string(), &arguments);
    assert!(!as_written.stdout.is_empty(), "{}", text(&as_written.stderr));
    assert_eq!(text(&fed(&sorted, &arguments).stdout), text(&as_written.stdout));
    let listed = fed(&format!("[{json}, {sorted}]"), &arguments);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["summary"]["targets"], 2);
    // The last of two would count.
    let twice = sorted.replacen("\"no_new_privs\":", "\"no_new_privs\": true,\n  \"no_new_privs\":", 1);
    let line = 2 + sorted.lines().position(|line| line.contains("\"no_new_privs\":")).expect("the key");
    let refused = fed(&twice, &arguments);
    assert_eq!(refused.status.code(), Some(2));
    let expected = format!("stdin: line {line}, column 3: not JSON: key \"no_new_privs\" stands twice");
    let said = text(&refused.stderr);
    assert!(said.contains(&expected) || said.contains(&expected.replace("not JSON: ", "")), "{said}");
}

#[test]
fn named_files_are_found_beside_who_names_them() {
    let directory = tempfile::tempdir().expect("directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let profile = |names: &str| {
        format!(
            "{{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{{\"names\": [{names}], \"action\": \"SCMP_ACT_ALLOW\"}}]}}"
        )
    };
    file("ci/wide one.json", &profile("\"read\", \"write\", \"socket\""));
    file("app/narrow.json", &profile("\"read\""));
    file("app/wider.json", &profile("\"read\", \"bpf\""));
    let rule = "  - {id: A, title: t, severity: low, remedy: r, seccomp: {subset_of: \"wide one.json\"}}\n";
    file("ci/base.yaml", &format!("format: \"1.0\"\nname: base\nrules:\n{rule}"));
    file("ci/policy", "format: \"1.0\"\nname: p\nextends:\n  - base.yaml # beside this file\n");
    for (name, profile) in [("narrow", "./narrow.json"), ("wider", "wider.json")] {
        let service =
            format!("services:\n  {name}:\n    image: x:1\n    security_opt:\n      - seccomp:{profile}\n");
        file(&format!("app/{name}.yaml"), &service);
    }
    let status = |arguments: &[&str]| {
        let output =
            check(directory.path(), &[arguments, &["-p", "ci/policy", "--format", "json", "-q"]].concat());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), json["findings"][0]["evidence"].to_string() + &text(&output.stderr))
    };
    assert_eq!(status(&["app/narrow.yaml"]), (Some(0), "[]".to_owned()));
    let (code, evidence) = status(&["app/wider.yaml"]);
    assert!(code == Some(1) && evidence.contains("x86_64 bpf"), "{code:?} {evidence}");
    assert_eq!(status(&["--cmdline", "docker run --security-opt seccomp=app/narrow.json x:1"]).0, Some(0));
    assert_eq!(status(&["--cmdline", "docker run --security-opt=seccomp=app/wider.json x:1"]).0, Some(1));
    let (code, evidence) = status(&["--cmdline", "docker run --security-opt seccomp=missing.json x:1"]);
    assert!(code == Some(3) && evidence.contains("missing.json: not there"), "{code:?} {evidence}");
    assert_eq!(status(&["--no-self-confine", "app/wider.yaml"]).0, Some(1));
}

/// `Seccomp_filters` and `NoNewPrivs` of a process.
fn confinement(pid: u32) -> (u32, u32) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    (field("Seccomp_filters"), field("NoNewPrivs"))
}

#[test]
fn nothing_is_parsed_before_the_process_is_confined() {
    let here = confinement(std::process::id());
    let directory = tempfile::tempdir().expect("directory");
    // More than a pipe holds: the program waits while it writes, in threads and out of them all done.
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c}]}\n---\n".repeat(400);
    std::fs::write(directory.path().join("pods.yaml"), &pod).expect("written");
    let test = format!(
        "  - {{name: {}, cmdline: docker run x, expect: {{fail: [DOCK-masked]}}}}\n",
        "n".repeat(200)
    );
    let tests = format!("format: \"1.0\"\npolicy: pack:docker-default\ntests:\n{}", test.repeat(400));
    std::fs::write(directory.path().join("tests.yaml"), &tests).expect("written");
    let judging = ["pods.yaml", "-p", "pack:pss-restricted", "--format", "json", "-q"];
    let check = (env!("CARGO_BIN_EXE_plim-check"), &judging[..], "\"targets\": 400");
    let policy = (env!("CARGO_BIN_EXE_plim-policy"), &["test", "tests.yaml"][..], "0 tests hold, 400 do not");
    // Two filters while it looks, two more before it judges.
    for (program, arguments, last) in [check, policy] {
        for (flag, expected) in [(None, (here.0 + 4, 1)), (Some("--no-self-confine"), here)] {
            let mut child = Command::new(program)
                .args(arguments)
                .args(flag)
                .current_dir(directory.path())
                .stdout(Stdio::piped())
                .spawn()
                .expect("starts");
            let mut first = [0];
            let mut stdout = child.stdout.take().expect("stdout");
            std::io::Read::read_exact(&mut stdout, &mut first).expect("the first letter");
            assert_eq!(confinement(child.id()), expected, "{program} {flag:?}");
            let mut rest = Vec::new();
            std::io::Read::read_to_end(&mut stdout, &mut rest).expect("the rest");
            assert_eq!(child.wait().expect("ends").code(), Some(1));
            assert!(rest.len() > 65536 && text(&rest).contains(last), "{program} {flag:?}");
        }
    }
}
