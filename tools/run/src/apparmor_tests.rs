//! The choice of a profile, on machines that are made up.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use plim_model::CapabilitySet;
use plim_model::rlimit::Limit;
use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::KernelVersion;

use super::*;
use crate::world::{HostDevice, PathKind};

/// Files by path; a program is a file too.
struct Files(BTreeMap<&'static str, &'static str>);

impl World for Files {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.0.get(path));
        match text {
            Some(&"EACCES") => Err(Error::from(ErrorKind::PermissionDenied)),
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(Error::from(ErrorKind::NotFound)),
        }
    }
    fn kind(&self, path: &Path) -> std::io::Result<PathKind> {
        self.read(path).map(|_| PathKind::Other)
    }
    fn read_in_root(&self, _: &Path, _: &str) -> Result<Option<String>> {
        Ok(None)
    }
    fn directories_in(&self, _: &Path) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        Ok(path.to_owned())
    }
    fn devices_below(&self, _: &Path) -> std::io::Result<Vec<(PathBuf, HostDevice)>> {
        Ok(Vec::new())
    }
    fn block_schedulers(&self) -> Vec<String> {
        Vec::new()
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn container_pid(&self, name: &str) -> Result<i32> {
        bail!("no running container has the name {name:?}")
    }
    fn selinux(&self, _: &str, _: bool) -> crate::selinux::Answer {
        crate::selinux::Answer::Inactive
    }
    fn kernel_capabilities(&self) -> Result<CapabilitySet> {
        Ok(CapabilitySet::EMPTY)
    }
    fn hard_limit(&self, _: &str) -> Option<Limit> {
        None
    }
}

fn facts(uid: u32) -> Facts {
    Facts {
        uid,
        gid: uid,
        held: CapabilitySet::EMPTY,
        arch: Arch::from_name("x86_64").unwrap(),
        kernel: KernelVersion { major: 6, minor: 18 },
        host_name: String::new(),
        memory_bytes: 0,
    }
}

const ENABLED: (&str, &str) = ("/sys/module/apparmor/parameters/enabled", "Y\n");
const PARSER: (&str, &str) = (PARSERS[0], "");

fn listed(text: &'static str) -> (&'static str, &'static str) {
    (LOADED, text)
}

/// The profile, whether it is said that there is none or that it is worth nothing; or an error.
fn chosen(
    choice: &Choice,
    uid: u32,
    files: &[(&'static str, &'static str)],
) -> Option<(Option<String>, bool)> {
    let world = Files(files.iter().copied().collect());
    choose(choice, false, &facts(uid), &world).ok().map(|chosen| (chosen.profile, chosen.note.is_some()))
}

#[test]
fn the_default_is_had_or_its_absence_is_said() {
    let ours = "lxc (enforce)\nplim-default (enforce)\n";
    let profile = |name: &str| Some(name.to_owned());
    for (uid, files, expected) in [
        (0, &[][..], (None, false)),
        (0, &[("/sys/module/apparmor/parameters/enabled", "N\n"), PARSER], (None, false)),
        (0, &[ENABLED, listed(ours)], (profile(DEFAULT), false)),
        (0, &[ENABLED, listed("lxc (enforce)\n"), PARSER], (profile(DEFAULT), false)),
        (0, &[ENABLED, listed("plim-default (complain)\n")], (profile(DEFAULT), true)),
        (0, &[ENABLED, listed("docker-default (enforce)\n")], (profile("docker-default"), false)),
        (0, &[ENABLED, listed("docker-default (complain)\n")], (None, true)),
        (0, &[ENABLED, listed("")], (None, true)),
        (0, &[ENABLED, PARSER], (None, true)),
        (
            0,
            &[ENABLED, PARSER, ("/proc/self/attr/apparmor/current", "docker-default (enforce)\n")],
            (None, true),
        ),
        (1000, &[ENABLED, PARSER, listed("EACCES")], (None, true)),
        (1000, &[ENABLED, listed(ours)], (profile(DEFAULT), false)),
    ] {
        assert_eq!(chosen(&Choice::Default, uid, files), Some(expected), "{uid} {files:?}");
        assert_eq!(chosen(&Choice::Unconfined, uid, files), Some((None, false)), "{uid} {files:?}");
    }
}

#[test]
fn a_profile_asked_for_by_name_is_had_or_an_error() {
    for (name, uid, files, had) in [
        ("web", 0, &[][..], false),
        ("web", 0, &[ENABLED, listed("web (enforce)\n")], true),
        ("my web", 0, &[ENABLED, listed("my web (complain)\n")], true),
        ("wep", 0, &[ENABLED, listed("web (enforce)\n"), PARSER], false),
        (DEFAULT, 0, &[ENABLED, listed("web (enforce)\n"), PARSER], true),
        (DEFAULT, 0, &[ENABLED, listed("web (enforce)\n")], false),
        // Whether it is there is not seen: the kernel refuses it, or enters it.
        ("web", 1000, &[ENABLED, listed("EACCES")], true),
    ] {
        let expected = had.then(|| (Some(name.to_owned()), false));
        assert_eq!(chosen(&Choice::Profile(name.to_owned()), uid, files), expected, "{name} {uid} {files:?}");
    }
}

#[test]
fn a_privileged_container_has_none_unless_it_is_asked_for() {
    let world = Files([ENABLED, listed("plim-default (enforce)\n")].into_iter().collect());
    let privileged = |choice: &Choice| choose(choice, true, &facts(0), &world).unwrap();
    assert_eq!(privileged(&Choice::Default), Chosen::default());
    assert_eq!(privileged(&Choice::Profile(DEFAULT.into())).profile.as_deref(), Some(DEFAULT));
}
