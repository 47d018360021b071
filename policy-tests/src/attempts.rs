//! What a process can still do in a phase of self-confinement: every call that opens for writing, makes, renames, links, changes,
//! deletes, mounts, executes, signals or loads is made, as root, with arguments that work, each in a child of its own.
//!
//! `plim-suite attempts DIRECTORY [unconfined]` prints a line for each attempt that was not refused, or that changed something.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use plim_observe::pinned;
use plim_seccomp::{Arch, syscalls};
use plim_tools_common::confine::{self, Phase};

use crate::sys::{self, Attempt};

/// A call by name, its arguments, and the phases that allow it.
struct Row(&'static str, [u64; 6], &'static [Phase]);

/// Makes all attempts in a new directory below `directory`, and writes what was wrong. Returns how many attempts were made.
///
/// # Errors
/// The directory or the namespaces are not to be had.
pub fn run(directory: &Path, confined: bool, out: &mut dyn Write) -> Result<usize> {
    // What an attempt could change beside the directory is this process' own.
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    unshare(own).context("namespaces of the test's own")?;
    nix::mount::mount(
        None::<&str>,
        "/",
        None::<&str>,
        nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("private mounts")?;
    // As a tool does that writes its result into a file.
    let names = ["result", "temporary"].map(|name| CString::new(directory.join(name).as_os_str().as_bytes()));
    let [place, temporary] = names;
    pinned::pin(&[temporary?, place?])?;
    let arch = Arch::from_name(std::env::consts::ARCH).context("this architecture")?;
    let mut made = 0;
    for (number, phase) in Phase::ALL.into_iter().enumerate() {
        let scratch = Scratch::new(&directory.join(number.to_string()))?;
        let before = scratch.state()?;
        for Row(name, args, allowed) in scratch.rows() {
            // An old call that this architecture does not have.
            let Some(call) = syscalls::number(arch, name) else { continue };
            if allowed.contains(&phase) {
                continue;
            }
            made += 1;
            let confine = || !confined || confine::enter(phase).is_ok();
            let ended = sys::attempt(confine, i64::from(call.0), args)?;
            let refused = matches!(ended, Attempt::Killed(libc::SIGSYS) | Attempt::Failed(libc::ENOSYS));
            if !refused {
                writeln!(out, "{phase:?} {name} {args:x?}: {ended:?}")?;
            }
            let after = scratch.state()?;
            if after != before {
                writeln!(out, "{phase:?} {name} {args:x?}: changed {after:?}")?;
                return Ok(made);
            }
        }
    }
    Ok(made)
}

/// A directory with one file of each kind, and a process that nothing should happen to.
struct Scratch {
    names: Vec<CString>,
    directory: std::path::PathBuf,
    open: [File; 3],
    victim: Child,
    pidfd: i32,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It may have been killed already, which is what the test reports.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

impl Scratch {
    fn new(directory: &Path) -> Result<Scratch> {
        fs::create_dir_all(directory.join("directory/below"))?;
        fs::write(directory.join("file"), "kept")?;
        symlink("file", directory.join("link"))?;
        let names = ["file", "new", "directory", "link", "directory/below", "gone"]
            .map(|name| CString::new(directory.join(name).as_os_str().as_bytes()).unwrap_or_default());
        let open = [
            File::open(directory.join("file"))?,
            File::options().write(true).open(directory.join("file"))?,
            File::open(directory)?,
        ];
        let mut victim = Command::new("/proc/self/exe")
            .arg("wait")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        victim.stdout.as_mut().context("its output")?.read_exact(&mut [0])?;
        let pidfd = sys::pidfd(victim.id())?;
        Ok(Scratch { names: names.to_vec(), directory: directory.to_owned(), open, victim, pidfd })
    }

    /// What is there, as text, and how the other process is.
    fn state(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut left = vec![self.directory.clone()];
        while let Some(path) = left.pop() {
            let data = path.symlink_metadata()?;
            let content = if data.is_file() { fs::read_to_string(&path)? } else { String::new() };
            found.push(format!(
                "{} {:o} {}:{} {} links, device {}, {}.{:09} {content:?} {}",
                path.display(),
                data.mode(),
                data.uid(),
                data.gid(),
                data.nlink(),
                data.dev(),
                data.mtime(),
                data.mtime_nsec(),
                sys::has_attribute(&path, c"user.plim"),
            ));
            if data.is_dir() {
                left.extend(
                    fs::read_dir(&path)?
                        .map(|entry| entry.map(|entry| entry.path()))
                        .collect::<Result<Vec<_>, _>>()?,
                );
            }
        }
        let pid = self.victim.id();
        for file in ["limits", "stat"] {
            let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            // Whether it lives, priority, nice.
            let words: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
            let lives = words.first().is_some_and(|state| ["R", "S", "D"].contains(state));
            let [priority, nice] = [15, 16].map(|at| *words.get(at).unwrap_or(&""));
            found.push(if file == "limits" { text } else { format!("{lives} {priority} {nice}") });
        }
        found.push(fs::read_to_string("/proc/sys/kernel/hostname")?);
        Ok(found)
    }

    #[rustfmt::skip]
    fn rows(&self) -> Vec<Row> {
        let at = |index: usize| self.names[index].as_ptr() as u64;
        let [file, new, directory, link, below, gone] = [0, 1, 2, 3, 4, 5].map(at);
        let [reading, writing, top] = self.open.each_ref().map(|file| file.as_raw_fd().unsigned_abs().into());
        let victim = u64::from(self.victim.id());
        let pidfd = u64::from(self.pidfd.unsigned_abs());
        let here = u64::MAX - 99;
        let flags = |flags: i32| u64::from(flags.unsigned_abs());
        let text = |text: &'static CStr| text.as_ptr() as u64;
        // struct open_how, utimbuf, sock_fprog and the like, in static memory.
        static CREATE: [u64; 3] = [(libc::O_WRONLY | libc::O_CREAT) as u64, 0o600, 0];
        static LIMIT: [u64; 2] = [3, 3];
        static CLONE: [u64; 11] = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, 0];
        static SIGNAL: [u32; 32] = { let mut info = [0; 32]; info[0] = 15; info[2] = u32::MAX; info };
        static RETURN: [u64; 1] = [0x0000_0000_0000_00b7];
        static LOAD: std::sync::LazyLock<[u64; 9]> = std::sync::LazyLock::new(|| {
            let mut load = [0; 9];
            (load[0], load[1], load[2]) = (1 | 1 << 32, RETURN.as_ptr() as u64, c"GPL".as_ptr() as u64);
            load
        });
        static MAP: [u32; 8] = [2, 4, 4, 1, 0, 0, 0, 0];
        static RING: [u32; 32] = [0; 32];
        static PERF: [u64; 16] = [1 | 64 << 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        static SOCKET: [u8; 16] = *b"\x01\0\0plim-attempt\0";
        static PROGRAM: std::sync::LazyLock<[u64; 3]> = std::sync::LazyLock::new(|| [c"exe".as_ptr() as u64, c"executed".as_ptr() as u64, 0]);
        let address = |words: &[u64]| words.as_ptr() as u64;
        let program = address(&*PROGRAM);
        let six = |args: &[u64]| { let mut all = [0; 6]; all[..args.len()].copy_from_slice(args); all };
        let rows: &[(&'static str, &[u64], &'static [Phase])] = &[
            // Opens for writing, makes.
            ("open", &[new, flags(libc::O_WRONLY | libc::O_CREAT), 0o600], &[]),
            ("open", &[file, flags(libc::O_WRONLY | libc::O_TRUNC)], &[]),
            ("creat", &[new, 0o600], &[]),
            ("openat", &[here, new, flags(libc::O_WRONLY | libc::O_CREAT), 0o600], &[]),
            ("openat", &[here, new, flags(libc::O_CREAT), 0o600], &[]),
            ("openat", &[here, file, flags(libc::O_RDWR)], &[]),
            ("openat", &[here, file, flags(libc::O_TRUNC)], &[]),
            ("openat", &[here, directory, flags(libc::O_TMPFILE | libc::O_RDWR), 0o600], &[]),
            ("openat2", &[here, new, address(&CREATE), 24], &[]),
            ("openat2", &[top, text(c"new"), address(&CREATE), 24], &[]),
            ("open_by_handle_at", &[top, address(&LIMIT), 0], &[]),
            ("mkdir", &[new, 0o700], &[]), ("mkdirat", &[here, new, 0o700], &[]),
            ("mknod", &[new, 0o010600, 0], &[]), ("mknodat", &[here, new, 0o010600, 0], &[]),
            ("mknodat", &[here, new, 0o020600, 0x0103], &[]),
            ("symlink", &[file, new], &[]), ("symlinkat", &[file, here, new], &[]),
            ("link", &[file, new], &[]), ("linkat", &[here, file, here, new, 0], &[]),
            ("mq_open", &[text(c"plim-attempt"), flags(libc::O_CREAT | libc::O_RDWR), 0o600, 0], &[]),
            ("memfd_create", &[text(c"plim"), 0], &[]), ("memfd_secret", &[0], &[]),
            // Renames, deletes.
            ("rename", &[file, new], &[]), ("renameat", &[here, file, here, new], &[]), ("renameat2", &[here, file, here, new, 0], &[]),
            ("unlink", &[file], &[]), ("unlinkat", &[here, file, 0], &[]), ("unlinkat", &[here, below, 0x200], &[]),
            ("rmdir", &[below], &[]), ("mq_unlink", &[text(c"plim-attempt")], &[]),
            // Changes.
            ("truncate", &[file, 0], &[]), ("ftruncate", &[writing, 0], &[]), ("fallocate", &[writing, 0, 0, 9000], &[]),
            ("pwrite64", &[writing, file, 4, 0], &[]), ("copy_file_range", &[reading, 0, writing, 0, 4, 0], &[]),
            ("sendfile", &[writing, reading, 0, 4], &[]), ("splice", &[reading, 0, writing, 0, 4, 0], &[]),
            ("chmod", &[file, 0o777], &[]), ("fchmod", &[reading, 0o777], &[]), ("fchmodat", &[here, file, 0o777], &[]),
            ("fchmodat2", &[here, file, 0o777, 0], &[]),
            ("chown", &[file, 1, 1], &[]), ("lchown", &[link, 1, 1], &[]), ("fchown", &[reading, 1, 1], &[]),
            ("fchownat", &[here, file, 1, 1, 0], &[]),
            ("utime", &[file, 0], &[]), ("utimes", &[file, 0], &[]), ("futimesat", &[here, file, 0], &[]),
            ("utimensat", &[here, file, 0, 0], &[]), ("utimensat", &[reading, 0, 0, 0], &[]),
            ("setxattr", &[file, text(c"user.plim"), file, 1, 0], &[]), ("lsetxattr", &[file, text(c"user.plim"), file, 1, 0], &[]),
            ("fsetxattr", &[reading, text(c"user.plim"), file, 1, 0], &[]), ("removexattr", &[file, text(c"user.plim")], &[]),
            ("ioctl", &[reading, 0x4008_6602, address(&LIMIT)], &[]), ("fcntl", &[reading, 1024, 1], &[]),
            ("flock", &[reading, 2], &[]),
            // The shape of the file system.
            ("mount", &[file, directory, text(c"tmpfs"), 0, 0], &[]), ("mount", &[directory, below, 0, 4096, 0], &[]),
            ("umount2", &[text(c"/proc"), 2], &[]), ("pivot_root", &[directory, below], &[]), ("chroot", &[directory], &[]),
            ("chdir", &[directory], &[]), ("fchdir", &[top], &[]),
            ("open_tree", &[here, directory, 1], &[]), ("fsopen", &[text(c"tmpfs"), 0], &[]),
            ("move_mount", &[top, text(c""), here, below, 4], &[]), ("mount_setattr", &[here, directory, 0, address(&LIMIT), 32], &[]),
            ("swapon", &[gone, 0], &[]), ("acct", &[gone], &[]), ("quotactl", &[0, gone, 0, 0], &[]),
            // Programs and processes.
            ("execve", &[text(c"/proc/self/exe"), program, 0], &[]), ("execveat", &[here, text(c"/proc/self/exe"), program, 0, 0], &[]),
            ("fork", &[], &[]), ("clone", &[flags(libc::SIGCHLD)], &[]), ("clone3", &[address(&CLONE), 88], &[]),
            ("kill", &[victim, 9], &[]), ("tkill", &[victim, 9], &[]), ("tgkill", &[victim, victim, 9], &[]),
            ("pidfd_send_signal", &[pidfd, 9, 0, 0], &[]), ("rt_sigqueueinfo", &[victim, 15, SIGNAL.as_ptr() as u64], &[]),
            ("rt_tgsigqueueinfo", &[victim, victim, 15, SIGNAL.as_ptr() as u64], &[]),
            ("ptrace", &[0x4206, victim, 0, 0], &[]), ("process_vm_writev", &[victim, address(&LIMIT), 0, address(&LIMIT), 0, 0], &[]),
            ("pidfd_getfd", &[pidfd, 0, 0], &[]), ("kcmp", &[victim, victim, 0, 0, 0], &[]),
            ("prlimit64", &[victim, 7, address(&LIMIT), 0], &[]), ("setpriority", &[0, victim, 5], &[]),
            ("sched_setaffinity", &[victim, 8, address(&LIMIT)], &[]), ("ioprio_set", &[1, victim, 3 << 13], &[]),
            ("process_madvise", &[pidfd, address(&LIMIT), 0, 4, 0], &[]), ("process_mrelease", &[pidfd, 0], &[]),
            ("unshare", &[flags(libc::CLONE_NEWUTS)], &[]), ("setns", &[pidfd, flags(libc::CLONE_NEWUTS)], &[]),
            // Who it is, and the machine.
            ("setuid", &[1], &[]), ("setgid", &[1], &[]), ("setresuid", &[1, 1, 1], &[]), ("setgroups", &[0, 0], &[]),
            ("sethostname", &[text(c"attempted"), 9], &[]), ("setdomainname", &[text(c"attempted"), 9], &[]),
            ("reboot", &[1, 1, 1, 0], &[]), ("shmget", &[0, 4096, 0o1600], &[]), ("msgget", &[0, 0o1600], &[]), ("semget", &[0, 1, 0o1600], &[]),
            ("iopl", &[3], &[]), ("ioperm", &[0x80, 1, 1], &[]), ("syslog", &[10, 0, 0], &[]),
            // Sockets.
            ("socket", &[1, 1, 0], &[]), ("socketpair", &[1, 1, 0, address(&LIMIT)], &[]), ("bind", &[0, SOCKET.as_ptr() as u64, 15], &[]),
            ("connect", &[0, SOCKET.as_ptr() as u64, 15], &[]),
            // Loads.
            ("init_module", &[file, 4, text(c"")], &[]), ("finit_module", &[reading, text(c""), 0], &[]),
            ("delete_module", &[text(c"no_such_module"), 0o4000], &[]),
            ("bpf", &[5, address(&*LOAD), 72], &[]), ("bpf", &[0, MAP.as_ptr() as u64, 32], &[]), ("bpf", &[6, address(&LIMIT), 16], &[]),
            ("perf_event_open", &[address(&PERF), 0, u64::MAX, u64::MAX, 0], &[Phase::Attach]),
            ("userfaultfd", &[1], &[]), ("io_uring_setup", &[1, RING.as_ptr() as u64], &[]),
            ("fanotify_init", &[0, 0], &[]), ("inotify_init1", &[0], &[]),
            ("add_key", &[text(c"user"), text(c"plim"), file, 1, u64::MAX - 1], &[]), ("keyctl", &[1, 0], &[]),
            ("request_key", &[text(c"user"), text(c"plim-attempt"), 0, 0], &[]),
        ];
        rows.iter().map(|(name, args, allowed)| Row(name, six(args), allowed)).collect()
    }
}

/// The process that nothing should happen to: it waits for the end of its standard input.
///
/// # Errors
/// Its standard input cannot be read.
pub fn wait() -> Result<()> {
    std::io::stdout().write_all(b"!")?;
    std::io::stdout().flush()?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    Ok(())
}
