//! Everything the witness sees, as one JSON object.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use serde_json::{Map, Value, json};

use crate::sys;

/// Prints the report.
pub(crate) fn print() -> i32 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> Option<String> {
        let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
        Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let caps: BTreeMap<&str, Option<String>> = [
        ("inheritable", "CapInh"),
        ("permitted", "CapPrm"),
        ("effective", "CapEff"),
        ("bounding", "CapBnd"),
        ("ambient", "CapAmb"),
    ]
    .into_iter()
    .map(|(name, key)| (name, field(key)))
    .collect();
    let report = json!({
        "pid": std::process::id(),
        "uid": field("Uid"), "gid": field("Gid"), "groups": field("Groups"), "umask": field("Umask"),
        "capabilities": caps,
        "no_new_privs": field("NoNewPrivs"),
        "seccomp": {"mode": field("Seccomp"), "filters": field("Seccomp_filters")},
        "namespaces": namespaces(),
        "hostname": text("/proc/sys/kernel/hostname"),
        "cwd": std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_else(|e| e.to_string()),
        "exe": fs::read_link("/proc/self/exe").map(|path| path.display().to_string()).unwrap_or_default(),
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "fds": descriptors(),
        "limits": text("/proc/self/limits"),
        "mounts": text("/proc/self/mountinfo").lines().map(Value::from).collect::<Vec<_>>(),
        "cgroup": text("/proc/self/cgroup"),
        "interfaces": interfaces(),
        "processes": processes(),
        "dev": devices("/dev"),
        "masked": masked(),
        "terminals": [sys::terminal(0), sys::terminal(1), sys::terminal(2)],
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "cpus": field("Cpus_allowed_list"),
    });
    println!("{report}");
    0
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

fn namespaces() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), link.to_string_lossy().into_owned()))
        })
        .collect()
}

fn descriptors() -> BTreeMap<String, String> {
    let own = format!("/proc/{}/fd", std::process::id());
    let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            // The directory being read is open too.
            (link != own).then(|| (entry.file_name().to_string_lossy().into_owned(), link))
        })
        .collect()
}

/// Interface name and whether it is up (`operstate` of lo is "unknown" when up, "down" otherwise).
fn interfaces() -> BTreeMap<String, bool> {
    let listed = text("/proc/net/dev");
    let routes = text("/proc/net/fib_trie");
    let names = listed.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
    names.map(|name| (name.to_owned(), name != "lo" || routes.contains("127.0.0.1"))).collect()
}

fn processes() -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids.into_iter().map(|pid| format!("{pid} {}", text(&format!("/proc/{pid}/comm")))).collect()
}

fn devices(dir: &str) -> Map<String, Value> {
    let mut found = Map::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let kind = meta.file_type();
        let (major, minor) = (meta.rdev() >> 8 & 0xfff, meta.rdev() & 0xff);
        let what = if kind.is_char_device() {
            format!("c {major}:{minor}")
        } else if kind.is_block_device() {
            format!("b {major}:{minor}")
        } else if kind.is_symlink() {
            format!("-> {}", fs::read_link(&path).unwrap_or_default().display())
        } else if kind.is_dir() {
            "dir".to_owned()
        } else {
            "file".to_owned()
        };
        found.insert(entry.file_name().to_string_lossy().into_owned(), what.into());
    }
    found
}

/// For each path that Docker masks: `absent`, `empty` (nothing to be read in it), or `open`.
fn masked() -> BTreeMap<&'static str, &'static str> {
    const PATHS: [&str; 12] = [
        "/proc/asound",
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
    ];
    PATHS.into_iter().map(|path| (path, look(path))).collect()
}

/// Device and inode number, by which a file is known, and its kind: `DEV:INO file`, `DEV:INO char MAJOR:MINOR`.
pub(crate) fn identity(path: &str) -> std::io::Result<String> {
    let meta = fs::metadata(path)?;
    let kind = meta.file_type();
    let what = match () {
        () if kind.is_char_device() => format!("char {}:{}", meta.rdev() >> 8 & 0xfff, meta.rdev() & 0xff),
        () if kind.is_fifo() => "fifo".to_owned(),
        () if kind.is_socket() => "socket".to_owned(),
        () if kind.is_file() => "file".to_owned(),
        () => "other".to_owned(),
    };
    Ok(format!("{}:{} {what}", meta.dev(), meta.ino()))
}

/// `absent`, `empty` or `open`; reads one byte at most.
pub(crate) fn look(path: &str) -> &'static str {
    use std::io::Read;
    let Ok(meta) = fs::metadata(path) else { return "absent" };
    // It may be renamed between two looks.
    let seen = if meta.is_dir() {
        fs::read_dir(path).map(|mut entries| entries.next().is_none())
    } else {
        fs::File::open(path).and_then(|mut file| file.read(&mut [0])).map(|count| count == 0)
    };
    match seen {
        Ok(true) => "empty",
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "absent",
        _ => "open",
    }
}
