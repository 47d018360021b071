//! Control sockets of container engines that the target can reach: whoever may write to one is root on the host.

use std::collections::BTreeSet;

use nix::sys::stat::SFlag;
use plim_model::Observed;
use plim_model::parse::mountinfo::MountEntry;
use plim_model::snapshot::EngineSocket;

use crate::root::{Root, kind};

/// Where engines put their sockets. /var/run is a link to /run nearly everywhere; both are looked at, and a socket
/// that is found on both paths is told once.
const PLACES: [(&str, &str); 12] = [
    ("/run/docker.sock", "docker"),
    ("/var/run/docker.sock", "docker"),
    ("/run/containerd/containerd.sock", "containerd"),
    ("/var/run/containerd/containerd.sock", "containerd"),
    ("/run/docker/containerd/containerd.sock", "containerd"),
    ("/var/run/docker/containerd/containerd.sock", "containerd"),
    ("/run/k3s/containerd/containerd.sock", "containerd"),
    ("/var/run/k3s/containerd/containerd.sock", "containerd"),
    ("/run/podman/podman.sock", "podman"),
    ("/var/run/podman/podman.sock", "podman"),
    ("/run/crio/crio.sock", "crio"),
    ("/var/run/crio/crio.sock", "crio"),
];

/// File names by which a socket is known that was bind-mounted somewhere else.
const NAMES: [(&str, &str); 4] = [
    ("docker.sock", "docker"),
    ("containerd.sock", "containerd"),
    ("podman.sock", "podman"),
    ("crio.sock", "crio"),
];

/// Looks for the sockets at their usual places and wherever one was bind-mounted to.
pub(crate) fn engine_sockets(root: &Root, mounts: &[MountEntry]) -> Observed<Vec<EngineSocket>> {
    let mut places: Vec<(String, &str)> =
        PLACES.iter().map(|(path, engine)| ((*path).to_owned(), *engine)).collect();
    for entry in mounts {
        let file_name = entry.mount.root.rsplit('/').next().unwrap_or_default();
        if let Some((_, engine)) = NAMES.iter().find(|(name, _)| *name == file_name) {
            places.push((entry.mount.target.clone(), engine));
        }
    }
    let mut found = Vec::new();
    let mut inodes = BTreeSet::new();
    for (path, engine) in places {
        match root.stat(&path) {
            Ok(stat) if kind(&stat) == SFlag::S_IFSOCK => {
                if inodes.insert((stat.st_dev, stat.st_ino)) {
                    found.push(EngineSocket { path, engine: engine.to_owned() });
                }
            }
            // Something else by that name. A path through a file, a loop or a name that is too long leads nowhere for
            // the target too.
            Ok(_) => {}
            // The mount table replaced bytes that are not UTF-8.
            Err(error) if error.leads_nowhere() && !path.contains('\u{fffd}') => {}
            Err(error) => {
                let path = plim_model::text::escape(&path);
                return Observed::Unknown(error.during(&format!("look at {path} in the target's root")));
            }
        }
    }
    found.sort();
    Observed::Present(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn tells_a_socket_once_and_nothing_that_only_looks_like_one() {
        let top = tempfile::tempdir().expect("tempdir");
        let path = |name: &str| top.path().join(name);
        std::fs::create_dir_all(path("run/podman")).expect("mkdir");
        std::fs::create_dir_all(path("var")).expect("mkdir");
        std::fs::create_dir_all(path("run/crio/crio.sock")).expect("mkdir");
        symlink("/run", path("var/run")).expect("symlink");
        symlink("../../../../run/docker.sock", path("run/podman/podman.sock")).expect("symlink");
        let _listener = UnixListener::bind(path("run/docker.sock")).expect("bind");
        nix::unistd::mkfifo(&path("run/containerd.sock"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        let found = engine_sockets(&Root::at(top.path()), &[]);
        // podman.sock is a link to the same socket.
        assert_eq!(
            found,
            Observed::Present(vec![EngineSocket {
                path: "/run/docker.sock".to_owned(),
                engine: "docker".to_owned()
            }])
        );
    }

    #[test]
    fn a_fifo_in_place_of_a_socket_neither_blocks_nor_counts() {
        let top = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir(top.path().join("run")).expect("mkdir");
        nix::unistd::mkfifo(&top.path().join("run/docker.sock"), nix::sys::stat::Mode::S_IRWXU)
            .expect("mkfifo");
        // /run -> / is a loop that ends nowhere new.
        symlink("/", top.path().join("var")).expect("symlink");
        assert_eq!(engine_sockets(&Root::at(top.path()), &[]), Observed::Present(Vec::new()));
    }

    #[test]
    fn finds_one_that_was_mounted_under_another_name() {
        let top = tempfile::tempdir().expect("tempdir");
        let _listener = UnixListener::bind(top.path().join("harmless")).expect("bind");
        let mounts = plim_model::parse::mountinfo::parse(
            b"36 35 0:22 /docker.sock /harmless rw,nosuid - tmpfs tmpfs rw,size=1k\n",
        )
        .expect("parses");
        let found = engine_sockets(&Root::at(top.path()), &mounts);
        assert_eq!(found.present().map(|list| list[0].path.as_str()), Some("/harmless"));
    }
}
