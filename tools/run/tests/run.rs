//! Options seen from inside a running container, and exit statuses.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::{can_run, plim_run, stderr, stdout};

/// Ends a test that hangs.
const HANG_GUARD: std::time::Duration = std::time::Duration::from_secs(60);

/// Ends a detached container by its first process: one that ends by itself may do so too early on a busy machine.
fn end(id: &str) {
    let text = std::fs::read_to_string(format!("/run/plim/{id}/state.json")).expect("a state");
    let (_, pid) = text.split_once("\"pid\":").expect("a pid");
    let pid: String = pid.trim_start().chars().take_while(char::is_ascii_digit).collect();
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
}

/// Runs a shell line in a container and returns what it printed.
#[track_caller]
fn inside(options: &[&str], line: &str) -> String {
    let out = plim_run(&[options, &["--", "sh", "-c", line]].concat());
    assert_eq!(out.status.code(), Some(0), "{options:?} {line}: {}{}", stdout(&out), stderr(&out));
    stdout(&out).trim_end().to_owned()
}

#[test]
fn the_status_is_the_commands_own_or_dockers() {
    if !can_run() {
        return;
    }
    for (args, status) in [
        (&["true"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["--init", "sh", "-c", "kill -KILL $$"], 137),
        (&["--init", "sh", "-c", "kill -TERM $$"], 143),
        (&["no-such-program"], 127),
        (&["/no/such/program"], 127),
        (&["/etc/passwd"], 126),
        (&["/etc"], 126),
    ] {
        let out = plim_run(args);
        assert_eq!(out.status.code(), Some(status), "{args:?}: {}", stderr(&out));
        if matches!(status, 126 | 127) {
            assert_eq!(stderr(&out).lines().count(), 1, "{}", stderr(&out));
        }
    }
}

#[test]
fn options_have_their_effect_inside() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cargo"), "grain").unwrap();
    let volume = format!("{}:/hold:ro", dir.path().display());
    for (options, line, expected) in [
        (&["-h", "box"][..], "hostname; echo $HOSTNAME", "box\nbox"),
        (&["-e", "A=1", "-e", "B= x"], "echo \"$A$B\"", "1 x"),
        (&["-w", "/made/for/it"], "pwd", "/made/for/it"),
        (&["-u", "1234:77", "--group-add", "99"], "id -u; id -g; id -G", "1234\n77\n77 99"),
        (&["-u", "daemon"], "grep CapEff /proc/self/status", "CapEff:\t0000000000000000"),
        (&["-v", &volume], "cat /hold/cargo; touch /hold/x 2>/dev/null || echo refused", "grainrefused"),
        (
            &["--tmpfs", "/scratch:size=64k,mode=700"],
            "stat -c %a /scratch; stat -f -c %T /scratch",
            "700\ntmpfs",
        ),
        (&["--read-only"], "touch /x 2>/dev/null || echo refused", "refused"),
        (&[], "touch /x && rm /x && echo taken", "taken"),
        (&["--cap-drop", "ALL"], "grep CapBnd /proc/self/status", "CapBnd:\t0000000000000000"),
        (
            &["--cap-drop", "ALL", "--cap-add", "chown"],
            "grep CapBnd /proc/self/status",
            "CapBnd:\t0000000000000001",
        ),
        (&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
        (&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", "Seccomp:\t0"),
        (&[], "grep -h Seccomp: /proc/self/status", "Seccomp:\t2"),
        (&["--ulimit", "nofile=64:128"], "ulimit -Sn; ulimit -Hn", "64\n128"),
        // As few as the launcher itself could not make a container with: they hold for the command alone.
        (&["--ulimit", "nofile=4:4"], "ulimit -Sn; ulimit -Hn", "4\n4"),
        (&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj", "500"),
        (&["--sysctl", "net.ipv4.ip_default_ttl=33"], "cat /proc/sys/net/ipv4/ip_default_ttl", "33"),
        (&["--entrypoint", "echo"], "x", "sh -c x"),
        (&["--shm-size", "1m"], "df -k /dev/shm | tail -1 | tr -s ' ' | cut -d' ' -f2", "1024"),
    ] {
        assert_eq!(inside(options, line), expected, "{options:?} {line}");
    }
    assert!(!std::path::Path::new("/x").exists(), "the upper layer is thrown away");
}

#[test]
fn standard_input_is_given_when_asked_for() {
    if !can_run() {
        return;
    }
    for (args, expected) in [(&["-i", "cat"][..], "ahoy"), (&["cat"], "")] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_plim-run"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The container that reads /dev/null may be gone before the pipe is written.
        let _ = child.stdin.take().unwrap().write_all(b"ahoy");
        let out = child.wait_with_output().unwrap();
        assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(0), expected), "{args:?}");
    }
}

#[test]
fn a_printed_document_runs() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let spec = plim_run(&["--print-spec", "-h", "box", "--", "sh", "-c", "hostname; exit 3"]);
    std::fs::write(dir.path().join("config.json"), &spec.stdout).unwrap();
    let out = plim_run(&["--bundle", dir.path().to_str().unwrap()]);
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(3), "box\n"), "{}", stderr(&out));
}

#[test]
fn a_snapshot_is_taken_at_the_start() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.json");
    let out = plim_run(&[
        "--snapshot",
        path.to_str().unwrap(),
        "--name",
        "snapped",
        "sh",
        "-c",
        "echo ran; exit 5",
    ]);
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(5), "ran\n"), "{}", stderr(&out));
    let snapshot: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(snapshot["target"]["engine"], "plim");
    assert_eq!(snapshot["target"]["name"], "snapped");
    assert_eq!(snapshot["seccomp"]["filters"].as_array().unwrap().len(), 1);
    assert_eq!(snapshot["capabilities"]["bounding"].as_array().unwrap().len(), 14);
    assert_eq!(snapshot["namespaces"]["pid"]["shared_with_host"], false);
}

#[test]
fn a_detached_container_prints_its_id_and_holds_its_name() {
    if !can_run() {
        return;
    }
    let name = format!("detached-{}", std::process::id());
    let out = plim_run(&["-d", "--name", &name, "sleep", "600"]);
    let id = stdout(&out).trim_end().to_owned();
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
    let state = format!("/run/plim/{id}/state.json");
    assert!(std::path::Path::new(&state).exists());
    let again = plim_run(&["--name", &name, "true"]);
    assert_eq!(again.status.code(), Some(125));
    assert!(stderr(&again).contains(&name), "{}", stderr(&again));
    end(&id);
    let begun = std::time::Instant::now();
    while std::path::Path::new(&state).exists() {
        assert!(begun.elapsed() < HANG_GUARD, "it is removed when it ends");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let out = plim_run(&["-d", "no-such-program"]);
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(127), ""), "{}", stderr(&out));
}

#[test]
fn namespaces_of_another_container_are_joined() {
    if !can_run() {
        return;
    }
    let name = format!("joined-{}", std::process::id());
    let out = plim_run(&["-d", "--name", &name, "-h", "first", "sleep", "600"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    let target = format!("container:{name}");
    let seen =
        inside(&["--pid", &target, "--network", &target], "ps -ef 2>/dev/null | grep -c 'sleep [6]00'");
    end(stdout(&out).trim_end());
    assert_eq!(seen, "1");
}

#[test]
fn the_hosts_root_in_a_user_namespace() {
    if !can_run() {
        return;
    }
    // Root here is nobody outside; files of the host belong to nobody here, and the upper layer takes the writes.
    let line = "id -u; stat -c %u /etc/passwd; cat /proc/self/uid_map | wc -l; echo changed >/etc/new && cat /etc/new; \
        readlink /bin; ls -A /home /root";
    assert_eq!(
        inside(&["--userns", "private"], line),
        "0\n65534\n1\nchanged\nusr/bin\n/home:\n\n/root:",
        "a host with a merged /usr"
    );
}

#[test]
fn without_root_the_host_root_is_there_too() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    if !can_run() {
        return;
    }
    // Where nobody may go: the build directory may be below /root.
    let place = tempfile::tempdir().unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.path().join("plim-run");
    std::fs::copy(env!("CARGO_BIN_EXE_plim-run"), &program).unwrap();
    let out = Command::new(&program)
        .args([
            "--",
            "sh",
            "-c",
            "id -u; hostname >/dev/null; grep -c ^Seccomp:.2 /proc/self/status; touch /etc/new && echo new",
        ])
        .uid(65534)
        .gid(65534)
        .current_dir("/")
        .env_remove("XDG_RUNTIME_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!((out.status.code(), stdout(&out).as_str()), (Some(0), "0\n1\nnew\n"), "{}", stderr(&out));
    assert!(!std::path::Path::new("/etc/new").exists());
}

#[test]
fn a_read_only_root_has_no_writable_corner_of_its_own() {
    if !can_run() {
        return;
    }
    let line = "for d in / /etc /usr /tmp /run /root /home /var/lib; do touch $d/x 2>/dev/null && echo $d; done; \
        touch /mine/x && echo mine; touch /dev/shm/x && echo shm";
    assert_eq!(inside(&["--read-only", "--tmpfs", "/mine"], line), "mine\nshm");
    assert_eq!(
        inside(
            &["--read-only", "--tmpfs", "/tmp"],
            "touch /tmp/x && echo tmp; touch /run/x 2>/dev/null || echo no"
        ),
        "tmp\nno"
    );
}
