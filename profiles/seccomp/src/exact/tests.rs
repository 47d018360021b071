//! Differences, inclusion and the operations, on the shipped profiles and on hand-made filters.

use std::collections::BTreeSet;

use plim_model::{Capability, CapabilitySet};

use super::*;
use crate::arch::Arch;
use crate::bpf::{Insn, Program, code::*};
use crate::resolve::{Facts, KernelVersion, resolve};
use crate::{dialect, presets};

fn of_json(store: &mut Store, json: &str, caps: CapabilitySet) -> Diagram {
    let facts = Facts::new(Arch::X86_64, caps, KernelVersion { major: 6, minor: 18 });
    let resolved = resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts).unwrap().unwrap();
    store.of_resolved(&resolved).unwrap()
}

fn preset(store: &mut Store, name: &str, caps: CapabilitySet) -> Diagram {
    of_json(store, presets::get(name).unwrap(), caps)
}

fn small(store: &mut Store, entries: &str) -> Diagram {
    let json = format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entries}]}}"#);
    of_json(store, &json, CapabilitySet::EMPTY)
}

/// Rows as `arch syscall [when]: before -> after effect`. Every witness is checked on the way.
fn rows(store: &mut Store, a: Diagram, b: Diagram) -> Vec<String> {
    let changes = diff(store, a, b, true).unwrap();
    for change in &changes {
        let answers = (store.decide(a, &change.witness), store.decide(b, &change.witness));
        assert_eq!(answers, (change.before, change.after), "{change:?}");
        if let Some(arch) = change.arch {
            assert_eq!((change.witness.arch, change.witness.nr), (arch.audit_token(), change.number));
        }
    }
    changes
        .into_iter()
        .map(|c| {
            let when = c.when.as_ref().map_or(String::new(), |when| format!(" [{when}]"));
            let arch = c.arch.map_or("others", Arch::name);
            format!("{arch} {}{when}: {} -> {} {}", c.syscall, c.before, c.after, c.effect())
        })
        .collect()
}

#[test]
fn the_exercise() {
    let mut store = Store::new();
    let default = preset(&mut store, "docker-default", CapabilitySet::EMPTY);
    let tcpdump = preset(&mut store, "tcpdump", CapabilitySet::EMPTY);
    let row = |arch| {
        format!(
            "{arch} socket [family not in {{AF_ALG, AF_VSOCK}}]: SCMP_ACT_ALLOW -> SCMP_ACT_ERRNO (EPERM) less"
        )
    };
    assert_eq!(rows(&mut store, default, tcpdump), [row("x86_64"), row("i386"), row("x32")]);
    assert_eq!(rows(&mut store, default, default), [""; 0]);
    assert!(rows(&mut store, tcpdump, default).iter().all(|row| row.ends_with("more")));
    assert!(subset(&mut store, tcpdump, default).unwrap().holds);
    let refuted = subset(&mut store, default, tcpdump).unwrap();
    assert!(!refuted.holds);
    let witness = refuted.witness.unwrap();
    assert_eq!((witness.call.arch, witness.call.nr, witness.call.args), (0xc000_003e, 41, [0; 6]));
    assert_eq!((witness.a, witness.b), (Action::Allow, Action::Errno(Errno::EPERM)));
    assert!(!equal(&mut store, default, tcpdump).unwrap().holds);
    assert!(equal(&mut store, default, default).unwrap().holds);
    assert_eq!(union(&mut store, default, tcpdump).unwrap(), default);
    assert_eq!(intersect(&mut store, default, tcpdump).unwrap(), tcpdump);
}

#[test]
fn a_capability_opens_calls() {
    let mut store = Store::new();
    let admin = [Capability::from_name("CAP_SYS_ADMIN").unwrap()].into_iter().collect();
    let without = preset(&mut store, "docker-default", CapabilitySet::EMPTY);
    let with = preset(&mut store, "docker-default", admin);
    let changes = rows(&mut store, without, with);
    let x86_64: Vec<&String> = changes.iter().filter(|row| row.starts_with("x86_64")).collect();
    let flags =
        "CLONE_NEWNS|CLONE_NEWCGROUP|CLONE_NEWUTS|CLONE_NEWIPC|CLONE_NEWUSER|CLONE_NEWPID|CLONE_NEWNET";
    for expected in [
        format!("x86_64 clone [(flags & ({flags})) != 0]: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW more"),
        "x86_64 clone3: SCMP_ACT_ERRNO (ENOSYS) -> SCMP_ACT_ALLOW more".to_owned(),
        "x86_64 mount: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW more".to_owned(),
    ] {
        assert!(x86_64.contains(&&expected), "{expected}\n{x86_64:#?}");
    }
    assert_eq!(x86_64.len(), 25);
}

fn on_socket(args: &[(&str, u64)]) -> String {
    let entries: Vec<String> = args
        .iter()
        .map(|(op, value)| {
            format!(
                r#"{{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_{op}"}}]}}"#
            )
        })
        .collect();
    entries.join(",")
}

#[test]
fn conditions_are_few_and_readable() {
    let mut store = Store::new();
    let mut when = |a: &[(&str, u64)], b: &[(&str, u64)]| -> Vec<Option<String>> {
        let (a, b) = (small(&mut store, &on_socket(a)), small(&mut store, &on_socket(b)));
        rows(&mut store, a, b);
        diff(&mut store, a, b, true).unwrap().into_iter().map(|c| c.when).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(when(&[("EQ", 1)], &[("EQ", 1), ("EQ", 2)]), [text("family == AF_INET")]);
    assert_eq!(when(&[("EQ", 1)], &[("LE", 3)]), [text("family in {AF_UNSPEC, AF_INET, AF_AX25}")]);
    assert_eq!(when(&[("GE", 50)], &[("GT", 50)]), [text("family == 50")]);
    assert_eq!(when(&[("LT", 5)], &[("LE", 4)]), [], "two spellings of one condition");
    assert_eq!(when(&[("NE", 5)], &[("LT", 5), ("GT", 5)]), []);
    assert_eq!(when(&[("EQ", 5)], &[("GE", 0)]), [text("family != AF_APPLETALK")]);
    assert_eq!(
        when(&[("GT", u64::MAX - 1)], &[("EQ", 7)]),
        [text("family == AF_BRIDGE"), text("family == 0xffffffffffffffff")]
    );
}

#[test]
fn several_arguments_are_exact() {
    let mut store = Store::new();
    let mut rule = |second: u64| {
        small(
            &mut store,
            &format!(
                r#"{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":1,"op":"SCMP_CMP_EQ"}},{{"index":1,"value":{second},"op":"SCMP_CMP_EQ"}}]}}"#
            ),
        )
    };
    let (a, b) = (rule(5), rule(6));
    assert_eq!(
        rows(&mut store, a, b),
        [
            "x86_64 ioctl [fd == 1 && cmd == 5]: SCMP_ACT_ALLOW -> SCMP_ACT_ERRNO (EPERM) less",
            "x86_64 ioctl [fd == 1 && cmd == 6]: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW more",
        ]
    );
    let union = union(&mut store, a, b).unwrap();
    assert_eq!(store.verdicts(union).len(), 4, "foreign, ENOSYS, EPERM, ALLOW");
}

fn program(lines: &[(u16, u8, u8, u32)]) -> Program {
    let insns = lines.iter().map(|&(code, jt, jf, k)| Insn { code, jt, jf, k }).collect();
    Program::from_instructions(insns).unwrap()
}

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;

/// EPERM for number 41 of x86-64 where `test` falls through, ALLOW elsewhere.
fn socket(test: &[(u16, u8, u8, u32)]) -> Program {
    let mut lines = vec![
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 1, 0, 0xc000_003e),
        (RET_K, 0, 0, ALLOW),
        (LD_W_ABS, 0, 0, 0),
        (JMP_JEQ_K, 1, 0, 41),
        (RET_K, 0, 0, ALLOW),
    ];
    lines.extend(test);
    lines.extend([(RET_K, 0, 0, EPERM), (RET_K, 0, 0, ALLOW)]);
    program(&lines)
}

/// The conditions under which `socket(test)` refuses.
fn conditions(test: &[(u16, u8, u8, u32)]) -> Vec<String> {
    let mut store = Store::new();
    let (a, b) = (store.of_stack(&[]).unwrap(), store.of_program(&socket(test)).unwrap());
    rows(&mut store, a, b);
    diff(&mut store, a, b, true).unwrap().into_iter().map(|c| c.when.unwrap_or_default()).collect()
}

#[test]
fn words_of_a_filter_are_said_as_arguments() {
    // The low half of a 64-bit argument, masks, several bits, several arguments.
    let low = (LD_W_ABS, 0, 0, 16);
    for (test, expected) in [
        (vec![], ""),
        (vec![low, (JMP_JEQ_K, 0, 1, 17)], "(family & 0xffffffff) == AF_PACKET"),
        (vec![low, (JMP_JEQ_K, 1, 0, 17)], "(family & 0xffffffff) != AF_PACKET"),
        (vec![low, (JMP_JGT_K, 0, 1, 17)], "(family & 0xffffffff) >= AF_ASH"),
        (vec![(LD_W_ABS, 0, 0, 20), (JMP_JEQ_K, 0, 3, 0), low, (JMP_JEQ_K, 0, 1, 17)], "family == AF_PACKET"),
        (vec![low, (JMP_JSET_K, 0, 1, 6)], "(family & 0x6) != 0"),
        (vec![low, (ALU_AND_K, 0, 0, 0xf0), (JMP_JEQ_K, 0, 1, 0x30)], "(family & 0xf0) == 48"),
        (
            vec![low, (JMP_JEQ_K, 0, 3, 17), (LD_W_ABS, 0, 0, 24), (JMP_JEQ_K, 0, 1, 3)],
            "(family & 0xffffffff) == AF_PACKET && (type & 0xffffffff) == SOCK_RAW",
        ),
        (
            vec![low, (JMP_JEQ_K, 2, 0, 17), (LD_W_ABS, 0, 0, 24), (JMP_JEQ_K, 0, 1, 3)],
            "(family & 0xffffffff) == AF_PACKET || (type & 0xffffffff) == SOCK_RAW",
        ),
        // An address: no words but an example.
        (
            vec![low, (MISC_TAX, 0, 0, 0), (LD_W_ABS, 0, 0, 24), (JMP_JEQ_X, 0, 1, 0)],
            "for example all arguments 0",
        ),
    ] {
        assert_eq!(conditions(&test), [expected], "{test:x?}");
    }
}

#[test]
fn other_architectures_are_one_row() {
    let mut store = Store::new();
    let none = store.of_stack(&[]).unwrap();
    let only = program(&[
        (LD_W_ABS, 0, 0, 4),
        (JMP_JEQ_K, 0, 1, 0xc000_003e),
        (RET_K, 0, 0, ALLOW),
        (RET_K, 0, 0, 0),
    ]);
    let only = store.of_program(&only).unwrap();
    assert_eq!(
        rows(&mut store, none, only),
        ["others (numbers without a name): SCMP_ACT_ALLOW -> SCMP_ACT_KILL_THREAD less"]
    );
    let refuses = store.constant(Action::Errno(Errno::EPERM));
    let all = rows(&mut store, none, refuses);
    assert!(all.len() > 1100, "{}", all.len());
    let arches: BTreeSet<&str> = all.iter().filter_map(|row| row.split(' ').next()).collect();
    assert_eq!(arches, BTreeSet::from(["i386", "others", "x32", "x86_64"]));
    assert_eq!(all.iter().filter(|row| row.contains(UNNAMED)).count(), 4);
}

#[test]
fn a_computed_number_is_compared_as_well() {
    let masked = |k: u32| {
        program(&[
            (LD_W_ABS, 0, 0, 0),
            (ALU_AND_K, 0, 0, 0xff),
            (JMP_JEQ_K, 0, 1, k),
            (RET_K, 0, 0, EPERM),
            (RET_K, 0, 0, ALLOW),
        ])
    };
    let mut store = Store::new();
    let (a, b) = (store.of_program(&masked(41)).unwrap(), store.of_program(&masked(42)).unwrap());
    let rows = rows(&mut store, a, b);
    assert!(rows.contains(&"x86_64 socket: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW more".to_owned()));
    assert!(rows.contains(&"x86_64 connect: SCMP_ACT_ALLOW -> SCMP_ACT_ERRNO (EPERM) less".to_owned()));
}
