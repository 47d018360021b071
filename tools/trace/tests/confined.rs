//! A tracer is confined while it traces. Needs root and a kernel that can be traced.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// Ends a test that hangs.
const HANG_GUARD: std::time::Duration = std::time::Duration::from_secs(60);

/// A process that ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `make test` counts these lines.
fn skip(why: &str) {
    let _ = writeln!(std::io::stdout(), "skipped: {why}");
}

/// The seccomp mode of a tracer that says it is tracing; `None` where it cannot trace.
fn mode(target: u32, flags: &[&str]) -> Option<String> {
    let child = Command::new(env!("CARGO_BIN_EXE_plim-trace"))
        .args(["--duration", "2s", "--format", "jsonl", &format!("pid:{target}")])
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = Ended(child.expect("starts"));
    let mut said = String::new();
    BufReader::new(child.0.stderr.take()?).read_line(&mut said).expect("text");
    if !said.contains("tracing pid:") {
        skip(&format!("no tracing here: {}", said.trim()));
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.0.id())).expect("it runs");
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().to_owned();
    assert!(child.0.wait().expect("ends").success(), "{flags:?}");
    Some(mode)
}

#[test]
fn it_traces_confined() {
    let mut unshare = Command::new("unshare");
    unshare.args(["--fork", "--pid", "--kill-child", "sleep", "30"]).stderr(Stdio::null());
    let Ok(target) = unshare.spawn().map(Ended) else { return skip("no unshare (util-linux)") };
    let children = format!("/proc/{0}/task/{0}/children", target.0.id());
    let start = std::time::Instant::now();
    let inside = loop {
        let text = std::fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = text.split_whitespace().next() {
            break pid.parse().expect("a pid");
        }
        if start.elapsed() > HANG_GUARD {
            return skip("no pid namespace (root, or CONFIG_PROC_CHILDREN)");
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let Some(confined) = mode(inside, &[]) else { return };
    assert_eq!(confined, "2");
    assert_eq!(mode(inside, &["--no-self-confine"]).as_deref(), Some("0"));
}
