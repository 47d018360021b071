//! Each wrong input: status 125, one clear error on standard error, nothing on standard output, nothing left behind.

mod common;

use common::{plim_run, stderr, stdout};

#[track_caller]
fn refused(args: &[&str], messages: &[&str]) {
    let before = common::traces();
    let out = plim_run(args);
    let error = stderr(&out);
    assert_eq!(out.status.code(), Some(125), "{args:?}: {error}");
    assert_eq!(stdout(&out), "", "{args:?}");
    for message in messages {
        assert!(error.contains(message), "{args:?}: {error}\nexpected: {message}");
    }
    assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: one error, one line: {error}");
    assert_eq!(common::traces(), before, "{args:?} left something behind");
}

#[test]
fn each_wrong_value_is_one_clear_error_and_leaves_nothing() {
    for (args, messages) in [
        (&["--cap-add", "NET_RWA", "true"][..], &["--cap-add", "unknown capability", "CAP_NET_RAW"][..]),
        (&["--cap-drop", "nope", "true"], &["--cap-drop", "unknown capability"]),
        (&["-m", "64q", "true"], &["--memory", "unknown unit \"q\"", "b, k, m, g"]),
        (&["-m", "1m", "true"], &["--memory", "6m"]),
        (&["--memory-swap", "1g", "true"], &["--memory-swap needs --memory"]),
        (&["--cpus", "many", "true"], &["--cpus"]),
        (&["--cpus", "100000", "true"], &["--cpus", "CPUs"]),
        (&["--cpuset-cpus", "7000", "true"], &["--cpuset-cpus", "available"]),
        (&["--pids-limit", "x", "true"], &["--pids-limit", "whole number"]),
        (&["--ulimit", "nofiles=1", "true"], &["--ulimit", "did you mean \"nofile\"?"]),
        (&["--network", "bridge", "true"], &["--network bridge", "not supported yet"]),
        (&["--network", "hst", "true"], &["--network", "did you mean \"host\"?"]),
        (&["--pid", "container:no-such-container", "true"], &["--pid", "no-such-container"]),
        (&["--user", "no-such-user", "true"], &["--user", "no user of that name"]),
        (&["--group-add", "no-such-group", "true"], &["--group-add", "no group of that name"]),
        (&["-v", "/no/such/place:/x", "true"], &["--volume", "/no/such/place", "No such file"]),
        (&["-v", "data:/x", "true"], &["named volumes"]),
        (&["--tmpfs", "/x:sizee=1", "true"], &["--tmpfs", "did you mean \"size\"?"]),
        (&["--device", "/dev/no-such-device", "true"], &["--device", "/dev/no-such-device"]),
        (&["--sysctl", "vm.swappiness=1", "true"], &["--sysctl", "host"]),
        (&["--security-opt", "seccomp=/no/such.json", "true"], &["seccomp=/no/such.json", "No such file"]),
        (&["--security-opt", "seccomp=tcpdump", "true"], &["seccomp=preset:tcpdump"]),
        (&["--security-opt", "seccomp=preset:tcpdumb", "true"], &["did you mean \"tcpdump\"?"]),
        (&["--security-opt", "seccmp=unconfined", "true"], &["did you mean \"seccomp\"?"]),
        (&["--name", "_x", "true"], &["--name"]),
        (&["--rootfs", "/no/such/root", "true"], &["--rootfs", "/no/such/root"]),
        (&["--rootfs", "/etc/passwd", "true"], &["--rootfs", "not a directory"]),
        (&["--bundle", "/no/such/bundle"], &["--bundle", "/no/such/bundle"]),
        (&["--bundle", "/tmp", "--memory", "1g"], &["--memory cannot be given beside --bundle"]),
        (&["--bundle", "/tmp", "true"], &["command cannot be given beside --bundle"]),
        (&[], &["no command was given"]),
    ] {
        refused(args, messages);
    }
}

#[test]
fn an_apparmor_profile_that_is_not_there_is_an_error() {
    if common::can_run() {
        let option = "apparmor=no-such-profile";
        refused(&["--security-opt", option, "true"], &["AppArmor", "no-such-profile"]);
    }
}

#[test]
fn a_name_in_use_is_an_error() {
    if !common::can_run() {
        return;
    }
    let name = format!("plimtest-{}", std::process::id());
    let first = plim_run(&["-d", "--name", &name, "sleep", "20"]);
    assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
    let id = stdout(&first).trim().to_owned();
    let again = plim_run(&["--name", &name, "true"]);
    let state = std::fs::read(format!("/run/plim/{id}/state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&state).unwrap();
    let killed = std::process::Command::new("kill").args(["-KILL", &state["pid"].to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(again.status.code(), Some(125));
    assert_eq!(stderr(&again), format!("plim run: name {name:?} is in use by container {id}\n"));
}

#[test]
fn a_looping_root_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    std::os::unix::fs::symlink(&a, &b).unwrap();
    std::os::unix::fs::symlink(&b, &a).unwrap();
    refused(&["--rootfs", a.to_str().unwrap(), "true"], &["--rootfs", "symbolic links"]);
}

#[test]
fn a_passwd_file_that_points_out_of_the_root_is_read_inside_it() {
    let root = tempfile::tempdir().unwrap();
    let etc = root.path().join("etc");
    std::fs::create_dir(&etc).unwrap();
    // On the host the link reaches a passwd file that has the name; inside the root it dangles.
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), "sailor:x:77:77::/:/bin/sh\n").unwrap();
    std::os::unix::fs::symlink(outside.path(), etc.join("passwd")).unwrap();
    let root = root.path().to_str().unwrap();
    refused(&["--rootfs", root, "--user", "sailor", "true"], &["no user of that name"]);
    std::fs::remove_file(etc.join("passwd")).unwrap();
    nix::unistd::mkfifo(&etc.join("passwd"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&["--rootfs", root, "true"], &["/etc/passwd", "not a regular file"]);
}

#[test]
fn a_bad_profile_is_an_error_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.json");
    for (text, messages) in [
        ("not json", &["p.json"][..]),
        ("{\"defaultAction\": \"SCMP_ACT_ALOW\"}", &["p.json", "/defaultAction", "SCMP_ACT_ALLOW"]),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"sycalls\": []}", &["p.json", "sycalls"]),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"sockett\"], \"action\": \"SCMP_ACT_ERRNO\"}]}",
            &["p.json", "/syscalls/0/names/0", "socket"],
        ),
        ("{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_X86_46\"]}", &["SCMP_ARCH_X86_64"]),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"architectures\": [\"SCMP_ARCH_X86_64\"], \"archMap\": [{\"architecture\": \"SCMP_ARCH_X86_64\", \"subArchitectures\": []}]}",
            &["both architectures and archMap"],
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"name\": \"read\", \"names\": [\"read\"], \"action\": \"SCMP_ACT_ERRNO\"}]}",
            &["/syscalls/0", "both name and names"],
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{\"names\": [\"acct\"], \"action\": \"SCMP_ACT_ERRNO\"},
              {\"names\": [\"acct\"], \"action\": \"SCMP_ACT_KILL\"}]}",
            &["/syscalls/1", "/syscalls/0", "SCMP_ACT_KILL", "no effect"],
        ),
        (
            "{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"syscalls\": [{\"names\": [\"socket\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]},
              {\"names\": [\"socket\"], \"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]}]}",
            &["/syscalls/1", "very condition", "one action for one condition"],
        ),
        ("", &["p.json", "not JSON"]),
    ] {
        std::fs::write(&path, text).unwrap();
        let option = format!("seccomp={}", path.display());
        refused(&["--security-opt", &option, "true"], messages);
    }
}

#[test]
fn usage_errors_are_launcher_errors() {
    for args in [&["--no-such-option", "true"][..], &["--memory"], &["--oom-score-adj", "x", "true"]] {
        let out = plim_run(args);
        assert_eq!(out.status.code(), Some(125), "{args:?}");
        assert_eq!(stdout(&out), "");
    }
    let out = plim_run(&["--memmory", "1g", "true"]);
    assert!(stderr(&out).contains("--memory"), "{}", stderr(&out));
}

#[test]
fn completions_and_the_manual_come_from_the_same_definition() {
    for (what, word) in [("bash", "--cap-add"), ("man", ".TH")] {
        let out = plim_run(&["--generate", what]);
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        assert!(stdout(&out).contains(word), "{what}");
    }
}

#[test]
fn help_is_an_answer() {
    let out = plim_run(&["--help"]);
    assert_eq!(out.status.code(), Some(0));
    let help = stdout(&out);
    for heading in ["Files:", "Process:", "Privileges:", "Namespaces:", "Limits:", "Exit status:", "SIZE is"]
    {
        assert!(help.contains(heading), "{heading} is not in\n{help}");
    }
}
