//! Each class fires on a profile or filter that has the fault, and keeps quiet on one that does not.

use std::collections::BTreeSet;

use plim_model::{Capability, CapabilitySet};

use super::*;
use crate::action::Action;
use crate::bpf::{Insn, code::*};
use crate::compile::compile;
use crate::{dialect, presets};

const KERNEL: KernelVersion = KernelVersion { major: 6, minor: 18 };

fn facts(caps: &[&str]) -> Facts {
    let caps = caps.iter().map(|name| Capability::from_name(name).unwrap()).collect();
    Facts::new(Arch::X86_64, caps, KERNEL)
}

/// A profile of these entries for x86-64, i386 and x32.
fn profile(default: &str, entries: &str) -> Written {
    let json = format!(
        r#"{{"defaultAction":"SCMP_ACT_{default}","flags":["SECCOMP_FILTER_FLAG_LOG"],"architectures":
            ["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],"syscalls":[{entries}]}}"#
    );
    dialect::parse(json.as_bytes()).unwrap()
}

fn found(default: &str, entries: &str, class: Class) -> Vec<Finding> {
    let report = lint_profile(&profile(default, entries), &facts(&[]), None);
    report.findings.into_iter().filter(|finding| finding.id == class.id()).collect()
}

/// The one finding of a class in an allow list.
fn one(entries: &str, class: Class) -> Finding {
    let mut all = found("ERRNO", entries, class);
    assert_eq!(all.len(), 1, "{all:#?}");
    all.remove(0)
}

fn none(entries: &str, class: Class) {
    let all = found("ERRNO", entries, class);
    assert!(all.is_empty(), "{all:#?}");
}

fn allow(names: &str, args: &str) -> String {
    format!(r#"{{"names":[{names}],"action":"SCMP_ACT_ALLOW","args":[{args}]}}"#)
}

fn arg(index: u8, op: &str, value: u64) -> String {
    format!(r#"{{"index":{index},"op":"SCMP_CMP_{op}","value":{value}}}"#)
}

fn masked(index: u8, mask: u64, value: u64) -> String {
    format!(r#"{{"index":{index},"op":"SCMP_CMP_MASKED_EQ","value":{mask},"valueTwo":{value}}}"#)
}

/// The action of the witness, on the profile's own meaning.
fn decided(entries: &str, finding: &Finding) -> Action {
    let facts = Facts { unknown_names: UnknownNames::Skip, ..facts(&[]) };
    let resolved = resolve(&profile("ERRNO", entries), &facts).unwrap().unwrap();
    let witness = finding.witness.as_ref().unwrap();
    let number = |text: &String| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut args = [0; 6];
    args.iter_mut().zip(&witness.args).for_each(|(arg, text)| *arg = number(text));
    let arch = Arch::from_name(&witness.arch).unwrap();
    resolved.decide(&SeccompData { nr: witness.nr, arch: arch.audit_token(), args, ip: 0 })
}

#[test]
fn s001_narrow_comparison() {
    let entries = allow(r#""socket""#, &arg(0, "NE", 38));
    let finding = one(&entries, Class::NarrowComparison);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::High, Some("/syscalls/0")));
    let witness = finding.witness.clone().unwrap();
    assert_eq!((witness.arch.as_str(), witness.args[0].as_str()), ("x86_64", "0x100000026"));
    assert_eq!(decided(&entries, &finding), Action::Allow);
    // A mask of what the kernel reads, equality, and arguments that it reads whole.
    none(&allow(r#""socket""#, &masked(0, 0xffff_ffff, 2)), Class::NarrowComparison);
    none(&allow(r#""socket""#, &arg(0, "EQ", 2)), Class::NarrowComparison);
    none(&allow(r#""unshare""#, &arg(0, "NE", 0x1000_0000)), Class::NarrowComparison);
    // 16 bits of a mode are read.
    none(&allow(r#""chmod""#, &arg(1, "LT", 0o1000)), Class::NarrowComparison);
    assert_eq!(
        one(&allow(r#""chmod""#, &arg(1, "GT", 0o777)), Class::NarrowComparison).severity,
        Severity::High
    );
    // A negative number misses the rule for it when its sign is extended.
    let query = one(&allow(r#""personality""#, &arg(0, "EQ", 0xffff_ffff)), Class::NarrowComparison);
    assert_eq!(
        (query.severity, query.witness.unwrap().args[0].as_str()),
        (Severity::Low, "0xffffffffffffffff")
    );
}

#[test]
fn s002_multiplexer() {
    let entries = allow(r#""socketcall","bind""#, "");
    let finding = one(&entries, Class::Multiplexer);
    assert!(
        finding.message.starts_with("socketcall on i386 still does what is refused as socket"),
        "{finding:#?}"
    );
    assert_eq!(decided(&entries, &finding), Action::Allow);
    assert!(finding.evidence.iter().any(|fact| fact.starts_with("SYS_SOCKET (1)")));
    assert!(!finding.evidence.iter().any(|fact| fact.starts_with("SYS_BIND")));
    let shared_memory = one(&allow(r#""ipc""#, ""), Class::Multiplexer);
    assert!(
        shared_memory.evidence.contains(&"SHMGET (23) is let through; shmget itself is refused".to_owned())
    );
    none(&allow(r#""bind","socket""#, ""), Class::Multiplexer);
    let all_of_ipc = r#""ipc","semtimedop_time64","semget","semctl","msgsnd","msgrcv","msgget","msgctl","shmat","shmdt","shmget","shmctl""#;
    none(&allow(all_of_ipc, ""), Class::Multiplexer);
    // Only the operation that is allowed counts.
    none(
        &format!("{},{}", allow(r#""socketcall""#, &arg(0, "EQ", 2)), allow(r#""bind""#, "")),
        Class::Multiplexer,
    );
}

/// libseccomp opens socketcall where a profile that does not name it allows socket for some families; the engines install that.
#[test]
fn what_is_installed_is_looked_at() {
    let written = profile("ERRNO", &allow(r#""socket""#, &arg(0, "EQ", 2)));
    let as_written = lint_profile(&written, &facts(&[]), None);
    assert!(of(&as_written, Class::Multiplexer).is_empty());
    let report = lint_installed(&written, &facts(&[]), Engine::Runc, Vintage::V2_5_4);
    let open = of(&report, Class::Multiplexer);
    assert_eq!((open.len(), open[0].pointer.as_deref()), (1, None), "{report:#?}");
    assert_eq!(open[0].witness.as_ref().unwrap().args[0], "0x1");
    let same = lint_installed(&written, &facts(&[]), Engine::Written, Vintage::newest());
    assert_eq!(same, as_written);
}

const ALLOW: Insn = Insn::stmt(RET_K, 0x7fff_0000);
const REFUSE: Insn = Insn::stmt(RET_K, 0x0005_0001);

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Insn {
    Insn { code, jt, jf, k }
}

fn filter(instructions: &[Insn]) -> Report {
    let program = Program::from_instructions(instructions.to_vec()).unwrap();
    let report = lint_filter(&[program], Arch::X86_64, KERNEL);
    assert!(report.undecided.is_empty());
    report
}

fn of(report: &Report, class: Class) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.id == class.id()).collect()
}

/// Refuses mount (165) and lets the rest pass.
fn deny_list(guard: &[Insn]) -> Report {
    let mut all = guard.to_vec();
    all.extend([Insn::stmt(LD_W_ABS, 0), jump(JMP_JEQ_K, 165, 0, 1), REFUSE, ALLOW]);
    filter(&all)
}

#[test]
fn s003_architectures() {
    let report = deny_list(&[]);
    let open = of(&report, Class::ForeignArchitecture);
    assert_eq!((open.len(), open[0].severity), (1, Severity::High));
    assert!(open[0].evidence[0].contains("never looks at seccomp_data.arch"));
    let witness = open[0].witness.clone().unwrap();
    assert_eq!((witness.arch.as_str(), witness.syscall.as_deref(), witness.nr), ("i386", Some("mount"), 21));
    let guard = [Insn::stmt(LD_W_ABS, 4), jump(JMP_JEQ_K, 0xc000_003e, 1, 0), Insn::stmt(RET_K, 0)];
    assert!(of(&deny_list(&guard), Class::ForeignArchitecture).is_empty());
    // An architecture that is let through.
    let guard = [Insn::stmt(LD_W_ABS, 4), jump(JMP_JEQ_K, 0xc000_003e, 1, 0), ALLOW];
    let report = deny_list(&guard);
    assert_eq!(of(&report, Class::ForeignArchitecture)[0].severity, Severity::High);
}

#[test]
fn s004_x32() {
    let guard = [Insn::stmt(LD_W_ABS, 4), jump(JMP_JEQ_K, 0xc000_003e, 1, 0), Insn::stmt(RET_K, 0)];
    let report = deny_list(&guard);
    let open = of(&report, Class::X32);
    assert_eq!((open.len(), open[0].severity), (1, Severity::High));
    assert_eq!(open[0].witness.clone().unwrap().nr, 165 | 0x4000_0000);
    let mut guarded = guard.to_vec();
    guarded.extend([Insn::stmt(LD_W_ABS, 0), jump(JMP_JGE_K, 0x4000_0000, 0, 1), REFUSE]);
    assert!(of(&deny_list(&guarded), Class::X32).is_empty());
    none(&allow(r#""read""#, ""), Class::X32);
}

#[test]
fn s005_shadowed() {
    let twice = format!("{},{}", allow(r#""read","write""#, ""), allow(r#""read""#, &arg(0, "EQ", 1)));
    let finding = one(&twice, Class::Shadowed);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::Low, Some("/syscalls/1")));
    // The stricter rule takes all that the other speaks of.
    let kill = r#"{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":0,"op":"SCMP_CMP_LE","value":9}]}"#;
    let finding = one(&format!("{kill},{}", allow(r#""read""#, &arg(0, "EQ", 1))), Class::Shadowed);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::Medium, Some("/syscalls/1")));
    none(&format!("{kill},{}", allow(r#""read""#, &arg(0, "EQ", 10))), Class::Shadowed);
    none(&format!("{},{}", allow(r#""read""#, ""), allow(r#""write""#, "")), Class::Shadowed);
}

#[test]
fn s006_conflict() {
    let log =
        r#"{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"SCMP_CMP_EQ","value":1}]}"#;
    let same = allow(r#""read""#, &arg(0, "EQ", 1));
    let finding = one(&format!("{log},{same}"), Class::Conflict);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::High, Some("/syscalls/1")));
    let report = lint_profile(&profile("ERRNO", &format!("{log},{same}")), &facts(&[]), None);
    assert_eq!(report.undecided.len(), 1);
    // A refusal that an unconditional permission replaces.
    let kill = r#"{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":0,"op":"SCMP_CMP_LE","value":9}]}"#;
    let finding = one(&format!("{kill},{}", allow(r#""read""#, "")), Class::Conflict);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::High, Some("/syscalls/0")));
    none(&format!("{log},{}", allow(r#""read""#, &arg(0, "EQ", 2))), Class::Conflict);
}

#[test]
fn s007_equal_to_default() {
    let refuse = r#"{"names":["read"],"action":"SCMP_ACT_ERRNO"}"#;
    assert_eq!(one(refuse, Class::EqualToDefault).pointer.as_deref(), Some("/syscalls/0"));
    none(r#"{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#, Class::EqualToDefault);
}

#[test]
fn s008_any_of() {
    let between = allow(r#""socket""#, &format!("{},{}", arg(0, "GE", 3), arg(0, "LE", 7)));
    let finding = one(&between, Class::AnyOf);
    assert_eq!(finding.severity, Severity::High);
    assert_eq!(decided(&between, &finding), Action::Allow);
    assert!(finding.evidence.iter().any(|fact| fact.contains("does not hold")));
    none(&allow(r#""socket""#, &format!("{},{}", arg(0, "GE", 3), arg(1, "LE", 7))), Class::AnyOf);
}

#[test]
fn s009_ordered_by_shape() {
    let log =
        r#"{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":0,"op":"SCMP_CMP_LT","value":9}]}"#;
    let overlapping = format!("{log},{}", allow(r#""read""#, &arg(2, "EQ", 5)));
    let finding = one(&overlapping, Class::OrderedByShape);
    assert_eq!(finding.severity, Severity::Low);
    assert_eq!(finding.witness.clone().unwrap().args[2], "0x5");
    let kill = r#"{"names":["read"],"action":"SCMP_ACT_KILL_PROCESS","args":[{"index":0,"op":"SCMP_CMP_LT","value":9}]}"#;
    let finding = one(&format!("{kill},{}", allow(r#""read""#, &arg(0, "GT", 5))), Class::OrderedByShape);
    assert_eq!((finding.severity, finding.witness.unwrap().args[0].as_str()), (Severity::Medium, "0x6"));
    none(&format!("{log},{}", allow(r#""read""#, &arg(0, "EQ", 9))), Class::OrderedByShape);
}

#[test]
fn s010_unknown_name() {
    let finding = one(&allow(r#""read","opennat""#, ""), Class::UnknownName);
    assert_eq!(
        (finding.severity, finding.pointer.as_deref()),
        (Severity::Medium, Some("/syscalls/0/names/1"))
    );
    assert!(finding.remedy.starts_with(r#""openat" may be meant"#), "{}", finding.remedy);
    let refused = found("ALLOW", r#"{"names":["mountt"],"action":"SCMP_ACT_ERRNO"}"#, Class::UnknownName);
    assert_eq!(refused[0].severity, Severity::High);
    none(&allow(r#""read","arm_fadvise64_64""#, ""), Class::UnknownName);
}

#[test]
fn s011_too_new() {
    let old = Vintage::V2_5_4;
    let entries = allow(r#""read","mseal""#, "");
    let report = lint_profile(&profile("ERRNO", &entries), &facts(&[]), Some(old));
    let finding = of(&report, Class::TooNew)[0].clone();
    assert_eq!(finding.severity, Severity::Medium);
    assert!(finding.message.starts_with("libseccomp 2.5.4 does not know mseal:"), "{}", finding.message);
    let refused = r#"{"names":["mseal"],"action":"SCMP_ACT_ERRNO"}"#;
    let report = lint_profile(&profile("ALLOW", refused), &facts(&[]), Some(old));
    assert_eq!(of(&report, Class::TooNew)[0].severity, Severity::High);
    let report = lint_profile(&profile("ERRNO", &entries), &facts(&[]), Some(Vintage::newest()));
    assert!(of(&report, Class::TooNew).is_empty());
    none(&entries, Class::TooNew);
}

#[test]
fn s012_wrong_error() {
    let finding = one(&allow(r#""clone","mseal","landlock_create_ruleset""#, ""), Class::WrongError);
    assert_eq!(finding.severity, Severity::Medium);
    assert!(finding.message.starts_with("clone3 gets SCMP_ACT_ERRNO (EPERM)"), "{}", finding.message);
    assert!(finding.evidence[0].contains("clone-internal.c"));
    assert_eq!(finding.evidence[1], "so on x86_64, i386, x32");
    let enosys = r#"{"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#;
    none(
        &format!("{},{enosys}", allow(r#""clone","mseal","landlock_create_ruleset""#, "")),
        Class::WrongError,
    );
    // Newer than everything that the profile names: ENOSYS already. And where clone is refused as well, EPERM says it.
    none(&allow(r#""clone""#, ""), Class::WrongError);
    none(&allow(r#""mseal","landlock_create_ruleset""#, ""), Class::WrongError);
    // 64-bit time is new on 32-bit architectures only.
    let finding = one(&allow(r#""clock_gettime","mseal","landlock_create_ruleset""#, ""), Class::WrongError);
    assert!(finding.message.starts_with("clock_gettime64"));
    assert_eq!(finding.evidence[1], "so on i386");
}

#[test]
fn s013_unequal() {
    let report = found("ALLOW", r#"{"names":["open"],"action":"SCMP_ACT_ERRNO"}"#, Class::Unequal);
    let messages: Vec<&str> = report.iter().map(|finding| finding.message.as_str()).collect();
    assert!(
        messages.contains(&"open is refused, and openat2, which can do the same, is let through"),
        "{messages:?}"
    );
    let all = r#"{"names":["open","openat","openat2","creat"],"action":"SCMP_ACT_ERRNO"}"#;
    assert!(found("ALLOW", all, Class::Unequal).is_empty());
    // One has conditions, the other none.
    let clone = format!("{},{}", allow(r#""clone""#, &masked(0, 0x1000_0000, 0)), allow(r#""clone3""#, ""));
    let finding = one(&clone, Class::Unequal);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::High, Some("/syscalls/1")));
    // ENOSYS means: take the other.
    none(&allow(r#""openat2""#, ""), Class::WrongError);
    let absent = r#"{"names":["open","creat"],"action":"SCMP_ACT_ERRNO","errnoRet":38}"#;
    assert!(found("ALLOW", absent, Class::Unequal).is_empty());
}

#[test]
fn s014_purpose() {
    let finding = one(&allow(r#""read","io_uring_setup""#, ""), Class::DefeatsPurpose);
    assert_eq!((finding.severity, finding.pointer.as_deref()), (Severity::High, Some("/syscalls/0")));
    none(&allow(r#""read","io_uring_enter""#, ""), Class::DefeatsPurpose);
    let finding = one(&allow(r#""clone""#, ""), Class::DefeatsPurpose);
    assert_eq!(finding.witness.unwrap().args[0], "0x10000000");
    none(&allow(r#""clone""#, &masked(0, 0x1000_0000, 0)), Class::DefeatsPurpose);
    assert!(one(&allow(r#""socket""#, ""), Class::DefeatsPurpose).message.contains("AF_VSOCK"));
    none(&allow(r#""socket""#, &arg(0, "LT", 38)), Class::DefeatsPurpose);
    // Before Linux 4.8 a tracer gets around everything.
    let old = Facts { kernel: KernelVersion { major: 4, minor: 7 }, ..facts(&[]) };
    let report = lint_profile(&profile("ERRNO", &allow(r#""ptrace""#, "")), &old, None);
    assert_eq!(of(&report, Class::DefeatsPurpose)[0].severity, Severity::High);
    assert_eq!(one(&allow(r#""ptrace""#, ""), Class::DefeatsPurpose).severity, Severity::Low);
}

#[test]
fn s015_bitmap() {
    // A multiplication by 1 changes nothing and is not followed by the kernel's emulation.
    let guard = [Insn::stmt(LD_W_ABS, 4), jump(JMP_JEQ_K, 0xc000_003e, 1, 0), Insn::stmt(RET_K, 0)];
    let report = deny_list(&guard);
    assert!(of(&report, Class::BitmapLost).is_empty(), "{report:#?}");
    let mut slow = guard.to_vec();
    slow.push(Insn::stmt(ALU_MUL_K, 1));
    let report = deny_list(&slow);
    let lost = of(&report, Class::BitmapLost);
    assert_eq!(lost.len(), 1);
    assert!(lost[0].evidence[0].contains("instruction 3:"), "{:?}", lost[0].evidence);
    // Data beside SECCOMP_RET_ALLOW is enough, and one filter of several.
    let fast = Program::from_instructions(vec![ALLOW]).unwrap();
    let data = [Insn::stmt(LD_W_ABS, 0), jump(JMP_JEQ_K, 165, 0, 1), REFUSE, Insn::stmt(RET_K, 0x7fff_0001)];
    let data = Program::from_instructions(data.to_vec()).unwrap();
    let report = lint_filter(&[fast.clone(), data.clone()], Arch::X86_64, KERNEL);
    assert!(
        of(&report, Class::BitmapLost)[0].evidence[0].starts_with("filter 1: instruction 3 returns data")
    );
    assert_eq!(bitmap::kept(&[data], Arch::X86_64), 0);
    assert!(bitmap::kept(&[fast], Arch::X86_64) > 700);
}

#[test]
fn s016_no_log() {
    let silent = dialect::parse(br#"{"defaultAction":"SCMP_ACT_ERRNO"}"#).unwrap();
    let report = lint_profile(&silent, &facts(&[]), None);
    assert_eq!(of(&report, Class::NoLog)[0].severity, Severity::Low);
    none(&allow(r#""read""#, ""), Class::NoLog);
    let kill = dialect::parse(br#"{"defaultAction":"SCMP_ACT_KILL_PROCESS"}"#).unwrap();
    assert!(of(&lint_profile(&kill, &facts(&[]), None), Class::NoLog).is_empty());
}

#[test]
fn s017_constant_condition() {
    let finding = one(&allow(r#""socket""#, &arg(5, "EQ", 1)), Class::ConstantCondition);
    assert_eq!(
        (finding.severity, finding.pointer.as_deref()),
        (Severity::Medium, Some("/syscalls/0/args/0"))
    );
    assert!(finding.message.contains("the call does not have; it takes 3"), "{}", finding.message);
    assert!(
        one(&allow(r#""socket""#, &arg(0, "EQ", 1 << 40)), Class::ConstantCondition)
            .message
            .contains("never")
    );
    assert!(one(&allow(r#""read""#, &arg(2, "GE", 0)), Class::ConstantCondition).message.contains("always"));
    none(&allow(r#""read""#, &arg(2, "GE", 1 << 40)), Class::ConstantCondition);
    none(&allow(r#""socket""#, &arg(2, "EQ", 0xffff_ffff)), Class::ConstantCondition);
}

#[test]
fn s018_open_default() {
    let report = found("ALLOW", r#"{"names":["mount"],"action":"SCMP_ACT_ERRNO"}"#, Class::OpenDefault);
    assert_eq!((report.len(), report[0].severity), (1, Severity::Medium));
    assert_eq!(found("ALLOW", "", Class::OpenDefault)[0].severity, Severity::Critical);
    none(&allow(r#""read""#, ""), Class::OpenDefault);
    let off = dialect::parse(br#"{"defaultAction":"","syscalls":[]}"#).unwrap();
    assert_eq!(lint_profile(&off, &facts(&[]), None).findings[0].severity, Severity::Critical);
    assert_eq!(lint_filter(&[], Arch::X86_64, KERNEL).findings[0].severity, Severity::Critical);
    assert_eq!(of(&deny_list(&[]), Class::OpenDefault)[0].severity, Severity::Medium);
    assert_eq!(of(&filter(&[ALLOW]), Class::OpenDefault)[0].severity, Severity::Critical);
}

/// Every finding has a witness that gets what the evidence says; but a name that no architecture has can be called by nobody.
#[test]
fn every_finding_shows_itself() {
    let entries = format!(
        "{},{},{},{},{}",
        r#"{"names":["read","write"],"action":"SCMP_ACT_ERRNO","errnoRet":1},{"names":["raed"],"action":"SCMP_ACT_ALLOW"}"#,
        allow(r#""socket""#, &format!("{},{}", arg(0, "GE", 3), arg(0, "LE", 7))),
        allow(r#""personality""#, ""),
        allow(r#""personality""#, &arg(0, "EQ", 8)),
        allow(r#""mlock""#, &arg(5, "EQ", 1)),
    );
    let mut classes = std::collections::BTreeSet::new();
    for default in ["ERRNO", "ALLOW"] {
        for json in [entries.as_str(), "", r#"{"names":["mount"],"action":"SCMP_ACT_KILL_PROCESS"}"#] {
            let report = lint_installed(&profile(default, json), &facts(&[]), Engine::Runc, Vintage::V2_5_4);
            for finding in report.findings {
                classes.insert(finding.id);
                assert!(!finding.evidence.is_empty(), "{finding:#?}");
                assert!(!finding.remedy.is_empty(), "{finding:#?}");
                assert!(finding.witness.is_some() || finding.message.contains("raed"), "{finding:#?}");
            }
        }
    }
    let expected = ["PLIM-S005", "PLIM-S007", "PLIM-S008", "PLIM-S010", "PLIM-S017", "PLIM-S018"];
    assert!(expected.iter().all(|id| classes.contains(id)), "{classes:?}");
}

#[test]
fn a_clean_profile_is_clean() {
    let names =
        r#""read","write","exit_group","rt_sigreturn","copy_file_range","mseal","landlock_create_ruleset""#;
    let report = lint_profile(&profile("ERRNO", &allow(names, "")), &facts(&[]), None);
    assert_eq!(report.findings, []);
    assert_eq!(serde_json::to_string(&report).unwrap(), r#"{"version":"1.0","findings":[]}"#);
}

#[test]
fn the_gravest_come_first_and_json_is_stable() {
    let entries = format!("{},{}", allow(r#""socketcall""#, ""), allow(r#""clone3""#, ""));
    let report = lint_profile(&profile("ERRNO", &entries), &facts(&[]), None);
    assert!(report.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    let json = serde_json::to_value(&report.findings[0]).unwrap();
    let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["id", "title", "severity", "message", "evidence", "witness", "pointer", "remedy"]);
    assert_eq!(json["severity"], "high");
}

/// A 32-bit token, conditions on the low words only, and both byte orders.
#[test]
fn other_architectures() {
    let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_S390X","SCMP_ARCH_S390"],"syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"op":"SCMP_CMP_GT","value":40}]}]}"#;
    let written = dialect::parse(json.as_bytes()).unwrap();
    let facts = Facts::new(Arch::S390x, CapabilitySet::EMPTY, KERNEL);
    let report = lint_profile(&written, &facts, None);
    let narrow = of(&report, Class::NarrowComparison);
    assert_eq!(narrow.len(), 1);
    let witness = narrow[0].witness.clone().unwrap();
    assert_eq!((witness.arch.as_str(), witness.args[0].as_str()), ("s390x", "0x100000000"));
}

/// What the shipped presets are known to have, by id, severity and place; see `profiles/library/seccomp`.
#[test]
fn the_presets_have_what_is_expected() {
    let mut text = String::new();
    for name in presets::names() {
        for (what, caps) in [("no capability", &[][..]), ("CAP_SYS_ADMIN", &["CAP_SYS_ADMIN"])] {
            let written = dialect::parse(presets::get(name).unwrap().as_bytes()).unwrap();
            let report = lint_profile(&written, &facts(caps), None);
            assert!(report.undecided.is_empty(), "{name}: {:?}", report.undecided);
            text += &format!("{name}, {what}\n");
            for finding in &report.findings {
                let call = finding.witness.as_ref().and_then(|w| w.syscall.clone()).unwrap_or_default();
                let line = format!("  {} {:8} {call}", finding.id, finding.severity);
                text += &format!("{}\n", line.trim_end());
            }
            // What we compile has the same meaning, so the same findings, and keeps the bitmap.
            let program = compile(&resolve(&written, &facts(caps)).unwrap().unwrap()).unwrap();
            let of_meaning = |findings: &[Finding]| -> BTreeSet<(&'static str, String)> {
                let rules =
                    [Class::NoLog, Class::Shadowed, Class::Conflict, Class::AnyOf, Class::OrderedByShape];
                let other = |f: &&Finding| !rules.iter().any(|class| class.id() == f.id);
                findings.iter().filter(other).map(|f| (f.id, f.message.clone())).collect()
            };
            let compiled = lint_filter(&[program], Arch::X86_64, KERNEL);
            assert_eq!(of_meaning(&compiled.findings), of_meaning(&report.findings), "{name}");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/presets.findings");
    if std::env::var_os("PLIM_BLESS").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(text, expected, "set PLIM_BLESS=1 to take these over");
}
