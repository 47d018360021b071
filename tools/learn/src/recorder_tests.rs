//! The programs, attached to this kernel. Needs root and a kernel that can be traced.

use std::io::Write;

use nix::errno::Errno;
use plim_model::Capability;
use plim_trace::programs::Probes;
use plim_trace::tracer::{FIRST_PID_NAMESPACE, may_trace};

use super::Recorder;

/// `make test` counts these lines.
fn skip(why: &str) {
    let _ = writeln!(std::io::stdout(), "skipped: {why}");
}

/// tracefs where everybody looks for it, for the calling thread alone.
fn mount_tracefs() -> nix::Result<()> {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
    mount(Some("tracefs"), "/sys/kernel/tracing", Some("tracefs"), MsFlags::empty(), NONE)
}

#[test]
fn at_perfs_probes_the_programs_record_what_they_do_at_raw_ones() {
    if let Err(why) = may_trace() {
        return skip(&format!("no tracing here: {why}"));
    }
    if let Err(why) = mount_tracefs() {
        return skip(&format!("no tracefs: {why}"));
    }
    let chroot = u32::try_from(nix::libc::SYS_chroot).expect("a number");
    let asks = Capability::from_name("CAP_SYS_CHROOT").map(|capability| u32::from(capability.number()));
    for probes in [Probes::Raw, Probes::Perf] {
        let dir = tempfile::tempdir().expect("a directory");
        // Of all processes of the host.
        let mut recorder = Recorder::load_at(probes, FIRST_PID_NAMESPACE, 0).expect("loads");
        recorder.attach().expect("attaches");
        assert_eq!(nix::unistd::chroot("/"), Ok(()));
        assert_eq!(nix::unistd::chroot(&dir.path().join("none")), Err(Errno::ENOENT));
        std::fs::write(dir.path().join("made"), "").expect("a file");
        recorder.detach();
        let counts: Vec<u64> = recorder
            .calls()
            .expect("calls")
            .iter()
            .filter(|call| call.number == chroot)
            .map(|call| call.count)
            .collect();
        assert!(counts.iter().sum::<u64>() >= 2, "{probes:?}: {counts:?}");
        let asked = recorder.capabilities().expect("capabilities");
        let asked = asked
            .iter()
            .any(|asked| asked.number.cast_unsigned() == chroot && Some(asked.capability) == asks);
        assert!(asked || !recorder.sees_capabilities(), "{probes:?}");
        let mut made = false;
        while let Some(event) = recorder.next() {
            made |= event.is_some_and(|event| event.path.ends_with("/made"));
        }
        assert!(made, "{probes:?}");
    }
}
