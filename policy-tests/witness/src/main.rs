//! Runs inside a container and says, as JSON on stdout, what it sees and what it can do.
//!
//! ```text
//! report                       everything it sees
//! try CALL ARG… [-- CALL ARG…] one verdict a call: {"call": …, "result": "ok" | errno name | signal name}
//! quiet CALL ARG…              one call, nothing said: the exit status is its errno
//! probe ARCH:NR[:A,B,C,D,E]…   the installed filters' verdicts, nothing executed (ARCH is native or i386)
//! sweep ARCH FIRST LAST        the same for a range of numbers
//! hold SECONDS                 says "ready", ends on SIGTERM or when time is up
//! signals                      says "ready", then each signal by name; ends on SIGTERM
//! eat-memory BYTES | fork N | burn-cpu MS | exit N | die SIGNAL | echo WORD… | cat | orphans | children
//! alternate N                  N lines each on stdout and stderr in turn
//! pour                         writes to stdout until it cannot any more, then exits with 7
//! pace                         what calls cost: a line asks, a line answers
//! crowd N | mounts N [stacked] | hang PATH [FILE]   says "ready" with so many processes or mounts, or files that never answer
//! flood CALL PROCESSES MS RATE [arguments | path | paths]   says "ready"; after a line on stdin, refused calls as fast as asked
//!                              for, counted; arguments or paths that never repeat, or one path
//! ring N [polled]              says "ready" with an io_uring; after a line, N refused operations through it, counted
//! observe CANARY SECRET PATH   what it gets of the other processes in its pid namespace, until SIGTERM
//! keyed CMD…                   runs CMD in a session keyring that has the key user:plimtest
//! leak-fd CMD… | mask-exit CMD… | chatty CMD… | deaf CMD…   broken on purpose, for the tests of the tests
//! ```
//! Called as `/…/true` it ends at once with 0: the command that the bench starts.
#![allow(clippy::print_stdout, reason = "stdout is this program's only voice")]

mod hostile;
mod load;
mod names;
mod observe;
mod pace;
mod probe;
mod refusals;
mod report;
mod ring;
mod sys;
mod tries;

fn main() {
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.first().is_some_and(|name| name.ends_with("/true")) {
        std::process::exit(0);
    }
    let rest = args.get(2..).unwrap_or_default();
    let code = match args.get(1).map(String::as_str) {
        Some("report") => report::print(),
        Some("try") => tries::run(rest),
        Some("quiet") => tries::attempt(rest).err().unwrap_or(0).min(255),
        Some("probe") => probe::probe(rest),
        Some("sweep") => probe::sweep(rest),
        Some("hold") => load::hold(rest),
        Some("signals") => load::signals(),
        Some("eat-memory") => load::eat_memory(rest),
        Some("fork") => load::forks(rest),
        Some("burn-cpu") => load::burn_cpu(rest),
        Some("exit") => number(rest, 0),
        Some("die") => {
            sys::die(number(rest, 0));
            99
        }
        Some("echo") => {
            println!("{}", rest.join(" "));
            0
        }
        Some("cat") => load::cat(),
        Some("alternate") => load::alternate(rest),
        Some("pour") => load::pour(),
        Some("pace") => pace::pace(),
        Some("crowd") => hostile::crowd(rest),
        Some("mounts") => hostile::mounts(rest),
        Some("hang") => hostile::hang(rest),
        Some("flood") => pace::flood(rest),
        Some("ring") => ring::run(rest),
        Some("orphans") => load::orphans(rest),
        Some("children") => load::children(),
        Some("leak-fd") => {
            sys::leak("/", 9);
            exec(rest)
        }
        Some("chatty") => {
            println!("starting the container");
            exec(rest)
        }
        Some("observe") => observe::observe(rest),
        Some("keyed") => match sys::session_key("plimtest") {
            Ok(_) => exec(rest),
            Err(errno) => {
                println!("keyed: {}", names::errno(errno));
                126
            }
        },
        Some("mask-exit") => load::mask_exit(rest),
        Some("deaf") => load::deaf(rest),
        _ => {
            println!("{{\"error\": \"unknown command; see the source\"}}");
            2
        }
    };
    std::process::exit(code);
}

/// The argument at `index` as a number; 0 when it is missing or not one.
fn number(args: &[String], index: usize) -> i32 {
    args.get(index).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Becomes `args`; 127 when it cannot.
fn exec(args: &[String]) -> i32 {
    println!("exec: {}", names::errno(sys::exec(args)));
    127
}
