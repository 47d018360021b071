//! Refused operations through an io_uring, which no filter and no tracepoint of calls sees.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sys::{self, Ring};
use crate::{names, number};

/// Written to, and on a read-only mount in a container.
const PATH: &[u8] = b"/proc/sys/kernel/ostype\0";

/// Says "ready" once there is a ring, or the errno; after a line on stdin, N operations (openat(2) of a read-only file for writing),
/// of which it says how many were refused. With `polled` a thread of the kernel submits them (IORING_SETUP_SQPOLL).
pub(crate) fn run(args: &[String]) -> i32 {
    let polled = args.get(1).is_some_and(|word| word == "polled");
    let mut ring = match Ring::new(polled) {
        Ok(ring) => ring,
        Err(errno) => {
            println!("{}", names::errno(errno));
            return 1;
        }
    };
    println!("ready");
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    let (mut refused, mut other) = (0, 0);
    for _ in 0..number(args, 0) {
        ring.submit_open(PATH);
        let end = Instant::now() + Duration::from_secs(10);
        match ring.wait(|| Instant::now() < end) {
            Some(result) if [-libc::EPERM, -libc::EACCES, -libc::EROFS].contains(&result) => refused += 1,
            _ => other += 1,
        }
    }
    println!("{}", json!({"refused": refused, "other": other}));
    0
}

impl Ring {
    /// The result of the operation submitted last; `None` when `more` says that it took too long.
    fn wait(&mut self, more: impl Fn() -> bool) -> Option<i32> {
        loop {
            if let Some(result) = self.completed() {
                return Some(result);
            }
            if !more() {
                return None;
            }
            sys::native(libc::SYS_sched_yield, [0; 6]).ok()?;
        }
    }
}
