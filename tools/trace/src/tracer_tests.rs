//! The programs, attached to this kernel. Needs root and a kernel that can be traced.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use plim_model::Capability;

use super::{FIRST_PID_NAMESPACE, Identity, Scope, Tracer, TracerError};
use crate::event::{Event, flag};
use crate::programs::Probes;

/// `make test` counts these lines.
fn skip(why: &str) {
    let _ = writeln!(std::io::stdout(), "skipped: {why}");
}

/// Refused calls of a thread of its own: without CAP_SYS_CHROOT, and under a filter that refuses sethostname(2). Returns its id.
fn refused() -> i32 {
    let refuses = seccompiler::SeccompFilter::new(
        BTreeMap::from([(nix::libc::SYS_sethostname, Vec::new())]),
        seccompiler::SeccompAction::Allow,
        seccompiler::SeccompAction::Errno(Errno::EPERM as u32),
        seccompiler::TargetArch::x86_64,
    );
    let refuses: seccompiler::BpfProgram = refuses.and_then(TryInto::try_into).expect("a filter");
    let calls = move || {
        caps::drop(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_CHROOT).expect("capset");
        seccompiler::apply_filter(&refuses).expect("seccomp");
        let chroot = || assert_eq!(nix::unistd::chroot("/"), Err(Errno::EPERM));
        let link =
            || assert_eq!(std::fs::hard_link("/", "/link").map_err(|e| e.raw_os_error()), Err(Some(1)));
        let name = || assert_eq!(nix::unistd::sethostname("name"), Err(Errno::EPERM));
        chroot();
        chroot();
        link();
        name();
        name();
        chroot();
        link();
        name();
        nix::unistd::gettid().as_raw()
    };
    std::thread::spawn(calls).join().expect("all are refused")
}

/// tracefs where everybody looks for it, for the calling thread alone.
fn mount_tracefs() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), NONE)
}

/// What a tracer at these probes tells of them: the call, the capability that it lacked, whether it was entered.
fn told(probes: Probes) -> Result<Vec<(i64, Option<u8>, bool)>, TracerError> {
    let mut tracer = Tracer::load_at(Ok(probes), Scope::Everything, &[])?;
    tracer.add(Identity::PidNamespace(FIRST_PID_NAMESPACE), true)?;
    tracer.attach()?;
    let tid = refused();
    let mut events = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    // The thread has ended: what it was refused is in the ring.
    while let Some(event) = tracer.next_record(Event::parse) {
        assert!(Instant::now() < deadline, "others are refused without end");
        events.extend(event.filter(|event| event.tid == tid));
    }
    if Probes::exact() == Ok(probes) {
        assert_eq!((tracer.skipped_runs(), tracer.counts()?[0].lost), (0, 0), "{probes:?}");
    }
    let row = |event: Event| {
        assert!(event.asked.len() < 2, "{event:?}");
        let asked = event.asked.first().map(|asked| asked.capability.number());
        (i64::from(event.number), asked, event.flags & flag::ENTERED != 0)
    };
    Ok(events.into_iter().map(row).collect())
}

#[test]
fn at_perfs_probes_the_programs_tell_what_they_do_at_raw_ones() {
    let chroot = Capability::from_name("CAP_SYS_CHROOT").map(|capability| capability.number());
    let chroot = (nix::libc::SYS_chroot, chroot, true);
    let link = (nix::libc::SYS_linkat, None, true);
    let name = (nix::libc::SYS_sethostname, None, false);
    let made = [chroot, chroot, link, name, name, chroot, link, name];
    if let Err(why) = mount_tracefs() {
        return skip(&format!("no tracefs: {why}"));
    }
    for probes in [Probes::Raw, Probes::Perf] {
        match told(probes) {
            Ok(told) => assert_eq!(told, made, "{probes:?}"),
            Err(
                why @ (TracerError::Privilege(_) | TracerError::Kernel(_) | TracerError::PidNamespace(_)),
            ) => {
                return skip(&format!("no tracing here: {why}"));
            }
            Err(why) => panic!("{probes:?}: {why}"),
        }
    }
}
