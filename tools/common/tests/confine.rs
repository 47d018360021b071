//! What the kernel says once a process has confined itself. Each case is a child: a filter is for good.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use plim_tools_common::confine::{ConfineArgs, Phase, Reads, enter};

const CASE: &str = "PLIM_TEST_CONFINED_CASE";

/// Runs the test of this name again in a process of its own, where `CASE` is set.
fn child(test: &str, case: &str) -> Output {
    Command::new(std::env::current_exe().expect("own path"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .output()
        .expect("starts")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_forbidden_open_fails_and_what_is_open_stays_usable() {
    if std::env::var_os(CASE).is_none() {
        let output = child("a_forbidden_open_fails_and_what_is_open_stays_usable", "open");
        assert!(output.status.success(), "{}", text(&output));
        return;
    }
    let mut open = std::fs::File::open("/proc/self/status").expect("before");
    enter(Phase::Judge).expect("confined");
    let mut status = String::new();
    std::io::Read::read_to_string(&mut open, &mut status).expect("still readable");
    assert!(status.contains("Seccomp:\t2") && status.contains("NoNewPrivs:\t1"), "{status}");
    let error = std::fs::File::open("/proc/self/status").expect_err("no new files");
    assert_eq!(error.raw_os_error(), Some(38), "{error}");
    let error = std::fs::rename("/nowhere/a", "/nowhere/b").expect_err("no rename");
    assert_eq!(error.raw_os_error(), Some(38), "{error}");
    // The harness would start threads and wait for them.
    std::process::exit(0);
}

#[test]
fn a_program_or_a_socket_is_the_end() {
    let name = "a_program_or_a_socket_is_the_end";
    match std::env::var(CASE).as_deref() {
        Err(_) => {
            for case in ["exec", "socket"] {
                let output = child(name, case);
                assert_eq!(output.status.signal(), Some(31), "{case} is SIGSYS: {}", text(&output));
            }
        }
        Ok("exec") => {
            use std::os::unix::process::CommandExt;
            let mut command = Command::new("/bin/true");
            enter(Phase::Judge).expect("confined");
            let error = command.exec();
            panic!("execve returned: {error}");
        }
        Ok(_) => {
            enter(Phase::Judge).expect("confined");
            let answer = std::os::unix::net::UnixDatagram::unbound();
            panic!("socket returned: {answer:?}");
        }
    }
}

#[test]
fn a_result_in_a_file_takes_its_place() {
    const NAME: &str = "a_result_in_a_file_takes_its_place";
    let Some(path) = std::env::var_os(CASE) else {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("out");
        let output = child(NAME, path.to_str().expect("text"));
        assert!(output.status.success(), "{}", text(&output));
        assert_eq!(std::fs::read(&path).expect("there"), b"whole");
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1, "nothing left behind");
        return;
    };
    let place = plim_tools_common::output::Destination::file(path.as_ref()).expect("open");
    let confine = ConfineArgs::default();
    confine.observe(&place, Reads::Files).expect("confined");
    confine.enter(Phase::Judge).expect("confined further");
    place.emit(b"whole").expect("written and renamed");
    std::process::exit(0);
}
