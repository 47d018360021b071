//! What a hostile process gets of the others in its pid namespace: their root, memory and environment, and the files that
//! they execute.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use serde_json::{Value, json};

use crate::{load, names, sys};

/// What was seen of all processes together.
#[derive(Default)]
struct Seen {
    looks: u64,
    others: u64,
    roots: u64,
    secrets: u64,
    memories: u64,
    /// By device and inode, open without a right to anything.
    executables: BTreeMap<(u64, u64), (File, String)>,
}

/// `observe CANARY SECRET PATH`: says "ready", then looks at all processes over and over until SIGTERM; what it held on to it then
/// tries to write. CANARY is a path of the host's root, SECRET a word in the launcher's environment.
pub(crate) fn observe(args: &[String]) -> i32 {
    let [canary, secret, path] = args else { return 2 };
    sys::block(&[libc::SIGTERM]);
    let mut seen = Seen::default();
    seen.hold(path);
    load::ready();
    while sys::wait_signal(&[libc::SIGTERM], 0).is_none() {
        seen.looks += 1;
        let own = std::process::id().to_string();
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = process.file_name().to_string_lossy().into_owned();
            if name != own && name.parse::<u32>().is_ok() {
                seen.look(&format!("/proc/{name}"), canary, secret);
            }
        }
    }
    println!("{}", seen.report());
    0
}

impl Seen {
    fn look(&mut self, process: &str, canary: &str, secret: &str) {
        self.others += 1;
        self.hold(&format!("{process}/exe"));
        self.roots += u64::from(fs::metadata(format!("{process}/root{canary}")).is_ok());
        let environment = fs::read(format!("{process}/environ")).unwrap_or_default();
        let found = environment.windows(secret.len()).any(|part| part == secret.as_bytes());
        self.secrets += u64::from(found);
        // The memory of a process that has the secret: the launcher's copy.
        self.memories += u64::from(found && File::open(format!("{process}/mem")).is_ok());
    }

    fn hold(&mut self, path: &str) {
        let link = fs::read_link(path).map(|link| link.display().to_string()).unwrap_or_default();
        if let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
            && let Ok(stat) = file.metadata()
        {
            self.executables.entry((stat.dev(), stat.ino())).or_insert((file, link));
        }
    }

    fn report(&self) -> Value {
        let executables: Vec<Value> = self
            .executables
            .iter()
            .map(|((device, inode), (file, link))| {
                json!({"device": device, "inode": inode, "link": link, "written": write(file)})
            })
            .collect();
        json!({
            "looks": self.looks, "others": self.others, "roots": self.roots, "secrets": self.secrets,
            "memories": self.memories, "executables": executables,
        })
    }
}

/// Writes the first byte as it is: "ok" or the errno.
fn write(file: &File) -> String {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let written = fs::OpenOptions::new().write(true).open(path).and_then(|mut file| {
        file.rewind()?;
        file.write_all(b"\x7f")
    });
    written.err().map_or_else(|| "ok".to_owned(), |error| names::errno(error.raw_os_error().unwrap_or(0)))
}
