//! What a test needs of the machine and of the launcher. A missing need skips the test and says so.

use std::path::Path;

use crate::launcher::{Ctx, Engine};
use crate::{cli, host};

/// One need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The launcher is plim: the test is of plim's own options or promises.
    Plim,
    /// Effective uid 0.
    Root,
    /// A cgroup controller, on v1 or v2.
    Controller(&'static str),
    /// A controller on v1.
    V1(&'static str),
    /// A controller on v2.
    V2(&'static str),
    /// A capability of the caller, by number, with its name.
    Capability(u8, &'static str),
    /// At least this kernel.
    Kernel(u32, u32),
    /// A program on the host's PATH.
    Program(&'static str),
    /// One of the built programs.
    Built(&'static str),
    /// The 32-bit gate (x86 with IA32 emulation).
    Ia32,
    /// User namespaces for users without privileges.
    UserNamespaces,
    /// A file on the host.
    File(&'static str),
    /// More than one processor.
    Processors(usize),
    /// Landlock, built and switched on.
    Landlock,
    /// AppArmor, built and switched on.
    AppArmor,
    /// SELinux, switched on and without a policy: one of the test's own is loaded, which no machine with another should see.
    SelinuxWithoutPolicy,
    /// A kernel where `plim trace --light` can be attached.
    LightTrace,
    /// io_uring, built and not switched off.
    Rings,
}

impl Need {
    /// Why the need is not met here; `None` when it is.
    pub fn missing(self, ctx: &Ctx) -> Option<String> {
        let unless = |met: bool, why: String| (!met).then_some(why);
        match self {
            Need::Plim => unless(ctx.engine == Engine::Plim, "a promise of plim alone".to_owned()),
            Need::Root => unless(nix::unistd::geteuid().is_root(), "root".to_owned()),
            Need::Controller(name) => {
                unless(host::controller(name).is_some(), format!("cgroup controller {name}"))
            }
            Need::V1(name) => {
                unless(host::controller(name) == Some(host::CgroupKind::V1), format!("cgroup v1 {name}"))
            }
            Need::V2(name) => {
                unless(host::controller(name) == Some(host::CgroupKind::V2), format!("cgroup v2 {name}"))
            }
            Need::Capability(number, name) => unless(holds(number), format!("capability {name}")),
            Need::Kernel(major, minor) => {
                let (have, text) = kernel();
                unless(have >= (major, minor), format!("Linux {major}.{minor}, this is {text}"))
            }
            Need::Program(name) => unless(cli::which(name).is_some(), format!("program {name}")),
            Need::Built(name) => {
                unless(ctx.bin.join(name).exists(), format!("{name} in {}", ctx.bin.display()))
            }
            Need::Ia32 => unless(makes(ctx, &["int80", "20"]), "32-bit calls (int 0x80)".to_owned()),
            Need::UserNamespaces => {
                // Debian's switch, the kernel's own, and Ubuntu's.
                let says = |file: &str, no: &str| {
                    std::fs::read_to_string(format!("/proc/sys/{file}")).is_ok_and(|text| text.trim() == no)
                };
                let refused = says("kernel/unprivileged_userns_clone", "0")
                    || says("user/max_user_namespaces", "0")
                    || says("kernel/apparmor_restrict_unprivileged_userns", "1");
                unless(!refused, "user namespaces without privileges".to_owned())
            }
            Need::File(path) => unless(Path::new(path).exists(), format!("file {path}")),
            // landlock_create_ruleset() for its version.
            Need::Landlock => unless(makes(ctx, &["syscall", "444", "0", "0", "1"]), "Landlock".to_owned()),
            Need::AppArmor => {
                let enabled = std::fs::read_to_string("/sys/module/apparmor/parameters/enabled");
                unless(enabled.is_ok_and(|text| text.trim() == "Y"), "AppArmor".to_owned())
            }
            Need::SelinuxWithoutPolicy => {
                let active = Path::new("/sys/fs/selinux/load").exists();
                // The initial context, before any policy is there.
                let own = std::fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
                let met = active && own.trim_end_matches(['\0', '\n', ' ']) == "kernel";
                unless(met, "SELinux without a policy".to_owned())
            }
            Need::LightTrace => light_trace(ctx),
            Need::Rings => {
                let mut command = std::process::Command::new(ctx.witness());
                let probe = command.args(["ring", "0"]).stdin(std::process::Stdio::null()).output();
                let said =
                    probe.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
                unless(said.starts_with("ready"), format!("io_uring ({})", said.trim()))
            }
            Need::Processors(count) => {
                let have = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                unless(have >= count, format!("{count} processors, there are {have}"))
            }
        }
    }
}

/// Whether the kernel makes a call of the witness.
fn makes(ctx: &Ctx, call: &[&str]) -> bool {
    let probe = std::process::Command::new(ctx.witness()).arg("try").args(call).output();
    probe.is_ok_and(|out| String::from_utf8_lossy(&out.stdout).contains("\"ok\""))
}

/// In the tracer's own words, so that what is no matter of the kernel is an unexpected skip.
fn light_trace(ctx: &Ctx) -> Option<String> {
    let mut command = std::process::Command::new(ctx.bin.join("plim-trace"));
    let output = match command.args(["--light", "--duration", "1ms", "host"]).output() {
        Ok(output) => output,
        Err(error) => return Some(format!("plim trace --light: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    (!output.status.success()).then(|| format!("fexit programs: {}", said.trim()))
}

/// Whether a program may stand behind a function of the kernel. Where nobody may have one the kernel says EPERM, whatever
/// privileges one has; and its types must have the function, which they do not where the compiler changed it.
pub fn allows_fexit(ctx: &Ctx, function: &str) -> bool {
    let named = [b"\0", function.as_bytes(), b"\0"].concat();
    let types = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    types.windows(named.len()).any(|window| window == named)
        && light_trace(ctx).is_none_or(|why| !why.contains("Operation not permitted"))
}

fn holds(number: u8) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    u64::from_str_radix(line.trim(), 16).unwrap_or(0) >> number & 1 == 1
}

/// The kernel's major and minor number, and its release.
pub fn kernel() -> ((u32, u32), String) {
    let text = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned();
    let mut parts = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    ((parts.next().unwrap_or(0), parts.next().unwrap_or(0)), text)
}
