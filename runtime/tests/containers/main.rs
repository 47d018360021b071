//! Containers made for real, seen from inside and from outside. Needs root; says so and passes nothing when it is not.
//!
//! `create` wants a process with one thread, which the standard test harness is not: so each case runs in a process of
//! its own, started by this one. `cargo test --test containers NAME` runs the cases whose name contains NAME.
#![allow(clippy::print_stdout, reason = "a test harness reports on standard output")]

mod cleanup;
mod confinement;
mod hostile;
mod life;
mod support;

use std::process::{Command, ExitCode};

type Case = (&'static str, fn());

fn main() -> ExitCode {
    plim_runtime::init_entry();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let cases: Vec<Case> = [life::CASES, confinement::CASES, hostile::CASES, cleanup::CASES].concat();
    if let [flag, name] = args.as_slice()
        && flag == "--case"
    {
        let case = cases.iter().find(|(known, _)| known == name).expect("a case of this name");
        case.1();
        return ExitCode::SUCCESS;
    }
    if args.first().is_some_and(|flag| flag == "--launch") {
        cleanup::launched(&args[1..]);
        return ExitCode::SUCCESS;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("containers: skipped, needs root: {} cases did not run", cases.len());
        return if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let own = std::env::current_exe().expect("our own path");
    let mut failed = 0;
    let mut run = 0;
    for (name, _) in &cases {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        run += 1;
        let output = Command::new(&own).args(["--case", name]).output().expect("to run a case");
        if output.status.success() {
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED ({})", output.status);
            print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
    }
    println!("containers: {run} run, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
