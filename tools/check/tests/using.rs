//! What a person tries first.

mod common;

use common::{check, examples, lock, policy, text};

#[test]
fn rules_are_explained() {
    let output = check(&examples(), &["--explain", "HARD-kernel-surface", "-p", "pack:hardened"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("system calls denied: bpf"));
}

#[test]
fn a_rule_is_explained_by_its_id_alone() {
    for (rule, expected) in [
        ("CIS-5.4", "CIS Docker"),
        ("PSS-hostNamespaces", "control hostNamespaces"),
        ("PLIM-K003", "plim lock --update"),
        ("PLIM-P001", "set another day"),
    ] {
        let output = check(&examples(), &["--explain", rule]);
        assert_eq!(output.status.code(), Some(0), "{rule}: {}", text(&output.stderr));
        assert!(text(&output.stdout).contains(expected), "{rule}: {}", text(&output.stdout));
    }
    let output = check(&examples(), &["--explain", "CIS-5.40"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("did you mean \"CIS-5.4\"?"), "{}", text(&output.stderr));
}

#[test]
fn packs_are_listed_with_what_they_are_for() {
    let output = policy(&examples(), &["list"]);
    let listed = text(&output.stdout);
    assert!(listed.contains("pack:docker-default   8 rules  No more than Docker's default"), "{listed}");
}

#[test]
fn the_directory_itself_is_a_target() {
    let output = check(&examples().join("compose"), &[".", "--format", "json", "-q"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["summary"]["targets"], 3, "{}", text(&output.stderr));
    let up = check(&examples().join("expected"), &["..", "-p", "pack:pss-baseline", "-q"]);
    assert_eq!(up.status.code(), Some(1), "{}", text(&up.stderr));
}

#[test]
fn command_lines_of_our_own_run() {
    for (line, status) in [
        ("plim run --rootfs /srv/root --trace -- tcpdump -i any", 0),
        ("plim-run --cap-drop ALL true", 0),
        ("plim run --privileged true", 1),
    ] {
        let output = check(&examples(), &["--cmdline", line, "-p", "pack:docker-default", "-q"]);
        assert_eq!(output.status.code(), Some(status), "{line}: {}", text(&output.stderr));
    }
    let output = check(&examples(), &["--cmdline", "plim run --trace", "-q"]);
    assert!(text(&output.stderr).contains("no command"), "{}", text(&output.stderr));
    let output = check(&examples(), &["--cmdline", "docker run --trace x", "-q"]);
    assert!(text(&output.stderr).contains("unknown option --trace"), "{}", text(&output.stderr));
}

/// A growth is taken into the lock with `--update`, or accepted for a while.
#[test]
fn ignores_cover_growths_too() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    let file = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("written");
    file("compose.yaml", "services: {web: {image: \"web:1\"}}\n");
    assert_eq!(lock(path, &["compose.yaml"]).status.code(), Some(0));
    file("compose.yaml", "services: {web: {image: \"web:1\", cap_add: [NET_ADMIN]}}\n");
    file(
        "p.yaml",
        "format: \"1.0\"\nname: p\nignores: [{rule: PLIM-K002, target: service/web, reason: until the new image, expires: 2026-12-31}]\n",
    );
    let on = |day: &str| {
        let arguments = ["compose.yaml", "-p", "p.yaml", "--lock", "plim.lock", "--today", day, "-q"];
        let output = check(path, &arguments);
        (output.status.code(), text(&output.stdout))
    };
    let (status, said) = on("2026-12-31");
    assert!(status == Some(0) && said.contains("until the new image"), "{said}");
    let (status, said) = on("2027-01-01");
    assert!(status == Some(1) && said.contains("PLIM-K002") && said.contains("PLIM-P001"), "{said}");
}

#[test]
fn a_lock_knows_a_file_however_it_is_named() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c}}]}}\n"
        )
    };
    std::fs::write(path.join("web"), pod("a")).expect("written");
    assert_eq!(lock(path, &["./web"]).status.code(), Some(0));
    for name in [".", "./web"] {
        // A directory's files are those with a manifest's extension.
        let status = check(path, &[name, "--lock", "plim.lock", "-q"]).status.code();
        assert_eq!(status, Some(if name == "." { 2 } else { 0 }), "{name}");
    }
    assert_eq!(lock(path, &["--update"]).status.code(), Some(0), "names its files as files");
    std::fs::write(path.join("pods.yaml"), pod("a")).expect("written");
    assert_eq!(lock(path, &["pods.yaml", "--update"]).status.code(), Some(0));
    for name in ["pods.yaml", "./pods.yaml", "."] {
        let output = check(path, &[name, "--lock", "plim.lock", "-q"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stdout));
    }
    std::fs::write(path.join("twice.yaml"), pod("a") + "---\n" + &pod("a")).expect("written");
    let output = lock(path, &["twice.yaml", "--update"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("twice.yaml#Pod/a stands twice"), "{}", text(&output.stderr));
}
