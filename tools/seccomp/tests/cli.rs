//! `plim-seccomp` from outside: what it prints, where, and with which exit status. Everything runs confined, as for a user.

mod common;

use common::{Files, err, json, out, run, run_with};
use serde_json::json;

const FACTS: [&str; 4] = ["--arch", "x86_64", "--kernel", "6.1"];

fn with_facts(arguments: &[&str]) -> std::process::Output {
    run(&[arguments, &FACTS].concat())
}

#[test]
fn the_class_profile_is_within_the_default_and_not_the_other_way_round() {
    let (docker, tcpdump) = ("preset:docker-default", "preset:tcpdump");
    let output = with_facts(&["subset", tcpdump, docker]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).starts_with("holds: preset:tcpdump permits nothing"), "{}", out(&output));

    let output = with_facts(&["subset", docker, tcpdump, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let claim = json(&output);
    assert_eq!((&claim["holds"], &claim["format"]), (&json!(false), &json!("1.0")));
    let witness = &claim["witness"];
    assert_eq!(
        (&witness["syscall"], &witness["nr"], &witness["arch"]),
        (&json!("socket"), &json!(41), &json!("x86_64"))
    );
    assert_eq!(witness["args"], json!(["0x0", "0x0", "0x0", "0x0", "0x0", "0x0"]));
    assert_eq!(witness["a"], json!({"action": "SCMP_ACT_ALLOW"}));
    assert_eq!(witness["b"], json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}));

    // The witness is a call that eval takes, and both sides answer as it says.
    let call = json!({"arch": witness["arch"], "syscall": witness["syscall"], "nr": witness["nr"], "args": witness["args"]});
    for (side, expected) in [
        (docker, json!({"action": "SCMP_ACT_ALLOW"})),
        (tcpdump, json!({"action": "SCMP_ACT_ERRNO", "errno": 1})),
    ] {
        let output = run_with(&[&["eval", side], &FACTS[..]].concat(), call.to_string().as_bytes());
        assert_eq!(json(&output), expected, "{}", err(&output));
    }

    let output = with_facts(&["equal", tcpdump, tcpdump, "--format", "json"]);
    assert_eq!(
        (output.status.code(), json(&output)),
        (Some(0), json!({"format": "1.0", "holds": true, "witness": null}))
    );
    assert_eq!(with_facts(&["equal", tcpdump, docker]).status.code(), Some(1));
}

#[test]
fn a_compiled_profile_is_the_profile() {
    let files = Files::new();
    let filter = files.path("filter.bpf");
    let output = with_facts(&["compile", "preset:docker-default", "-o", &filter]);
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""), "{}", err(&output));
    let bytes = std::fs::read(&filter).expect("written");
    assert_eq!(bytes.len() % 8, 0);
    assert_eq!(bytes[..8], [0x20, 0, 0, 0, 4, 0, 0, 0], "little-endian: A = arch");
    let output = with_facts(&["equal", &filter, "preset:docker-default"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", out(&output), err(&output));
    // Two ways to write the same bytes.
    let piped = with_facts(&["compile", "preset:docker-default"]);
    assert_eq!(piped.stdout, bytes);
    let text = out(&run(&["disasm", &filter]));
    assert!(text.starts_with("   0: 0x20 0x00 0x00 0x00000004  A = arch\n"), "{text}");
    assert!(text.contains("return SCMP_ACT_ERRNO (EPERM)"), "{text}");
    let filters = json(&run(&["disasm", &filter, "--format", "json"]));
    let instructions = filters["filters"][0]["instructions"].as_array().expect("a list");
    assert_eq!(instructions.len(), bytes.len() / 8);
    assert_eq!(instructions[0], json!({"code": 32, "jt": 0, "jf": 0, "k": 4, "text": "A = arch"}));
    // A filter is no profile.
    let output = run(&["compile", &filter]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("is a filter already"), "{}", err(&output));
}

#[test]
fn eval_answers_in_order_and_names_the_wrong_line() {
    let files = Files::new();
    let calls = files.write(
        "calls",
        concat!(
            "{\"arch\":\"x86_64\",\"nr\":41,\"args\":[1]}\n",
            "{\"arch\":\"x86_64\",\"syscall\":\"socket\",\"args\":[\"0x28\"]}\n",
            "\n",
            "{\"arch\":\"x32\",\"nr\":1073741865}\n",
            "{\"arch\":\"i386\",\"syscall\":\"socketcall\"}\n",
            "{\"arch\":\"aarch64\",\"syscall\":\"socket\"}\n",
        ),
    );
    let output = with_facts(&["eval", "preset:docker-default", "--calls", &calls]);
    let expected = [
        r#"{"action":"SCMP_ACT_ALLOW"}"#,
        r#"{"action":"SCMP_ACT_ERRNO","errno":1}"#,
        r#"{"action":"SCMP_ACT_ALLOW"}"#,
        r#"{"action":"SCMP_ACT_ALLOW"}"#,
        r#"{"action":"SCMP_ACT_KILL_THREAD"}"#,
    ];
    assert_eq!(out(&output).lines().collect::<Vec<_>>(), expected, "{}", err(&output));
    assert_eq!(output.status.code(), Some(0));

    let answers = files.path("answers");
    let output = run_with(
        &["eval", "preset:docker-default", "-o", &answers],
        b"{\"arch\":\"x86_64\",\"nr\":0}\n{\"arch\":\"x86_64\",\"nr\":5e9}\n",
    );
    assert_eq!(output.status.code(), Some(2));
    let error = err(&output);
    assert!(error.contains("stdin: line 2: /nr: found 5000000000"), "{error}");
    assert!(!std::path::Path::new(&answers).exists(), "nothing half written");
    assert_eq!(files.count(), 1, "and nothing left behind");
}

#[test]
fn show_says_every_condition() {
    let output = with_facts(&["show", "preset:docker-default"]);
    let text = out(&output);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(
        text.contains("x86_64: ") && text.contains("every other architecture: SCMP_ACT_KILL_THREAD"),
        "{text}"
    );
    let socket =
        text.lines().find(|line| line.contains("socket  ") && line.contains("family")).expect("a row");
    assert!(socket.contains("AF_VSOCK"), "{socket}");
    let shown = json(&with_facts(&["show", "preset:docker-default", "--format", "json"]));
    let arch = &shown["arches"][0];
    assert_eq!(arch["arch"], "SCMP_ARCH_X86_64");
    let call = |name: &str| {
        let calls = arch["calls"].as_array().expect("a list");
        calls.iter().find(|call| call["syscall"] == name).expect(name).clone()
    };
    assert_eq!(
        call("read"),
        json!({"syscall": "read", "nr": 0, "cases": [{"when": null, "action": "SCMP_ACT_ALLOW"}]})
    );
    let clone = &call("clone")["cases"];
    assert!(clone[0]["when"].as_str().is_some_and(|when| when.contains("CLONE_NEWUSER")), "{clone}");
    assert_eq!(shown["elsewhere"], json!([{"when": null, "action": "SCMP_ACT_KILL_THREAD"}]));
}

#[test]
fn pictures_are_files_of_their_own() {
    let files = Files::new();
    for format in ["svg", "html"] {
        let path = files.path(format);
        let output = with_facts(&["show", "preset:docker-default", "--format", format, "-o", &path]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let text = std::fs::read_to_string(&path).expect("written");
        assert!(text.contains("<title>socket (41)\n") && text.contains("url(#plim-allow-errno)"));
        assert!(!text.contains("<script") && !text.contains("http://www.w3.org/1999/xlink"));
    }
}

#[test]
fn numbers_over_all_architectures() {
    let text = out(&run(&["table", "socket"]));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..4], ["SYSCALL", "x86_64", "i386", "x32"]);
    assert_eq!(rows[1][..4], ["socket", "41", "359", "1073741865"]);
    let numbers = &json(&run(&["table", "socket", "--format", "json"]))["syscalls"][0]["numbers"];
    assert_eq!((&numbers["s390x"], &numbers["aarch64"]), (&json!(359), &json!(198)));
    let output = run(&["table", "sokcet"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("did you mean \"socket\"?"), "{}", err(&output));
}

#[test]
fn the_dialects_say_what_they_cannot() {
    let files = Files::new();
    let profile = files.write(
        "profile.json",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/l", "syscalls": [
            {"names": ["bpf"], "action": "SCMP_ACT_NOTIFY", "includes": {"caps": ["CAP_BPF"]}, "comment": "why"}]})
        .to_string(),
    );
    let output = with_facts(&["convert", &profile, "--to", "oci"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(json(&output)["syscalls"], json!([]), "Docker's default capabilities have no CAP_BPF");
    assert!(
        err(&output).contains("settled: /syscalls/0/includes: under these facts the entry does not apply")
    );
    assert!(err(&output).contains("dropped: /syscalls/0/comment"));
    let output = with_facts(&["convert", &profile, "--to", "podman", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "a listener is lost");
    let fates: Vec<String> = json(&output)["unsaid"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|unsaid| format!("{} {}", unsaid["fate"], unsaid["pointer"]).replace('"', ""))
        .collect();
    assert_eq!(fates, ["lost /listenerPath", "lost /syscalls/0/action"]);
}

#[test]
fn engines_install_another_filter_than_is_written() {
    let files = Files::new();
    let profile = files.write(
        "profile.json",
        json!({"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"], "syscalls": [
            {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]})
        .to_string(),
    );
    let call = b"{\"arch\":\"i386\",\"syscall\":\"socketcall\",\"args\":[1]}";
    let answer = |more: &[&str]| {
        let output = run_with(&[&["eval", profile.as_str()], &FACTS[..], more].concat(), call);
        json(&output)["action"].as_str().expect("an action").to_owned()
    };
    assert_eq!(answer(&[]), "SCMP_ACT_ERRNO");
    assert_eq!(answer(&["--as", "written"]), "SCMP_ACT_ERRNO");
    assert_eq!(answer(&["--as", "runc", "--libseccomp", "2.5.4"]), "SCMP_ACT_ALLOW");
    let output = with_facts(&["show", &profile, "--as", "runc"]);
    assert!(err(&output).contains("/syscalls/0: ruled in socketcall too"), "{}", err(&output));
    assert_eq!(err(&with_facts(&["show", &profile, "--as", "runc", "-q"])), "");
    for (flag, word, expected) in
        [("--as", "crum", "did you mean \"crun\"?"), ("--libseccomp", "2.5.44", "did you mean \"2.5.4\"?")]
    {
        let output = with_facts(&["show", &profile, flag, word]);
        assert_eq!(output.status.code(), Some(2));
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
    let output =
        with_facts(&["explain", &profile, "socketcall", "call=1", "--call-arch", "i386", "--as", "runc"]);
    let said = out(&output);
    assert!(said.contains("SCMP_ACT_ALLOW\n  decided by: /syscalls/0\n"), "{said}");
    assert!(said.contains("would change it: with call != SYS_SOCKET: then SCMP_ACT_ERRNO (EPERM)"), "{said}");
    assert!(said.contains("note: /syscalls/0: ruled in socketcall too"), "{said}");
    let output = with_facts(&["explain", &profile, "socketcall"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("i386 has: add --call-arch i386"), "{}", err(&output));
    // A fact that would not count is no fact to pass over.
    for (args, expected) in [
        (&["show", &profile, "--libseccomp", "2.5.4"][..], "name one with --as"),
        (&["equal", &profile, &profile, "--as", "written", "--libseccomp", "2.5.4"], "name one with --as"),
        (&["convert", &profile, "--to", "oci", "--as", "runc"], "decompile PROFILE --as ENGINE"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
    assert!(matches!(with_facts(&["lint", &profile, "--libseccomp", "2.5.4"]).status.code(), Some(0 | 1)));
    // What is compiled is what is installed.
    let filter = files.path("filter.bpf");
    let output = with_facts(&["compile", &profile, "--as", "crun", "-o", &filter]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert_eq!(with_facts(&["equal", &profile, &filter, "--as", "crun"]).status.code(), Some(0));
    assert_eq!(with_facts(&["equal", &profile, &filter]).status.code(), Some(1));
}

#[test]
fn a_filter_becomes_a_profile_that_is_proven_equal() {
    let files = Files::new();
    let (filter, profile) = (files.path("filter.bpf"), files.path("profile.json"));
    with_facts(&["compile", "preset:docker-default", "-o", &filter]);
    let output = run(&["decompile", &filter, "-o", &profile]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(err(&output).contains("proven: the profile means the same"), "{}", err(&output));
    assert_eq!(with_facts(&["equal", &profile, "preset:docker-default"]).status.code(), Some(0));

    // Kills what is foreign with the process: no profile says that.
    let insn =
        |code: u16, jt: u8, jf: u8, k: u32| [&code.to_le_bytes()[..], &[jt, jf], &k.to_le_bytes()].concat();
    let odd = [
        insn(0x20, 0, 0, 4),
        insn(0x15, 1, 0, 0xc000_003e),
        insn(0x06, 0, 0, 0x8000_0000),
        insn(0x06, 0, 0, 0x7fff_0000),
    ];
    let odd = files.write("odd.bpf", odd.concat());
    let output = run(&["decompile", &odd, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let back = json(&output);
    assert_eq!(back["exact"], false);
    assert_eq!(back["lost"][0]["before"], json!({"action": "SCMP_ACT_KILL_PROCESS"}));
    assert!(err(&output).contains("differs: other architectures"), "{}", err(&output));
}

#[test]
fn merged_profiles_mean_what_either_or_both_permit() {
    let files = Files::new();
    let (a, b) = ("preset:docker-default", "preset:tcpdump");
    for (how, same_as) in [("--union", a), ("--intersect", b)] {
        let merged = files.path("merged.json");
        let output = with_facts(&["merge", a, b, how, "-o", &merged]);
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        assert_eq!(with_facts(&["equal", &merged, same_as]).status.code(), Some(0), "{how}");
    }
    assert_eq!(with_facts(&["merge", a, b]).status.code(), Some(2));
    assert_eq!(with_facts(&["merge", a, b, "--union", "--intersect"]).status.code(), Some(2));
}

#[test]
fn explain_names_the_rule_and_the_way_through_a_filter() {
    let output =
        with_facts(&["explain", "preset:docker-default", "socket", "family=AF_VSOCK", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let answer = json(&output);
    assert_eq!(answer["outcomes"][0]["action"], json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"}));
    let table = out(&with_facts(&["explain", "preset:docker-default", "clone3"]));
    assert!(table.contains("decided by: /syscalls/") && table.contains("callers fall back"), "{table}");
    let files = Files::new();
    let filter = files.path("filter.bpf");
    with_facts(&["compile", "preset:tcpdump", "-o", &filter]);
    let table = out(&with_facts(&["explain", &filter, "socket", "--call-arch", "i386"]));
    assert!(
        table.starts_with("socket (359) on i386\nSCMP_ACT_ERRNO (EPERM)\n  decided by: filter 0"),
        "{table}"
    );
    for (arguments, expected) in [
        (&["sokcet"][..], "did you mean \"socket\"?"),
        (&["socket", "famliy=AF_INET"], "did you mean \"family\"?"),
        (&["socket", "family=AF_INTE"], "AF_INET"),
    ] {
        let output = with_facts(&[&["explain", "preset:tcpdump"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(err(&output).contains(expected), "{}", err(&output));
    }
}

#[test]
fn differences_have_a_row_and_a_page() {
    let output = with_facts(&["diff", "preset:docker-default", "preset:tcpdump", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let change = &json(&output)["changes"][0];
    assert_eq!(
        (&change["syscall"], &change["when"]),
        (&json!("socket"), &json!("family not in {AF_ALG, AF_VSOCK}"))
    );
    assert_eq!(change["witness"]["nr"], 41);
    let page = out(&with_facts(&["diff", "preset:docker-default", "preset:tcpdump", "--format", "html"]));
    assert!(
        page.starts_with("<!DOCTYPE html>")
            && page.contains("class=\"edge\"")
            && page.contains("what differs")
    );
    assert!(!page.contains("<script"));
    assert_eq!(with_facts(&["diff", "preset:tcpdump", "preset:tcpdump"]).status.code(), Some(0));
}

#[test]
fn lint_names_the_way_that_stays_open() {
    let output = with_facts(&["lint", "preset:tcpdump", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let report = json(&output);
    let findings = report["findings"].as_array().expect("a list");
    let open = findings.iter().find(|finding| finding["id"] == "PLIM-S002").expect("socketcall");
    assert_eq!((&open["severity"], &open["witness"]["syscall"]), (&json!("high"), &json!("socketcall")));
    let table = out(&with_facts(&["lint", "preset:tcpdump"]));
    assert!(
        table.starts_with("PLIM-S002 high: socketcall on i386 still does what is refused as socket\n"),
        "{table}"
    );
    let output = with_facts(&["lint", "preset:tcpdump", "--fail-on", "critical", "-q"]);
    assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
}

#[test]
fn completions_and_the_manual_come_from_one_definition() {
    for (what, expected) in
        [("bash", "complete -F"), ("zsh", "#compdef plim-seccomp"), ("fish", "complete -c"), ("man", ".TH")]
    {
        let output = run(&["--generate", what]);
        assert_eq!(output.status.code(), Some(0), "{what}");
        assert!(out(&output).contains(expected), "{what}");
        assert!(out(&output).contains("subset"), "{what}");
    }
    let help = out(&run(&["--help"]));
    for verb in [
        "show",
        "explain",
        "lint",
        "eval",
        "diff",
        "merge",
        "decompile",
        "compile",
        "disasm",
        "dump",
        "subset",
        "equal",
        "convert",
        "table",
    ] {
        assert!(help.contains(&format!("  {verb} ")), "{verb}: {help}");
        let output = run(&[verb, "--help"]);
        assert_eq!(output.status.code(), Some(0), "{verb}");
    }
}
