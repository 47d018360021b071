//! Root file systems, commands and callers that mean ill.

use std::io::Seek as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::*;

pub(crate) const CASES: &[crate::Case] = &[
    ("hostile_launchers_executable_is_refused", own_executable),
    ("hostile_interpreter_is_the_launcher", own_interpreter),
    ("hostile_proc_is_a_symlink", proc_symlink),
    ("hostile_dev_is_a_symlink", dev_symlink),
    ("hostile_mount_target_leads_out", target_leads_out),
    ("hostile_masked_path_is_a_symlink", masked_symlink),
    ("hostile_dev_null_in_the_image", image_null),
    ("hostile_ptmx_in_the_image", image_ptmx),
    ("hostile_working_directory_is_a_leaked_descriptor", leaked_directory),
    ("hostile_inherited_descriptors_are_closed", inherited),
    ("hostile_id_and_name_are_paths", bad_names),
    ("hostile_missing_or_looping_root", bad_roots),
];

fn own_executable() {
    // In a directory root the launcher's file is reached only through procfs.
    let (_guard, root) = busybox_root();
    symlink("/proc/self/exe", root.join("bin/entry")).expect("a link");
    for command in ["/proc/self/exe", "/bin/entry", "entry"] {
        let error = try_run(&on_directory(config(&[command]), &root)).expect_err(command);
        assert_eq!(error.exit_code(), 126, "{error}");
        assert!(error.to_string().contains("launcher's own executable"), "{error}");
    }
}

fn own_interpreter() {
    let (_guard, root) = busybox_root();
    let script = root.join("bin/script");
    std::fs::write(&script, "#!/proc/self/exe\n").expect("a script");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let error = try_run(&on_directory(config(&["script"]), &root)).expect_err("an interpreter");
    assert_eq!(error.exit_code(), 126, "{error}");
    assert!(error.to_string().contains("/proc/self/exe"), "{error}");
}

fn proc_symlink() {
    for (name, target) in [("proc", "/tmp"), ("sys", "/tmp"), ("proc", "/bin/../tmp")] {
        let (_guard, root) = busybox_root();
        std::fs::remove_dir(root.join(name)).expect("a removal");
        symlink(target, root.join(name)).expect("a link");
        let config = on_directory(config(&["true"]), &root);
        let error = try_run(&config).expect_err("a link in the way");
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert_eq!(traces(&config), Vec::<String>::new());
    }
}

fn dev_symlink() {
    let (guard, root) = busybox_root();
    let outside = guard.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::remove_dir(root.join("dev")).expect("a removal");
    symlink("../outside", root.join("dev")).expect("a link");
    try_run(&on_directory(config(&["true"]), &root)).expect_err("a link in the way");
    assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0);
}

/// A target is resolved with the container's root as `/`: links and `..` end inside.
fn target_leads_out() {
    let (guard, root) = busybox_root();
    let outside = guard.path().join("outside");
    std::fs::create_dir(&outside).expect("a directory");
    symlink(&outside, root.join("absolute")).expect("a link");
    symlink("../../../../../../../../../../outside", root.join("relative")).expect("a link");
    symlink("/proc/self/root/tmp", root.join("magic")).expect("a link");
    for target in ["/absolute/x", "/relative/x", "/../../outside/x"] {
        let mut config = on_directory(config(&["true"]), &root);
        config.mounts.push(mount(target, "tmpfs", "tmpfs", ""));
        // Refused, or made inside: what counts is that nothing shows up outside.
        let _ = try_run(&config);
        assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0, "{target}");
    }
    let mut config = on_directory(config(&["true"]), &root);
    config.mounts.push(mount("/magic", "tmpfs", "tmpfs", ""));
    try_run(&config).expect_err("a magic link");
}

fn masked_symlink() {
    let (guard, root) = busybox_root();
    let secret = guard.path().join("secret");
    std::fs::write(&secret, "outside\n").expect("a file");
    std::fs::write(root.join("etc/inside"), "inside\n").expect("a file");
    symlink(&secret, root.join("etc/out")).expect("a link");
    symlink("inside", root.join("etc/in")).expect("a link");
    let mut config = on_directory(script("cat /etc/inside; echo end"), &root);
    config.masked_paths.extend(["/etc/out".into(), "/etc/in".into()]);
    // The link inside is followed to the file that it means, which is masked; the one outward leads nowhere.
    assert_eq!(output(&config), "end\n");
    assert_eq!(std::fs::read_to_string(&secret).expect("the file"), "outside\n");
}

/// The class of CVE-2025-31133: the image's own /dev/null never is what masks.
fn image_null() {
    let (_guard, root) = busybox_root();
    std::fs::create_dir_all(root.join("dev")).expect("a directory");
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).expect("a link");
    let said = output(&on_directory(script("cat /proc/interrupts; stat -c %t:%T /dev/null"), &root));
    assert_eq!(said, "1:3\n");
    // Without a fresh /dev the image's file would be used as the standard node: refused.
    let mut config = on_directory(config(&["true"]), &root);
    config.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    let error = try_run(&config).expect_err("a link in place of a node").to_string();
    assert!(error.contains("/dev/null"), "{error}");
}

/// The class of CVE-2025-52565: the console is the container's own terminal, whatever the image has in /dev.
fn image_ptmx() {
    let (_guard, root) = busybox_root();
    std::fs::create_dir_all(root.join("dev/pts")).expect("a directory");
    symlink("/proc/self/exe", root.join("dev/pts/ptmx")).expect("a link");
    symlink("/etc/inside", root.join("dev/console")).expect("a link");
    std::fs::write(root.join("etc/inside"), "inside\n").expect("a file");
    let mut config = on_directory(config(&["true"]), &root);
    config.process.terminal = true;
    config.mounts.retain(|mount| !mount.destination.starts_with("/dev"));
    try_run(&config).expect_err("a link in place of the multiplexer");
    assert_eq!(std::fs::read_to_string(root.join("etc/inside")).expect("the file"), "inside\n");
}

/// The class of CVE-2024-21626.
fn leaked_directory() {
    let host = std::fs::File::open("/").expect("the host's root");
    nix::fcntl::fcntl(&host, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
        .expect("an inherited one");
    for number in 3..40 {
        let mut config = config(&["pwd"]);
        config.process.cwd = format!("/proc/self/fd/{number}");
        let error = try_run(&config).expect_err("a leaked directory");
        assert!(error.to_string().contains("working directory"), "{number}: {error}");
    }
    let number = host.as_raw_fd();
    let error =
        try_run(&config(&[&format!("/proc/self/fd/{number}/bin/true")])).expect_err("a leaked directory");
    assert_eq!(error.exit_code(), 127, "{error}");
}

fn inherited() {
    let mut file = tempfile::tempfile().expect("a file");
    file.rewind().expect("a position");
    let inherited = OwnedFd::from(file);
    nix::fcntl::fcntl(&inherited, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()))
        .expect("an inherited one");
    assert_eq!(output(&config(&["ls", "/proc/self/fd"])), "0\n1\n2\n3\n");
}

fn bad_names() {
    for (id, name) in [("../x", "good"), ("", "good"), ("", "../bad"), ("", ".names"), ("", "a/b"), ("", "")]
    {
        let mut config = config(&["true"]);
        if !id.is_empty() {
            config.id = id.into();
        }
        config.name = name.into();
        if id.is_empty() && name == "good" {
            continue;
        }
        try_run(&config).expect_err(name);
    }
}

fn bad_roots() {
    let directory = tempfile::tempdir().expect("a directory");
    symlink("loop", directory.path().join("loop")).expect("a link");
    std::fs::write(directory.path().join("file"), "").expect("a file");
    for (name, errno) in [("missing", "ENOENT"), ("loop", "ELOOP"), ("file", "ENOTDIR")] {
        let config = on_directory(config(&["true"]), &directory.path().join(name));
        let error = try_run(&config).expect_err(name);
        assert!(error.to_string().contains(errno) && error.to_string().contains(name), "{error}");
        assert_eq!(error.exit_code(), 125);
        assert_eq!(traces(&config), Vec::<String>::new());
        assert!(!Path::new("/run/plim").join(&config.id).exists());
    }
}
