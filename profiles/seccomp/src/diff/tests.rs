use super::*;
use crate::errno::Errno;
use crate::resolve::{Facts, KernelVersion, resolve};
use crate::{dialect, presets};
use plim_model::{Capability, CapabilitySet};

fn resolved(json: &str, caps: CapabilitySet) -> Resolved {
    let facts = Facts::new(Arch::X86_64, caps, KernelVersion { major: 6, minor: 18 });
    resolve(&dialect::parse(json.as_bytes()).unwrap(), &facts).unwrap().unwrap()
}

fn preset(name: &str, caps: CapabilitySet) -> Resolved {
    resolved(presets::get(name).unwrap(), caps)
}

fn small(entries: &str) -> Resolved {
    resolved(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{entries}]}}"#), CapabilitySet::EMPTY)
}

/// Rows as `arch syscall [when] before -> after effect`.
fn rows(a: &Resolved, b: &Resolved) -> Vec<String> {
    diff(a, b)
        .into_iter()
        .map(|c| {
            let when = c.when.map_or(String::new(), |when| format!(" [{when}]"));
            format!("{} {}{when}: {} -> {} {:?}", c.arch.name(), c.syscall, c.before, c.after, c.effect)
        })
        .collect()
}

const EPERM: Action = Action::Errno(Errno::EPERM);

#[test]
fn the_exercise() {
    let (default, tcpdump) =
        (preset("docker-default", CapabilitySet::EMPTY), preset("tcpdump", CapabilitySet::EMPTY));
    let changes = diff(&default, &tcpdump);
    let seen: Vec<(Arch, &str, u32)> =
        changes.iter().map(|c| (c.arch, c.syscall.as_str(), c.number.0)).collect();
    assert_eq!(
        seen,
        [(Arch::X86_64, "socket", 41), (Arch::X86, "socket", 359), (Arch::X32, "socket", 0x4000_0029)]
    );
    for change in &changes {
        assert_eq!((change.before, change.after, change.effect), (Action::Allow, EPERM, Effect::Less));
        assert_eq!(change.when.as_deref(), Some("arg0 != AF_ALG (38) and arg0 != AF_VSOCK (40)"));
    }
    assert_eq!(
        serde_json::to_string(&changes[0]).unwrap(),
        r#"{"arch":"SCMP_ARCH_X86_64","syscall":"socket","number":41,"when":"arg0 != AF_ALG (38) and arg0 != AF_VSOCK (40)","before":{"action":"SCMP_ACT_ALLOW"},"after":{"action":"SCMP_ACT_ERRNO","errno":"EPERM"},"effect":"less"}"#
    );
    assert!(diff(&default, &default).is_empty());
    assert!(diff(&tcpdump, &default).iter().all(|change| change.effect == Effect::More));
}

#[test]
fn a_capability_opens_calls() {
    let admin = [Capability::from_name("CAP_SYS_ADMIN").unwrap()].into_iter().collect();
    let changes = rows(&preset("docker-default", CapabilitySet::EMPTY), &preset("docker-default", admin));
    let x86_64: Vec<&String> = changes.iter().filter(|row| row.starts_with("x86_64")).collect();
    let namespaces = "(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)";
    for expected in [
        format!("x86_64 clone [arg0 & {namespaces} != 0]: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW More"),
        "x86_64 clone3: SCMP_ACT_ERRNO (ENOSYS) -> SCMP_ACT_ALLOW More".to_owned(),
        "x86_64 mount: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW More".to_owned(),
    ] {
        assert!(x86_64.contains(&&expected), "{expected}\n{x86_64:#?}");
    }
    assert_eq!(x86_64.len(), 25);
}

#[test]
fn intervals() {
    let socket = |args: &[(&str, u64)]| {
        let entries: Vec<String> = args
            .iter()
            .map(|(op, value)| {
                format!(
                    r#"{{"names":["socket"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":{value},"op":"SCMP_CMP_{op}"}}]}}"#
                )
            })
            .collect();
        small(&entries.join(","))
    };
    let when = |a: &[(&str, u64)], b: &[(&str, u64)]| -> Vec<Option<String>> {
        diff(&socket(a), &socket(b)).into_iter().map(|c| c.when).collect()
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(when(&[("EQ", 1)], &[("EQ", 1), ("EQ", 2)]), [text("arg0 == AF_INET (2)")]);
    assert_eq!(
        when(&[("EQ", 1)], &[("LE", 3)]),
        [text("arg0 == AF_UNSPEC (0) or AF_INET (2) <= arg0 <= AF_AX25 (3)")]
    );
    assert_eq!(when(&[("GE", 50)], &[("GT", 50)]), [text("arg0 == 50")]);
    assert_eq!(when(&[("LT", 5)], &[("LE", 4)]), [], "two spellings of one condition");
    assert_eq!(when(&[("NE", 5)], &[("LT", 5), ("GT", 5)]), []);
    assert_eq!(when(&[("EQ", 5)], &[("GE", 0)]), [text("arg0 != AF_APPLETALK (5)")]);
    assert_eq!(
        when(&[("GT", u64::MAX - 1)], &[("EQ", 7)]),
        [text("arg0 == AF_BRIDGE (7)"), text("arg0 == 0xffffffffffffffff")]
    );
}

#[test]
fn actions_and_unnamed_numbers() {
    let kill = |nr: &str| small(&format!(r#"{{"names":["read"],"action":"{nr}"}}"#));
    let row = rows(&kill("SCMP_ACT_ALLOW"), &kill("SCMP_ACT_KILL"));
    assert_eq!(row, ["x86_64 read: SCMP_ACT_ALLOW -> SCMP_ACT_KILL_THREAD Less"]);
    let row = rows(&kill("SCMP_ACT_ALLOW"), &kill("SCMP_ACT_LOG"));
    assert_eq!(row, ["x86_64 read: SCMP_ACT_ALLOW -> SCMP_ACT_LOG Other"]);
    let of = |default: &str| resolved(&format!(r#"{{"defaultAction":"{default}"}}"#), CapabilitySet::EMPTY);
    let changes = diff(&of("SCMP_ACT_ALLOW"), &of("SCMP_ACT_KILL"));
    assert_eq!(changes.last().unwrap().syscall, UNNAMED);
    assert!(changes.len() > 370 && changes.iter().all(|c| c.effect == Effect::Less));
}

#[test]
fn an_architecture_that_one_side_lacks_is_killed_there() {
    let a = small(r#"{"names":["read"],"action":"SCMP_ACT_ALLOW"}"#);
    let b = resolved(
        r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        CapabilitySet::EMPTY,
    );
    let changes = diff(&a, &b);
    assert!(changes.iter().all(|c| c.arch == Arch::X86 && c.before == Action::KillThread));
    let read = changes.iter().find(|c| c.syscall == "read").unwrap();
    assert_eq!((read.after, read.effect), (Action::Allow, Effect::More));
}

#[test]
fn several_arguments() {
    let rule = |second: u64| {
        small(&format!(
            r#"{{"names":["ioctl"],"action":"SCMP_ACT_ALLOW","args":[{{"index":0,"value":1,"op":"SCMP_CMP_EQ"}},{{"index":1,"value":{second},"op":"SCMP_CMP_EQ"}}]}}"#
        ))
    };
    assert_eq!(
        rows(&rule(5), &rule(6)),
        [
            "x86_64 ioctl [not (arg0 == 1 and arg1 == 5) and arg0 == 1 and arg1 == 6]: SCMP_ACT_ERRNO (EPERM) -> SCMP_ACT_ALLOW More",
            "x86_64 ioctl [arg0 == 1 and arg1 == 5 and not (arg0 == 1 and arg1 == 6)]: SCMP_ACT_ALLOW -> SCMP_ACT_ERRNO (EPERM) Less",
        ]
    );
}
