//! `plim-diff` from outside: what it prints, where, and with which exit status.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Files {
        Files(tempfile::tempdir().expect("temporary directory"))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("test file");
        path.to_str().expect("text").to_owned()
    }

    fn json(&self, name: &str, value: &Value) -> String {
        self.write(name, value.to_string())
    }
}

fn diff(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_plim-diff"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("starts")
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Profiles are resolved for named facts, so that every machine gives the same answer.
const FACTS: [&str; 4] = ["--arch", "x86_64", "--kernel", "6.1"];

fn profiles(a: &str, b: &str, more: &[&str]) -> Output {
    diff(&[&[a, b], &FACTS[..], more].concat())
}

/// A snapshot of this process, as `plim inspect` would save it.
fn snapshot_of_self() -> Value {
    let selected = plim_observe::find(Some("self"), "").expect("this process is there");
    let mut snapshot = plim_observe::snapshot(&selected).expect("readable");
    // What cannot be read here depends on the machine: start from a snapshot in which all is known.
    let mut json = snapshot.to_json();
    json["unknown"] = json!([]);
    snapshot = plim_model::Snapshot::from_json(json).expect("own output");
    snapshot.to_json()
}

#[test]
fn the_class_exercise_socket_is_the_difference() {
    let output = profiles("preset:docker-default", "preset:tcpdump", &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let json: Value = serde_json::from_str(&out(&output)).expect("JSON");
    assert_eq!((&json["format"], &json["same"]), (&json!("1.2"), &json!(false)));
    let changes = json["changes"].as_array().expect("array");
    let arches: Vec<&str> = changes.iter().filter_map(|c| c["arch"].as_str()).collect();
    assert_eq!(arches, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for change in changes {
        assert_eq!(change["area"], "seccomp");
        assert_eq!(change["syscall"], "socket");
        assert_eq!(change["before"], json!({"action": "SCMP_ACT_ALLOW"}));
        assert_eq!(change["after"], json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}));
        assert_eq!(change["effect"], "less");
    }
    assert_eq!(changes[0]["number"], 41);
    // And what the profile leaves open: a 32-bit program still gets its socket.
    let findings = json["findings"].as_array().expect("array");
    assert_eq!(findings.len(), 1, "{findings:?}");
    let expected = json!({"id": "PLIM-S002", "side": "b", "arch": "i386", "syscall": "socketcall",
        "witness": {"nr": 102, "args": ["0x1", "0x0", "0x0", "0x0", "0x0", "0x0"]}});
    for (key, value) in expected.as_object().expect("object") {
        assert_eq!(&findings[0][key], value, "{key}");
    }
    // Seen from the other side it is the same one.
    let back = out(&profiles("preset:tcpdump", "preset:class-default", &["--format", "json"]));
    let back: Value = serde_json::from_str(&back).expect("JSON");
    assert_eq!(
        (&back["findings"][0]["side"], &back["findings"][0]["id"]),
        (&json!("a"), &json!("PLIM-S002"))
    );

    let table = out(&profiles("preset:docker-default", "preset:tcpdump", &[]));
    assert_eq!(table.lines().count(), 3, "three architectures that agree are one row: {table}");
    assert!(
        table.contains("\n!  PLIM-S002 in B: socketcall on i386 still does what is refused as socket"),
        "{table}"
    );
    assert!(
        table.contains("socket (x86_64, i386, x32)") && table.contains("SCMP_ACT_ERRNO (EPERM)"),
        "{table}"
    );

    let unified = out(&profiles("preset:docker-default", "preset:tcpdump", &["--format", "unified"]));
    assert!(unified.starts_with("--- preset:docker-default\n+++ preset:tcpdump\n@@ "), "{unified}");
    assert!(unified.contains("\n+x86_64 socket: SCMP_ACT_ERRNO (EPERM)\n"), "{unified}");
    assert!(
        unified.contains("\n i386 socketcall: SCMP_ACT_ALLOW\n"),
        "the way that stays open is in sight: {unified}"
    );
}

#[test]
fn conditions_are_put_in_names_or_in_numbers() {
    for (flags, expected) in [
        (&[][..], "family not in {AF_ALG, AF_VSOCK}"),
        (&["--names"], "family not in {AF_ALG, AF_VSOCK}"),
        (&["--no-names"], "arg0 not in {38, 40}"),
        (&["--no-names", "--names"], "family not in {AF_ALG, AF_VSOCK}"),
    ] {
        let table = out(&profiles("preset:docker-default", "preset:tcpdump", flags));
        assert!(table.contains(expected), "{flags:?}: {table}");
    }
}

#[test]
fn same_is_zero_and_says_so() {
    let output = profiles("preset:tcpdump", "preset:tcpdump", &[]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), "no difference\n"));
    let json: Value =
        serde_json::from_str(&out(&profiles("preset:tcpdump", "preset:tcpdump", &["--format", "json"])))
            .expect("JSON");
    assert_eq!(json, json!({"format": "1.2", "same": true, "changes": []}));
    let unified = profiles("preset:tcpdump", "preset:tcpdump", &["--format", "unified"]);
    assert_eq!(out(&unified), "");
}

#[test]
fn meaning_is_compared_and_not_text() {
    let files = Files::new();
    let one = files.json(
        "one.json",
        &json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}),
    );
    let other = files.json(
        "other.json",
        &json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
            {"names": ["bpf"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "comment": "out"},
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"}]}),
    );
    let output = profiles(&one, &other, &[]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
}

#[test]
fn facts_decide_what_a_profile_means() {
    let files = Files::new();
    let entry = |includes: Value| {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": includes}]})
    };
    let with_cap = files.json("cap.json", &entry(json!({"caps": ["CAP_BPF"]})));
    let with_kernel = files.json("kernel.json", &entry(json!({"minKernel": "6.5"})));
    let nothing = files.json("nothing.json", &json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}));
    let status = |a: &str, more: &[&str]| diff(&[&[a, nothing.as_str()], more].concat()).status.code();
    assert_eq!(status(&with_cap, &["--kernel", "6.1", "--arch", "x86_64"]), Some(0));
    assert_eq!(status(&with_cap, &["--kernel", "6.1", "--arch", "x86_64", "--caps", "bpf"]), Some(1));
    assert_eq!(status(&with_cap, &["--kernel", "6.1", "--arch", "x86_64", "--caps", "all"]), Some(1));
    assert_eq!(status(&with_cap, &["--kernel", "6.1", "--arch", "x86_64", "--caps", "none"]), Some(0));
    assert_eq!(status(&with_kernel, &["--kernel", "6.1", "--arch", "aarch64"]), Some(0));
    assert_eq!(status(&with_kernel, &["--kernel", "6.5.0-rc1", "--arch", "aarch64"]), Some(1));
}

#[test]
fn claims() {
    let (docker, tcpdump) = ("preset:docker-default", "preset:tcpdump");
    for (a, b, claim, status, words) in [
        (tcpdump, docker, "subset", 0, "the claim \"A reaches nothing that B does not\" holds"),
        (docker, tcpdump, "subset", 1, "the claim \"A reaches nothing that B does not\" does not hold"),
        (docker, docker, "subset", 0, "holds"),
        (docker, docker, "same", 0, "the claim \"A and B are the same\" holds"),
        (tcpdump, docker, "same", 1, "the claim \"A and B are the same\" does not hold"),
    ] {
        let output = profiles(a, b, &["--require", claim]);
        assert_eq!(output.status.code(), Some(status), "{a} {b} {claim}");
        assert!(err(&output).contains(words), "{}", err(&output));
        let quiet = profiles(a, b, &["--require", claim, "-q"]);
        assert_eq!((quiet.status.code(), err(&quiet).as_str()), (Some(status), ""));
    }
    // Another error number reaches neither more nor less.
    let files = Files::new();
    let with =
        |errno: u32| json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": errno, "syscalls": []});
    let (eperm, enosys) = (files.json("1.json", &with(1)), files.json("38.json", &with(38)));
    assert_eq!(profiles(&eperm, &enosys, &["--require", "subset"]).status.code(), Some(0));
    assert_eq!(profiles(&eperm, &enosys, &["--require", "same"]).status.code(), Some(1));
}

#[test]
fn saved_snapshots() {
    let files = Files::new();
    let base = snapshot_of_self();
    let a = files.json("a.json", &base);
    assert_eq!(diff(&[&a, &a]).status.code(), Some(0), "{}", err(&diff(&[&a, &a])));

    let mut edited = base.clone();
    edited["capabilities"]["bounding"] = json!(["CAP_CHOWN"]);
    edited["no_new_privs"] = json!(true);
    edited["target"]["id"] = json!("other");
    let b = files.json("b.json", &edited);
    let output = diff(&[&a, &b, "--only", "capabilities", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_str(&out(&output)).expect("JSON");
    let changes = json["changes"].as_array().expect("array");
    assert!(changes.iter().any(|c| c["path"] == "/no_new_privs" && c["effect"] == "less"), "{json}");
    assert_eq!(diff(&[&a, &b, "--only", "mounts,cgroups"]).status.code(), Some(0));
    assert_eq!(diff(&[&b, &a, "--only", "capabilities", "--require", "subset"]).status.code(), Some(0));
    assert_eq!(diff(&[&a, &b, "--only", "capabilities", "--require", "subset"]).status.code(), Some(1));
    let unified = out(&diff(&[&a, &b, "--format", "unified"]));
    assert!(unified.contains("-no_new_privs = false\n+no_new_privs = true\n"), "{unified}");
}

#[test]
fn unknown_is_status_3_with_its_place_and_reason() {
    let files = Files::new();
    let base = snapshot_of_self();
    let mut blind = base.clone();
    blind["user"] = Value::Null;
    blind["unknown"] = json!([{"path": "/user", "why": "open /proc/7/status: EACCES"}]);
    let (a, b) = (files.json("a.json", &base), files.json("b.json", &blind));
    for more in [&[][..], &["--require", "same"], &["--require", "subset"], &["-q"], &["--format", "json"]] {
        let output = diff(&[&[a.as_str(), b.as_str()], more].concat());
        assert_eq!(output.status.code(), Some(3), "{more:?}");
        assert!(
            err(&output).contains("unknown in B: user: open /proc/7/status: EACCES: /user"),
            "{}",
            err(&output)
        );
        assert!(!out(&output).contains("no difference\n"), "{}", out(&output));
    }
    let json: Value = serde_json::from_str(&out(&diff(&[&a, &b, "--format", "json"]))).expect("JSON");
    assert_eq!((&json["same"], &json["unknown"][0]["path"]), (&json!(false), &json!("/user")));
    assert_eq!(diff(&[&a, &b, "--only", "mounts"]).status.code(), Some(0), "it does not matter there");
    // A difference that was found stays one.
    let mut both = blind;
    both["no_new_privs"] = json!(true);
    let c = files.json("c.json", &both);
    assert_eq!(diff(&[&a, &c]).status.code(), Some(1));
}

#[test]
fn a_live_process_against_files_and_itself() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep starts");
    let name = format!("pid:{}", sleeper.id());
    let files = Files::new();
    let off = files.write("off.json", r#"{"syscalls": []}"#);
    let areas = ["--only", "capabilities,user,rlimits,seccomp"];
    let same = diff(&[&[name.as_str(), name.as_str()], &areas[..]].concat());
    let profile = diff(&[&name, &off, "--only", "seccomp"]);
    let default = diff(&[&name, "preset:docker-default", "--require", "subset"]);
    sleeper.kill().expect("it is ours");
    sleeper.wait().expect("it is ours");
    assert_eq!(same.status.code(), Some(0), "{}{}", out(&same), err(&same));
    // The tests' own process may be confined; then its children are too, and the comparison says what differs.
    if std::fs::read_to_string("/proc/self/status").expect("readable").contains("\nSeccomp:\t0\n") {
        assert_eq!(profile.status.code(), Some(0), "{}{}", out(&profile), err(&profile));
        assert_eq!(default.status.code(), Some(1), "no filter reaches more than Docker's");
    }
    let gone = diff(&[&name, "self"]);
    assert_eq!(gone.status.code(), Some(2));
    assert!(err(&gone).contains(&format!("target {name}: ")), "{}", err(&gone));
}

#[test]
fn raw_filters() {
    let files = Files::new();
    let insn = |code: u16, jt: u8, jf: u8, k: u32| {
        let mut bytes = code.to_le_bytes().to_vec();
        bytes.extend([jt, jf]);
        bytes.extend(k.to_le_bytes());
        bytes
    };
    let program = |number: u32| {
        [
            insn(0x20, 0, 0, 0),
            insn(0x15, 0, 1, number),
            insn(0x06, 0, 0, 0x0005_0001),
            insn(0x06, 0, 0, 0x7fff_0000),
        ]
        .concat()
    };
    let (a, b) = (files.write("a.bpf", program(0xffff)), files.write("b.bpf", program(41)));
    assert_eq!(diff(&[&a, &a]).status.code(), Some(0));
    let output = diff(&[&a, &b, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let json: Value = serde_json::from_str(&out(&output)).expect("JSON");
    let socket = json["changes"].as_array().expect("array").iter().find(|c| c["syscall"] == "socket");
    assert!(socket.is_some(), "{json}");
    // A name says nothing about the content.
    let named_json = files.write("filter.json", program(41));
    assert_eq!(diff(&[&b, &named_json]).status.code(), Some(0));
}

#[test]
fn bad_input_is_one_clear_error_and_status_2() {
    let files = Files::new();
    let good = "preset:docker-default";
    let profile =
        |syscalls: Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls}).to_string();
    let mut cut = snapshot_of_self().to_string();
    cut.truncate(cut.len() / 2);
    let cases: Vec<(String, &str)> = vec![
        ("/no/such/file.json".to_owned(), "read /no/such/file.json: No such file"),
        (files.write("empty.json", ""), "file is empty"),
        (files.write("cut.json", cut), "not JSON: EOF"),
        (files.write("text.json", "hello"), "text that is neither JSON"),
        (files.write("array.json", "[]"), "found an array"),
        (files.write("other.json", "{\"a\": 1}"), "JSON object with the keys \"a\""),
        (
            files.write("pod.yaml", "apiVersion: v1\nkind: Pod\n"),
            "a Kubernetes manifest is not supported by this tool yet",
        ),
        (
            files.write("compose.yaml", "services:\n  a: {}\n"),
            "a Compose file is not supported by this tool yet",
        ),
        (files.write("odd.bpf", [0u8; 9]), "binary of 9 bytes"),
        (files.write("bad.bpf", [0xffu8; 16]), "BPF program: "),
        (
            files.write("major.json", r#"{"format": "2.0", "target": {}}"#),
            "snapshot format \"2.0\" is not supported",
        ),
        (
            files.write("half.json", r#"{"format": "1.0", "target": {}}"#),
            "at /target: missing field `engine`",
        ),
        (
            files.write("name.json", profile(json!([{"names": ["opne"], "action": "SCMP_ACT_ALLOW"}]))),
            "did you mean \"open\"?",
        ),
        (
            files.write("action.json", profile(json!([{"names": ["open"], "action": "SCMP_ACT_ALOW"}]))),
            "/syscalls/0/action: found \"SCMP_ACT_ALOW\"",
        ),
        (
            files.write("key.json", r#"{"defaultAction": "SCMP_ACT_ALLOW", "sycalls": []}"#),
            "did you mean \"syscalls\"?",
        ),
        ("preset:docker-defualt".to_owned(), "did you mean \"docker-default\"?"),
        ("dokcer:web".to_owned(), "did you mean \"docker\"?"),
        ("pid:0".to_owned(), "expected a process id from 1"),
        ("pid:2147483647".to_owned(), "target pid:2147483647: "),
        (String::new(), "target name is empty"),
        (files.0.path().to_str().expect("text").to_owned() + "/", "Is a directory"),
    ];
    for (target, expected) in cases {
        for arguments in [[target.as_str(), good], [good, target.as_str()]] {
            let output = profiles(arguments[0], arguments[1], &[]);
            assert_eq!(output.status.code(), Some(2), "{target}: {}", err(&output));
            assert!(err(&output).contains(expected), "{target}: {}", err(&output));
            assert!(
                err(&output).starts_with("plim-diff: ") && err(&output).lines().count() == 1,
                "{}",
                err(&output)
            );
            assert_eq!(out(&output), "");
        }
    }
}

#[test]
fn bad_arguments_are_status_2_with_the_nearest() {
    let good = ["preset:tcpdump", "preset:docker-default"];
    for (more, expected) in [
        (&["--only", "capabilites"][..], "capabilities"),
        (
            &["--only", "mounts"],
            "--only mounts: preset:tcpdump is a seccomp profile, which has seccomp alone",
        ),
        (&["--format", "jsno"], "json"),
        (&["--require", "superset"], "subset"),
        (&["--arch", "x86-65"], "unknown architecture"),
        (&["--caps", "NET_ROW"], "did you mean \"CAP_NET_RAW\"?"),
        (&["--kernel", "six"], "expected a kernel release such as 6.1"),
        (&["--color", "sometimes"], "always"),
        (&["third"], "unexpected argument"),
    ] {
        let output = diff(&[&good[..], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(err(&output).contains(expected), "{more:?}: {}", err(&output));
        assert_eq!(out(&output), "");
    }
    assert_eq!(diff(&["preset:tcpdump"]).status.code(), Some(2));
    let twice = diff(&["-", "-"]);
    assert!(err(&twice).contains("stdin can be read once"), "{}", err(&twice));
}

#[test]
fn unknown_names_can_be_skipped_but_not_silently() {
    let files = Files::new();
    let profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["read", "opne"], "action": "SCMP_ACT_ALLOW"}]});
    let path = files.json("p.json", &profile);
    let output = profiles(&path, &path, &["--skip-unknown-names"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        err(&output).contains("unknown system call \"opne\", did you mean \"open\"?"),
        "{}",
        err(&output)
    );
}

#[test]
fn stdin_output_file_colour_and_pipes() {
    let files = Files::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_plim-diff"))
        .args(["-", "preset:tcpdump"])
        .args(FACTS)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let preset = plim_seccomp::presets::get("tcpdump").expect("shipped");
    child.stdin.take().expect("piped").write_all(preset.as_bytes()).expect("reads");
    assert_eq!(child.wait_with_output().expect("ends").status.code(), Some(0));

    let place = files.0.path().join("out.json");
    let place_text = place.to_str().expect("text");
    let output = profiles("preset:docker-default", "preset:tcpdump", &["--format", "json", "-o", place_text]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(1), ""));
    let written: Value = serde_json::from_slice(&std::fs::read(&place).expect("written")).expect("whole");
    assert_eq!(written["same"], false);
    let nowhere = profiles("preset:tcpdump", "preset:tcpdump", &["-o", "/no/such/place/out"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(err(&nowhere).contains("/no/such/place"), "{}", err(&nowhere));

    let plain = profiles("preset:docker-default", "preset:tcpdump", &[]);
    let coloured = profiles("preset:docker-default", "preset:tcpdump", &["--color", "always"]);
    assert!(!out(&plain).contains('\x1b') && out(&coloured).contains('\x1b'));

    let (reader, writer) = std::io::pipe().expect("pipe");
    drop(reader);
    let broken = Command::new(env!("CARGO_BIN_EXE_plim-diff"))
        .args(["preset:docker-default", "preset:tcpdump", "--format", "json"])
        .args(FACTS)
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .expect("starts");
    assert_eq!((broken.status.code(), err(&broken).as_str()), (Some(141), ""), "a broken pipe is quiet");
}

#[test]
fn help_version_and_completions() {
    let help = diff(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(out(&help).contains("A reaches nothing that B does not") && out(&help).contains("Exit status"));
    assert!(!out(&help).contains("--generate"));
    assert!(out(&diff(&["--version"])).starts_with("plim-diff "));
    for shell in ["bash", "zsh", "fish", "man"] {
        let output = diff(&["--generate", shell]);
        assert!(output.status.success() && out(&output).contains("require"), "{shell}");
    }
}

#[test]
fn same_input_same_bytes() {
    let run = |format| out(&profiles("preset:docker-default", "preset:tcpdump", &["--format", format]));
    for format in ["table", "json", "unified"] {
        assert_eq!(run(format), run(format));
    }
}
