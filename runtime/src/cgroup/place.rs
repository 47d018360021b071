//! Where a container's cgroup goes. Pure.

use super::{CgroupError, Facts, Layout};

/// A place for one container in every hierarchy that takes it.
///
/// - An absolute path is below each hierarchy's root *as this process sees it*: inside a cgroup namespace, or where only
///   a container's subtree is mounted, that is the container's own, so a nested container stays within its limits.
/// - A relative path is below the caller's own cgroup of each hierarchy.
/// - Without a path: `/plim-ID`. A container then lives and is limited independently of the session that started it (a
///   systemd scope ends with its login), and **is not within the limits of the caller's own cgroup** when that lies
///   deeper; ask for a relative path to be within them. One level, not Docker's two (`/docker/ID`): where each controller
///   has a hierarchy of its own, a shared parent would be made and removed ten times for each container.
/// - Where the root is not writable (rootless, read-only mounts): `plim-ID` below the nearest writable v2 cgroup, going
///   up from the caller's own, that may have children with controllers: one without processes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub(super) base: Base,
    /// Names of the directories to make, the container's own last; never empty.
    pub(super) path: Vec<String>,
}

/// What a [`Place`]'s path is below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// The mount points that are writable.
    Root,
    /// The caller's own cgroup in each hierarchy.
    Own,
    /// One v2 cgroup, and no v1 hierarchy.
    V2(String),
}

impl Place {
    /// Chooses. `asked` are the names of the limits that were asked for ([`super::plan::asked`] makes the list).
    ///
    /// `Ok(None)`: no cgroup can be made, and nothing was asked that needs one; the container stays in the caller's.
    ///
    /// # Errors
    /// [`CgroupError::NotDelegated`] when limits were asked and no cgroup is writable; [`CgroupError::BadPath`] for a
    /// path with `..`, an empty name, a name that cgroup files could have, or bytes that no path has.
    pub fn choose(
        layout: &Layout,
        facts: &Facts,
        id: &str,
        cgroup_path: Option<&str>,
        asked: &[&'static str],
    ) -> Result<Option<Place>, CgroupError> {
        if let Some(text) = cgroup_path {
            let path = components(text)?;
            let base = if text.starts_with('/') { Base::Root } else { Base::Own };
            return match layout.version() {
                Some(_) => Ok(Some(Place { base, path })),
                None => refuse_if_asked(asked, "no cgroup file system is mounted".to_owned()),
            };
        }
        let path = vec![format!("plim-{}", components(id)?.join("-"))];
        if !facts.writable.is_empty() {
            return Ok(Some(Place { base: Base::Root, path }));
        }
        let usable = facts
            .v2_levels
            .iter()
            .rev()
            .find(|level| level.writable && (level.real_root || !level.has_processes));
        match usable {
            Some(level) => Ok(Some(Place { base: Base::V2(level.path.clone()), path })),
            None => refuse_if_asked(asked, why_not(layout, facts)),
        }
    }
}

fn refuse_if_asked(asked: &[&'static str], why: String) -> Result<Option<Place>, CgroupError> {
    if asked.is_empty() { Ok(None) } else { Err(CgroupError::NotDelegated { limits: asked.join(", "), why }) }
}

/// What to delegate.
fn why_not(layout: &Layout, facts: &Facts) -> String {
    let Some(v2) = &layout.v2 else {
        return match layout.v1.first() {
            Some(first) => format!(
                "{} is not writable; cgroup v1 cannot be delegated safely, so run as root or boot with cgroup v2",
                first.tree.mountpoint.display()
            ),
            None => "no cgroup file system is mounted".to_owned(),
        };
    };
    if v2.tree.read_only {
        return format!("{} is mounted read-only", v2.tree.mountpoint.display());
    }
    let own = facts.v2_levels.last();
    let path = v2.tree.mountpoint.join(own.map_or("", |level| level.path.as_str()));
    match own {
        Some(level) if level.writable => format!(
            "{} is delegated, but it has processes of its own, and so no child of it can have controllers \
             (cgroups(7), no internal processes); delegate its parent, or start from a systemd user session, where \
             the parent of this cgroup is writable",
            path.display()
        ),
        _ => format!(
            "neither {} nor a cgroup above it is writable; delegate one to this user, for instance by \
             `systemd-run --user --scope -p Delegate=yes COMMAND` in a session of the systemd user manager",
            path.display()
        ),
    }
}

/// Splits a path into names that a cgroup may have.
fn components(text: &str) -> Result<Vec<String>, CgroupError> {
    let bad = |why| CgroupError::BadPath { found: text.to_owned(), why };
    let parts: Vec<String> =
        text.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned).collect();
    for part in &parts {
        if part == ".." {
            return Err(bad("`..` would lead out of the tree"));
        }
        if part.len() > 255 {
            return Err(bad("a name is longer than 255 bytes"));
        }
        if part.chars().any(|c| c.is_control()) {
            // The kernel refuses \n only (it would break /proc/PID/cgroup); no other is wanted in a terminal either.
            return Err(bad("a control character"));
        }
        // The kernel keeps these for its own files (cgroup-v2.rst, "Avoid Name Collisions").
        let own_file = [
            "cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "pids", "devices", "freezer",
            "hugetlb", "rdma", "misc", "dmem",
        ]
        .iter()
        .any(|prefix| part.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.')));
        if own_file || part == "tasks" || part == "notify_on_release" || part == "release_agent" {
            return Err(bad("a name that the kernel keeps for its own files"));
        }
    }
    if parts.is_empty() { Err(bad("no name in it")) } else { Ok(parts) }
}

#[cfg(test)]
mod tests {
    use super::super::V2Level;
    use super::*;

    fn v2_layout() -> Layout {
        let mounts = b"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        Layout::detect(mounts, "0::/user.slice/s.scope\n").expect("well formed")
    }

    fn level(path: &str, writable: bool, has_processes: bool) -> V2Level {
        V2Level {
            path: path.to_owned(),
            writable,
            has_processes,
            real_root: path.is_empty(),
            ..V2Level::default()
        }
    }

    #[test]
    fn root_goes_to_the_top() {
        let facts = Facts { writable: ["/sys/fs/cgroup".into()].into(), ..Facts::default() };
        let place = Place::choose(&v2_layout(), &facts, "ab", None, &[]).expect("writable").expect("a place");
        assert_eq!(place, Place { base: Base::Root, path: vec!["plim-ab".into()] });
    }

    #[test]
    fn asked_paths() {
        let choose = |path: &str| Place::choose(&v2_layout(), &Facts::default(), "ab", Some(path), &[]);
        let place = |path: &str| choose(path).expect("good").expect("a place");
        assert_eq!(place("/a//b/"), Place { base: Base::Root, path: vec!["a".into(), "b".into()] });
        assert_eq!(place("a/./b"), Place { base: Base::Own, path: vec!["a".into(), "b".into()] });
        for bad in [
            "",
            "/",
            "../x",
            "/a/../b",
            "a\nb",
            "/x/cgroup.procs",
            "tasks",
            "memory.max",
            "cpu.x",
            &"n".repeat(256),
        ] {
            assert!(choose(bad).is_err(), "{bad:?}");
        }
        assert!(choose("cpux").is_ok());
    }

    #[test]
    fn rootless_goes_to_the_nearest_delegated_cgroup_without_processes() {
        let mut facts = Facts {
            euid: 1000,
            v2_levels: vec![
                level("", false, true),
                level("user.slice", true, false),
                level("user.slice/s.scope", true, true),
            ],
            ..Facts::default()
        };
        let place = Place::choose(&v2_layout(), &facts, "ab", None, &["memory limit"]).expect("delegated");
        assert_eq!(place.expect("a place").base, Base::V2("user.slice".into()));

        facts.v2_levels[1].writable = false;
        let error =
            Place::choose(&v2_layout(), &facts, "ab", None, &["memory limit"]).expect_err("processes");
        assert!(error.to_string().contains("has processes of its own"), "{error}");
        assert!(error.to_string().contains("memory limit"), "{error}");

        facts.v2_levels[2].writable = false;
        let error =
            Place::choose(&v2_layout(), &facts, "ab", None, &["pids limit"]).expect_err("nothing writable");
        assert!(error.to_string().contains("Delegate=yes"), "{error}");
        assert_eq!(Place::choose(&v2_layout(), &facts, "ab", None, &[]).expect("nothing asked"), None);
    }

    #[test]
    fn without_any_cgroup_file_system() {
        let none = Layout::detect(b"", "0::/\n").expect("well formed");
        assert_eq!(Place::choose(&none, &Facts::default(), "ab", None, &[]).expect("nothing asked"), None);
        let error =
            Place::choose(&none, &Facts::default(), "ab", Some("/x"), &["cpu quota"]).expect_err("asked");
        assert!(error.to_string().contains("no cgroup file system is mounted"), "{error}");
    }
}
