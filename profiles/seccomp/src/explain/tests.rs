use plim_model::{Capability, CapabilitySet};

use super::*;
use crate::bpf::{Insn, Program, code::*};
use crate::compile::compile;
use crate::dialect::{self, Written};
use crate::errno::Errno;
use crate::installed::{Engine, Vintage, install};
use crate::interpret;
use crate::presets;
use crate::resolve::{Facts, KernelVersion, resolve};

const EPERM: Action = Action::Errno(Errno::EPERM);
const ENOSYS: Action = Action::Errno(Errno::ENOSYS);

fn facts(caps: &[&str]) -> Facts {
    let caps: CapabilitySet = caps.iter().map(|name| Capability::from_name(name).unwrap()).collect();
    Facts::new(Arch::X86_64, caps, KernelVersion { major: 6, minor: 18 })
}

fn docker() -> Written {
    dialect::parse(presets::get("docker-default").unwrap().as_bytes()).unwrap()
}

fn question(text: &str) -> Question {
    let mut words = text.split(' ');
    let arch = Arch::from_name(words.next().unwrap()).unwrap();
    let question = Question::of_call(arch, words.next().unwrap()).unwrap();
    words.fold(question, |question, word| question.with(word).unwrap())
}

fn explain(written: &Written, caps: &[&str], text: &str) -> Explanation {
    let explanation = explain_profile(written, &facts(caps), &question(text)).unwrap();
    agrees(written, caps, &explanation);
    explanation
}

/// The witnesses get what the outcomes say.
fn agrees(written: &Written, caps: &[&str], explanation: &Explanation) {
    let resolved = resolve(written, &facts(caps)).unwrap();
    for outcome in &explanation.outcomes {
        let call = data(&outcome.witness);
        let action = resolved.as_ref().map_or(Action::Allow, |resolved| resolved.decide(&call));
        assert_eq!(action, outcome.action.0, "{}", outcome.witness);
    }
}

fn data(witness: &Witness) -> SeccompData {
    let number = |text: &String| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut args = [0; 6];
    args.iter_mut().zip(&witness.args).for_each(|(arg, text)| *arg = number(text));
    let arch = Arch::from_name(&witness.arch).unwrap();
    SeccompData { nr: witness.nr, arch: arch.audit_token(), args, ip: 0 }
}

fn rule(pointer: &str) -> impl Fn(&Outcome) -> bool {
    move |outcome| matches!(&outcome.decided_by, DecidedBy::Rule { pointer: at, .. } if at == pointer)
}

#[test]
fn the_rule_and_its_reason() {
    let answer = explain(&docker(), &[], "x86_64 execve");
    assert_eq!(answer.outcomes.len(), 1);
    let outcome = &answer.outcomes[0];
    assert!(rule("/syscalls/0")(outcome), "{outcome:#?}");
    assert_eq!((outcome.action.0, &outcome.when), (Action::Allow, &None));
    let DecidedBy::Rule { comment: Some(_), .. } = &outcome.decided_by else { panic!("{outcome:#?}") };
    // Without the name the call gets the default.
    let change = &outcome.changes[0];
    assert_eq!((change.kind, change.then.0), (ChangeKind::Profile, EPERM));
    let patch = r#"[{"op":"remove","path":"/syscalls/0/names/0"}]"#;
    assert_eq!(change.patch.as_ref().unwrap().to_string(), patch);
}

#[test]
fn a_missing_capability_and_the_smallest_rule() {
    let answer = explain(&docker(), &[], "x86_64 mount");
    let outcome = &answer.outcomes[0];
    assert!(
        matches!(&outcome.decided_by, DecidedBy::DefaultAction { pointer } if pointer == "/defaultAction")
    );
    let caps = &outcome.changes[0];
    assert_eq!((caps.kind, caps.then.0), (ChangeKind::Capabilities, Action::Allow));
    assert_eq!(caps.what, "with CAP_SYS_ADMIN in the bounding set the rule holds");
    let profile = &outcome.changes[1];
    assert_eq!(profile.then.0, Action::Allow);
    let patch =
        r#"[{"op":"add","path":"/syscalls/-","value":{"names":["mount"],"action":"SCMP_ACT_ALLOW"}}]"#;
    assert_eq!(profile.patch.as_ref().unwrap().to_string(), patch);
    // And back: with the capability it is there, without it is not.
    let answer = explain(&docker(), &["CAP_SYS_ADMIN"], "x86_64 mount");
    let outcome = &answer.outcomes[0];
    assert_eq!(outcome.action.0, Action::Allow);
    assert!(
        outcome.changes.iter().any(|change| change.what.starts_with("without CAP_SYS_ADMIN")),
        "{outcome:#?}"
    );
    // Two capabilities open bpf, and either does.
    let answer = explain(&docker(), &[], "x86_64 bpf");
    let caps: Vec<&str> = answer.outcomes[0].changes.iter().map(|change| change.what.as_str()).collect();
    assert!(caps[0].contains("CAP_SYS_ADMIN") && caps[1].contains("CAP_BPF"), "{caps:?}");
}

#[test]
fn an_older_kernel() {
    let written = docker();
    let old = Facts { kernel: KernelVersion { major: 4, minor: 4 }, ..facts(&[]) };
    let answer = explain_profile(&written, &old, &question("x86_64 ptrace")).unwrap();
    let change = &answer.outcomes[0].changes[0];
    assert_eq!((change.kind, change.then.0), (ChangeKind::Kernel, Action::Allow));
    assert_eq!(change.what, "on Linux 4.8 or newer the rule holds");
}

#[test]
fn open_arguments_give_conditions() {
    let answer = explain(&docker(), &[], "i386 socket");
    let whens: Vec<&str> =
        answer.outcomes.iter().map(|outcome| outcome.when.as_deref().unwrap_or("always")).collect();
    assert_eq!(answer.outcomes.len(), 4, "{whens:?}");
    let refused = answer.outcomes.last().unwrap();
    assert_eq!(refused.action.0, EPERM);
    for name in ["AF_ALG", "AF_VSOCK"] {
        assert!(refused.when.as_ref().unwrap().contains(name), "{whens:?}");
    }
    // With the argument known one is left, and no condition.
    let answer = explain(&docker(), &[], "x86_64 socket family=AF_ALG");
    assert_eq!(answer.outcomes.len(), 1);
    assert_eq!((answer.outcomes[0].action.0, &answer.outcomes[0].when), (EPERM, &None));
    let patch = answer.outcomes[0].changes[0].patch.clone().unwrap();
    assert_eq!(patch[0]["value"]["args"].to_string(), r#"[{"index":0,"value":38,"op":"SCMP_CMP_EQ"}]"#);
    // Of a known one nothing is said, of the open ones all.
    let answer = explain(&docker(), &[], "x86_64 clone stack=0");
    let whens: Vec<Option<&str>> = answer.outcomes.iter().map(|outcome| outcome.when.as_deref()).collect();
    assert_eq!(whens.len(), 2);
    assert!(
        whens
            .iter()
            .all(|when| when.is_some_and(|when| when.contains("CLONE_NEWUSER") && !when.contains("stack")))
    );
}

#[test]
fn enosys_or_eperm() {
    let answer = explain(&docker(), &[], "x86_64 clone3");
    let advice = answer.outcomes[0].errno_advice.clone().unwrap();
    assert_eq!((answer.outcomes[0].action.0, advice.is_enosys, advice.breaks), (ENOSYS, true, false));
    assert!(answer.notes[0].contains("behind a pointer"));
    let written = dialect::parse(
        br#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["mseal"],"action":"SCMP_ACT_ALLOW"}]}"#,
    )
    .unwrap();
    let advice = explain(&written, &[], "x86_64 faccessat2").outcomes[0].errno_advice.clone().unwrap();
    assert_eq!((advice.is_enosys, advice.breaks, advice.older), (false, true, Some("faccessat")));
    assert!(advice.behaviour.contains("faccessat.c"));
    assert!(!explain(&written, &[], "x86_64 close_range").outcomes[0].errno_advice.as_ref().unwrap().breaks);
    assert_eq!(explain(&written, &[], "x86_64 read").outcomes[0].errno_advice, None);
    assert_eq!(explain(&written, &[], "x86_64 mseal").outcomes[0].errno_advice, None);
    // Newer than all that the profile names.
    let outcome = explain(&written, &[], "x86_64 lsm_set_self_attr").outcomes[0].clone();
    assert_eq!(outcome.action.0, EPERM);
    let newer = explain(&written, &[], "x86_64 setxattrat").outcomes[0].clone();
    assert_eq!(newer.decided_by, DecidedBy::EnosysAbove { highest: 462, name: Some("mseal".to_owned()) });
    assert_eq!((newer.action.0, newer.changes[0].then.0), (ENOSYS, Action::Allow));
}

#[test]
fn foreign_architectures_and_no_seccomp() {
    let written =
        dialect::parse(br#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]}"#)
            .unwrap();
    let outcome = explain(&written, &[], "i386 read").outcomes[0].clone();
    assert_eq!(outcome.action.0, Action::KillThread);
    assert_eq!(outcome.decided_by, DecidedBy::ForeignArchitecture { arches: vec!["x86_64".to_owned()] });
    let patch = r#"[{"op":"add","path":"/architectures/-","value":"SCMP_ARCH_X86"}]"#;
    assert_eq!(outcome.changes[0].patch.as_ref().unwrap().to_string(), patch);
    assert_eq!(outcome.changes[0].then.0, Action::Allow);
    let off = dialect::parse(br#"{"linux":{}}"#).unwrap();
    assert_eq!(explain(&off, &[], "x86_64 read").outcomes[0].decided_by, DecidedBy::Nothing);
}

/// Inside of a config.json pointers and patches start at its root.
#[test]
fn places_in_a_config() {
    let json = br#"{"ociVersion":"1.0.2","linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW"}]}}}"#;
    let written = dialect::parse(json).unwrap();
    let outcome = explain(&written, &[], "x86_64 mseal").outcomes[0].clone();
    assert_eq!(outcome.changes[0].patch.as_ref().unwrap()[0]["path"], "/linux/seccomp/syscalls/-");
    let outcome = explain(&written, &[], "x86_64 read").outcomes[0].clone();
    assert_eq!(outcome.changes[0].patch.as_ref().unwrap()[0]["path"], "/linux/seccomp/syscalls/0");
    assert_eq!(outcome.changes[0].what, "without the rule /linux/seccomp/syscalls/0");
}

#[test]
fn a_rule_that_refuses_is_taken_away() {
    let json = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ERRNO"}]}"#;
    let written = dialect::parse(json).unwrap();
    let outcome = explain(&written, &[], "x86_64 write").outcomes[0].clone();
    assert_eq!((outcome.action.0, outcome.changes[0].then.0), (EPERM, Action::Allow));
    assert_eq!(outcome.changes[0].what, "without write in /syscalls/0");
    // And one that is missing is added.
    let outcome = explain(&written, &[], "x86_64 mount").outcomes[0].clone();
    assert_eq!((outcome.action.0, outcome.changes[0].then.0), (Action::Allow, EPERM));
}

#[test]
fn the_path_through_a_filter() {
    let program = compile(&resolve(&docker(), &facts(&[])).unwrap().unwrap()).unwrap();
    let programs = [program];
    for text in [
        "x86_64 socket",
        "i386 socketcall",
        "x86_64 mount",
        "x86_64 clone flags=CLONE_NEWUSER",
        "x32 read",
        "aarch64 read",
    ] {
        let answer = explain_filter(&programs, &question(text)).unwrap();
        assert!(!answer.outcomes.is_empty());
        for outcome in &answer.outcomes {
            assert_eq!(interpret::run(&programs[0], &data(&outcome.witness)), outcome.action.0, "{text}");
            let DecidedBy::Filter { filter: 0, path } = &outcome.decided_by else { panic!("{outcome:#?}") };
            assert!(path.last().unwrap().text.starts_with("return SCMP_ACT_"), "{path:?}");
            assert_eq!(path[0].instruction, 0);
        }
    }
    let answer = explain_filter(&programs, &question("x86_64 socket")).unwrap();
    assert_eq!(answer.outcomes.len(), 2);
    assert_eq!(answer.outcomes[0].action.0, EPERM);
    assert!(answer.outcomes[0].when.as_ref().unwrap().contains("AF_ALG"), "{:?}", answer.outcomes[0].when);
    let answer = explain_filter(&programs, &question("x86_64 socket family=AF_ALG")).unwrap();
    assert_eq!((answer.outcomes.len(), &answer.outcomes[0].when), (1, &None));
    assert_eq!(answer.outcomes[0].witness.args[0], "0x26");
}

#[test]
fn of_several_filters_the_strongest_decides() {
    let ret = |value| Program::from_instructions(vec![Insn::stmt(RET_K, value)]).unwrap();
    let (allow, eperm, five) = (ret(0x7fff_0000), ret(0x0005_0001), ret(0x0005_0005));
    let decider = |programs: &[Program]| {
        let answer = explain_filter(programs, &question("x86_64 read")).unwrap();
        let outcome = answer.outcomes[0].clone();
        match outcome.decided_by {
            DecidedBy::Filter { filter, .. } => (outcome.action.0, Some(filter)),
            _ => (outcome.action.0, None),
        }
    };
    assert_eq!(decider(&[eperm.clone(), allow.clone()]), (EPERM, Some(0)));
    assert_eq!(decider(&[eperm, five]), (Action::Errno(Errno::clamped(5)), Some(1)));
    assert_eq!(decider(&[]), (Action::Allow, None));
}

#[test]
fn other_arguments_change_it_too() {
    let programs = [compile(&resolve(&docker(), &facts(&[])).unwrap().unwrap()).unwrap()];
    let socket = question("x86_64 socket family=AF_ALG");
    for answer in [explain(&docker(), &[], "x86_64 socket family=AF_ALG"), {
        explain_filter(&programs, &socket).unwrap()
    }] {
        let [outcome] = answer.outcomes.as_slice() else { panic!("{answer:#?}") };
        let change = outcome.changes.iter().find(|change| change.kind == ChangeKind::Arguments).unwrap();
        assert_eq!(change.what, "with family not in {AF_ALG, AF_VSOCK}");
        assert_eq!((outcome.action.0, change.then.0), (EPERM, Action::Allow));
    }
    // All of the arguments that decide stay open, or none does.
    for text in ["x86_64 socket type=1", "x86_64 mount flags=0"] {
        let answer = explain_filter(&programs, &question(text)).unwrap();
        let mut kinds = answer.outcomes.iter().flat_map(|outcome| &outcome.changes).map(|change| change.kind);
        assert_eq!(kinds.any(|kind| kind == ChangeKind::Arguments), text.contains("socket"), "{text}");
    }
}

#[test]
fn as_an_engine_installs_it() {
    let old: Vintage = "2.5.4".parse().unwrap();
    let ask = |written: &Written, engine, text: &str| {
        let facts = facts(&[]);
        let answer = explain_installed(written, &facts, engine, old, &question(text)).unwrap();
        let installed = install(written, &facts, engine, old).unwrap();
        for outcome in &answer.outcomes {
            let call = data(&outcome.witness);
            assert_eq!(installed.decide(&call), outcome.action.0, "{text}: {}", outcome.witness);
        }
        answer
    };
    let answer = ask(&docker(), Engine::Docker, "x86_64 socket family=AF_INET");
    assert!(rule("/syscalls/22")(&answer.outcomes[0]), "{answer:#?}");
    // This libseccomp does not know the name, a later one does; runc answers ENOSYS, crun the default.
    let answer = ask(&docker(), Engine::Runc1_1, "x86_64 futex_wait");
    assert!(answer.notes[0].contains("unknown to this libseccomp"), "{answer:#?}");
    let outcome = &answer.outcomes[0];
    assert_eq!(
        outcome.decided_by,
        DecidedBy::EnosysAbove { highest: 449, name: Some("futex_waitv".to_owned()) }
    );
    let newer = outcome.changes.iter().find(|change| change.kind == ChangeKind::Library).unwrap();
    assert_eq!((outcome.action.0, newer.then.0), (ENOSYS, Action::Allow));
    assert_eq!(newer.what, "with libseccomp 2.5.5, which knows futex_wait");
    let outcome = &ask(&docker(), Engine::Crun, "x86_64 futex_wait").outcomes[0];
    assert!(matches!(outcome.decided_by, DecidedBy::DefaultAction { .. }), "{outcome:#?}");
    // What socket's rule opens in socketcall.
    let json = br#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":4294967297,"op":"SCMP_CMP_EQ"}]}]}"#;
    let written = dialect::parse(json).unwrap();
    let answer = ask(&written, Engine::Crun, "i386 socketcall");
    let allowed = answer.outcomes.iter().find(|outcome| outcome.action.0 == Action::Allow).unwrap();
    assert!(rule("/syscalls/0")(allowed), "{answer:#?}");
    assert!(answer.notes.iter().any(|note| note.contains("ruled in socketcall too")), "{answer:#?}");
    // Constants are cut to 32 bits there.
    let answer = ask(&written, Engine::Crun, "i386 socket family=1");
    assert!(rule("/syscalls/0")(&answer.outcomes[0]), "{answer:#?}");
    assert!(answer.notes.iter().any(|note| note.contains("cut to 32 bits")), "{answer:#?}");
    let foreign = ask(&written, Engine::Crun, "x32 read");
    assert!(matches!(foreign.outcomes[0].decided_by, DecidedBy::ForeignArchitecture { .. }));
}

#[test]
fn questions_that_cannot_be_asked() {
    let says = |text: &str, error: QuestionError| assert_eq!(error.to_string(), text);
    let call = Question::of_call(Arch::X86_64, "opennat").unwrap_err();
    says(r#"x86_64 has no system call "opennat"; did you mean "openat"?"#, call);
    let elsewhere = Question::of_call(Arch::X86_64, "socketcall").unwrap_err();
    says(r#"x86_64 has no system call "socketcall", i386 has"#, elsewhere);
    let number = Question::of_call(Arch::X86_64, "9999").unwrap();
    assert_eq!((number.nr.0, number.name()), (9999, None));
    assert_eq!(number.with("arg5=1").unwrap().args[5], Some(1));
    assert!(number.with("arg6=1").is_err() && Question::of_call(Arch::X86_64, "-1").is_err());
    let socket = question("x86_64 socket");
    says(
        r#"found "AF_ALG", expected an argument and its value, such as family=AF_INET or arg0=2"#,
        socket.with("AF_ALG").unwrap_err(),
    );
    says(
        r#"socket has no argument "famliy", it takes family, type, protocol; did you mean "family"?"#,
        socket.with("famliy=2").unwrap_err(),
    );
    says(
        r#"family=AF_INTE: "AF_INTE" is no number and no constant of this argument; did you mean "AF_INET"?"#,
        socket.with("family=AF_INTE").unwrap_err(),
    );
    says(r#"protocol=x: "x" is no number"#, socket.with("protocol=x").unwrap_err());
    // Flags, and the register's width.
    assert_eq!(question("x86_64 open flags=O_RDWR|O_CREAT").args[1], Some(0x42));
    assert_eq!(question("i386 read fd=-1").args[0], Some(0xffff_ffff));
    assert_eq!(question("s390x clone flags=CLONE_NEWUSER").args[1], Some(0x1000_0000));
}

#[test]
fn json_is_stable() {
    let answer = explain(&docker(), &[], "x86_64 mount");
    let json = serde_json::to_value(&answer).unwrap();
    assert_eq!(json["version"], "1.0");
    assert_eq!(json["call"]["args"], serde_json::json!([null, null, null, null, null, null]));
    assert_eq!(
        json["outcomes"][0]["decided_by"],
        serde_json::json!({"kind": "default_action", "pointer": "/defaultAction"})
    );
    assert_eq!(
        json["outcomes"][0]["action"],
        serde_json::json!({"action": "SCMP_ACT_ERRNO", "errno": "EPERM"})
    );
    assert_eq!(json["outcomes"][0]["changes"][0]["kind"], "capabilities");
}
