//! What a container does to those that look at it: many processes, many mounts, files that never answer.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

use crate::{load, names, number, sys};

/// How long each of these holds when nothing ends it before.
const SECONDS: &str = "60";

/// Forks N children that wait, says "ready", and holds.
pub(crate) fn crowd(args: &[String]) -> i32 {
    for _ in 0..number(args, 0) {
        match sys::fork() {
            Ok(0) => {
                std::thread::sleep(Duration::from_secs(60));
                sys::exit_now(0);
            }
            Ok(_) => {}
            Err(errno) => return failed("fork", errno),
        }
    }
    load::hold(&[SECONDS.to_owned()])
}

/// Makes N mounts, says "ready", and holds. With `stacked` they lie on each other, else each at a place of its own.
pub(crate) fn mounts(args: &[String]) -> i32 {
    let stacked = args.get(1).is_some_and(|word| word == "stacked");
    let _ = std::fs::create_dir_all("/mounts");
    if let Err(errno) = mount("tmpfs", "/mounts", "tmpfs", 0, "") {
        return failed("mount", errno);
    }
    for n in 0..number(args, 0) {
        let place = if stacked { "/mounts".to_owned() } else { format!("/mounts/{n}") };
        let _ = std::fs::create_dir(&place);
        if let Err(errno) = mount("/mounts", &place, "", libc::MS_BIND, "") {
            return failed("mount", errno);
        }
    }
    load::hold(&[SECONDS.to_owned()])
}

/// Mounts a FUSE file system at PATH that reads every request and answers none but the first, says "ready", and asks again and
/// again for what is refused before its path is looked at: of FILE, or of one below PATH.
pub(crate) fn hang(args: &[String]) -> i32 {
    let Some(path) = args.first() else { return 2 };
    let _ = std::fs::create_dir_all(path);
    let device = std::fs::File::options().read(true).write(true).open("/dev/fuse");
    let mut device = match device {
        Ok(device) => device,
        Err(error) => return failed("open /dev/fuse", error.raw_os_error().unwrap_or(0)),
    };
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    if let Err(errno) = mount("hung", path, "fuse", 0, &options) {
        return failed("mount", errno);
    }
    // struct fuse_in_header: length, opcode, unique. FUSE_INIT is answered with struct fuse_init_out of version 7.31.
    let mut request = vec![0; 1 << 20];
    let unique = match device.read(&mut request) {
        Ok(40..) => request[8..16].to_vec(),
        _ => return failed("read FUSE_INIT", 0),
    };
    let mut answer = Vec::new();
    answer.extend(80u32.to_ne_bytes());
    answer.extend(0u32.to_ne_bytes());
    answer.extend(unique);
    for word in [7u32, 31, 0, 0, 0, 4096] {
        answer.extend(word.to_ne_bytes());
    }
    answer.resize(80, 0);
    if device.write_all(&answer).is_err() {
        return failed("answer FUSE_INIT", 0);
    }
    match sys::fork() {
        Ok(0) => {
            while device.read(&mut request).is_ok() {}
            sys::exit_now(0);
        }
        Ok(_) => {}
        Err(errno) => return failed("fork", errno),
    }
    let file = args.get(1).cloned().unwrap_or_else(|| format!("{path}/file")) + "\0";
    println!("ready");
    let _ = std::io::stdout().flush();
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(100));
        // EPERM without CAP_SYS_PACCT, before its path is looked at.
        let _ = sys::native(libc::SYS_acct, [file.as_ptr() as u64, 0, 0, 0, 0, 0]);
    }
    0
}

fn mount(source: &str, target: &str, kind: &str, flags: u64, data: &str) -> Result<i64, i32> {
    let [source, target, kind, data] = [source, target, kind, data].map(|text| format!("{text}\0"));
    let pointers = [&source, &target, &kind].map(|text| text.as_ptr() as u64);
    let [source, target, kind] = pointers;
    sys::native(libc::SYS_mount, [source, target, kind, flags, data.as_ptr() as u64, 0])
}

fn failed(what: &str, errno: i32) -> i32 {
    println!("{what}: {}", names::errno(errno));
    1
}
