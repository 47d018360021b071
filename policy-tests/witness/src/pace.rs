//! What calls cost, and calls as fast as they can be made.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sys;

/// Answers each line `getppid CALLS BURSTS` or `byte CALLS BURSTS` with the nanoseconds that a call took in the fastest
/// burst, times a thousand; `byte` reads one from /dev/zero and writes it to /dev/null, as `dd bs=1` does.
pub(crate) fn pace() -> i32 {
    println!("ready");
    let _ = std::io::stdout().flush();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return 1 };
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok()).filter(|n| *n > 0);
        let (Some(kind), Some(calls), Some(bursts)) = (words.first(), number(1), number(2)) else { return 2 };
        let fastest = match *kind {
            "getppid" => fastest(calls, bursts, || {
                let _ = sys::native(libc::SYS_getppid, [0; 6]);
            }),
            "byte" => {
                let (Ok(mut from), Ok(mut to)) = (File::open("/dev/zero"), File::create("/dev/null")) else {
                    return 3;
                };
                let mut byte = [0];
                fastest(calls, bursts, || {
                    let _ = from.read(&mut byte);
                    let _ = to.write(&byte);
                })
            }
            _ => return 2,
        };
        println!("{fastest}");
        let _ = std::io::stdout().flush();
    }
    0
}

fn fastest(calls: u32, bursts: u32, mut call: impl FnMut()) -> u128 {
    let burst = |call: &mut dyn FnMut()| {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        start.elapsed().as_nanos() * 1000 / u128::from(calls)
    };
    (0..bursts).map(|_| burst(&mut call)).min().unwrap_or_default()
}

/// What a flood consists of.
#[derive(Clone, Copy)]
enum Kind {
    /// The call without arguments.
    Same,
    /// The call with a first argument that never repeats.
    Arguments,
    /// rmdir(2) of one path on a read-only mount.
    Path,
    /// rmdir(2) of a path that never repeats.
    Paths,
}

impl Kind {
    fn refused_call(self, call: i64, count: u64) -> sys::Raw {
        match self {
            Kind::Same => sys::native(call, [0; 6]),
            Kind::Arguments => sys::native(call, [count, 0, 0, 0, 0, 0]),
            Kind::Path => rmdir(b"/sys/x\0"),
            Kind::Paths => rmdir(format!("/sys/x{count}\0").as_bytes()),
        }
    }
}

fn rmdir(path: &[u8]) -> sys::Raw {
    sys::native(libc::SYS_rmdir, [path.as_ptr() as u64, 0, 0, 0, 0, 0])
}

/// Waits for a line, then makes call NUMBER in PROCESSES processes for MS, at most RATE times a second each when it is not 0; says
/// how often it was refused (EPERM, EROFS), and how often it was not.
pub(crate) fn flood(args: &[String]) -> i32 {
    let number = |at: usize| args.get(at).and_then(|word| word.parse::<u32>().ok()).unwrap_or(0);
    let (call, span, rate) = (i64::from(number(0)), Duration::from_millis(u64::from(number(2))), number(3));
    let kind = match args.get(4).map(String::as_str) {
        None => Kind::Same,
        Some("arguments") => Kind::Arguments,
        Some("path") => Kind::Path,
        Some("paths") => Kind::Paths,
        Some(_) => return 2,
    };
    println!("ready");
    let _ = std::io::stdout().flush();
    let _ = std::io::stdin().lock().read_line(&mut String::new());
    let Ok((mut from, to)) = std::io::pipe() else { return 1 };
    let mut children = Vec::new();
    let start = Instant::now();
    for _ in 0..number(1).max(1) {
        match sys::fork() {
            Ok(0) => {
                let (refused, other) = storm(|count| kind.refused_call(call, count), start, span, rate);
                let mut to = &to;
                let _ = to.write_all(&[refused.to_le_bytes(), other.to_le_bytes()].concat());
                sys::exit_now(0);
            }
            Ok(child) => children.push(child),
            Err(_) => return 1,
        }
    }
    drop(to);
    let (mut refused, mut other) = (0, 0);
    let mut counts = [0; 16];
    while from.read_exact(&mut counts).is_ok() {
        let (first, second) = counts.split_at(8);
        let sum = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).unwrap_or_default();
        refused += sum(first);
        other += sum(second);
    }
    let took = start.elapsed().as_micros();
    for child in children {
        sys::wait(child);
    }
    println!(
        "{}",
        json!({"refused": refused, "other": other, "us": u64::try_from(took).unwrap_or(u64::MAX)})
    );
    0
}

/// Calls between two looks at the clock: it makes no system call, but costs as much as one.
const BATCH: u64 = 256;

fn storm(call: impl Fn(u64) -> sys::Raw, start: Instant, span: Duration, rate: u32) -> (u64, u64) {
    let (mut refused, mut other) = (0, 0);
    let batch = if rate == 0 { BATCH } else { u64::from(rate / 1000).clamp(1, BATCH) };
    loop {
        let elapsed = start.elapsed();
        if elapsed >= span {
            return (refused, other);
        }
        let due = elapsed.as_nanos() * u128::from(rate) / 1_000_000_000;
        if rate > 0 && u128::from(refused + other) > due {
            // A slow one leaves the processor to others.
            if batch == 1 {
                std::thread::sleep(Duration::from_micros(100));
            }
            std::hint::spin_loop();
            continue;
        }
        for _ in 0..batch {
            match call(refused + other) {
                Err(libc::EPERM | libc::EROFS) => refused += 1,
                _ => other += 1,
            }
        }
    }
}
