use plim_model::CapabilitySet;
use plim_seccomp::Arch;
use plim_seccomp::compile::{compile, from_diagram};
use plim_seccomp::dialect;
use plim_seccomp::installed::{Engine, Vintage, install};
use plim_seccomp::resolve::{Facts, KernelVersion, resolve};

use super::super::declared::Raw;
use super::*;

const PROFILE: &str = r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
    {"names": ["read", "write", "exit_group", "futex_waitv"], "action": "SCMP_ACT_ALLOW"},
    {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#;

fn facts() -> Facts {
    Facts::new(Arch::X86_64, CapabilitySet::EMPTY, KernelVersion { major: 6, minor: 1 })
}

#[derive(clap::Parser)]
struct Flags {
    #[command(flatten)]
    facts: plim_tools_common::facts::FactArgs,
}

fn declared(json: &str, engine: &str) -> Declared {
    let flags = <Flags as clap::Parser>::parse_from(["x", "--arch", "x86_64", "--kernel", "6.1"]);
    let spec = Observed::Present(serde_json::from_str(json).expect("JSON"));
    let gathered = flags.facts.gather().expect("all named");
    Declared::of(Raw::Engine(spec), engine, "docker:web", &gathered, None).expect("a profile")
}

fn as_runc(json: &str, vintage: &str) -> Program {
    let written = dialect::parse(json.as_bytes()).expect("a profile");
    let vintage: Vintage = vintage.parse().expect("a release");
    let installed = install(&written, &facts(), Engine::Runc, vintage).expect("installable");
    let mut store = Store::new();
    let diagram = store.of_installed(&installed).expect("small");
    from_diagram(&mut store, diagram, Some(Arch::X86_64)).expect("small")
}

fn other() -> Program {
    let json = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["bpf"], "action": "SCMP_ACT_ERRNO"}]}"#;
    let written = dialect::parse(json.as_bytes()).expect("a profile");
    compile(&resolve(&written, &facts()).expect("fine").expect("on")).expect("small")
}

fn thread(tid: i32, filters: Observed<Vec<Program>>) -> Thread {
    Thread { pid: 7, tid, comm: "sh".to_owned(), filters }
}

#[test]
fn the_runtime_that_fits_is_found_and_the_shell_without_a_filter_too() {
    let filter = as_runc(PROFILE, "2.5.3");
    let threads = [
        thread(7, Observed::Present(vec![filter.clone()])),
        thread(8, Observed::Present(vec![filter.clone(), other()])),
        thread(9, Observed::Present(Vec::new())),
        thread(10, Observed::Unknown("ptrace: EPERM".to_owned())),
    ];
    let verified =
        judge("docker:web", &declared(PROFILE, "docker"), &threads, threads.first()).expect("judged");
    assert!(!verified.holds);
    assert_eq!((verified.declared.installed_as, verified.declared.nearest), ("runc", false));
    let verdicts: Vec<(Verdict, i32)> =
        verified.groups.iter().map(|group| (group.verdict, group.threads[0].tid)).collect();
    assert_eq!(
        verdicts,
        [(Verdict::Different, 9), (Verdict::Unknown, 10), (Verdict::Narrower, 8), (Verdict::Equal, 7)],
        "what is worst comes first"
    );
    assert_eq!(verified.groups[2].more, Some(1));
    assert!(verified.groups[0].changes.iter().all(|change| change.effect == plim_model::diff::Effect::More));
    let json = serde_json::to_value(&verified).expect("JSON");
    assert_eq!(json["groups"][1]["why"], "ptrace: EPERM");
    assert_eq!(json["declared"]["by_engine"], true);
}

#[test]
fn one_rule_less_is_one_row() {
    let weaker = PROFILE.replace("\"read\", ", "\"read\", \"bpf\", ");
    let threads = [thread(7, Observed::Present(vec![as_runc(&weaker, "2.6.0")]))];
    let verified =
        judge("docker:web", &declared(PROFILE, "docker"), &threads, threads.first()).expect("judged");
    let [group] = verified.groups.as_slice() else { panic!("one group: {verified:?}") };
    assert_eq!(group.verdict, Verdict::Different);
    let calls: Vec<&str> =
        group.changes.iter().filter_map(|change| Some(change.seccomp.as_ref()?.syscall.as_str())).collect();
    assert_eq!(calls, ["bpf", "bpf"], "x86_64 and i386");
    assert!(verified.declared.nearest, "nobody installs just that");
    assert!(verified.declared.to_string().ends_with("who installed it is not known)"));
}

#[test]
fn another_thread_tells_what_the_first_process_does_not() {
    let filter = as_runc(PROFILE, "2.5.3");
    for first in [Observed::Unknown("gone".to_owned()), Observed::Present(Vec::new())] {
        let threads = [thread(7, first), thread(8, Observed::Present(vec![filter.clone()]))];
        let verified =
            judge("docker:web", &declared(PROFILE, "docker"), &threads, threads.first()).expect("judged");
        assert!(!verified.declared.nearest);
        let equal: Vec<i32> = verified
            .groups
            .iter()
            .filter(|group| group.verdict == Verdict::Equal)
            .map(|group| group.threads[0].tid)
            .collect();
        assert_eq!((verified.holds, equal), (false, vec![8]));
    }
}

#[test]
fn no_filter_declared_and_none_there_is_equal() {
    let threads = [thread(7, Observed::Present(Vec::new()))];
    let flags = <Flags as clap::Parser>::parse_from(["x", "--arch", "x86_64", "--kernel", "6.1"]);
    let gathered = flags.facts.gather().expect("all named");
    let declared = Declared::of(Raw::Engine(Observed::Absent), "docker", "docker:web", &gathered, None)
        .expect("nothing");
    let verified = judge("docker:web", &declared, &threads, threads.first()).expect("judged");
    assert!(verified.holds);
    let unknown = Raw::Engine(Observed::Unknown("no config.json".to_owned()));
    let error = Declared::of(unknown, "docker", "docker:web", &gathered, None).err().expect("unknown");
    let failure = error.downcast_ref::<plim_tools_common::exit::Failure>().expect("a status");
    assert_eq!(failure.status, 3);
    assert!(format!("{error:#}").contains("--profile"), "{error:#}");
}

#[test]
fn no_thread_is_no_proof() {
    let verified = judge("docker:web", &declared(PROFILE, "docker"), &[], None).expect("judged");
    assert!(!verified.holds && verified.groups.is_empty());
}
