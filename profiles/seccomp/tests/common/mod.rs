//! What the integration tests share: random profiles, calls at the boundaries of their rules, honest skips.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod programs;

use plim_model::{Capability, CapabilitySet};
use plim_seccomp::resolve::{Call, EnosysAbove, Facts, KernelVersion, Resolved, resolve};
use plim_seccomp::{Arch, SyscallNr, dialect, presets, syscalls};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

pub(crate) const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };

/// The 14 capabilities that Docker gives by default.
pub(crate) fn docker_caps() -> CapabilitySet {
    [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31].into_iter().filter_map(Capability::from_number).collect()
}

pub(crate) fn all_caps() -> CapabilitySet {
    Capability::known().collect()
}

pub(crate) fn facts(arch: Arch, caps: CapabilitySet) -> Facts {
    Facts::new(arch, caps, KERNEL)
}

pub(crate) fn preset(name: &str, facts: &Facts) -> Resolved {
    resolved(presets::get(name).expect("shipped"), facts)
}

pub(crate) fn resolved(json: &str, facts: &Facts) -> Resolved {
    let written = dialect::parse(json.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{json}"));
    resolve(&written, facts).unwrap_or_else(|error| panic!("{error}\n{json}")).expect("confined")
}

/// A test that cannot run says why; where CI is set, it is expected to run, and a skip is a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI expects this test to run: {reason}");
    let mut stderr = std::io::stderr();
    let _ = std::io::Write::write_fmt(&mut stderr, format_args!("SKIPPED: {reason}\n"));
}

/// Values at which comparisons go wrong.
fn value() -> impl Strategy<Value = u64> {
    let edges = [0, 1, 2, 38, 39, 40, 0x7e02_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
    let wide = [1 << 32, (1 << 32) | 40, 0xffff_ffff_0000_0000, 1 << 63, u64::MAX - 1, u64::MAX];
    prop_oneof![
        4 => select(edges.to_vec()),
        2 => select(wide.to_vec()),
        1 => any::<u64>(),
        1 => any::<u32>().prop_map(u64::from),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let operator = select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    (0u8..6, operator, value(), value()).prop_map(|(index, op, value, two)| {
        let two = if op == "MASKED_EQ" { format!(r#","valueTwo":{two}"#) } else { String::new() };
        format!(r#"{{"index":{index},"value":{value},"op":"SCMP_CMP_{op}"{two}}}"#)
    })
}

/// An action with its number.
fn action() -> impl Strategy<Value = (String, Option<u16>)> {
    let plain = select(vec!["ALLOW", "KILL_PROCESS", "KILL_THREAD", "TRAP", "LOG", "NOTIFY"]);
    prop_oneof![
        3 => plain.prop_map(|name| (name.to_owned(), None)),
        2 => (0u16..=4095).prop_map(|errno| ("ERRNO".to_owned(), Some(errno))),
        1 => any::<u16>().prop_map(|data| ("TRACE".to_owned(), Some(data))),
    ]
}

fn action_json(key: &str, number_key: &str, action: &(String, Option<u16>)) -> String {
    let number = action.1.map_or(String::new(), |n| format!(r#","{number_key}":{n}"#));
    format!(r#""{key}":"SCMP_ACT_{}"{number}"#, action.0)
}

fn entry() -> impl Strategy<Value = String> {
    let names: Vec<&str> =
        syscalls::names(Arch::X86_64).chain(["socketcall", "chown32", "stat64", "ipc"]).collect();
    let names = prop_oneof![
        2 => subsequence(names.clone(), 1..6),
        1 => subsequence(names, 50..200),
    ];
    let args = prop_oneof![
        2 => Just(Vec::new()),
        3 => prop::collection::vec(condition(), 1..4),
    ];
    (names, action(), args).prop_map(|(names, action, args)| {
        format!(
            r#"{{"names":{names:?},{},"args":[{}]}}"#,
            action_json("action", "errnoRet", &action),
            args.join(",")
        )
    })
}

/// A random profile for x86-64 and some of its companions, in OCI's JSON. It may give one condition two actions, which is refused.
pub(crate) fn profile() -> impl Strategy<Value = (String, Facts)> {
    let companions = subsequence(vec!["SCMP_ARCH_X86", "SCMP_ARCH_X32"], 0..=2);
    (action(), companions, prop::collection::vec(entry(), 0..12), any::<bool>()).prop_map(
        |(default, companions, entries, enosys)| {
            let json = format!(
                r#"{{{},"architectures":{companions:?},"syscalls":[{}]}}"#,
                action_json("defaultAction", "defaultErrnoRet", &default),
                entries.join(",")
            );
            let enosys_above = if enosys { EnosysAbove::HighestNamed } else { EnosysAbove::Never };
            (json, Facts { enosys_above, ..facts(Arch::X86_64, CapabilitySet::EMPTY) })
        },
    )
}

/// The argument lists worth trying for one number: around every constant of its rules, each half on its own, for each argument that
/// is looked at; and for several conditions the constants together.
pub(crate) fn arguments(resolved: &Resolved, arch: Arch, nr: SyscallNr) -> Vec<[u64; 6]> {
    let mut lists = vec![[0; 6], [u64::MAX; 6], [0xffff_ffff; 6], [1 << 32; 6]];
    for rule in resolved.rules_of(arch, nr) {
        let mut together = [0; 6];
        for condition in &rule.conditions {
            let (_, value, two) = condition.test.to_oci();
            let index = usize::from(condition.argument);
            together[index] = if two == 0 { value } else { two };
        }
        lists.push(together);
        for condition in &rule.conditions {
            let (_, value, two) = condition.test.to_oci();
            let index = usize::from(condition.argument);
            for around in
                [value, two, two | !value, value & 0xffff_ffff, value | (1 << 32), value ^ (1 << 63)]
            {
                for value in [around.wrapping_sub(1), around, around.wrapping_add(1)] {
                    let mut args = together;
                    args[index] = value;
                    lists.push(args);
                }
            }
        }
    }
    lists.sort_unstable();
    lists.dedup();
    lists
}

/// The ABI's numbers worth trying: every one up to `most`, and what lies around.
pub(crate) fn numbers(arch: Arch, most: u32) -> impl Iterator<Item = u32> {
    let base = if arch == Arch::X32 { 1 << 30 } else { 0 };
    let strays =
        [0x3fff_ffff, 0x7fff_ffff, 0x8000_0000, 0x8000_0029, 0xbfff_ffff, 0xc000_0000, 0xffff_fffe, u32::MAX];
    let strays = strays.into_iter().filter(move |nr| arch != Arch::X32 || nr & (1 << 30) != 0);
    (base..=base + most).chain(strays)
}

/// All of these numbers with all of their arguments.
pub(crate) fn calls(resolved: &Resolved, arch: Arch, most: u32) -> Vec<Call> {
    let token = arch.audit_token();
    let mut calls = Vec::new();
    for nr in numbers(arch, most) {
        let abi = resolved.abi(token, nr).unwrap_or(arch);
        for args in arguments(resolved, abi, SyscallNr(nr)) {
            calls.push(Call { nr, arch: token, ip: 0, args });
        }
    }
    calls
}
