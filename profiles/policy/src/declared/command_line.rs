//! `docker run …` as somebody would type it.

use super::engine::{self, Options};
use super::{DeclaredError, DeclaredMount, Form, Workload};
use crate::text::Place;

/// Options without a value.
const FLAGS: [&str; 16] = [
    "detach",
    "disable-content-trust",
    "help",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hosts",
    "oom-kill-disable",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "replace",
    "rm",
    "sig-proxy",
    "tty",
];

/// Options with a value.
const VALUES: [&str; 92] = [
    "add-host",
    "annotation",
    "attach",
    "blkio-weight",
    "blkio-weight-device",
    "cap-add",
    "cap-drop",
    "cgroup-parent",
    "cgroupns",
    "cidfile",
    "cpu-count",
    "cpu-percent",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-option",
    "dns-search",
    "domainname",
    "entrypoint",
    "env",
    "env-file",
    "expose",
    "gidmap",
    "gpus",
    "group-add",
    "health-cmd",
    "health-interval",
    "health-retries",
    "health-start-interval",
    "health-start-period",
    "health-timeout",
    "hostname",
    "io-maxbandwidth",
    "io-maxiops",
    "ip",
    "ip6",
    "ipc",
    "isolation",
    "kernel-memory",
    "label",
    "label-file",
    "link",
    "link-local-ip",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "name",
    "network",
    "network-alias",
    "oom-score-adj",
    "pid",
    "pids-limit",
    "platform",
    "publish",
    "pull",
    "restart",
    "runtime",
    "security-opt",
    "shm-size",
    "stop-signal",
    "stop-timeout",
    "storage-opt",
    "sysctl",
    "tmpfs",
    "uidmap",
    "ulimit",
    "umask",
    "user",
    "userns",
    "uts",
    "volume",
    "volume-driver",
    "volumes-from",
    "workdir",
];

/// Options of `plim run` alone, which change nothing of what is judged.
const PLIM_FLAGS: [&str; 2] = ["print-spec", "trace"];
const PLIM_VALUES: [&str; 8] =
    ["bundle", "learn", "rootfs", "snapshot", "time-offset", "timens", "trace-format", "trace-output"];

/// One-letter options.
const SHORT: [(char, &str); 16] = [
    ('a', "attach"),
    ('c', "cpu-shares"),
    ('d', "detach"),
    ('e', "env"),
    ('h', "hostname"),
    ('i', "interactive"),
    ('l', "label"),
    ('m', "memory"),
    ('P', "publish-all"),
    ('p', "publish"),
    ('q', "quiet"),
    ('t', "tty"),
    ('u', "user"),
    ('v', "volume"),
    ('w', "workdir"),
    ('?', "help"),
];

fn error(what: impl Into<String>) -> DeclaredError {
    DeclaredError::new(Place::START, what)
}

/// Splits as a shell does, without substitutions: quotes, backslashes and line continuations.
///
/// # Errors
/// A quote that is not closed.
pub fn words(text: &str) -> Result<Vec<String>, DeclaredError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        None => {
                            return Err(error(format!("command line: {letter} without its closing quote")));
                        }
                        Some(end) if end == letter => break,
                        Some('\\') if letter == '"' => match letters.next() {
                            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                            Some('\n') | None => {}
                            Some(next) => word.extend(['\\', next]),
                        },
                        Some(inside) => word.push(inside),
                    }
                }
            }
            '\\' => match letters.next() {
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            letter if letter.is_whitespace() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Reads `[docker|podman] [container] run|create OPTIONS IMAGE [COMMAND…]`, or `plim run OPTIONS COMMAND…`, which has no image.
///
/// ```
/// let workload = plim_policy::declared::command_line::read("docker run --cap-drop=ALL -u 1000 --name web nginx:1").unwrap();
/// assert_eq!(workload.target_name(), "container/web");
/// assert_eq!(workload.containers[0].capabilities.as_deref(), Some(&[][..]));
/// ```
///
/// # Errors
/// No `run` in it, an unknown option (with the nearest one), an option without its value, no image.
pub fn read(text: &str) -> Result<Workload, DeclaredError> {
    let words = words(text)?;
    let run = words.iter().position(|word| ["run", "create", "plim-run"].contains(&word.as_str()));
    let plim = run.is_some_and(|run| words[..=run].iter().any(|word| word == "plim" || word == "plim-run"));
    let Some(run) = run.filter(|run| *run <= 4) else {
        return Err(error(format!("command line: found {:?}, expected docker run …", shorten(text))));
    };
    let mut options = Options::default();
    let mut quota = (None, 100_000.0);
    let mut rest = words[run + 1..].iter();
    let first = loop {
        let Some(word) = rest.next() else { break None };
        if word == "--" {
            break rest.next();
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            let name = if name == "net" { "network" } else { name };
            if plim && PLIM_FLAGS.contains(&name) {
                continue;
            }
            if FLAGS.contains(&name) {
                let on = !matches!(value.as_deref(), Some("false" | "0" | "f" | "F" | "FALSE" | "False"));
                flag(&mut options, name, on);
            } else if VALUES.contains(&name) || plim && PLIM_VALUES.contains(&name) {
                let value = value.or_else(|| rest.next().cloned());
                let value =
                    value.ok_or_else(|| error(format!("command line: --{name} without its value")))?;
                set(&mut options, &mut quota, name, &value)?;
            } else {
                let near = crate::spelling::hint(name, FLAGS.iter().chain(&VALUES).copied());
                return Err(error(format!("command line: unknown option --{name}{near}")));
            }
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            for (at, letter) in letters.char_indices() {
                let Some((_, name)) = SHORT.iter().find(|(short, _)| *short == letter) else {
                    return Err(error(format!("command line: unknown option -{letter}")));
                };
                if FLAGS.contains(name) {
                    flag(&mut options, name, true);
                    continue;
                }
                let glued = letters[at + letter.len_utf8()..].trim_start_matches('=');
                let value = if glued.is_empty() { rest.next().cloned() } else { Some(glued.to_owned()) };
                let value =
                    value.ok_or_else(|| error(format!("command line: -{letter} without its value")))?;
                set(&mut options, &mut quota, name, &value)?;
                break;
            }
        } else {
            break Some(word);
        }
    };
    let first = first
        .ok_or_else(|| error(if plim { "command line: no command" } else { "command line: no image" }))?;
    if let Some(time) = quota.0
        && options.millicpus.is_none()
    {
        options.millicpus = engine::cpus(&format!("{}", time / quota.1));
    }
    options.image = (!plim).then(|| first.clone());
    if options.name.is_empty() {
        let base = first.rsplit('/').next().unwrap_or(first);
        let tag = base.find([':', '@']).filter(|_| !plim).unwrap_or(base.len());
        options.name = base[..tag].to_owned();
    }
    Ok(Workload {
        form: Form::DockerRun,
        kind: "container".to_owned(),
        name: options.name.clone(),
        namespace: None,
        labels: std::mem::take(&mut options.labels),
        os: "linux".to_owned(),
        containers: vec![options.container()],
        at: Place::START,
        pod: None,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

fn flag(options: &mut Options, name: &str, on: bool) {
    match name {
        "privileged" => options.privileged = on,
        "read-only" => options.read_only = on,
        "no-healthcheck" if on => options.healthcheck = Some(false),
        _ => {}
    }
}

fn set(
    options: &mut Options,
    quota: &mut (Option<f64>, f64),
    name: &str,
    value: &str,
) -> Result<(), DeclaredError> {
    let text = || value.to_owned();
    let bad = |expected: &str| error(format!("command line: --{name}: found {value:?}, expected {expected}"));
    match name {
        "name" => options.name = text(),
        "user" => options.user = Some(text()),
        "cap-add" => options.cap_add.push(text()),
        "cap-drop" => options.cap_drop.push(text()),
        "security-opt" => options.security_opt.push(text()),
        "pid" => options.pid = text(),
        "ipc" => options.ipc = text(),
        "uts" => options.uts = text(),
        "userns" => options.userns = text(),
        "cgroupns" => options.cgroupns = text(),
        "network" => options.network = text(),
        "cgroup-parent" => options.cgroup_parent = Some(text()),
        "volume" => options.mounts.push(engine::volume(value)),
        "mount" => options.mounts.push(engine::mount(value)),
        "tmpfs" => options.mounts.push(DeclaredMount {
            kind: "tmpfs".to_owned(),
            source: String::new(),
            target: value.split(':').next().unwrap_or_default().to_owned(),
            read_only: false,
            propagation: "private".to_owned(),
        }),
        "group-add" => options.groups.push(text()),
        "device-cgroup-rule" => options.devices.push(text()),
        "gpus" => options.devices.push(format!("gpus {value}")),
        "volumes-from" => options.mounts.push(engine::volumes_from(value)),
        "device" => options.devices.push(engine::device(value)),
        "sysctl" => {
            let (key, value) = value.split_once('=').ok_or_else(|| bad("NAME=VALUE"))?;
            options.sysctls.insert(key.to_owned(), value.to_owned());
        }
        "publish" => options.ports.push(engine::port(value).ok_or_else(|| bad("[[IP:]HOST:]CONTAINER"))?),
        "memory" => {
            options.memory_bytes = Some(engine::size(value).ok_or_else(|| bad("a size such as 64m"))?)
        }
        "cpus" => options.millicpus = Some(engine::cpus(value).ok_or_else(|| bad("a number of CPUs"))?),
        "cpu-quota" => quota.0 = Some(value.parse().map_err(|_| bad("microseconds"))?),
        "cpu-period" => quota.1 = value.parse().map_err(|_| bad("microseconds"))?,
        "cpu-shares" => options.cpu_shares = Some(value.parse().map_err(|_| bad("a number"))?),
        "pids-limit" => options.pids = Some(value.parse().map_err(|_| bad("a number"))?),
        "restart" => options.restart = text(),
        "health-cmd" => options.healthcheck = Some(true),
        "ulimit" => options.ulimits.push(text()),
        "runtime" => options.runtime = text(),
        "label" => {
            let (key, value) = value.split_once('=').unwrap_or((value, ""));
            options.labels.insert(key.to_owned(), value.to_owned());
        }
        _ => {}
    }
    Ok(())
}
