//! Arguments in the words of the manual pages.

use plim_seccomp::Arch;
use plim_seccomp::arguments::{self, Width};
use plim_seccomp::constants;
use serde_json::{Map, Value};

use crate::cause;
use crate::event::{Event, flag};
use crate::strings;

/// Socket types: the low bits, and the two flags that share the argument.
const SOCKET_TYPES: [(u64, &str); 7] = [
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (3, "SOCK_RAW"),
    (4, "SOCK_RDM"),
    (5, "SOCK_SEQPACKET"),
    (6, "SOCK_DCCP"),
    (10, "SOCK_PACKET"),
];

/// Every argument by its name, in the order of the call: a constant's name, a path, or the number.
pub fn arguments(event: &Event) -> Map<String, Value> {
    let arch = cause::arch(event);
    let Some(name) = cause::name(event) else { return Map::new() };
    let mut texts = texts(event, arch, name).into_iter();
    let strings: Vec<usize> = strings::indices(arch, name).collect();
    arguments::on(arch, name)
        .iter()
        .zip(event.args)
        .enumerate()
        .map(|(index, (argument, value))| {
            let value = value & argument.width.mask(event.has(flag::COMPAT));
            let word = if strings.contains(&index) { texts.next() } else { None };
            let word = word.unwrap_or_else(|| self::value(arch, name, argument, value));
            (argument.name.to_string(), Value::String(word))
        })
        .collect()
}

/// The strings of the call in the order of its arguments, less those that the programs did not keep.
pub fn texts(event: &Event, arch: Arch, name: &str) -> Vec<String> {
    let count = strings::indices(arch, name).count();
    event.texts.iter().take(count).cloned().collect()
}

fn value(arch: Arch, syscall: &str, argument: &arguments::Argument, value: u64) -> String {
    let named = match (syscall, argument.name.as_str()) {
        ("socket" | "socketpair", "type") => socket_type(value),
        _ => argument.set.filter(|set| set.holds_on(arch)).and_then(|set| constants::name(set, value)),
    };
    named.unwrap_or_else(|| match argument.width {
        Width::Pointer if value == 0 => "NULL".to_owned(),
        Width::Pointer => format!("{value:#x}"),
        // A descriptor or an id of −1 is written so; AT_FDCWD is the one constant among them.
        Width::W32 if matches!(argument.name.as_str(), "dfd" | "fd" | "olddfd" | "newdfd") => {
            match u32::try_from(value).unwrap_or_default().cast_signed() {
                -100 => "AT_FDCWD".to_owned(),
                number => number.to_string(),
            }
        }
        Width::W32 if value > 0xffff_ff00 => {
            u32::try_from(value).unwrap_or_default().cast_signed().to_string()
        }
        Width::W16 => format!("{value:#o}"),
        _ => constants::plain(value),
    })
}

/// The type of a socket in words: `SOCK_STREAM|SOCK_CLOEXEC`. `None` for a number without a name.
pub fn socket_type(value: u64) -> Option<String> {
    const NONBLOCK: u64 = 0o4000;
    const CLOEXEC: u64 = 0o2_000_000;
    let base = value & !(NONBLOCK | CLOEXEC);
    let mut text =
        (*SOCKET_TYPES.iter().find(|(number, _)| *number == base).map(|(_, name)| name)?).to_owned();
    for (flag, name) in [(NONBLOCK, "SOCK_NONBLOCK"), (CLOEXEC, "SOCK_CLOEXEC")] {
        if value & flag != 0 {
            text.push('|');
            text.push_str(name);
        }
    }
    Some(text)
}
