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
        plim_runtime::seal();
        let case = cases.iter().find(|(known, _)| known == name).expect("a case of this name");
        case.1();
        return ExitCode::SUCCESS;
    }
    if args.first().is_some_and(|flag| flag == "--launch") {
        plim_runtime::seal();
        cleanup::launched(&args[1..]);
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Case> = cases.iter().filter(|(name, _)| asked_for(name, &args)).collect();
    if !nix::unistd::geteuid().is_root() {
        println!("containers: needs root, {} cases did not run", chosen.len());
        println!("test result: ok. 0 passed; 0 failed; {} ignored; 0 measured", chosen.len());
        return if std::env::var_os("CI").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let own = std::env::current_exe().expect("our own path");
    let (mut passed, mut failed) = (0, 0);
    for (name, _) in chosen {
        let output = Command::new(&own).args(["--case", name]).output().expect("to run a case");
        if output.status.success() {
            passed += 1;
            println!("test {name} ... ok");
        } else {
            failed += 1;
            println!("test {name} ... FAILED ({})", output.status);
            print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a case is asked for, by the standard harness' arguments: a name is part of what is wanted, and one behind
/// `--skip` of what is not. Other flags mean nothing here.
fn asked_for(case: &str, args: &[String]) -> bool {
    let (mut wanted, mut names) = (false, 0);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--skip" {
            if args.next().is_some_and(|name| case.contains(name.as_str())) {
                return false;
            }
        } else if !arg.starts_with('-') {
            names += 1;
            wanted |= case.contains(arg.as_str());
        }
    }
    wanted || names == 0
}
