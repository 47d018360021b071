//! Each option, good and bad, on a machine that is made up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use anyhow::anyhow;
use clap::Parser;
use plim_model::rlimit::{Limit, Rlimit};
use plim_model::{IdMap, IdMapping};
use plim_runtime::config::{NamespaceMode, Throttle, ThrottleKind};
use plim_seccomp::arch::Arch;
use plim_seccomp::resolve::KernelVersion;

use super::*;
use crate::world::HostDevice;

#[derive(Default)]
struct Fake {
    files: BTreeMap<&'static str, &'static str>,
    env: BTreeMap<&'static str, &'static str>,
    asked: RefCell<Vec<String>>,
    schedulers: Vec<&'static str>,
}

const MOUNTINFO: &str = "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 0:5 / /shared rw shared:1 - tmpfs none rw\n\
    29 27 0:6 / /slave rw master:1 - tmpfs none rw\n";

fn fake() -> Fake {
    let mut fake = Fake::default();
    fake.files.insert("/proc/self/mountinfo", MOUNTINFO);
    fake.files.insert("/sys/devices/system/cpu/online", "0-3\n");
    fake.files.insert("/sys/devices/system/cpu/possible", "0-1\n");
    fake.files.insert("/sys/devices/system/node/online", "0\n");
    fake.env.insert("LANG", "C.UTF-8");
    fake
}

impl World for Fake {
    fn read_in_root(&self, _: &Path, path: &str) -> Result<Option<String>> {
        self.asked.borrow_mut().push(path.to_owned());
        Ok(match path {
            "/etc/passwd" => {
                Some("root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/home/web:/bin/sh\n".to_owned())
            }
            "/etc/group" => Some("root:x:0:\nadm:x:4:web\nbig:x:100000:root\n".to_owned()),
            _ => None,
        })
    }

    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|path| self.files.get(path));
        text.map(|text| text.as_bytes().to_vec()).ok_or_else(|| Error::from(ErrorKind::NotFound))
    }

    fn kind(&self, path: &Path) -> std::io::Result<PathKind> {
        let device = |kind, major, minor| {
            Ok(PathKind::Device(HostDevice { kind, major, minor, mode: 0o660, uid: 0, gid: 6 }))
        };
        match path.to_str().unwrap() {
            "/dev/sda" => device('b', 8, 0),
            "/dev/fuse" => device('c', 10, 229),
            "/" | "/srv" | "/shared/x" | "/slave/x" | "/rootfs" | "/dev/snd" => Ok(PathKind::Directory),
            "/etc/hosts" => Ok(PathKind::Other),
            _ => Err(Error::from(ErrorKind::NotFound)),
        }
    }

    fn directories_in(&self, path: &Path) -> std::io::Result<Vec<String>> {
        let names: &[&str] = match path.to_str().unwrap() {
            "/" => &["etc", "opt", "usr", "var"],
            "/var" => &["lib", "log"],
            _ => return Err(Error::from(ErrorKind::NotFound)),
        };
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
        let path = match path.to_str().unwrap() {
            "./rootfs" => PathBuf::from("/rootfs"),
            "/loop" => return Err(Error::from_raw_os_error(40)),
            _ => path.to_owned(),
        };
        self.kind(&path).map(|_| path)
    }

    fn devices_below(&self, directory: &Path) -> std::io::Result<Vec<(PathBuf, HostDevice)>> {
        let device = |path: &str, minor| {
            let device = HostDevice { kind: 'c', major: 116, minor, mode: 0o660, uid: 0, gid: 29 };
            (PathBuf::from(path), device)
        };
        Ok(match directory.to_str().unwrap() {
            "/dev/snd" => vec![device("/dev/snd/seq", 1), device("/dev/snd/timer", 33)],
            "/dev" => vec![device("/dev/null", 9), device("/dev/snd/seq", 1)],
            _ => Vec::new(),
        })
    }

    fn block_schedulers(&self) -> Vec<String> {
        self.schedulers.iter().map(|&line| line.to_owned()).collect()
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).map(|value| (*value).to_owned())
    }

    fn container_pid(&self, name: &str) -> Result<i32> {
        if name == "web" { Ok(4242) } else { Err(anyhow!("no running container has the name {name:?}")) }
    }

    fn selinux(&self, _: &str, _: bool) -> crate::selinux::Answer {
        crate::selinux::Answer::Inactive
    }

    fn kernel_capabilities(&self) -> Result<CapabilitySet> {
        Ok(Capability::known().collect())
    }

    fn hard_limit(&self, name: &str) -> Option<Limit> {
        (name == "RLIMIT_NOFILE").then_some(Limit::Of(4096))
    }
}

fn facts() -> Facts {
    let mut held: CapabilitySet = Capability::known().collect();
    held.remove(Capability::from_name("SYS_RESOURCE").unwrap());
    Facts {
        uid: 0,
        gid: 0,
        held,
        arch: Arch::from_name("x86_64").unwrap(),
        kernel: KernelVersion { major: 6, minor: 18 },
        host_name: "harbour".to_owned(),
        memory_bytes: 8 << 30,
    }
}

fn run_as(facts: &Facts, args: &[&str]) -> Result<Assembled> {
    let options = Options::try_parse_from(std::iter::once("plim-run").chain(args.iter().copied()))?;
    assemble(&options, Identity { id: "ab".repeat(32), name: "x".to_owned() }, facts, &fake())
}

fn run(args: &[&str]) -> ContainerConfig {
    let with_command: Vec<&str> = args.iter().copied().chain(["true"]).collect();
    run_as(&facts(), &with_command).unwrap_or_else(|error| panic!("{args:?}: {error:#}")).config
}

#[track_caller]
fn refused(args: &[&str], message: &str) {
    let with_command: Vec<&str> = args.iter().copied().chain(["true"]).collect();
    let error = match run_as(&facts(), &with_command) {
        Err(error) => format!("{error:#}"),
        Ok(_) => panic!("{args:?} was taken"),
    };
    assert!(error.contains(message), "{args:?}: {error}\nexpected: {message}");
}

#[test]
fn the_default_is_dockers() {
    let config = run(&[]);
    assert_eq!(config.process.capabilities.bounding, defaults::capabilities());
    assert_eq!(config.process.capabilities.effective, defaults::capabilities());
    assert_eq!(config.process.capabilities.permitted, defaults::capabilities());
    assert!(
        config.process.capabilities.inheritable.is_empty() && config.process.capabilities.ambient.is_empty()
    );
    assert!(config.seccomp.is_some() && !config.process.no_new_privileges);
    // And the name of the machine, which the host's root has.
    let masked: Vec<&str> = defaults::MASKED_PATHS.into_iter().chain([defaults::MACHINE_ID]).collect();
    assert_eq!(config.masked_paths, masked);
    assert_eq!(config.read_only_paths, defaults::READ_ONLY_PATHS);
    assert_eq!(config.resources.device_rules, plim_runtime::cgroup::docker_default_rules());
    assert_eq!(Resources { device_rules: Vec::new(), ..config.resources }, Resources::default());
    let kinds: Vec<&str> = config.namespaces.keys().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, ["cgroup", "ipc", "mnt", "net", "pid", "uts"]);
    assert!(config.namespaces.values().all(|mode| *mode == NamespaceMode::New));
    assert_eq!(config.hostname.as_deref(), Some("abababababab"));
    assert_eq!(
        config.process.env,
        [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOSTNAME=abababababab",
            "HOME=/root"
        ]
    );
    assert_eq!((config.process.cwd.as_str(), config.process.terminal), ("/", false));
    assert_eq!(
        (config.process.user.uid, config.process.user.additional_gids.as_slice()),
        (0, &[0, 100_000][..])
    );
    assert_eq!(config.sysctls["net.ipv4.ip_unprivileged_port_start"], "0");
    assert_eq!(config.sysctls["net.ipv4.ping_group_range"], "0 2147483647");
    let RootfsSource::Overlay { lower, private, upper_size_bytes } = &config.rootfs.source else {
        panic!("not an overlay")
    };
    assert_eq!((lower.as_path(), *upper_size_bytes), (Path::new("/"), Some(1 << 30)));
    assert_eq!(*private, ["/home", "/opt", "/root", "/run", "/tmp", "/var/lib", "/var/log", "/var/tmp"]);
    assert!(config.loopback_up && !config.rootfs.read_only && !config.init && !config.privileged);
    assert!(config.process.rlimits.is_empty() && config.devices.is_empty() && config.id_maps.is_none());
    let targets: Vec<&str> = config.mounts.iter().map(|mount| mount.destination.as_str()).collect();
    assert_eq!(targets, ["/proc", "/dev", "/dev/pts", "/sys", "/sys/fs/cgroup", "/dev/mqueue", "/dev/shm"]);
}

#[test]
fn privileged_takes_the_confinement_away_and_says_what_is_missing() {
    let assembled = run_as(&facts(), &["--privileged", "true"]).unwrap();
    let config = assembled.config;
    assert_eq!(config.process.capabilities.bounding, facts().held);
    assert!(config.seccomp.is_none() && config.masked_paths.is_empty() && config.read_only_paths.is_empty());
    assert_eq!(config.resources.device_rules, [defaults::all_devices_rule()]);
    assert_eq!(config.devices.len(), 1, "the standard devices are the runtime's");
    assert!(assembled.notes[0].contains("CAP_SYS_RESOURCE"), "{:?}", assembled.notes);
    let sys = config.mounts.iter().find(|mount| mount.destination == "/sys").unwrap();
    assert!(!sys.options.iter().any(|option| option == "ro"));
    assert!(run(&["--privileged", "--security-opt", "seccomp=builtin"]).seccomp.is_some());
}

#[test]
fn seccomp_is_chosen() {
    assert!(run(&["--security-opt", "seccomp=unconfined"]).seccomp.is_none());
    assert!(run(&["--security-opt", "seccomp=preset:tcpdump"]).seccomp.is_some());
    refused(&["--security-opt", "seccomp=preset:tcpdumb"], "did you mean \"tcpdump\"?");
    refused(&["--security-opt", "seccomp=tcpdump"], "seccomp=preset:tcpdump");
    refused(&["--security-opt", "seccomp=/nope.json"], "--security-opt seccomp=/nope.json");
}

#[test]
fn security_options_reach_the_config() {
    assert!(run(&["--security-opt", "no-new-privileges"]).process.no_new_privileges);
    refused(&["--security-opt", "apparmor=x"], "not active");
    refused(&["--security-opt", "label=type:x"], "not active");
    let open = run(&["--security-opt", "systempaths=unconfined"]);
    assert!(open.masked_paths.is_empty() && open.read_only_paths.is_empty() && open.seccomp.is_some());
}

#[test]
fn users_other_than_root_keep_the_bounding_set_alone() {
    let config = run(&["-u", "web", "--group-add", "7"]);
    assert_eq!((config.process.user.uid, config.process.user.gid), (1000, 1001));
    assert_eq!(config.process.user.additional_gids, [1001, 4, 7]);
    assert!(
        config.process.capabilities.effective.is_empty() && config.process.capabilities.permitted.is_empty()
    );
    assert_eq!(config.process.capabilities.bounding, defaults::capabilities());
    assert!(config.process.env.contains(&"HOME=/home/web".to_owned()));
    refused(&["-u", "wbe"], "did you mean \"web\"?");
    refused(&["--group-add", "adn"], "did you mean \"adm\"?");
}

#[test]
fn memory_has_dockers_rules() {
    let limits = |args: &[&str]| {
        let r = run(args).resources;
        (r.memory_max_bytes, r.memory_swap_total_bytes, r.memory_reservation_bytes)
    };
    assert_eq!(limits(&["-m", "64m"]), (Some(64 << 20), Some(128 << 20), None));
    assert_eq!(limits(&["-m", "6m"]), (Some(6 << 20), Some(12 << 20), None));
    assert_eq!(limits(&["-m", "0"]), (None, None, None));
    assert_eq!(limits(&["-m", "1g", "--memory-swap", "-1"]), (Some(1 << 30), Some(-1), None));
    assert_eq!(limits(&["-m", "1g", "--memory-swap", "1g"]), (Some(1 << 30), Some(1 << 30), None));
    assert_eq!(limits(&["-m", "1g", "--memory-swap", "0"]), (Some(1 << 30), Some(2 << 30), None));
    assert_eq!(limits(&["--memory-swap", "-1"]), (None, None, None));
    assert_eq!(limits(&["--memory-reservation", "8m"]), (None, None, Some(8 << 20)));
    refused(&["-m", "5m"], "the least that is allowed is 6m");
    refused(&["-m", "64q"], "unknown unit \"q\"");
    refused(&["-m", "64q"], "--memory \"64q\"");
    refused(&["--memory-swap", "1g"], "--memory-swap needs --memory");
    refused(&["-m", "1g", "--memory-swap", "512m"], "is less than --memory");
    refused(&["-m", "8m", "--memory-reservation", "9m"], "more than --memory");
    refused(&["--memory-reservation", "1m"], "the least that is allowed is 6m");
}

#[test]
fn cpu_limits_have_dockers_rules() {
    let config =
        run(&["--cpus", "1.5", "-c", "512", "--cpuset-cpus", "0-1,3", "--cpuset-mems", "0"]).resources;
    assert_eq!((config.cpu_quota_us, config.cpu_period_us), (Some(150_000), Some(100_000)));
    assert_eq!(config.cpu_shares, Some(512));
    assert_eq!((config.cpuset_cpus.as_deref(), config.cpuset_mems.as_deref()), (Some("0-1,3"), Some("0")));
    let config = run(&["--cpu-period", "50000", "--cpu-quota", "25000"]).resources;
    assert_eq!((config.cpu_quota_us, config.cpu_period_us), (Some(25_000), Some(50_000)));
    assert_eq!(run(&["--cpu-quota", "-1"]).resources.cpu_quota_us, Some(-1));
    assert_eq!(run(&["--cpus", "0", "--cpu-quota", "0"]).resources.cpu_quota_us, None);
    refused(&["--cpus", "5"], "as there are 4 CPUs");
    refused(&["--cpus", "0.001"], "0.01");
    refused(&["--cpus", "x"], "expected a number of CPUs");
    refused(&["--cpus", "1", "--cpu-period", "5000"], "cannot be given too");
    refused(&["--cpus", "1", "--cpu-quota", "5000"], "cannot be given too");
    refused(&["--cpu-period", "999"], "1000 to 1000000");
    refused(&["--cpu-quota", "999"], "at least 1000");
    refused(&["-c", "1"], "2 to 262144");
    refused(&["--cpuset-cpus", "4"], "available: 0-3");
    refused(&["--cpuset-cpus", "3-1"], "list of numbers and ranges");
    refused(&["--cpuset-cpus", "0-99999999"], "list of numbers and ranges");
    refused(&["--cpuset-mems", "1"], "available: 0");
}

#[test]
fn other_limits_are_checked() {
    assert_eq!(run(&["--pids-limit", "100"]).resources.pids_max, Some(100));
    assert_eq!(run(&["--pids-limit", "-1"]).resources.pids_max, Some(-1));
    assert_eq!(run(&["--pids-limit", "0"]).resources.pids_max, Some(-1));
    assert_eq!(run(&["--blkio-weight", "10"]).resources.blkio_weight, Some(10));
    assert_eq!(run(&["--blkio-weight", "0"]).resources.blkio_weight, None);
    refused(&["--pids-limit", "-2"], "at least -1");
    refused(&["--blkio-weight", "9"], "10 to 1000");
    refused(&["--blkio-weight", "1001"], "0 to 1000");
    let throttles =
        run(&["--device-write-iops", "/dev/sda:7", "--device-read-bps", "/dev/sda:1mb"]).resources.throttles;
    assert_eq!(
        throttles,
        [
            Throttle { major: 8, minor: 0, kind: ThrottleKind::ReadBytes, rate: 1 << 20 },
            Throttle { major: 8, minor: 0, kind: ThrottleKind::WriteOperations, rate: 7 },
        ]
    );
    refused(&["--device-read-bps", "/dev/sda"], "PATH:RATE");
    refused(&["--device-read-bps", "/dev/sda:0"], "at least 1 a second");
    refused(&["--device-read-bps", "/dev/fuse:1m"], "not a block device");
    refused(&["--device-read-bps", "/dev/sdz:1m"], "the device /dev/sdz");
    refused(&["--device-read-bps", "/etc/x:1m"], "below /dev");
    refused(&["--device-read-iops", "/dev/sda:1m"], "expected a whole number");
    refused(&["--cgroup-parent", "/a/../b"], "without ..");
    assert_eq!(run(&["--cgroup-parent", "yard"]).cgroup_path, Some(format!("/yard/{}", "ab".repeat(32))));
}

#[test]
fn a_weight_that_nothing_reads_is_said() {
    let notes = |schedulers: &[&'static str], args: &[&str]| {
        let options =
            Options::try_parse_from(std::iter::once("plim-run").chain(args.iter().copied())).unwrap();
        let world = Fake { schedulers: schedulers.to_vec(), ..fake() };
        let identity = Identity { id: "ab".repeat(32), name: "x".to_owned() };
        assemble(&options, identity, &facts(), &world).unwrap().notes
    };
    let weighted = ["--blkio-weight", "300", "true"];
    let said = notes(&["[none] mq-deadline bfq"], &weighted);
    assert!(
        said.iter().any(|note| note.contains("the weight 300") && note.contains("no effect")),
        "{said:?}"
    );
    for lines in [&["none [bfq]"][..], &["[none]", "8:0 enable=1 ctrl=auto rpct=95.00"]] {
        assert!(notes(lines, &weighted).iter().all(|note| !note.contains("weight")), "{lines:?}");
    }
    assert!(notes(&[], &["true"]).iter().all(|note| !note.contains("weight")));
}

#[test]
fn ulimits_are_go_units() {
    let limit = |text: &str| run(&["--ulimit", text]).process.rlimits;
    let one = |name: &str, soft, hard| BTreeMap::from([(name.to_owned(), Rlimit { soft, hard })]);
    assert_eq!(limit("nofile=1024:2048"), one("RLIMIT_NOFILE", Limit::Of(1024), Limit::Of(2048)));
    assert_eq!(limit("core=0"), one("RLIMIT_CORE", Limit::Of(0), Limit::Of(0)));
    assert_eq!(limit("core=5:-1"), one("RLIMIT_CORE", Limit::Of(5), Limit::Max));
    assert_eq!(limit("nproc=-1"), one("RLIMIT_NPROC", Limit::Max, Limit::Max));
    refused(&["--ulimit", "nofile"], "NAME=SOFT[:HARD]");
    refused(&["--ulimit", "nofiles=1"], "did you mean \"nofile\"?");
    refused(&["--ulimit", "nofile=2:1"], "above the hard limit 1");
    refused(&["--ulimit", "nofile=1:8192"], "CAP_SYS_RESOURCE");
    refused(&["--ulimit", "nofile=1k"], "expected a whole number");
    refused(&["--ulimit", "nofile=-1:5"], "soft limit max is above");
    refused(&["--oom-score-adj", "1001"], "-1000 to 1000");
}

#[test]
fn namespaces_are_chosen() {
    let config =
        run(&["--pid", "host", "--ipc", "host", "--uts", "host", "--network", "host", "--cgroupns", "host"]);
    assert_eq!(config.namespaces.keys().map(|kind| kind.as_str()).collect::<Vec<_>>(), ["mnt"]);
    assert_eq!(config.hostname, None);
    assert!(config.process.env.contains(&"HOSTNAME=harbour".to_owned()));
    assert!(config.sysctls.is_empty() && !config.loopback_up);
    assert!(config.mounts.iter().any(|m| m.destination == "/dev/shm" && m.fs_type == "bind"));

    let config = run(&["--network", "container:web", "--pid=container:web"]);
    let join = |kind: &str| Some(NamespaceMode::Join(PathBuf::from(format!("/proc/4242/ns/{kind}"))));
    assert_eq!(config.namespaces.get(&NamespaceKind::Net).cloned(), join("net"));
    assert_eq!(config.namespaces.get(&NamespaceKind::Pid).cloned(), join("pid"));
    assert!(!config.loopback_up);

    refused(&["--network", "bridge"], "not supported yet");
    refused(&["--network", "hots"], "did you mean \"host\"?");
    refused(&["--pid", "container:nope"], "no running container");
    refused(&["--uts", "container:web"], "expected private, host");
    refused(&["--userns", "auto"], "expected host or private");
    refused(&["--hostname", "x", "--uts", "host"], "rename the host");
    refused(&["--domainname", "x", "--uts", "host"], "rename the host");
    refused(&["--hostname", "a b"], "1 to 64");
    refused(&["--init", "--pid", "host"], "--init needs");
}

#[test]
fn a_time_namespace_is_there_when_asked_for() {
    assert!(!run(&[]).namespaces.contains_key(&NamespaceKind::Time));
    let config = run(&["--timens", "private"]);
    assert_eq!(config.namespaces.get(&NamespaceKind::Time), Some(&NamespaceMode::New));
    assert_eq!(config.time_offsets, None);
    let moved = ["--timens", "private", "--time-offset", "boottime=86400", "--time-offset=monotonic=-5"];
    let offsets = run(&moved).time_offsets.unwrap();
    assert_eq!((offsets.boottime, offsets.monotonic), ((86_400, 0), (-5, 0)));

    refused(&["--timens", "hots"], "did you mean \"host\"?");
    refused(&["--timens", "container:web"], "expected private, host");
    refused(&["--time-offset", "boottime=1"], "needs --timens private");
    refused(&["--timens", "private", "--time-offset", "boottime"], "expected CLOCK=SECONDS");
    refused(&["--timens", "private", "--time-offset", "bootime=1"], "did you mean \"boottime\"?");
    refused(&["--timens", "private", "--time-offset", "boottime=1d"], "expected a whole number");
    refused(&["--timens", "private", "--time-offset", "boottime=9223372036"], "to 4611686018");
}

#[test]
fn a_user_namespace_maps_ids() {
    let config = run(&["--userns", "private"]);
    let map = vec![IdMapping { inside: 0, outside: 1_878_982_656, count: 65_536 }];
    assert_eq!(config.id_maps, Some(IdMap { uid: map.clone(), gid: map }));
    assert_eq!(config.namespaces.get(&NamespaceKind::User), Some(&NamespaceMode::New));
    assert_eq!(config.process.user.additional_gids, [0], "a group that is not mapped is left out");
    assert!(!config.sysctls.contains_key("net.ipv4.ping_group_range"));
    // In a namespace of its own, root holds what the caller does not.
    assert!(
        run(&["--userns", "private", "--cap-add", "SYS_RESOURCE"])
            .process
            .capabilities
            .bounding
            .contains(Capability::from_name("SYS_RESOURCE").unwrap())
    );
    refused(&["--userns", "private", "-u", "70000"], "which has 65536 ids from 0");
    refused(&["--userns", "private", "--privileged"], "cannot be combined");
    refused(&["--userns", "private", "--network", "host"], "cannot be combined");
    refused(&["--userns", "private", "--pid", "host"], "cannot be combined");
    refused(&["--userns", "private", "--network", "container:web"], "cannot be combined");
}

#[test]
fn without_root_there_is_always_a_user_namespace() {
    let facts = Facts { uid: 1000, gid: 100, held: CapabilitySet::EMPTY, ..facts() };
    let config = run_as(&facts, &["true"]).unwrap().config;
    let maps = config.id_maps.unwrap();
    assert_eq!(maps.uid, [IdMapping { inside: 0, outside: 1000, count: 1 }]);
    assert_eq!(maps.gid, [IdMapping { inside: 0, outside: 100, count: 1 }]);
    assert_eq!(config.process.capabilities.bounding, defaults::capabilities());
    assert_eq!(config.resources, Resources::default(), "no cgroup is needed");
    let pts = config.mounts.iter().find(|mount| mount.destination == "/dev/pts").unwrap();
    assert!(!pts.options.iter().any(|option| option == "gid=5"));
    for args in [&["--userns", "host", "true"][..], &["--privileged", "true"], &["-u", "5", "true"]] {
        assert!(run_as(&facts, args).is_err(), "{args:?}");
    }
}

#[test]
fn volumes_are_dockers() {
    let mount = |args: &[&str]| run(args).mounts.pop().unwrap();
    let bind = |destination: &str, source: &str, options: &[&str]| Mount {
        destination: destination.to_owned(),
        fs_type: "bind".to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
    };
    assert_eq!(mount(&["-v", "/srv:/data"]), bind("/data", "/srv", &["rbind", "rprivate"]));
    assert_eq!(mount(&["-v", "/srv:/data/../x/:ro,z"]), bind("/x", "/srv", &["rbind", "ro", "rprivate"]));
    assert_eq!(mount(&["-v", "./rootfs:/x:ro"]), bind("/x", "/rootfs", &["rbind", "ro", "rprivate"]));
    assert_eq!(
        mount(&["--mount", "type=bind,source=/srv,target=/x,readonly"]),
        bind("/x", "/srv", &["rbind", "ro", "rprivate"])
    );
    let shared = run(&["-v", "/shared/x:/x:shared"]);
    assert_eq!(shared.rootfs.propagation, "shared");
    assert_eq!(run(&["-v", "/slave/x:/x:rslave"]).rootfs.propagation, "rslave");
    // Deeper mounts come later, whatever the order on the command line.
    let order: Vec<String> = run(&["-v", "/srv:/a/b/c", "--tmpfs", "/a"])
        .mounts
        .iter()
        .skip(7)
        .map(|m| m.destination.clone())
        .collect();
    assert_eq!(order, ["/a", "/a/b/c"]);
    let over_dev = run(&["-v", "/srv:/dev"]);
    assert!(!over_dev.mounts.iter().any(|m| m.destination.starts_with("/dev/")));

    refused(&["-v", "/srv"], "anonymous volumes");
    refused(&["-v", "data:/x"], "named volumes are not supported; give a path on the host, as ./data");
    refused(&["-v", "/srv:x"], "not absolute");
    refused(&["-v", "/srv:/"], "cannot be /");
    refused(&["-v", "/srv:/a/.."], "cannot be /");
    refused(&["-v", "/nope:/x"], "the source /nope");
    refused(&["-v", "/loop:/x"], "the source /loop");
    refused(&["-v", "/srv:/x:r"], "unknown option \"r\"");
    refused(&["-v", "/srv:/x:ro,rw"], "contradicts");
    refused(&["-v", "/srv:/x:shared"], "does not propagate mounts");
    refused(&["-v", "/slave/x:/x:shared"], "does not propagate mounts");
    refused(&["-v", "/srv:/x", "--tmpfs", "/x/"], "two mounts on /x");
    refused(&["-v", "a:b:c:d"], "too many colons");
    refused(&["--mount", "type=bind,src=/srv"], "the path in the container is missing");
    refused(&["--mount", "type=bind,sorce=/srv,dst=/x"], "did you mean \"source\"?");
    refused(&["--mount", "type=volume,src=x,dst=/x"], "named volumes");
    refused(&["--mount", "type=tmpfs,dst=/x,tmpfs-mode=9"], "octal");
}

#[test]
fn a_tmpfs_merges_its_options() {
    let options = |text: &str| run(&["--tmpfs", text]).mounts.pop().unwrap().options.join(",");
    assert_eq!(options("/x"), "noexec,nosuid,nodev");
    assert_eq!(options("/x:exec,size=64k,mode=1777"), "nosuid,nodev,exec,size=65536,mode=1777");
    assert_eq!(options("/x:size=1m,size=2m,ro,rw"), "noexec,nosuid,nodev,size=2097152,rw");
    assert_eq!(options("/x:size=50%"), "noexec,nosuid,nodev,size=50%");
    refused(&["--tmpfs", "/x:sizee=1"], "did you mean \"size\"?");
    refused(&["--tmpfs", "/x:exce"], "did you mean \"exec\"?");
    refused(&["--tmpfs", "/x:size=1q"], "unknown unit");
    refused(&["--tmpfs", "/x:mode=999"], "octal");
    refused(&["--tmpfs", "/x:remount"], "cannot be asked of a new tmpfs");
    refused(&["--tmpfs", "x"], "not absolute");
    refused(&["--shm-size", "0"], "more than 0");
}

#[test]
fn devices_are_dockers() {
    let config = run(&["--device", "/dev/fuse:/dev/f:rw", "--device", "/dev/snd"]);
    let paths: Vec<&str> = config.devices.iter().map(|device| device.path.as_str()).collect();
    assert_eq!(paths, ["/dev/f", "/dev/snd/seq", "/dev/snd/timer"]);
    let rules = &config.resources.device_rules[plim_runtime::cgroup::docker_default_rules().len()..];
    assert_eq!((rules[0].major, rules[0].minor, rules[0].access.as_str()), (Some(10), Some(229), "rw"));
    assert_eq!((rules[1].major, rules[1].minor, rules[1].access.as_str()), (Some(116), Some(1), "rwm"));
    assert_eq!(run(&["--device", "/dev/fuse:r"]).devices[0].path, "/dev/fuse");
    let rule = run(&["--device-cgroup-rule", "c 10:* rw"]).resources.device_rules.pop().unwrap();
    assert_eq!((rule.kind, rule.major, rule.minor, rule.access.as_str()), ('c', Some(10), None, "rw"));
    refused(&["--device", "/dev/nope"], "the device /dev/nope");
    refused(&["--device", "/etc/hosts"], "not a device");
    refused(&["--device", "/srv"], "no device below");
    refused(&["--device", "fuse"], "not an absolute path");
    refused(&["--device", "/dev/fuse:/dev/f:rx"], "unknown access \"rx\"");
    refused(&["--device", "/dev/fuse:/dev/f:rr"], "each once");
    refused(&["--device", "/dev/fuse", "--device", "/dev/fuse"], "two devices at /dev/fuse");
    for bad in ["c 10:200", "x 1:1 r", "c 1 r", "c a:1 r", "c 1:1 rx", ""] {
        refused(&["--device-cgroup-rule", bad], "expected TYPE MAJOR:MINOR ACCESS");
    }
}

#[test]
fn sysctls_are_of_the_containers_namespaces() {
    let sysctls =
        run(&["--sysctl", "net.core.somaxconn=5", "--sysctl", "net/ipv4/ip_unprivileged_port_start=1024"])
            .sysctls;
    assert_eq!(sysctls["net.core.somaxconn"], "5");
    assert_eq!(sysctls["net.ipv4.ip_unprivileged_port_start"], "1024");
    refused(&["--sysctl", "vm.swappiness=0"], "would change the host");
    refused(&["--sysctl", "kernel.hostname=x"], "use --hostname");
    refused(&["--sysctl", "net.core.somaxconn=5", "--network", "host"], "not the container's own");
    refused(&["--sysctl", "kernel.msgmax=5", "--ipc", "host"], "not the container's own");
    refused(&["--sysctl", "net.core"], "NAME=VALUE");
    refused(&["--sysctl", "net..core=1"], "would change the host");
}

#[test]
fn the_environment_is_dockers() {
    let env = |args: &[&str]| run(args).process.env[2..].to_vec();
    assert_eq!(env(&["-e", "A=1", "-e", "LANG", "-e", "GONE"]), ["A=1", "LANG=C.UTF-8", "HOME=/root"]);
    assert_eq!(env(&["-e", "HOME=/x"]), ["HOME=/x"]);
    assert_eq!(env(&["-e", "A=1", "-e", "A=2"]), ["A=2", "HOME=/root"]);
    assert_eq!(env(&["-t"]), ["TERM=xterm", "HOME=/root"]);
    assert_eq!(env(&["-h", "box"]).len(), 1);
    assert!(!run(&["-e", "PATH"]).process.env.iter().any(|entry| entry.starts_with("PATH=")));
    refused(&["-e", "=x"], "expected NAME=VALUE");
    refused(&["-e", "A B=x"], "white space");
    refused(&["--env-file", "/nope"], "--env-file /nope");
}

#[test]
fn env_files_are_dockers() {
    let mut fake = fake();
    fake.files.insert("/env", "\u{feff}# a comment\n\n  A=1\nB= two words \nLANG\nGONE\n");
    fake.files.insert("/bad", "A=1\nno name=2\n");
    let read = |path: &str| {
        let options = Options::try_parse_from(["plim-run", "--env-file", path, "-e", "A=9", "true"]).unwrap();
        assemble(&options, Identity { id: "ab".repeat(32), name: "x".to_owned() }, &facts(), &fake)
    };
    let env = read("/env").unwrap().config.process.env;
    assert_eq!(env[2..], ["A=9", "B= two words ", "LANG=C.UTF-8", "HOME=/root"]);
    let error = format!("{:#}", read("/bad").unwrap_err());
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn roots_are_checked() {
    let config = run(&["--rootfs", "./rootfs", "--read-only", "-w", "/srv/../x"]);
    assert_eq!(config.rootfs.source, RootfsSource::Directory("/rootfs".into()));
    assert!(config.rootfs.read_only);
    assert_eq!(config.process.cwd, "/x");
    refused(&["--rootfs", "/nope"], "--rootfs /nope");
    refused(&["--rootfs", "/loop"], "--rootfs /loop");
    refused(&["--rootfs", "/etc/hosts"], "not a directory");
    refused(&["--rootfs", "/"], "not changed in place");
    refused(&["-w", "srv"], "not absolute");
}

#[test]
fn the_command_is_what_is_left() {
    assert_eq!(run(&["--entrypoint", "echo"]).process.args, ["echo", "true"]);
    assert_eq!(run(&["--entrypoint", ""]).process.args, ["true"]);
    assert_eq!(run_as(&facts(), &["--entrypoint", "sh"]).unwrap().config.process.args, ["sh"]);
    assert!(run_as(&facts(), &[]).unwrap_err().to_string().contains("no command was given"));
    assert!(run_as(&facts(), &[""]).unwrap_err().to_string().contains("empty"));
}

#[test]
fn thermal_counters_are_masked_where_they_are() {
    struct Hot(Fake);
    // Only one question differs.
    impl World for Hot {
        fn kind(&self, path: &Path) -> std::io::Result<PathKind> {
            if path.ends_with("thermal_throttle") { Ok(PathKind::Directory) } else { self.0.kind(path) }
        }
        fn read_in_root(&self, root: &Path, path: &str) -> Result<Option<String>> {
            self.0.read_in_root(root, path)
        }
        fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
            self.0.read(path)
        }
        fn directories_in(&self, path: &Path) -> std::io::Result<Vec<String>> {
            self.0.directories_in(path)
        }
        fn canonical(&self, path: &Path) -> std::io::Result<PathBuf> {
            self.0.canonical(path)
        }
        fn devices_below(&self, path: &Path) -> std::io::Result<Vec<(PathBuf, HostDevice)>> {
            self.0.devices_below(path)
        }
        fn block_schedulers(&self) -> Vec<String> {
            self.0.block_schedulers()
        }
        fn env(&self, name: &str) -> Option<String> {
            self.0.env(name)
        }
        fn container_pid(&self, name: &str) -> Result<i32> {
            self.0.container_pid(name)
        }
        fn selinux(&self, context: &str, nosuid: bool) -> crate::selinux::Answer {
            self.0.selinux(context, nosuid)
        }
        fn kernel_capabilities(&self) -> Result<CapabilitySet> {
            self.0.kernel_capabilities()
        }
        fn hard_limit(&self, name: &str) -> Option<Limit> {
            self.0.hard_limit(name)
        }
    }
    let paths = masked_paths(&Options::default(), &Hot(fake()));
    assert_eq!(paths[12], defaults::MACHINE_ID);
    assert_eq!(paths[13..].len(), 2);
}

#[test]
fn the_layer_that_is_thrown_away_has_a_size() {
    let size = |args: &[&str]| match run(args).rootfs.source {
        RootfsSource::Overlay { upper_size_bytes, .. } => upper_size_bytes,
        RootfsSource::Directory(_) => None,
    };
    assert_eq!(size(&["-m", "64m"]), Some(32 << 20));
    assert_eq!(size(&["--storage-opt", "size=4g", "--storage-opt", "size=2g", "-m", "64m"]), Some(2 << 30));
    for (option, message) in [
        ("size", "expected size="),
        ("size=0", "more than 0"),
        ("size=x", "size=x"),
        ("dm.fs=ext4", "expected size="),
    ] {
        refused(&["--storage-opt", option], message);
    }
    refused(&["--rootfs", "./rootfs", "--storage-opt", "size=1g"], "--rootfs");
}
