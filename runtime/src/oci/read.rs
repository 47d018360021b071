//! [`from_spec`]: an OCI `config.json` as a [`ContainerConfig`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use plim_model::rlimit::{Limit, Rlimit, Rlimits};
use plim_model::{Capability, CapabilitySet, CapabilitySets, IdMap, IdMapping, NamespaceKind};
use serde_json::Value;

use super::annotations as note;
use super::cursor::{FieldError, Node, Object, Warning};
use super::{Bundle, Facts};
use crate::config::{
    ContainerConfig, DeviceNode, Mount, NamespaceMode, Process, Rootfs, RootfsSource, TimeOffsets, User,
};

type Result<T> = std::result::Result<T, FieldError>;

/// The names that getrlimit(2) and the specification (config.md, "POSIX process") have.
const RLIMITS: [&str; 16] = [
    "RLIMIT_AS",
    "RLIMIT_CORE",
    "RLIMIT_CPU",
    "RLIMIT_DATA",
    "RLIMIT_FSIZE",
    "RLIMIT_LOCKS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_NOFILE",
    "RLIMIT_NPROC",
    "RLIMIT_RSS",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    "RLIMIT_SIGPENDING",
    "RLIMIT_STACK",
];

const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"];

/// Nodes that the runtime makes in every container (config-linux.md, "Default Devices").
const STANDARD_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The document as a container, for the machine that `facts` describe. Pure.
///
/// # Errors
/// The first property, in the order of the specification, that has the wrong type or range, or that cannot be
/// honoured.
pub fn from_spec(spec: &Value, facts: &Facts) -> Result<Bundle> {
    let mut warnings = Vec::new();
    let mut top = Node::root(spec).object()?;
    version(&top.require("ociVersion")?)?;
    for other in ["solaris", "windows", "vm", "zos", "freebsd"] {
        top.refuse(other, "this container is not for Linux alone, and that part cannot be honoured")?;
    }
    top.refuse("hooks", "hooks are not supported: they run programs outside of the container")?;

    let annotations = Annotations::read(top.take("annotations"), &mut warnings)?;
    let (process, apparmor_profile, selinux_label) = process(&top.require("process")?, &mut warnings)?;
    let mut mounts = match top.take("mounts") {
        Some(list) => {
            list.list()?.iter().map(|node| mount(node, facts, &mut warnings)).collect::<Result<Vec<_>>>()?
        }
        None => Vec::new(),
    };
    let (path, read_only) = root(&top.require("root")?, facts, &mut warnings)?;
    let (source, read_only) = annotations.rootfs(path, read_only, &mut mounts)?;
    let hostname = top.take("hostname").map(|n| n.string()).transpose()?.filter(|name| !name.is_empty());
    let domainname = top.take("domainname").map(|n| n.string()).transpose()?.filter(|name| !name.is_empty());
    let linux_node = top.require("linux")?;
    let mut linux = linux_node.object()?;
    for (key, why) in [
        ("intelRdt", "Intel RDT is not supported"),
        ("personality", "another execution domain is not supported"),
        ("netDevices", "moving network devices is not supported"),
        ("memoryPolicy", "a NUMA memory policy is not supported"),
    ] {
        linux.refuse(key, why)?;
    }
    let namespaces = namespaces(&mut linux, &mut warnings)?;
    let seccomp = match linux.take("seccomp") {
        Some(node) => super::seccomp::read(&node, process.capabilities.bounding, facts, &mut warnings)?,
        None => None,
    };
    let config = ContainerConfig {
        id: annotations.text(note::ID).unwrap_or_default(),
        name: annotations.text(note::NAME).unwrap_or_default(),
        hostname,
        domainname,
        rootfs: Rootfs { source, read_only, propagation: propagation(&mut linux)? },
        mounts,
        id_maps: id_maps(&mut linux, &namespaces, &mut warnings)?,
        time_offsets: time_offsets(&mut linux, &namespaces, &mut warnings)?,
        masked_paths: paths(&mut linux, "maskedPaths")?,
        read_only_paths: paths(&mut linux, "readonlyPaths")?,
        devices: devices(&mut linux, &mut warnings)?,
        sysctls: sysctls(&mut linux)?,
        resources: match linux.take("resources") {
            Some(node) => super::resources::read(&node, &mut warnings)?,
            None => Default::default(),
        },
        cgroup_path: linux
            .take("cgroupsPath")
            .map(|n| n.string())
            .transpose()?
            .filter(|path| !path.is_empty()),
        seccomp,
        apparmor_profile,
        selinux_label,
        mount_label: linux.take("mountLabel").map(|node| context(&node)).transpose()?.flatten(),
        init: annotations.flag(note::INIT)?.unwrap_or(false),
        privileged: annotations.flag(note::PRIVILEGED)?.unwrap_or(false),
        loopback_up: match annotations.flag(note::LOOPBACK)? {
            Some(up) => up,
            None => super::default_loopback(&namespaces),
        },
        image: annotations.text(note::IMAGE),
        namespaces,
        process,
    };
    linux.finish(&mut warnings);
    top.finish(&mut warnings);
    Ok(Bundle { config, warnings })
}

/// The specification is versioned by SemVer: 1.x only adds.
fn version(node: &Node) -> Result<()> {
    let text = node.str()?;
    match text.split('.').next() {
        Some("1") => Ok(()),
        _ => Err(node.error(format!("found version {text:?}, expected 1.x"))),
    }
}

struct Annotations<'a>(BTreeMap<&'a str, Node<'a>>);

impl<'a> Annotations<'a> {
    fn read(node: Option<Node<'a>>, warnings: &mut Vec<Warning>) -> Result<Self> {
        let known = [
            note::ID,
            note::NAME,
            note::IMAGE,
            note::INIT,
            note::PRIVILEGED,
            note::LOOPBACK,
            note::ROOTFS,
            note::ROOTFS_PRIVATE,
            note::ROOTFS_UPPER_SIZE,
            note::ROOTFS_READ_ONLY,
            note::APPARMOR,
            note::SELINUX,
        ];
        let mut ours = BTreeMap::new();
        if let Some(node) = node {
            for (key, value) in node.object()?.members() {
                value.str()?;
                if known.contains(&key) {
                    ours.insert(key, value);
                } else if key.starts_with("io.plimsoll.") {
                    let message = "not an annotation that this version knows, ignored".to_owned();
                    warnings.push(Warning { pointer: value.pointer, message });
                }
            }
        }
        Ok(Annotations(ours))
    }

    fn text(&self, key: &str) -> Option<String> {
        self.0.get(key).and_then(|node| node.value.as_str()).map(str::to_owned)
    }

    fn flag(&self, key: &str) -> Result<Option<bool>> {
        match self.0.get(key) {
            None => Ok(None),
            Some(node) => match node.str()? {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                other => Err(node.error(format!("found {other:?}, expected \"true\" or \"false\""))),
            },
        }
    }

    /// Puts an overlay together again, and takes the stand-in mounts of its private directories out of the list.
    fn rootfs(
        &self,
        path: PathBuf,
        read_only: bool,
        mounts: &mut Vec<Mount>,
    ) -> Result<(RootfsSource, bool)> {
        let Some(node) = self.0.get(note::ROOTFS) else {
            return Ok((RootfsSource::Directory(path), read_only));
        };
        if node.str()? != "overlay" {
            return Err(node.error(format!("found {}, expected \"overlay\"", node.value)));
        }
        let mut private: Vec<String> = Vec::new();
        if let Some(list) = self.0.get(note::ROOTFS_PRIVATE) {
            private = serde_json::from_str(list.str()?)
                .map_err(|_| list.error("expected a JSON list of absolute paths"))?;
            let stand_ins = mounts.iter().map(|mount| mount.destination.as_str()).take(private.len());
            if !stand_ins.eq(private.iter().map(String::as_str)) {
                return Err(list.error("the first mounts are not those of the private directories"));
            }
            mounts.drain(..private.len());
        }
        let upper_size_bytes = match self.0.get(note::ROOTFS_UPPER_SIZE) {
            Some(size) => {
                Some(size.str()?.parse().map_err(|_| size.error("expected a whole number of bytes"))?)
            }
            None => None,
        };
        let read_only = self.flag(note::ROOTFS_READ_ONLY)?.unwrap_or(false);
        Ok((RootfsSource::Overlay { lower: path, private, upper_size_bytes }, read_only))
    }
}

/// An SELinux context; none when it is empty. It is written between quotation marks into the options of mounts.
fn context(node: &Node) -> Result<Option<String>> {
    let text = node.string()?;
    let strange = |c: char| !(c.is_ascii_alphanumeric() || "_.:,-".contains(c));
    if text.contains(strange) {
        return Err(node.error(format!("found {text:?}, expected an SELinux context")));
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The process, and its labels of AppArmor and SELinux.
type Labelled = (Process, Option<String>, Option<String>);

fn process(node: &Node, warnings: &mut Vec<Warning>) -> Result<Labelled> {
    let mut object = node.object()?;
    for (key, why) in [
        ("commandLine", "a command line is for Windows; Linux takes args"),
        ("ioPriority", "an I/O priority is not supported"),
        ("scheduler", "a scheduling policy is not supported"),
        ("execCPUAffinity", "a CPU affinity for exec is not supported"),
    ] {
        object.refuse(key, why)?;
    }
    let terminal = object.take("terminal").map(|n| n.bool()).transpose()?.unwrap_or(false);
    // Without a terminal the specification has the size ignored; with one, ours follows the caller's terminal.
    if terminal {
        object
            .refuse("consoleSize", "the size of the terminal is that of the caller's and cannot be given")?;
    } else {
        object.take("consoleSize");
    }
    let args = object.require("args")?;
    let list = args.strings()?;
    if list.first().is_none_or(String::is_empty) {
        return Err(args.error("expected at least the name of a command"));
    }
    let env = match object.take("env") {
        Some(env) => {
            for entry in env.list()? {
                if entry.str()?.find('=').is_none_or(|at| at == 0) {
                    return Err(entry.error(format!("found {}, expected NAME=VALUE", entry.value)));
                }
            }
            env.strings()?
        }
        None => Vec::new(),
    };
    let process = Process {
        args: list,
        env,
        cwd: object.require("cwd")?.absolute_path()?,
        terminal,
        user: user(object.take("user"), warnings)?,
        capabilities: capabilities(object.take("capabilities"), warnings)?,
        no_new_privileges: object.take("noNewPrivileges").map(|n| n.bool()).transpose()?.unwrap_or(false),
        rlimits: rlimits(object.take("rlimits"), warnings)?,
        oom_score_adj: match object.take("oomScoreAdj") {
            Some(score) => i32::try_from(score.within(-1000, 1000)?).ok(),
            None => None,
        },
    };
    let apparmor =
        object.take("apparmorProfile").map(|n| n.string()).transpose()?.filter(|name| !name.is_empty());
    let selinux = object.take("selinuxLabel").map(|node| context(&node)).transpose()?.flatten();
    object.finish(warnings);
    Ok((process, apparmor, selinux))
}

fn user(node: Option<Node>, warnings: &mut Vec<Warning>) -> Result<User> {
    let Some(node) = node else {
        return Ok(User { uid: 0, gid: 0, additional_gids: Vec::new(), umask: None });
    };
    let mut object = node.object()?;
    object.refuse("username", "a user name is for Windows; Linux takes uid and gid")?;
    let user = User {
        uid: object.take("uid").map_or(Ok(0), |n| n.u32())?,
        gid: object.take("gid").map_or(Ok(0), |n| n.u32())?,
        additional_gids: match object.take("additionalGids") {
            Some(list) => list.list()?.iter().map(Node::u32).collect::<Result<_>>()?,
            None => Vec::new(),
        },
        umask: match object.take("umask") {
            Some(umask) => u32::try_from(umask.within(0, 0o777)?).ok(),
            None => None,
        },
    };
    object.finish(warnings);
    Ok(user)
}

fn capabilities(node: Option<Node>, warnings: &mut Vec<Warning>) -> Result<CapabilitySets> {
    let Some(node) = node else { return Ok(CapabilitySets::default()) };
    let mut object = node.object()?;
    let mut set = |key: &'static str| -> Result<CapabilitySet> {
        let Some(list) = object.take(key) else { return Ok(CapabilitySet::EMPTY) };
        list.list()?
            .iter()
            .map(|name| {
                Capability::from_name(name.str()?)
                    .ok_or_else(|| name.error(format!("unknown capability {}", name.value)))
            })
            .collect()
    };
    let sets = CapabilitySets {
        effective: set("effective")?,
        permitted: set("permitted")?,
        inheritable: set("inheritable")?,
        bounding: set("bounding")?,
        ambient: set("ambient")?,
    };
    object.finish(warnings);
    Ok(sets)
}

fn rlimits(node: Option<Node>, warnings: &mut Vec<Warning>) -> Result<Rlimits> {
    let mut limits = Rlimits::new();
    let Some(node) = node else { return Ok(limits) };
    for entry in node.list()? {
        let mut object = entry.object()?;
        let kind = object.require("type")?;
        if !RLIMITS.contains(&kind.str()?) {
            return Err(kind.error(format!("unknown resource limit {}", kind.value)));
        }
        let number = |node: Node| {
            node.u64().map(|n| if n == super::RLIM_INFINITY { Limit::Max } else { Limit::Of(n) })
        };
        let (soft, hard) = (number(object.require("soft")?)?, number(object.require("hard")?)?);
        if soft > hard {
            return Err(entry.error(format!("the soft limit {soft} is above the hard limit {hard}")));
        }
        if limits.insert(kind.string()?, Rlimit { soft, hard }).is_some() {
            return Err(kind.error(format!("{} is given twice", kind.value)));
        }
        object.finish(warnings);
    }
    Ok(limits)
}

fn root(node: &Node, facts: &Facts, warnings: &mut Vec<Warning>) -> Result<(PathBuf, bool)> {
    let mut object = node.object()?;
    let path = object.require("path")?;
    if path.str()?.is_empty() {
        return Err(path.error("found \"\", expected the path of a directory"));
    }
    let path = facts.bundle.join(path.str()?);
    let read_only = object.take("readonly").map_or(Ok(false), |n| n.bool())?;
    object.finish(warnings);
    Ok((path, read_only))
}

fn mount(node: &Node, facts: &Facts, warnings: &mut Vec<Warning>) -> Result<Mount> {
    let mut object = node.object()?;
    for key in ["uidMappings", "gidMappings"] {
        object.refuse(key, "id-mapped mounts are not supported")?;
    }
    let destination = object.require("destination")?.absolute_path()?;
    let options = object.take("options").map_or(Ok(Vec::new()), |n| n.strings())?;
    let is_bind = options.iter().any(|option| option == "bind" || option == "rbind");
    let fs_type = match object.take("type") {
        // runc lets `none`, and a missing type, stand for a bind mount; the options decide.
        Some(kind) if is_bind && kind.str()? == "none" => "bind".to_owned(),
        Some(kind) => kind.string()?,
        None if is_bind => "bind".to_owned(),
        None => object.require("type")?.string()?,
    };
    let mut source = object.take("source").map_or(Ok(String::new()), |n| n.string())?;
    if fs_type == "bind" {
        if source.is_empty() {
            return Err(node.error("a bind mount has no source"));
        }
        // "for bind mounts … relative to the bundle" (config.md, "Mounts").
        if !Path::new(&source).is_absolute() {
            source = facts.bundle.join(&source).to_string_lossy().into_owned();
        }
    } else if source.is_empty() {
        source.clone_from(&fs_type);
    }
    object.finish(warnings);
    Ok(Mount { destination, fs_type, source, options })
}

fn namespaces(
    linux: &mut Object,
    warnings: &mut Vec<Warning>,
) -> Result<BTreeMap<NamespaceKind, NamespaceMode>> {
    let mut namespaces = BTreeMap::new();
    let list = linux.require("namespaces")?;
    for entry in list.list()? {
        let mut object = entry.object()?;
        let name = object.require("type")?;
        let text = name.str()?;
        let kind = NamespaceKind::ALL
            .into_iter()
            .find(|kind| super::namespace_name(*kind) == text)
            .ok_or_else(|| name.error(format!("unknown kind of namespace {text:?}")))?;
        let mode = match object.take("path") {
            Some(path) if path.str()?.is_empty() => NamespaceMode::New,
            Some(path) if kind == NamespaceKind::Mnt => {
                return Err(path.error("joining a mount namespace is not supported"));
            }
            Some(path) => NamespaceMode::Join(PathBuf::from(path.absolute_path()?)),
            None => NamespaceMode::New,
        };
        if namespaces.insert(kind, mode).is_some() {
            return Err(name.error(format!("the {text} namespace is given twice")));
        }
        object.finish(warnings);
    }
    if !namespaces.contains_key(&NamespaceKind::Mnt) {
        return Err(list.error("a container without a mount namespace of its own is not supported"));
    }
    Ok(namespaces)
}

fn propagation(linux: &mut Object) -> Result<String> {
    let Some(node) = linux.take("rootfsPropagation") else { return Ok("private".to_owned()) };
    match node.str()? {
        "" => Ok("private".to_owned()),
        text if PROPAGATIONS.contains(&text) => Ok(text.to_owned()),
        text => Err(node.error(format!("found {text:?}, expected one of {}", PROPAGATIONS.join(", ")))),
    }
}

fn id_maps(
    linux: &mut Object,
    namespaces: &BTreeMap<NamespaceKind, NamespaceMode>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<IdMap>> {
    let mut read = |key: &'static str| -> Result<Vec<IdMapping>> {
        let Some(list) = linux.take(key) else { return Ok(Vec::new()) };
        let mut maps = Vec::new();
        for entry in list.list()? {
            let mut object = entry.object()?;
            let map = IdMapping {
                inside: object.require("containerID")?.u32()?,
                outside: object.require("hostID")?.u32()?,
                count: object.require("size")?.u32()?,
            };
            if map.count == 0 {
                return Err(entry.error("a mapping of no ids"));
            }
            object.finish(warnings);
            maps.push(map);
        }
        Ok(maps)
    };
    let map = IdMap { uid: read("uidMappings")?, gid: read("gidMappings")? };
    let new = namespaces.get(&NamespaceKind::User) == Some(&NamespaceMode::New);
    let at = |key: &str, problem: &str| FieldError { pointer: linux.at(key), problem: problem.to_owned() };
    match (map.uid.is_empty(), map.gid.is_empty()) {
        (true, true) if new => Err(at("uidMappings", "missing, and a new user namespace needs it")),
        (true, true) => Ok(None),
        (false, false) if new => Ok(Some(map)),
        (false, false) => Err(at("uidMappings", "id mappings need a new user namespace")),
        (true, false) => Err(at("uidMappings", "missing beside gidMappings")),
        (false, true) => Err(at("gidMappings", "missing beside uidMappings")),
    }
}

fn time_offsets(
    linux: &mut Object,
    namespaces: &BTreeMap<NamespaceKind, NamespaceMode>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<TimeOffsets>> {
    let Some(node) = linux.take("timeOffsets") else { return Ok(None) };
    if namespaces.get(&NamespaceKind::Time) != Some(&NamespaceMode::New) {
        return Err(node.error("clock offsets need a new time namespace"));
    }
    let mut object = node.object()?;
    let mut clock = |key: &'static str| -> Result<(i64, u32)> {
        let Some(node) = object.take(key) else { return Ok((0, 0)) };
        let mut object = node.object()?;
        let secs = object.take("secs").map_or(Ok(0), |n| n.i64())?;
        let nanosecs = object.take("nanosecs").map_or(Ok(0), |n| n.within(0, 999_999_999))?;
        object.finish(warnings);
        Ok((secs, u32::try_from(nanosecs).unwrap_or_default()))
    };
    let offsets = TimeOffsets { monotonic: clock("monotonic")?, boottime: clock("boottime")? };
    object.finish(warnings);
    Ok(Some(offsets))
}

fn paths(linux: &mut Object, key: &'static str) -> Result<Vec<String>> {
    match linux.take(key) {
        Some(list) => list.list()?.iter().map(Node::absolute_path).collect(),
        None => Ok(Vec::new()),
    }
}

fn sysctls(linux: &mut Object) -> Result<BTreeMap<String, String>> {
    let Some(node) = linux.take("sysctl") else { return Ok(BTreeMap::new()) };
    // sysctl(8) takes both spellings of the separator; the config keeps the dotted one.
    node.object()?
        .members()
        .map(|(key, value)| {
            let name =
                if key.contains('/') && !key.contains('.') { key.replace('/', ".") } else { key.to_owned() };
            Ok((name, value.string()?))
        })
        .collect()
}

fn devices(linux: &mut Object, warnings: &mut Vec<Warning>) -> Result<Vec<DeviceNode>> {
    let mut devices = Vec::new();
    let Some(node) = linux.take("devices") else { return Ok(devices) };
    for entry in node.list()? {
        let mut object = entry.object()?;
        let kind = object.require("type")?;
        let device = DeviceNode {
            path: object.require("path")?.absolute_path()?,
            kind: match kind.str()? {
                "c" | "u" => 'c',
                "b" => 'b',
                "p" => 'p',
                other => return Err(kind.error(format!("found {other:?}, expected b, c, u or p"))),
            },
            major: object.take("major").map_or(Ok(0), |n| n.u32())?,
            minor: object.take("minor").map_or(Ok(0), |n| n.u32())?,
            // "fileMode: …" may hold the type bits too; mknod(2) takes the permissions.
            mode: object.take("fileMode").map_or(Ok(0o666), |n| n.u32())? & 0o7777,
            uid: object.take("uid").map_or(Ok(0), |n| n.u32())?,
            gid: object.take("gid").map_or(Ok(0), |n| n.u32())?,
        };
        object.finish(warnings);
        let standard = STANDARD_DEVICES.contains(&(device.path.as_str(), device.major, device.minor));
        if !(standard && device.kind == 'c' && device.mode == 0o666 && (device.uid, device.gid) == (0, 0)) {
            devices.push(device);
        }
    }
    Ok(devices)
}
