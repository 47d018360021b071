//! The verdicts of the installed filters, asked of the kernel without executing a single probed call.

use serde_json::{Map, Value};

use crate::{names, sys};

/// `ARCH:NR[:A,B,C,D,E]…` → `{"ARCH:NR[:…]": verdict}`; the sixth argument belongs to the probe.
///
/// Verdicts: `reached` (ALLOW, LOG, TRACE or USER_NOTIF: the call would have been the kernel's to judge), an errno name,
/// or a signal name.
pub(crate) fn probe(words: &[String]) -> i32 {
    let mut verdicts = Map::new();
    if let Err(errno) = sys::install_probe() {
        return refuse(errno);
    }
    for word in words {
        let Some((arch, number, args)) = parse(word) else {
            verdicts.insert(word.clone(), "unreadable".into());
            continue;
        };
        verdicts.insert(word.clone(), Value::String(ask(arch, number, args)));
    }
    print(verdicts)
}

/// `ARCH FIRST LAST` → `{"NR": verdict}` with every argument 0.
pub(crate) fn sweep(words: &[String]) -> i32 {
    let mut verdicts = Map::new();
    if let Err(errno) = sys::install_probe() {
        return refuse(errno);
    }
    let arch = words.first().map_or("native", String::as_str);
    for number in crate::number(words, 1)..=crate::number(words, 2) {
        let verdict = ask(arch, i64::from(number), [0; 5]);
        verdicts.insert(number.to_string(), Value::String(verdict));
    }
    print(verdicts)
}

fn refuse(errno: i32) -> i32 {
    println!("{{\"error\": \"installing the probe: {}\"}}", names::errno(errno));
    3
}

fn print(verdicts: Map<String, Value>) -> i32 {
    println!("{}", Value::Object(verdicts));
    0
}

fn parse(word: &str) -> Option<(&str, i64, [u64; 5])> {
    let mut parts = word.split(':');
    let arch = parts.next()?;
    let number = parts.next()?.parse().ok()?;
    let mut args = [0; 5];
    for (slot, text) in args.iter_mut().zip(parts.next().unwrap_or_default().split(',')) {
        *slot = crate::tries::integer(text).unwrap_or(0);
    }
    Some((arch, number, args))
}

/// One verdict, asked in a child because it may be KILL.
fn ask(arch: &str, number: i64, args: [u64; 5]) -> String {
    let six = [args[0], args[1], args[2], args[3], args[4], sys::MARK];
    let child = match sys::fork() {
        Ok(0) => {
            let answer = if arch == "i386" { sys::int80(number, six) } else { sys::native(number, six) };
            let errno = answer.err().unwrap_or(0);
            // The exit status has eight bits: the tests mark their profiles with errnos below 200.
            sys::exit_now(if errno == libc::ENOSYS { 200 } else { errno.min(199) })
        }
        Ok(child) => child,
        Err(errno) => return format!("fork: {}", names::errno(errno)),
    };
    match sys::wait(child) {
        Some((_, sys::Ended::Code(200))) => "reached".to_owned(),
        Some((_, sys::Ended::Code(0))) => "executed".to_owned(),
        Some((_, sys::Ended::Code(errno))) => names::errno(errno),
        Some((_, sys::Ended::Signal(signal))) => names::signal(signal),
        None => "lost".to_owned(),
    }
}
