//! `docker run …` as it is typed, or as a script holds it.
//!
//! What only the shell that runs the text would know is undecided, and never a pass: see [`Container::undecided`].

use plim_docker::invocation::{self, Invocation, Statement};
use plim_docker::shell::Word;
use plim_docker::{Engine, UsageError, What, mounts, values};

use super::engine::{self, Options};
use super::model::FACTS;
use super::{DeclaredError, DeclaredMount, Form, Workload};
use crate::text::Place;

/// What the commands of a text ask for.
#[derive(Clone, Debug, Default)]
pub struct CommandLines {
    /// The containers, in their order.
    pub workloads: Vec<Workload>,
    /// Commands that may run containers of which the text does not say enough: the command, why, and its line.
    pub not_judged: Vec<(String, String, u32)>,
    /// Commands that run no container, by name.
    pub skipped: Vec<String>,
}

/// Reads the one container of a command line.
///
/// ```
/// let workload = plim_policy::declared::command_line::read("docker run --cap-drop=ALL -u 1000 --name web nginx:1").unwrap();
/// assert_eq!(workload.target_name(), "container/web");
/// assert_eq!(workload.containers[0].capabilities.as_deref(), Some(&[][..]));
/// ```
///
/// # Errors
/// What the engine would refuse, with the nearest spelling; no container or several.
pub fn read(text: &str) -> Result<Workload, DeclaredError> {
    let mut lines = read_all(text)?;
    if let Some((what, why, line)) = lines.not_judged.first() {
        return Err(error(*line, format!("found `{what}`, which cannot be judged: {why}")));
    }
    match (lines.workloads.pop(), lines.workloads.len()) {
        (Some(workload), 0) => Ok(workload),
        (_, others) => Err(error(1, format!("found {} containers, expected one", others + 1))),
    }
}

/// Reads every container command of a text; a text with none is an error.
///
/// # Errors
/// What an engine would refuse, with the nearest spelling.
pub fn read_all(text: &str) -> Result<CommandLines, DeclaredError> {
    let mut lines = CommandLines::default();
    for statement in invocation::read(text).map_err(usage)? {
        match statement {
            Statement::Run(run) => lines.workloads.push(workload(&run)?),
            Statement::Other { name } => lines.skipped.push(name),
            Statement::NotJudged { what, why, line } => lines.not_judged.push((what, why, number(line))),
        }
    }
    if lines.workloads.is_empty()
        && let [(what, why, line)] = lines.not_judged.as_slice()
    {
        return Err(error(*line, format!("found `{what}`, expected docker run …: {why}")));
    }
    Ok(lines)
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn error(line: u32, what: impl std::fmt::Display) -> DeclaredError {
    DeclaredError::new(Place { line, ..Place::START }, format!("command line: {what}"))
}

fn usage(wrong: UsageError) -> DeclaredError {
    let near = wrong.spelling().map_or_else(String::new, |(word, known)| {
        crate::spelling::hint(word, known.iter().map(String::as_str))
    });
    error(number(wrong.line), format!("{wrong}{near}"))
}

fn workload(run: &Invocation) -> Result<Workload, DeclaredError> {
    let mut reader =
        Reader { engine: run.engine, options: Options { engine: Some(run.engine), ..Options::default() } };
    let mut quota = (None, 100_000.0);
    for (name, value) in &run.options {
        reader.option(name, value, &mut quota).map_err(usage)?;
    }
    let mut options = reader.options;
    if let Some(time) = quota.0
        && options.millicpus.is_none()
    {
        options.millicpus = engine::cpus(&format!("{}", time / quota.1));
    }
    if let Some(source) = &run.open {
        let why = format!("{source} in line {} may be any option, image or command", run.line);
        leave(&mut options, &FACTS, &why);
    }
    if let Some(image) = run.image.as_ref().filter(|image| image.unknown().is_some()) {
        let why = format!("the image in line {} is {}", image.line, image.source());
        leave(&mut options, &["image"], &why);
    }
    let image = run.image.as_ref().map(Word::source);
    if options.name.is_empty() {
        let first = image.as_deref().or(run.open.as_deref()).unwrap_or_default();
        let base = first.rsplit('/').next().unwrap_or(first);
        let tag = base.find([':', '@']).filter(|_| run.engine != Engine::Plim).unwrap_or(base.len());
        options.name = base[..tag].to_owned();
    }
    options.image = image.filter(|_| run.engine != Engine::Plim);
    Ok(Workload {
        form: Form::DockerRun,
        kind: "container".to_owned(),
        name: options.name.clone(),
        namespace: None,
        labels: std::mem::take(&mut options.labels),
        os: "linux".to_owned(),
        containers: vec![options.container()],
        at: Place { line: number(run.line), ..Place::START },
        pod: None,
    })
}

fn leave(options: &mut Options, facts: &[&str], why: &str) {
    for fact in facts {
        options.undecided.entry((*fact).to_owned()).or_insert_with(|| why.to_owned());
    }
}

/// The facts that an option decides; none for an option that no rule asks about.
fn decided_by(name: &str) -> &'static [&'static str] {
    match name {
        "user" => &["user", "root"],
        "group-add" => &["groups"],
        "cap-add" | "cap-drop" => &["capabilities", "cap_add", "cap_drop"],
        "security-opt" => {
            &["no_new_privs", "seccomp", "apparmor", "selinux", "masked_paths", "proc_sys_read_only"]
        }
        "pid" => &["namespaces.pid"],
        "ipc" => &["namespaces.ipc"],
        "uts" => &["namespaces.uts"],
        "userns" => &["namespaces.user"],
        "cgroupns" => &["namespaces.cgroup"],
        "network" => &["namespaces.net", "network"],
        // Everything of another pod, or of a directory that may hold device nodes.
        "pod" | "pod-id-file" => &["namespaces"],
        "volume" | "mount" | "volumes-from" | "use-api-socket" => &["mounts"],
        "device" | "device-cgroup-rule" | "gpus" => &["devices"],
        "sysctl" => &["sysctls"],
        "publish" | "publish-all" => &["ports"],
        "memory" => &["memory_max_bytes"],
        "cpus" | "cpu-quota" | "cpu-period" => &["millicpus"],
        "cpu-shares" => &["cpu_shares"],
        "pids-limit" => &["pids_max"],
        "restart" => &["restart"],
        "health-cmd" | "no-healthcheck" => &["healthcheck"],
        "ulimit" => &["ulimits"],
        "cgroup-parent" => &["cgroup_parent"],
        "runtime" => &["runtime"],
        "read-only" => &["read_only_root"],
        // It changes most of the others, too.
        "privileged" => &FACTS,
        _ => &[],
    }
}

struct Reader {
    engine: Engine,
    options: Options,
}

impl Reader {
    fn option(
        &mut self,
        name: &'static str,
        word: &Word,
        quota: &mut (Option<f64>, f64),
    ) -> Result<(), UsageError> {
        let known = match name {
            // Part of it may be all that counts.
            "volume" | "mount" | "security-opt" => Some(""),
            "name" => {
                self.options.name = word.source();
                return Ok(());
            }
            _ => word.known(),
        };
        let Some(value) = known else {
            let source = word.unknown().unwrap_or_default();
            let facts = decided_by(name);
            leave(&mut self.options, facts, &format!("--{name} in line {} is {source}", word.line));
            return Ok(());
        };
        let option = || format!("--{name}");
        let bad = |expected: &str| {
            let what = What::Value { option: option(), found: word.source(), expected: expected.to_owned() };
            UsageError { line: word.line, what }
        };
        if self.engine.option(name).is_some_and(|(_, takes)| takes == plim_docker::options::Takes::Flag) {
            let on = values::boolean(value).ok_or_else(|| bad("true or false"))?;
            self.flag(name, on);
            return Ok(());
        }
        let text = || value.to_owned();
        let options = &mut self.options;
        match name {
            "user" => options.user = Some(text()),
            "cap-add" | "cap-drop" => {
                let what = || What::UnknownCapability { option: option(), found: text() };
                let capability =
                    values::capability(value).ok_or_else(|| UsageError { line: word.line, what: what() })?;
                if name == "cap-add" { &mut options.cap_add } else { &mut options.cap_drop }.push(capability);
            }
            "security-opt" => self.security(word).map_err(|expected| bad(&expected))?,
            "pid" | "ipc" | "uts" | "userns" | "cgroupns" => {
                self.namespace(name, value).map_err(&bad)?;
            }
            "network" => {
                // Podman's takes options behind a colon (`slirp4netns:mtu=…`), Docker's CSV (`name=x,alias=y`).
                let mode = value
                    .strip_prefix("name=")
                    .map_or(value, |rest| rest.split(',').next().unwrap_or_default());
                if mode.starts_with("ns:") {
                    leave(
                        options,
                        decided_by(name),
                        &format!("--network {mode} is whichever namespace that file is"),
                    );
                } else {
                    options.network = mode.to_owned();
                }
            }
            "cgroup-parent" => options.cgroup_parent = Some(text()),
            "volume" => {
                let volume = mounts::volume(word, self.engine).map_err(&bad)?;
                self.mount(name, volume, word);
            }
            "mount" => {
                let pieces = match word.known() {
                    Some(known) => values::csv(known)
                        .map_err(bad)?
                        .iter()
                        .map(|piece| Word::of(piece, word.line))
                        .collect(),
                    None => word.split(','),
                };
                let mount = mounts::mount(&pieces, self.engine).map_err(|expected| bad(&expected))?;
                self.mount(name, mount, word);
            }
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
            "volumes-from" => {
                options.mounts.push(engine::volumes_from(value));
                leave(
                    options,
                    &["mounts"],
                    &format!("--volumes-from {value} mounts whatever that container has"),
                );
            }
            "device" => options.devices.push(engine::device(value)),
            "sysctl" => {
                let (key, value) = value.split_once('=').ok_or_else(|| bad("NAME=VALUE"))?;
                options.sysctls.insert(key.to_owned(), value.to_owned());
            }
            "publish" => options.ports.push(engine::port(value).ok_or_else(|| bad("[[IP:]HOST:]CONTAINER"))?),
            "memory" => {
                let bytes = values::bytes(value).ok_or_else(|| bad("a size such as 64m"))?;
                options.memory_bytes = Some(bytes);
            }
            "memory-reservation" | "shm-size" => {
                values::bytes(value).ok_or_else(|| bad("a size such as 64m"))?;
            }
            "cpus" => options.millicpus = Some(engine::cpus(value).ok_or_else(|| bad("a number of CPUs"))?),
            "cpu-quota" => quota.0 = Some(value.parse().map_err(|_| bad("microseconds"))?),
            "cpu-period" => quota.1 = value.parse().map_err(|_| bad("microseconds"))?,
            "cpu-shares" => options.cpu_shares = Some(value.parse().map_err(|_| bad("a number"))?),
            "pids-limit" => options.pids = Some(value.parse().map_err(|_| bad("a number"))?),
            "restart" => options.restart = text(),
            "health-cmd" => options.healthcheck = Some(value != "none"),
            "ulimit" => options.ulimits.push(text()),
            "runtime" => options.runtime = text(),
            "label" => {
                let (key, value) = value.split_once('=').unwrap_or((value, ""));
                options.labels.insert(key.to_owned(), value.to_owned());
            }
            "pod" | "pod-id-file" => {
                leave(
                    options,
                    decided_by(name),
                    &format!("--{name} {value}: the pod's namespaces are its own affair"),
                );
            }
            _ => {}
        }
        Ok(())
    }

    fn flag(&mut self, name: &str, on: bool) {
        let options = &mut self.options;
        match name {
            "privileged" => options.privileged = on,
            "read-only" => options.read_only = on,
            "no-healthcheck" if on => options.healthcheck = Some(false),
            // docker/cli: the engine's own socket, and the credentials of its registries.
            "use-api-socket" if on => options.mounts.push(DeclaredMount {
                kind: "bind".to_owned(),
                source: "/var/run/docker.sock".to_owned(),
                target: "/var/run/docker.sock".to_owned(),
                read_only: false,
                propagation: "private".to_owned(),
            }),
            "publish-all" if on => {
                leave(options, &["ports"], "--publish-all publishes what the image exposes");
            }
            _ => {}
        }
    }

    fn mount(&mut self, name: &str, mount: mounts::Known, word: &Word) {
        match mount {
            Some(mount) => self.options.mounts.push(DeclaredMount {
                kind: mount.kind,
                source: mount.source,
                target: mount.target,
                read_only: mount.read_only,
                propagation: mount.propagation,
            }),
            None => {
                let source = word.unknown().unwrap_or_default();
                let why = format!("--{name} in line {}: what {source} is decides what is mounted", word.line);
                leave(&mut self.options, &["mounts"], &why);
            }
        }
    }

    /// A mode of a namespace; the modes that are no namespace of the container's own stay as they are written.
    fn namespace(&mut self, name: &'static str, value: &str) -> Result<(), &'static str> {
        let (kind, rest) = value.split_once(':').map_or((value, None), |(kind, rest)| (kind, Some(rest)));
        let podman = self.engine == Engine::Podman;
        let good = match (name, kind) {
            (_, "" | "host") => rest.is_none(),
            ("pid" | "ipc", "container") => rest.is_some_and(|id| !id.is_empty()),
            ("ipc", "none" | "shareable") | ("ipc" | "cgroupns", "private") => rest.is_none(),
            ("uts" | "cgroupns", "container") if podman => rest.is_some_and(|id| !id.is_empty()),
            ("pid" | "uts", "private") if podman || self.engine == Engine::Plim => rest.is_none(),
            ("userns", "private") if self.engine != Engine::Docker => rest.is_none(),
            ("userns", "auto" | "keep-id" | "nomap" | "container") if podman => true,
            (_, "ns" | "pod") if podman => true,
            // Plim joins by path or container, too.
            ("uts" | "userns" | "cgroupns", "container") if self.engine == Engine::Plim => true,
            (_, "path") if self.engine == Engine::Plim => true,
            _ => false,
        };
        if !good {
            return Err(match name {
                "ipc" => "none, private, shareable, host or container:NAME",
                "pid" => "host or container:NAME",
                "userns" | "uts" => "host, or nothing for the default",
                _ => "host or private",
            });
        }
        let options = &mut self.options;
        if ["ns", "pod", "path"].contains(&kind) {
            let why = format!("--{name} {value} is whichever namespace that is");
            leave(options, decided_by(name), &why);
            return Ok(());
        }
        let mode = match name {
            "pid" => &mut options.pid,
            "ipc" => &mut options.ipc,
            "uts" => &mut options.uts,
            "userns" => &mut options.userns,
            _ => &mut options.cgroupns,
        };
        value.clone_into(mode);
        Ok(())
    }

    fn security(&mut self, word: &Word) -> Result<(), String> {
        let why = || format!("--security-opt {} in line {}", word.source(), word.line);
        let Some(known) = word.known() else {
            // The key may be all that is known.
            let key = word.prefix().split(['=', ':']).next().unwrap_or_default();
            let whole = word.prefix().contains(['=', ':']);
            let facts: &[&str] = match key {
                "no-new-privileges" if whole => &["no_new_privs"],
                "seccomp" if whole => &["seccomp"],
                "apparmor" if whole => &["apparmor"],
                "label" if whole => &["selinux"],
                "systempaths" | "unmask" | "mask" if whole => &["masked_paths", "proc_sys_read_only"],
                _ => decided_by("security-opt"),
            };
            leave(&mut self.options, facts, &why());
            return Ok(());
        };
        let podman = self.engine == Engine::Podman;
        let (key, value) =
            values::security_option(known).ok_or("KEY=VALUE, such as no-new-privileges=true")?;
        match (key, value) {
            ("no-new-privileges", None) => {}
            ("no-new-privileges" | "writable-cgroups", Some(value)) => {
                values::boolean(value).ok_or("true or false behind it")?;
            }
            ("seccomp" | "apparmor" | "label", Some(_)) => {}
            ("systempaths", Some("unconfined")) => {}
            ("mask" | "unmask" | "proc-opts", Some(_)) if podman => {}
            ("privileged-without-host-devices", _) if self.engine == Engine::Nerdctl => {}
            _ => {
                let keys = "apparmor, label, no-new-privileges, seccomp or systempaths=unconfined";
                let more = if podman { ", mask, unmask, proc-opts" } else { "" };
                return Err(format!("one of {keys}{more}"));
            }
        }
        self.options.security_opt.push(known.to_owned());
        Ok(())
    }
}
