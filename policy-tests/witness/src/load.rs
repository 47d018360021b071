//! Loads, signals and the broken-on-purpose wrappers.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::sys::{self, Ended};
use crate::{names, number};

pub(crate) fn ready() {
    println!("ready");
    let _ = std::io::stdout().flush();
}

/// Says "ready"; SIGTERM and SIGINT end it with 0, SIGUSR1 with 10, time with 0.
pub(crate) fn hold(args: &[String]) -> i32 {
    let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1];
    sys::block(&signals);
    ready();
    let milliseconds = u64::from(number(args, 0).unsigned_abs()) * 1000;
    if sys::wait_signal(&signals, milliseconds) == Some(libc::SIGUSR1) { 10 } else { 0 }
}

/// Names each signal it gets until SIGTERM.
pub(crate) fn signals() -> i32 {
    let known: Vec<i32> = names::SIGNALS.iter().map(|(number, _)| *number).collect();
    sys::block(&known);
    ready();
    while let Some(signal) = sys::wait_signal(&known, 20_000) {
        println!("{}", names::signal(signal));
        let _ = std::io::stdout().flush();
        if signal == libc::SIGTERM {
            return 0;
        }
    }
    1
}

/// Writes `out N` and `err N` in turn.
pub(crate) fn alternate(args: &[String]) -> i32 {
    for line in 0..number(args, 0) {
        println!("out {line}");
        let _ = std::io::stdout().flush();
        let _ = writeln!(std::io::stderr(), "err {line}");
    }
    0
}

/// Writes until it fails.
pub(crate) fn pour() -> i32 {
    let line = [b"poured\n".as_slice(); 512].concat();
    while std::io::stdout().write_all(&line).and_then(|()| std::io::stdout().flush()).is_ok() {}
    7
}

/// Touches memory page by page up to BYTES.
pub(crate) fn eat_memory(args: &[String]) -> i32 {
    let bytes: usize = args.first().and_then(|word| word.parse().ok()).unwrap_or(0);
    let mut held: Vec<Vec<u8>> = Vec::new();
    let chunk = 1 << 20;
    for _ in 0..bytes / chunk {
        held.push(vec![1; chunk]);
    }
    println!("{}", json!({"eaten": held.iter().map(Vec::len).sum::<usize>()}));
    0
}

/// Forks N children that wait, and says how many there came to be.
pub(crate) fn forks(args: &[String]) -> i32 {
    let mut children = Vec::new();
    let mut refusal = None;
    for _ in 0..number(args, 0) {
        match sys::fork() {
            Ok(0) => {
                std::thread::sleep(Duration::from_secs(20));
                sys::exit_now(0);
            }
            Ok(child) => children.push(child),
            Err(errno) => {
                refusal = Some(names::errno(errno));
                break;
            }
        }
    }
    println!("{}", json!({"forked": children.len(), "refused": refusal}));
    for child in children {
        let _ = sys::native(libc::SYS_kill, [u64::from(child.unsigned_abs()), 9, 0, 0, 0, 0]);
        sys::wait(child);
    }
    0
}

/// Burns processor time for MS of wall time, and says how much it got.
pub(crate) fn burn_cpu(args: &[String]) -> i32 {
    let span = Duration::from_millis(u64::from(number(args, 0).unsigned_abs()));
    let (start, before) = (Instant::now(), sys::cpu_time_us());
    while start.elapsed() < span {
        std::hint::black_box((0..1000u64).sum::<u64>());
    }
    let wall = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    println!("{}", json!({"wall_us": wall, "cpu_us": sys::cpu_time_us() - before}));
    0
}

/// Copies stdin to stdout.
pub(crate) fn cat() -> i32 {
    let mut all = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut all);
    let _ = std::io::stdout().write_all(&all);
    0
}

/// Leaves N orphans behind that end at once, waits, and counts the zombies in its pid namespace.
pub(crate) fn orphans(args: &[String]) -> i32 {
    for _ in 0..number(args, 0) {
        if let Ok(0) = sys::fork() {
            // The grandchild is orphaned when its parent ends here.
            if let Ok(0) = sys::fork() {
                std::thread::sleep(Duration::from_millis(20));
            }
            sys::exit_now(0);
        }
    }
    for _ in 0..number(args, 0) {
        sys::wait(-1);
    }
    std::thread::sleep(Duration::from_millis(150));
    let zombies = std::fs::read_dir("/proc").map_or(0, |entries| {
        let stats = entries.flatten().filter_map(|e| std::fs::read_to_string(e.path().join("stat")).ok());
        stats.filter(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"))).count()
    });
    println!("{}", json!({"pid": std::process::id(), "zombies": zombies}));
    0
}

/// Starts a child that would outlive it, says "ready", and ends: the container must take the child down.
pub(crate) fn children() -> i32 {
    if let Ok(0) = sys::fork() {
        let _ = sys::native(libc::SYS_setsid, [0; 6]);
        std::thread::sleep(Duration::from_secs(30));
        sys::exit_now(0);
    }
    ready();
    0
}

/// Runs the rest and hides how it ended.
pub(crate) fn mask_exit(args: &[String]) -> i32 {
    match sys::fork() {
        Ok(0) => {
            sys::exec(args);
            sys::exit_now(127);
        }
        Ok(child) => match sys::wait(child) {
            Some((_, Ended::Code(_) | Ended::Signal(_))) | None => 42,
        },
        Err(_) => 42,
    }
}

/// Runs the rest in a child and keeps every signal from it.
pub(crate) fn deaf(args: &[String]) -> i32 {
    match sys::fork() {
        Ok(0) => {
            sys::exec(args);
            sys::exit_now(127);
        }
        Ok(child) => {
            let all: Vec<i32> = names::SIGNALS.iter().map(|(signal, _)| *signal).collect();
            sys::block(&all);
            match sys::wait(child) {
                Some((_, Ended::Code(code))) => code,
                _ => 42,
            }
        }
        Err(_) => 42,
    }
}
