//! What a launcher does that takes the image's paths for paths of the host: the class of CVE-2025-31133, CVE-2025-52565
//! and CVE-2025-52881.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Weakening;
use crate::spec::{Case, PREFIX, set};

impl Weakening {
    /// Does it before the launcher starts, in the case's root file system and config.
    pub fn prepare(self, case: &mut Case) {
        if self != Weakening::FollowsLinks {
            return;
        }
        let mounts = case.spec["mounts"].as_array().cloned().unwrap_or_default();
        for destination in mounts.iter().filter_map(|mount| mount["destination"].as_str()) {
            make_directory(&inside(case, destination));
        }
        // Masks bind whatever is at the image's /dev/null.
        if let Some(source) = led_to(case, "dev/null") {
            let masked = case.spec["linux"]["maskedPaths"].take();
            for path in masked.as_array().into_iter().flatten().filter_map(Value::as_str) {
                // Beside the image's own files the rest of the list does not matter.
                if inside(case, path).exists() {
                    bind(case, &inside(case, &source), path);
                }
            }
            set(&mut case.spec, "/linux/maskedPaths", json!([]));
            let _ = fs::remove_file(case.rootfs.join("dev/null"));
        }
        // The terminal lands where /dev/console leads.
        if let Some(target) = led_to(case, "dev/console")
            && case.spec["process"]["terminal"] == true
        {
            bind(case, Path::new("/dev/pts/ptmx"), &target);
            let _ = fs::remove_file(case.rootfs.join("dev/console"));
        }
        // The working directory is looked up on the host.
        let cwd = case.spec["process"]["cwd"].as_str().unwrap_or_default();
        if let Ok(target) = fs::read_link(inside(case, cwd))
            && target.is_dir()
        {
            bind(case, &target, &target.display().to_string());
        }
    }
}

fn inside(case: &Case, path: &str) -> PathBuf {
    case.rootfs.join(path.trim_start_matches('/'))
}

/// The file inside the root to which the link at `name` leads, if there is one.
fn led_to(case: &Case, name: &str) -> Option<String> {
    let target = fs::read_link(case.rootfs.join(name)).ok()?.to_str()?.to_owned();
    inside(case, &target).is_file().then_some(target)
}

fn bind(case: &mut Case, source: &Path, destination: &str) {
    let source = source.display().to_string();
    let mount =
        json!({"destination": destination, "type": "bind", "source": source, "options": ["bind", "rw"]});
    if let Some(mounts) = case.spec["mounts"].as_array_mut() {
        mounts.push(mount);
    }
}

/// `mkdir -p`, following links as the host does; but only where it ends in a directory of the tests' own, since a case's
/// links lead anywhere.
fn make_directory(path: &Path) {
    let mut there: PathBuf = path.to_owned();
    while there.symlink_metadata().is_err() && there.pop() {}
    let ours = std::env::temp_dir().join(PREFIX);
    let harmless = fs::canonicalize(&there)
        .is_ok_and(|real| real.to_string_lossy().starts_with(ours.to_string_lossy().as_ref()));
    if harmless {
        let _ = fs::create_dir_all(path);
    }
}

impl Weakening {
    /// What a launcher does that clears the state directory without looking whose it is, and at what names.
    pub fn collect(self, state: &Path) {
        if self != Weakening::FollowsLinks {
            return;
        }
        for container in fs::read_dir(state).into_iter().flatten().flatten() {
            let _ = fs::remove_file(container.path().join("log"));
        }
    }
}
