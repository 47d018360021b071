//! What security modules refuse: told as lsm where the tracer's programs may stand behind their hooks.

use std::process::Command;

use anyhow::Result;

use super::{tables, under_plim};
use crate::launcher::Ctx;
use crate::needs::allows_fexit;
use crate::process::must;

pub(super) fn landlock(ctx: &Ctx) -> Result<()> {
    let seen = allows_fexit(ctx, "hook_file_open");
    under_plim(ctx, if seen { &tables::LANDLOCK } else { &tables::LANDLOCK_UNSEEN })
}

/// Files that are refused with and without a line in the log, a program, a capability that is granted but denied here, a family of sockets;
/// and no mount may go.
const PROFILE: &str = "
profile plimtest flags=(attach_disconnected, mediate_deleted) {
  file,
  capability,
  network,
  signal,
  deny /tmp/silent rw,
  audit deny /tmp/told w,
  deny /tmp/dir/ w,
  deny /tmp/program x,
  deny capability sys_time,
  deny network packet,
}
";

/// A profile of the kernel's, until dropped.
struct Loaded(std::path::PathBuf, #[expect(dead_code, reason = "keeps the file")] tempfile::TempDir);

impl Loaded {
    fn load(profile: &str) -> Result<Loaded> {
        let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
        let loaded = Loaded(dir.path().join("profile"), dir);
        std::fs::write(&loaded.0, profile)?;
        loaded.parser("--replace").map(|()| loaded)
    }

    fn parser(&self, how: &str) -> Result<()> {
        let file = self.0.display().to_string();
        // The kernel's own features: without them sockets are not mediated.
        let features = "/sys/kernel/security/apparmor/features";
        let args = ["--skip-cache", "--policy-features", features, how, &file];
        must(Command::new("apparmor_parser").args(args)).map(drop)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // What is left over confines nothing.
        let _ = self.parser("--remove");
    }
}

pub(super) fn apparmor(ctx: &Ctx) -> Result<()> {
    let _loaded = Loaded::load(PROFILE)?;
    let seen = allows_fexit(ctx, "aa_path_perm");
    under_plim(ctx, if seen { &tables::APPARMOR } else { &tables::APPARMOR_UNSEEN })
}

/// The least that the kernel takes for a policy, in CIL: everybody is one type and may do all, but read what is labelled `secret_t`
/// and set the clock. Classes that it does not name are allowed.
const POLICY: &str = "
(handleunknown allow)
(class file (read write open getattr map execute))
(class process (fork transition dyntransition))
(class capability (chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
  net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct
  sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap))
(classorder (process file capability))
(user plim_u) (role object_r) (role plim_r) (type plim_t) (type secret_t)
(roletype plim_r plim_t) (roletype object_r plim_t) (roletype object_r secret_t) (roletype plim_r secret_t)
(userrole plim_u plim_r) (userrole plim_u object_r)
(sensitivity s0) (sensitivityorder (s0)) (category c0) (categoryorder (c0)) (sensitivitycategory s0 (c0))
(level low (s0)) (levelrange range (low low)) (userlevel plim_u low) (userrange plim_u range)
(context common (plim_u plim_r plim_t range))
(context secret (plim_u object_r secret_t range))
(allow plim_t plim_t (file (read write open getattr map execute)))
(allow plim_t plim_t (process (fork transition dyntransition)))
(allow plim_t plim_t (capability (not (sys_time))))
(allow plim_t secret_t (file (getattr)))
(genfscon proc / common)
(genfscon proc /version secret)
(genfscon proc /kmsg secret)
";

/// The kernel's initial contexts by their numbers (security/selinux/include/initial_sid_to_string.h); those that it uses.
const INITIAL: [&str; 27] = [
    "kernel",
    "security",
    "unlabeled",
    "fs",
    "file",
    "file_labels",
    "init",
    "any_socket",
    "port",
    "netif",
    "netmsg",
    "node",
    "igmp_packet",
    "icmp_socket",
    "tcp_socket",
    "sysctl_modprobe",
    "sysctl",
    "sysctl_fs",
    "sysctl_kernel",
    "sysctl_net",
    "sysctl_net_unix",
    "sysctl_vm",
    "sysctl_dev",
    "kmod",
    "policy",
    "scmp_packet",
    "devnull",
];

/// A policy enforced, until dropped: it stays loaded, as every policy does, and refuses nothing more.
pub(crate) struct Enforced;

impl Enforced {
    /// `policy` is CIL that lacks the initial contexts: each gets the context `common`.
    pub(crate) fn load(policy: &str) -> Result<Enforced> {
        let dir = tempfile::Builder::new().prefix("plimtest-trace-").tempdir()?;
        let (source, binary) = (dir.path().join("policy.cil"), dir.path().join("policy"));
        let sids: String =
            INITIAL.iter().map(|sid| format!("(sid {sid}) (sidcontext {sid} common)\n")).collect();
        std::fs::write(&source, format!("{policy}{sids}(sidorder ({}))\n", INITIAL.join(" ")))?;
        // Version 31 of the format is what every kernel since 4.13 reads.
        let (binary_name, source_name) = (binary.display().to_string(), source.display().to_string());
        let args = ["-M", "true", "-c", "31", "-o", &binary_name, "-f", "/dev/null", &source_name];
        must(Command::new("secilc").args(args))?;
        std::fs::write("/sys/fs/selinux/load", std::fs::read(&binary)?)?;
        std::fs::write("/sys/fs/selinux/enforce", "1")?;
        Ok(Enforced)
    }
}

impl Drop for Enforced {
    fn drop(&mut self) {
        let _ = std::fs::write("/sys/fs/selinux/enforce", "0");
    }
}

pub(super) fn selinux(ctx: &Ctx) -> Result<()> {
    let _enforced = Enforced::load(POLICY)?;
    under_plim(ctx, &tables::SELINUX)
}
