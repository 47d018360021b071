//! Things a container should or should not be able to do, each tried in a child of its own.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;

use serde_json::{Value, json};

use crate::sys::{self, Ended, Raw};
use crate::{names, report};

/// Runs each call between `--` and prints the verdicts in order.
pub(crate) fn run(words: &[String]) -> i32 {
    let verdicts: Vec<Value> = words
        .split(|word| word == "--")
        .map(|call| json!({"call": call.join(" "), "result": verdict(call)}))
        .collect();
    println!("{}", Value::Array(verdicts));
    0
}

/// In a child, so that a signal or a changed root does not spoil the next call; only calls that answer with text run
/// in this process.
fn verdict(call: &[String]) -> String {
    let word = |index: usize| call.get(index).map_or("", String::as_str);
    match word(0) {
        "read" => {
            return fs::read_to_string(word(1))
                .map_or_else(|e| io_name(&e), |text| text.trim_end().to_owned());
        }
        "look" => return report::look(word(1)).to_owned(),
        "stat" => return report::identity(word(1)).unwrap_or_else(|error| io_name(&error)),
        "readlink" => {
            return fs::read_link(word(1)).map_or_else(|e| io_name(&e), |path| path.display().to_string());
        }
        "list" => {
            let entries = match fs::read_dir(word(1)) {
                Ok(entries) => entries,
                Err(error) => return io_name(&error),
            };
            let mut names: Vec<String> =
                entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            return names.join(" ");
        }
        _ => {}
    }
    match sys::fork() {
        Ok(0) => {
            let errno = attempt(call).err().unwrap_or(0);
            sys::exit_now(errno.min(255));
        }
        Ok(child) => match sys::wait(child) {
            Some((_, Ended::Code(0))) => "ok".to_owned(),
            Some((_, Ended::Code(255))) => "unknown call".to_owned(),
            Some((_, Ended::Code(errno))) => names::errno(errno),
            Some((_, Ended::Signal(signal))) => names::signal(signal),
            None => "lost".to_owned(),
        },
        Err(errno) => format!("fork: {}", names::errno(errno)),
    }
}

fn io_name(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), names::errno)
}

fn io<T>(result: std::io::Result<T>) -> Raw {
    result.map(|_| 0).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// A number in decimal or, with `0x`, in hexadecimal, with `0` in octal; negative numbers wrap.
pub(crate) fn integer(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = text.strip_prefix('0').filter(|octal| !octal.is_empty()) {
        return u64::from_str_radix(octal, 8).ok();
    }
    text.parse::<u64>().ok().or_else(|| Some(text.parse::<i64>().ok()?.cast_unsigned()))
}

/// An argument of a raw call: a number, `s:TEXT` (a pointer to it), `b:HEX` (a pointer to these bytes), or `m:N` (a pointer to N
/// zero bytes).
fn argument(text: &str) -> u64 {
    if let Some(string) = text.strip_prefix("s:") {
        return sys::low_memory(string.as_bytes(), string.len() + 1);
    }
    if let Some(bytes) = text.strip_prefix("b:").map(crate::refusals::hex) {
        return sys::low_memory(&bytes, bytes.len());
    }
    if let Some(size) = text.strip_prefix("m:") {
        return sys::low_memory(&[], size.parse().unwrap_or(4096));
    }
    integer(text).unwrap_or(0)
}

fn six(words: &[String]) -> [u64; 6] {
    let mut args = [0; 6];
    for (slot, word) in args.iter_mut().zip(words) {
        *slot = argument(word);
    }
    args
}

/// A path in memory, as an argument word.
pub(crate) fn path(text: &str) -> u64 {
    sys::low_memory(text.as_bytes(), text.len() + 1)
}

/// Makes one call in this process.
pub(crate) fn attempt(call: &[String]) -> Raw {
    let word = |index: usize| call.get(index).map_or("", String::as_str);
    let value = |index: usize| integer(word(index)).unwrap_or(0);
    match word(0) {
        "syscall" => {
            sys::native(i64::try_from(value(1)).unwrap_or(-1), six(call.get(2..).unwrap_or_default()))
        }
        "int80" => sys::int80(i64::try_from(value(1)).unwrap_or(-1), six(call.get(2..).unwrap_or_default())),
        "socket" => {
            // AF_PACKET 17, AF_INET 2, AF_UNIX 1, AF_NETLINK 16; type and protocol follow.
            let kind = if word(2).is_empty() { 2 } else { value(2) };
            sys::native(libc::SYS_socket, [value(1), kind, value(3), 0, 0, 0])
        }
        "mount-tmpfs" => sys::native(libc::SYS_mount, [path("tmpfs"), path(word(1)), path("tmpfs"), 0, 0, 0]),
        "mount-proc" => sys::native(libc::SYS_mount, [path("proc"), path(word(1)), path("proc"), 0, 0, 0]),
        "remount-rw" => {
            let flags = libc::MS_REMOUNT | libc::MS_BIND;
            sys::native(libc::SYS_mount, [path("none"), path(word(1)), path("none"), flags, 0, 0])
        }
        "umount" => sys::native(libc::SYS_umount2, [path(word(1)), 2, 0, 0, 0, 0]),
        "mknod" => {
            // mknod PATH c|b MAJOR MINOR
            let kind = if word(2) == "b" { libc::S_IFBLK } else { libc::S_IFCHR };
            let device =
                libc::makedev(u32::try_from(value(3)).unwrap_or(0), u32::try_from(value(4)).unwrap_or(0));
            let made =
                sys::native(libc::SYS_mknodat, [at(), path(word(1)), u64::from(kind | 0o600), device, 0, 0]);
            made.and_then(|_| io(fs::OpenOptions::new().read(true).open(word(1))))
        }
        "open" => io(fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(word(1))),
        "open-rw" => {
            io(fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(word(1)))
        }
        "write" => io(fs::OpenOptions::new()
            .write(true)
            .open(word(1))
            .and_then(|mut file| std::io::Write::write_all(&mut file, word(2).as_bytes()))),
        "create" => io(fs::write(word(1), word(2))),
        "mkdir" => io(fs::create_dir(word(1))),
        "unlink" => io(fs::remove_file(word(1))),
        "chmod" => sys::native(libc::SYS_fchmodat, [at(), path(word(1)), value(2), 0, 0, 0]),
        "chown" => sys::native(libc::SYS_fchownat, [at(), path(word(1)), value(2), value(2), 0, 0]),
        "chroot" => sys::native(libc::SYS_chroot, [path(word(1)), 0, 0, 0, 0, 0]),
        "setuid" => sys::native(libc::SYS_setuid, [value(1), 0, 0, 0, 0, 0]),
        "sethostname" => {
            sys::native(libc::SYS_sethostname, [path(word(1)), word(1).len() as u64, 0, 0, 0, 0])
        }
        "ptrace-traceme" => sys::native(libc::SYS_ptrace, [0; 6]),
        "kill" => sys::native(libc::SYS_kill, [value(1), value(2), 0, 0, 0, 0]),
        "unshare" => sys::native(libc::SYS_unshare, [value(1), 0, 0, 0, 0, 0]),
        "setns" => {
            use std::os::fd::AsRawFd;
            match fs::File::open(word(1)) {
                Ok(file) => {
                    sys::native(libc::SYS_setns, [u64::from(file.as_raw_fd().unsigned_abs()), 0, 0, 0, 0, 0])
                }
                Err(error) => Err(error.raw_os_error().unwrap_or(libc::EIO)),
            }
        }
        "exec" => Err(sys::exec(call.get(1..).unwrap_or_default())),
        "udp" => io(std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
            socket.send_to(b"plimsoll", ("127.0.0.1", u16::try_from(value(1)).unwrap_or(9)))
        })),
        _ => crate::refusals::refused(call).unwrap_or(Err(255)),
    }
}

/// `AT_FDCWD` as an argument word.
fn at() -> u64 {
    i64::from(libc::AT_FDCWD).cast_unsigned()
}
